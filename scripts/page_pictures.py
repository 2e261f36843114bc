#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pictures of the status page, of real edges with real traffic and a real failover.

    scripts/page_pictures.py [DIRECTORY]     default: build/pictures

Starts simulated pods, Redis servers and two edges on loopback, and ends them all. README.md shows
`readme.png` as docs/img/status-page.png (`make pictures` puts it there).
"""
import os
import shutil
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "integration"))

from env import answers  # noqa: E402
from env.browser import Browser  # noqa: E402
from env.conf import region  # noqa: E402
from env.pod import Pod  # noqa: E402
from env.proxy import Proxy  # noqa: E402
from env.redis import Redis  # noqa: E402
from env.waiting import wait_until  # noqa: E402

REGIONS = {"us-east": (12, 4), "eu-west": (38, 3), "ap-south": (140, 2)}  # path delay ms, pods
CLIENTS = 10


class Scene:
    def __init__(self, directory):
        self.directory = directory
        self.pods = {name: [Pod(directory, f"{name}-{index}", path_delay_ms=delay,
                                first_token_ms=90, token_gap_ms=12)
                            for index in range(count)]
                     for name, (delay, count) in REGIONS.items()}
        self.redis = {name: Redis(directory, name) for name in REGIONS}
        self.edges = [self._edge(name) for name in ("fra-1", "nyc-1")]
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(number,), daemon=True)
                        for number in range(CLIENTS)]

    def _edge(self, name):
        return Proxy(self.directory,
                     [region(one, self.pods[one], self.redis[one]) for one in REGIONS],
                     edge={"id": name}, cache={"enabled": True, "when": "always"})

    def _client(self, number):
        sequence = 0
        while not self.stopping.is_set():
            sequence += 1
            # Every fourth question was asked before.
            what = "often asked" if sequence % 4 == 0 else f"{number} {time.time_ns()}"
            edge = self.edges[number % 5 == 4]
            try:
                edge.chat(answers.chat(what, stream=sequence % 2 == 0,
                                       max_tokens=8 + number % 3 * 20))
            except (OSError, AssertionError):
                pass

    def start(self, seconds):
        for thread in self.threads:
            thread.start()
        time.sleep(seconds)  # curves and rates need a past

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=10)
        for one in self.edges:
            one.destroy()
        for pods in self.pods.values():
            for pod in pods:
                pod.close()
        for server in self.redis.values():
            server.close()


def take(browser, directory, name, width, height, scheme="light", whole=True):
    browser.resize(width, height)
    browser.prefer(scheme)
    time.sleep(1.5)  # a poll, and transitions
    browser.picture(os.path.join(directory, f"{name}.png"), whole)
    print(os.path.join(directory, f"{name}.png"))


def shoot(scene, browser, directory, seconds):
    home = scene.edges[0]
    wait_until(lambda: home.status()["home"] == "us-east", "us-east to be chosen", 20)
    scene.start(seconds)
    browser.open(f"http://127.0.0.1:{home.admin_port}/")
    take(browser, directory, "light", 1280, 900)
    take(browser, directory, "dark", 1280, 900, "dark")
    take(browser, directory, "narrow", 360, 780)
    for pod in scene.pods["us-east"]:
        pod.kill()
    home.wait_region("us-east", "down", 20)
    home.admin_post("/regions/ap-south/drain")
    time.sleep(4)
    take(browser, directory, "failover", 1280, 900)
    take(browser, directory, "readme", 1280, 1080, whole=False)
    take(browser, directory, "failover-dark-narrow", 360, 780, "dark")
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.click("#region-list > li:nth-child(2) header button")
    take(browser, directory, "drain", 1280, 900, whole=False)
    browser.press("Escape")
    home.process.freeze()
    time.sleep(7)
    take(browser, directory, "lost", 1280, 900, whole=False)
    home.process.thaw()


def main():
    directory = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else
                                os.path.join(TOP, "build", "pictures"))
    os.makedirs(directory, exist_ok=True)
    work = tempfile.mkdtemp(prefix="nearside-pictures-")
    scene = Scene(work)
    browser = Browser()
    try:
        shoot(scene, browser, directory, float(os.environ.get("PICTURE_SECONDS", "40")))
        print("\n".join(browser.console))
    finally:
        browser.close()
        scene.end()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
