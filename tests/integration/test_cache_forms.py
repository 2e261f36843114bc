# SPDX-License-Identifier: MIT
"""One stored answer for requests of every form: a stream for those who stream, else plain."""
import json
import subprocess
import time

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until
from test_sdk import node, sdk  # noqa: F401

ON = {"enabled": True}
USAGE = {"stream_options": {"include_usage": True}}
FORMS = {
    "plain": {},
    "stream": {"stream": True},
    "usage": {"stream": True, **USAGE},
}


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


@pytest.fixture
def proxy(make_proxy, pod):
    return make_proxy([region("near", pod)], cache=ON)


def body_of(form, path="/v1/chat/completions", **more):
    asked = {"model": "sim", "prompt": "x"} if path == "/v1/completions" else answers.chat("x")
    return {**asked, "max_tokens": 40, **FORMS[form], **more}


def ask(proxy, form, path="/v1/chat/completions", headers=None, **more):
    return proxy.post(path, body_of(form, path, **more), headers)


def is_hit(response):
    assert response.status == 200
    return "; hit;" in response.header("Cache-Status")


def chunks_of(response):
    assert response.header("Content-Type").startswith("text/event-stream")
    datas = [event.removeprefix(b"data: ") for event in response.body.split(b"\n\n")]
    assert datas[-2:] == [b"[DONE]", b""]
    return [json.loads(data) for data in datas[:-2]]


def without_identity(answer):
    """An answer or chunk but for what differs each time that it is made."""
    return {name: value for name, value in answer.items() if name not in ("id", "created")}


def said_by(pod, form, path="/v1/chat/completions"):
    """What the pod itself says to a request of that form."""
    response = raw.one_request(pod.port, "POST", path, body_of(form, path))
    return response.json() if form == "plain" else chunks_of(response)


def merged(chunks):
    """The text and the usage that a client reads from a stream."""
    text = "".join(choice.get("delta", {}).get("content") or choice.get("text") or ""
                   for chunk in chunks for choice in chunk["choices"])
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    return text, usages


PATHS = ["/v1/chat/completions", "/v1/completions"]


@pytest.mark.parametrize("path", PATHS)
def test_a_stored_stream_with_usage_answers_a_plain_request(proxy, pod, path):
    stream = ask(proxy, "usage", path)
    plain = ask(proxy, "plain", path)
    assert not is_hit(stream) and is_hit(plain)
    assert plain.header("Content-Type") == "application/json"
    assert plain.json()["id"] == chunks_of(stream)[0]["id"]
    assert pod.counters()["started"] == 1
    assert without_identity(plain.json()) == without_identity(said_by(pod, "plain", path))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["stream", "usage"])
def test_a_stored_plain_answer_answers_a_request_for_a_stream(proxy, pod, form, path):
    plain = ask(proxy, "plain", path)
    stream = ask(proxy, form, path)
    assert not is_hit(plain) and is_hit(stream)
    assert pod.counters()["started"] == 1
    text, usages = merged(chunks_of(stream))
    choice = plain.json()["choices"][0]
    assert text == (choice.get("message", {}).get("content") or choice["text"])
    assert usages == ([plain.json()["usage"]] if form == "usage" else [])
    assert chunks_of(stream)[0]["id"] == plain.json()["id"]


@pytest.mark.parametrize("path", PATHS)
def test_a_stored_stream_with_usage_answers_one_without(proxy, pod, path):
    ask(proxy, "usage", path)
    stream = ask(proxy, "stream", path)
    assert is_hit(stream)
    assert pod.counters()["started"] == 1
    wanted = [without_identity(chunk) for chunk in said_by(pod, "stream", path)]
    assert [without_identity(chunk) for chunk in chunks_of(stream)] == wanted


@pytest.mark.parametrize("form", ["plain", "usage"])
def test_a_stream_without_usage_is_replaced_by_an_answer_that_tells_it(proxy, pod, form):
    ask(proxy, "stream")
    assert not is_hit(ask(proxy, form))
    assert pod.counters()["started"] == 2
    for later in FORMS:
        assert is_hit(ask(proxy, later))
    assert pod.counters()["started"] == 2


def test_an_answer_in_another_form_is_not_in_the_cache_for_those_who_ask_for_nothing_else(proxy):
    only = {"Cache-Control": "only-if-cached"}
    ask(proxy, "stream")
    assert ask(proxy, "plain", headers=only).status == 504
    assert is_hit(ask(proxy, "stream", headers=only))


def test_a_turned_answer_ages_with_the_stored_one(proxy):
    ask(proxy, "plain")
    stored = time.monotonic()
    wait_until(lambda: time.monotonic() - stored > 1.1, "the answer to age")
    stream = ask(proxy, "stream")
    assert is_hit(stream)
    assert int(stream.header("Age")) >= 1
    assert not is_hit(ask(proxy, "usage", headers={"Cache-Control": "max-age=1"}))


def test_requests_of_different_forms_do_not_share_an_answer_on_its_way(proxy, pod):
    pod.control(first_token_ms=200)
    with proxy.connect() as streaming, proxy.connect() as plain:
        for number, (conn, form) in enumerate(((streaming, "usage"), (plain, "plain")), 1):
            conn.send(raw.request_bytes("POST", "/v1/chat/completions", body_of(form)))
            pod.wait_counter("started", number)
        text, _ = merged(chunks_of(streaming.read_response("POST")))
        answer = plain.read_response("POST").json()
    assert text == answer["choices"][0]["message"]["content"] == answers.chat_text(body_of("plain"))


# ---- what keeps its form ----

@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_an_api_whose_answers_cannot_be_turned_has_an_entry_for_each_form(proxy, pod, path):
    request = {"model": "sim", "max_tokens": 5, "input": "x",
               "messages": [{"role": "user", "content": "x"}]}
    bodies = [request, {**request, "stream": True}]
    first = [proxy.post(path, body) for body in bodies]
    second = [proxy.post(path, body) for body in bodies]
    assert [is_hit(response) for response in first + second] == [False, False, True, True]
    assert [response.body for response in second] == [response.body for response in first]
    assert pod.counters()["started"] == 2


@pytest.mark.parametrize("options", [{}, {"include_usage": True, "include_obfuscation": False}])
def test_unusual_stream_options_have_an_entry_of_their_own(proxy, options):
    for form in ("plain", "usage"):
        ask(proxy, form)
    first = ask(proxy, "stream", stream_options=options)
    second = ask(proxy, "stream", stream_options=options)
    assert (is_hit(first), is_hit(second)) == (False, True)
    assert second.body == first.body
    assert is_hit(ask(proxy, "plain"))


def test_an_answer_that_is_too_much_to_hold_twice_is_fetched(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], cache=ON,
                       limits={"buffer_total_bytes": 4096, "buffer_bytes": 4096})
    for form in ("plain", "stream"):
        response = ask(proxy, form, max_tokens=300)
        assert not is_hit(response)
    wanted = answers.chat_text(body_of("plain", max_tokens=300))
    assert merged(chunks_of(response))[0] == wanted
    assert proxy.metrics().value("nearside_limit_hits_total", {"limit": "buffer_total_bytes"}) == 1


# ---- answers that the pod does not give ----

CALLS = [{"id": "call_1", "type": "function",
          "function": {"name": "weather", "arguments": '{"city":"Z\\u00fcrich"}'}},
         {"id": "call_2", "type": "function",
          "function": {"name": "time", "arguments": '{"zone": "CET", "note": "a \\"b\\" c"}'}}]
MESSAGE = {"role": "assistant", "content": None, "tool_calls": CALLS}


def plain_answer(message, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1755137933, "model": "sim",
            "choices": [{"index": 0, "message": message, "logprobs": None,
                         "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, **more}


def call_pieces():
    """The calls as a server streams them: the name first, then arguments in bits."""
    yield {"role": "assistant", "content": None}
    for index, call in enumerate(CALLS):
        text = call["function"]["arguments"]
        yield {"tool_calls": [{**call, "index": index,
                               "function": {**call["function"], "arguments": ""}}]}
        for at in range(0, len(text), 5):
            yield {"tool_calls": [{"index": index, "function": {"arguments": text[at:at + 5]}}]}


def streamed_answer():
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1755137933,
            "model": "sim"}
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "logprobs": None,
                                    "finish_reason": None}], "usage": None}
              for delta in call_pieces()]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "logprobs": None,
                                        "finish_reason": "tool_calls"}], "usage": None})
    chunks.append({**base, "choices": [], "usage": plain_answer(MESSAGE)["usage"]})
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + \
        b"data: [DONE]\n\n"


@pytest.fixture
def make_caller(make_origin, make_proxy):
    """make_caller(plain): a proxy before an endpoint that gives this answer, or CALLS as a
    stream."""
    def make(plain):
        def handler(peer, _line, headers):
            asked = json.loads(peer.read_exactly(int(headers["content-length"])))
            kind, said = ("text/event-stream", streamed_answer()) if asked.get("stream") else \
                ("application/json", json.dumps(plain).encode())
            peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"1\"\r\n"
                      f"Content-Length: {len(said)}\r\n\r\n".encode() + said)
            return True
        return make_proxy([region("near", make_origin(handler))], cache=ON)
    return make


def test_streamed_tool_calls_answer_a_plain_request(make_caller):
    proxy = make_caller(plain_answer(MESSAGE))
    ask(proxy, "usage")
    plain = ask(proxy, "plain")
    assert is_hit(plain)
    assert plain.json() == plain_answer(MESSAGE)
    assert plain.header("ETag") is None


def test_plain_tool_calls_answer_a_request_for_a_stream(make_caller):
    proxy = make_caller(plain_answer(MESSAGE))
    ask(proxy, "plain")
    stream = ask(proxy, "usage")
    assert is_hit(stream)
    found = {}
    for chunk in chunks_of(stream):
        for choice in chunk["choices"]:
            for piece in choice["delta"].get("tool_calls", []):
                call = found.setdefault(piece["index"], {"arguments": ""})
                call["arguments"] += piece["function"].pop("arguments", "")
                call.update({**piece["function"], **{name: piece[name] for name in ("id", "type")
                                                     if name in piece}})
    assert [found[index] for index in range(2)] == \
        [{**call["function"], "id": call["id"], "type": "function"} for call in CALLS]


def test_an_answer_with_a_member_nobody_knows_is_not_turned(make_caller):
    proxy = make_caller(plain_answer(MESSAGE, odd_member=1))
    ask(proxy, "plain")
    assert is_hit(ask(proxy, "plain"))
    assert not is_hit(ask(proxy, "usage"))


@pytest.mark.parametrize("is_call", [False, True])
def test_the_sdk_reads_a_stream_made_from_a_plain_answer(sdk, make_caller, proxy,  # noqa: F811
                                                         is_call):
    proxy = make_caller(plain_answer(MESSAGE)) if is_call else proxy
    plain = ask(proxy, "plain", headers={"Authorization": "Bearer test-key"}).json()
    done = subprocess.run(
        [node(), "forms.mjs", f"http://127.0.0.1:{proxy.port}/v1", json.dumps(body_of("usage"))],
        cwd=sdk, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "; hit;" in seen["cache"]
    assert seen["usage"] == plain["usage"]
    assert seen["finish_reason"] == plain["choices"][0]["finish_reason"]
    for name in ("role", "content", "tool_calls"):
        assert seen["message"].get(name) == plain["choices"][0]["message"].get(name)


# ---- Redis ----

@pytest.fixture
def make_edge(make_proxy, make_redis, pod):
    """make_edge("one"): edges that share a Redis, and nothing else."""
    redis = make_redis()

    def make(name):
        proxy = make_proxy([region("near", pod, redis)], cache=ON, edge={"id": name})
        wait_until(lambda: proxy.region("near")["redis"]["up"], "redis up")
        return proxy

    make.redis = redis
    return make


@pytest.mark.parametrize("stored, wanted", [("usage", "plain"), ("plain", "usage"),
                                            ("plain", "stream")])
def test_another_edge_turns_what_it_finds_in_redis(make_edge, pod, stored, wanted):
    first = ask(make_edge("one"), stored)
    wait_until(make_edge.redis.keys, "a key in Redis")
    other = make_edge("other")
    for detail in ("redis", "memory"):
        response = ask(other, wanted)
        assert response.header("Cache-Status").startswith("nearside; hit; ttl=")
        assert response.header("Cache-Status").endswith(f"; detail={detail}")
        said = response.json()["choices"][0]["message"]["content"] if wanted == "plain" else \
            merged(chunks_of(response))[0]
        assert said == answers.chat_text(body_of(wanted))
    again = ask(other, stored)
    assert is_hit(again) and again.body == first.body
    assert pod.counters()["started"] == 1
    assert len([key for key in make_edge.redis.keys() if key.startswith("ns3:")]) == 1


def test_an_answer_that_cannot_be_turned_is_replaced_in_redis(make_edge, pod):
    one = make_edge("one")
    ask(one, "stream")
    wait_until(make_edge.redis.keys, "a key in Redis")
    assert not is_hit(ask(one, "plain"))
    one.wait_metric("nearside_cache_requests_total", {"tier": "redis", "result": "store"},
                    lambda value: value == 2)
    assert is_hit(ask(make_edge("other"), "plain"))
    assert pod.counters()["started"] == 2
