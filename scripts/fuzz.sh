#!/bin/sh
# Build every tests/fuzz/fuzz_*.c with libFuzzer and sanitizers, and run each for SECONDS (60) on a
# copy of its corpus. Any finding ends with a non-zero exit and the input's path.
#
#   SECONDS=300 scripts/fuzz.sh            all targets
#   scripts/fuzz.sh fuzz_sse fuzz_chunked  these
set -eu

# In bash, SECONDS counts the shell's own age; as a setting it must come from the environment.
limit=$(printenv SECONDS || echo 60)
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

out=build/fuzz
flags="-std=c11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer -Iinclude -Isrc -Itests -pthread
       -fsanitize=address,undefined -fno-sanitize-recover=undefined"
version=$(cat VERSION)
libs="-levent_core -levent_extra -levent_pthreads -levent_openssl -lssl -lcrypto -lhiredis -lcares -lconfig -ljansson -lzstd"

mkdir -p "$out/obj" "$out/corpus" "$out/findings"

# The floors that are pure enough to fuzz, built once.
objects=""
for source in src/base/*.c src/obs/*.c src/conf/*.c src/http/*.c src/cache/entry.c src/cache/fit.c src/cache/pack.c \
    src/cache/form_*.c src/admin/selector.c; do
    [ -e "$source" ] || continue
    object="$out/obj/$(echo "$source" | tr / _).o"
    if [ ! -e "$object" ] || [ -n "$(find src include -newer "$object" -name '*.[ch]' | head -n 1)" ]; then
        # shellcheck disable=SC2086
        clang $flags -DNEARSIDE_VERSION="\"$version\"" -fsanitize=fuzzer-no-link -c -o "$object" "$source"
    fi
    objects="$objects $object"
done

targets="$*"
[ -n "$targets" ] || targets=$(cd tests/fuzz && ls fuzz_*.c | sed 's/\.c$//')

failed=""
for target in $targets; do
    # shellcheck disable=SC2086
    clang $flags -DNEARSIDE_VERSION="\"$version\"" -fsanitize=fuzzer -o "$out/$target" \
        "tests/fuzz/$target.c" $objects $libs
    mkdir -p "$out/corpus/$target"
    cp -n "tests/corpus/$target"/* "$out/corpus/$target/" 2>/dev/null || true
    echo "== $target, $limit s"
    if ! "$out/$target" -max_total_time="$limit" -max_len=4096 -timeout=5 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$out/findings/$target-" \
        "$out/corpus/$target" >"$out/$target.log" 2>&1; then
        failed="$failed $target"
        tail -n 40 "$out/$target.log"
    else
        grep -E 'number_of_executed_units|average_exec_per_sec' "$out/$target.log"
    fi
done

if [ -n "$failed" ]; then
    echo "findings:$failed (inputs in $out/findings)" >&2
    exit 1
fi
