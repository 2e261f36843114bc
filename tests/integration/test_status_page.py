# SPDX-License-Identifier: MIT
"""The status page in a real browser, in front of a real edge: what it shows, and what it does."""
import json
import os
import re
import shutil
import signal
import time

import pytest
from env import answers
from env.browser import Browser
from env.conf import region
from env.processes import TOP, binary
from env.waiting import wait_until

CARD = "#region-list > li:nth-child({}) "


@pytest.fixture(scope="module")
def shared_browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(shared_browser):
    """As a new visitor finds it; and the page may not have complained about anything."""
    shared_browser.open("about:blank")
    shared_browser.resize(1280, 900)
    shared_browser.prefer("light")
    shared_browser.run_scripts(True)
    shared_browser.console.clear()
    shared_browser.requests.clear()
    yield shared_browser
    shared_browser.open("about:blank")


@pytest.fixture
def near(make_pod):
    return [make_pod(f"near-{index}", path_delay_ms=3) for index in range(2)]


@pytest.fixture
def far(make_pod):
    return make_pod("far", path_delay_ms=80)


@pytest.fixture
def proxy(make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("distant", far)])
    wait_until(lambda: proxy.status()["home"] == "near", "near to be home")
    proxy.wait_region("distant", "up")
    wait_until(lambda: proxy.region("distant")["near"] is False, "distant to be far")
    return proxy


def open_page(browser, proxy):
    browser.open(f"http://127.0.0.1:{proxy.admin_port}/")
    browser.wait("document.querySelectorAll('.region').length > 0")


def complaints(browser):
    """All but what the browser says by itself about an edge that does not answer."""
    return [line for line in browser.console if "ERR_" not in line and "status of 40" not in line]


# ---- what it shows ----

def test_it_shows_where_requests_go_and_how_each_region_is(browser, proxy):
    open_page(browser, proxy)
    assert browser.text("#choice strong") == "near"
    assert "If it fails, distant takes over" in browser.text("#choice-next")
    near = browser.text(CARD.format(1))
    whole, digits = re.search(r"(\d+)\.(\d+) ms\nnear", near).groups()
    assert len(digits) == (2 if len(whole) == 1 else 1), "small ones are shown finer"
    assert "chosen" in near and "2 of 2 up" in near and "Redis" in near
    distant = browser.text(CARD.format(2))
    assert "far" in distant and "over the budget of 50 ms" in distant
    assert browser.evaluate("document.querySelectorAll('.curve path.line').length") == 2
    assert "test" in browser.text("h1")
    assert "by traffic" in browser.text("#failover")
    assert "Started" in browser.text("#timeline")
    assert complaints(browser) == []


def test_it_asks_nobody_else_for_anything(browser, proxy):
    open_page(browser, proxy)
    browser.wait("performance.getEntriesByType('resource')"
                 ".filter(one => one.name.endsWith('status.json')).length > 1")
    own = f"http://127.0.0.1:{proxy.admin_port}/"
    assert [url for url in browser.requests
            if not url.startswith((own, "data:", "about:"))] == []
    assert complaints(browser) == []


def test_what_is_on_it_cannot_run_as_a_script(browser, proxy):
    """What somebody wrote into a config is shown as it is written."""
    wrong = "</script><img src=x onerror=1>"
    proxy.allow_errors("reload_failed")
    proxy.write_conf(edge={"id": wrong})
    proxy.reload()
    proxy.wait_log("reload_failed")
    open_page(browser, proxy)
    browser.wait_text("#alerts", "The last reload was refused; generation 1 stays in force.")
    assert wrong in browser.text("#alerts") and wrong in browser.text("#config-error")
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert complaints(browser) == []


def test_shares_rates_and_cache_follow_the_traffic(browser, make_proxy, near, far):
    proxy = make_proxy([region("near", near), region("distant", far)], cache={"enabled": True})
    wait_until(lambda: proxy.status()["home"] == "near", "near to be home")
    open_page(browser, proxy)
    for _ in range(4):
        proxy.chat(answers.chat("the same", stream=False, max_tokens=2))
    browser.wait(f"document.querySelector('{CARD.format(1)}.share').innerText.includes('100 %')")
    browser.wait_text("#cache", "75 %")
    browser.wait_text("#figures", "75 %")


def test_a_refused_reload_and_a_hit_limit_are_told(browser, make_proxy, near):
    proxy = make_proxy([region("near", near)], limits={"body_bytes": 1000})
    open_page(browser, proxy)
    assert "None since the start." in browser.text("#limits-none")
    assert proxy.post("/v1/chat/completions", b"x" * 2000).status == 413
    browser.wait_text("#limits", "body_bytes")
    browser.wait_text("#alerts", "Limits hit in the last minute: body bytes")


def test_other_edges_views_stand_beside_this_ones(browser, make_proxy, make_redis, near, far):
    redis = make_redis()
    regions = [region("near", near, redis), region("distant", far)]
    proxy = make_proxy(regions)
    other = make_proxy(regions, edge={"id": "other"})
    wait_until(lambda: len(proxy.status()["peers"]) == 1, "the other edge's report")
    other.admin_post("/regions/distant/drain")
    open_page(browser, proxy)
    table = browser.text("#edges")
    assert "test (this)" in table and "other" in table and "Majority" in table
    browser.wait_text("#alerts", "Drained by an operator: distant.")
    browser.wait_text("#timeline", "by operator at other")


def test_what_engines_and_gpus_say_stands_on_the_region_they_are_of(browser, make_proxy,
                                                                     make_origin, near, far):
    page = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 87\n'

    def exporter(peer, line, headers):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        return False

    proxy = make_proxy([region("near", near, exporters=[make_origin(exporter).url]),
                        region("distant", far, metrics={"path": ""})],
                       metrics={"path": "/metrics", "interval_ms": 100, "timeout_ms": 300})
    wait_until(lambda: proxy.region("near")["load"]["gpu"] == 0.87, "the use of GPUs")
    open_page(browser, proxy)
    browser.wait_text(CARD.format(1) + ".facts", "GPU\n87 %")
    browser.wait_text(CARD.format(1) + ".facts", "Engine queue\n0")
    browser.wait_text(CARD.format(1) + ".facts", "KV cache")
    assert "GPU" not in browser.text(CARD.format(2)), "nobody tells of these"
    assert "KV cache" not in browser.text(CARD.format(2))


def test_a_redis_that_refuses_a_command_is_told_with_what_helps(browser, make_proxy, make_redis,
                                                                near):
    redis = make_redis()
    proxy = make_proxy([region("near", near, redis)], cache={"enabled": True})
    wait_until(lambda: proxy.region("near")["redis"]["up"], "Redis")
    open_page(browser, proxy)
    assert "Redis of near" not in browser.text("#alerts")
    redis.client.config_set("maxmemory-policy", "noeviction")
    redis.client.config_set("maxmemory", 1)

    def is_refused():
        proxy.chat(answers.chat(f"new {time.monotonic_ns()}", stream=False, max_tokens=2))
        return proxy.region("near")["redis"]["error"]

    wait_until(is_refused, "a refused command")
    browser.wait_text("#alerts", "Redis of near refuses set: oom. ")
    assert proxy.region("near")["redis"]["advice"] in browser.text("#alerts")
    browser.wait_text(CARD.format(1) + ".facts", "Redis\nrefuses")


@pytest.mark.parametrize("scripts", [True, False])
def test_certificates_that_are_not_checked_are_warned_of(browser, make_pod, make_proxy, authority,
                                                         far, scripts):
    certificate = authority.issue("pod")
    pod = make_pod("tls", scheme="https", tls_cert=certificate.cert, tls_key=certificate.key)
    proxy = make_proxy([region("near", pod, tls={"verify": False}), region("distant", far)])
    proxy.wait_region("near", "up")
    wanted = "Certificates are not checked (tls.verify = false): near."
    if not scripts:
        assert wanted in proxy.admin("GET", "/").text
        return
    open_page(browser, proxy)
    browser.wait_text("#alerts", wanted)
    assert "TLS\nunchecked" in browser.text(CARD.format(1) + ".facts")
    assert "TLS" not in browser.text(CARD.format(2))
    proxy.reload_ok(regions=[region("near", pod, tls={"ca": authority.cert}),
                             region("distant", far)])
    browser.wait("!document.querySelector('#alerts').innerText.includes('Certificates')")


def test_a_region_whose_pods_are_all_drained_does_not_look_well(browser, proxy, far):
    proxy.admin_post(f"/endpoints/127.0.0.1:{far.port}/drain")
    open_page(browser, proxy)
    browser.wait_text(CARD.format(2) + ".condition", "pods drained")
    assert "Every pod that is up was drained: distant." in browser.text("#alerts")
    assert "1 up, 1 pods drained" in browser.text("#regions-summary")


def test_a_failed_upgrade_is_told(browser, make_proxy, near, tmp_path, monkeypatch):
    program = tmp_path / "nearside"
    shutil.copy2(binary("NEARSIDE_BIN", "build/nearside"), program)
    monkeypatch.setenv("NEARSIDE_BIN", str(program))
    proxy = make_proxy([region("near", near)])
    proxy.allow_errors("upgrade_failed")
    program.unlink()
    program.write_text("this is no program")
    program.chmod(0o755)
    open_page(browser, proxy)
    proxy.process.signal(signal.SIGUSR2)
    browser.wait_text("#alerts", "The last upgrade failed; ")
    assert "cannot be run" in browser.text("#alerts")
    browser.wait_text("#timeline", "Upgrade failed")


# ---- it lives ----

def test_a_failover_shows_without_loading_the_page_again(browser, proxy, near):
    open_page(browser, proxy)
    browser.evaluate("window.mark = document.querySelector('.region')")
    for pod in near:
        pod.kill()
    browser.wait_text("#choice strong", "distant")
    browser.wait_text("#alerts", "near is down: ")
    assert "refused" in browser.text("#alerts")
    browser.wait_text("#alerts", "No near region can serve")
    browser.wait_text("#timeline", "Failover: near → distant near went down")
    assert "Chosen when near went down" in browser.text("#choice-why")
    assert re.search(r"for \d s$", browser.text("#choice")), "the new home is young"
    card = browser.text(CARD.format(1))
    assert "down" in card and "0 of 2 up" in card and "when it was last seen" in card
    assert "near is down" in browser.text("#said") or "Failover" in browser.text("#said")
    assert browser.evaluate("window.mark === document.querySelector('.region')"), "no flicker"
    for pod in near:
        pod.restart()
    browser.wait_text("#choice strong", "near", 20)
    browser.wait("!document.querySelector('#alerts').innerText.includes('down')")
    assert complaints(browser) == []


def test_it_says_that_and_for_how_long_it_lost_the_edge(browser, proxy):
    open_page(browser, proxy)
    browser.wait_text("#link", "live")
    proxy.process.freeze()
    browser.wait_text("#link", "No answer from this edge for ", 15)
    assert browser.evaluate("document.querySelector('#page').classList.contains('stale')")
    first = browser.text("#link")
    browser.wait(f"document.querySelector('#link').innerText !== {json.dumps(first)}", 15)
    proxy.process.thaw()
    browser.wait("document.querySelector('#link').innerText === 'live'", 15)
    assert browser.text("#said") == "The edge answers again."


def test_pods_are_listed_one_by_one_only_when_few_or_not_well(browser, make_pod, make_proxy):
    pods = [make_pod(f"p{index}") for index in range(6)]
    proxy = make_proxy([region("near", pods)])
    open_page(browser, proxy)
    visible = "[...document.querySelectorAll('.pod')].filter(pod => pod.offsetHeight).length"
    assert browser.evaluate(visible) == 0
    assert "6 of 6 up" in browser.text(CARD.format(1))
    pods[2].kill()
    browser.wait(f"{visible} === 1")
    assert f"127.0.0.1:{pods[2].port} down" in browser.text(".pods")
    browser.click(".pod-box button[aria-expanded]")
    browser.wait(f"{visible} === 6")


# ---- operating ----

def test_a_region_is_drained_and_undrained_by_click(browser, proxy):
    open_page(browser, proxy)
    browser.click(CARD.format(1) + "header button")
    assert "New requests go to distant" in browser.text("#ask-text")
    browser.click("#ask-go")
    browser.wait_text(CARD.format(1) + ".condition", "drained")
    assert proxy.region("near")["state"] == "drained"
    browser.wait_text("#choice strong", "distant")
    assert re.search(r"drained for \d s, measured up", browser.text(CARD.format(1) + ".condition"))
    browser.click(CARD.format(1) + "header button")
    assert browser.text("#ask-go") == "Undrain"
    browser.click("#ask-go")
    browser.wait_text("#choice strong", "near")
    assert complaints(browser) == []


def test_a_pod_is_drained_by_click(browser, proxy, near):
    open_page(browser, proxy)
    browser.click(CARD.format(1) + ".pod:first-child button")
    browser.click("#ask-go")
    browser.wait_text(CARD.format(1) + ".pods", "drained")
    assert proxy.region("near")["endpoints"][0]["state"] == "drained"


def test_the_token_is_asked_for_and_a_wrong_one_is_told(browser, make_proxy, near):
    proxy = make_proxy([region("near", near)], admin={"token": "tops3cret"})
    open_page(browser, proxy)
    browser.click(CARD.format(1) + "header button")
    assert not browser.evaluate("document.querySelector('#ask-token').offsetHeight")
    browser.click("#ask-go")
    browser.wait_text("#ask-error", "wants its admin token")
    browser.type("guess")
    browser.press("Enter")
    browser.wait_text("#ask-error", "not this edge's admin token")
    assert proxy.region("near")["drained"] is False
    browser.type("tops3cret")
    browser.press("Enter")
    browser.wait("!document.querySelector('#ask').open")
    browser.wait_text(CARD.format(1) + ".condition", "drained")
    browser.click(CARD.format(1) + "header button")
    browser.click("#ask-go")  # the tab knows it by now
    browser.wait_text(CARD.format(1) + ".condition", "up")
    assert browser.evaluate("Object.keys(localStorage).length") == 0
    assert "tops3cret" not in browser.evaluate("document.documentElement.outerHTML")


def test_where_no_token_is_set_and_others_could_reach_it_the_page_says_why(browser, make_proxy,
                                                                           near):
    proxy = make_proxy([region("near", near)], admin={"bind": "0.0.0.0:0"})
    open_page(browser, proxy)
    browser.click(CARD.format(1) + "header button")
    browser.click("#ask-go")
    browser.wait_text("#ask-error", "No admin token is set at this edge")
    assert proxy.region("near")["drained"] is False


def test_all_of_it_works_by_keyboard(browser, proxy):
    """Tab to the skip link, to the first region's drain; Enter, Enter; Escape leaves the dialog."""
    open_page(browser, proxy)

    def focused():
        return browser.evaluate("document.activeElement.getAttribute('aria-label') || "
                                "document.activeElement.innerText")

    browser.press("Tab")
    assert focused() == "Skip to the regions"
    browser.press("Enter")
    browser.press("Tab")
    assert focused() == "Drain region near"
    browser.press("Enter")
    browser.wait("document.querySelector('#ask').open")
    browser.press("Escape")
    browser.wait("!document.querySelector('#ask').open")
    assert focused() == "Drain region near", "the focus is back where it was"
    browser.press("Enter")
    assert browser.text("#ask-go") == focused() == "Drain"
    browser.press("Enter")
    browser.wait_text(CARD.format(1) + ".condition", "drained")
    assert focused() == "Undrain region near"


# ---- how it looks and reads ----

CONTRAST = """(() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const pixel = (...colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const one of colours) { canvas.fillStyle = one; canvas.fillRect(0, 0, 1, 1); }
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
        .map((one) => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4)
        .reduce((sum, one, at) => sum + one * [.2126, .7152, .0722][at], 0);
    const faults = [];
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
        if (!own || !node.offsetHeight || node.closest('.unseen, script, style')) continue;
        const grounds = [];
        for (let up = node; up; up = up.parentElement) grounds.unshift(getComputedStyle(up).backgroundColor);
        const ground = pixel('#fff', ...grounds);
        const ink = pixel('#fff', ...grounds, getComputedStyle(node).color);
        const [low, high] = [light(ground), light(ink)].sort((a, b) => a - b);
        const ratio = (high + .05) / (low + .05);
        if (ratio < 4.5) faults.push(`${ratio.toFixed(2)} ${node.className} ${node.innerText}`);
    }
    return faults;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser, proxy, near, scheme):
    proxy.admin_post("/regions/distant/drain")
    near[0].kill()
    proxy.wait_region("near", "degraded")
    browser.prefer(scheme)
    open_page(browser, proxy)
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) > 128) == (scheme == "light")
    assert browser.evaluate(CONTRAST) == []


def test_the_colours_can_be_chosen_and_are_kept(browser, proxy):
    open_page(browser, proxy)
    theme = "document.documentElement.dataset.theme"
    browser.click("#theme")
    assert browser.evaluate(theme) == "light"
    browser.click("#theme")
    assert browser.evaluate(theme) == "dark"
    open_page(browser, proxy)
    assert browser.evaluate(theme) == "dark"
    browser.evaluate("localStorage.clear()")


def test_nothing_is_wider_than_a_phone(browser, make_pod, make_proxy):
    pods = [make_pod(f"p{index}") for index in range(3)]
    proxy = make_proxy([region(f"a-region-with-quite-a-long-name-{index}", pods)
                        for index in range(4)])
    browser.resize(360, 740, mobile=True)
    open_page(browser, proxy)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    assert browser.evaluate("[...document.querySelectorAll('main button')]"
                            ".filter(one => one.offsetHeight && one.offsetHeight < 40).length") == 0


def test_a_screen_reader_is_given_names_and_roles(browser, proxy):
    open_page(browser, proxy)
    browser.wait("[...document.querySelectorAll('.curve svg')].every("
                 "one => one.getAttribute('aria-label').includes(' to '))")
    given = browser.accessible()
    for wanted in [("banner", ""), ("main", ""), ("region", "Regions"), ("region", "Timeline"),
                   ("heading", "Timeline"), ("article", "near"), ("article", "distant"),
                   ("button", "Drain region near"), ("button", "Drain region distant"),
                   ("button", "Colours: as the system. Change."), ("button", "Pods too"),
                   ("status", ""), ("alert", ""), ("navigation", "For programs"),
                   ("link", "Skip to the regions"), ("rowheader", "near")]:
        assert wanted in given or wanted[0] in ("status", "alert") and \
            wanted[0] in [role for role, _ in given], wanted
    nameless = [role for role, name in given
                if role in ("button", "link", "image", "textbox", "article") and not name]
    assert nameless == []
    [curve, _] = [name for role, name in given if role == "image"]
    assert re.match(r"Path latency of the last minutes: .* to .*, budget 50 ms", curve)
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1


def test_without_scripts_there_are_plain_tables(browser, proxy, far):
    far.kill()
    proxy.wait_region("distant", "down")
    browser.run_scripts(False)
    browser.command("Page.navigate", url=f"http://127.0.0.1:{proxy.admin_port}/")

    def shown():
        return [name for role, name in browser.accessible() if role in ("cell", "StaticText")]
    wait_until(lambda: "near" in shown(), "a table")
    text = " ".join(shown())
    assert "New requests go to" in text and "refused" in text and "distant" in text
    browser.run_scripts(True)


def test_the_picture_in_the_readme_is_small():
    path = "docs/img/status-page.png"
    assert os.path.getsize(os.path.join(TOP, path)) < 200 * 1024
    assert path in open(os.path.join(TOP, "README.md")).read()
