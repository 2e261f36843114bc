# SPDX-License-Identifier: MIT
"""The program under test: its config, its ports, its log, its metrics, its orderly end."""
import json
import os
import re
import signal

from . import conf as conf_text
from . import raw
from .metrics import Metrics
from .processes import Process, binary
from .waiting import wait_until

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|"
                       r"assertion|Assertion|stack smashing|double free|corrupted")
POPULATIONS = ("nearside_inflight_requests", "nearside_pending_requests",
               "nearside_buffered_bytes", "nearside_client_connections",
               "nearside_cache_followers")


class Proxy:
    def __init__(self, directory, regions, text=None, env=None, wait="ready", prefix=(),
                 directory_mode=0o755, program=None, **sections):
        """`sections` are laid over conf.BASE; `text` replaces the generated file altogether.

        wait: ready (serves), listening (has its ports), None. prefix: a program that starts it;
        program: another build of it."""
        self.directory = os.path.join(str(directory), "proxy")
        index = 0
        while os.path.exists(self.directory):
            index += 1
            self.directory = os.path.join(str(directory), f"proxy{index}")
        os.mkdir(self.directory)
        os.chmod(self.directory, directory_mode)
        self.conf_path = os.path.join(self.directory, "nearside.conf")
        self.log_path = os.path.join(self.directory, "nearside.log")
        self.access_path = os.path.join(self.directory, "access.log")
        self.tree = conf_text.merged(conf_text.BASE, {"regions": regions, **sections})
        self.env = env or {}
        self.prefix = list(prefix)
        self.program = program or binary("NEARSIDE_BIN", "build/nearside")
        self.process = None
        self._allowed_errors = set()
        self.write_conf(text)
        self.start(wait)

    # ---- life ----

    def write_conf(self, text=None, **sections):
        """Write the file: `text` as it is, else the present tree with `sections` laid over it."""
        if text is None:
            self.tree = conf_text.merged(self.tree, sections)
            log = {key: (getattr(self, "log_path" if key == "file" else "access_path")
                         if key in ("file", "access_file") else value)
                   for key, value in self.tree["log"].items()}
            text = conf_text.to_text({**self.tree, "log": log})
        with open(self.conf_path, "w") as file:
            file.write(text)

    def start(self, wait="ready"):
        self.process = Process([*self.prefix, self.program, "-c", self.conf_path],
                               self.directory, "nearside", self.env)
        if wait:
            self.wait_log("listening")
        if wait == "ready":
            self.wait_ready()

    def wait_ready(self, timeout=10.0):
        def is_ready():
            self.process.check_running()
            return self.admin("GET", "/readyz").status == 200
        wait_until(is_ready, "readyz", timeout)

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def reload_ok(self, timeout=10.0, **sections):
        """Write the file with `sections` laid over it, reload and wait until that is done."""
        before = self.metrics().value("nearside_reloads_total", {"result": "success"})
        self.write_conf(**sections)
        self.reload()
        self.wait_metric("nearside_reloads_total", {"result": "success"},
                         lambda value: value > before, timeout)

    def allow_errors(self, *events):
        """Error-level log lines with these events are part of the test."""
        self._allowed_errors.update(events)

    def stop(self):
        """End in order, and check that nothing was left or went wrong on the way."""
        if self.process is None or not self.process.is_running:
            return
        self.check_populations()
        code = self.process.terminate()
        assert code == 0, f"exit code {code}\n{self.process.stderr()[-4000:]}"
        self.check_output()

    def check_populations(self):
        """What was begun has ended: populations are back to zero, started equals finished."""
        def at_rest():
            metrics = self.metrics()
            for name in POPULATIONS:
                assert metrics.value(name) == 0, f"{name} is {metrics.value(name)}"
            started = metrics.value("nearside_requests_started_total")
            finished = metrics.value("nearside_requests_finished_total")
            assert started == finished, f"{started} started, {finished} finished"
            return True
        wait_until(at_rest, "populations to return to zero", 5.0)

    def check_output(self):
        errors = self.process.stderr()
        assert not SANITIZER.search(errors), errors[-8000:]
        unnamed = [line for line in self.log()
                   if line.get("level") == "error" and line.get("event") not in
                   self._allowed_errors]
        assert not unnamed, f"error lines the test did not name: {unnamed}"

    def destroy(self):
        if self.process is not None and self.process.is_running:
            self.process.kill()

    # ---- ports ----

    def _ports(self, event):
        return [(int(line["address"].rsplit(":", 1)[1]), line) for line in self.log(event)]

    @property
    def port(self):
        """The first plain listener's port."""
        return next(port for port, line in self._ports("listening") if not line.get("tls"))

    @property
    def tls_port(self):
        return next(port for port, line in self._ports("listening") if line.get("tls"))

    @property
    def admin_port(self):
        return self._ports("admin_listening")[-1][0]

    # ---- talking to it ----

    def connect(self, **options):
        return raw.Conn(self.port, **options)

    def request(self, method, path, body=None, headers=None, timeout=15.0):
        return raw.one_request(self.port, method, path, body, headers, timeout)

    def get(self, path, headers=None, timeout=15.0):
        return self.request("GET", path, None, headers, timeout)

    def post(self, path, body=None, headers=None, timeout=15.0):
        return self.request("POST", path, body, headers, timeout)

    def chat(self, body, headers=None, timeout=15.0):
        return self.post("/v1/chat/completions", body, headers, timeout)

    def admin(self, method, path, body=None, headers=None):
        return raw.one_request(self.admin_port, method, path, body,
                               {"Host": f"127.0.0.1:{self.admin_port}", **(headers or {})}, 5.0)

    def admin_post(self, path, headers=None):
        return self.admin("POST", path, b"", headers)

    # ---- what it says ----

    def metrics(self):
        response = self.admin("GET", "/metrics")
        assert response.status == 200, response
        return Metrics(response.text)

    def wait_metric(self, name, labels=None, predicate=lambda value: value >= 1, timeout=10.0):
        """Wait until the metric fulfils `predicate` (or equals it, when it is a number)."""
        wanted = predicate if callable(predicate) else lambda value: value == predicate

        def holds():
            value = self.metrics().value(name, labels)
            assert wanted(value), f"{name}{labels or ''} is {value}"
            return True
        wait_until(holds, f"metric {name}{labels or ''}", timeout)

    def status(self):
        return self.admin("GET", "/status.json").json()

    def region(self, name):
        return next(region for region in self.status()["regions"] if region["name"] == name)

    def wait_region(self, name, state, timeout=10.0):
        wait_until(lambda: self.region(name)["state"] == state, f"region {name} to be {state}",
                   timeout)

    def log(self, event=None):
        """The log's lines (of one event, when named) as dicts, oldest first."""
        if not os.path.exists(self.log_path):
            self.process.check_running()
            return []
        lines = []
        with open(self.log_path, errors="replace") as file:
            for line in file:
                if line.endswith("\n"):
                    lines.append(json.loads(line))
        return [line for line in lines if event is None or line.get("event") == event]

    def _matching(self, event, contains, fields):
        return [line for line in self.log(event)
                if contains in json.dumps(line) and
                all(line.get(key) == value for key, value in fields.items())]

    def wait_log(self, event, contains="", timeout=10.0, **fields):
        def found():
            lines = self._matching(event, contains, fields)
            if not lines:
                self.process.check_running()
            return lines
        return wait_until(found, f"log event {event}", timeout)[-1]

    expect_log = wait_log

    def access_lines(self):
        with open(self.access_path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def diagnosis(self):
        """For the report of a failed test."""
        parts = [f"--- {self.conf_path}", open(self.conf_path).read(), "--- stderr",
                 self.process.stderr()[-6000:], "--- log"]
        if os.path.exists(self.log_path):
            with open(self.log_path, errors="replace") as file:
                parts += file.read().splitlines()[-80:]
        return "\n".join(parts)
