# SPDX-License-Identifier: MIT
"""Each phase of an answer has its own deadline: a first token that never comes, one that a long
prompt delays, a stream that drips."""
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
