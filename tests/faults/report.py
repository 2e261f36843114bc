# SPDX-License-Identifier: MIT
"""docs/fault-matrix.md: the table, what was promised and missed, and on what machine."""
import csv
import datetime
import json
import os
import platform
import subprocess

from .catalogue import FAULTS
from .figures import Row

WHY_MISSED = {fault.name: fault.why_missed for fault in FAULTS if fault.why_missed}

HEAD = """# Fault matrix

What clients saw while a fault struck the closest region (us-east, 12 ms away; eu-west 38 ms and
ap-south 140 ms behind it). {clients} clients send plain and streamed chats, short and long, to one
edge with default health checks; every answer is compared with what the pod must have said. The
regions are network namespaces with two simulated pods and a real Redis each, joined by a user-space
packet carrier (`tests/wan`) that makes the distances and the faults.

Made by `make faults` on {date}: {machine}. {origin}
One fault alone: `make faults FAULT=vanish`.

* **failed**: an error, or nothing within 15 s, before the first content. **cut**: begun, not ended.
  **wrong**: ended as if well, with another text; must never be.
* **last hurt**: the last request to be failed, cut, or more than 1 s slower to its first content
  than the steady p99, was begun so long after the fault. **worst**: slowest first content.
  **stalled**: had begun, and ended more than 1 s late, if at all.
* **detected**: from the fault to the log line that says so. **back**: from healing until nine in
  ten requests are served by the closest region again.
* **promises**: "kept" speaks only of what is promised for that fault, listed below the table. Read
  the numbers too.
* A stream that a pod breaks after its first content cannot be taken back: what stands under cut for
  `error-event`, `garbage-event`, `no-done` and `cut` are those until the breaker opened.
* `edge-cut-off`: a second edge loses every link for ten seconds; the row is of the first edge's
  clients, who must not notice. What the second says of itself stands below the table.
* `edge-restart`: what stands under failed are connects refused while no edge ran.
* One run of each fault; what missed was run once more, as said there. First content of a plain answer is its head, so steady p99 is near 0.27 s.

| fault | requests | failed | cut | stalled | wrong | worst | last hurt | detected | back | promises |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
"""


def machine():
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def commit(top):
    done = subprocess.run(["git", "-C", top, "rev-parse", "--short", "HEAD"], capture_output=True,
                          text=True, check=False)
    return done.stdout.strip()


def seconds(value):
    return "-" if value is None else f"{max(0.0, value):.1f} s"


def line_of(row):
    verdict = "kept" if not row.missed else f"**{len(row.missed)} missed**"
    return (f"| `{row.fault}` {row.title} | {row.requests} | {row.failed + row.refused} "
            f"| {row.cut} | {row.stalled} | {row.wrong} | {row.worst_ttft_ms / 1000:.2f} s "
            f"| {seconds(row.last_hurt_s)} | {seconds(row.detected_s)} | {seconds(row.back_s)} | {verdict} |\n")


def details_of(row):
    lines = [f"### {row.fault}\n\n"]
    lines += [f"- {'kept' if kept else '**missed**'}: {promise}\n" for promise, kept in row.promises]
    lines.append(f"- steady first content: p50 {row.steady_p50_ms:.0f} ms, "
                 f"p99 {row.steady_p99_ms:.0f} ms; served by "
                 f"{', '.join(f'{k} {v}' for k, v in sorted(row.served_by.items()))}\n")
    for name, note in row.notes.items():
        if name != "wall":
            lines.append(f"- {name}: {note}\n")
    lines += [f"- {count} x {reason}\n" for reason, count in row.reasons.items()]
    return "".join(lines) + "\n"


def all_missed(rows):
    """What was promised and not kept, at the head of the details."""
    missed = [f"- `{row.fault}`: {promise}. {WHY_MISSED.get(row.fault, '')}".rstrip() + "\n"
              for row in rows for promise in row.missed]
    return "\n## Missed\n\n" + ("".join(missed) or "Nothing.\n")


def origin_of(rows):
    commits = list(dict.fromkeys(row.commit for row in rows if row.commit))
    if len(commits) == 1:
        return f"Every run at commit {commits[0]}."
    return f"Put together from runs at commits {', '.join(commits)}: not of one build."


def write(path, rows, clients):
    text = HEAD.format(clients=clients, date=datetime.date.today().isoformat(),
                       machine=machine(), origin=origin_of(rows))
    text += "".join(line_of(row) for row in rows)
    text += all_missed(rows)
    text += "\n## Promise by promise\n\n" + "".join(details_of(row) for row in rows)
    with open(path, "w") as file:
        file.write(text.rstrip() + "\n")


def kept(directory, name):
    """What `keep` put away, None when there is nothing."""
    path = os.path.join(directory, f"{name}.json")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return Row(**json.load(file))


def keep_answers(path, answers, struck):
    """Every request of a run, times in seconds from the strike."""
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["begun", "first", "ended", "streamed", "outcome", "region", "attempts",
                      "reconnected", "why"])
        for one in answers:
            out.writerow([f"{one.begun - struck:.3f}", f"{one.ttft:.3f}",
                          f"{one.ended - one.begun:.3f}", int(one.streamed), one.outcome,
                          one.region, one.attempts, int(one.reconnected), one.why])


def keep(directory, row):
    """The raw figures, for later questions."""
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, f"{row.fault}.json"), "w") as file:
        json.dump(row.__dict__, file, indent=1, default=str)
