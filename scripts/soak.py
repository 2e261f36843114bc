#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Valid and hostile load together, with faults, for half an hour; then: did anything grow?

    scripts/soak.py [--seconds 1800] [--clients 12] [--attackers 300] [--seed 1] [--samples FILE]

Valid clients hold every answer against what the pod must have said. Attackers are slow in every way
tests/integration/env/attack.py knows; others send rubbish and leave. Meanwhile pods refuse, freeze
and come back, Redis freezes, the config is reloaded, logs are turned over. Exit code 1 when a
valid request failed, memory grew by more than 2 % after the first third, descriptors did not come
back, a counter did not return to zero, or the edge said an error."""
import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path[:0] = [os.path.join(TOP, "tests", "integration")]

from env import raw  # noqa: E402
from env.attack import KINDS, TLS_KINDS, Attackers  # noqa: E402
from env.certs import Authority  # noqa: E402
from env.conf import region  # noqa: E402
from env.load import Load  # noqa: E402
from env.pod import Pod  # noqa: E402
from env.proxy import Proxy  # noqa: E402
from env.redis import Redis  # noqa: E402
from env.waiting import NotInTime, wait_until  # noqa: E402

GROWTH = 0.02
SAMPLE_S = 0.3  # the attackers go in step: rarer looks would beat with them
FAULT_S = 4.0
COUNTED = ("nearside_cache_bytes", "nearside_buffered_bytes", "nearside_client_connections",
           "nearside_inflight_requests")
RUBBISH = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n" * 1500,
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n{",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x00\x05hello", b"\x00" * 500, b"\r\n" * 100, b"G",
]
TIMEOUTS = {"client_header_ms": 3000, "client_idle_ms": 10000, "request_ms": 3000,
            "idle_ms": 5000, "handshake_ms": 3000}


class Rubbish(threading.Thread):
    """Connects, sends something that is no request, reads a little or nothing, leaves somehow."""

    def __init__(self, ports, seed):
        super().__init__(daemon=True)
        self.ports, self.dice, self.count = ports, random.Random(seed), 0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(0.02):
            try:
                conn = raw.Conn(self.dice.choice(self.ports), timeout=0.3)
                conn.send(self.dice.choice(RUBBISH))
                if self.dice.random() < 0.5:
                    conn.socket.recv(1000)
                conn.reset() if self.dice.random() < 0.5 else conn.close()
            except OSError:
                pass
            self.count += 1


class World:
    def __init__(self, directory):
        authority = Authority(directory)
        certificate = authority.issue("edge")
        self.pods = [Pod(directory, name) for name in ("a", "b", "c")]
        self.redis = Redis(directory)
        self.proxy = Proxy(
            directory,
            [region("near", self.pods[:2], redis=self.redis), region("far", self.pods[2])],
            listeners=[{"bind": "127.0.0.1:0"},
                       {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert,
                                                       "key": certificate.key}}],
            timeouts=TIMEOUTS, limits={"max_connections": 2000},
            cache={"enabled": True, "memory_bytes": 2097152, "max_entry_bytes": 65536})

    def close(self):
        self.proxy.destroy()
        self.redis.close()
        for pod in self.pods:
            pod.close()


def faults(world, dice):
    """What may happen next, as (name, begin, end); at most one at a time, so that a valid request
    always has somewhere to go."""
    pod = dice.choice(world.pods)

    def turn_logs():
        os.replace(world.proxy.access_path, world.proxy.access_path + ".old")
        world.proxy.process.signal(signal.SIGUSR1)

    def nothing():
        pass

    return dice.choice([
        ("pod refuses", lambda: pod.fault("refuse"), pod.heal),
        ("pod answers 500", lambda: pod.fault("error:500"), pod.heal),
        ("redis frozen", world.redis.freeze, world.redis.thaw),
        ("reload", world.proxy.reload, nothing),
        ("logs turned over", turn_logs, nothing),
        ("purge", lambda: world.proxy.admin_post("/cache/purge"), nothing),
    ])


class Watch(threading.Thread):
    """Memory and descriptors, every SAMPLE_S; with `file`, also what the edge counts, as CSV."""

    def __init__(self, proxy, file):
        super().__init__(daemon=True)
        self.proxy, self.process, self.samples = proxy, proxy.process, []
        self.file = open(file, "w") if file else None
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(SAMPLE_S):
            self.samples.append((self.process.rss_bytes(), self.process.open_files()))
            if self.file:
                self.write()

    def write(self):
        metrics = self.proxy.metrics()
        print(*self.samples[-1], *(int(metrics.value(name)) for name in COUNTED), sep=",",
              file=self.file, flush=True)

    def part(self, index, begin, end):
        """The median of a part of the run, by shares of its time."""
        count = len(self.samples)
        return statistics.median(sample[index] for sample in
                                 self.samples[int(count * begin):max(int(count * end), 1)])


def strike(world, options, began):
    dice = random.Random(options.seed)
    struck = {}
    while time.monotonic() - began < options.seconds:
        name, begin, end = faults(world, dice)
        struck[name] = struck.get(name, 0) + 1
        begin()
        time.sleep(FAULT_S / 2)
        end()
        time.sleep(FAULT_S / 2)
    return struck


def run(options, directory):
    world = World(directory)
    proxy = world.proxy
    try:
        with Load(proxy.port, clients=2) as warm:
            warm.wait_count(200)
        time.sleep(1)
        files_before = proxy.process.open_files()
        watch = Watch(proxy, options.samples)
        rubbish = Rubbish([proxy.port, proxy.tls_port, proxy.admin_port], options.seed)
        began = time.monotonic()
        with Attackers(proxy.port, options.attackers, kinds=KINDS + TLS_KINDS,
                       tls_port=proxy.tls_port) as attackers, \
                Load(proxy.port, clients=options.clients, pause_s=0.02) as load:
            watch.start()
            rubbish.start()
            struck = strike(world, options, began)
            watch.stopping.set()
            rubbish.stopping.set()
            load.stop()
        proxy.check_populations()
        time.sleep(1)
        return report(world, options, watch, files_before, load, rubbish, attackers, struck)
    finally:
        world.close()


def files_at_rest(proxy, before):
    """Idle connections to endpoints are kept for a minute."""
    with contextlib.suppress(NotInTime):
        wait_until(lambda: proxy.process.open_files() <= before, "descriptors given back", 75)
    return proxy.process.open_files()


def report(world, options, watch, files_before, load, rubbish, attackers, struck):
    early, late = watch.part(0, 1 / 3, 1 / 2), watch.part(0, 5 / 6, 1)
    growth = late / early - 1
    world.proxy.allow_errors("reload_failed")
    files_after = files_at_rest(world.proxy, files_before)
    code = world.proxy.process.terminate()
    checks = [
        ("valid requests", f"{load.count} answered, {len(load.failures)} failed",
         not load.failures and load.count > 0),
        ("memory", f"{early / 1048576:.1f} MiB early, {late / 1048576:.1f} late, "
                   f"{growth * 100:+.1f} %", growth <= GROWTH),
        ("descriptors", f"{files_before} before, {files_after} after",
         files_after <= files_before),
        ("counters", "back to zero", True),  # check_populations() has seen to it
        ("exit code", str(code), code == 0),
        ("attackers", f"{sum(s['opened'] for s in attackers.stats.values())} connections, longest "
                      f"{max(s['longest_s'] for s in attackers.stats.values()):.1f} s",
         all(stats["opened"] for stats in attackers.stats.values())),
        ("rubbish", f"{rubbish.count} connections", rubbish.count > 0),
        ("faults", ", ".join(f"{count} {name}" for name, count in sorted(struck.items())), True),
    ]
    world.proxy.check_output()
    print(f"\nsoak of {options.seconds} s; MiB by sixths:",
          *(f"{watch.part(0, i / 6, (i + 1) / 6) / 1048576:.1f}" for i in range(6)))
    for name, text, good in checks:
        print(f"{'ok  ' if good else 'BAD '} {name:15} {text}")
    for failure in load.failures[:5]:
        print(f"     {failure}")
    return 0 if all(good for _, _, good in checks) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--attackers", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", help="also write what was seen here, as CSV")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nearside-soak-") as directory:
        sys.exit(run(options, directory))


if __name__ == "__main__":
    main()
