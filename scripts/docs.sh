#!/bin/sh
# Regenerate what the binary knows best: conf/nearside.conf, docs/configuration.md,
# docs/metrics.md and docs/man/nearside.conf.5, from the tables they are declared in.
#
#   scripts/docs.sh BINARY           write them
#   scripts/docs.sh BINARY --check   fail if one of them is out of date, write nothing
set -eu

binary="${1:?usage: scripts/docs.sh BINARY [--check]}"
mode="${2:-}"
top=$(cd "$(dirname "$0")/.." && pwd)
new=$(mktemp)
trap 'rm -f "$new"' EXIT
stale=0

make_page() {
    "$binary" --docs "$1" >"$new"
    if [ "$mode" != --check ]; then
        mkdir -p "$(dirname "$top/$2")"
        cat "$new" >"$top/$2"
    elif ! cmp -s "$new" "$top/$2"; then
        echo "$2 is out of date: run make docs" >&2
        stale=1
    fi
}

make_page conf conf/nearside.conf
make_page configuration docs/configuration.md
make_page metrics docs/metrics.md
make_page man docs/man/nearside.conf.5
exit $stale
