# SPDX-License-Identifier: MIT
"""Repeated prompts: what is stored, for whom, how long, and what happens without Redis."""
import json
import time

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

ON = {"enabled": True}


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


@pytest.fixture
def proxy(make_proxy, pod):
    return make_proxy([region("near", pod)], cache=ON)


def status_of(response):
    """hit, or what the request was forwarded for."""
    value = response.header("Cache-Status") or ""
    if "hit" in value:
        return "hit"
    for part in value.split(";"):
        if part.strip().startswith("fwd="):
            return part.strip()[4:]
    return value


def ask(proxy, body, **headers):
    response = proxy.chat(body, {name.replace("_", "-"): value
                                 for name, value in headers.items()})
    return response


def test_the_second_time_is_a_hit(proxy, pod):
    body = answers.chat("x")
    first, second = ask(proxy, body), ask(proxy, body)
    assert (status_of(first), status_of(second)) == ("miss", "hit")
    assert second.body == first.body
    assert second.header("Content-Type") == first.header("Content-Type")
    assert pod.counters()["started"] == 1


def test_cache_status_has_its_standard_form(proxy):
    body = answers.chat("x")
    assert ask(proxy, body).header("Cache-Status").startswith("nearside; fwd=miss; stored")
    value = ask(proxy, body).header("Cache-Status")
    name, hit, ttl = [part.strip() for part in value.split(";")][:3]
    assert (name, hit) == ("nearside", "hit")
    assert value.endswith("; detail=memory")
    assert 3600 * 0.9 - 10 <= int(ttl.removeprefix("ttl=")) <= 3600 * 1.1


def test_a_stream_is_stored_and_replayed_as_a_stream(proxy, pod):
    body = answers.chat("x", stream=True)
    first, second = ask(proxy, body), ask(proxy, body)
    assert status_of(second) == "hit"
    assert second.header("Content-Type").startswith("text/event-stream")
    assert second.body == first.body
    assert raw.sse_text(second.body.split(b"\n\n"))[:2] == (answers.chat_text(body), True)
    assert pod.counters()["started"] == 1


@pytest.mark.parametrize("stored", [False, True])
def test_each_form_is_answered_in_its_own(proxy, stored):
    for stream in (stored, not stored):
        body = answers.chat("x", stream=stream)
        response = ask(proxy, body)
        kind = "text/event-stream" if stream else "application/json"
        assert response.header("Content-Type").startswith(kind)


def test_a_hit_is_much_faster(proxy, pod):
    pod.control(first_token_ms=300)
    body = answers.chat("x")
    ask(proxy, body)
    begun = time.monotonic()
    assert status_of(ask(proxy, body)) == "hit"
    assert time.monotonic() - begun < 0.1


def test_order_and_white_space_do_not_matter(proxy, pod):
    one = '{"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 1}'
    two = '{"seed":1,"messages":[{"role":"user","content":"x"}],"model":"m","user":"me"}'
    assert status_of(ask(proxy, one, Content_Type="application/json")) == "miss"
    assert status_of(ask(proxy, two, Content_Type="application/json")) == "hit"


def chunked(body, size):
    """A request whose body comes in chunks of `size`."""
    head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n")
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return [head] + [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]


@pytest.mark.parametrize("when", ["always", "deterministic"])
@pytest.mark.parametrize("size", [1777, 20000, 150000])
def test_a_long_prompt_has_the_same_key_however_it_arrives(make_proxy, pod, size, when):
    """Scanned and digested piece by piece, white space or not, with what decides last."""
    proxy = make_proxy([region("near", pod)], cache={**ON, "when": when})
    asked = {**answers.chat("\u65e5\u672c \\ \"x\" " * 12000), "seed": 7}
    whole = json.dumps(asked, ensure_ascii=False, separators=(",", ":"))
    assert status_of(ask(proxy, whole, Content_Type="application/json")) == "miss"
    spaced = json.dumps(asked, ensure_ascii=False, indent=2).encode()
    with proxy.connect() as conn:
        for piece in chunked(spaced, size):
            conn.send(piece)
        assert status_of(conn.read_response("POST")) == "hit"
    other = spaced.replace(b"\\ ", b"\\n", 1)
    with proxy.connect() as conn:
        for piece in chunked(other, size):
            conn.send(piece)
        assert status_of(conn.read_response("POST")) == "miss"


@pytest.mark.parametrize("other", [
    {"model": "other"}, {"temperature": 0.5}, {"max_tokens": 7}, {"seed": 3},
    {"messages": [{"role": "user", "content": "y"}]},
])
def test_another_request_is_another_answer(proxy, other):
    body = answers.chat("x")
    ask(proxy, body)
    assert status_of(ask(proxy, {**body, **other})) == "miss"


def test_another_path_is_another_answer(proxy):
    body = {"model": "m", "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    proxy.post("/v1/completions", body)
    assert status_of(proxy.post("/v1/chat/completions", body)) == "miss"


def test_callers_do_not_share_by_default(proxy):
    body = answers.chat("x")
    assert status_of(ask(proxy, body, Authorization="Bearer a")) == "miss"
    assert status_of(ask(proxy, body, Authorization="Bearer b")) == "miss"
    assert status_of(ask(proxy, body)) == "miss"
    assert status_of(ask(proxy, body, Authorization="Bearer a")) == "hit"


def test_callers_share_when_told_so(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "share": "all"})
    body = answers.chat("x")
    assert status_of(ask(proxy, body, Authorization="Bearer a")) == "miss"
    assert status_of(ask(proxy, body, Authorization="Bearer b")) == "hit"


def test_only_deterministic_requests_when_told_so(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "when": "deterministic"})
    for body, second in ((answers.chat("x"), "bypass"),
                         (answers.chat("x", temperature=0), "hit")):
        ask(proxy, body)
        assert status_of(ask(proxy, body)) == second


def test_never_when_told_so(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "when": "never"})
    body = answers.chat("x")
    ask(proxy, body)
    assert status_of(ask(proxy, body)) != "hit"


def test_no_store_is_not_stored(proxy):
    body = answers.chat("x")
    ask(proxy, body, Cache_Control="no-store")
    assert status_of(ask(proxy, body)) == "miss"


def test_no_cache_asks_again_and_renews(proxy, pod):
    body = answers.chat("x")
    first = ask(proxy, body)
    again = ask(proxy, body, Cache_Control="no-cache")
    assert status_of(again) != "hit"
    assert pod.counters()["started"] == 2
    third = ask(proxy, body)
    assert status_of(third) == "hit"
    assert third.json()["id"] == again.json()["id"] != first.json()["id"]


def test_only_if_cached_never_goes_upstream(proxy, pod):
    body = answers.chat("x")
    response = ask(proxy, body, Cache_Control="only-if-cached")
    assert response.status == 504
    assert response.error
    assert pod.counters()["started"] == 0
    ask(proxy, body)
    assert status_of(ask(proxy, body, Cache_Control="only-if-cached")) == "hit"


def test_max_age_refuses_older_answers(proxy):
    body = answers.chat("x")
    ask(proxy, body)
    assert status_of(ask(proxy, body, Cache_Control="max-age=100")) == "hit"
    stored = time.monotonic()
    wait_until(lambda: time.monotonic() - stored > 1.1, "the answer to age")
    assert status_of(ask(proxy, body, Cache_Control="max-age=1")) != "hit"


def test_an_answer_expires(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "ttl_s": 2})
    body = answers.chat("x")
    ask(proxy, body)
    assert status_of(ask(proxy, body)) == "hit"
    wait_until(lambda: status_of(ask(proxy, body, Cache_Control="only-if-cached")) != "hit",
               "the answer to expire", 4)


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/v1/models", None),
    ("POST", "/v1/chat/completions", answers.chat("too long to be kept " * 500)),
])
def test_only_if_cached_asks_no_pod_for_what_is_never_cached(make_proxy, pod, method, path, body):
    proxy = make_proxy([region("near", pod)], cache=ON, limits={"buffer_bytes": 4096})
    response = proxy.request(method, path, body, {"Cache-Control": "only-if-cached"})
    assert (response.status, response.error["code"]) == (504, "not_cached")
    assert pod.counters()["started"] == 0


def answering(body, content_type):
    """An endpoint that answers everything so."""
    def handler(peer, _line, headers):
        peer.read_exactly(int(headers["content-length"]))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"%x\r\n%s\r\n0\r\n\r\n" % (content_type, len(body), body))
        return True
    return handler


@pytest.mark.parametrize("body, again", [
    (b'{"error":{"message":"overloaded","code":503}}', "miss"),
    (b'{"id":"x","error":"overloaded"}', "miss"),
    (b'{"id":"x","error":null,"output":[]}', "hit"),
    (b'{"choices":[{"error":"only a word"}]}', "hit"),
])
def test_an_error_with_status_200_is_not_stored(make_proxy, make_origin, body, again):
    proxy = make_proxy([region("near", make_origin(answering(body, b"application/json")))], cache=ON)
    ask(proxy, answers.chat("x"))
    assert status_of(ask(proxy, answers.chat("x"))) == again


CHOICE = b'data: {"choices":[{"index":%d,"delta":{"content":"a"},"finish_reason":%s}]}\n\n'


@pytest.mark.parametrize("end, again", [(b"", "miss"), (b"data: [DONE]\n\n", "hit")])
def test_a_stream_is_stored_when_its_marker_has_come(make_proxy, make_origin, end, again):
    """That one choice is finished says nothing of the other."""
    stream = CHOICE % (0, b'"stop"') + CHOICE % (1, b"null") + end
    proxy = make_proxy([region("near", make_origin(answering(stream, b"text/event-stream")))],
                       cache=ON)
    body = answers.chat("x", stream=True, n=2)
    ask(proxy, body)
    assert status_of(ask(proxy, body)) == again


def test_two_kinds_of_credentials_share_nothing(proxy, pod):
    """Which of them the endpoint goes by is not known here."""
    body = answers.chat("x")
    for key in ("a", "b"):
        response = ask(proxy, body, Authorization="Bearer gateway", X_Api_Key=key)
        assert status_of(response) == "bypass"
    assert pod.counters()["started"] == 2


@pytest.mark.parametrize("headers", [
    {"X-Pod-Status": "500"}, {"X-Pod-Status": "400"}, {"X-Pod-Header": "Set-Cookie: a=b"},
    {"X-Pod-Header": "Cache-Control: no-store"}, {"X-Pod-Header": "Cache-Control: private"},
])
def test_what_must_not_be_stored_is_not(make_proxy, pod, headers):
    proxy = make_proxy([region("near", pod)], cache=ON, retry={"attempts": 1})
    body = answers.chat("x")
    proxy.chat(body, headers)
    assert status_of(ask(proxy, body)) == "miss"


@pytest.mark.parametrize("fault", ["cut:3", "cut-clean:3"])
def test_a_stream_that_was_cut_is_not_stored(proxy, pod, fault):
    body = answers.chat("x", stream=True)
    pod.fault(fault)
    try:
        ask(proxy, body)
    except raw.Closed:
        pass
    pod.heal()
    response = ask(proxy, body)
    assert status_of(response) == "miss"
    assert raw.sse_text(response.body.split(b"\n\n"))[:2] == (answers.chat_text(body), True)


def test_a_stream_its_client_left_is_not_stored_short(proxy, pod):
    body = answers.chat("x", stream=True, max_tokens=50)
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "30"}))
        conn.read_until(b'"content":"')
    pod.wait_idle()
    response = ask(proxy, body)
    assert raw.sse_text(response.body.split(b"\n\n"))[:2] == (answers.chat_text(body), True)


def test_an_answer_over_the_bound_is_passed_but_not_stored(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "max_entry_bytes": 4096})
    body = answers.chat("x", max_tokens=2000)
    for _ in range(2):
        response = ask(proxy, body)
        assert status_of(response) != "hit"
        assert response.json()["choices"][0]["message"]["content"] == answers.chat_text(body)


def test_memory_stays_within_its_bound(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache={**ON, "memory_bytes": 1048576})
    for index in range(200):
        ask(proxy, answers.chat(f"p{index}", max_tokens=3000))
    assert proxy.metrics().value("nearside_cache_bytes") <= 1048576


def test_get_requests_of_other_paths_are_not_cached(proxy, pod):
    for _ in range(2):
        assert status_of(proxy.get("/echo")) != "hit"
    assert pod.counters()["started"] == 2


def test_purge_empties_memory(proxy):
    body = answers.chat("x")
    ask(proxy, body)
    assert proxy.admin_post("/cache/purge").status in (200, 202, 204)
    wait_until(lambda: status_of(ask(proxy, body, Cache_Control="only-if-cached")) != "hit",
               "an empty cache")


# ---- Redis ----

@pytest.fixture
def redis(make_redis):
    return make_redis()


@pytest.fixture
def with_redis(make_proxy, pod, redis):
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    return proxy


def wait_redis(proxy, up=True):
    wait_until(lambda: proxy.region("near")["redis"]["up"] is up, f"redis up: {up}")


def ns_keys(redis):
    return [key for key in redis.keys() if key.startswith("ns3:") and len(key) > 40]


def test_an_answer_goes_to_redis_under_a_digest(with_redis, redis):
    ask(with_redis, answers.chat("very secret prompt"), Authorization="Bearer hidden")
    wait_until(lambda: ns_keys(redis), "a key in Redis")
    assert not any("secret" in key or "hidden" in key for key in redis.keys())
    # Expiry is spread, so that what was stored together does not go together.
    assert all(0 < redis.client.ttl(key) <= 3600 * 1.1 for key in ns_keys(redis))


def test_another_edge_finds_it_in_redis(make_proxy, with_redis, redis, pod):
    body = answers.chat("x")
    first = ask(with_redis, body)
    wait_until(lambda: ns_keys(redis), "a key in Redis")
    other = make_proxy([region("near", pod, redis)], cache=ON, edge={"id": "other"})
    wait_redis(other)
    second = ask(other, body)
    assert status_of(second) == "hit"
    assert second.body == first.body
    assert other.metrics().value("nearside_cache_requests_total",
                                 {"tier": "redis", "result": "hit"}) == 1
    assert status_of(ask(other, body)) == "hit"
    assert other.metrics().value("nearside_cache_requests_total",
                                 {"tier": "memory", "result": "hit"}) == 1


def test_rubbish_in_redis_is_a_miss(with_redis, redis, make_proxy, pod):
    body = answers.chat("x")
    ask(with_redis, body)
    keys = wait_until(lambda: ns_keys(redis), "a key in Redis")
    for key in keys:
        redis.client.set(key, b"NSC2 rubbish" * 10)
    with_redis.admin_post("/cache/purge")
    response = ask(with_redis, body)
    assert response.status == 200
    assert response.json()["choices"][0]["message"]["content"] == answers.chat_text(body)


def test_purge_with_redis_empties_both(with_redis, redis):
    redis.client.set("someone-elses", "1")
    ask(with_redis, answers.chat("x"))
    wait_until(lambda: ns_keys(redis), "a key in Redis")
    with_redis.admin_post("/cache/purge?redis=1")
    wait_until(lambda: not ns_keys(redis), "an empty Redis")
    assert "someone-elses" in redis.keys()


def test_a_frozen_redis_costs_little_and_fails_nothing(with_redis, redis):
    redis.freeze()
    times = []
    for index in range(60):
        begun = time.monotonic()
        assert ask(with_redis, answers.chat(f"p{index}")).status == 200
        times.append(time.monotonic() - begun)
    redis.thaw()
    assert max(times) < 0.5
    assert sorted(times)[len(times) // 2] < 0.02, sorted(times)
    wait_redis(with_redis)


def test_a_killed_redis_fails_nothing_and_comes_back(with_redis, redis):
    redis.kill()
    for index in range(20):
        assert ask(with_redis, answers.chat(f"p{index}")).status == 200
    wait_redis(with_redis, up=False)
    redis.start()
    wait_redis(with_redis)

    def is_stored_again():
        ask(with_redis, answers.chat(f"again {time.monotonic_ns()}"))
        return ns_keys(redis)
    wait_until(is_stored_again, "answers in Redis again")


def test_a_redis_that_was_never_there_fails_nothing(make_proxy, pod):
    proxy = make_proxy([{**region("near", pod), "redis": "redis://127.0.0.1:1/0"}], cache=ON)
    body = answers.chat("x")
    assert status_of(ask(proxy, body)) == "miss"
    assert status_of(ask(proxy, body)) == "hit"


def test_redis_with_password(make_proxy, make_redis, pod):
    redis = make_redis("pw", password="secret")
    proxy = make_proxy([region("near", pod, redis)], cache=ON)
    wait_redis(proxy)
    ask(proxy, answers.chat("x"))
    wait_until(lambda: ns_keys(redis), "a key in Redis")


def test_redis_over_tls_with_an_acl_user(make_proxy, make_redis, pod, authority):
    redis = make_redis("tls", user="nearside", password="secret", user_rules="~* &* +@all",
                       tls=authority.issue("redis"))
    proxy = make_proxy([region("near", pod, redis, tls={"ca": authority.cert})], cache={**ON, "redis_timeout_ms": 2000})
    wait_redis(proxy)
    ask(proxy, answers.chat("x"))
    wait_until(lambda: ns_keys(redis), "a key in Redis")


def test_a_wrong_redis_password_fails_nothing(make_proxy, make_redis, pod):
    redis = make_redis("pw", password="secret")
    group = region("near", pod, redis)
    proxy = make_proxy([{**group, "redis_password": "wrong"}], cache=ON)
    assert ask(proxy, answers.chat("x")).status == 200
    assert proxy.region("near")["redis"]["up"] is False
