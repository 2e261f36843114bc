#!/bin/sh
# Install what a purpose needs from Debian's packages, saying what is missing first.
#
#   scripts/deps.sh build     compiler and libraries
#   scripts/deps.sh demo      build + what `make demo` runs
#   scripts/deps.sh test      build + what `make test` runs
#   scripts/deps.sh lint      what `make lint` runs
#   scripts/deps.sh deb       build + what `make deb` and `make deb-test` run
#   scripts/deps.sh bench     build + what `make bench` and `make bench-smoke` run
#
# Services that packages bring (redis-server) are not started: the demo and the tests start
# their own on their own ports. Does nothing, without network, when all is there.
set -eu

BUILD="gcc make pkg-config libc6-dev libevent-dev libssl-dev libhiredis-dev libc-ares-dev libconfig-dev libjansson-dev libzstd-dev"
DEMO="redis-server curl python3"
TEST="chromium clang libclang-rt-14-dev redis-server redis-tools curl python3 python3-pytest python3-pytest-timeout python3-pytest-xdist python3-dnslib python3-redis python3-yaml python3-jsonschema prometheus libcmocka-dev openssl nodejs procps iproute2 nftables valgrind strace util-linux man-db mandoc systemd dpkg-dev debhelper fakeroot lintian"
BENCH="haproxy nginx-light h2o varnish wrk openssl python3 valgrind strace procps util-linux"
DEB="dpkg-dev debhelper fakeroot lintian debootstrap"
LINT="clang clang-format python3 libclang-rt-14-dev"

case "${1:-}" in
build) wanted="$BUILD" ;;
demo)  wanted="$BUILD $DEMO" ;;
test)  wanted="$BUILD $TEST" ;;
lint)  wanted="$BUILD $LINT libcmocka-dev" ;;
deb)   wanted="$BUILD $DEB" ;;
bench) wanted="$BUILD $BENCH" ;;
*)     echo "usage: $0 build|demo|test|lint|deb|bench" >&2; exit 2 ;;
esac

have() {
    dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

missing=""
for package in $wanted; do
    # Node.js and npm may come from elsewhere than Debian; then that one serves.
    if [ "$package" = nodejs ] && command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then
        continue
    fi
    have "$package" || missing="$missing $package"
done
case "$missing" in
*" nodejs"*) command -v npm >/dev/null 2>&1 || missing="$missing npm" ;;
esac
[ -z "$missing" ] && exit 0

echo "installing:$missing" >&2
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "these packages are missing and this is not root:$missing" >&2; exit 1; }
    as_root="sudo"
fi

# Debian starts a service as it installs it; this keeps our installs from doing so.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    made_policy=1
fi
cleanup() { [ -z "$made_policy" ] || $as_root rm -f "$policy"; }
trap cleanup EXIT

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $as_root apt-get update && $as_root apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "could not install:$missing" >&2
    exit 1
fi
rm -f "$log"
