# SPDX-License-Identifier: MIT
"""TLS on both sides: towards clients, towards pods."""
import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest
from env import answers, raw
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def pod(make_pod):
    return make_pod("a")


def listener(certificate, **more):
    return {"bind": "127.0.0.1:0", "tls": {"certificate": certificate.cert,
                                           "key": certificate.key, **more}}


def ask(proxy, context, path="/echo", server_name="localhost"):
    return raw.one_request(proxy.tls_port, "GET", path, tls=context, server_name=server_name)


def test_a_listener_speaks_tls(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[listener(authority.issue("edge"))])
    response = ask(proxy, authority.client_context())
    seen = {name.lower(): value for name, value in response.json()["headers"]}
    assert seen["x-forwarded-proto"] == "https"


def test_a_large_answer_passes_through_tls(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[listener(authority.issue("edge"))])
    assert len(ask(proxy, authority.client_context(), "/bytes/5000000").body) == 5000000


def test_a_stream_passes_through_tls_event_by_event(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[listener(authority.issue("edge"))])
    body = answers.chat("x", stream=True, max_tokens=12)
    with raw.Conn(proxy.tls_port, tls=authority.client_context()) as conn:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", body, {"X-Pod-Gap-Ms": "40"}))
        conn.read_head()
        events = list(conn.events())
    raw.assert_one_by_one(events, 0.04)
    assert raw.sse_text(event for _, event in events)[:2] == (answers.chat_text(body), True)


def test_plain_and_tls_listeners_stand_side_by_side(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[
        {"bind": "127.0.0.1:0"}, listener(authority.issue("edge"))])
    assert proxy.get("/echo").status == 200
    assert ask(proxy, authority.client_context()).status == 200


def test_the_minimum_version_is_kept(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[
        listener(authority.issue("edge"), min_version="1.3")])
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(proxy, context)
    assert ask(proxy, authority.client_context()).status == 200


def test_a_client_certificate_is_asked_for(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[
        listener(authority.issue("edge"), client_ca=authority.cert)])
    with pytest.raises((ssl.SSLError, ConnectionError, raw.Closed)):
        ask(proxy, authority.client_context())
    mine = authority.issue("client", purpose="client")
    assert ask(proxy, authority.client_context(mine)).status == 200


def test_the_name_asked_for_picks_the_certificate(make_proxy, pod, authority):
    one = authority.issue("one", ["DNS:one.test"])
    two = authority.issue("two", ["DNS:two.test"])
    proxy = make_proxy([region("near", pod)], listeners=[{
        "bind": "127.0.0.1:0", "tls": [{"certificate": cert.cert, "key": cert.key}
                                       for cert in (one, two)]}])
    for name in ("one.test", "two.test"):
        assert ask(proxy, authority.client_context(), server_name=name).status == 200


def test_plain_http_to_a_tls_listener_harms_nobody(make_proxy, pod, authority):
    proxy = make_proxy([region("near", pod)], listeners=[listener(authority.issue("edge"))])
    with raw.Conn(proxy.tls_port) as conn:
        conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            conn.read_to_end()
        except raw.Closed:
            pass
    assert ask(proxy, authority.client_context()).status == 200


def test_a_reload_brings_the_new_certificate(make_proxy, pod, authority, tmp_path):
    first, second = authority.issue("first"), authority.issue("second")
    path = tmp_path / "live.crt", tmp_path / "live.key"
    shutil.copy(first.cert, path[0])
    shutil.copy(first.key, path[1])
    proxy = make_proxy([region("near", pod)], listeners=[
        {"bind": "127.0.0.1:0", "tls": {"certificate": path[0], "key": path[1]}}])

    def shown():
        with raw.Conn(proxy.tls_port, tls=authority.client_context()) as conn:
            return dict(item[0] for item in conn.socket.getpeercert()["subject"])["commonName"]
    assert shown() == "first"
    shutil.copy(second.cert, path[0])
    shutil.copy(second.key, path[1])
    proxy.reload_ok()
    wait_until(lambda: shown() == "second", "the new certificate")


# ---- towards pods ----

def tls_pod(make_pod, authority, name="a", sans=("DNS:localhost", "IP:127.0.0.1"), **options):
    certificate = authority.issue(f"pod-{name}", sans)
    return make_pod(name, scheme="https", tls_cert=certificate.cert, tls_key=certificate.key,
                    **options)


def test_a_pod_is_spoken_to_over_tls(make_pod, make_proxy, authority):
    pod = tls_pod(make_pod, authority)
    proxy = make_proxy([region("near", pod, tls={"ca": authority.cert})])
    assert proxy.get("/bytes/2000000").status == 200
    body = answers.chat("x")
    assert proxy.chat(body).json()["choices"][0]["message"]["content"] == answers.chat_text(body)


def test_a_reload_that_renames_a_tls_region_fails_no_request(make_pod, make_proxy, make_load,
                                                             authority):
    """Between the new config and the view made of it, attempts have the context of the old one."""
    pod = tls_pod(make_pod, authority)
    trust = {"ca": authority.cert}
    proxy = make_proxy([region("one", pod, tls=trust)], cache={"enabled": True})
    with make_load(proxy, clients=40, stream=False) as load:
        load.wait_count(2000)
        for name in 10 * ["two", "one"]:
            proxy.reload_ok(regions=[region(name, pod, tls=trust)])
            load.wait_count(100)
    load.assert_no_failures(at_least=4000)


def test_a_pod_that_nobody_vouches_for_is_not_trusted(make_pod, make_proxy, authority, tmp_path):
    from env.certs import Authority
    other = Authority(tmp_path, "other")
    pod = tls_pod(make_pod, authority)
    proxy = make_proxy([region("near", pod, tls={"ca": other.cert})], wait="listening")
    response = proxy.get("/echo")
    assert response.status in (502, 503)
    assert response.error
    assert pod.counters()["started"] == 0


def test_a_pod_with_another_name_is_not_trusted(make_pod, make_proxy, authority):
    pod = tls_pod(make_pod, authority, sans=("DNS:elsewhere.test",))
    proxy = make_proxy([region("near", pod, tls={"ca": authority.cert})], wait="listening")
    assert proxy.get("/echo").status in (502, 503)


def test_the_expected_name_can_be_given(make_pod, make_proxy, authority):
    pod = tls_pod(make_pod, authority, sans=("DNS:elsewhere.test",))
    proxy = make_proxy([region("near", pod, tls={"ca": authority.cert,
                                                 "server_name": "elsewhere.test"})])
    assert proxy.get("/echo").status == 200


def test_verification_can_be_switched_off(make_pod, make_proxy, authority):
    pod = tls_pod(make_pod, authority, sans=("DNS:elsewhere.test",))
    proxy = make_proxy([region("near", pod, tls={"verify": False})])
    assert proxy.get("/echo").status == 200


def test_a_pod_can_ask_for_our_certificate(make_pod, make_proxy, authority):
    pod = tls_pod(make_pod, authority, tls_client_ca=authority.cert)
    mine = authority.issue("edge-client", purpose="client")
    proxy = make_proxy([region("near", pod, tls={"ca": authority.cert, "certificate": mine.cert,
                                                 "key": mine.key})])
    assert proxy.get("/echo").status == 200


# ---- how a handshake may end ----

def handshakes(proxy, result):
    return proxy.metrics().value("nearside_tls_handshakes_total", {"result": result})


def s_client(proxy, *options, talk=b""):
    """The openssl program's client; its whole output."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.tls_port}",
                           *options], input=talk, capture_output=True, timeout=20, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.fixture
def edge(make_proxy, pod, authority):
    return make_proxy([region("near", pod)], listeners=[listener(authority.issue("edge"))])


@pytest.mark.parametrize("options, result", [
    (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "version"),
    (["-tls1_2", "-cipher", "AES128-SHA"], "cipher"),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], "cipher"),
    (["-alpn", "h2"], "alpn"),
])
def test_what_is_too_weak_or_not_ours_is_refused_and_counted(edge, options, result):
    assert "Cipher is (NONE)" in s_client(edge, *options)
    edge.wait_metric("nearside_tls_handshakes_total", {"result": result}, 1)
    assert handshakes(edge, "done") == 0


def test_a_protocol_in_common_is_agreed_on(edge):
    assert "ALPN protocol: http/1.1" in s_client(edge, "-alpn", "h2,http/1.1")


@pytest.mark.parametrize("options, cipher", [
    (["-tls1_3"], "TLS_AES_128_GCM_SHA256"),
    (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "TLS_AES_256_GCM_SHA384"),
    (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"],
     "TLS_CHACHA20_POLY1305_SHA256"),
    (["-tls1_2"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
])
def test_the_cheapest_cipher_that_fits_the_client_is_chosen(edge, options, cipher):
    assert f"Cipher is {cipher}" in s_client(edge, *options)


def test_other_ends_of_a_handshake_are_counted_by_their_reason(make_proxy, pod, authority):
    certificate = authority.issue("edge")
    proxy = make_proxy([region("near", pod)],
                       listeners=[listener(certificate, client_ca=authority.cert)])
    with raw.Conn(proxy.tls_port) as conn:
        conn.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        conn.read_to_end()
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "not_tls"}, 1)
    raw.Conn(proxy.tls_port).close()
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "closed"}, 1)
    with pytest.raises(ssl.SSLError):
        raw.Conn(proxy.tls_port, tls=ssl.create_default_context())
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "alert"}, 1)
    s_client(proxy)  # shows no certificate of its own
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "certificate"}, 1)


def test_renegotiation_and_compression_are_not_to_be_had(edge):
    said = s_client(edge, "-tls1_2", "-comp", "-legacy_renegotiation", talk=b"R\n")
    assert "Compression: NONE" in said
    assert "no renegotiation" in said or "handshake failure" in said, said[-2000:]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed_by_ticket(edge, tmp_path, version):
    session = str(tmp_path / "session")
    request = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    s_client(edge, version, "-ign_eof", "-sess_out", session, talk=request)
    said = s_client(edge, version, "-ign_eof", "-sess_in", session, talk=request)
    assert "Reused, TLSv1" in said, said[-2000:]


def test_each_resumption_brings_the_ticket_of_the_next(edge, authority):
    """Clients of TLS 1.3 use a ticket once: three connections, the later two resumed."""
    context = authority.client_context()
    session, reused = None, []
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", edge.tls_port), timeout=10) as plain, \
                context.wrap_socket(plain, server_hostname="localhost", session=session) as conn:
            conn.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while conn.recv(65536):
                pass
            assert conn.version() == "TLSv1.3"
            reused.append(conn.session_reused)
            assert session is None or conn.session.id != session.id, "the same ticket again"
            session = conn.session
    assert reused == [False, True, True]


def test_many_handshakes_at_once_do_not_hold_up_those_being_served(make_proxy, pod, authority):
    """200 clients that begin in the same moment take turns with a stream."""
    proxy = make_proxy([region("near", pod)], edge={"workers": 1}, listeners=[
        {"bind": "127.0.0.1:0"}, listener(authority.issue("edge"))])
    hello = ssl.MemoryBIO()
    context = authority.client_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    first = hello.read()
    conns = [raw.Conn(proxy.tls_port) for _ in range(200)]
    for conn in conns:
        conn.send(first)
    assert proxy.get("/echo").status == 200
    for conn in conns:
        assert conn.read_exactly(5)[0] == 22, "a ServerHello"
        conn.close()
    proxy.wait_metric("nearside_tls_handshakes_total", {"result": "closed"}, 200)


# ---- checking pods cannot be lost by accident ----

def test_no_check_is_warned_of_on_each_reload_and_shown(make_pod, make_proxy, authority):
    certificate = authority.issue("pod")
    pod = make_pod("a", scheme="https", tls_cert=certificate.cert, tls_key=certificate.key)
    unchecked = region("near", pod, tls={"verify": False})
    proxy = make_proxy([unchecked])
    assert len(proxy.log("tls_unverified")) == 1
    assert proxy.region("near")["tls_verify"] == "off"
    proxy.reload_ok()
    wait_until(lambda: len(proxy.log("tls_unverified")) == 2, "a second warning")
    proxy.reload_ok(regions=[region("near", pod, tls={"ca": authority.cert})])
    assert proxy.region("near")["tls_verify"] == "on"
    assert len(proxy.log("tls_unverified")) == 2
