#!/bin/sh
# The package in a fresh Debian root: installs with nothing but its dependencies, runs, is upgraded,
# is removed and purged. Needs root (debootstrap, chroot) and Debian's mirror.
set -eu
cd "$(dirname "$0")/.."
package=$(ls build/deb/nearside_*.deb)
root=$(mktemp -d)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
chmod 755 "$root" # apt fetches as another user
trap 'rm -rf "$root"' EXIT

say() { echo "deb-test: $*"; }
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

say "making a root"
debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
for part in /etc/apt/apt.conf.d /etc/apt/sources.list.d /etc/apt/keyrings; do
    [ ! -d "$part" ] || cp -a "$part/." "$root$part/"
done
rm -f "$root/etc/apt/sources.list" # debootstrap's, when the machine has its own
ls "$root"/etc/apt/sources.list.d/*.sources "$root"/etc/apt/sources.list.d/*.list >/dev/null 2>&1 ||
    echo "deb $mirror bookworm main" >"$root/etc/apt/sources.list"
cp -a /etc/ssl/certs "$root/etc/ssl/" 2>/dev/null || true
printf '#!/bin/sh\necho "$*" >>/started; exit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
cp "$package" "$root/nearside.deb"

say "installing"
inside apt-get update -q >/dev/null
inside apt-get install -q -y --no-install-recommends /nearside.deb >"$root/apt.log" 2>&1 ||
    { tail -n 30 "$root/apt.log" >&2; exit 1; }
inside nearside --version
inside nearside -t -c /etc/nearside/nearside.conf
inside getent passwd nearside >/dev/null
[ "$(inside stat -c '%U:%G %a' /etc/nearside/nearside.conf)" = "root:nearside 640" ]
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/nearside.service" ]
[ ! -e "$root/started" ]

say "a change of the operator's survives an upgrade"
echo '# mine' >>"$root/etc/nearside/nearside.conf"
inside dpkg -i --force-confold /nearside.deb >/dev/null
grep -q '^# mine$' "$root/etc/nearside/nearside.conf"

say "removing and purging"
inside dpkg -r nearside >/dev/null
[ -e "$root/etc/nearside/nearside.conf" ]
inside dpkg -P nearside >/dev/null
[ ! -e "$root/etc/nearside" ]
[ ! -e "$root/usr/sbin/nearside" ]
say "ok"
