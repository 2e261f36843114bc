#!/bin/sh
# What a machine can say about the code without running it. Called by `make lint`, which has
# already checked the floors. All checks run; the exit status is 1 if any of them failed.
set -u
cd "$(dirname "$0")/.."
failed=0

step() {
    name=$1
    shift
    if "$@"; then
        echo "lint: $name: ok"
    else
        echo "lint: $name: FAILED" >&2
        failed=1
    fi
}

check_format() {
    git ls-files -z '*.c' '*.h' | xargs -0 -r clang-format --dry-run -Werror
}

# Each public header compiles on its own (rule 6).
check_headers() {
    bad=0
    for header in $(git ls-files 'include/nearside/*.h'); do
        echo "#include <${header#include/}>" |
            ${CC:-gcc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -fsyntax-only \
                -x c - || { echo "$header does not compile on its own" >&2; bad=1; }
    done
    return $bad
}

# The whole of src under clang with the Makefile's warnings; gcc's turn is every build.
compile_with_clang() {
    ${MAKE:-make} --no-print-directory -s CC=clang FLAVOUR=clang build/clang/libnearside.a || return 1
    [ ! -e src/app/main.c ] ||
        ${MAKE:-make} --no-print-directory -s CC=clang FLAVOUR=clang build/clang/obj/app/main.o
}

step "format"            check_format
step "banned functions"  python3 scripts/check_banned.py
step "headers"           check_headers
step "clang"             compile_with_clang
step "mutable globals"   python3 scripts/check_mutable_globals.py build/clang/obj
exit $failed
