# SPDX-License-Identifier: MIT
"""HTTP by hand: sockets where a test needs to see, cut or delay single bytes."""
import json
import socket
import ssl
import struct
import time


class Closed(AssertionError):
    """The peer closed or reset the connection before what was waited for."""


class Response:
    def __init__(self, status, reason, headers, body=b"", trailers=(), interim=()):
        self.status = status
        self.reason = reason
        self.header_list = headers
        self.body = body
        self.trailers = list(trailers)
        self.interim = list(interim)

    def header(self, name, default=None):
        for key, value in self.header_list:
            if key.lower() == name.lower():
                return value
        return default

    def headers(self, name):
        return [value for key, value in self.header_list if key.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    @property
    def error(self):
        """The inside of an error in OpenAI's shape; its form is checked."""
        error = self.json()["error"]
        assert set(error) >= {"message", "type", "code", "param"}, error
        assert isinstance(error["message"], str) and error["message"], error
        return error

    def __repr__(self):
        return f"<{self.status} {self.header_list} {self.body[:300]!r}>"


def parse_head(head):
    """Status (or request line) and headers of a head that ends with an empty line; strict."""
    lines = head.decode("latin-1").split("\r\n")
    assert lines[-2:] == ["", ""], head
    headers = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        assert colon and name and name == name.strip(), f"bad header line {line!r}"
        headers.append((name, value.strip(" \t")))
    return lines[0], headers


class Conn:
    """A client connection with a read buffer."""

    def __init__(self, port, timeout=10.0, tls=None, server_name="localhost", host="127.0.0.1",
                 receive_buffer=None, segment=None):
        """`segment`: bytes of one at most; small ones make the peer's kernel keep little unsent."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if segment is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server_name)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _fill(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError) as error:
            raise Closed(f"reset, after {self.buffer[-200:]!r}") from error
        if not data:
            raise Closed(f"closed, after {self.buffer[-200:]!r}")
        self.buffer += data

    def read_until(self, mark):
        while mark not in self.buffer:
            self._fill()
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def read_exactly(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_to_end(self):
        """Everything up to the peer's close."""
        try:
            while True:
                self._fill()
        except Closed as closed:
            if "reset" in str(closed):
                raise
        taken, self.buffer = self.buffer, b""
        return taken

    def is_closed_by_peer(self):
        """Wait for the peer's close; bytes that come instead are a failure."""
        try:
            self._fill()
        except Closed:
            return True
        raise AssertionError(f"bytes instead of a close: {self.buffer[:200]!r}")

    def read_head(self):
        line, headers = parse_head(self.read_until(b"\r\n\r\n"))
        version, _, rest = line.partition(" ")
        assert version in ("HTTP/1.1", "HTTP/1.0"), line
        status, _, reason = rest.partition(" ")
        return Response(int(status), reason, headers)

    def read_chunk(self):
        """One chunk's data; b"" for the last one, whose trailers are read by read_trailers()."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            return b""
        data = self.read_exactly(size + 2)
        assert data.endswith(b"\r\n"), data[-10:]
        return data[:-2]

    def read_trailers(self):
        trailers = []
        while True:
            line = self.read_until(b"\r\n")[:-2].decode()
            if not line:
                return trailers
            name, _, value = line.partition(":")
            trailers.append((name, value.strip()))

    def read_response(self, method="GET"):
        """A whole answer, interim ones included."""
        interim = []
        response = self.read_head()
        while 100 <= response.status < 200 and response.status != 101:
            interim.append(response)
            response = self.read_head()
        response.interim = interim
        if method == "HEAD" or response.status in (204, 304):
            return response
        if (response.header("Transfer-Encoding") or "").lower() == "chunked":
            pieces = []
            while piece := self.read_chunk():
                pieces.append(piece)
            response.body = b"".join(pieces)
            response.trailers = self.read_trailers()
        elif response.header("Content-Length") is not None:
            response.body = self.read_exactly(int(response.header("Content-Length")))
        else:
            response.body = self.read_to_end()
        return response

    def events(self):
        """The SSE events of a chunked answer as they come: (arrival time, data bytes).

        Ends at the proper last chunk; a cut raises Closed."""
        pending = b""
        while True:
            piece = self.read_chunk()
            now = time.monotonic()
            if not piece:
                assert not pending.strip(), f"unfinished event {pending!r}"
                self.read_trailers()
                return
            pending += piece
            while b"\n\n" in pending:
                event, pending = pending.split(b"\n\n", 1)
                yield now, event


def request_bytes(method, path, body=None, headers=None, host="test"):
    """A request as bytes; a dict as body becomes JSON."""
    headers = dict(headers or {})
    lines = [f"{method} {path} HTTP/1.1", f"Host: {headers.pop('Host', host)}"]
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        lines.append("Content-Type: application/json")
    elif isinstance(body, str):
        body = body.encode()
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def one_request(port, method, path, body=None, headers=None, timeout=10.0, **connection):
    """One request on a connection of its own."""
    with Conn(port, timeout=timeout, **connection) as conn:
        conn.send(request_bytes(method, path, body, headers))
        return conn.read_response(method)


def sse_text(events):
    """The text of a chat stream and whether it ended properly; `events` are data bytes."""
    text, done, finish = "", False, None
    for event in events:
        for line in event.split(b"\n"):
            if not line.startswith(b"data: "):
                continue
            data = line[6:]
            if data == b"[DONE]":
                done = True
                continue
            for choice in json.loads(data).get("choices", []):
                text += choice.get("delta", {}).get("content") or ""
                finish = choice.get("finish_reason") or finish
    return text, done, finish


def assert_one_by_one(timed_events, gap_s):
    """The content events came as they were made, `gap_s` apart, and not in bunches.

    On a busy machine the reader itself may be late now and then, and then finds two at once; so
    four in five gaps must be right. Holding back even every second event leaves half of them."""
    times = [when for when, event in timed_events if b'"content":"' in event]
    gaps = [b - a for a, b in zip(times[1:], times[2:])]  # the first two come together
    apart = [gap for gap in gaps if gap > gap_s / 3]
    assert len(gaps) >= 5 and len(apart) >= 0.8 * len(gaps), gaps
