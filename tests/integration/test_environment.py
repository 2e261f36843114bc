# SPDX-License-Identifier: MIT
"""The environment itself: if it lies, every other test does."""
import time

import pytest
from env import answers, raw
from env.load import Load
from env.waiting import wait_until


def test_pod_says_what_answers_computes(make_pod):
    pod = make_pod("a")
    body = answers.chat("Hello", max_tokens=40)
    response = raw.one_request(pod.port, "POST", "/v1/chat/completions", body)
    assert response.json()["choices"][0]["message"]["content"] == answers.chat_text(body)
    assert response.header("X-Pod") == "a"


def test_pod_comes_back_on_its_port(make_pod):
    pod = make_pod("a")
    pod.kill()
    with pytest.raises(ConnectionRefusedError):
        raw.Conn(pod.port)
    pod.start()
    assert raw.one_request(pod.port, "GET", "/health").status == 200


def test_pod_refuses_when_told(make_pod):
    pod = make_pod("a")
    pod.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        raw.Conn(pod.port)
    pod.heal()
    assert raw.one_request(pod.port, "GET", "/health").status == 200


def test_pod_sees_a_client_leave_in_each_phase(make_pod):
    pod = make_pod("a", first_token_ms=300, token_gap_ms=50)
    stream = raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x", stream=True))

    raw.Conn(pod.port).send(stream[:-5]).close()
    pod.wait_counter("cancelled", 1)
    raw.Conn(pod.port).send(stream).close()
    pod.wait_counter("cancelled", 2)
    conn = raw.Conn(pod.port).send(stream)
    conn.read_until(b"content")
    conn.close()
    counters = wait_until(lambda: pod.counters()["cancelled"] == 3 and pod.counters(), "cancel")

    phases = [one["phase"] for one in counters["cancellations"]]
    assert phases == ["reading", "waiting", "streaming"]
    assert counters["active"] == 0


@pytest.mark.parametrize("fault", ["cut:2", "reset:2", "error:500", "full", "malformed",
                                   "close-before-response", "cut-clean:2"])
def test_load_notices_every_fault(make_pod, fault):
    pod = make_pod("a")
    pod.fault(fault)
    with Load(pod.port, clients=2, timeout=2) as load:
        wait_until(lambda: load.failures, "a failure")


def test_load_finds_nothing_wrong_with_a_healthy_pod(make_pod):
    pod = make_pod("a")
    with Load(pod.port, clients=20) as load:
        load.wait_count(200)
    load.assert_no_failures(at_least=200)


def test_stream_events_arrive_one_by_one(make_pod):
    pod = make_pod("a", token_gap_ms=30)
    with raw.Conn(pod.port) as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions",
                                    answers.chat("x", stream=True, max_tokens=12)))
        assert conn.read_head().status == 200
        raw.assert_one_by_one(list(conn.events()), 0.03)


def test_redis_holds_keys_and_freezes(make_redis):
    redis = make_redis(password="secret")
    redis.client.set("a", "1")
    assert redis.keys() == ["a"]
    redis.freeze()
    begun = time.monotonic()
    redis.thaw()
    assert redis.client.get("a") == b"1" and time.monotonic() - begun < 5


def test_redis_speaks_tls_and_acl(make_redis, authority):
    redis = make_redis(user="nearside", password="pw", user_rules="~ns:* &ns:* -@all +get +set "
                       "+ping +keys", tls=authority.issue("redis"))
    redis.client.set("ns:a", "1")
    assert redis.client.get("ns:a") == b"1"


def test_dns_answers_from_its_dict(dns):
    import dnslib
    dns.records["pods.test"] = ["127.0.0.1", "::1"]

    def ask(kind):
        packet = dnslib.DNSRecord.question("pods.test", kind).send("127.0.0.1", dns.port,
                                                                   timeout=5)
        return [str(rr.rdata) for rr in dnslib.DNSRecord.parse(packet).rr]
    assert ask("A") == ["127.0.0.1"]
    assert ask("AAAA") == ["::1"]
    dns.mode = "servfail"
    assert ask("A") == []
