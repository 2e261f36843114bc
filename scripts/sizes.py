#!/usr/bin/env python3
"""Print the ten longest .c files and functions, so that growth is seen, not forbidden.

A function is what stands between a `{` and a `}` in column 0, as .clang-format writes it.
"""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONGEST = 10
NAME = re.compile(r"(\w+)\(")


def sources():
    for where, _, names in sorted(os.walk(os.path.join(TOP, "src"))):
        for name in sorted(names):
            if name.endswith(".c"):
                yield os.path.join(where, name)


def functions_of(lines):
    """(name, first line, length) of each function, braces and head not counted."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            yield name_above(lines, start - 2), start, number - start - 1
            start = None


def name_above(lines, index):
    """The function's name: the first `word(` of the head that ends at `index`."""
    first = index
    while first > 0 and lines[first - 1].strip() and not lines[first - 1].startswith(("}", "#", "/")):
        first -= 1
    match = NAME.search(" ".join(lines[first:index + 1]))
    return match.group(1) if match else "?"


def main():
    files, functions = [], []
    for path in sources():
        with open(path) as file:
            lines = file.read().split("\n")
        shown = os.path.relpath(path, TOP)
        files.append((len(lines) - 1, shown))
        functions += [(length, f"{shown}:{at}", name) for name, at, length in functions_of(lines)]
    files.sort(reverse=True)
    functions.sort(reverse=True)

    print("longest files (aim: under 400 lines)")
    for length, path in files[:LONGEST]:
        print(f"{length:6}  {path}")
    print("longest functions (aim: under 40 lines)")
    for length, place, name in functions[:LONGEST]:
        print(f"{length:6}  {name}  {place}")
    over = sum(1 for length, _, _ in functions if length > 40)
    print(f"{len(files)} files, {sum(length for length, _ in files)} lines; "
          f"{len(functions)} functions, {over} over 40 lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
