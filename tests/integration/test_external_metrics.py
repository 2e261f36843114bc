# SPDX-License-Identifier: MIT
"""Kubernetes' external metrics API, and TLS on the listener that serves it."""
import datetime
import json
import math
import re
import socket
import ssl

import pytest
from env import answers, raw
from env.certs import Authority
from env.conf import region
from env.waiting import wait_until

GROUP = "/apis/external.metrics.k8s.io"
V1BETA1 = f"{GROUP}/v1beta1"
AGGREGATED = ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
              "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")
QUANTITY = re.compile(r"^[0-9]+m?$")


@pytest.fixture
def pods(make_pod):
    return [make_pod("near", path_delay_ms=2), make_pod("far", path_delay_ms=20)]


@pytest.fixture
def proxy(make_proxy, pods):
    return make_proxy([region("us-east", pods[0]), region("eu-west", pods[1])])


def metric_path(metric, selector=None, namespace="inference"):
    query = "" if selector is None else f"?labelSelector={selector}"
    return f"{V1BETA1}/namespaces/{namespace}/{metric}{query}"


def values(proxy, metric, selector=None):
    response = proxy.admin("GET", metric_path(metric, selector))
    assert response.status == 200, response.text
    return {item["metricLabels"]["region"]: quantity(item["value"])
            for item in response.json()["items"]}


def quantity(text):
    assert QUANTITY.match(text), text
    return int(text[:-1]) / 1000 if text.endswith("m") else int(text)


def desired_replicas(current, value, target, average):
    """What a HorizontalPodAutoscaler makes of an External metric."""
    return math.ceil(value / target) if average else math.ceil(current * value / target)


def test_discovery_tells_group_version_and_resources(proxy):
    groups = proxy.admin("GET", "/apis").json()
    group = proxy.admin("GET", GROUP).json()
    resources = proxy.admin("GET", V1BETA1)
    assert (groups["kind"], groups["apiVersion"]) == ("APIGroupList", "v1")
    assert (group["kind"], group["apiVersion"]) == ("APIGroup", "v1")
    assert groups["groups"] == [{key: group[key] for key in ("name", "versions",
                                                             "preferredVersion")}]
    assert group["preferredVersion"] == {"groupVersion": "external.metrics.k8s.io/v1beta1",
                                         "version": "v1beta1"}
    assert resources.header("Content-Type") == "application/json"
    body = resources.json()
    assert (body["kind"], body["groupVersion"]) == ("APIResourceList",
                                                    "external.metrics.k8s.io/v1beta1")
    assert {one["name"]: (one["kind"], one["namespaced"], one["verbs"], one["singularName"])
            for one in body["resources"]} == {
                name: ("ExternalMetricValueList", True, ["get"], "")
                for name in ("llm_pending_requests", "dcgm_gpu_utilization")}


def test_a_newer_form_of_discovery_is_declined_so_that_the_old_one_is_asked_for(proxy):
    declined = proxy.admin("GET", "/apis", headers={"Accept": AGGREGATED})
    assert (declined.status, declined.json()["reason"]) == (406, "NotAcceptable")
    for accept in (f"{AGGREGATED},application/json", "*/*", "application/json, */*"):
        assert proxy.admin("GET", "/apis", headers={"Accept": accept}).status == 200


def test_a_value_has_the_form_the_autoscaler_reads(proxy):
    body = proxy.admin("GET", metric_path("llm_pending_requests", "region%3Dus-east")).json()
    assert (body["kind"], body["apiVersion"], body["metadata"]) == (
        "ExternalMetricValueList", "external.metrics.k8s.io/v1beta1", {})
    item, = body["items"]
    assert set(item) == {"metricName", "metricLabels", "timestamp", "value"}
    assert (item["metricName"], item["metricLabels"]) == ("llm_pending_requests",
                                                          {"region": "us-east"})
    told = datetime.datetime.fromisoformat(item["timestamp"].replace("Z", "+00:00"))
    age = datetime.datetime.now(datetime.timezone.utc) - told
    assert abs(age.total_seconds()) < 60
    assert quantity(item["value"]) == 0


@pytest.mark.parametrize("selector, regions", [
    (None, {"us-east", "eu-west"}),
    ("", {"us-east", "eu-west"}),
    ("region%3Deu-west", {"eu-west"}),
    ("region%21%3Deu-west", {"us-east"}),
    ("region%20in%20%28us-east%2Ceu-west%29", {"us-east", "eu-west"}),
    ("region%20notin%20%28us-east%29", {"eu-west"}),
    ("region+in+%28us-east%2Ceu-west%29", {"us-east", "eu-west"}),  # Go's url.Values.Encode()
    ("region+notin+%28us-east%29%2Cregion%21%3Dmoon", {"eu-west"}),
    ("region%3Dmoon", set()),
    ("%21region", set()),
])
def test_a_selector_picks_regions(proxy, selector, regions):
    assert set(values(proxy, "llm_pending_requests", selector)) == regions


@pytest.mark.parametrize("path, status, reason", [
    (metric_path("nearside_requests_total"), 404, "NotFound"),
    (f"{V1BETA1}/llm_pending_requests", 404, "NotFound"),
    (f"{GROUP}/v1", 404, "NotFound"),
    ("/apis/apps/v1", 404, "NotFound"),
    (metric_path("llm_pending_requests", "region%3E5"), 400, "BadRequest"),
    (metric_path("llm_pending_requests", "region%3"), 400, "BadRequest"),
    (metric_path("llm_pending_requests", "region%2Bin%2B%28us-east%29"), 400, "BadRequest"),
])
def test_errors_are_status_objects(proxy, path, status, reason):
    response = proxy.admin("GET", path)
    body = response.json()
    assert response.status == body["code"] == status
    assert (body["kind"], body["apiVersion"], body["status"], body["reason"]) == (
        "Status", "v1", "Failure", reason)
    assert body["message"]


def test_other_methods_and_pages_are_refused_as_they_should(proxy):
    assert proxy.admin_post(metric_path("llm_pending_requests")).status in (403, 405)
    assert proxy.admin("GET", "/openapi/v2").status == 404


def test_an_autoscaler_follows_what_is_pending(proxy, pods):
    conns = [proxy.connect() for _ in range(25)]
    for conn in conns:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                                    {"X-Pod-First-Token-Ms": "20000",
                                     "X-Nearside-Regions": "us-east"}))

    def pending(count):
        return lambda: values(proxy, "llm_pending_requests").get("us-east") == count
    wait_until(pending(25), "25 pending")
    value = values(proxy, "llm_pending_requests", "region%3Dus-east")["us-east"]
    assert desired_replicas(2, value, 10, average=True) == 3
    for conn in conns:
        conn.socket.close()
    wait_until(pending(0), "none pending")


def test_requests_in_the_queue_are_pending_like_those_at_a_pod(make_proxy, pods):
    proxy = make_proxy([region("us-east", pods[0])],
                       limits={"max_inflight_per_endpoint": 1, "queue_timeout_ms": 20000})
    conns = [proxy.connect() for _ in range(3)]
    for conn in conns:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                                    {"X-Pod-First-Token-Ms": "20000"}))
    proxy.wait_metric("nearside_inflight_requests", {"phase": "queued"}, 2)
    proxy.wait_metric("llm_pending_requests", {"region": "us-east"}, 3)
    assert values(proxy, "llm_pending_requests") == {"us-east": 3}
    for conn in conns:
        conn.socket.close()


def test_an_autoscaler_reads_the_use_of_gpus(make_proxy, make_origin, pods):
    def handler(peer, line, headers):
        text = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 91\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 90\n'
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        return False

    proxy = make_proxy([region("us-east", pods[0], exporters=[make_origin(handler).url]),
                        region("eu-west", pods[1])], metrics={"interval_ms": 100})
    wait_until(lambda: values(proxy, "dcgm_gpu_utilization") == {"us-east": 90.5}, "GPU use")
    assert desired_replicas(4, 90.5, 75, average=False) == 5


def test_every_edge_tells_what_is_pending_at_all_edges(make_proxy, make_redis, pods):
    redis = make_redis()
    edges = [make_proxy([region("us-east", pods[0], redis=redis)], edge={"id": f"edge-{i}"})
             for i in range(2)]
    for edge in edges:
        wait_until(lambda: len(edge.status()["peers"]) == 1, "the other edge")
    conns = [edge.connect() for edge in edges]
    for conn in conns:
        conn.send(raw.request_bytes("POST", "/v1/chat/completions", answers.chat("x"),
                                    {"X-Pod-First-Token-Ms": "20000"}))
    for edge in edges:
        wait_until(lambda: values(edge, "llm_pending_requests") == {"us-east": 2}, "both")
        assert edge.metrics().value("llm_pending_requests") == 1, "each its own: Prometheus sums"
    for conn in conns:
        conn.socket.close()


# ---- TLS on the admin listener ----


def tls_admin(proxy, path, context, method="GET", headers=None):
    return raw.one_request(proxy.admin_port, method, path, b"" if method == "POST" else None,
                           headers, tls=context)



@pytest.fixture
def make_tls_proxy(make_proxy, pods, authority):
    served = authority.issue("admin")

    def make(**tls):
        proxy = make_proxy([region("us-east", pods[0])], wait="listening", admin={
            "bind": "127.0.0.1:0", "token": "secret",
            "tls": {"certificate": served.cert, "key": served.key, **tls}})
        proxy.admin = lambda method, path, body=None, headers=None: raw.one_request(
            proxy.admin_port, method, path, body, headers, tls=authority.client_context())
        proxy.wait_ready()
        return proxy

    return make


def test_the_admin_listener_speaks_tls(make_tls_proxy, authority):
    proxy = make_tls_proxy()
    context = authority.client_context()
    assert tls_admin(proxy, "/healthz", context).status == 200
    assert "nearside_build_info" in tls_admin(proxy, "/metrics", context).text
    assert tls_admin(proxy, V1BETA1, context).status == 200
    drain = "/regions/us-east/drain"
    assert tls_admin(proxy, drain, context, "POST").status == 401
    bearer = {"Authorization": "Bearer secret"}
    assert tls_admin(proxy, drain, context, "POST", bearer).status == 200
    assert tls_admin(proxy, drain.replace("drain", "undrain"), context, "POST", bearer).status == 200
    assert proxy.metrics().value("nearside_certificate_expiry_seconds", {"kind": "admin"}) > 0


def test_plain_text_to_a_tls_admin_listener_gets_nothing(make_tls_proxy):
    proxy = make_tls_proxy()
    with pytest.raises((raw.Closed, ConnectionError, OSError)):
        raw.one_request(proxy.admin_port, "GET", "/healthz", timeout=5)
    assert proxy.admin("GET", "/healthz").status == 200


def test_the_api_is_for_those_with_the_right_certificate(make_tls_proxy, authority,
                                                         tmp_path_factory):
    front_proxy = Authority(tmp_path_factory.mktemp("front"), "front-proxy")
    proxy = make_tls_proxy(api_client_ca=front_proxy.cert)
    nobody = authority.client_context()
    api_server = authority.client_context(front_proxy.issue("front-proxy-client",
                                                            purpose="client"))
    stranger = authority.client_context(authority.issue("stranger", purpose="client"))
    refused = tls_admin(proxy, V1BETA1, nobody)
    assert (refused.status, refused.json()["reason"]) == (401, "Unauthorized")
    assert tls_admin(proxy, "/apis", nobody).status == 401
    assert tls_admin(proxy, "/readyz", nobody).status == 200, "probes need no certificate"
    assert tls_admin(proxy, "/metrics", nobody).status == 200
    assert tls_admin(proxy, metric_path("llm_pending_requests"), api_server).status == 200
    with pytest.raises((ssl.SSLError, raw.Closed, ConnectionError)):
        tls_admin(proxy, "/readyz", stranger)


def test_a_reload_brings_the_admin_listener_a_new_certificate(make_tls_proxy, authority):
    proxy = make_tls_proxy()
    before = proxy.metrics().value("nearside_certificate_expiry_seconds", {"kind": "admin"})
    renewed = authority.issue("renewed", days=90)
    port = proxy.admin_port
    proxy.reload_ok(admin={"tls": {"certificate": renewed.cert, "key": renewed.key}})
    assert proxy.admin_port == port
    after = proxy.metrics().value("nearside_certificate_expiry_seconds", {"kind": "admin"})
    assert after > before + 50 * 86400


def test_a_handshake_may_come_after_the_reload_that_took_its_certificate(make_tls_proxy,
                                                                         authority):
    proxy = make_tls_proxy()
    renewed = authority.issue("renewed", days=90)
    with socket.create_connection(("127.0.0.1", proxy.admin_port), timeout=10) as plain:
        # The edge accepts in order: when this one is answered, the first is accepted too.
        assert tls_admin(proxy, "/healthz", authority.client_context()).status == 200
        proxy.reload_ok(admin={"tls": {"certificate": renewed.cert, "key": renewed.key}})
        with authority.client_context().wrap_socket(plain, server_hostname="127.0.0.1") as early:
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
            assert early.recv(64).startswith(b"HTTP/1.1 200")
    assert tls_admin(proxy, "/healthz", authority.client_context()).status == 200


def test_a_bad_certificate_in_a_reload_changes_nothing(make_tls_proxy, authority):
    proxy = make_tls_proxy()
    other = authority.issue("other")
    proxy.write_conf(admin={"tls": {"certificate": other.cert}})  # the key is another's
    proxy.reload()
    proxy.wait_metric("nearside_reloads_total", {"result": "failure"}, 1)
    assert "not the key" in json.dumps(proxy.status()["edge"]["last_reload"])
    assert proxy.metrics().value("nearside_config_last_reload_successful") == 0
