#!/usr/bin/env python3
"""Compare the writable symbols of the built objects with scripts/globals.txt (style rule 11).

    check_mutable_globals.py build/obj

Whatever lies in .data, .bss or their thread-local kin and is not listed with a reason is a fault,
and so is a listed symbol that its object no longer has. The symbol tables come from objdump: nm
shows .data.rel.ro (constants that hold addresses) as if it were writable.
"""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WRITABLE = (".data", ".bss", ".tbss", ".tdata", "*COM*")
RELRO = ".data.rel.ro"  # constants with addresses in them: read-only once linked


def read_list():
    allowed = {}
    with open(os.path.join(TOP, "scripts/globals.txt")) as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            place, _, reason = line.partition(":")
            if not reason.strip():
                sys.exit(f"scripts/globals.txt:{number}: no reason given")
            allowed[tuple(place.split())] = reason.strip()
    return allowed


def writable_symbols(path):
    """Lines look like `0000000000000220 l     O .bss	0000000000000028 registry_lock`."""
    table = subprocess.run(["objdump", "-t", path], check=True, capture_output=True, text=True)
    for line in table.stdout.splitlines():
        head, tab, tail = line.partition("\t")
        if not tab:
            continue
        section, name = head.split()[-1], tail.split()[-1]
        if section.startswith(WRITABLE) and not section.startswith(RELRO) and name != section:
            yield name


def base_name(symbol):
    """A function's own static is `words.3` for gcc and `function.words` for clang."""
    return [part for part in symbol.split(".") if not part.isdigit()][-1]


def main():
    objects = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build/obj")
    allowed, found, checked = read_list(), set(), set()
    for where, _, names in os.walk(objects):
        for name in sorted(names):
            if not name.endswith(".o"):
                continue
            path = os.path.join(where, name)
            source = os.path.relpath(path, objects)[:-2] + ".c"
            if not os.path.exists(os.path.join(TOP, "src", source)):
                continue  # left over from a source that is gone
            checked.add(source)
            found |= {(source, base_name(symbol)) for symbol in writable_symbols(path)}

    faults = [f"src/{source}: mutable global `{name}` is not in scripts/globals.txt"
              for source, name in sorted(found - set(allowed))]
    faults += [f"scripts/globals.txt: `{source} {name}` is no longer there"
               for source, name in sorted(set(allowed) - found) if source in checked]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"globals: {len(checked)} objects, {len(found)} mutable, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
