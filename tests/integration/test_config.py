# SPDX-License-Identifier: MIT
"""The command line and the config file, as an operator meets them."""
import os
import signal
import socket
import subprocess

import pytest
from env import conf, raw
from env.ports import Port
from env.processes import Process, binary
from env.waiting import wait_until

MINIMAL = """listeners = ( { bind = "127.0.0.1:0"; } );
regions = ( { name = "near"; endpoints = [ "http://127.0.0.1:9" ]; } );
"""


def run(*args, env=None):
    return subprocess.run([binary("NEARSIDE_BIN", "build/nearside"), *map(str, args)],
                          capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})}, check=False)


@pytest.fixture
def conf_file(tmp_path):
    def write(text):
        path = tmp_path / "nearside.conf"
        path.write_text(text)
        return path
    return write


def test_two_edges_do_not_share_an_admin_port(make_proxy, make_pod, conf_file):
    proxy = make_proxy([conf.region("near", make_pod("a"))])
    for host in ("127.0.0.1", "0.0.0.0"):
        bind = f"{host}:{proxy.admin_port}"
        done = run("-c", conf_file(MINIMAL + f'admin = {{ bind = "{bind}"; token = "t"; }};'))
        assert done.returncode == 2, done
        assert f"admin: {bind}: address already in use" in done.stderr


def test_a_good_file_is_ok(conf_file):
    done = run("-t", "-c", conf_file(MINIMAL))
    assert done.returncode == 0
    assert "ok" in done.stdout + done.stderr


BAD = [
    ("unknown key", MINIMAL + 'routing = { latency_budget = 50; };', 3, "latency_budget"),
    ("wrong type", MINIMAL + 'limits = { body_bytes = "much"; };', 3, "body_bytes"),
    ("out of range", MINIMAL + 'admin = { bind = "127.0.0.1:99999"; };', 3, "bind"),
    ("syntax", MINIMAL + 'limits = { body_bytes = ; };', 3, ""),
    ("no region", 'listeners = ( { bind = "127.0.0.1:0"; } );', None, "regions"),
    ("no listener", 'regions = ( { name = "a"; endpoints = [ "http://a:1" ]; } );', None,
     "listeners"),
    ("duplicate region", """listeners = ( { bind = "127.0.0.1:0"; } );
regions = ( { name = "a"; endpoints = [ "http://a:1" ]; },
            { name = "a"; endpoints = [ "http://b:1" ]; } );""", 3, "name"),
    ("bad url", """listeners = ( { bind = "127.0.0.1:0"; } );
regions = ( { name = "a"; endpoints = [ "ftp://a:1" ]; } );""", 2, "endpoints"),
    ("too slow to fail over", MINIMAL + "routing = { failover_deadline_s = 3; };\n"
     "health = { interval_ms = 10000; };", None, "failover_deadline_s"),
]


@pytest.mark.parametrize("text,line,key", [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_a_bad_file_is_refused_with_place_and_key(conf_file, text, line, key):
    path = conf_file(text)
    done = run("-t", "-c", path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert key in said, said
    assert str(path) in said, said
    if line is not None:
        assert f"{path}:{line}:" in said, said


@pytest.mark.parametrize("section", [
    'admin = { tls = { certificate = "PEM"; key = "PEM"; }; };',
    'listeners = ( { bind = "127.0.0.1:0"; tls = { certificate = "PEM"; key = "PEM"; }; } );'])
def test_what_is_no_certificate_is_found_before_a_start(conf_file, tmp_path, section):
    (tmp_path / "none.pem").write_text("nothing")
    group = section.replace("PEM", str(tmp_path / "none.pem"))
    text = MINIMAL if section.startswith("admin") else MINIMAL[MINIMAL.index("regions"):]
    done = run("-t", "-c", conf_file(text + group))
    assert done.returncode == 1 and "none.pem: no certificate" in done.stderr, done


def test_a_missing_file_is_exit_code_1(tmp_path):
    assert run("-t", "-c", tmp_path / "none.conf").returncode == 1
    assert run("-c", tmp_path / "none.conf").returncode == 1


@pytest.mark.parametrize("args", [["--nonsense"], ["-c"], ["near"], ["near=gopher://x"]])
def test_bad_usage_is_exit_code_1(args):
    done = run(*args)
    assert done.returncode == 1
    assert done.stderr


@pytest.mark.parametrize("args, named", [
    (["-xt"], "-x: unknown option"), (["-tx"], "-x: unknown option"),
    (["--nonsense=1"], "--nonsense=1: unknown option"),
    (["-t", "-c", "one.conf", "-c", "two.conf"], "-c: given twice")])
def test_bad_usage_is_named(args, named):
    assert f"nearside: {named}" in run(*args).stderr


def test_version_and_help_are_exit_code_0():
    assert "nearside" in run("--version").stdout.lower()
    assert "-c" in run("--help").stdout


def test_print_config_shows_every_key_and_no_secret(conf_file):
    path = conf_file(MINIMAL + 'admin = { token = "env:ADMIN_TOKEN"; };')
    done = run("--print-config", "-c", path, env={"ADMIN_TOKEN": "tops3cret"})
    assert done.returncode == 0
    for key in ("latency_budget_ms", "failover_deadline_s", "ttl_s", "drain_timeout_s",
                "queue_length", "interval_ms"):
        assert key in done.stdout, key
    assert "tops3cret" not in done.stdout
    assert "***" in done.stdout


def test_print_config_can_be_read_back(conf_file):
    printed = run("--print-config", "-c", conf_file(MINIMAL)).stdout
    done = run("-t", "-c", conf_file(printed))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_secret_from_a_missing_variable_is_an_error(conf_file):
    done = run("-t", "-c", conf_file(MINIMAL + 'admin = { token = "env:NO_SUCH_VARIABLE"; };'))
    assert done.returncode == 1
    assert "NO_SUCH_VARIABLE" in done.stdout + done.stderr


def test_include_works(conf_file, tmp_path):
    (tmp_path / "regions.conf").write_text(
        'regions = ( { name = "near"; endpoints = [ "http://127.0.0.1:9" ]; } );')
    path = conf_file('listeners = ( { bind = "127.0.0.1:0"; } );\n@include "regions.conf"\n')
    assert run("-t", "-c", path).returncode == 0


def test_a_taken_port_is_exit_code_2(conf_file):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run("-c", conf_file(MINIMAL.replace(":0\"", f":{port}\"") +
                                   'admin = { bind = "127.0.0.1:0"; };'))
    assert done.returncode == 2
    assert str(port) in done.stderr


WITH_TLS = MINIMAL.replace(
    '"; }', '"; tls = { certificate = "edge.crt"; key = "edge.key"; }; }', 1)


def test_a_missing_certificate_is_exit_code_2(conf_file):
    path = conf_file(WITH_TLS)
    done = run("-c", path)
    assert done.returncode == 2
    assert f"{path}:1: listeners[0].tls.certificate" in done.stderr


def test_a_certificate_that_is_none_is_exit_code_2(conf_file, tmp_path):
    for name in ("edge.crt", "edge.key"):
        (tmp_path / name).write_text("not a certificate")
    done = run("-c", conf_file(WITH_TLS))
    assert done.returncode == 2
    assert "edge.crt" in done.stderr


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_regions_on_the_command_line_are_enough(make_pod, tmp_path):
    """`nearside near=URL` listens on 127.0.0.1:8080 with its admin on 9901."""
    # The demo's own test may hold them for a while.
    wait_until(lambda: port_is_free(8080) and port_is_free(9901), "ports 8080 and 9901", 90)
    pod = make_pod("a")
    process = Process([binary("NEARSIDE_BIN", "build/nearside"), f"near={pod.url}"],
                      str(tmp_path), "bare")
    try:
        wait_until(lambda: raw.one_request(9901, "GET", "/readyz").status == 200, "readyz")
        assert raw.one_request(8080, "GET", "/echo").header("X-Nearside-Region") == "near"
        assert process.terminate() == 0
    finally:
        if process.is_running:
            process.kill()


def test_sigterm_lets_a_request_finish(make_pod, make_proxy):
    pod = make_pod("a")
    proxy = make_proxy([conf.region("near", pod)])
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "500"}))
        pod.wait_counter("active", 1)
        proxy.process.signal(signal.SIGTERM)
        assert conn.read_response().status == 200
    wait_until(lambda: not proxy.process.is_running, "the end")
    assert proxy.process.popen.returncode == 0
    proxy.check_output()


def test_a_second_sigterm_ends_at_once(make_pod, make_proxy):
    pod = make_pod("a")
    proxy = make_proxy([conf.region("near", pod)], edge={"drain_timeout_s": 60})
    with proxy.connect() as conn:
        conn.send(raw.request_bytes("GET", "/echo", headers={"X-Pod-First-Token-Ms": "50000"}))
        pod.wait_counter("active", 1)
        port = proxy.port
        proxy.process.signal(signal.SIGTERM)

        def refuses():
            try:
                raw.Conn(port).close()
            except OSError:
                return True
            return False
        wait_until(refuses, "no more accepting")
        proxy.process.signal(signal.SIGTERM)
        wait_until(lambda: not proxy.process.is_running, "the end", 3)


def test_sigusr1_reopens_the_logs(make_pod, make_proxy):
    proxy = make_proxy([conf.region("near", make_pod("a"))])
    assert proxy.get("/echo").status == 200
    moved = proxy.access_path + ".1"
    wait_until(lambda: os.path.getsize(proxy.access_path) > 0, "an access line")
    os.rename(proxy.access_path, moved)
    proxy.process.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(proxy.access_path), "a new file")
    proxy.get("/echo/after")
    wait_until(lambda: "/echo/after" in open(proxy.access_path).read(), "the line in the new file")


def test_the_port_of_a_killed_one_can_be_taken_at_once(make_pod, make_proxy):
    port = Port()
    proxy = make_proxy([conf.region("near", make_pod("a"))],
                       listeners=[{"bind": f"127.0.0.1:{port.number}"}])
    assert proxy.get("/echo").status == 200
    proxy.process.kill()
    os.unlink(proxy.log_path)
    proxy.start()
    assert proxy.get("/echo").status == 200
    port.release()
