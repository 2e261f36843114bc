# SPDX-License-Identifier: MIT
"""The text a pod gives for a prompt, computed here as tests/pod/generation.c computes it."""
import hashlib
import os
import re

from .processes import TOP

MASK = (1 << 64) - 1


def _read_words():
    with open(os.path.join(TOP, "tests/pod/generation.c")) as file:
        table = file.read().split("words[64] = {")[1].split("};")[0]
    words = re.findall(r'" (\w+)"', table)
    assert len(words) == 64
    return words


WORDS = _read_words()


def _content(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def text(model, prompt, tokens=16):
    digest = hashlib.sha256(f"{model}\n{prompt}".encode()).digest()
    seed = int.from_bytes(digest[:8], "big")
    words = []
    for _ in range(tokens):
        words.append(WORDS[seed >> 58])
        seed = (seed * 6364136223846793005 + 1442695040888963407) & MASK
    return " ".join(words)


def chat_text(body, tokens=16):
    """What a chat request (a dict) must be answered with."""
    prompt = "".join(f"{m['role']}:{_content(m.get('content'))}\n" for m in body["messages"])
    return text(body["model"], prompt, body.get("max_tokens", tokens))


def chat(prompt, model="sim", **more):
    """A chat request's body."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
