# SPDX-License-Identifier: MIT
"""A real redis-server of our own."""
import os
import shutil

import redis as redis_client

from .ports import Port
from .processes import Process
from .waiting import wait_until


class Redis:
    def __init__(self, directory, name="redis", password=None, user=None, user_rules=None,
                 tls=None, extra=(), sentinel=False):
        """`tls` is a certificate of the `certs` fixture. `user` with `user_rules` makes an ACL. A
        `sentinel` is one that watches nobody."""
        self.name = name
        self.password = password
        self.user = user
        self.user_rules = user_rules or "~* &* +@all"
        self.tls = tls
        self.extra = list(extra)
        self.sentinel = sentinel
        self._port = Port()
        self.port = self._port.number
        self.directory = os.path.join(str(directory), f"{name}-{self.port}")
        os.mkdir(self.directory)
        self.process = None
        self._client = None
        self.start()

    @property
    def url(self):
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}/0"

    def _argv(self):
        argv = [shutil.which("redis-server")]
        if self.sentinel:
            conf = os.path.join(self.directory, "sentinel.conf")
            open(conf, "w").close()
            return argv + [conf, "--sentinel", "--bind", "127.0.0.1", "--port", self.port]
        if self.user:
            acl = os.path.join(self.directory, "redis.conf")
            with open(acl, "w") as file:
                file.write(f"user {self.user} on >{self.password} {self.user_rules}\n")
            argv.append(acl)
        argv += ["--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", self.directory]
        if self.tls:
            argv += ["--port", "0", "--tls-port", self.port, "--tls-cert-file", self.tls.cert,
                     "--tls-key-file", self.tls.key, "--tls-ca-cert-file", self.tls.ca,
                     "--tls-auth-clients", "no"]
        else:
            argv += ["--port", self.port]
        if self.password and not self.user:
            argv += ["--requirepass", self.password]
        return argv + self.extra

    def start(self):
        self.process = Process(self._argv(), self.directory, "server")
        self._client = redis_client.Redis(
            host="127.0.0.1", port=self.port, socket_timeout=5, ssl=bool(self.tls),
            username=self.user, password=self.password,
            ssl_ca_certs=self.tls.ca if self.tls else None, ssl_check_hostname=False)

        def answers():
            self.process.check_running()
            try:
                return self._client.ping()
            except redis_client.RedisError as error:
                raise ValueError(str(error)) from error

        wait_until(answers, f"redis {self.name} to answer")

    @property
    def client(self):
        return self._client

    def keys(self):
        return sorted(key.decode() for key in self._client.keys("*"))

    def freeze(self):
        self.process.freeze()

    def thaw(self):
        self.process.thaw()

    def kill(self):
        self.process.kill()

    def restart(self):
        if self.process.is_running:
            self.kill()
        self.start()

    def close(self):
        if self.process.is_running:
            self.process.kill()
        self._client.close()
        self._port.release()
