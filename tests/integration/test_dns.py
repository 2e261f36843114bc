# SPDX-License-Identifier: MIT
"""Host names as endpoints: every address serves, changes are followed, trouble keeps the old."""
import pytest
from env import raw
from env.conf import region
from env.waiting import wait_until


@pytest.fixture
def proxy(make_proxy, dns, make_pod):
    pod = make_pod("a")
    dns.records["pods.test"] = ["127.0.0.1"]
    proxy = make_proxy([region("near", f"http://pods.test:{pod.port}")], env=dns.env)
    proxy.pod = pod
    return proxy


def test_a_name_is_resolved(proxy):
    response = proxy.get("/echo")
    assert (response.status, response.header("X-Pod")) == (200, "a")


def test_every_address_is_an_endpoint(make_proxy, dns, make_pod):
    one = make_pod("a", bind="0.0.0.0")
    dns.records["pods.test"] = ["127.0.0.1", "127.0.0.2"]
    proxy = make_proxy([region("near", f"http://pods.test:{one.port}")], env=dns.env)
    wait_until(lambda: len(proxy.region("near")["endpoints"]) == 2, "two endpoints")


def test_a_changed_record_is_followed(proxy, dns):
    dns.records["pods.test"] = ["127.0.0.1", "127.0.0.2"]
    wait_until(lambda: len(proxy.region("near")["endpoints"]) == 2, "two endpoints", 15)


@pytest.mark.parametrize("mode", ["servfail", "silent", "nxdomain", "late"])
def test_trouble_with_dns_keeps_what_is_known(proxy, dns, mode):
    dns.mode = mode
    before = len(dns.queries)
    if mode != "silent":
        wait_until(lambda: len(dns.queries) > before, "a query", 15)
    for _ in range(5):
        assert proxy.get("/echo").status == 200
    assert len(proxy.region("near")["endpoints"]) == 1


def test_a_name_that_comes_late_is_served_then(make_proxy, dns, make_pod):
    pod = make_pod("a")
    proxy = make_proxy([region("near", f"http://pods.test:{pod.port}")], env=dns.env,
                       wait="listening")
    assert proxy.get("/echo").status == 503
    dns.records["pods.test"] = ["127.0.0.1"]
    wait_until(lambda: proxy.get("/echo").status == 200, "the name to be found", 15)


def test_requests_do_not_wait_for_dns(proxy, dns):
    dns.mode = "silent"
    queries = len(dns.queries)
    for _ in range(50):
        assert raw.one_request(proxy.port, "GET", "/echo", timeout=2).status == 200
    assert len(dns.queries) - queries < 20
