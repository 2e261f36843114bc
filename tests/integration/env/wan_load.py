# SPDX-License-Identifier: MIT
"""Load that remembers every request: when its first content came, who served it, how it ended.

Outcomes, as the client sees them:
    ok       whole and right
    failed   an error, or nothing, before the first content
    cut      it had begun and did not end properly (an error event in the stream counts)
    wrong    ended as if all were well, with another text: the one thing that must never be
    refused  the edge itself took no connection"""
import asyncio
import dataclasses
import random
import time

from . import answers, raw
from .load import Failure, Load
from .waiting import wait_until

LONG_PROMPT = " ".join(["all the work and no play"] * 400)  # 10 KB: many packets
STALE = (ConnectionResetError, BrokenPipeError)


@dataclasses.dataclass
class Answer:
    begun: float
    streamed: bool
    first: float = 0.0  # first content; for a plain answer its head
    ended: float = 0.0
    outcome: str = "failed"
    why: str = ""
    region: str = ""
    attempts: int = 1
    heard: float = 0.0         # when something of it came last
    silent_from: float = 0.0   # its longest silence since the first content
    silent_until: float = 0.0
    reconnected: bool = False  # the kept connection was closed just as we sent

    @property
    def ttft(self):
        """Seconds to the first content, or to the end of all hope."""
        return (self.first or self.ended) - self.begun

    def hear(self, now):
        """Something came, or nothing will any more."""
        if self.first and now - self.heard > self.silent_until - self.silent_from:
            self.silent_from, self.silent_until = self.heard, now
        self.heard = now


class Heard:
    """A StreamReader that tells an Answer whenever something has come."""

    def __init__(self, reader, answer):
        self.reader = reader
        self.answer = answer

    async def readuntil(self, end):
        data = await self.reader.readuntil(end)
        self.answer.hear(time.monotonic())
        return data

    async def readexactly(self, count):
        data = await self.reader.readexactly(count)
        self.answer.hear(time.monotonic())
        return data


class WanLoad(Load):
    def __init__(self, port, clients=200, pause_s=0.8, tokens=12, timeout=15.0, **options):
        super().__init__(port, clients=clients, pause_s=pause_s, tokens=tokens, timeout=timeout,
                         **options)
        self.answers = []

    def since(self, begun, until=float("inf")):
        return [answer for answer in list(self.answers) if begun <= answer.begun < until]

    def _body(self, number, sequence):
        prompt = f"client {number} request {sequence} {time.monotonic_ns()}"
        if (number + sequence) % 5 == 0:
            prompt += LONG_PROMPT
        body = answers.chat(prompt, max_tokens=self.tokens)
        if self.stream and (number + sequence) % 2:
            body["stream"] = True
        return body

    async def _client(self, number):
        connection = None
        sequence = 0
        await asyncio.sleep(random.random() * self.pause_s)
        while not self._stopping.is_set():
            sequence += 1
            body = self._body(number, sequence)
            answer = Answer(time.monotonic(), bool(body.get("stream")))
            try:
                connection = await asyncio.wait_for(
                    self._ask(connection, body, answer), self.timeout)
                answer.outcome = "ok"
            except Exception as error:  # whatever it is, the client did not get its answer
                connection = None
                answer.why = f"{type(error).__name__}: {error}"
                self._judge(answer, error)
            answer.ended = time.monotonic()
            answer.hear(answer.ended)
            self.answers.append(answer)
            await asyncio.sleep(self.pause_s * (0.5 + random.random()))
        if connection is not None:
            connection[1].close()

    @staticmethod
    def _judge(answer, error):
        if isinstance(error, ConnectionRefusedError):
            answer.outcome = "refused"
        elif str(error).startswith("wrong text"):
            answer.outcome = "wrong"
        elif answer.first:
            answer.outcome = "cut"

    async def _ask(self, connection, body, answer):
        """One request. A kept connection that was closed before it is tried anew once, as every
        HTTP client does."""
        request = raw.request_bytes("POST", "/v1/chat/completions", body, self.headers)
        if connection is not None:
            try:
                return await self._exchange(connection, request, body, answer)
            except STALE:
                if answer.first:
                    raise
            except asyncio.IncompleteReadError as error:
                if answer.first or error.partial:
                    raise
            answer.reconnected = True
        connection = await asyncio.open_connection("127.0.0.1", self.port)
        return await self._exchange(connection, request, body, answer)

    async def _exchange(self, connection, request, body, answer):
        reader, writer = connection
        try:
            writer.write(request)
            line, headers = raw.parse_head(await reader.readuntil(b"\r\n\r\n"))
            headers = {name.lower(): value for name, value in headers}
            answer.region = headers.get("x-nearside-region", "")
            answer.attempts = int(headers.get("x-nearside-attempts", 1))
            kind = headers.get("content-type", "")
            if " 200 " in line + " " and not kind.startswith("text/html"):
                answer.first = answer.heard = time.monotonic()
            payload = await self._read_body(Heard(reader, answer), headers)
            self._hold_against(body, line, headers, payload)
        except BaseException:
            writer.close()
            raise
        if headers.get("connection", "").lower() == "close":
            writer.close()
            return None
        return connection

    def _hold_against(self, body, line, headers, payload):
        if headers.get("content-type", "").startswith("text/html"):
            raise Failure(f"a page for people: {payload[:60]!r}")
        if body.get("stream") and " 200 " in line + " " and b'"error"' in payload:
            raise Failure(f"an error inside the stream: {payload[-200:]!r}")
        self._check(body, line, headers, payload)

    def wait_count_all(self, count, timeout=30.0):
        """Wait until that many requests have ended, however they did."""
        wait_until(lambda: len(self.answers) >= count, f"{count} answers", timeout)
