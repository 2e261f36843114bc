#!/bin/sh
# Run libFuzzer targets, which `make fuzz` has built into build/fuzz, each for SECONDS (60) on a copy
# of its corpus, FUZZ_JOBS (1) at a time, from the random seed FUZZ_SEED (0: another each time). Any
# finding ends with a non-zero exit and the input's path.
#
#   SECONDS=300 scripts/fuzz.sh            all targets
#   scripts/fuzz.sh fuzz_sse fuzz_chunked  these
set -eu

# In bash, SECONDS counts the shell's own age; as a setting it must come from the environment.
limit=$(printenv SECONDS || echo 60)
jobs=${FUZZ_JOBS:-1}
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
out=build/fuzz

# One target; its last line is "NAME: N runs" or "NAME: FAILED".
if [ "${1:-}" = --one ]; then
    target=$2
    mkdir -p "$out/corpus/$target" "$out/findings"
    cp -n "tests/corpus/$target"/* "$out/corpus/$target/" 2>/dev/null || true
    if "$out/$target" -max_total_time="$limit" -max_len=4096 -timeout=30 -seed="${FUZZ_SEED:-0}" -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$out/findings/$target-" \
        "$out/corpus/$target" >"$out/$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
        echo "$target: $runs runs"
    else
        tail -n 40 "$out/$target.log"
        finding=$(ls -t "$out/findings/$target-"* 2>/dev/null | head -n 1)
        if [ -n "$finding" ]; then
            echo "$finding in base64: $(base64 -w 0 "$finding")"
        fi
        echo "$target: FAILED"
    fi
    exit 0
fi

targets="$*"
[ -n "$targets" ] || targets=$(cd tests/fuzz && ls fuzz_*.c | sed 's/\.c$//')

said=$(mktemp)
trap 'rm -f "$said"' EXIT
export SECONDS="$limit"
# shellcheck disable=SC2086
printf '%s\n' $targets | xargs -P "$jobs" -n 1 nice -n 19 sh "$top/scripts/fuzz.sh" --one | tee "$said"

failed=$(grep -c ': FAILED$' "$said" || true)
passed=$(grep -c ' runs$' "$said" || true)
echo "fuzz: $passed passed, $failed failed (findings are in $out/findings)"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
