# SPDX-License-Identifier: MIT
"""A real Prometheus, its promtool, and what names an expression uses."""
import json
import os
import re
import subprocess
import urllib.parse
import urllib.request

from .ports import Port
from .processes import TOP, Process
from .waiting import wait_until

ALERTS = os.path.join(TOP, "conf", "prometheus", "alerts.yml")
ALERT_TESTS = os.path.join(TOP, "tests", "prometheus", "alerts_test.yml")
OURS = re.compile(r"\b(?:nearside|llm|dcgm|gen_ai|process)_[a-z0-9_]+\b")


def promtool(*args, text=None):
    """Run promtool; it must be content."""
    done = subprocess.run(["promtool", *args], input=text, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_in(expression):
    """Our metric families in an expression, without what a histogram appends."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in OURS.findall(expression)}


class Prometheus:
    """Scrapes the given host:port targets every 200 ms as job "nearside"."""

    def __init__(self, directory, targets, rules=()):
        self.directory = os.path.join(str(directory), "prometheus")
        os.mkdir(self.directory)
        self._port = Port()
        self.url = f"http://127.0.0.1:{self._port.number}"
        path = os.path.join(self.directory, "prometheus.yml")
        with open(path, "w") as file:
            json.dump({"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms",
                                  "evaluation_interval": "200ms"},
                       "rule_files": list(rules),
                       "scrape_configs": [{"job_name": "nearside",
                                           "static_configs": [{"targets": list(targets)}]}]}, file)
        self.process = Process(
            ["prometheus", f"--config.file={path}",
             f"--web.listen-address=127.0.0.1:{self._port.number}",
             f"--storage.tsdb.path={self.directory}/data", "--log.level=warn"],
            self.directory, "prometheus")

    def ask(self, path, **query):
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def _asked(self, path, **query):
        self.process.check_running()
        try:
            return self.ask(path, **query)
        except OSError:
            return None

    def wait_query(self, expression, predicate=bool, timeout=20.0):
        """The result of an instant query, once it fulfils `predicate`."""
        def fits():
            data = self._asked("/api/v1/query", query=expression)
            return data if data is not None and predicate(data["result"]) else None
        return wait_until(fits, f"Prometheus to tell {expression}", timeout)["result"]

    def wait_alert(self, name, timeout=20.0):
        def fires():
            data = self._asked("/api/v1/alerts")
            return [alert for alert in (data or {"alerts": []})["alerts"]
                    if alert["labels"]["alertname"] == name and alert["state"] == "firing"]
        return wait_until(fires, f"alert {name}", timeout)[0]

    def close(self):
        if self.process.is_running:
            self.process.kill()
        self._port.release()
