# SPDX-License-Identifier: MIT
"""Headless Chromium, driven over the pipe of its DevTools protocol: nothing but the browser itself.

Messages are JSON, each ended by a NUL: commands go in on its descriptor 3, answers and events come
out on 4. Everything the page logs, breaks or asks for is kept, so that tests can say it was nothing.
"""
import base64
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from .waiting import SLOWNESS, NotInTime, wait_until

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars", "--mute-audio",
         "--no-proxy-server", "--force-color-profile=srgb", "--remote-debugging-pipe"]
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


class PageError(AssertionError):
    """A script given to the page threw, or a command was refused."""


def _pipe_above_four():
    """A pipe whose ends are not 3 or 4, which the child needs for itself."""
    low, ends = [], []
    while len(ends) < 2:
        for fd in os.pipe():
            (low if fd <= 4 else ends).append(fd)
        if len(ends) == 1:  # its other half was low: of no use
            low.append(ends.pop())
    return ends, low


class Browser:
    def __init__(self, width=1280, height=900):
        (child_in, self._out), low = _pipe_above_four()
        (self._in, child_out), more = _pipe_above_four()
        self.directory = tempfile.mkdtemp(prefix="nearside-browser-")
        self._log = open(os.path.join(self.directory, "chromium.log"), "wb")

        def arrange():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(child_in, 3)
            os.dup2(child_out, 4)

        self.process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", *FLAGS,
             f"--user-data-dir={self.directory}/profile", f"--window-size={width},{height}",
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=arrange,
            pass_fds=(3, 4), start_new_session=True, env={**os.environ, "HOME": self.directory})
        for fd in (child_in, child_out, *low, *more):
            os.close(fd)
        self._bytes = b""
        self._number = 0
        self._answers = {}
        self._session = None
        self.console = []    # what was logged at any level, exceptions and CSP violations too
        self.requests = []   # every URL asked for
        self._attach(width, height)

    # ---- the protocol ----

    def _read(self, timeout):
        ready, _, _ = select.select([self._in], [], [], timeout)
        if not ready:
            return
        more = os.read(self._in, 1 << 16)
        if not more:
            raise PageError("the browser ended")
        self._bytes += more
        *messages, self._bytes = self._bytes.split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message):
        if "id" in message:
            self._answers[message["id"]] = message
            return
        params = message["params"]
        if message["method"] == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(one.get("value", one.get("description")))
                                         for one in params["args"]))
        elif message["method"] == "Runtime.exceptionThrown":
            self.console.append(json.dumps(params["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded":
            self.console.append(f"{params['entry']['source']}: {params['entry']['text']}")
        elif message["method"] == "Audits.issueAdded":
            self.console.append(json.dumps(params["issue"]))
        elif message["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def command(self, method, timeout=20.0, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout * SLOWNESS
        while self._number not in self._answers:
            if time.monotonic() > end:
                raise NotInTime(f"{method}: no answer within {timeout} s")
            self._read(0.2)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']}")
        return answer["result"]

    def _attach(self, width, height):
        target = wait_until(self._find_page, "a page of the browser", 30)
        self._session = self.command("Target.attachToTarget", targetId=target,
                                     flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits", "DOM", "Accessibility"):
            self.command(f"{domain}.enable")
        self.resize(width, height)

    def _find_page(self):
        targets = self.command("Target.getTargets")["targetInfos"]
        return next((one["targetId"] for one in targets if one["type"] == "page"), None)

    # ---- the page ----

    def open(self, url):
        self.command("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, script):
        """The value of an expression; awaited when it is a promise."""
        result = self.command("Runtime.evaluate", expression=script, returnByValue=True,
                              awaitPromise=True)
        if "exceptionDetails" in result:
            raise PageError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script, timeout=10.0):
        return wait_until(lambda: self.evaluate(script), script, timeout)

    def text(self, selector="body"):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText"
                             "?.replaceAll('\\u00a0', ' ') ?? ''")

    def wait_text(self, selector, part, timeout=10.0):
        wait_until(lambda: part in self.text(selector), f"{part!r} in {selector}", timeout)

    def click(self, selector):
        """With a real press of the mouse, where the element is."""
        box = self.evaluate(f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            node.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const box = node.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left",
                         clickCount=1)

    def press(self, key):
        text = {"Enter": "\r", " ": " "}.get(key)
        common = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        self.command("Input.dispatchKeyEvent", type="keyDown", **common,
                     **({"text": text} if text else {}))
        self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.command("Input.insertText", text=text)

    def resize(self, width, height, mobile=False):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=mobile)

    def prefer(self, scheme):
        """"light" or "dark", as the system would say."""
        self.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run_scripts(self, wanted):
        self.command("Emulation.setScriptExecutionDisabled", value=not wanted)

    def accessible(self):
        """What a screen reader is given: [(role, name)], in order."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", ""))
                for node in nodes if not node["ignored"]]

    def picture(self, path, whole=False):
        result = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                              **({"clip": self._whole()} if whole else {}))
        with open(path, "wb") as file:
            file.write(base64.b64decode(result["data"]))

    def _whole(self):
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own group: helpers too
        self.process.wait(timeout=10)
        for fd in (self._in, self._out):
            os.close(fd)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
