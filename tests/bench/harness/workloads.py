# SPDX-License-Identifier: MIT
"""What is measured: each row is a request, how it is sent, to whom, and the unit its cost is counted in."""
import json
from dataclasses import dataclass, field, replace

PROXIES = ("nearside", "haproxy", "nginx", "h2o")
MARK = "@" * 12  # the load generator puts another number here in every request

REQUEST, TOKEN, MIB = "request", "token", "MiB"


def post(prompt, stream=False, tokens=16, headers=(), close=False):
    body = json.dumps({"model": "sim", "stream": stream, "max_tokens": tokens,
                       "messages": [{"role": "user", "content": prompt}]})
    return raw("POST /v1/chat/completions", ["Content-Type: application/json", *headers], body, close)


def raw(line, headers=(), body="", close=False):
    lines = [f"{line} HTTP/1.1", "Host: localhost", "User-Agent: OpenAI/Python 1.51.0",
             "Accept: application/json", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


KEY = ("Authorization: Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz",)
LASTING = ("X-Pod-Header: Cache-Control: public, max-age=3600",)
SMALL = "Say hello to the river and the mills."


@dataclass
class Subject:
    """Who is measured: `name` is the program, `kind` its config, `label` its column in reports."""
    name: str
    kind: str = "plain"
    label: str = ""
    request: bytes = b""

    def __post_init__(self):
        self.label = self.label or self.name


@dataclass
class Workload:
    name: str
    title: str
    unit: str
    request: bytes
    subjects: list
    connections: int = 64
    seconds: float = 0.0  # at least, even in a quick run: what a stream lasts, a few reloads
    flags: tuple = ()
    rate: float = 0
    ramp: float = 0
    warm: float = 0.3
    memory_per: str = ""  # PSS is read in the middle and divided by the connections
    reload_every: float = 0
    everywhere: bool = False
    is_slow: bool = False  # left out of a quick run
    turns: int = 1  # rounds for each of the others: of short ones that a few percent or a tail decide
    size_mib: float = field(default=0)


def every(kind="plain", also=()):
    return [Subject(name, kind) for name in PROXIES] + [Subject(name) for name in also]


def streams(name, count, tokens, gap_ms, slow, turns=1):
    lasts = tokens * gap_ms / 1000
    return Workload(f"sse_{name}", f"SSE, {count:,} streams of {tokens} tokens, one each {gap_ms} ms",
                    TOKEN, post(SMALL, True, tokens, (*KEY, f"X-Pod-Stream: {tokens}",
                                                      f"X-Pod-Gap-Ms: {gap_ms}")),
                    every("stream", ("raw",)), connections=count, seconds=lasts, ramp=lasts,
                    flags=("--gap-ms", str(gap_ms)),
                    warm=lasts + 0.3, memory_per="stream", is_slow=slow, turns=turns)


def prompt(name, title, size, connections):
    sized = post(MARK + "the quick brown fox jumps over it " * (size // 34), False, 4, KEY)
    subjects = every("plain", ("raw",)) + [Subject("nearside", "cache", "nearside+cache")]
    return Workload(f"prompt_{name}", f"prompts of {title}", MIB, sized, subjects,
                    connections=connections, size_mib=len(sized) / 1048576)


def cache_hits():
    posted = post(SMALL, headers=LASTING)
    got = raw("GET /bytes/400", LASTING)
    return Workload("cache_hit", "cache hit from memory", REQUEST, posted, [
        Subject("nearside", "cache", "nearside POST", posted),
        Subject("haproxy", "cache", "haproxy GET", got),
        Subject("nginx", "cache", "nginx GET", got),
        Subject("nginx", "cache", "nginx POST", posted),
        Subject("varnish", "cache", "varnish GET", got),
    ])


def cache_prompts():
    """1 MiB prompts: passed on as they come, kept and scanned, scanned and digested; all misses."""
    body = post(MARK + "the quick brown fox jumps over it " * (1048576 // 34), False, 4, KEY)
    unknown = body.replace(b"/v1/chat/completions", b"/bytes/400", 1)
    return Workload("cache_prompt", "prompts of 1 MiB, with and without the cache", REQUEST, body, [
        Subject("nearside", "plain", "unscanned", unknown),
        Subject("nearside", "plain", "cache off", body),
        Subject("nearside", "cache", "cache on", body),
    ], connections=8)


def fleets():
    small = post(SMALL, headers=KEY)
    return Workload("fleet", "small requests, fleets of two sizes", REQUEST, small, [
        Subject("nearside", "fleet:2x2", "2 x 2"), Subject("nearside", "fleet:16x256", "16 x 256"),
    ], warm=2.0, everywhere=True, turns=3)


def compared(workload):
    """With another build of ours (BENCH_BEFORE) measured right after each of ours."""
    subjects = []
    for subject in workload.subjects:
        subjects.append(subject)
        if subject.name == "nearside":
            subjects.append(replace(subject, name="before", label=f"{subject.label} before"))
    return replace(workload, subjects=subjects)


def all_workloads():
    small = post(SMALL, headers=KEY)
    small_closing = post(SMALL, headers=KEY, close=True)
    return [
        Workload("small_64", "small JSON, 64 connections", REQUEST, small, every(also=("raw",)),
                 turns=2),
        Workload("small_1000", "small JSON, 1,000 connections", REQUEST, small,
                 every(also=("raw",)), connections=1000, warm=0.6),
        Workload("small_even", "small JSON, 64 connections, 15,000 requests a second, open loop",
                 REQUEST, small, every(also=("raw",)), rate=15000, turns=2),
        Workload("small_even_1000",
                 "small JSON, 1,000 connections, 15,000 requests a second, open loop", REQUEST, small,
                 every(also=("raw",)), rate=15000, connections=1000, warm=0.6),
        Workload("new_connection", "a new connection for each request", REQUEST, small_closing,
                 every(also=("raw",)), flags=("--new",), turns=2),
        Workload("latency", "2,000 requests a second, open loop", REQUEST, small,
                 [Subject("direct"), *every(also=("raw",))], rate=2000, turns=4),
        streams("200", 200, 100, 20, False, turns=2), streams("2000", 2000, 100, 20, True),
        streams("2000_paced", 2000, 40, 100, True, turns=2),
        Workload("sse_flood", "SSE, 32 streams, tokens as fast as they come", TOKEN,
                 post(SMALL, True, 200, (*KEY, "X-Pod-Stream: 200")), every("stream", ("raw",)),
                 connections=32),
        prompt("4k", "4 KiB", 4096, 64), prompt("100k", "100 KiB", 102400, 32),
        prompt("1m", "1 MiB", 1048576, 8),
        Workload("tls_keepalive", "TLS 1.3, small JSON, 64 connections", REQUEST, small,
                 every("tls"), flags=("--tls",)),
        Workload("tls_full", "TLS 1.3, full handshake for each request", "handshake", small_closing,
                 every("tls"), flags=("--tls", "--new"), connections=16),
        Workload("tls_resumed", "TLS 1.3, resumed handshake for each request", "handshake",
                 small_closing, every("tls"), flags=("--resume", "--new"), connections=16),
        cache_hits(), cache_prompts(), fleets(),
        Workload("access_log", "small JSON, access log off and on", REQUEST, small,
                 [Subject("nearside", "plain", "off"), Subject("nearside", "log", "on")]),
        Workload("reload", "small JSON, a reload every second", REQUEST, small,
                 [Subject("nearside", "plain", "reloading")], reload_every=1.0,
                 seconds=3.0),
        Workload("idle", "10,000 idle connections, each after one request", "memory", small,
                 every(), connections=10000, flags=("--hold",), memory_per="connection",
                 is_slow=True),
    ]
