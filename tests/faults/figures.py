# SPDX-License-Identifier: MIT
"""From every answer of a run to the row of the matrix and the promises kept."""
import collections
import dataclasses
from typing import Optional

from .world import CONNECT_MS, REGIONS, SECOND

SLACK_S = 0.25      # a shared machine's scheduling
HURT_MARGIN_S = 1.0  # above the steady p99
SETTLE_S = 0.2      # the view takes up to 20 ms to reach the workers; generous
HUNG_S = 1.0        # after detection a stream may be silent for so long; 0.5 s are promised


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclasses.dataclass
class Row:
    fault: str
    title: str
    commit: str = ""  # of what was running
    requests: int = 0
    failed: int = 0
    cut: int = 0
    wrong: int = 0
    refused: int = 0
    reconnected: int = 0
    hurt: int = 0
    steady_p50_ms: float = 0.0
    steady_p99_ms: float = 0.0
    worst_ttft_ms: float = 0.0
    stalled: int = 0  # had begun, and ended over a second late, if at all
    worst_total_s: float = 0.0
    last_hurt_s: Optional[float] = None
    detected_s: Optional[float] = None
    back_s: Optional[float] = None
    reasons: dict = dataclasses.field(default_factory=dict)
    served_by: dict = dataclasses.field(default_factory=dict)
    notes: dict = dataclasses.field(default_factory=dict)
    outcomes: dict = dataclasses.field(default_factory=dict)
    promises: list = dataclasses.field(default_factory=list)

    @property
    def missed(self):
        return [promise for promise, kept in self.promises if not kept]


def is_of(answers, outcome):
    return [answer for answer in answers if answer.outcome == outcome]


def detected(fault, events):
    event, region = fault.detect
    for after_s, line in events:
        if line["event"] == event and region in (None, line.get("region"), line.get("from")):
            return after_s
    return None


def measure(fault, answers, steady_from, struck, events, back_s):
    """`answers` of the whole run; times are monotonic, `events` count from the strike."""
    steady = [answer for answer in answers
              if steady_from <= answer.begun and answer.ended < struck and answer.outcome == "ok"]
    p99 = percentile([answer.ttft for answer in steady], 0.99)
    exposed = [answer for answer in answers if answer.ended >= struck]
    hurt = [answer for answer in exposed
            if answer.outcome != "ok" or answer.ttft > p99 + HURT_MARGIN_S]
    row = Row(fault.name, fault.title, requests=len(exposed), hurt=len(hurt), back_s=back_s)
    for outcome in ("failed", "cut", "wrong", "refused"):
        setattr(row, outcome, len(is_of(exposed, outcome)))
    row.reconnected = sum(answer.reconnected for answer in exposed)
    row.steady_p50_ms = round(1000 * percentile([a.ttft for a in steady], 0.5), 1)
    row.steady_p99_ms = round(1000 * p99, 1)
    row.worst_ttft_ms = round(1000 * max((a.ttft for a in exposed), default=0.0), 1)
    row.last_hurt_s = max((max(0.0, answer.begun - struck) for answer in hurt), default=None)
    row.detected_s = detected(fault, events)
    late_s = HURT_MARGIN_S + percentile([a.ended - a.begun for a in steady], 0.99)
    row.stalled = sum(a.first > 0 and a.ended - a.begun > late_s and a.ttft <= p99 + HURT_MARGIN_S
                      for a in exposed)
    row.worst_total_s = round(max((a.ended - a.begun for a in exposed), default=0.0), 2)
    reasons = collections.Counter(f"{a.outcome}: {a.why[:110]}" for a in exposed
                                  if a.outcome != "ok")
    row.reasons = dict(reasons.most_common(6))
    row.served_by = dict(collections.Counter(a.region for a in is_of(exposed, "ok")))
    return row, p99


def vanish_promises(row, answers, struck, p99):
    """New requests wait a connect timeout and one round trip at most; after detection, nothing."""
    limit_s = p99 + CONNECT_MS / 1000 + REGIONS[SECOND] / 1000 + SLACK_S
    seen = row.detected_s if row.detected_s is not None else float("inf")
    until = struck + seen + SETTLE_S
    between = [a.ttft for a in answers if struck <= a.begun < until]
    after = [a for a in answers if a.begun >= until and
             (a.outcome != "ok" or a.ttft > p99 + HURT_MARGIN_S)]
    over = sum(ttft > limit_s for ttft in between)
    worst = max(between, default=0.0)
    row.notes["slowest until detection (begun after s, s, attempts)"] = sorted(
        ((round(a.begun - struck, 2), round(a.ttft, 2), a.attempts) for a in answers
         if struck <= a.begun < until), key=lambda one: -one[1])[:5]
    row.notes["between fault and detection"] = (
        f"{len(between)} requests begun, {over} over {limit_s:.2f} s, worst {worst:.2f} s")
    stuck = [a.silent_until - struck for a in answers if a.first and a.begun < until
             and a.silent_from < struck + seen and a.silent_until > struck + seen + HUNG_S]
    return [(f"streams under way go on or are ended within {HUNG_S:g} s of detection ({len(stuck)} "
             f"hung, the longest until {max(stuck, default=0):.1f} s after the fault)", not stuck),
            (f"new requests first content within {limit_s:.2f} s until detection "
             f"({over} of {len(between)} over, worst {worst:.2f} s)", over == 0),
            (f"none hurt after detection ({len(after)})", not after)]


def _at_most(name, value, limit, unit=""):
    shown = "never" if value is None else f"{value:.1f}{unit}" if unit else str(value)
    return (f"{name} at most {limit}{unit} ({shown})", value is not None and value <= limit)


def promises(fault, row, answers, struck, p99):
    kept = [_at_most("answers that are wrong", row.wrong, 0)]
    if fault.failed_max is not None:
        kept.append(_at_most("failed before first content", row.failed, fault.failed_max))
    if fault.cut_max is not None:
        kept.append(_at_most("streams cut", row.cut, fault.cut_max))
    if fault.refused_max == 0:
        kept.append(_at_most("connects refused by the edge", row.refused, 0))
    if fault.detect_s is not None:
        kept.append(_at_most("detection", row.detected_s, fault.detect_s, " s"))
    if fault.hurt_s is not None:
        kept.append((f"no request hurt ({row.hurt})", row.hurt == 0))
    if fault.last_hurt_s is not None:
        kept.append(_at_most("last request hurt begun", row.last_hurt_s or 0.0, fault.last_hurt_s,
                             " s"))
    if fault.is_vanish:
        kept += vanish_promises(row, answers, struck, p99)
    if fault.back_s is not None:
        kept.append(_at_most("closest region serves again", row.back_s, fault.back_s, " s"))
    return kept
