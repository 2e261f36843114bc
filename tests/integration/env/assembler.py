# SPDX-License-Identifier: MIT
"""What a client makes of an event stream: the plain answer it stands for, put together from the
chunks. Written from the API's description alone, so that it shares no mistake with the proxy."""
import json

TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
LISTS = ("content", "refusal", "tokens", "token_logprobs", "top_logprobs", "text_offset")


def data_of(stream):
    """The `data` of each event. Strict: a blank line behind each, [DONE] last and only there."""
    text = stream.decode("utf-8")
    assert text.endswith("\n\n"), text[-80:]
    events = [event for event in text[:-2].split("\n\n") if event]
    datas = ["\n".join(line[5:].removeprefix(" ") for line in event.split("\n")
                       if line.startswith("data:")) for event in events]
    assert datas[-1] == "[DONE]" and "[DONE]" not in datas[:-1], datas[-1]
    return datas[:-1]


def add_text(message, name, piece):
    if piece is not None:
        piece = (message.get(name) or "") + piece
    if piece is not None or name not in message:
        message[name] = piece


def add_call(calls, piece):
    call = calls.setdefault(piece["index"], {"function": {"arguments": ""}})
    for name in ("id", "type"):
        if piece.get(name):
            assert call.get(name, piece[name]) == piece[name], (call, piece)
            call[name] = piece[name]
    function = piece.get("function") or {}
    if function.get("name"):
        assert "name" not in call["function"], "a name said twice is read as one name by clients"
        call["function"]["name"] = function["name"]
    call["function"]["arguments"] += function.get("arguments") or ""


def add_delta(choice, delta):
    message = choice["message"]
    for name, value in delta.items():
        if name in TEXTS:
            add_text(message, name, value)
        elif name == "tool_calls":
            for piece in value or []:
                add_call(choice["calls"], piece)
        elif value is not None or name not in message:
            assert name == "role" or not value, f"a member that nobody asked for: {name}"
            message[name] = value


def add_logprobs(choice, logprobs):
    for name, value in (logprobs or {}).items():
        assert name in LISTS, name
        choice["logprobs"] = choice.get("logprobs") or {}
        if value is not None:
            choice["logprobs"][name] = (choice["logprobs"].get(name) or []) + value


def add_piece(choices, piece):
    choice = choices.setdefault(piece["index"], {"index": piece["index"], "calls": {}})
    assert not choice.get("finish_reason"), "a piece behind the choice's end"
    if "delta" in piece:
        choice.setdefault("message", {})
        add_delta(choice, piece["delta"])
    else:
        choice["text"] = choice.get("text", "") + piece["text"]
    add_logprobs(choice, piece.get("logprobs"))
    for name in piece.keys() - {"index", "delta", "text", "logprobs"}:
        choice[name] = choice.get(name) if piece[name] is None else piece[name]


def finished(choice):
    calls = choice.pop("calls")
    assert choice["finish_reason"], choice
    assert sorted(calls) == list(range(len(calls))), calls
    if calls:
        choice["message"]["tool_calls"] = [calls[index] for index in range(len(calls))]
    return choice


def assemble(stream):
    """The plain answer. `created` is the first chunk's, `usage` and `timings` the last ones'."""
    answer, choices = {}, {}
    for data in data_of(stream):
        chunk = json.loads(data)
        for name in chunk.keys() - {"choices", "object", "obfuscation"}:
            if name == "created":
                answer.setdefault(name, chunk[name])
            elif chunk[name] is not None or name not in answer:
                answer[name] = chunk[name]
        for piece in chunk["choices"]:
            add_piece(choices, piece)
        answer["object"] = chunk["object"].removesuffix(".chunk")
    answer["choices"] = [finished(choices[index]) for index in range(len(choices))]
    return answer
