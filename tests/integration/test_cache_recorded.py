# SPDX-License-Identifier: MIT
"""A hit says what the server itself would have said: answers in the shapes of OpenAI, vLLM, SGLang,
TGI, llama.cpp, Ollama and Anthropic (tests/corpus/answers), stored in one form and asked for in
another."""
import json
import subprocess

import pytest
from env import recorded
from env.assembler import assemble, data_of
from env.conf import region
from test_sdk import node, sdk  # noqa: F401

PAIRS = recorded.load()
BOTH = [pair for pair in PAIRS if pair.stream is not None]
SERVERS = sorted({pair.server for pair in BOTH})
PLAIN, STREAM = {}, {"stream": True}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def proxy(make_proxy, make_origin):
    return make_proxy([region("near", make_origin(recorded.serve(PAIRS, seed=20)))],
                      cache={"enabled": True})


def ask(proxy, pair, form):
    response = proxy.post(pair.path, pair.body(**form))
    assert response.status == 200, pair.name
    return response


def is_hit(response):
    return "; hit;" in response.header("Cache-Status")


def of_server(server):
    return [pair for pair in BOTH if pair.server == server]


def turned(proxy, pairs, stored, wanted):
    """[(pair, answer)]: each pair stored in one form, then asked for in the other."""
    for pair in pairs:
        assert not is_hit(ask(proxy, pair, stored)), pair.name
    return [(pair, ask(proxy, pair, wanted)) for pair in pairs]


def chunks_of(stream):
    return [json.loads(data) for data in data_of(stream)]


def without_usage(chunks):
    """As the server would have sent them to who did not ask for usage."""
    said = [chunk for chunk in chunks if chunk["choices"] or not chunk.get("usage")]
    return [{name: value for name, value in chunk.items() if name != "usage"} for chunk in said]


def exact(server, turn):
    return [pair for pair in of_server(server) if pair.is_exact(turn)]


def inexact(turn):
    return [pair for pair in BOTH if not pair.is_exact(turn)]


# ---- as stored ----

@pytest.mark.parametrize("form", [PLAIN, STREAM])
@pytest.mark.parametrize("server", sorted({pair.server for pair in PAIRS}))
def test_the_stored_form_comes_back_byte_for_byte(proxy, server, form):
    pairs = [pair for pair in PAIRS if pair.server == server and (form is PLAIN or pair.stream)]
    for pair, again in turned(proxy, pairs, form, form):
        assert is_hit(again), pair.name
        assert again.body == (pair.plain if form is PLAIN else pair.stream), pair.name


@pytest.mark.parametrize("seed", range(4))
def test_how_the_network_cuts_a_stream_does_not_matter(make_proxy, make_origin, seed):
    origin = make_origin(recorded.serve(PAIRS, seed))
    proxy = make_proxy([region("near", origin)], cache={"enabled": True})
    pairs = [pair for pair in BOTH if pair.name.startswith(("llamacpp-chat", "openai-chat-log"))]
    for pair, plain in turned(proxy, pairs, USAGE, PLAIN):
        assert is_hit(plain), pair.name
        assert recorded.meaning(plain.json()) == recorded.meaning(json.loads(pair.plain)), pair.name


# ---- turned ----

@pytest.mark.parametrize("server", [one for one in SERVERS if exact(one, "stream_to_plain")])
def test_a_stored_stream_gives_the_plain_answer_of_its_server(proxy, server):
    for pair, plain in turned(proxy, exact(server, "stream_to_plain"), USAGE, PLAIN):
        assert is_hit(plain), pair.name
        assert recorded.meaning(plain.json()) == recorded.meaning(json.loads(pair.plain)), pair.name


@pytest.mark.parametrize("server", [one for one in SERVERS if exact(one, "plain_to_stream")])
def test_a_stored_plain_answer_gives_a_stream_that_says_the_same(proxy, server):
    for pair, stream in turned(proxy, exact(server, "plain_to_stream"), PLAIN, USAGE):
        assert is_hit(stream), pair.name
        said = recorded.meaning(assemble(stream.body))
        assert said == recorded.meaning(json.loads(pair.plain)), pair.name


@pytest.mark.parametrize("server", [one for one in SERVERS if exact(one, "without_usage")])
def test_a_stored_stream_without_its_usage_says_the_same_but_for_that(proxy, server):
    for pair, stream in turned(proxy, exact(server, "without_usage"), USAGE, STREAM):
        assert is_hit(stream), pair.name
        assert chunks_of(stream.body) == without_usage(chunks_of(pair.stream)), pair.name


@pytest.mark.parametrize("turn, stored, wanted", [
    ("stream_to_plain", USAGE, PLAIN), ("plain_to_stream", PLAIN, USAGE),
    ("without_usage", USAGE, STREAM)])
def test_what_cannot_be_turned_exactly_is_a_miss(proxy, turn, stored, wanted):
    for pair, response in turned(proxy, inexact(turn), stored, wanted):
        assert not is_hit(response), pair.name
        assert response.body == (pair.plain if wanted is PLAIN else pair.stream), pair.name


# ---- the means of this test ----

@pytest.mark.parametrize("row", recorded.DIFFERENCES, ids=lambda row: row[0])
def test_no_difference_is_allowed_that_no_server_makes(row):
    pairs = [(json.loads(pair.plain), assemble(pair.stream)) for pair in BOTH
             if pair.is_exact("stream_to_plain")]
    assert all(recorded.meaning(plain) == recorded.meaning(said) for plain, said in pairs)
    assert any(recorded.meaning(plain, row) != recorded.meaning(said, row)
               for plain, said in pairs)


def test_openais_sdk_reads_the_streams_made_from_plain_answers(sdk, proxy):  # noqa: F811
    pairs = [pair for pair in BOTH if pair.is_exact("plain_to_stream") and "chat" in pair.path]
    for pair in pairs:
        proxy.post(pair.path, pair.body(), {"Authorization": "Bearer test-key"})
    bodies = json.dumps([pair.body(**USAGE) for pair in pairs])
    done = subprocess.run([node(), "recorded.mjs", f"http://127.0.0.1:{proxy.port}/v1"],
                          cwd=sdk, input=bodies, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    for pair, seen in zip(pairs, json.loads(done.stdout), strict=True):
        assert "; hit;" in seen["cache"], pair.name
        plain, said = (recorded.meaning(one) for one in (json.loads(pair.plain), seen["completion"]))
        # TGI's id is empty: the SDK then takes the event with usage for one of another answer.
        assert said.get("usage") == (plain["usage"] if plain["id"] else None), pair.name
        for got, wanted in zip(said["choices"], plain["choices"], strict=True):
            assert got["finish_reason"] == wanted["finish_reason"], pair.name
            for name in ("role", "content", "refusal", "tool_calls"):
                assert got["message"].get(name) == wanted["message"].get(name), (pair.name, name)
