# SPDX-License-Identifier: MIT
"""Many clients at once that check every answer to the last byte.

Each client keeps a connection and sends one chat request after the other, every second one
streamed, and holds each answer against what the pod must have said. Nothing is retried:
whatever a user would see as a failure is one here."""
import asyncio
import json
import threading
import time

from . import answers, raw
from .waiting import wait_until


class Failure(Exception):
    """A user would have complained."""


class Load:
    def __init__(self, port, clients=20, tokens=6, headers=None, pause_s=0.0, prompts="unique",
                 timeout=30.0, stream=True):
        """prompts: unique (never the same twice) or a list to go around in.
        stream: every second request is one."""
        self.port = port
        self.clients = clients
        self.tokens = tokens
        self.headers = headers or {}
        self.pause_s = pause_s
        self.prompts = prompts
        self.timeout = timeout
        self.stream = stream
        self.failures = []
        self.done = []  # (begun, ended, region, was streamed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Let each client finish its request, then return."""
        self._stopping.set()
        self._thread.join(timeout=self.timeout + 15)
        assert not self._thread.is_alive(), "a client hangs"

    @property
    def count(self):
        return len(self.done)

    def wait_count(self, more, timeout=30.0):
        """Wait until `more` further requests have been answered."""
        wanted = self.count + more
        wait_until(lambda: self.count + len(self.failures) >= wanted,
                   f"{more} more answers ({len(self.failures)} failures)", timeout)

    def regions_since(self, moment):
        """How many requests begun after `moment` (time.monotonic()) each region has served."""
        counts = {}
        for begun, _, region, _ in list(self.done):
            if begun >= moment:
                counts[region] = counts.get(region, 0) + 1
        return counts

    def assert_no_failures(self, at_least=1):
        assert not self.failures, (f"{len(self.failures)} of "
                                   f"{self.count + len(self.failures)} failed: "
                                   f"{self.failures[:5]}")
        assert self.count >= at_least, f"only {self.count} requests were made"

    async def _main(self):
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    async def _client(self, number):
        connection = None
        sequence = 0
        while not self._stopping.is_set():
            sequence += 1
            try:
                connection = await asyncio.wait_for(
                    self._one(connection, number, sequence), self.timeout)
            except Exception as error:  # whatever it is, the client did not get its answer
                self.failures.append({"client": number, "request": sequence,
                                      "at": time.monotonic(),
                                      "what": f"{type(error).__name__}: {error}"})
                if connection is not None:
                    connection[1].close()
                connection = None
            if self.pause_s:
                await asyncio.sleep(self.pause_s)
        if connection is not None:
            connection[1].close()

    def _body(self, number, sequence):
        if self.prompts == "unique":
            prompt = f"client {number} request {sequence} {time.monotonic_ns()}"
        else:
            prompt = self.prompts[(number + sequence) % len(self.prompts)]
        body = answers.chat(prompt, max_tokens=self.tokens)
        if self.stream and (number + sequence) % 2:
            body["stream"] = True
        return body

    async def _one(self, connection, number, sequence):
        begun = time.monotonic()
        if connection is None:
            connection = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = connection
        body = self._body(number, sequence)
        try:
            writer.write(raw.request_bytes("POST", "/v1/chat/completions", body, self.headers))
            head = await reader.readuntil(b"\r\n\r\n")
            line, headers = raw.parse_head(head)
            headers = {name.lower(): value for name, value in headers}
            payload = await self._read_body(reader, headers)
            self._check(body, line, headers, payload)
        except BaseException:
            writer.close()
            raise
        self.done.append((begun, time.monotonic(), headers.get("x-nearside-region"),
                          bool(body.get("stream"))))
        if headers.get("connection", "").lower() == "close":
            writer.close()
            return None
        return connection

    @staticmethod
    async def _read_body(reader, headers):
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await reader.readexactly(int(headers["content-length"]))
        pieces = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            if size == 0:
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return b"".join(pieces)
            data = await reader.readexactly(size + 2)
            pieces.append(data[:-2])

    @staticmethod
    def _check(body, line, headers, payload):
        if " 200 " not in line + " ":
            raise Failure(f"{line} {payload[:300]!r}")
        wanted = answers.chat_text(body)
        if not body.get("stream"):
            text = json.loads(payload)["choices"][0]["message"]["content"]
            done = True
        else:
            text, done, _ = raw.sse_text(payload.split(b"\n\n"))
        if not done:
            raise Failure(f"stream without [DONE], {headers}, ends {payload[-200:]!r}")
        if text != wanted:
            raise Failure(f"wrong text {text!r}, wanted {wanted!r}")
