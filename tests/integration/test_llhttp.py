# SPDX-License-Identifier: MIT
"""Our parsers beside llhttp, the parser of Node: the same messages, field by field and body by body,
from 30,000 cases. Where the two differ, ours refuses, for a reason that has a name here."""
import os
import re
import struct
import subprocess

import pytest
from env.processes import binary
from llhttp import cases as corpus

SCRIPT = os.path.join(os.path.dirname(__file__), "llhttp", "verdict.js")
OPEN = ("ok", "more", "closed", "upgrade")  # ends that are no refusal
# Faults that say all: the rule is in docs/http-strictness.md under the same word.
STRICTER = {
    "bad_host": "Host is one host with an optional port, and agrees with the target (RFC 9112 3.2)",
    "bad_target": "no fragment, whole escapes, a known form (RFC 9112 3.2, RFC 3986 2.1)",
    "bad_version": "HTTP/1.0 and 1.1 alone (RFC 9112 2.3)",
    "bad_expect": "100-continue is the only expectation there is (RFC 9110 10.1.1)",
    "bad_transfer_encoding": "exactly one coding, chunked, and none in HTTP/1.0 (RFC 9112 6.1)",
    "length_and_encoding": "never both, even where one is empty (RFC 9112 6.3)",
    "bad_content_length": "lengths fit 63 bits (RFC 9110 8.6)",
    "bad_chunk": "chunk sizes have at most 16 digits, no line is folded (RFC 9112 7.1)",
    "bad_header": "a line ends with CR LF, a name is a token (RFC 9112 2.2, 5)",
    "bad_trailer": "trailers are fields (RFC 9112 7.1.2)",
    "bad_start_line": "single blanks, CR LF, no control characters; HTTP/x.y everywhere; "
                      "status 100-599 (RFC 9112 3, 4)",
    "bad_method": "a method is a token (RFC 9110 9.1)",
}


def run(argv, data):
    done = subprocess.run(argv, input=data, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.split("\t") for line in done.stdout.decode("latin-1").split("\n")[:-1]]


def is_refusal(verdict):
    return verdict[0] not in OPEN


def same_targets(verdict):
    """Absolute targets are split here (OPTIONS of a whole server is "*"); llhttp leaves them."""
    def split(match):
        return f"{match[1]} {match[2] or ('*' if match[1] == 'OPTIONS' else '/')}"
    return [re.sub(r"^([A-Z]+) https?://[^/? ]*(/\S*)?", split, message, flags=re.IGNORECASE)
            for message in verdict[1:]]


def reason(case, ours, theirs):
    """The name of why the two may differ; None: they may not."""
    _, kind, data = case
    if is_refusal(ours):
        # Refused here: whatever they made of it, we saw no more messages than they did.
        return ours[0] if ours[0] in STRICTER and len(ours) <= len(theirs) else None
    if ours[0] == "closed" and ours[1:] == theirs[1:len(ours)]:
        return "closed_earlier"
    if theirs[0] == "upgrade" and theirs[1:] == ours[1:len(theirs)]:
        return "upgrade_not_offered"
    if kind == "q" and theirs[0] == "HPE_INVALID_METHOD" and theirs[1:] == ours[1:len(theirs)]:
        return "method_of_no_list"
    if kind == "s" and re.search(r"\b(1\d\d|204|304) 0 ", "\t".join(ours[1:])) and ours != theirs:
        return "body_of_a_bodiless_status"  # llhttp before 9 reads one; RFC 9112 6.3, rule 1
    if ours[0] == theirs[0] and same_targets(ours) == same_targets(theirs):
        return "target_split"
    return None


@pytest.fixture(scope="module")
def verdicts():
    cases = corpus.all_cases()
    data = b"".join(kind.encode() + struct.pack(">I", len(text)) + text for _, kind, text in cases)
    ours = run([binary("VERDICT_BIN", "build/verdict")], data)
    theirs = run(["node", SCRIPT], data)
    assert len(ours) == len(theirs) == len(cases)
    return list(zip(cases, ours, theirs))


def agree(ours, theirs):
    if is_refusal(ours) and is_refusal(theirs):
        return ours[1:] == theirs[1:]
    return ours == theirs


def test_there_are_thousands_of_cases_good_and_bad(verdicts):
    good = sum(1 for _, ours, theirs in verdicts if ours == theirs)
    refused = sum(1 for _, ours, theirs in verdicts if is_refusal(ours) and is_refusal(theirs))
    assert len(verdicts) > 25000 and good > 5000 and refused > 10000, (len(verdicts), good, refused)


def test_every_difference_has_a_name(verdicts):
    nameless = [(case[0], case[2], ours, theirs) for case, ours, theirs in verdicts
                if not agree(ours, theirs) and reason(case, ours, theirs) is None]
    assert not nameless, f"{len(nameless)}: {nameless[:10]}"


def test_nothing_passes_here_that_llhttp_refuses_but_methods_of_no_list(verdicts):
    wider = [(case[0], case[2], ours, theirs) for case, ours, theirs in verdicts
             if is_refusal(theirs) and not is_refusal(ours) and not agree(ours, theirs)
             and reason(case, ours, theirs) not in ("method_of_no_list", "closed_earlier")]
    assert not wider, f"{len(wider)}: {wider[:10]}"


@pytest.mark.parametrize("name", [name for name, _, _ in corpus.REAL])
def test_what_real_programs_send_means_the_same_to_both(verdicts, name):
    [(ours, theirs)] = [(ours, theirs) for case, ours, theirs in verdicts if case[0] == name]
    assert ours == theirs and ours[0] == "ok" and len(ours) == 2
