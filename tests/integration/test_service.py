# SPDX-License-Identifier: MIT
"""What a service manager hears, over a real socket; the unit, the manual, the completion."""
import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from env import raw
from env.conf import region
from env.processes import TOP, binary
from env.waiting import wait_until

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class Manager:
    """The receiving end of sd_notify(3)."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.name = name
        self.messages = []  # (when, {key: value})

    def read(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append((time.monotonic(),
                                  dict(line.split("=", 1) for line in text.splitlines())))

    def all(self, key):
        return [(when, fields) for when, fields in self.read() if key in fields]

    def wait(self, key, count=1, timeout=10.0):
        wait_until(lambda: len(self.all(key)) >= count, f"{count} times {key}", timeout)
        return self.all(key)[count - 1][1]


@pytest.fixture
def pod(make_pod):
    return make_pod("a", path_delay_ms=2)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@nearside-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.socket.close()


def test_ready_is_told_when_clients_are_accepted(make_proxy, manager, pod):
    proxy = make_proxy([region("one", pod)], env={"NOTIFY_SOCKET": manager.name})
    assert manager.wait("READY")["READY"] == "1"
    assert proxy.get("/echo").status == 200
    proxy.stop()
    assert manager.wait("STOPPING")["STOPPING"] == "1"


@pytest.fixture
def quiet_manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def test_a_reload_is_told_from_its_beginning_to_its_end(make_proxy, quiet_manager, pod):
    proxy = make_proxy([region("one", pod)], env={"NOTIFY_SOCKET": quiet_manager.name})
    quiet_manager.wait("READY")
    before = time.monotonic() * 1e6
    proxy.reload_ok()
    assert before <= int(quiet_manager.wait("RELOADING")["MONOTONIC_USEC"]) <= \
        time.monotonic() * 1e6
    assert "generation 2" in quiet_manager.wait("READY", 2)["STATUS"]
    proxy.allow_errors("reload_failed")
    proxy.write_conf("nonsense")
    proxy.reload()
    assert "failed" in quiet_manager.wait("READY", 3)["STATUS"]


def test_an_upgrade_names_the_new_main_process(make_proxy, quiet_manager, generations, pod):
    proxy = make_proxy([region("one", pod)], env={"NOTIFY_SOCKET": quiet_manager.name})
    pid = generations(proxy).upgrade()
    assert quiet_manager.wait("MAINPID")["MAINPID"] == str(pid)
    quiet_manager.wait("READY", 2)
    assert not quiet_manager.all("STOPPING")


def test_the_watchdog_is_fed_in_time(make_proxy, quiet_manager, pod):
    make_proxy([region("one", pod)],
               env={"NOTIFY_SOCKET": quiet_manager.name, "WATCHDOG_USEC": "600000"})
    quiet_manager.wait("WATCHDOG", 6)
    times = [when for when, _ in quiet_manager.all("WATCHDOG")]
    assert times[5] - times[0] < 5 * 0.6


def test_a_watchdog_of_another_process_is_not_fed(make_proxy, quiet_manager, pod):
    make_proxy([region("one", pod)], env={"NOTIFY_SOCKET": quiet_manager.name,
                                          "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    quiet_manager.wait("READY")
    assert not quiet_manager.all("WATCHDOG")


def thread_of(pid, name):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as file:
            if file.read().strip() == name:
                return int(tid)
    raise AssertionError(f"no thread {name}")


def test_the_watchdog_starves_when_a_worker_hangs(make_proxy, quiet_manager, pod):
    proxy = make_proxy([region("one", pod)],
                       env={"NOTIFY_SOCKET": quiet_manager.name, "WATCHDOG_USEC": "300000"})
    proxy.allow_errors("worker_stuck")
    quiet_manager.wait("WATCHDOG", 2)
    tid = thread_of(proxy.process.pid, "worker-1")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(PTRACE_SEIZE, tid, None, None) == 0
    assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
    os.waitpid(tid, 0x40000000)  # __WALL
    line = proxy.wait_log("worker_stuck")
    assert str(line["worker"]) == "1"
    fed = len(quiet_manager.all("WATCHDOG"))
    wait_until(lambda: len(proxy.log("worker_stuck")) >= 4, "four misses")
    assert len(quiet_manager.all("WATCHDOG")) == fed
    assert libc.ptrace(PTRACE_DETACH, tid, None, None) == 0
    quiet_manager.wait("WATCHDOG", fed + 2)


def test_the_unit_is_well_formed(tmp_path):
    """systemd's own verdict; the program it starts is put in place first."""
    with open(f"{TOP}/conf/systemd/nearside.service") as file:
        text = file.read()
    unit = tmp_path / "nearside.service"
    unit.write_text(text.replace("/usr/sbin/nearside", binary("NEARSIDE_BIN", "build/nearside")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    security = subprocess.run(["systemd-analyze", "security", "--offline=true",
                               "--threshold=25", str(unit)], capture_output=True, text=True)
    assert security.returncode == 0, security.stdout[-500:]


@pytest.mark.parametrize("page", ["nearside.8", "nearside.conf.5"])
def test_a_manual_page_renders_without_a_warning(page):
    path = f"{TOP}/docs/man/{page}"
    man = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],
                         capture_output=True, text=True,
                         env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    assert (man.returncode, man.stderr) == (0, "") and man.stdout
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
    assert lint.stdout == ""


def test_the_manual_has_every_option_and_signal():
    text = subprocess.run([binary("NEARSIDE_BIN", "build/nearside"), "--help"],
                          capture_output=True, text=True, check=True).stdout
    with open(f"{TOP}/docs/man/nearside.8") as file:
        manual = file.read().replace("\\-", "-")
    words = set(re.findall(r"SIG[A-Z0-9]+|(?<![\w-])--?[a-z][a-z-]*", text))
    assert len(words) > 8
    assert not [word for word in words if word not in manual]


def complete(*words):
    script = (f"source {TOP}/conf/completion/nearside.bash; COMP_WORDS=({' '.join(words)}); "
              f"COMP_CWORD={len(words) - 1}; _nearside; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run([shutil.which("bash"), "--norc", "-c", script], capture_output=True,
                          text=True, cwd=f"{TOP}/conf")
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_options_files_and_regions():
    assert complete("nearside", "--pr") == ["--print-config"]
    assert complete("nearside", "-c", "mini") == ["minimal.conf"]
    assert "systemd/" in complete("nearside", "-c", "''")
    assert complete("nearside", "eu=https") == ["https://"]
    assert complete("nearside", "--docs", "met") == ["metrics"]
    assert complete("nearside", "t") == ["top"]
    assert complete("nearside", "top", "--a") == ["--admin"]


def test_the_shell_completes_what_the_program_takes():
    """Every option that is offered is one; every one of --help is offered."""
    program = binary("NEARSIDE_BIN", "build/nearside")
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    offered = complete("nearside", "-")
    assert {word for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)} <= \
        {*offered, *complete("nearside", "top", "-")}
    text = subprocess.run([program, "top", "--help"], capture_output=True, text=True,
                          check=True).stdout
    assert set(re.findall(r"(?<![\w-])--[a-z]+", text)) <= {*complete("nearside", "top", "-")}
    for option in offered:
        done = subprocess.run([program, option], capture_output=True, text=True)
        assert "unknown option" not in done.stderr, option


def test_every_event_of_the_log_is_explained():
    with open(f"{TOP}/docs/operations.md") as file:
        page = file.read()
    told = set(re.findall(r"[a-z_]+", page[page.index("## Event log"):page.index("## Access log")]))
    logged = set()
    for path in glob.glob(f"{TOP}/src/*/*.c"):
        with open(path) as file:
            for first in re.findall(r"\n +log_(?:info|warn|error)\(([^,]*),", file.read()):
                logged.update(re.findall(r'"([a-z_]+)"', first))
    assert len(logged) > 60
    assert logged - told == set()


def to_use():
    """What an operator takes over as it is: alerts, dashboard, manifests."""
    paths = [f"{folder}/{name}" for folder in ("prometheus", "grafana", "kubernetes")
             for name in os.listdir(f"{TOP}/conf/{folder}")]
    assert {"prometheus/alerts.yml", "grafana/nearside.json", "kubernetes/hpa.yaml"} <= set(paths)
    return paths


def test_install_puts_everything_in_its_place(tmp_path):
    subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/near"], cwd=TOP,
                   check=True, capture_output=True)
    found = {os.path.relpath(os.path.join(folder, name), tmp_path)
             for folder, _, names in os.walk(tmp_path) for name in names}
    assert {"opt/near/sbin/nearside", "opt/near/lib/systemd/system/nearside.service",
            "opt/near/share/man/man8/nearside.8", "opt/near/share/man/man5/nearside.conf.5",
            "opt/near/share/bash-completion/completions/nearside",
            "opt/near/share/doc/nearside/README.md", "opt/near/share/doc/nearside/docs/admin.md",
            *(f"opt/near/share/nearside/{path}" for path in to_use())} <= found
    unit = (tmp_path / "opt/near/lib/systemd/system/nearside.service").read_text()
    assert "ExecStart=/opt/near/sbin/nearside -c " in unit
    subprocess.run(["make", "-s", "uninstall", f"DESTDIR={tmp_path}", "PREFIX=/opt/near"],
                   cwd=TOP, check=True, capture_output=True)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


@pytest.mark.timeout(400)
def test_the_package_is_what_debian_expects():
    """Built, looked into, and judged by lintian; `make deb-test` installs it in a fresh root."""
    subprocess.run(["sh", "scripts/deb.sh"], cwd=TOP, check=True, capture_output=True)
    folder = f"{TOP}/build/deb"
    package = next(os.path.join(folder, name) for name in os.listdir(folder)
                   if name.startswith("nearside_") and name.endswith(".deb"))

    def field(name):
        return subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True,
                              check=True).stdout.strip()
    with open(f"{TOP}/VERSION") as file:
        assert field("Version") == file.read().strip()
    depends = field("Depends")
    for library in ("libc6", "libssl3", "libevent-core", "libhiredis", "libconfig9", "adduser"):
        assert library in depends
    listing = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True,
                             check=True).stdout
    assert re.search(r"-rw-r----- root/root .* \./etc/nearside/nearside\.conf\n", listing)
    assert "./lib/systemd/system/nearside.service\n" in listing
    for path in to_use():
        assert f"./usr/share/nearside/{path}\n" in listing
    assert "./usr/share/doc/nearside/docs/operations.md\n" in listing, "and not compressed"
    assert "./usr/share/doc/nearside/nearside.conf\n" in listing
    lintian = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", package],
                             capture_output=True, text=True)
    assert lintian.returncode == 0, lintian.stdout


def test_signals_while_it_ends_change_nothing(make_proxy, pod):
    """An operator is impatient, logrotate knows of nothing: the process ends in order all the same."""
    for _ in range(5):
        proxy = make_proxy([region("near", pod)])
        while proxy.process.is_running:
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
                proxy.process.signal(number)
        assert proxy.process.popen.returncode == 0


# ---- what a client sent in time is answered ----

def ask_while_frozen(stack, proxy, clients):
    """Each was answered once, and asks again while the process stands still."""
    conns = [stack.enter_context(proxy.connect()) for _ in range(clients)]
    request = raw.request_bytes("GET", "/echo")
    for conn in conns:
        conn.send(request)
        assert conn.read_response().status == 200
    proxy.process.freeze()
    for conn in conns:
        conn.send(request)
    return conns


def test_requests_that_came_before_the_signal_to_end_are_answered(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], edge={"workers": 1})
    with contextlib.ExitStack() as stack:
        conns = ask_while_frozen(stack, proxy, 150)
        proxy.process.signal(signal.SIGTERM)
        proxy.process.thaw()
        for conn in conns:
            response = conn.read_response()
            assert (response.status, response.header("Connection")) == (200, "close")
    wait_until(lambda: not proxy.process.is_running, "its end")
    assert proxy.process.popen.returncode == 0


def test_a_machine_that_stood_still_closes_no_client_that_asked_meanwhile(make_proxy, pod):
    """A virtual machine is moved, a laptop sleeps: the idle time of all clients is over at once."""
    proxy = make_proxy([region("near", pod)], edge={"workers": 1},
                       timeouts={"client_idle_ms": 2000})
    with contextlib.ExitStack() as stack:
        conns = ask_while_frozen(stack, proxy, 150)
        time.sleep(2.2)  # what the test is about
        proxy.process.thaw()
        for conn in conns:
            assert conn.read_response().status == 200


class Gate:
    """A certificate file that keeps who reads it waiting: the config is read, nothing is served."""

    def __init__(self, path, content):
        self.path = str(path)
        self.content = content
        os.mkfifo(path)

    def open(self):
        """The writer's end, while somebody reads (else OSError). As long as it is open, he waits."""
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK), "w")

    def feed(self, writer):
        with writer:
            writer.write(self.content)


@pytest.fixture
def starting(make_proxy, make_pod, authority, tmp_path):
    """A proxy that has read its config and waits for a certificate; the gate, and its open end."""
    certificate = authority.issue("gate")
    with open(certificate.cert) as file:
        gate = Gate(tmp_path / "gate.pem", file.read())
    proxy = make_proxy([region("one", make_pod("a"))], wait=None, listeners=[
        {"bind": "127.0.0.1:0", "tls": {"certificate": gate.path, "key": certificate.key}}])
    with wait_until(gate.open, "the reader of the certificate") as writer:
        yield proxy, gate, writer


def test_signals_that_come_during_the_start_wait_for_its_end(starting):
    proxy, gate, writer = starting
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        proxy.process.signal(number)
    proxy.write_conf(listeners=[{"bind": "127.0.0.1:0"}])
    gate.feed(writer)

    def has_started():
        proxy.process.check_running()
        with contextlib.suppress(OSError):
            gate.feed(gate.open())
        return proxy.log("started")
    wait_until(has_started, "the start")
    proxy.wait_log("reloaded", generation=2)
    proxy.wait_log("upgrade_refused")
    proxy.wait_ready()
    assert proxy.get("/echo").status == 200, "as the config of the reload says: in plain text"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_start_is_ended_by_a_signal_that_asks_for_it(starting, number):
    """By a handler: of process 1 of a container the kernel withholds what ends other processes."""
    proxy, _, _ = starting
    proxy.process.signal(number)
    wait_until(lambda: not proxy.process.is_running, "the end")
    assert proxy.process.popen.returncode == 0
