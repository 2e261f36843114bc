#!/bin/sh
# Run every test of a build and say how many passed.
#
#   scripts/test.sh [BUILDDIR]     default: build
#
# Unit and module tests (cmocka programs under BUILDDIR/tests), then the integration tests (pytest)
# against BUILDDIR/nearside and BUILDDIR/pod, then each fuzzer for FUZZ_SECONDS (60). The last line
# is `tests: N passed, N failed`; the exit code is 0 only when something ran and nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
exec </dev/null

passed=0
failed=0
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT

# Sanitized programs must say so in their exit code, and are given more time.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:exitcode=99}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-exitcode=99:halt_on_error=0}"
case "$build" in
*asan*|*tsan*) export TEST_SLOWNESS="${TEST_SLOWNESS:-4}" ;;
esac

# The last number in front of `word` in the line given: number WORD LINE
number() {
    found=$(printf '%s\n' "$2" | grep -oE "[0-9]+ $1" | tail -n 1 | cut -d' ' -f1)
    echo "${found:-0}"
}

# count_program NAME: what the program said that ran as NAME
count_program() {
    said=$work/$1.log
    code=$(cat "$work/$1.code" 2>/dev/null || echo unknown)
    good=$(number 'test' "$(grep -F '[  PASSED  ]' "$said" | tail -n 1)")
    bad=$(number 'test' "$(grep -F '[  FAILED  ]' "$said" | grep -F 'test(s)' | tail -n 1)")
    # A program that died, or ran nothing, is a failure whatever it printed before.
    if [ "$code" != 0 ] && [ "$bad" -eq 0 ] || [ $((good + bad)) -eq 0 ]; then
        bad=$((bad + 1))
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$bad" -gt 0 ]; then
        echo "FAILED $1 (exit code $code)"
        tail -n 60 "$said"
    fi
}

# Most of their time they wait: a few at once, each one's output in a file of its own.
programs=$(cd "$build/tests" 2>/dev/null && find . -type f -name 'test_*' -perm -u+x | sort)
export work build
printf '%s\n' "$programs" | xargs -r -n 1 -P 3 sh -c '
    name=$(echo "${0#./}" | tr / -)
    timeout 120 "$build/tests/$0" >"$work/$name.log" 2>&1
    echo $? >"$work/$name.code"'
for program in $programs; do
    count_program "$(echo "${program#./}" | tr / -)"
done
echo "unit and module: $passed passed, $failed failed"

if [ -d tests/integration ]; then
    NEARSIDE_BIN="$build/nearside" POD_BIN="$build/pod" WAN_BIN="$build/wan" \
        VERDICT_BIN="$build/verdict" \
        /usr/bin/python3 -m pytest -n 3 -q --timeout 120 tests/integration >"$log" 2>&1
    code=$?
    tail -n 400 "$log"
    summary=$(grep -E ' in [0-9.]+s' "$log" | tail -n 1)
    good=$(number passed "$summary")
    bad=$(($(number failed "$summary") + $(number error "$summary")))
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
fi

# A turn of each fuzzer, findings of the past included; sanitizer builds have none.
if [ "$build" = build ]; then
    SECONDS=${FUZZ_SECONDS:-60} FUZZ_JOBS=2 FUZZ_SEED=1 sh scripts/fuzz.sh >"$log" 2>&1
    summary=$(grep '^fuzz: ' "$log")
    [ "$(number failed "$summary")" -eq 0 ] && [ "$(number passed "$summary")" -gt 0 ] || cat "$log"
    echo "$summary"
    passed=$((passed + $(number passed "$summary")))
    failed=$((failed + $(number failed "$summary")))
    [ -n "$summary" ] || failed=$((failed + 1))
fi

echo "tests: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
