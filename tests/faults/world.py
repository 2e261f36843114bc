# SPDX-License-Identifier: MIT
"""The world a fault strikes: three regions at true distances, each with two pods and a Redis, the
edge in a namespace of its own, and two hundred clients beside it."""
import contextlib
import datetime
import time

from env import conf
from env.certs import Authority
from env.dns import Dns
from env.proxy import Proxy
from env.waiting import wait_until
from env.wan import Wan
from env.wan_load import WanLoad
from env.wan_peers import WanPod, WanRedis

REGIONS = {"us-east": 12, "eu-west": 38, "ap-south": 140}  # round trips in ms
CLOSEST, SECOND = "us-east", "eu-west"
NAME = "llm.us-east.test"
PODS = 2
OTHER = "edge-2"  # the node of the second edge, where a fault asks for one
HEALTH = {"interval_ms": 1000, "fast_interval_ms": 500, "timeout_ms": 1000, "fall": 3, "rise": 2}
CONNECT_MS = 1000
SERVED_MIN = 5    # answers a second, to say who serves
STAMP_S = 0.001  # what a log line's time is cut to


class World:
    """Everything at its defaults (health checks above all), unless a fault's `settings` differ.

    load: what WanLoad takes. with_tls: the closest region's pods speak TLS. with_dns: its
    endpoints are one name. with_other: a second edge, in a node of its own (`other`)."""

    def __init__(self, directory, settings=None, with_tls=False, with_dns=False,
                 with_other=False, load=None):
        self.directory = str(directory)
        self.stack = contextlib.ExitStack()
        self.pods = {}
        self.redis = {}
        self.dns = None
        self.other = None
        nodes = {"edge": 0, **REGIONS, **({OTHER: 0} if with_other else {})}
        try:
            self.wan = self.stack.enter_context(Wan(nodes))
            self._make_regions(with_tls)
            self.stack.enter_context(self.wan.inside("edge"))
            if with_dns:
                self._make_dns()
            self._make_edge(settings or {}, with_tls)
            self.load = WanLoad(self.proxy.port, **(load or {}))
            if with_other:
                self.other = OtherEdge(self)
                self.stack.callback(self.other.close)
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _make_regions(self, with_tls):
        options = {"first_token_ms": 50, "token_gap_ms": 15}
        self.authority = Authority(self.directory) if with_tls else None
        for name in REGIONS:
            self.pods[name] = []
            more = {}
            if with_tls and name == CLOSEST:
                sans = [f"IP:{self.wan.site(name).address(10 + i)}" for i in range(1, PODS + 1)]
                issued = self.authority.issue(name, sans=sans)
                more = {"scheme": "https", "tls_cert": issued.cert, "tls_key": issued.key}
            for i in range(1, PODS + 1):
                pod = WanPod(self.directory, self.wan, name, f"{name}-{i}", 10 + i,
                             **options, **more)
                self.stack.callback(pod.close)
                self.pods[name].append(pod)
            self.redis[name] = WanRedis(self.directory, self.wan, name, f"redis-{name}")
            self.stack.callback(self.redis[name].close)

    def _make_dns(self):
        self.dns = Dns()
        self.stack.callback(self.dns.close)
        self.dns.records[NAME] = [self.pods[CLOSEST][0].address]

    def _region(self, name, with_tls):
        endpoints = self.pods[name]
        more = {}
        if self.dns is not None and name == CLOSEST:
            endpoints = [f"http://{NAME}:{self.pods[name][0].port}"]
        if with_tls and name == CLOSEST:
            more["tls"] = {"ca": self.authority.cert}
        return conf.region(name, endpoints, self.redis[name], **more)

    def start_edge(self, edge_id, settings=None, with_tls=False):
        """Beside whoever calls: in this thread's namespace."""
        sections = {"listeners": [{"bind": "127.0.0.1:8080"}],
                    "admin": {"bind": "127.0.0.1:9901"},
                    "edge": {"id": edge_id, "workers": 2, "drain_timeout_s": 5},
                    "routing": {"dwell_s": 10}, "health": HEALTH, "cache": {"enabled": True},
                    "timeouts": {"connect_ms": CONNECT_MS}}
        return Proxy(self.directory, [self._region(name, with_tls) for name in REGIONS],
                     env=self.dns.env if self.dns else None, **conf.merged(sections, settings or {}))

    def _make_edge(self, settings, with_tls):
        self.proxy = self.start_edge("edge-1", settings, with_tls)
        self.stack.callback(self.proxy.destroy)
        wait_until(lambda: self.region_of_one() == CLOSEST, f"{CLOSEST} to serve", 15)

    # ---- what faults and figures ask ----

    def region_of_one(self):
        return self.proxy.get("/echo").header("X-Nearside-Region")

    def each_pod(self, fault, region=CLOSEST):
        for pod in self.pods[region]:
            pod.fault(fault)

    def attempts(self):
        """Requests each pod has been given so far."""
        return {pod.name: pod.counters()["started"]
                for pods in self.pods.values() for pod in pods}

    def events_since(self, wall):
        """The log's lines since that wall-clock moment: (seconds after it, line)."""
        events = []
        for line in self.proxy.log():
            when = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
            after_s = when.timestamp() - wall
            if after_s >= -STAMP_S:
                events.append((max(0.0, after_s), line))
        return events

    def wait_normal(self, healed, limit_s):
        """Seconds from `healed` until nine in ten go to the closest region; None: never."""
        return wait_closest(self.load, healed, limit_s)


def share_of_closest(load, since, until):
    """Of the requests begun then and answered; None when there were too few to tell."""
    served = [answer for answer in load.since(since, until) if answer.outcome == "ok"]
    if len(served) < SERVED_MIN:
        return None
    return sum(answer.region == CLOSEST for answer in served) / len(served)


def wait_closest(load, healed, limit_s):
    at = healed
    while at < healed + limit_s:
        while time.monotonic() < at + 2.0:  # a window of 1 s, and 1 s to be answered
            time.sleep(0.05)
        share = share_of_closest(load, at, at + 1.0)
        if share is not None and share >= 0.9:
            return at - healed
        at += 0.5
    return None


class OtherEdge:
    """A second edge over the same regions and Redises, with clients of its own."""

    CLIENTS = 30

    def __init__(self, world):
        self.wan = world.wan
        with self.wan.inside(OTHER):
            self.proxy = world.start_edge(OTHER)
            self.load = WanLoad(self.proxy.port, clients=self.CLIENTS)
            self.load.__enter__()  # its thread stays where it begins
        self.load.wait_count_all(2 * self.CLIENTS)
        world.proxy.wait_metric("nearside_peers", None, 1)

    def readiness(self):
        """(status, text) of its /readyz."""
        with self.wan.inside(OTHER):
            answer = self.proxy.admin("GET", "/readyz")
        return answer.status, answer.text.strip()

    def close(self):
        try:
            self.load.stop()
        finally:
            self.proxy.destroy()
