# SPDX-License-Identifier: MIT
"""A name server that answers from a dict and can be told to answer late, badly or not at all."""
import socket
import threading

import dnslib


class Dns:
    """`records` maps a name to its addresses: {"pods.test": ["127.0.0.1"]}; change it at will.

    mode: ok | servfail | nxdomain | silent | late (answers after `late_s`)."""

    def __init__(self):
        self.records = {}
        self.ttl = 1
        self.mode = "ok"
        self.late_s = 0.5
        self.queries = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def env(self):
        """What points the proxy's resolver here."""
        return {"NEARSIDE_DNS_SERVERS": f"127.0.0.1:{self.port}"}

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(timeout=5)
        self._socket.close()

    def _serve(self):
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            mode = self.mode
            if mode == "silent":
                continue
            answer = self._answer(dnslib.DNSRecord.parse(data), mode)
            if mode == "late":
                threading.Timer(self.late_s, self._send, (answer, peer)).start()
            else:
                self._send(answer, peer)

    def _send(self, answer, peer):
        try:
            self._socket.sendto(answer.pack(), peer)
        except OSError:
            pass  # closed in the meantime

    def _answer(self, query, mode):
        name = str(query.q.qname).rstrip(".").lower()
        kind = dnslib.QTYPE[query.q.qtype]
        self.queries.append((name, kind))
        reply = query.reply()
        if mode == "servfail":
            reply.header.rcode = dnslib.RCODE.SERVFAIL
        elif mode == "nxdomain" or name not in self.records:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        else:
            for address in self.records[name]:
                is_v6 = ":" in address
                if (kind, is_v6) in (("A", False), ("AAAA", True)):
                    data = dnslib.AAAA(address) if is_v6 else dnslib.A(address)
                    reply.add_answer(dnslib.RR(query.q.qname, query.q.qtype, ttl=self.ttl,
                                               rdata=data))
        return reply
