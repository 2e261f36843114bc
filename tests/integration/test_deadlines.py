# SPDX-License-Identifier: MIT
"""Each phase of an answer has its own deadline: a first token that never comes, one that a long
prompt delays, a stream that drips."""
import contextlib
import time

import pytest
from env import answers, raw
from env.conf import region


@pytest.fixture
def pod(make_pod):
    return make_pod("only")


def ask(proxy, body, headers):
    return proxy.chat(body, headers)


def test_a_first_token_that_is_late_is_504(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"first_token_ms": 300},
                       retry={"attempts": 1})
    response = ask(proxy, answers.chat("x"), {"X-Pod-First-Token-Ms": "5000"})
    assert response.status == 504
    assert response.error["code"] == "head_timeout"


def test_a_head_does_not_buy_time_for_the_first_token(make_origin, make_proxy):
    def head_then_silence(peer, _line, headers):
        peer.read_exactly(int(headers["content-length"]))
        time.sleep(0.6)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        peer.read_until(b"no such bytes")  # until the proxy gives up

    proxy = make_proxy([region("near", make_origin(head_then_silence))], retry={"attempts": 1},
                       timeouts={"first_token_ms": 1000})
    begun = time.monotonic()
    assert ask(proxy, answers.chat("x"), {}).error["code"] == "head_timeout"
    assert time.monotonic() - begun < 1.5


def test_a_long_prompt_is_given_longer(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], retry={"attempts": 1},
                       timeouts={"first_token_ms": 300, "first_token_ms_per_kib": 100})
    late = {"X-Pod-First-Token-Ms": "1000"}
    assert ask(proxy, answers.chat("short"), late).status == 504
    assert ask(proxy, answers.chat("long " * 8000), late).status == 200


def test_a_stream_that_drips_is_cut(make_proxy, pod):
    """One event in 2 s is far from idle_ms, and under one a second."""
    proxy = make_proxy([region("near", pod)], timeouts={"min_tokens_per_s": 1.0})
    begun = time.monotonic()
    with raw.Conn(proxy.port, timeout=40.0) as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x", stream=True),
                                    {"X-Pod-Gap-Ms": "2000", "X-Pod-Tokens": "100"}))
        text = conn.read_to_end()
    assert b"event: error" in text
    assert b"[DONE]" not in text and not text.endswith(b"0\r\n\r\n")
    assert 9 <= time.monotonic() - begun < 30
    proxy.wait_metric("nearside_attempt_outcomes_total", {"region": "near", "outcome": "too_slow"}, 1)


def test_a_steady_stream_is_not_cut(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], timeouts={"min_tokens_per_s": 1.0})
    response = ask(proxy, answers.chat("x", stream=True),
                   {"X-Pod-Gap-Ms": "500", "X-Pod-Tokens": "24"})
    assert response.status == 200
    assert b"[DONE]" in response.body


def test_streams_outlive_a_machine_that_stood_still(make_proxy, pod):
    """What came meanwhile is heard before anything is judged: more streams than one wait tells of."""
    proxy = make_proxy([region("near", pod)], edge={"workers": 1}, timeouts={"idle_ms": 1000})
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(proxy.connect(timeout=30)) for _ in range(150)]
        for conn in conns:
            conn.send(raw.request_bytes("POST", "/v1/chat/completions",
                                        answers.chat("x", stream=True),
                                        {"X-Pod-Gap-Ms": "200", "X-Pod-Tokens": "20"}))
        for conn in conns:
            conn.read_head()
        proxy.process.freeze()
        time.sleep(1.5)  # longer than idle_ms: what the test is about
        proxy.process.thaw()
        ends = [list(conn.events())[-1][1] for conn in conns]
    assert ends == [b"data: [DONE]"] * len(conns)


def test_a_stream_that_waits_for_its_client_is_not_one_that_drips(make_pod, make_proxy):
    """Nothing passes for longer than the pace is looked at, and that is the client's doing."""
    model = "m" * 1000  # large events: few of them fill the buffers on the way
    proxy = make_proxy([region("near", make_pod("wordy", model=model))],
                       timeouts={"min_tokens_per_s": 1000.0})
    body = answers.chat("big", model, stream=True, max_tokens=10000)
    with raw.Conn(proxy.port, timeout=40.0, receive_buffer=4096) as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "0"}))
        conn.read_until(b'"content":"')
        time.sleep(11)  # the window is 10 s
        conn.read_until(b"[DONE]")
