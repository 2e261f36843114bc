# SPDX-License-Identifier: MIT
"""The proxies under measurement: each is a config from tests/bench/conf/ and a process on its core."""
import os
import resource
import subprocess

from . import machine

CONF = os.path.join(machine.TOP, "tests", "bench", "conf")

NGINX_LOCATIONS = {
    "plain": "proxy_request_buffering off;",
    "stream": "proxy_buffering off; proxy_request_buffering off;",
    "cache": "proxy_cache answers; proxy_cache_methods GET POST; proxy_cache_lock on;"
             " proxy_cache_valid 200 1h; proxy_cache_key $request_method$uri$request_body;",
}


def raise_fd_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def region_text(name, urls):
    quoted = ", ".join(f'"{url}"' for url in urls)
    return f'{{ name = "{name}"; endpoints = [ {quoted} ]; }}'


def fleet_text(regions, endpoints, pod_port):
    """As many endpoints as told, all of them the pod under different loopback addresses."""
    return ", ".join(
        region_text(f"r{r}", [f"http://127.1.{r}.{e}:{pod_port}" for e in range(endpoints)])
        for r in range(regions))


class Server:
    """One running proxy. `kind`: plain, stream, cache, cache:BYTES, churn:BYTES, crowd:WORKERS,
    tls, log or fleet:RxE."""

    def __init__(self, name, kind, directory, pod_port, certificate, under=()):
        """`under`: a tool's command line to run it under, valgrind's for one."""
        self.name, self.kind, self.directory, self.under = name, kind, directory, under
        self.port = machine.free_port()
        self.certificate = certificate if kind == "tls" else None
        self.words = {"PORT": self.port, "POD": pod_port, "DIR": directory, "TLS": "",
                      "TLSTOP": "", "ADMIN": machine.free_port()}
        self.process = self._start(getattr(self, f"_{name}")())
        machine.wait_port(self.port, self.process)
        if name in ("nearside", "before"):
            machine.wait_ok(f"http://127.0.0.1:{self.words['ADMIN']}/readyz")
        self.pids = machine.family(self.process.pid)

    def stop(self):
        machine.stop(self.process)

    def _start(self, argv):
        argv = [*self.under, *argv]
        if not self.kind.startswith(("crowd:", "churn:")):
            argv = machine.pinned(machine.PROXY_CORE, argv)
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _conf(self, source):
        with open(os.path.join(CONF, source)) as file:
            text = file.read()
        for word, value in self.words.items():
            text = text.replace(f"@{word}@", str(value))
        path = os.path.join(self.directory, f"{self.port}-{source}")
        with open(path, "w") as file:
            file.write(text)
        return path

    def _before(self):
        """Another build of ours, to compare in the same run."""
        return [os.environ["BENCH_BEFORE"], *self._nearside()[1:]]

    def _nearside(self):
        words = self.words
        kind, _, number = self.kind.partition(":")
        words["WORKERS"] = {"crowd": number, "churn": "4"}.get(kind, "1")
        words["CACHE"] = "true" if kind in ("cache", "crowd") else "false"
        if kind in ("cache", "churn") and number:
            words["CACHE"] = f"true; memory_bytes = {number}L"
        if kind == "churn":
            words["CACHE"] += "; ttl_s = 10"  # entries come to their end meanwhile
        words["ACCESS"] = os.path.join(self.directory, "access.log") if self.kind == "log" else ""
        words["REGIONS"] = region_text("r0", [f"http://127.0.0.1:{words['POD']}"])
        if kind == "fleet":
            regions, endpoints = map(int, number.split("x"))
            words["REGIONS"] = fleet_text(regions, endpoints, words["POD"])
        if self.certificate:
            cert, key, _ = self.certificate
            words["TLS"] = f'tls = {{ certificate = "{cert}"; key = "{key}"; min_version = "1.3"; }};'
        return [os.path.join(machine.BUILD, "nearside"), "-c", self._conf("nearside.conf")]

    def _haproxy(self):
        self.words["BACKEND"] = "cached" if self.kind == "cache" else "plain"
        if self.certificate:
            self.words["TLS"] = f"ssl crt {self.certificate[2]} alpn http/1.1"
        return ["haproxy", "-db", "-f", self._conf("haproxy.cfg")]

    def _nginx(self):
        self.words["LOCATION"] = NGINX_LOCATIONS.get(self.kind, NGINX_LOCATIONS["plain"])
        if self.certificate:
            cert, key, _ = self.certificate
            self.words["TLS"] = f"ssl; ssl_certificate {cert}; ssl_certificate_key {key}"
        return ["nginx", "-c", self._conf("nginx.conf"), "-e", f"{self.directory}/error.log"]

    def _h2o(self):
        if self.certificate:
            cert, key, _ = self.certificate
            self.words["TLSTOP"] = "ssl-session-resumption:\n  mode: ticket"
            self.words["TLS"] = (f"      ssl:\n        certificate-file: {cert}\n        key-file: {key}\n"
                                 "        minimum-version: TLSv1.3\n        neverbleed: OFF")
        return ["h2o", "-m", "worker", "-c", self._conf("h2o.conf")]

    def _varnish(self):
        return ["varnishd", "-F", "-j", "none", "-n", os.path.join(self.directory, str(self.port)),
                "-a", f"127.0.0.1:{self.port}", "-f", self._conf("varnish.vcl"), "-s", "malloc,64m",
                "-T", "none", "-p", "thread_pools=1", "-p", "thread_pool_min=100"]

    def _raw(self):
        return [os.path.join(machine.BUILD, "bench", "rawforward"), str(self.port),
                str(self.words["POD"])]


class Pod:
    """The simulated pod: it knows its prompts, and costs as much as a proxy."""

    def __init__(self, everywhere=False):
        self.port = machine.free_port()
        self.process = subprocess.Popen(
            machine.pinned(machine.LOAD_CORE,
                           self._argv(str(self.port), "0.0.0.0" if everywhere else "127.0.0.1")),
            stdout=subprocess.DEVNULL)
        machine.wait_port(self.port, self.process)

    def _argv(self, port, address):
        return [os.path.join(machine.BUILD, "pod"), "--port", port, "--bind", address]

    def stop(self):
        machine.stop(self.process)


class CannedPod(Pod):
    """Answers that are ready: what is measured is the proxy (tests/bench/canned.c)."""

    def _argv(self, port, address):
        return [os.path.join(machine.BUILD, "bench", "canned"), port, address]
