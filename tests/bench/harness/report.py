# SPDX-License-Identifier: MIT
"""From the rounds to medians, from medians to tables and to the requirements met or missed."""
import os
import statistics

RIVALS = ("haproxy", "nginx", "h2o")
KEEPS_UP = 0.95
HISTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "history.md")


def summary(rounds):
    """{figure: {median, min, max, rounds}} of the rounds of one subject."""
    result = {}
    for name in rounds[0]:
        values = [one[name] for one in rounds if one.get(name) is not None]
        if values:
            result[name] = {"median": statistics.median(values), "min": min(values),
                            "max": max(values), "rounds": [one.get(name) for one in rounds]}
    return result


class Results:
    def __init__(self, tree):
        self.tree = tree["workloads"]
        self.picks = tree.get("route_ns", {})
        self.sha256_ms = tree.get("sha256_ms")

    def get(self, workload, label, figure="cpu_us", stat="median"):
        """A median (or min, max, rounds), or None where that was not measured."""
        return (self.tree.get(workload, {}).get("subjects", {}).get(label, {})
                .get(figure, {}).get(stat))

    def keeps_up(self, workload, label):
        """A proxy that falls behind the streams it is to pass on does less work for its CPU."""
        rate = self.get(workload, label, "rate")
        fastest = max((self.get(workload, one, "rate") or 0) for one in (*RIVALS, "nearside", "raw"))
        return rate is not None and rate >= KEEPS_UP * fastest

    def pairs(self, workload, label, other, figure="cpu_us"):
        """A figure of two subjects, round by round: the machine's pace changes by a third within
        minutes, so what stands side by side was measured within a minute."""
        ours, others = (self.get(workload, one, figure, "rounds") or () for one in (label, other))
        return [pair for pair in zip(ours, others) if all(pair)]

    def against(self, workload, label, other, figure="cpu_us"):
        """The median of the rounds' ratios; None where that was not measured."""
        pairs = self.pairs(workload, label, other, figure)
        return statistics.median(one / two for one, two in pairs) if pairs else None

    def against_best(self, workload, figure="cpu_us"):
        """Against the rival that comes off best."""
        ratios = [self.against(workload, "nearside", rival, figure) for rival in RIVALS
                  if not workload.startswith("sse_2") or self.keeps_up(workload, rival)]
        ratios = [value for value in ratios if value is not None]
        return max(ratios) if ratios else None

    def added(self, label, figure):
        """What a proxy adds to going direct, the median of the rounds' differences."""
        pairs = self.pairs("latency", label, "direct", figure)
        return statistics.median(one - two for one, two in pairs) if pairs else None


def prompt_overhead_ms(results, sha256_ms):
    """What the cache adds to a 1 MiB prompt, SHA-256's own cost apart: over passing it on as it
    comes or over keeping it and looking for its model, whichever is cheaper."""
    scanned, *others = (results.get("cache_prompt", label)
                        for label in ("cache on", "unscanned", "cache off"))
    if None in (scanned, *others) or sha256_ms is None:
        return None
    return (scanned - min(others)) / 1000 - sha256_ms


def latency_ratio(results, figure):
    rivals = [results.added(rival, figure) for rival in RIVALS]
    rivals = [value for value in rivals if value is not None]
    ours = results.added("nearside", figure)
    if ours is None or not rivals or min(rivals) <= 0:
        return None  # the direct rounds were the disturbed ones: nothing can be said
    return ours / min(rivals)


def requirements(results):
    """(what, measured, at most) of everything Nearside is held to."""
    against = results.against
    rows = [(f"{title}, of the best of HAProxy, NGINX, H2O", results.against_best(name), limit)
            for name, title, limit in (
                ("small_64", "small requests, 64 connections: CPU", 0.95),
                ("small_1000", "small requests, 1,000 connections: CPU", 0.95),
                ("small_even", "small requests, 64 connections, the same rate for all: CPU", 0.95),
                ("small_even_1000", "small requests, 1,000 connections, the same rate for all: CPU",
                 0.95),
                ("new_connection", "new connections: CPU", 1.0),
                ("sse_200", "SSE 200 streams: CPU per token", 0.9),
                ("sse_2000", "SSE 2,000 streams: CPU per token", 0.9),
                ("sse_2000_paced", "SSE 2,000 paced streams: CPU per token", 0.9),
                ("sse_flood", "tokens as fast as they come: CPU", 0.9),
                ("tls_keepalive", "TLS keep-alive: CPU", 1.0),
                ("tls_full", "TLS full handshake: CPU", 1.0),
                ("tls_resumed", "TLS resumption: CPU", 1.0))]
    rows += [
        ("SSE 200 streams: CPU per token, of the raw forwarder",
         against("sse_200", "nearside", "raw"), 1.15),
        ("SSE 2,000 streams: CPU per token, of the raw forwarder",
         against("sse_2000", "nearside", "raw"), 1.15),
        ("SSE 2,000 paced streams: CPU per token, of the raw forwarder",
         against("sse_2000_paced", "nearside", "raw"), 1.15),
        ("added latency p50, of the best", latency_ratio(results, "p50_us"), 1.0),
        ("added latency p99, of the best", latency_ratio(results, "p99_us"), 1.0),
        ("token's delay p99, 2,000 paced streams, of the best",
         results.against_best("sse_2000_paced", "late_p99_us"), 1.0),
        ("time to first token p99, 2,000 paced streams, of the best",
         results.against_best("sse_2000_paced", "ttft_p99_us"), 1.0),
        ("1 MiB prompts: CPU, of HAProxy", against("prompt_1m", "nearside", "haproxy"), 0.85),
        ("1 MiB prompts with cache scan and SHA: CPU, of HAProxy without",
         against("prompt_1m", "nearside+cache", "haproxy"), 1.8),
        ("memory hit by POST: CPU, of NGINX POST", against("cache_hit", "nearside POST", "nginx POST"), 0.7),
        ("memory hit by POST: CPU, of HAProxy GET", against("cache_hit", "nearside POST", "haproxy GET"), 1.0),
        ("memory hit by POST: CPU, of Varnish GET", against("cache_hit", "nearside POST", "varnish GET"), 1.0),
        ("1 MiB prompt through the cache: ms added, beyond SHA-256's own",
         prompt_overhead_ms(results, results.sha256_ms), 0.3),
        ("KiB per idle connection", results.get("idle", "nearside", "memory_kib"), 1.0),
        ("KiB per running stream", results.get("sse_2000", "nearside", "memory_kib"), 5.0),
        ("16 x 256 endpoints: CPU, of 2 x 2", against("fleet", "16 x 256", "2 x 2"), 1.03),
        ("access log on: CPU, of off", against("access_log", "on", "off"), 1.1),
        ("region and endpoint chosen, 4 x 8 (ns)", results.picks.get("4 x 8"), 300),
        ("region and endpoint chosen, 16 x 256 (ns)", results.picks.get("16 x 256"), 1000),
    ]
    return rows


def verdict(value, limit):
    if value is None:
        return "not measured"
    return "met" if value <= limit else "**missed**"


def requirement_table(results, measured_only=False):
    lines = ["| what | measured | at most | |", "|---|---:|---:|---|"]
    for what, value, limit in requirements(results):
        if measured_only and value is None:
            continue
        shown = "" if value is None else f"{value:.2f}"
        lines.append(f"| {what} | {shown} | {limit} | {verdict(value, limit)} |")
    return lines


def cell(subject, figure, digits):
    value = subject.get(figure)
    return "" if value is None else f"{value['median']:,.{digits}f}"


def spread(subject):
    value = subject.get("cpu_us")
    return "" if value is None else f"{value['min']:,.2f} to {value['max']:,.2f}"


def memory_table(workload):
    lines = [f"### {workload['title']}", "", "| | KiB each, PSS | failed |", "|---|---:|---:|"]
    for label, subject in workload["subjects"].items():
        lines.append(f"| {label} | {cell(subject, 'memory_kib', 2)} | {cell(subject, 'failures', 0)} |")
    return lines + [""]


def workload_table(workload):
    if workload["unit"] == "memory":
        return memory_table(workload)
    lines = [f"### {workload['title']}", "",
             f"| | CPU µs per {workload['unit']} | min to max | runs | {workload['unit']}s per s | p50 µs | p99 µs |"
             " p99.9 µs | proxy, pod, load busy % | KiB each | failed |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for label, subject in workload["subjects"].items():
        busy = ", ".join(f"{100 * subject[name]['median']:.0f}"
                         for name in ("proxy_busy", "pod_busy", "load_busy") if name in subject)
        memory = cell(subject, "memory_kib", 1) if workload["memory_per"] else ""
        lines.append(f"| {label} | {cell(subject, 'cpu_us', 2)} | {spread(subject)} |"
                     f" {cell(subject, 'runs', 3)} | {cell(subject, 'rate', 0)} | {cell(subject, 'p50_us', 0)} |"
                     f" {cell(subject, 'p99_us', 0)} | {cell(subject, 'p999_us', 0)} | {busy} |"
                     f" {memory} | {cell(subject, 'failures', 0)} |")
    return lines + [""]


INTRO = """# Performance

Nearside beside the proxies it is measured against, all from Debian 12, each with one worker thread,
upstream keep-alive, no access log and no buffering of streams; the configs are in `tests/bench/conf/`.

    make bench                      all of it, about 45 minutes on a quiet machine
    BENCH_QUICK=1 make bench        a look, under two minutes; figures go to build/performance.md
    BENCH_ONLY='sse|tls' make bench     some workloads; BENCH_ROUNDS, BENCH_SECONDS
    make bench-cache                hits and 1 MiB prompts beside the others' caches
    make bench-smoke                instructions, allocations, system calls against a budget
    make bench-micro                codecs, cache and routing by themselves

**How.** The proxy runs on one core, the load generator and a pod with ready answers
(`tests/bench/canned.c`) on the other. For each
workload the proxies take turns, round after round, each freshly started. The figure to trust is
the CPU time of the proxy per unit of work, all its threads, in nanoseconds from the scheduler
(`/proc/PID/task/*/schedstat`), read by the load generator at both edges of the measured time;
medians over the rounds, with the lowest and highest round. Rows that a tail or a few percent decide have two
to four times the rounds (`turns` in `workloads.py`). Ratios are of two proxies' figures in the same
round, and again their median: the machine's pace changes by a third within minutes. (What is added to going direct
is a difference of the same round; its ratio is of the medians.) That pod and load are not the limit is to
be seen in the rows: what each was busy stands there, and where the proxy is near 100 % it was the limit
(`raw`, which does least, waits for the other core where theirs together are near 100 %). The simulated pod
of the tests reads its prompts: 12 ms for 1 MiB of them. `raw` is a forwarder that knows no HTTP (`tests/bench/rawforward.c`): one recv and one send per piece, the
floor for anything in user space. An SSE event is counted as a token; its delay is how much later
than the pod's pace it came after the one before. Memory is PSS above that of the fresh process (idle connections: after
12,000 requests on one connection, so that what is kept of the last requests is there); NGINX
allots its connections at the start, so theirs is not all in it.
2,000 streams at 20 ms are 100,000 tokens a second: many pass in one write, so a token costs far less
than alone, and proxies that fall behind do less: those under 95 % of the fastest rate are no best. A proxy near 100 %
busy there puts more tokens together until it fits, so it shows as 9.8 µs at 100,000 a second whatever a token alone costs it.
The paced row, a token each 100 ms, stands beside it. *runs* is how often the proxy was put on its
core, per unit: a proxy that is done sooner than the other core has more for it sleeps, and is woken,
which is CPU as well; one that is always busy finds more at once and never pays that. So where a row
without a rate is won by whoever is busier, the same work at the same rate says more: *open loop*.
"""


def document(tree):
    results = Results(tree)
    versions = ", ".join(f"{name} {version}" for name, version in tree["versions"].items())
    lines = [INTRO, f"Machine: {tree['machine']}. Versions: {versions}. {tree['rounds']} rounds of"
             f" {tree['seconds']} s; load average {tree['load_average']:.2f} before and"
             f" {tree['load_average_after']:.2f} after: above 0.5 others shared the cores, and"
             " differences of a few percent mean nothing.", "",
             "## Held against the requirements", "", *requirement_table(results), "",
             "## Every workload", ""]
    for workload in tree["workloads"].values():
        lines += workload_table(workload)
    with open(HISTORY) as file:
        lines += [file.read()]
    return "\n".join(lines).rstrip() + "\n"
