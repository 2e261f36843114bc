#!/bin/sh
# Build the Debian package from the tracked files, in a copy, into build/deb.
set -eu
cd "$(dirname "$0")/.."
version=$(cat VERSION)
out=build/deb
tree=$out/nearside-$version
log=$out/build.log

rm -rf "$out"
mkdir -p "$tree"
git ls-files -co --exclude-standard -z | tar --null --files-from=- -cf - | tar -xf - -C "$tree"
# Objects of this very tree need not be compiled again.
if [ -d build/obj ]; then
    mkdir -p "$tree/build"
    cp -a build/obj "$tree/build/"
    [ ! -f build/libnearside.a ] || cp -a build/libnearside.a "$tree/build/"
fi
if ! (cd "$tree" && dpkg-buildpackage -b -us -uc -nc) >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
fi
rm -rf "$tree"
ls "$out"/nearside_*.deb
