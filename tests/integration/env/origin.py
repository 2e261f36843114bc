# SPDX-License-Identifier: MIT
"""An endpoint written in the test itself: for answers that no orderly pod would give."""
import socket
import threading

from . import raw

HEALTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Origin:
    """Calls handler(peer, line, headers) for each request but /health, on a thread per connection.

    `peer` is a socket with a buffer, as the client's (raw.Conn): the handler reads the body and
    writes bytes as it likes. It returns True to be given the next request of the connection."""

    def __init__(self, handler):
        self.handler = handler
        self.failures = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self._open = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.settimeout(20)
            with self._lock:
                self._open.add(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted):
        peer = raw.Conn.__new__(raw.Conn)
        peer.socket, peer.buffer = accepted, b""
        try:
            while True:
                line, headers = raw.parse_head(peer.read_until(b"\r\n\r\n"))
                if line.split(" ")[1] == "/health":
                    peer.send(HEALTH)
                elif not self.handler(peer, line, dict((k.lower(), v) for k, v in headers)):
                    return
        except (raw.Closed, OSError):
            pass
        except Exception as error:  # a handler's own assertion: told at the end of the test
            self.failures.append(error)
        finally:
            with self._lock:
                self._open.discard(accepted)
            accepted.close()

    def close(self):
        self.listener.close()
        with self._lock:
            for one in self._open:
                one.close()
        assert not self.failures, self.failures


def read_chunked(peer):
    body = b""
    while piece := peer.read_chunk():
        body += piece
    peer.read_trailers()
    return body
