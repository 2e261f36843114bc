# SPDX-License-Identifier: MIT
"""A world of network namespaces with real distances and network faults (tests/wan carries).

    with Wan({"edge": 0, "us-east": 12, "eu-west": 38}) as wan:
        with wan.inside("us-east"):
            pod = WanPod(directory, wan.site("us-east"), "us-1", 11)
        with wan.inside("edge"):
            proxy = Proxy(...)      # processes, threads and sockets begun here live there
        wan.cut("us-east")          # packets vanish; nobody is told
        wan.heal("us-east")

Each node is one namespace, `ns-<pid>-<node>`, and owns 198.18.N.0/24. What a killed run leaves
behind carries its dead pid and is cleared away by the next run."""
import atexit
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess

from .processes import _die_with_parent, binary
from .waiting import wait_until

CLONE_NEWNET = 0x40000000
NETNS_NAME = re.compile(r"ns-(\d+)-[\w-]+$")
NETNS_DIRECTORY = "/run/netns"
_libc = ctypes.CDLL(None, use_errno=True)


class WanError(Exception):
    """The network could not be made or changed as asked."""


def _run(*argv, check=True):
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL, check=False)
    if check and done.returncode != 0:
        raise WanError(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


def missing():
    """Why there can be no Wan on this machine; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"the program {program} is missing (scripts/deps.sh test installs it)"
    probe = f"ns-{os.getpid()}-probe"
    try:
        _run("ip", "netns", "add", probe)
        _run("ip", "netns", "del", probe)
    except WanError as error:
        return f"no right to make network namespaces: {error}"
    return None


def require_wan():
    """Skip the test where there can be no Wan; in CI that is a failure, lest nobody notice."""
    import pytest  # here, so that `make faults` does without it

    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to run this: {reason}")
    if reason:
        pytest.skip(reason)


def _set_netns(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise WanError(f"setns {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def _is_alive(pid):
    return os.path.exists(f"/proc/{pid}")


def _delete_netns(name):
    for pid in _run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run("ip", "netns", "del", name, check=False)


def clear_leftovers():
    """Namespaces of runs that ended without clearing up, and what still runs in them."""
    if not os.path.isdir(NETNS_DIRECTORY):
        return
    for name in os.listdir(NETNS_DIRECTORY):
        match = NETNS_NAME.match(name)
        if match and not _is_alive(match.group(1)):
            _delete_netns(name)


class Site:
    """One node: a namespace, its addresses, its distance from everybody else."""

    def __init__(self, name, number, rtt_ms):
        self.name = name
        self.number = number
        self.rtt_ms = rtt_ms
        self.netns = f"ns-{os.getpid()}-{name}"

    def address(self, host=1):
        return f"198.18.{self.number}.{host}"

    @property
    def network(self):
        return f"198.18.{self.number}.0/24"


class Wan:
    def __init__(self, nodes):
        """`nodes`: name to round-trip time in ms to (the node of distance 0, usually) the edge.

        Between two far nodes the distances add up, as if all roads led over the edge."""
        self.sites = {name: Site(name, number, rtt_ms)
                      for number, (name, rtt_ms) in enumerate(nodes.items())}
        self.popen = None
        self._faulty = set()
        clear_leftovers()
        atexit.register(self.close)
        try:
            for site in self.sites.values():
                self._make(site)
            self._start_carrier()
            for site in self.sites.values():
                _run("ip", "-n", site.netns, "route", "add", "local", site.network, "dev", "lo")
            for name in self.sites:
                self._set_distance(name, self.sites[name].rtt_ms)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _make(site):
        _run("ip", "netns", "add", site.netns)
        _run("ip", "-n", site.netns, "link", "set", "lo", "up")

    def _start_carrier(self):
        argv = [binary("WAN_BIN", "build/wan")]
        for site in self.sites.values():
            argv += ["--node", f"{site.name}={site.netns}={site.address()}"]
        self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, bufsize=1, preexec_fn=_die_with_parent)
        line = self.popen.stdout.readline().strip()
        if line != "ready":
            raise WanError(f"{argv[0]} did not start: {line!r}, code {self.popen.wait(10)}")

    def close(self):
        atexit.unregister(self.close)
        if self.popen is not None:
            self.popen.stdin.close()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)
            self.popen.stdout.close()
            self.popen = None
        for site in self.sites.values():
            if os.path.exists(os.path.join(NETNS_DIRECTORY, site.netns)):
                _delete_netns(site.netns)

    def site(self, name):
        return self.sites[name]

    @contextlib.contextmanager
    def inside(self, name):
        """This thread, and every process, thread and socket it begins, is in that node."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _set_netns(os.path.join(NETNS_DIRECTORY, self.sites[name].netns))
        try:
            yield
        finally:
            _set_netns(f"/proc/self/fd/{before}")
            os.close(before)

    # ---- the carrier ----

    def command(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise WanError(f"{line}: {answer or 'the carrier has ended'}")
        return answer

    def stats(self):
        """Counters of each way, by (from, to)."""
        links = json.loads(self.command("stats"))["links"]
        return {(link["from"], link["to"]): link for link in links}

    def _set_distance(self, name, rtt_ms):
        for other, site in self.sites.items():
            if other != name:
                self.command(f"set {name}:{other} delay_ms {(rtt_ms + site.rtt_ms) / 2:g}")

    # ---- faults of the network ----

    def cut(self, name):
        """Packets vanish both ways; connections stall and go on after `heal`."""
        self.command(f"cut {name}")

    def cut_in(self, name):
        """Nothing reaches the node; what it sends still arrives."""
        self.command(f"cut-in {name}")

    def cut_out(self, name):
        """Nothing of what the node sends arrives."""
        self.command(f"cut-out {name}")

    def cut_between(self, one, other):
        self.command(f"cut {one}:{other}")

    def loss(self, name, percent):
        self.command(f"set {name} loss_pct {percent:g}")

    def jitter(self, name, jitter_ms):
        self.command(f"set {name} jitter_ms {jitter_ms:g}")

    def rate(self, name, mbit):
        self.command(f"set {name} rate_mbit {mbit:g}")

    def farther(self, name, more_ms):
        """The round trip takes `more_ms` longer than it did at the beginning."""
        self._set_distance(name, self.sites[name].rtt_ms + more_ms)

    # ---- faults at the node's door ----

    def _filter(self, name, rule):
        site = self.sites[name]
        with self.inside(name):
            _run("nft", "add table ip faults; add chain ip faults input "
                 "{ type filter hook input priority 0; }; "
                 f"add rule ip faults input iifname wan0 {rule}")
        self._faulty.add(site.name)

    def reset(self, name):
        """Every TCP segment that arrives is answered with RST, old connections' too."""
        self._filter(name, "meta l4proto tcp reject with tcp reset")

    def drop_syn(self, name):
        """Connections under way go on, new ones are never answered."""
        self._filter(name, "tcp flags & (syn | ack) == syn drop")

    def drop_present(self, name):
        """Connections that exist now stall for ever, new ones work."""
        lines = _run("ip", "netns", "exec", self.sites[name].netns,
                     "ss", "-Htn", "state", "established").splitlines()
        ports = {line.split()[-1].rsplit(":", 1)[1] for line in lines
                 if not line.split()[-1].startswith(self.sites[name].network[:-4])}
        if ports:
            self._filter(name, f"tcp sport {{ {', '.join(sorted(ports))} }} drop")

    def drop_after_handshake(self, name):
        """Connects succeed; whatever is said after that vanishes, on old connections too."""
        self._filter(name, "tcp flags & syn == 0 meta length > 60 drop")

    def unreachable(self, name):
        """Connects fail at once: no route to host."""
        for other, site in self.sites.items():
            if other != name:
                _run("ip", "-n", site.netns, "route", "replace", "unreachable",
                     self.sites[name].network)

    def link_down(self, name):
        _run("ip", "-n", self.sites[name].netns, "link", "set", "wan0", "down")

    def heal(self, name):
        """End every fault of this node and set its first distance again."""
        self.command(f"heal {name}")
        self.loss(name, 0)
        self.jitter(name, 0)
        self.rate(name, 0)
        self._set_distance(name, self.sites[name].rtt_ms)
        _run("ip", "-n", self.sites[name].netns, "link", "set", "wan0", "up")
        if name in self._faulty:
            with self.inside(name):
                _run("nft", "delete", "table", "ip", "faults")
            self._faulty.discard(name)
        for site in self.sites.values():
            _run("ip", "-n", site.netns, "route", "del", "unreachable", self.sites[name].network,
                 check=False)

    def wait_carried(self, source, to, packets, timeout=5.0):
        """Wait until this many packets have gone that way."""
        return wait_until(lambda: self.stats()[source, to]["packets"] >= packets,
                          f"{packets} packets from {source} to {to}", timeout)
