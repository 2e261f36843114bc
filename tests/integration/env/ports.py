# SPDX-License-Identifier: MIT
"""Ports that the kernel chose and that stay ours."""
import socket


class Port:
    """A loopback port held by a socket that is bound but never listens.

    A server that sets SO_REUSEADDR (all of ours do) can bind it as well; while none does, connects
    are refused, and nobody else can be given the port. So a killed server comes back on it."""

    def __init__(self):
        self._holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number = self._holder.getsockname()[1]

    def release(self):
        self._holder.close()
