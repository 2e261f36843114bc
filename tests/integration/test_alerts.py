# SPDX-License-Identifier: MIT
"""Alerts and the dashboard: every expression parses, and asks for metrics that there are."""
import json
import os

import pytest
import yaml
from env.conf import region
from env.processes import TOP
from env.prometheus import ALERT_TESTS, ALERTS, names_in, promtool

DASHBOARD = os.path.join(TOP, "conf", "grafana", "nearside.json")


def load(path):
    with open(path) as file:
        return yaml.safe_load(file)


def rules():
    return [rule for group in load(ALERTS)["groups"] for rule in group["rules"]]


def dashboard():
    with open(DASHBOARD) as file:
        return json.load(file)


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@pytest.fixture
def families(make_proxy, make_pod):
    """The names of all families, counted or not yet."""
    proxy = make_proxy([region("near", make_pod("a"))])
    return set(proxy.metrics().types)


def test_alerts_are_good_rules():
    promtool("check", "rules", ALERTS)


def test_the_sample_configuration_of_prometheus_is_good():
    promtool("check", "config", os.path.join(TOP, "conf", "prometheus", "prometheus.yml"))


def test_each_alert_fires_and_is_silent_as_it_should():
    promtool("test", "rules", ALERT_TESTS)


def test_no_alert_is_without_a_test_of_both():
    tests = {test["name"]: test["promql_expr_test"] for test in load(ALERT_TESTS)["tests"]}
    assert sorted(tests) == sorted(rule["alert"] for rule in rules())
    for name, steps in tests.items():
        assert all(name in step["expr"] for step in steps)
        assert {bool(step.get("exp_samples")) for step in steps} == {True, False}, name


def test_alerts_ask_for_metrics_that_there_are(families):
    for rule in rules():
        assert names_in(rule["expr"]) <= families, rule["alert"]


def test_every_alert_says_what_happened_and_where_to_read_on():
    for rule in rules():
        assert {"summary", "description", "runbook"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_the_runbook_has_a_part_for_every_alert():
    with open(os.path.join(TOP, "docs", "operations.md")) as file:
        text = file.read()
    missing = [rule["alert"] for rule in rules() if f"**{rule['alert']}**" not in text]
    assert not missing


def test_panels_ask_for_metrics_that_there_are(families):
    for panel in panels():
        for target in panel["targets"]:
            assert names_in(target["expr"]), panel["title"]
            assert names_in(target["expr"]) <= families, panel["title"]


def test_the_expressions_of_all_panels_parse(tmp_path):
    """By promtool, as recording rules; Grafana's variables stand for what it would put there."""
    expressions = [target["expr"].replace("$__rate_interval", "1m").replace("$region", ".*")
                   for panel in panels() for target in panel["targets"]]
    expressions += [note["expr"] for note in dashboard()["annotations"]["list"]]
    assert not any("$" in expression for expression in expressions)
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expressions)]}]}))
    promtool("check", "rules", str(path))


def test_the_dashboard_is_laid_out_without_overlaps():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_take_the_data_source_that_the_user_picks():
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
