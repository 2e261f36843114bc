# SPDX-License-Identifier: MIT
"""The pairs of tests/corpus/answers, an endpoint that serves them, and when two answers are one."""
import json
import os
import random

from .processes import TOP

FOLDER = os.path.join(TOP, "tests", "corpus", "answers")


class Pair:
    def __init__(self, row):
        self.name, self.path, self.row = row["name"], row["path"], row
        self.server = self.name.split("-")[0]
        self.plain = self._read(".json")
        self.stream = self._read(".sse")

    def _read(self, ending):
        path = os.path.join(FOLDER, self.name + ending)
        if not os.path.exists(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def is_exact(self, turn):
        return self.row[turn] == "exact"

    def body(self, **more):
        return {"model": self.name, "messages": [{"role": "user", "content": "x"}], **more}


def load():
    with open(os.path.join(FOLDER, "index.json")) as file:
        return [Pair(row) for row in json.load(file)]


def serve(pairs, seed):
    """A handler for make_origin: the answer named by `model`, in the form asked for, written in
    pieces of random lengths (and, as chunks, in other ones than the events)."""
    known = {pair.name: pair for pair in pairs}
    dice = random.Random(seed)

    def cut(data):
        while data:
            count = dice.randint(1, max(1, min(len(data), dice.choice((3, 40, 700)))))
            yield data[:count]
            data = data[count:]

    def handler(peer, _line, headers):
        asked = json.loads(peer.read_exactly(int(headers["content-length"])))
        pair = known[asked["model"]]
        kind, said = ("text/event-stream; charset=utf-8", pair.stream) if asked.get("stream") else \
            ("application/json", pair.plain)
        body = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in cut(said)) + b"0\r\n\r\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in cut(head.encode() + body):
            peer.send(piece)
        return True
    return handler


# ---- what the two forms of one answer do not both say ----

def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def messages(answer):
    return [choice["message"] for choice in answer["choices"] if "message" in choice]


def drop_nulls(answer):
    answer.update({name: without_nulls(value) for name, value in answer.items()})
    for name in [name for name, value in answer.items() if value is None]:
        del answer[name]


def drop_empty_lists(answer):
    for message in messages(answer):
        for name in ("tool_calls", "annotations"):
            if message.get(name) == []:
                del message[name]


def empty_content(answer):
    for message in messages(answer):
        message["content"] = message.get("content") or ""


def drop_call_index(answer):
    for message in messages(answer):
        for call in message.get("tool_calls") or []:
            call.pop("index", None)


def drop_weight_version(answer):
    if (answer.get("metadata") or {}).keys() == {"weight_version"}:
        del answer["metadata"]


# (what, why nobody can know it from the other form, how it is left out of the comparison)
DIFFERENCES = (
    ("null members", "vLLM writes each null of a plain answer, and few of a stream", drop_nulls),
    ("empty tool_calls, annotations", "vLLM and OpenAI: in plain answers alone", drop_empty_lists),
    ("content null or empty", "vLLM and SGLang begin each stream with an empty content, llama.cpp "
                              "with null; plain answers with nothing but calls or reasoning have "
                              "the other one", empty_content),
    ("index of a plain call", "SGLang and Ollama: its place says it", drop_call_index),
    ("metadata.weight_version", "SGLang: in plain answers alone", drop_weight_version),
)


def meaning(answer, but_for=None):
    """The answer without what its two forms do not both say; `but_for` leaves out one row."""
    copy = json.loads(json.dumps(answer))
    for row in DIFFERENCES:
        if row is not but_for:
            row[2](copy)
    return copy
