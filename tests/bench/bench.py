#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure Nearside beside other proxies: `make bench`. docs/performance.md says how and what came out.

Environment: BENCH_QUICK=1 (one short round, the slow workloads left out), BENCH_ONLY (a regular
expression of workloads), BENCH_SUBJECTS (likewise, of who is measured), BENCH_ROUNDS, BENCH_SECONDS,
BENCH_PERF=1 (see measure.profile), BENCH_BEFORE=PATH (another nearside, measured in turn with this
one; the ratio of each round is what a change gave).
"""
import json
import os
import re
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import machine, measure, report, servers, workloads  # noqa: E402

QUICK = os.environ.get("BENCH_QUICK") == "1"
ONLY = os.environ.get("BENCH_ONLY", "")
SUBJECTS = os.environ.get("BENCH_SUBJECTS", "")
BEFORE = os.environ.get("BENCH_BEFORE", "")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1" if QUICK else "7"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "0.4" if QUICK else "1"))


def chosen():
    for workload in workloads.all_workloads():
        if re.search(ONLY, workload.name) and (ONLY or not (QUICK and workload.is_slow)):
            workload = workloads.compared(workload) if BEFORE else workload
            workload.subjects = [one for one in workload.subjects if re.search(SUBJECTS, one.label)]
            yield workload


def in_turn(subjects, number):
    """To and fro, so that none is always the one that comes after a pause."""
    return subjects if number % 2 == 0 else subjects[::-1]


def run_workload(workload, certificate):
    rounds = {subject.label: [] for subject in workload.subjects}
    pod = servers.CannedPod(workload.everywhere)
    try:
        for number in range(ROUNDS * (1 if QUICK else workload.turns)):
            for subject in in_turn(workload.subjects, number):
                rounds[subject.label].append(
                    measure.measure(workload, subject, pod, max(SECONDS, workload.seconds),
                                    certificate))
    finally:
        pod.stop()
    show_ratios(workload.name, against_before(rounds))
    return {"title": workload.title, "unit": workload.unit, "memory_per": workload.memory_per,
            "subjects": {label: report.summary(runs) for label, runs in rounds.items()}}


def against_before(rounds):
    """{label: this build's costs and the other's, of each round}"""
    return {label: [(ours["cpu_us"], others["cpu_us"]) for ours, others in
                    zip(rounds[label], rounds[f"{label} before"]) if others.get("cpu_us")]
            for label in rounds if f"{label} before" in rounds}


def show_ratios(name, pairs_of):
    """Of the rounds' ratios the median; and the ratio of the two least disturbed rounds."""
    for label, pairs in pairs_of.items():
        if pairs:
            ratios = [ours / others for ours, others in pairs]
            least = min(ours for ours, _ in pairs) / min(others for _, others in pairs)
            print(f"{name:15} {label} of before: {statistics.median(ratios):.3f}"
                  f" ({min(ratios):.3f} to {max(ratios):.3f}); least disturbed {least:.3f}", flush=True)


def show(name, result):
    def text(subject):
        cpu = report.cell(subject, "cpu_us", 2) or report.cell(subject, "memory_kib", 2) + " KiB"
        failed = subject["failures"]["max"]
        return cpu + (f" ({failed:.0f} failed)" if failed else "")
    print(f"{name:15}", "  ".join(f"{label} {text(subject)}"
                                  for label, subject in result["subjects"].items()), flush=True)


def main():
    servers.raise_fd_limit()
    tree = {**machine.describe(), "sha256_ms": machine.sha256_ms(), "rounds": ROUNDS, "seconds": SECONDS, "workloads": {}}
    print("CPU microseconds of the proxy per unit; load average", round(tree["load_average"], 2))
    with tempfile.TemporaryDirectory(prefix="nearside-bench-") as directory:
        certificate = machine.make_certificate(directory)
        for workload in chosen():
            result = run_workload(workload, certificate)
            tree["workloads"][workload.name] = result
            show(workload.name, result)
    tree["route_ns"] = machine.route_ns()
    tree["load_average_after"] = os.getloadavg()[0]
    is_full = not (QUICK or ONLY or SUBJECTS or BEFORE)
    with open(os.path.join(machine.BUILD, "bench.json"), "w") as file:
        json.dump(tree, file, indent=1)
    where = ("docs" if is_full else "build") + "/performance.md"
    with open(os.path.join(machine.TOP, where), "w") as file:
        file.write(report.document(tree))
    print("\n".join(report.requirement_table(report.Results(tree), measured_only=not is_full)))
    print(f"written: build/bench.json, {where}")


if __name__ == "__main__":
    main()
