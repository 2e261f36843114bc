#!/usr/bin/env python3
"""Refuse calls of functions that style rule 22 bans outside their one wrapper.

Looks at code only: comments and strings are blanked first. Tests may call anything.
"""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

BANNED = (
    "malloc calloc realloc free strdup strndup reallocarray "
    "strcpy strcat strncpy strncat stpcpy sprintf vsprintf strtok strtok_r gets sscanf alloca "
    "atoi atol atoll atof strtol strtoul strtoll strtoull "
    "time gettimeofday rand random srand printf puts putchar exit sleep usleep nanosleep select"
).split()

# Where one of them is at home, and why.
ALLOWED = {
    "src/base/mem.c": {"malloc", "calloc", "realloc", "free"},  # the wrapper itself
}

CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(text):
    """The text with comments and literals blanked, line numbers kept."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def faults_of(path):
    allowed = ALLOWED.get(path, set())
    with open(os.path.join(TOP, path)) as file:
        for number, line in enumerate(code_of(file.read()).split("\n"), 1):
            for match in CALL.finditer(line):
                if match.group(1) not in allowed:
                    yield f"{path}:{number}: {match.group(1)}() is banned (rule 22)"


def main():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "src", "include"],
                            cwd=TOP, check=True, capture_output=True, text=True).stdout
    paths = [path for path in listed.split() if path.endswith((".c", ".h"))]
    faults = [fault for path in paths for fault in faults_of(path)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"banned: {len(paths)} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
