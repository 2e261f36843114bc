# SPDX-License-Identifier: MIT
"""Fixtures. Every `make_*` closes what it made when the test ends; proxies are checked first."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from env.certs import Authority  # noqa: E402
from env.dns import Dns  # noqa: E402
from env.generations import Generations, adopt_orphans  # noqa: E402
from env.load import Load  # noqa: E402
from env.origin import Origin  # noqa: E402
from env.pod import Pod  # noqa: E402
from env.proxy import Proxy  # noqa: E402
from env.redis import Redis  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed:
        for proxy in getattr(item, "proxies", []):
            report.sections.append(("nearside", proxy.diagnosis()))


@pytest.fixture
def make_pod(tmp_path):
    """make_pod("a", path_delay_ms=12): a simulated pod."""
    pods = []

    def make(name="pod", **options):
        pods.append(Pod(tmp_path, name, **options))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()


@pytest.fixture
def make_origin():
    """make_origin(handler): an endpoint that answers as the test says."""
    origins = []

    def make(handler):
        origins.append(Origin(handler))
        return origins[-1]

    yield make
    for origin in origins:
        origin.close()


@pytest.fixture
def make_redis(tmp_path):
    """make_redis(password="x"): a redis-server."""
    servers = []

    def make(name="redis", **options):
        servers.append(Redis(tmp_path, name, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_proxy(tmp_path, request, make_pod, make_origin, make_redis):
    """make_proxy([region("near", pod)], limits={...}): Nearside, ready to serve.

    Depends on pods and Redis so that these end after it."""
    proxies = []
    request.node.proxies = proxies

    def make(regions, **options):
        proxies.append(Proxy(tmp_path, regions, **options))
        return proxies[-1]

    yield make
    failed = getattr(request.node, "report_call", None) is None or \
        request.node.report_call.failed
    try:
        for proxy in proxies:
            if failed:
                proxy.destroy()
            else:
                proxy.stop()
    finally:
        for proxy in proxies:
            proxy.destroy()


@pytest.fixture
def generations(make_proxy):
    """generations(proxy).upgrade(): replace the program; its old processes must end well."""
    adopt_orphans()
    made = []

    def make(proxy):
        made.append(Generations(proxy))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def dns():
    server = Dns()
    yield server
    server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def make_load():
    """make_load(proxy, clients=20) in a `with`: checked traffic in the background."""
    def make(proxy, **options):
        return Load(proxy.port, **options)
    return make
