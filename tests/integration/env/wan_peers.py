# SPDX-License-Identifier: MIT
"""Pods and Redis that live in a node of a Wan. Make them, start and control them from anywhere:
each call steps into the node for its duration."""
from . import raw
from .pod import Pod
from .redis import Redis

POD_PORT = 8000  # alone in their namespace, so the port is free


class WanPod(Pod):
    def __init__(self, directory, wan, site_name, name, host, **options):
        self.wan = wan
        self.site = wan.site(site_name)
        self.address = self.site.address(host)
        super().__init__(directory, name, bind=self.address, **options)

    @property
    def port(self):
        return POD_PORT

    @port.setter
    def port(self, _):
        """The base class's loopback port is of no use here."""

    @property
    def url(self):
        return f"{self.scheme}://{self.address}:{POD_PORT}"

    def start(self):
        with self.wan.inside(self.site.name):
            super().start()

    def _ask(self, method, body=None):
        with self.wan.inside(self.site.name):
            return raw.one_request(self.control_port, method, "/control", body, host=self.address)

    def control(self, **change):
        response = self._ask("POST", change)
        assert response.status == 200, response
        return response.json()

    def counters(self):
        return self._ask("GET").json()


class WanRedis(Redis):
    def __init__(self, directory, wan, site_name, name, host=20):
        self.wan = wan
        self.site = wan.site(site_name)
        self.address = self.site.address(host)
        super().__init__(directory, name,
                         extra=("--bind", "0.0.0.0", "--protected-mode", "no"))

    @property
    def url(self):
        return f"redis://{self.address}:{self.port}/0"

    def start(self):
        with self.wan.inside(self.site.name):
            super().start()
