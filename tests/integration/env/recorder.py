# SPDX-License-Identifier: MIT
"""An origin that reads as strictly as can be, keeps all it was sent, and answers as it is told.

Requests are kept under the value of their X-Case field, so that one origin serves many tests. What
is not plain, regenerated HTTP/1.1 (one blank between the parts of a line, CR LF, one framing field
at most, no hop-by-hop field) is a fault of the edge, told by check()."""
import re
import socket
import threading

from . import raw

LINE = re.compile(rb"^[A-Za-z0-9!#$%&'*+.^_`|~-]+ \S+ HTTP/1\.1$")
FIELD = re.compile(rb"^([A-Za-z0-9!#$%&'*+.^_`|~-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)$")
HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade",
       "proxy-authorization", "expect"}
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Request:
    def __init__(self, connection, line, fields):
        self.connection = connection
        self.method, self.target, _ = line.split(" ")
        self.fields = fields
        self.body = b""

    def header(self, name):
        return ", ".join(value for key, value in self.fields if key.lower() == name.lower())

    def headers(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __repr__(self):
        return f"<{self.method} {self.target} {self.body!r}>"


class Recorder:
    def __init__(self):
        self.requests = {}  # by X-Case; whole ones only
        self.targets = []   # of every head that came
        self.faults = []
        self.answers = {}   # target: (bytes, whether the connection goes on)
        self._lock = threading.Lock()
        self._connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def check(self):
        assert not self.faults, self.faults

    def of(self, case):
        return self.requests.get(case, [])

    def count(self):
        return sum(len(requests) for requests in self.requests.values())

    def _accept(self):
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(30)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections += 1
            threading.Thread(target=self._serve, args=(accepted, self._connections),
                             daemon=True).start()

    def _serve(self, accepted, number):
        peer = raw.Conn.__new__(raw.Conn)
        peer.socket, peer.buffer = accepted, b""
        try:
            while self._one(peer, number):
                pass
        except (raw.Closed, OSError):
            pass
        except Exception as error:  # told by check()
            self.faults.append(error)
        finally:
            accepted.close()

    def _one(self, peer, number):
        lines = peer.read_until(b"\r\n\r\n")[:-4].split(b"\r\n")
        assert LINE.match(lines[0]), lines[0]
        fields = []
        for line in lines[1:]:
            match = FIELD.match(line)
            assert match, line
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        request = Request(number, lines[0].decode("latin-1"), fields)
        if request.target == "/health":
            peer.send(HEALTHY)
            return True
        self._check_fields(request)
        with self._lock:
            self.targets.append(request.target)
        request.body = self._read_body(peer, request)
        with self._lock:
            self.requests.setdefault(request.header("X-Case"), []).append(request)
        return self._answer(peer, request)

    @staticmethod
    def _check_fields(request):
        names = [name.lower() for name, _ in request.fields]
        assert names.count("host") == 1, request.fields
        assert names.count("content-length") + names.count("transfer-encoding") <= 1, \
            request.fields
        assert not HOP.intersection(names), request.fields
        assert request.header("Transfer-Encoding") in ("", "chunked"), request.fields
        assert re.fullmatch(r"\d*", request.header("Content-Length")), request.fields

    @staticmethod
    def _read_body(peer, request):
        if request.header("Transfer-Encoding"):
            body = b""
            while True:
                size = peer.read_until(b"\r\n")[:-2]
                assert re.fullmatch(rb"[0-9a-f]+", size), size  # ours alone: no extension
                piece = peer.read_exactly(int(size, 16) + 2)
                assert piece.endswith(b"\r\n"), piece  # and no trailer
                if len(piece) == 2:
                    return body
                body += piece[:-2]
        return peer.read_exactly(int(request.header("Content-Length") or 0))

    def _answer(self, peer, request):
        if request.target in self.answers:
            data, goes_on = self.answers[request.target]
            peer.send(data)
            return goes_on
        body = f"{request.method} {request.target} {len(request.body)}".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        peer.send(head + (b"" if request.method == "HEAD" else body))
        return True
