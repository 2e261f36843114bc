# SPDX-License-Identifier: MIT
"""conf/kubernetes: good objects that fit each other, and a config that Nearside takes."""
import copy
import json
import os
import re
import subprocess
import urllib.parse

import jsonschema
import pytest
import yaml
from env import kubernetes
from env.kubernetes import FOLDER, KUSTOMIZATION, find, manifests, validate
from env.prometheus import promtool
from env.processes import TOP, binary
from env.conf import region

METRICS = {"dcgm_gpu_utilization": ("Value", "75"), "llm_pending_requests": ("AverageValue", "10")}
BEHAVIOR = {
    "scaleUp": {"stabilizationWindowSeconds": 60,
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
    "scaleDown": {"stabilizationWindowSeconds": 300,
                  "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}}


def pod():
    return find("Deployment")["spec"]["template"]


def container():
    one, = pod()["spec"]["containers"]
    return one


def config_text():
    return find("ConfigMap")["data"]["nearside.conf"]


def keda(file):
    return next(document for name, document in manifests() if name == file)


# ---- each by itself ----


@pytest.mark.parametrize("file, document", [
    pytest.param(file, document, id=f"{file}:{document['kind']}") for file, document in manifests()])
def test_a_manifest_is_a_good_object_of_its_kind(file, document):
    validate(document)


def slips(node, path=()):
    """Every place of an object where a name could be mistyped or a value be of another type."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path + (key,)
            yield from slips(value, path + (key,))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from slips(value, path + (index,))


def is_free(path):
    """Labels, annotations and data take any name."""
    return any(part in ("labels", "matchLabels", "annotations", "data", "selector")
               for part in path[:-1])


def test_the_schemas_find_a_slip_in_any_name():
    for _, document in manifests():
        for path in slips(document):
            if is_free(path):
                continue
            broken = copy.deepcopy(document)
            node = broken
            for part in path[:-1]:
                node = node[part]
            node[f"{path[-1]}X"] = node.pop(path[-1])
            with pytest.raises((jsonschema.ValidationError, AssertionError)):
                validate(broken)


@pytest.mark.parametrize("kind, path, value", [
    ("Deployment", ["spec", "replicas"], "2"),
    ("HorizontalPodAutoscaler", ["spec", "maxReplicas"], 0),
    ("HorizontalPodAutoscaler", ["spec", "metrics", 0, "external", "target", "value"], 75),
    ("HorizontalPodAutoscaler", ["spec", "behavior", "scaleUp", "policies", 0, "type"], "Pod"),
    ("APIService", ["spec", "versionPriority"], 0),
    ("PodDisruptionBudget", ["apiVersion"], "policy/v1beta1"),
])
def test_the_schemas_find_a_wrong_value(kind, path, value):
    document = copy.deepcopy(find(kind))
    node = document
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_the_kustomization_names_what_is_there_and_one_server_of_external_metrics():
    with open(os.path.join(FOLDER, "kustomization.yaml")) as file:
        document = yaml.safe_load(file)
    jsonschema.validate(document, KUSTOMIZATION)
    there = {file for file, _ in manifests()}
    assert set(document["resources"]) == {name for name in there if not name.startswith("keda")}


# ---- what belongs together ----


def test_services_and_budget_select_the_pods():
    labels = pod()["metadata"]["labels"].items()
    for document in (find("Service", "nearside"), find("Service", "nearside-admin")):
        assert document["spec"]["selector"].items() <= labels
    for spec in (find("Deployment")["spec"], find("PodDisruptionBudget")["spec"],
                 *pod()["spec"]["topologySpreadConstraints"]):
        chosen = spec.get("selector") or spec["labelSelector"]
        assert chosen["matchLabels"].items() <= labels


def test_ports_have_the_same_numbers_and_names_everywhere():
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    binds = [int(port) for port in re.findall(r'bind = "[^"]*:([0-9]+)"', config_text())]
    assert binds == [ports["http"], ports["admin"]]
    for _, document in manifests():
        if document["kind"] == "Service":
            assert all(port["targetPort"] in ports for port in document["spec"]["ports"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container()[probe]["httpGet"]["port"] == "admin"
        assert container()[probe]["httpGet"]["scheme"] == "HTTPS"
    assert pod()["metadata"]["annotations"]["prometheus.io/port"] == str(ports["admin"])


def test_volumes_files_and_secrets_are_where_the_config_says():
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    assert container()["command"][-1] == f"{mounts['config']}/nearside.conf"
    assert volumes["config"]["configMap"]["name"] == find("ConfigMap")["metadata"]["name"]
    assert f'"{mounts["admin-tls"]}/tls.crt"' in config_text()
    asked = set(re.findall(r'"env:([A-Z_]+)"', config_text()))
    assert asked == {item["name"] for item in container()["env"]}


def test_pods_are_as_restricted_as_they_can_be():
    security = container()["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod()["spec"]["securityContext"]["runAsNonRoot"]
    assert pod()["spec"]["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert pod()["spec"]["automountServiceAccountToken"] is False
    assert find("Deployment")["spec"]["replicas"] >= 2


def test_a_pod_is_given_the_time_to_drain():
    drain = int(re.search(r"drain_timeout_s = ([0-9]+)", config_text()).group(1))
    leave = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    unready = container()["readinessProbe"]
    assert pod()["spec"]["terminationGracePeriodSeconds"] >= leave + drain + 5
    assert leave >= unready["periodSeconds"] * unready["failureThreshold"]


def test_the_config_map_is_a_config_that_nearside_takes(tmp_path, authority):
    served = authority.issue("nearside-admin")
    text = config_text()
    for name, path in (("tls.crt", served.cert), ("tls.key", served.key)):
        assert f"/etc/nearside-tls/{name}" in text
        text = text.replace(f"/etc/nearside-tls/{name}", path)
    path = tmp_path / "nearside.conf"
    path.write_text(text)
    done = subprocess.run([binary("NEARSIDE_BIN", "build/nearside"), "-t", "-c", str(path)],
                          env={**os.environ, "NEARSIDE_ADMIN_TOKEN": "x", "REDIS_PASSWORD": "y"},
                          capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


# ---- scaling ----


def scalers():
    """(kind, min, max, target, behavior) of all three."""
    hpa = find("HorizontalPodAutoscaler")
    yield (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"], hpa["spec"]["scaleTargetRef"],
           hpa["spec"]["behavior"], hpa["metadata"]["name"], hpa["metadata"]["namespace"])
    for file in ("keda-metrics-api.yaml", "keda-prometheus.yaml"):
        spec = keda(file)["spec"]
        inner = spec["advanced"]["horizontalPodAutoscalerConfig"]
        yield (spec["minReplicaCount"], spec["maxReplicaCount"], spec["scaleTargetRef"],
               inner["behavior"], inner["name"], keda(file)["metadata"]["namespace"])


def test_all_scalers_keep_the_same_policy():
    for least, most, _, behavior, name, _ in scalers():
        assert (least, most) == (2, 20)
        assert behavior == BEHAVIOR
        assert name == "inference-us-east", "the alert on GPUs at the maximum goes by it"
    assert len({json.dumps(scaler[2], sort_keys=True) + scaler[5] for scaler in scalers()}) == 1


def test_the_autoscaler_asks_for_signals_that_are_served(make_proxy, make_pod):
    proxy = make_proxy([region("us-east", make_pod("a"))])
    served = proxy.admin("GET", "/apis/external.metrics.k8s.io/v1beta1").json()["resources"]
    asked = {}
    for metric in find("HorizontalPodAutoscaler")["spec"]["metrics"]:
        external = metric["external"]
        target = external["target"]
        asked[external["metric"]["name"]] = (target["type"], target.get("value") or
                                             target["averageValue"])
        assert external["metric"]["selector"]["matchLabels"] == {"region": "us-east"}
    assert asked == METRICS
    assert set(asked) <= {resource["name"] for resource in served}
    assert 'name = "us-east"' in config_text()


def test_kedas_metrics_api_triggers_find_their_value(make_proxy, make_pod, make_origin):
    def handler(peer, line, headers):
        text = b"DCGM_FI_DEV_GPU_UTIL 42\n"
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        return False

    proxy = make_proxy([region("us-east", make_pod("a"), exporters=[make_origin(handler).url])],
                       metrics={"interval_ms": 100})
    proxy.wait_metric("dcgm_gpu_utilization", {"region": "us-east"}, 42)
    found = {}
    service = find("Service", "nearside-admin")["metadata"]
    for trigger in keda("keda-metrics-api.yaml")["spec"]["triggers"]:
        url = urllib.parse.urlsplit(trigger["metadata"]["url"])
        assert url.hostname == f"{service['name']}.{service['namespace']}.svc"
        value = proxy.admin("GET", f"{url.path}?{url.query}").json()
        for part in trigger["metadata"]["valueLocation"].split("."):
            value = value[int(part) if part.isdigit() else part]
        metric = url.path.rsplit("/", 1)[1]
        found[metric] = (trigger["metricType"], trigger["metadata"]["targetValue"])
        assert value == {"dcgm_gpu_utilization": "42", "llm_pending_requests": "0"}[metric]
    assert found == METRICS


def test_kedas_prometheus_triggers_are_good_queries_of_our_metrics(tmp_path):
    triggers = keda("keda-prometheus.yaml")["spec"]["triggers"]
    found = {re.search(r"[a-z_]+(?=\{)", trigger["metadata"]["query"]).group():
             (trigger["metricType"], trigger["metadata"]["threshold"]) for trigger in triggers}
    assert found == METRICS
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "keda", "rules": [
        {"record": f"keda:{i}", "expr": trigger["metadata"]["query"]}
        for i, trigger in enumerate(triggers)]}]}))
    promtool("check", "rules", str(path))


def test_the_api_service_leads_to_the_admin_port_and_to_the_group_that_is_served(make_proxy,
                                                                                 make_pod):
    document = find("APIService")
    spec = document["spec"]
    assert document["metadata"]["name"] == f"{spec['version']}.{spec['group']}"
    service = find("Service", spec["service"]["name"])
    assert service["metadata"]["namespace"] == spec["service"]["namespace"]
    assert [port["targetPort"] for port in service["spec"]["ports"]
            if port["port"] == spec["service"]["port"]] == ["admin"]
    assert not spec.get("insecureSkipTLSVerify")
    proxy = make_proxy([region("us-east", make_pod("a"))])
    answer = proxy.admin("GET", f"/apis/{spec['group']}/{spec['version']}")
    assert answer.json()["groupVersion"] == f"{spec['group']}/{spec['version']}"


def test_the_page_on_kubernetes_names_every_file():
    with open(os.path.join(TOP, "docs", "kubernetes.md")) as file:
        text = file.read()
    assert not [file for file, _ in manifests() if file not in text]
    assert kubernetes.SCHEMAS.keys() >= {document["kind"] for _, document in manifests()}
