#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Strike a running edge with every fault we know and hold what clients saw against the promises.

    scripts/faults.py                     those that differ much (16 min); docs/fault-matrix.md
    scripts/faults.py --all               the others too
    scripts/faults.py vanish one-way      these only, prints their rows and writes nothing
    scripts/faults.py --report            writes the page from the raw figures of earlier runs
    scripts/faults.py --list

Exit code 0 when every promise was kept, 1 when one was missed (they are named), 2 when it cannot
run here. Needs root and /dev/net/tun. Raw figures and each run's logs: build/faults/."""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path[:0] = [os.path.join(TOP, "tests"), os.path.join(TOP, "tests", "integration")]

from env.processes import Died  # noqa: E402
from env.wan import WanError, missing  # noqa: E402
from faults import figures, report  # noqa: E402
from faults.catalogue import BACK_S, FAULTS  # noqa: E402
from faults.world import World  # noqa: E402

STEADY_S = 3.0
WATCH_MORE_S = 10.0  # beyond what is promised, to know how late it was
PAGE = os.path.join(TOP, "docs", "fault-matrix.md")
RAW = os.path.join(TOP, "build", "faults")


def outcomes(world):
    """attempt_outcomes_total and its like: why the edge did what it did."""
    wanted = ("attempt_outcomes", "retries", "limit_hits", "panic", "streams_cut", "failovers")
    return {f"{name}{json.dumps(labels, sort_keys=True)}": value
            for name, labels, value in world.proxy.metrics().samples
            if value and any(word in name for word in wanted)}


def tell(fault, world, struck_wall, notes):
    """Fault, hold, heal, watch: returns (answers, back_s)."""
    notes["wall"] = struck_wall
    fault.strike(world, notes)
    if fault.during is not None:
        fault.during(world, notes)
    else:
        time.sleep(fault.hold_s)
    fault.heal(world, notes)
    return world.wait_normal(time.monotonic(), max(fault.back_s or 0, BACK_S) + WATCH_MORE_S)


def run(fault, clients, directory):
    notes = {}
    load = {"clients": clients, **fault.load}
    with World(directory, settings=fault.settings, load=load, **fault.world) as world, world.load:
        world.load.wait_count_all(load["clients"])
        steady_from = time.monotonic()
        time.sleep(STEADY_S)
        struck, wall = time.monotonic(), time.time()
        back_s = tell(fault, world, wall, notes)
        world.load.stop()
        answers = list(world.load.answers)
        events = world.events_since(wall)
        row, p99 = figures.measure(fault, answers, steady_from, struck, events, back_s)
        row.promises = figures.promises(fault, row, answers, struck, p99)
        if fault.check is not None:
            row.promises += fault.check(world, notes)
        row.outcomes = outcomes(world)
        report.keep_answers(os.path.join(directory, "answers.csv"), answers, struck)
    row.notes.update(notes)
    return row


def run_kept(fault, clients, commit):
    """`run` in a directory that stays, as build/faults/NAME, for whoever asks why."""
    directory = tempfile.mkdtemp(prefix="faults-")
    try:
        row = run(fault, clients, directory)
        row.commit = commit
        report.keep(RAW, row)
        return row
    except (AssertionError, OSError, WanError, Died) as error:
        print(f"{fault.name}: {error}", file=sys.stderr)
        promise = f"a run to its end ({type(error).__name__}: {str(error)[:200]})"
        return figures.Row(fault.name, fault.title, commit, promises=[(promise, False)])
    finally:
        kept = os.path.join(RAW, fault.name)
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(RAW, exist_ok=True)
        shutil.move(directory, kept)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help="names; none: all")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--clients", type=int, default=200)
    return parser.parse_args()


def select(names, with_extra):
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such fault: {', '.join(unknown)}; --list names them", file=sys.stderr)
        sys.exit(2)
    return [known[name] for name in names] or [fault for fault in FAULTS
                                               if with_extra or not fault.is_extra]


def main():
    args = arguments()
    if args.list:
        for fault in FAULTS:
            print(f"{fault.name:16} {fault.title}")
        return 0
    if args.report:
        report.write(PAGE, [row for row in (report.kept(RAW, fault.name) for fault in FAULTS)
                            if row is not None], args.clients)
        return 0
    chosen = select(args.faults, args.all)
    reason = missing()
    if reason:
        print(f"faults: cannot run here: {reason}", file=sys.stderr)
        return 2
    rows = []
    commit = report.commit(TOP)
    for fault in chosen:
        begun = time.monotonic()
        row = run_kept(fault, args.clients, commit)
        rows.append(row)
        print(report.line_of(row).strip(), f"({time.monotonic() - begun:.0f} s)", flush=True)
        for promise in row.missed:
            print(f"    MISSED {fault.name}: {promise}", flush=True)
        if row.missed:
            for why, count in row.reasons.items():
                print(f"        {count} x {why}", flush=True)
    if not args.faults:
        report.write(PAGE, rows, args.clients)
    missed = sum(len(row.missed) for row in rows)
    print(f"faults: {len(rows)} run, {missed} promises missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
