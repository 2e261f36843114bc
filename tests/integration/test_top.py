# SPDX-License-Identifier: MIT
"""`nearside top`: the status of an edge in a terminal, on a real pseudo-terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

import pytest
from env import raw
from env.certs import Authority
from env.conf import region
from env.ports import Port
from env.processes import binary
from env.waiting import wait_until

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Top:
    """The program on a terminal of its own; `screen` is what the last picture shows."""

    def __init__(self, url, columns=100, rows=30):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.resize(columns, rows)
        self.all = ""
        self.process = subprocess.Popen([binary("NEARSIDE_BIN", "build/nearside"), "top",
                                         "--admin", url],
                                        stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)  # it has no controlling terminal to say so

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.all += os.read(self.master, 1 << 16).decode(errors="replace")

    @property
    def screen(self):
        """The last picture that was drawn to its end."""
        self.read()
        pictures = self.all.split("\x1b[H")[1:]
        whole = [one for one in pictures if "\x1b[J" in one]
        return ESCAPE.sub("", whole[-1]) if whole else ""

    def wait(self, part, timeout=10.0):
        wait_until(lambda: part in self.screen, f"{part!r} on the screen", timeout)

    def press(self, keys):
        os.write(self.master, keys)

    def wait_end(self):
        wait_until(lambda: self.process.poll() is not None, "the end of nearside top")
        self.read()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def make_top():
    tops = []

    def make(url, **options):
        tops.append(Top(url, **options))
        return tops[-1]

    yield make
    for top in tops:
        top.close()


@pytest.fixture
def proxy(make_pod, make_proxy):
    pods = [make_pod("near", path_delay_ms=2), make_pod("far", path_delay_ms=60)]
    proxy = make_proxy([region("near", pods[0]), region("distant", pods[1])])
    proxy.pods = pods
    wait_until(lambda: proxy.status()["home"] == "near", "near to be home")
    proxy.wait_region("distant", "up")
    return proxy


def url_of(proxy):
    return f"http://localhost:{proxy.admin_port}"


def run_once(*arguments):
    return subprocess.run([binary("NEARSIDE_BIN", "build/nearside"), "top", *arguments],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)


def test_once_prints_one_picture_without_escape_codes(proxy):
    result = run_once("--admin", url_of(proxy), "--once")
    assert result.returncode == 0 and result.stderr == ""
    assert "\x1b" not in result.stdout
    assert "New requests go to near, " in result.stdout
    assert re.search(r"^> near +up ", result.stdout, re.M)
    assert re.search(r"^  distant +up .* ms", result.stdout, re.M)
    assert "EDGES" in result.stdout, "every column"


def test_exit_codes(proxy, make_pod):
    port = Port()
    assert run_once("--once", "--admin", f"127.0.0.1:{port.number}").returncode == 2
    port.release()
    result = run_once("--once", "--admin", make_pod("no-edge").url)
    assert result.returncode == 2 and "no Nearside" in result.stderr
    assert run_once("--once", "--admin", "ftp://x y").returncode == 1
    assert run_once("--wrong").returncode == 1
    assert run_once("--admin", url_of(proxy)).returncode == 1, "no terminal"
    assert run_once("--help").returncode == 0


def test_over_https_the_edge_must_be_who_it_is_said_to_be(make_proxy, make_pod, authority, tmp_path):
    served = authority.issue("localhost", sans=["DNS:localhost"])
    proxy = make_proxy([region("near", make_pod("near"))], wait="listening", admin={
        "bind": "127.0.0.1:0", "token": "secret",
        "tls": {"certificate": served.cert, "key": served.key}})
    proxy.admin = lambda method, path, body=None, headers=None: raw.one_request(
        proxy.admin_port, method, path, body, headers, tls=authority.client_context())
    url = f"https://localhost:{proxy.admin_port}"

    def shows_near():
        result = run_once("--once", "--admin", url, "--ca", authority.cert)
        assert result.returncode == 0, result.stderr
        return "New requests go to near" in result.stdout

    wait_until(shows_near, "the picture over https")
    stranger = Authority(tmp_path, "stranger")
    result = run_once("--once", "--admin", url, "--ca", stranger.cert)
    assert result.returncode == 2 and "its certificate: " in result.stderr
    result = run_once("--once", "--admin", url.replace("localhost", "127.0.0.1"), "--ca",
                      authority.cert)
    assert result.returncode == 2 and "mismatch" in result.stderr
    result = run_once("--once", "--admin", url.replace("https", "http"))
    assert result.returncode == 2 and result.stdout == ""
    result = run_once("--once", "--admin", url, "--ca", served.key)
    assert result.returncode == 1 and "no certificate authority in PEM form" in result.stderr


def test_it_shows_a_failover_as_it_happens_and_q_leaves(proxy, make_top):
    top = make_top(url_of(proxy))
    top.wait("New requests go to near")
    proxy.pods[0].kill()
    top.wait("New requests go to distant")
    top.wait("PODS NOT UP")
    top.press(b"q")
    assert top.wait_end() == 0
    assert top.all.startswith("\x1b[?1049h") and top.all.endswith("\x1b[?25h\x1b[?1049l")
    assert termios.tcgetattr(top.slave) == top.before, "the terminal is as it was"


def test_it_fits_the_terminal_and_follows_its_size(proxy, make_top):
    top = make_top(url_of(proxy), columns=40, rows=8)
    top.wait("LATENCY")
    lines = top.screen.split("\r\n")
    assert len(lines) <= 8 and max(map(len, lines)) <= 40
    assert "TTFT99" not in top.screen
    top.resize(120, 30)
    top.wait("TTFT99")


def test_it_outlives_the_edge_and_finds_it_again(proxy, make_top):
    top = make_top(url_of(proxy))
    top.wait("New requests go to near")
    proxy.process.freeze()
    top.wait("! no answer for ", 15)
    top.wait("it is silent")
    assert "what follows is from" in top.screen and "New requests go to near" in top.screen
    proxy.process.thaw()
    wait_until(lambda: "no answer" not in top.screen, "an answer")
    top.press(b"q")
    assert top.wait_end() == 0


def test_without_an_edge_it_waits_for_one(make_top):
    port = Port()
    top = make_top(f"http://127.0.0.1:{port.number}")
    top.wait("Connection refused")
    top.process.send_signal(signal.SIGTERM)
    assert top.wait_end() == 0
    port.release()
