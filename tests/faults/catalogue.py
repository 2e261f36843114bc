# SPDX-License-Identifier: MIT
"""The faults: how each is made and healed, and which promises it is held against."""
import dataclasses
import time
from typing import Callable, Optional

from env.waiting import wait_until

from .world import CLOSEST, NAME, OTHER, wait_closest

BACK_S = 31.0  # after probes took it out: rise (2 x 0.5 s) + 30 s of slow start
# After a breaker did: it is tried 1 to 1.5 s after it opened, then 2 to 3, then 4 to 6, so at most
# 4.5 s after a fault of 6 s ends; the slow start; half a second for the steps of our measuring.
BACK_BREAKER_S = 35.0
DETECT_S = 4.5
HOLD_S = 6.0
HURT_S = 5.0  # from the fault to the last request it hurts


@dataclasses.dataclass
class Fault:
    name: str
    title: str
    strike: Callable
    heal: Callable
    hold_s: float = HOLD_S
    during: Optional[Callable] = None  # instead of waiting hold_s
    settings: dict = dataclasses.field(default_factory=dict)
    world: dict = dataclasses.field(default_factory=dict)
    load: dict = dataclasses.field(default_factory=dict)  # other than the usual clients
    detect: tuple = ("region_down", CLOSEST)  # the event that says it was noticed
    # promises; None: not promised, only recorded
    failed_max: Optional[int] = 0
    cut_max: Optional[int] = None
    refused_max: int = 0
    detect_s: Optional[float] = None
    back_s: Optional[float] = BACK_S
    hurt_s: Optional[float] = None  # 0.0: no request is hurt at all
    last_hurt_s: Optional[float] = None  # the last request to be hurt was begun so long after
    is_vanish: bool = False         # until detection: connect timeout + 1 RTT; nothing after
    is_extra: bool = False          # only when named or with --all: much like another one
    check: Optional[Callable] = None  # (world, notes) -> [(promise, kept)]
    why_missed: str = ""  # for the page, when a promise was missed and we know the reason


def pods_fault(fault, count=2):
    def strike(world, _notes):
        for pod in world.pods[CLOSEST][:count]:
            pod.fault(fault)
    return strike


def pods_heal(world, _notes):
    for pod in world.pods[CLOSEST]:
        pod.heal()


def wan(method, *args):
    return lambda world, _notes: getattr(world.wan, method)(CLOSEST, *args)


def wan_heal(world, _notes):
    world.wan.heal(CLOSEST)


def nothing(_world, _notes):
    """Healed already, or nothing to heal."""


# ---- the longer stories ----

def freeze_pods(world, _notes):
    for pod in world.pods[CLOSEST]:
        pod.freeze()


def thaw_pods(world, _notes):
    for pod in world.pods[CLOSEST]:
        pod.thaw()


def flap(world, _notes):
    """Three seconds away, three seconds back, three times."""
    for _ in range(3):
        world.wan.cut(CLOSEST)
        time.sleep(3)
        world.wan.heal(CLOSEST)
        time.sleep(3)


def wave(world, _notes):
    """+120 ms for 8 s, true distance for 8 s, twice."""
    for _ in range(2):
        world.wan.farther(CLOSEST, 120)
        time.sleep(8)
        world.wan.heal(CLOSEST)
        time.sleep(8)


def count_home_changes(world, notes):
    changes = [line for _, line in world.events_since(notes["wall"])
               if line["event"] == "home_changed"]
    notes["home changes"] = len(changes)
    return changes


def flap_check(world, notes):
    count_home_changes(world, notes)
    return []


def wave_check(world, notes):
    changes = count_home_changes(world, notes)
    return [(f"at most 2 home changes a minute (in 32 s: {len(changes)})", len(changes) <= 2)]


def watch_share(world, notes):
    """One second for the edge to learn, then count who is asked."""
    time.sleep(1)
    before = world.attempts()
    time.sleep(HOLD_S - 1)
    notes["attempts"] = {name: count - before[name] for name, count in world.attempts().items()}


def share_check(world, notes):
    given = notes["attempts"]
    share = given[world.pods[CLOSEST][0].name] / max(1, sum(given.values()))
    notes["share"] = round(share, 4)
    return [(f"share of attempts under 5 % after 1 s ({share:.1%})", share < 0.05)]


def dns_gone(world, _notes):
    world.dns.mode = "silent"


def dns_back(world, _notes):
    world.dns.mode = "ok"


def dns_change(world, notes):
    notes["old"], new = (pod.address for pod in world.pods[CLOSEST])
    world.dns.records[NAME] = [new]


def dns_change_back(world, notes):
    world.dns.records[NAME] = [notes["old"]]


def redis_freeze(world, _notes):
    for redis in world.redis.values():
        redis.freeze()


def redis_thaw(world, _notes):
    for redis in world.redis.values():
        redis.thaw()


def edge_restart(world, notes):
    begun = time.monotonic()
    world.proxy.process.terminate()
    notes["stopped after s"] = round(time.monotonic() - begun, 2)
    world.proxy.start()
    notes["back after s"] = round(time.monotonic() - begun, 2)


def all_gone(world, _notes):
    for name in world.pods:
        world.wan.cut(name)


def all_back(world, _notes):
    for name in world.pods:
        world.wan.heal(name)


def cut_off(world, notes):
    """The second edge loses every region and every Redis; what it says of itself, meanwhile."""
    begun = time.monotonic()
    world.wan.cut(OTHER)
    while time.monotonic() < begun + 10:
        status, text = world.other.readiness()
        if status != 200:
            notes.setdefault("its readiness failed after s", round(time.monotonic() - begun, 2))
            said = notes.setdefault("it said of itself", [])
            if text not in said:
                said.append(text)
        time.sleep(0.1)


def cut_off_heal(world, notes):
    world.wan.heal(OTHER)
    healed = time.monotonic()
    wait_until(lambda: world.other.readiness()[0] == 200, "the second edge to be ready", 20)
    ready = time.monotonic()
    notes["its readiness was back after s"] = round(ready - healed, 2)
    notes["it chose the closest again after s"] = wait_closest(world.other.load, healed,
                                                               BACK_S + 15)
    world.other.load.stop()
    answers = world.other.load.since(ready)
    notes["its requests since ready"] = len(answers)
    notes["failed of these"] = sum(answer.outcome != "ok" for answer in answers)
    notes["its requests in all, failed of these"] = (
        len(world.other.load.answers),
        sum(answer.outcome != "ok" for answer in world.other.load.answers))


UNAFFECTED = ("home_changed", "region_down", "region_degraded", "region_put_aside",
              "endpoint_down", "endpoint_put_aside")


def cut_off_check(world, notes):
    moved = [line["event"] for _, line in world.events_since(notes["wall"])
             if line["event"] in UNAFFECTED]
    failed_s = notes.get("its readiness failed after s", float("inf"))
    ready_s = notes["its readiness was back after s"]
    closest_s = notes["it chose the closest again after s"]
    wrong = sum(answer.outcome == "wrong" for answer in world.other.load.answers)
    return [(f"no state and no choice of the healthy edge changes ({moved or 'none'})", not moved),
            (f"the other's /readyz fails within {DETECT_S} s ({failed_s:.1f} s)",
             failed_s <= DETECT_S),
            (f"and is back within {DETECT_S} s of healing ({ready_s:.1f} s)", ready_s <= DETECT_S),
            (f"after which it fails no request ({notes['failed of these']} of "
             f"{notes['its requests since ready']})", notes["failed of these"] == 0),
            (f"and chooses the closest region within {BACK_S} s ({closest_s} s)",
             closest_s is not None and closest_s <= BACK_S),
            (f"nor gives a wrong answer, ever ({wrong})", wrong == 0)]


IMPATIENT = {"timeouts": {"request_ms": 3000, "first_token_ms": 3000}}
HALF = {"failed_max": 0, "cut_max": 0}
ONE_ASIDE = {"detect": ("endpoint_put_aside", CLOSEST), **HALF}
BREAKER = {"detect": ("region_put_aside", CLOSEST), "back_s": BACK_BREAKER_S}

FAULTS = [
    Fault("refused", "region refuses connections", pods_fault("refuse"), pods_heal,
          cut_max=0, detect_s=DETECT_S),
    Fault("syn-black-hole", "region's SYNs vanish, old connections live", wan("drop_syn"), wan_heal,
          cut_max=0),
    Fault("vanish", "region vanishes (packets dropped both ways)", wan("cut"), wan_heal,
          detect_s=DETECT_S, is_vanish=True),
    Fault("vanish-quiet", "region vanishes, ten clients on warm connections", wan("cut"), wan_heal,
          detect_s=DETECT_S, is_vanish=True, load={"clients": 10, "pause_s": 0.5}),
    Fault("vanish-streams", "region vanishes in the middle of 1 s streams, for 10 s", wan("cut"),
          wan_heal, hold_s=10, detect_s=DETECT_S, is_vanish=True,
          load={"clients": 60, "tokens": 60, "timeout": 25}),
    Fault("established", "established connections black-holed, new ones work",
          wan("drop_present"), wan_heal, cut_max=0),
    Fault("after-handshake", "connects succeed, all data vanishes", wan("drop_after_handshake"),
          wan_heal, detect_s=DETECT_S, is_extra=True),
    Fault("reset", "region answers every segment with RST", wan("reset"), wan_heal,
          detect_s=DETECT_S),
    Fault("one-way", "answers vanish, requests arrive", wan("cut_out"), wan_heal,
          detect_s=DETECT_S, is_vanish=True),
    Fault("tls-stall", "listener accepts, handshake never ends", pods_fault("mute"), pods_heal,
          cut_max=0, world={"with_tls": True}, detect_s=DETECT_S),
    Fault("silence", "pods accept, then are silent (SIGSTOP)", freeze_pods, thaw_pods,
          detect_s=DETECT_S),
    Fault("head-silence", "head, then silence; /health is fine",
          pods_fault("headers-then-silence"), pods_heal, settings=IMPATIENT, **BREAKER),
    Fault("html", "200 with an HTML page; /health is fine", pods_fault("html"), pods_heal,
          cut_max=0, **BREAKER),
    Fault("error-first", "the stream begins with an error event", pods_fault("sse-error:0"),
          pods_heal, cut_max=0, is_extra=True, **BREAKER),
    Fault("error-event", "error event inside the stream after 3 events",
          pods_fault("sse-error:3"), pods_heal, last_hurt_s=HURT_S, **BREAKER),
    Fault("garbage-event", "garbage inside the stream after 3 events",
          pods_fault("sse-garbage:3"), pods_heal, last_hurt_s=HURT_S, **BREAKER),
    Fault("no-done", "stream ends properly without [DONE]", pods_fault("cut-clean:3"), pods_heal,
          is_extra=True, last_hurt_s=HURT_S, **BREAKER),
    Fault("cut", "connection cut after 3 events", pods_fault("cut:3"), pods_heal, is_extra=True,
          last_hurt_s=HURT_S, **BREAKER),
    Fault("drip", "a token every 300 ms",
          lambda world, _: [pod.control(token_gap_ms=300) for pod in world.pods[CLOSEST]],
          lambda world, _: [pod.control(token_gap_ms=15) for pod in world.pods[CLOSEST]],
          cut_max=0),
    Fault("loss", "30 % of packets lost", wan("loss", 30), wan_heal),
    Fault("farther", "+200 ms for 10 s", wan("farther", 200), wan_heal, hold_s=10, cut_max=0,
          detect=("home_changed", CLOSEST)),
    Fault("wave", "+120 ms square wave of 16 s", nothing, wan_heal, during=wave, cut_max=0,
          detect=("home_changed", CLOSEST), back_s=None, check=wave_check),
    Fault("flap", "region vanishes 3 s in every 6 s", nothing, wan_heal, during=flap,
          check=flap_check, **BREAKER),
    Fault("half", "one pod of two refuses", pods_fault("refuse", 1), pods_heal,
          detect_s=DETECT_S, detect=("endpoint_down", CLOSEST), **HALF),
    Fault("fast-429", "one pod answers 429 at once", pods_fault("full", 1), pods_heal,
          during=watch_share, check=share_check, **ONE_ASIDE),
    Fault("fast-500", "one pod answers 500 at once", pods_fault("error:500", 1), pods_heal,
          during=watch_share, check=share_check, **ONE_ASIDE),
    Fault("dns-gone", "name servers silent", dns_gone, dns_back, world={"with_dns": True},
          cut_max=0, hurt_s=0.0, detect=("dns_failed", CLOSEST)),
    Fault("dns-change", "the name moves to another pod", dns_change, dns_change_back,
          world={"with_dns": True}, cut_max=0, detect=("addresses_changed", CLOSEST)),
    Fault("redis-frozen", "every Redis frozen", redis_freeze, redis_thaw, cut_max=0, hurt_s=0.0,
          detect=("redis_down", CLOSEST)),
    Fault("edge-restart", "the edge is stopped and started", edge_restart, nothing, hold_s=1,
          detect=("draining", None), cut_max=0, refused_max=10**9),
    Fault("all-gone", "every region vanishes for 10 s", all_gone, all_back, hold_s=10,
          failed_max=None, detect_s=DETECT_S),
    Fault("edge-cut-off", "a second edge is cut off for 10 s; what clients of the first see", nothing,
          cut_off_heal, during=cut_off, world={"with_other": True}, cut_max=0, hurt_s=0.0,
          detect=("peer_lost", None), back_s=0.5, check=cut_off_check),
]

