#!/usr/bin/env python3
"""Check every #include against scripts/layers.txt: a folder knows only the floors below it."""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def read_rules():
    floors, homes = {}, []
    for line in open(os.path.join(TOP, "scripts/layers.txt")):
        line = line.split("#")[0].strip()
        if line.startswith("@"):
            headers, places = line[1:].split(":")
            homes.append((headers.split(), places.split()))
        elif line:
            name, allowed = line.split(":")
            floors[name.strip()] = set(allowed.split())
    return floors, homes


def third_party_fault(header, inside, homes):
    for prefixes, places in homes:
        if any(header.startswith(prefix) for prefix in prefixes):
            if not any(inside.startswith(place) for place in places):
                return f"<{header}> may be included only in {' '.join(places)}"
            return None
    return None


def local_fault(header, folder, floors):
    if "../" in header:
        return f'"{header}": ../ in an include'
    if header.startswith("nearside/"):
        other = header.split("/")[1]
    elif "/" in header:
        other = header.split("/")[0]
    else:
        return None
    if other not in floors:
        return f'"{header}": no such floor'
    if other == folder or "*" in floors[folder] or other in floors[folder]:
        if not header.startswith("nearside/") and other != folder:
            return f'"{header}": another folder\'s private header'
        return None
    return f'"{header}": {folder} may not include {other}'


def main():
    floors, homes = read_rules()
    faults, files = [], 0
    for root in ("src", "include/nearside"):
        for where, _, names in os.walk(os.path.join(TOP, root)):
            for name in sorted(names):
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.join(where, name)
                inside = os.path.relpath(path, os.path.join(TOP, root))
                folder = inside.split("/")[0]
                if folder not in floors:
                    faults.append(f"{path}: folder {folder} is not in layers.txt")
                    continue
                files += 1
                for number, line in enumerate(open(path), 1):
                    match = INCLUDE.match(line)
                    if not match:
                        continue
                    kind, header = match.groups()
                    if kind == '"' or header.startswith("nearside/"):
                        fault = local_fault(header, folder, floors)
                    else:
                        fault = third_party_fault(header, inside, homes)
                    if fault:
                        faults.append(f"{os.path.relpath(path, TOP)}:{number}: {fault}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"layers: {files} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
