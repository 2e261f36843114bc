#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guided tour of Nearside: three simulated regions on loopback, one of them killed on the way.

Everything is real except the distance: pods (tests/pod) that answer as late as a remote region
would, one redis-server per region, Nearside in front. Each step is checked; the exit code is 0
only when all went as told. With a terminal the demo stays up afterwards until Ctrl-C, without one
it ends. No process outlives it, however it ends.

Environment: NEARSIDE_BIN and POD_BIN name other builds than build/nearside and build/pod.
"""
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REGIONS = {"us-east": 12, "eu-west": 38, "ap-south": 140}  # simulated round trip, ms
PODS_PER_REGION = 2
LOAD_CLIENTS = 12
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

IS_TERMINAL = sys.stdout.isatty()
BOLD, DIM, GREEN, RED, OFF = (("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
                              if IS_TERMINAL else ("",) * 5)


class TourFailed(Exception):
    """Something was not as the tour says."""


def check(truth, what):
    if not truth:
        raise TourFailed(what)


def wait_until(condition, what, timeout):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"{what}: not within {timeout} s")
        time.sleep(0.02)


# ---- text ----

def title(number, text):
    print(f"\n{BOLD}{number}. {text}{OFF}", flush=True)


def say(text):
    print(f"   {text}", flush=True)


def shell(text):
    print(f"   {DIM}$ {text}{OFF}", flush=True)


def good(text):
    print(f"   {GREEN}ok{OFF} {text}", flush=True)


# ---- processes ----

PARENT = os.getpid()


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != PARENT:
        os._exit(1)  # it died before the line above, so no signal will come


class Children:
    """Everything this demo starts, so that it can be ended by process id."""

    def __init__(self, directory):
        self.directory = directory
        self.all = []

    def start(self, name, argv):
        path = os.path.join(self.directory, f"{name}.out")
        with open(path, "ab") as out:
            # A session of its own: Ctrl-C in the terminal is for the tour, which ends them itself.
            child = subprocess.Popen([str(arg) for arg in argv], stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=out, preexec_fn=die_with_parent,
                                     start_new_session=True, cwd=self.directory)
        self.all.append(child)
        return child

    def output(self, name):
        with open(os.path.join(self.directory, f"{name}.out"), errors="replace") as file:
            return file.read()

    def end_all(self):
        for child in self.all:
            if child.poll() is None:
                child.kill()
        for child in self.all:
            child.wait()


class HeldPort:
    """A port the kernel chose, held by a bound socket that never listens; servers that set
    SO_REUSEADDR can bind it as well, nobody else is given it, and a killed one can come back."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.number = self.socket.getsockname()[1]


def free_port(wanted):
    """`wanted` when nobody has it, else one that the kernel chooses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
            say(f"port {wanted} is taken, using {probe.getsockname()[1]}")
        return probe.getsockname()[1]


def program(variable, default):
    path = os.path.join(TOP, os.environ.get(variable) or default)
    check(os.access(path, os.X_OK), f"{path} is missing; run `make build tools` first")
    return path


# ---- the stage ----

class Stage:
    """Pods, Redis servers and Nearside."""

    def __init__(self, directory):
        self.directory = directory
        self.children = Children(directory)
        self.pods = {}  # region: list of children
        self.ports = {f"{region}-{part}": HeldPort() for region in REGIONS
                      for part in [*range(1, PODS_PER_REGION + 1), "redis"]}
        self.listen = 0
        self.admin = 0
        self.nearside = None
        self.log_path = os.path.join(directory, "nearside.log")

    def start_pods(self, region):
        pods = []
        for index in range(1, PODS_PER_REGION + 1):
            name = f"{region}-{index}"
            pods.append(self.children.start(name, [
                program("POD_BIN", "build/pod"), "--name", name, "--port", self.ports[name].number,
                "--path-delay-ms", REGIONS[region], "--first-token-ms", 120,
                "--token-gap-ms", 25, "--tokens", 24]))
        self.pods[region] = pods

    def kill_pods(self, region):
        for pod in self.pods[region]:
            pod.kill()
        for pod in self.pods[region]:
            pod.wait()

    def start(self):
        redis = shutil.which("redis-server")
        check(redis, "redis-server is missing; run `sh scripts/deps.sh demo`")
        for region in REGIONS:
            self.children.start(f"{region}-redis", [
                redis, "--port", self.ports[f"{region}-redis"].number, "--bind", "127.0.0.1",
                "--save", "", "--appendonly", "no"])
            self.start_pods(region)
        self.listen = free_port(8080)
        self.admin = free_port(9901)
        path = os.path.join(self.directory, "demo.conf")
        with open(path, "w") as file:
            file.write(self.conf_text())
        self.nearside = self.children.start(
            "nearside", [program("NEARSIDE_BIN", "build/nearside"), "-c", path])
        wait_until(self.is_ready, "Nearside ready to serve", 15)

    def conf_text(self):
        with open(os.path.join(TOP, "conf", "demo.conf")) as file:
            text = file.read()
        values = {name: port.number for name, port in self.ports.items()}
        values.update(listen=self.listen, admin=self.admin, log=self.log_path)
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def is_ready(self):
        check(self.nearside.poll() is None,
              f"Nearside ended at its start:\n{self.children.output('nearside')}")
        try:
            return self.get_admin("/readyz")[0] == 200
        except OSError:
            return False

    def get_admin(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def regions(self):
        status = json.loads(self.get_admin("/status.json")[1])
        return {region["name"]: region for region in status["regions"]}

    def stop_nearside(self):
        self.nearside.send_signal(signal.SIGTERM)
        try:
            code = self.nearside.wait(timeout=15)
        except subprocess.TimeoutExpired:
            raise TourFailed("Nearside did not end on SIGTERM") from None
        check(code == 0, f"Nearside ended with exit code {code}, not 0")

    def last_log_lines(self):
        try:
            with open(self.log_path, errors="replace") as file:
                return file.read().splitlines()[-15:]
        except OSError:
            return []


def chat_body(prompt, **more):
    return {"model": "sim", "messages": [{"role": "user", "content": prompt}], **more}


def ask(stage, body, on_token=None, connection=None):
    """One chat request; returns (headers, text, seconds to the first token, seconds in all)."""
    owned = connection is None
    connection = connection or http.client.HTTPConnection("127.0.0.1", stage.listen, timeout=30)
    try:
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.status != 200:
            raise TourFailed(f"status {response.status}: {response.read()[:300]!r}")
        if not body.get("stream"):
            answer = json.loads(response.read())
            took = time.monotonic() - begun
            return headers, answer["choices"][0]["message"]["content"], took, took
        text, first, done = "", None, False
        for line in response:
            if line.startswith(b"data: [DONE]"):
                done = True
            elif line.startswith(b"data: "):
                choices = json.loads(line[6:]).get("choices") or [{}]
                token = choices[0].get("delta", {}).get("content") or ""
                if token and first is None:
                    first = time.monotonic() - begun
                if token and on_token:
                    on_token(token)
                text += token
        check(done, "the stream ended without [DONE]")
        return headers, text, first, time.monotonic() - begun
    finally:
        if owned:
            connection.close()


class Load:
    """Clients in the background that ask one thing after the other and note what they see."""

    def __init__(self, stage):
        self.stage = stage
        self.answers = []  # (begun, ended, region)
        self.failures = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(number,), daemon=True)
                        for number in range(LOAD_CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=35)

    def _client(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.listen, timeout=30)
        sequence = 0
        while not self.stopping.is_set():
            sequence += 1
            body = chat_body(f"client {number}, question {sequence}, {time.time_ns()}",
                             max_tokens=4)
            begun = time.monotonic()
            try:
                headers, text, _, _ = ask(self.stage, body, connection=connection)
                check(len(text.split()) == 4, f"incomplete answer {text!r}")
                self.answers.append((begun, time.monotonic(), headers.get("x-nearside-region")))
            except (OSError, http.client.HTTPException, ValueError, KeyError,
                    TourFailed) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection.close()
        connection.close()

    def since(self, moment, region):
        """Answers by `region` to questions asked after `moment`."""
        return [answer for answer in list(self.answers)
                if answer[0] >= moment and answer[2] == region]

    def check_no_failures(self):
        check(not self.failures, f"{len(self.failures)} requests failed, first: "
                                 f"{self.failures[:1]}")


# ---- the tour ----

def show_regions(stage):
    print(f"   {'region':<10} {'state':<10} {'latency':>9}   near", flush=True)
    for name, region in stage.regions().items():
        latency = region.get("path_latency_ms")
        latency = "unknown" if latency is None else f"{latency:.1f} ms"
        print(f"   {name:<10} {region.get('state', '?'):<10} {latency:>9}   "
              f"{'yes' if region.get('near') else 'no'}", flush=True)


def is_measured(stage):
    """Each region is up and its measured latency is what we simulate."""
    for name, simulated in REGIONS.items():
        region = stage.regions()[name]
        latency = region.get("path_latency_ms")
        if region.get("state") != "up" or latency is None:
            return False
        if not simulated * 0.9 - 1 <= latency <= simulated * 1.3 + 5:
            return False
        if region.get("near") != (simulated <= 50):
            return False
    return True


def tour_regions(stage):
    title(1, "Nearside measures how far away each region is")
    say("The simulated round trips are " +
        ", ".join(f"{name} {ms} ms" for name, ms in REGIONS.items()) + "; the budget is 50 ms.")
    shell(f"curl -s http://127.0.0.1:{stage.admin}/status.json")
    try:
        wait_until(lambda: is_measured(stage), "all regions up with the latency simulated", 15)
    finally:
        show_regions(stage)
    good("measured, not configured: two regions are near, one is far")


PROMPT = "Tell me about the river, the mill and the lamps."


def tour_stream(stage):
    title(2, "A streamed answer, token by token")
    body = json.dumps(chat_body(PROMPT, stream=True))
    shell(f"curl -N http://127.0.0.1:{stage.listen}/v1/chat/completions -d '{body}'")
    print("   ", end="", flush=True)
    headers, text, first, took = ask(stage, chat_body(PROMPT, stream=True),
                                     lambda token: print(token, end="", flush=True))
    print()
    region = headers.get("x-nearside-region")
    say(f"X-Nearside-Region: {region}   Cache-Status: {headers.get('cache-status')}")
    check(region == "us-east", f"served by {region}, not by the closest region us-east")
    check(len(text.split()) == 24, f"{len(text.split())} words instead of 24")
    latency = stage.regions()[region].get("path_latency_ms")
    good(f"{region}, because it is the closest healthy one ({latency:.1f} ms); first token after "
         f"{first * 1000:.0f} ms, all after {took * 1000:.0f} ms")
    return text, took


def tour_cache(stage, text, took_before):
    title(3, "The same prompt again comes from the cache")
    shell(f"curl -N -i http://127.0.0.1:{stage.listen}/v1/chat/completions -d ... (the same)")
    headers, again, _, took = ask(stage, chat_body(PROMPT, stream=True))
    status = headers.get("cache-status", "")
    say(f"Cache-Status: {status}")
    check("hit" in status, f"Cache-Status is {status!r}, not a hit")
    check(again == text, "the cached answer differs from the first one")
    check(took < took_before / 5, f"{took * 1000:.1f} ms is not much faster than "
                                  f"{took_before * 1000:.0f} ms")
    good(f"the same words in {took * 1000:.1f} ms instead of {took_before * 1000:.0f} ms")


def tour_kill(stage, load):
    title(4, "us-east is killed in the middle of traffic")
    wait_until(lambda: len(load.since(0, "us-east")) >= 50, "traffic in us-east", 20)
    say(f"{LOAD_CLIENTS} clients are asking; {len(load.answers)} answers so far, by us-east")
    shell(f"kill -9 {' '.join(str(pod.pid) for pod in stage.pods['us-east'])}   # its two pods")
    moment = time.monotonic()
    stage.kill_pods("us-east")
    wait_until(lambda: len(load.since(moment, "eu-west")) >= 50, "traffic in eu-west", 30)
    arrived = min(ended for begun, ended, region in list(load.answers)
                  if region == "eu-west" and ended >= moment)
    wait_until(lambda: stage.regions()["us-east"]["state"] == "down", "us-east known as down", 30)
    show_regions(stage)
    load.check_no_failures()
    check(arrived - moment < 30, "it took more than 30 s")
    good(f"0 failed requests; the first answer came from eu-west {(arrived - moment) * 1000:.0f} "
         "ms after the kill")
    say("(An answer that is already streaming from a dead pod cannot be un-said: it ends with an")
    say(" error event, never as a clean, shortened answer.)")


def tour_heal(stage, load):
    title(5, "us-east comes back")
    moment = time.monotonic()
    stage.start_pods("us-east")
    wait_until(lambda: stage.regions()["us-east"]["state"] == "up", "us-east up again", 30)
    say(f"up after {time.monotonic() - moment:.1f} s")
    wait_until(lambda: len(load.since(moment, "us-east")) >= 50, "traffic back in us-east", 30)
    load.check_no_failures()
    good(f"traffic is back in us-east after {time.monotonic() - moment:.1f} s, "
         "still 0 failed requests")


def tour_close(stage, load, stays):
    title(6, "That was it")
    good(f"{len(load.answers)} requests, {len(load.failures)} failed requests")
    if not stays:
        say("Run from a terminal, everything stays up now, to look around.")
        return
    say("Look around yourself:")
    shell(f"curl -s http://127.0.0.1:{stage.admin}/metrics | grep failovers")
    shell(f"curl -s http://127.0.0.1:{stage.admin}/events.json")
    shell(f"curl -N http://127.0.0.1:{stage.listen}/v1/chat/completions -d "
          f"'{json.dumps(chat_body('Hello', stream=True))}'")
    say(f"Status page: {BOLD}http://127.0.0.1:{stage.admin}/{OFF}")


def stay():
    print(f"\n   {DIM}Everything stays up until Ctrl-C.{OFF}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def run_tour(stage):
    print(f"{BOLD}Nearside: three simulated regions on this machine{OFF}", flush=True)
    stage.start()
    tour_regions(stage)
    text, took = tour_stream(stage)
    tour_cache(stage, text, took)
    with Load(stage) as load:
        tour_kill(stage, load)
        tour_heal(stage, load)
    load.check_no_failures()
    stays = sys.stdin is not None and sys.stdin.isatty()
    tour_close(stage, load, stays)
    if stays:
        stay()
    stage.stop_nearside()


def on_signal(number, _):
    raise SystemExit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    # A shell that started this in the background may have left it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="nearside-demo-") as directory:
        stage = Stage(directory)
        try:
            run_tour(stage)
            return 0
        except TourFailed as failure:
            print(f"\n   {RED}not as told:{OFF} {failure}", file=sys.stderr)
            print("\n".join(f"   | {line}" for line in stage.last_log_lines()), file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            stage.children.end_all()


if __name__ == "__main__":
    sys.exit(main())
