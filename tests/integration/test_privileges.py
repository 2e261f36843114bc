# SPDX-License-Identifier: MIT
"""What the process gives up, and that secrets stay inside it.

These tests start the edge as root, in CI always; without root they cannot be run at all."""
import os
import pwd
import signal

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until

NOBODY = pwd.getpwnam("nobody")
root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"),
                          reason="takes root; never skipped in CI")


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


@pytest.fixture(autouse=True)
def open_directory(tmp_path):
    """A user without rights must get at its config and logs below pytest's private folders."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)


def status_of(proxy):
    """/proc/PID/status of every thread of the edge, as dicts."""
    threads = []
    for task in os.listdir(f"/proc/{proxy.process.pid}/task"):
        with open(f"/proc/{proxy.process.pid}/task/{task}/status") as file:
            threads.append(dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line))
    return threads


def make_dropped(make_proxy, pod, **more):
    """An edge that became nobody; its files lie where it may write."""
    edge = {"user": "nobody", **more.pop("edge", {})}
    return make_proxy([region("near", pod)], edge=edge, directory_mode=0o777, **more)


@root
def test_root_is_given_up_in_every_thread(make_proxy, pod):
    proxy = make_dropped(make_proxy, pod)
    assert proxy.get("/echo").status == 200
    threads = status_of(proxy)
    assert len(threads) >= 4, "control, workers, log"
    for thread in threads:
        assert set(thread["Uid"].split()) == {str(NOBODY.pw_uid)}
        assert set(thread["Gid"].split()) == {str(NOBODY.pw_gid)}
        assert thread["Groups"].split() == [str(NOBODY.pw_gid)]
        assert int(thread["CapEff"], 16) == int(thread["CapPrm"], 16) == 0
        assert int(thread["CapAmb"], 16) == 0
        assert thread["NoNewPrivs"].strip() == "1"


@root
def test_nobody_but_root_can_look_into_it_and_no_core_is_left(make_proxy, pod):
    proxy = make_dropped(make_proxy, pod)
    assert os.stat(f"/proc/{proxy.process.pid}/environ").st_uid == 0, "not dumpable"
    with open(f"/proc/{proxy.process.pid}/limits") as file:
        core = next(line for line in file if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


@root
def test_core_dumps_can_be_asked_for(make_proxy, pod):
    proxy = make_dropped(make_proxy, pod, edge={"core_dumps": True})
    assert os.stat(f"/proc/{proxy.process.pid}/environ").st_uid == NOBODY.pw_uid


@root
def test_a_reload_works_after_the_drop(make_proxy, pod):
    proxy = make_dropped(make_proxy, pod)
    port = proxy.port
    proxy.reload_ok(listeners=[{"bind": "127.0.0.1:0"}, {"bind": "127.0.0.2:0"}])
    wait_until(lambda: len(proxy.log("listening")) == 2, "the second listener in the log")
    assert raw.one_request(port, "GET", "/echo").status == 200
    proxy.process.signal(signal.SIGUSR1)  # log files are opened again, by the same user
    assert proxy.get("/echo").status == 200


@root
def test_a_new_privileged_port_is_refused_by_a_reload_in_words(make_proxy, pod):
    """In a network of its own, where every port below 1024 is free and privileged."""
    proxy = make_dropped(make_proxy, pod, prefix=in_own_network(),
                         wait="listening", listeners=[{"bind": "127.0.0.1:80"}])
    proxy.write_conf(listeners=[{"bind": "127.0.0.1:80"}, {"bind": "127.0.0.1:81"}])
    proxy.reload()
    line = proxy.wait_log("reload_failed")
    assert "127.0.0.1:81: permission denied" in line["error"]
    assert "restart" in line["error"]
    assert proxy.process.is_running
    proxy.destroy()


def in_own_network():
    return ["unshare", "--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]


@root
def test_a_user_that_is_not_there_is_refused_at_the_start(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], edge={"user": "nobody-of-that-name"}, wait=None)
    wait_until(lambda: not proxy.process.is_running, "the end")
    assert proxy.process.popen.returncode == 1, "systemd shall not try again what is in the file"
    assert 'nearside.conf: edge.user: found "nobody-of-that-name"' in proxy.process.stderr()


@root
@pytest.mark.parametrize("user, why", [("root", "other than root"), ("0", "other than root")])
def test_dropping_to_root_is_no_drop(make_proxy, pod, user, why):
    proxy = make_proxy([region("near", pod)], edge={"user": user}, wait=None)
    wait_until(lambda: not proxy.process.is_running, "the end")
    assert why in proxy.process.stderr()


@root
def test_only_root_can_become_somebody_else(make_proxy, pod):
    proxy = make_proxy([region("near", pod)], edge={"user": "daemon"}, wait=None,
                       directory_mode=0o777,
                       prefix=["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
    wait_until(lambda: not proxy.process.is_running, "the end")
    assert "started by another user than root?" in proxy.process.stderr()


@root
def test_it_runs_in_a_read_only_root_without_any_capability(make_proxy, pod):
    """As in a container with readOnlyRootFilesystem, runAsNonRoot and drop: [ALL]."""
    script = ("mount --bind . . && cd . && mount -o remount,bind,ro / && "
              "exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all "
              "--bounding-set=-all --no-new-privs \"$@\"")
    proxy = make_proxy([region("near", pod)], directory_mode=0o777,
                       prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
    with open(f"/proc/{proxy.process.pid}/mounts") as file:
        root_line = next(line for line in file if line.split()[1] == "/")
    assert "ro" in root_line.split()[3].split(",")
    for thread in status_of(proxy):
        assert {int(thread[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    body = answers.chat("hello", stream=True, max_tokens=3)
    assert proxy.chat(body).status == 200
    proxy.reload_ok()


# ---- secrets ----

SECRETS = {"token": "t0ken-of-the-admin", "redis": "passw0rd-of-redis",
           "client": "sk-the-clients-own-key", "header": "tok3n-in-a-header"}


def test_secrets_stand_in_no_log_no_page_and_no_error(make_proxy, pod, make_redis, tmp_path):
    redis = make_redis(password="another-one")
    with_redis = {**region("near", pod), "redis": redis.url, "redis_password": "env:REDIS_SECRET"}
    token_file = tmp_path / "token"
    token_file.write_text(SECRETS["token"] + "\n")
    proxy = make_proxy([with_redis], admin={"token": f"file:{token_file}"},
                       env={"REDIS_SECRET": SECRETS["redis"]}, cache={"enabled": True},
                       log={"level": "debug"})
    bearer = {"Authorization": f"Bearer {SECRETS['client']}", "X-Api-Key": SECRETS["header"],
              "Cookie": f"session={SECRETS['header']}"}
    assert proxy.chat(answers.chat("hello", max_tokens=2), bearer).status == 200
    proxy.get(f"/echo?model=m&key={SECRETS['client']}&n=1&X-Api-Token={SECRETS['header']}")
    line = wait_until(lambda: [one for one in proxy.access_lines() if "model=m" in one["path"]],
                      "an access line")[0]
    assert line["path"] == "/echo?model=m&key=***&n=1&X-Api-Token=***"
    request_id = proxy.get("/echo", bearer).header("X-Request-Id")
    proxy.request("GET", "/echo", headers={**bearer, "X Bad": "a"})  # refused: said in the log
    assert proxy.admin_post("/reload", {"Authorization": "Bearer wrong"}).status == 401
    assert proxy.admin_post("/reload", {"Authorization": f"Bearer {SECRETS['token']}"}).status == 200
    proxy.write_conf(cache={"ttl_s": -1})
    proxy.reload()
    proxy.wait_log("reload_failed")
    pages = [proxy.admin("GET", path).text for path in
             ("/", "/status.json", "/events.json", "/metrics", "/config",
              f"/explain?id={request_id}")]
    with open(f"/proc/{proxy.process.pid}/cmdline") as file:
        pages.append(file.read())
    pages += [proxy.process.stderr(), proxy.process.stdout()]
    for path in (proxy.log_path, proxy.access_path):
        with open(path) as file:
            pages.append(file.read())
    for name, secret in SECRETS.items():
        assert not [page[:200] for page in pages if secret in page], f"the {name} secret"


def test_a_wrong_secret_in_the_config_is_refused_without_being_shown(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    before = proxy.metrics().value("nearside_reloads_total", {"result": "failure"})
    proxy.write_conf(admin={"token": "file:/nonexistent/secret"})
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "failure"}, before + 1)
    assert "/nonexistent/secret" in proxy.log("reload_failed")[-1]["error"], "the file, not a value"
    proxy.write_conf(admin={"token": ""},
                     regions=[region("near", f"http://user:passw0rd@127.0.0.1:{pod.port}")])
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "failure"}, before + 2)
    for text in (proxy.log("reload_failed")[-1]["error"], proxy.admin("GET", "/status.json").text):
        assert "would be ignored" in text and "passw0rd" not in text


# ---- the operator's pages and other people's browsers ----

@pytest.mark.parametrize("path", ["/", "/status.json", "/config", "/metrics", "/events.json"])
def test_a_name_pointed_at_this_machine_reads_nothing(make_proxy, pod, path):
    """DNS rebinding: a page from evil.example asks evil.example, which is now 127.0.0.1."""
    proxy = make_proxy([region("near", pod)])
    refused = proxy.admin("GET", path, headers={"Host": "evil.example"})
    assert (refused.status, refused.json()["error"]["code"]) == (403, "named_host")
    for host in ("localhost", "127.0.0.1", "[::1]:9901"):
        assert proxy.admin("GET", path, headers={"Host": host}).status == 200
    for probe in ("/healthz", "/readyz"):
        assert proxy.admin("GET", probe, headers={"Host": "edge.internal"}).status == 200


def test_a_page_of_another_origin_changes_nothing(make_proxy, pod):
    proxy = make_proxy([region("near", pod)])
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"},
                    {"Host": "evil.example", "Origin": "http://evil.example"}):
        assert proxy.admin_post("/regions/near/drain", headers).status == 403
    assert proxy.region("near")["drained"] is False


@root
def test_an_upgrade_works_after_the_drop(make_proxy, generations, pod):
    """The new process is nobody from the start: it could not bind these sockets, nor need it. With
    more workers than sockets it shares them."""
    proxy = make_dropped(make_proxy, pod)
    port = proxy.port
    proxy.write_conf(edge={"workers": 3})
    history = generations(proxy)
    history.upgrade()
    history.wait_old()
    assert raw.one_request(port, "GET", "/echo").status == 200
    for thread in status_of(proxy):
        assert set(thread["Uid"].split()) == {str(NOBODY.pw_uid)}
        assert int(thread["CapEff"], 16) == int(thread["CapPrm"], 16) == 0
    history.upgrade()
    assert raw.one_request(port, "GET", "/echo").status == 200
