#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients that mean harm: thousands of connections that are as slow as they can be.

    attack.py --port P [--tls-port T] --count N --tick S [--kinds a,b]

One process, one epoll. Each connection does one small thing per tick (a byte of a head, a byte of a
body, a few bytes read), and comes back when the edge ends it. Runs until its stdin is closed, then
prints what it saw as one line of JSON: per kind how many connections were opened, ended by the edge,
refused at once, and the longest time that one was held."""
import argparse
import collections
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time

KINDS = ("half_open", "slow_head", "slow_body", "slow_reader", "tiny_chunks", "slow_keepalive")
TLS_KINDS = ("tls_silent", "tls_garbage", "tls_dribble")
HELLO = bytes.fromhex("16030100f0010000ec0303") + b"a" * 32  # the first bytes of a ClientHello
HEAD = b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Slow: "
READS = 64


class Attacker:
    def __init__(self, kind, port):
        self.kind = kind
        self.port = port
        self.socket = None
        self.since = 0.0
        self.step = 0

    def open(self, poll, by_fd):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if self.kind == "slow_reader":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.since = time.monotonic()
        self.step = 0
        self.socket.connect_ex(("127.0.0.1", self.port))
        events = 0 if self.kind == "slow_reader" else select.EPOLLIN
        poll.register(self.socket.fileno(), events | select.EPOLLRDHUP | select.EPOLLET)
        by_fd[self.socket.fileno()] = self

    def close(self, poll, by_fd):
        poll.unregister(self.socket.fileno())
        del by_fd[self.socket.fileno()]
        self.socket.close()
        self.socket = None

    def bytes_now(self):
        """What this tick sends."""
        first = self.step == 0
        self.step += 1
        if self.kind == "slow_head":
            return HEAD if first else b"a"
        if self.kind == "slow_body":
            return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                    b"Content-Length: 1000000\r\n\r\n") if first else b" "
        if self.kind == "slow_reader":
            return b"GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\n\r\n" if first else b""
        if self.kind == "tiny_chunks":
            return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n") if first else b"1\r\n \r\n"
        if self.kind == "slow_keepalive":
            return b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n" if self.step % 5 == 1 else b""
        if self.kind == "tls_garbage":
            return b"\x00garbage"
        if self.kind == "tls_dribble":
            return HELLO[self.step % len(HELLO):][:1] if not first else HELLO[:1]
        return b""

    def act(self):
        """One tick. False: the edge ended it."""
        try:
            data = self.bytes_now()
            if data:
                self.socket.send(data)
            if self.kind == "slow_reader" and self.step > 1:
                return self.socket.recv(READS) != b""
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Attack:
    """The attack itself, run by main(); see Attackers for the tests' side."""

    def __init__(self, options):
        self.options = options
        self.poll = select.epoll()
        self.by_fd = {}
        self.stats = collections.defaultdict(lambda: {"opened": 0, "ended": 0, "longest_s": 0.0})
        kinds = options.kinds.split(",")
        self.all = [Attacker(kind, options.tls_port if kind.startswith("tls_") else options.port)
                    for kind in (kinds[i % len(kinds)] for i in range(options.count))]
        self.idle = collections.deque(self.all)

    def end(self, attacker):
        stats = self.stats[attacker.kind]
        stats["ended"] += 1
        stats["longest_s"] = max(stats["longest_s"], time.monotonic() - attacker.since)
        attacker.close(self.poll, self.by_fd)
        self.idle.append(attacker)

    def open_some(self, count):
        for _ in range(min(count, len(self.idle))):
            attacker = self.idle.popleft()
            self.stats[attacker.kind]["opened"] += 1
            attacker.open(self.poll, self.by_fd)

    @staticmethod
    def has_ended(attacker):
        """Read what it is told, to the end: there is one event for all that has come."""
        if attacker.kind == "slow_reader":
            return False
        try:
            while attacker.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def hear(self, seconds):
        """What the edge did."""
        for fd, events in self.poll.poll(seconds):
            attacker = self.by_fd.get(fd)
            if attacker is None:
                continue
            if events & (select.EPOLLHUP | select.EPOLLERR) or self.has_ended(attacker):
                self.end(attacker)

    def run(self):
        """In slices of a tick, so that the attackers do not all act at once."""
        slices = 100
        place = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            began = time.monotonic()
            self.open_some(max(1, len(self.all) // slices))
            for attacker in self.all[place::slices]:
                if attacker.socket is not None and not attacker.act():
                    self.end(attacker)
            place = (place + 1) % slices
            while (left := began + self.options.tick / slices - time.monotonic()) > 0:
                self.hear(left)
        for attacker in self.all:
            if attacker.socket is not None:
                stats = self.stats[attacker.kind]
                stats["longest_s"] = max(stats["longest_s"], time.monotonic() - attacker.since)
        print(json.dumps(self.stats), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--tick", type=float, default=1.0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # What is measured is the edge, not who gets this machine's few CPUs.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    Attack(options).run()


class Attackers:
    """An attack in a process of its own, in a `with`."""

    def __init__(self, port, count, tick=1.0, kinds=KINDS, tls_port=0):
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--port", str(port), "--tls-port",
             str(tls_port), "--count", str(count), "--tick", str(tick), "--kinds",
             ",".join(kinds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stats = None

    def __enter__(self):
        return self

    def pause(self):
        """Every connection stays; nothing is done on any."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.stats is None:
            out, _ = self.process.communicate(timeout=30)  # closes stdin: the sign to stop
            self.stats = json.loads(out)
        return self.stats

    def __exit__(self, *_):
        self.stop()


if __name__ == "__main__":
    main()
