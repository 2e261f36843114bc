# SPDX-License-Identifier: MIT
"""Strict JSON schemas of the Kubernetes objects in conf/kubernetes, written from the API reference
(v1.30) and KEDA's (v2.14). A field that is not named here is refused, so that a slip of spelling,
which an API server may drop without a word, is found. Kinds and fields that are not used here are
left out: add them when they are."""
import os

import jsonschema
import yaml

from .processes import TOP

FOLDER = os.path.join(TOP, "conf", "kubernetes")

TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
LABEL = {"type": "string", "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)$", "maxLength": 63}
SUBDOMAIN = {"type": "string", "maxLength": 253,
             "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}
PORT_NAME = {"type": "string", "pattern": r"^[a-z0-9-]*[a-z][a-z0-9-]*$", "maxLength": 15}
QUANTITY = {"type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
LABEL_VALUES = {"type": "object", "additionalProperties": {
    "type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"}}


def one_of(*words):
    return {"enum": list(words)}


def many(item, least=1):
    return {"type": "array", "items": item, "minItems": least}


def group(required=(), **fields):
    return {"type": "object", "additionalProperties": False, "required": list(required),
            "properties": fields}


def kind(api_version, name, namespaced=True, **fields):
    metadata = group(("name", "namespace") if namespaced else ("name",),
                     name=SUBDOMAIN, namespace=LABEL, labels=LABEL_VALUES, annotations=TEXTS)
    return group(["apiVersion", "kind", "metadata", *fields], apiVersion=one_of(api_version),
                 kind=one_of(name), metadata=metadata, **fields)


SELECTOR = group(["matchLabels"], matchLabels=LABEL_VALUES)
PORT_REF = {"anyOf": [PORT, PORT_NAME]}
SECRET_KEY = group(["name", "key"], name=SUBDOMAIN, key=TEXT, optional=FLAG)
ENV = {"oneOf": [group(["name", "value"], name=TEXT, value={"type": "string"}),
                 group(["name", "valueFrom"], name=TEXT,
                       valueFrom=group(["secretKeyRef"], secretKeyRef=SECRET_KEY))]}
PROBE = group(["httpGet"],
              httpGet=group(["port"], path=TEXT, port=PORT_REF, scheme=one_of("HTTP", "HTTPS"),
                            host=TEXT),
              initialDelaySeconds=COUNT, periodSeconds=POSITIVE, timeoutSeconds=POSITIVE,
              successThreshold=POSITIVE, failureThreshold=POSITIVE)
RESOURCES = {"type": "object", "additionalProperties": False,
             "properties": {"cpu": QUANTITY, "memory": QUANTITY}}
CONTAINER = group(
    ["name", "image"], name=LABEL, image=TEXT, imagePullPolicy=one_of("Always", "IfNotPresent",
                                                                      "Never"),
    command=many(TEXT), args=many(TEXT), env=many(ENV),
    ports=many(group(["containerPort"], name=PORT_NAME, containerPort=PORT,
                     protocol=one_of("TCP", "UDP", "SCTP"))),
    startupProbe=PROBE, livenessProbe=PROBE, readinessProbe=PROBE,
    lifecycle=group(preStop={"oneOf": [
        group(["sleep"], sleep=group(["seconds"], seconds=POSITIVE)),
        group(["exec"], exec=group(["command"], command=many(TEXT)))]}),
    resources=group(requests=RESOURCES, limits=RESOURCES),
    securityContext=group(
        allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG, privileged=FLAG,
        runAsNonRoot=FLAG, runAsUser=COUNT, runAsGroup=COUNT,
        capabilities=group(add=many(TEXT), drop=many(TEXT))),
    volumeMounts=many(group(["name", "mountPath"], name=LABEL, mountPath=TEXT, readOnly=FLAG,
                            subPath=TEXT)))
VOLUME = {"oneOf": [
    group(["name", "configMap"], name=LABEL,
          configMap=group(["name"], name=SUBDOMAIN, defaultMode=COUNT, optional=FLAG)),
    group(["name", "secret"], name=LABEL,
          secret=group(["secretName"], secretName=SUBDOMAIN, defaultMode=COUNT, optional=FLAG)),
    group(["name", "emptyDir"], name=LABEL, emptyDir=group(sizeLimit=QUANTITY))]}
POD = group(
    ["containers"], automountServiceAccountToken=FLAG, serviceAccountName=SUBDOMAIN,
    terminationGracePeriodSeconds=COUNT, priorityClassName=SUBDOMAIN, nodeSelector=TEXTS,
    topologySpreadConstraints=many(group(
        ["maxSkew", "topologyKey", "whenUnsatisfiable"], maxSkew=POSITIVE, topologyKey=TEXT,
        whenUnsatisfiable=one_of("DoNotSchedule", "ScheduleAnyway"), labelSelector=SELECTOR)),
    securityContext=group(runAsNonRoot=FLAG, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT,
                          seccompProfile=group(["type"], type=one_of("RuntimeDefault", "Unconfined",
                                                                     "Localhost"))),
    containers=many(CONTAINER), volumes=many(VOLUME))
BEHAVIOR_RULES = group(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy=one_of("Max", "Min", "Disabled"),
    policies=many(group(["type", "value", "periodSeconds"], type=one_of("Pods", "Percent"),
                        value=POSITIVE,
                        periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800})))
BEHAVIOR = group(scaleUp=BEHAVIOR_RULES, scaleDown=BEHAVIOR_RULES)
SCALE_TARGET = group(["kind", "name"], apiVersion=TEXT, kind=TEXT, name=SUBDOMAIN)
EXTERNAL_TARGET = {"oneOf": [
    group(["type", "value"], type=one_of("Value"), value=QUANTITY),
    group(["type", "averageValue"], type=one_of("AverageValue"), averageValue=QUANTITY)]}
KEDA_TRIGGER = {"oneOf": [
    group(["type", "metadata"], type=one_of("metrics-api"), name=TEXT,
          metricType=one_of("AverageValue", "Value"), authenticationRef=group(["name"], name=TEXT),
          metadata=group(["url", "valueLocation", "targetValue"],
                         url={"type": "string", "pattern": "^https?://"}, valueLocation=TEXT,
                         targetValue=QUANTITY, activationTargetValue=QUANTITY,
                         format=one_of("json", "xml", "yaml", "prometheus"),
                         unsafeSsl=one_of("true", "false"))),
    group(["type", "metadata"], type=one_of("prometheus"), name=TEXT,
          metricType=one_of("AverageValue", "Value"), authenticationRef=group(["name"], name=TEXT),
          metadata=group(["serverAddress", "query", "threshold"],
                         serverAddress={"type": "string", "pattern": "^https?://"}, query=TEXT,
                         threshold=QUANTITY, activationThreshold=QUANTITY,
                         ignoreNullValues=one_of("true", "false"),
                         unsafeSsl=one_of("true", "false")))]}

SCHEMAS = {
    "Namespace": kind("v1", "Namespace", namespaced=False),
    "ConfigMap": kind("v1", "ConfigMap", data=TEXTS),
    "Deployment": kind("apps/v1", "Deployment", spec=group(
        ["selector", "template"], replicas=COUNT, revisionHistoryLimit=COUNT,
        minReadySeconds=COUNT, progressDeadlineSeconds=COUNT, selector=SELECTOR,
        strategy=group(["type"], type=one_of("RollingUpdate", "Recreate"),
                       rollingUpdate=group(maxUnavailable=COUNT, maxSurge=COUNT)),
        template=group(["metadata", "spec"], spec=POD,
                       metadata=group(labels=LABEL_VALUES, annotations=TEXTS)))),
    "PodDisruptionBudget": kind("policy/v1", "PodDisruptionBudget", spec=group(
        ["selector"], minAvailable=COUNT, maxUnavailable=COUNT, selector=SELECTOR)),
    "Service": kind("v1", "Service", spec=group(
        ["ports"], type=one_of("ClusterIP", "NodePort", "LoadBalancer"), selector=LABEL_VALUES,
        clusterIP=TEXT, externalTrafficPolicy=one_of("Cluster", "Local"),
        ports=many(group(["port"], name=PORT_NAME, port=PORT, targetPort=PORT_REF,
                         protocol=one_of("TCP", "UDP", "SCTP"))))),
    "HorizontalPodAutoscaler": kind("autoscaling/v2", "HorizontalPodAutoscaler", spec=group(
        ["scaleTargetRef", "maxReplicas"], scaleTargetRef=SCALE_TARGET, minReplicas=POSITIVE,
        maxReplicas=POSITIVE, behavior=BEHAVIOR,
        metrics=many(group(["type", "external"], type=one_of("External"), external=group(
            ["metric", "target"], target=EXTERNAL_TARGET,
            metric=group(["name"], name=TEXT, selector=SELECTOR)))))),
    "APIService": kind("apiregistration.k8s.io/v1", "APIService", namespaced=False, spec=group(
        ["groupPriorityMinimum", "versionPriority"], group=SUBDOMAIN, version=LABEL,
        service=group(["name", "namespace"], name=LABEL, namespace=LABEL, port=PORT),
        groupPriorityMinimum={"type": "integer", "minimum": 1, "maximum": 20000},
        versionPriority={"type": "integer", "minimum": 1, "maximum": 1000},
        caBundle={"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$"},
        insecureSkipTLSVerify=FLAG)),
    "ScaledObject": kind("keda.sh/v1alpha1", "ScaledObject", spec=group(
        ["scaleTargetRef", "triggers"], scaleTargetRef=SCALE_TARGET, pollingInterval=POSITIVE,
        cooldownPeriod=COUNT, idleReplicaCount=COUNT, minReplicaCount=COUNT,
        maxReplicaCount=POSITIVE, triggers=many(KEDA_TRIGGER),
        fallback=group(["failureThreshold", "replicas"], failureThreshold=COUNT, replicas=COUNT),
        advanced=group(restoreToOriginalReplicaCount=FLAG,
                       horizontalPodAutoscalerConfig=group(name=SUBDOMAIN, behavior=BEHAVIOR)))),
}
KUSTOMIZATION = group(["apiVersion", "kind", "resources"], kind=one_of("Kustomization"),
                      apiVersion=one_of("kustomize.config.k8s.io/v1beta1"), resources=many(TEXT))


def validate(document):
    """Raise jsonschema.ValidationError unless it is a good object of a kind that is known here."""
    name = document.get("kind") if isinstance(document, dict) else None
    assert name in SCHEMAS, f"no schema of kind {name}"
    jsonschema.Draft7Validator(SCHEMAS[name]).validate(document)


def manifests():
    """(file, object) of every manifest but the kustomization."""
    for file in sorted(os.listdir(FOLDER)):
        if file.endswith(".yaml") and file != "kustomization.yaml":
            with open(os.path.join(FOLDER, file)) as text:
                for document in yaml.safe_load_all(text):
                    yield file, document


def find(kind_name, name=None):
    """The one object of that kind (and name)."""
    found = [document for _, document in manifests() if document["kind"] == kind_name and
             name in (None, document["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind_name} {name}"
    return found[0]
