"""What the pods are made of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.operator.planning.cluster import Cluster, Object, minimal_spec, parallel_spec


def pods_of(**fields: Any) -> tuple[Object, Object]:
    """The specs of a replica's and of a gateway's pod."""
    cluster = Cluster(minimal_spec(**fields))
    cluster.settle()
    deployment = cluster.objects["Deployment", "llama-gateway"]
    return cluster.objects["Pod", "llama-0-0"]["spec"], deployment["spec"]["template"]["spec"]


def environment(spec: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in spec["containers"][0]["env"]}


def mounts(spec: Object) -> dict[str, Object]:
    """What is mounted where: the volume, by the path."""
    volumes = {each["name"]: each for each in spec["volumes"]}
    return {each["mountPath"]: volumes[each["name"]] for each in spec["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize("role", [0, 1], ids=["replica", "gateway"])
def test_pods_keep_the_restricted_standard(role: int) -> None:
    spec = pods_of()[role]
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    written = [path for path, volume in mounts(spec).items() if "emptyDir" in volume]
    assert {"/tmp", "/vajra/cache"} <= set(written)


def test_probes_ask_for_three_services() -> None:
    for spec in pods_of():
        container = spec["containers"][0]
        assert container["startupProbe"]["grpc"] == {"port": 8472, "service": "startup"}
        assert container["readinessProbe"]["grpc"] == {"port": 8472}
        assert container["livenessProbe"]["grpc"] == {"port": 8472, "service": "liveness"}
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 86400, "no fixed time to load in"


def test_the_grace_follows_from_the_drain() -> None:
    for spec in pods_of(drain={"timeoutSeconds": 7, "endpointGraceSeconds": 100}):
        assert spec["terminationGracePeriodSeconds"] >= 107


HUB = {"name": "org/model", "dtype": "Auto"}


def test_a_hub_with_a_token() -> None:
    source = {"type": "HuggingFace", "huggingFace": {"endpoint": "http://hub.local"}}
    model = HUB | {"tokenSecretRef": {"name": "hub", "key": "token"}, "source": source}
    for spec in pods_of(model=model):
        assert environment(spec)["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
        assert environment(spec)["HF_ENDPOINT"] == "http://hub.local"


def test_api_keys_are_for_gateways_alone() -> None:
    for ref, key in (({"name": "keys"}, "api-keys.yaml"), ({"name": "keys", "key": "k"}, "k")):
        replica, gateway = pods_of(model=HUB, networking={"apiKeysSecretRef": ref})
        file = Path(environment(gateway)["VAJRA_API_KEYS_FILE"])
        secret = {"secretName": "keys", "items": [{"key": key, "path": file.name}]}
        assert mounts(gateway)[str(file.parent)] == {"name": "api-keys", "secret": secret}
        assert "VAJRA_API_KEYS_FILE" not in environment(replica)
        assert not any("secret" in volume for volume in replica["volumes"])


@pytest.mark.parametrize(
    ("source", "path", "volume"),
    [
        (
            {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "models", "path": "/a"}},
            "/vajra/model",
            {"persistentVolumeClaim": {"claimName": "models"}},
        ),
        (
            {"type": "Image", "image": {"reference": "registry.example/m:1"}},
            "/vajra/model",
            {"image": {"reference": "registry.example/m:1", "pullPolicy": "IfNotPresent"}},
        ),
        ({"type": "HostPath", "hostPath": {"path": "/models/m"}}, "/models/m", {"hostPath": {"path": "/models/m"}}),
    ],
    ids=["claim", "image", "host"],
)
def test_sources_that_are_volumes(source: Object, path: str, volume: Object) -> None:
    for spec in pods_of(model=HUB | {"source": source}):
        assert mounts(spec)[path] == {"name": "model", **volume}
        assert next(each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "model")["readOnly"]


@pytest.mark.parametrize(
    ("cache", "volume"),
    [
        ({"type": "EmptyDir", "emptyDir": {"sizeLimit": "9Gi"}}, {"emptyDir": {"sizeLimit": "9Gi"}}),
        (
            {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c", "prefetch": False}},
            {"persistentVolumeClaim": {"claimName": "c"}},
        ),
        (
            {"type": "HostPath", "hostPath": {"path": "/cache"}},
            {"hostPath": {"path": "/cache", "type": "DirectoryOrCreate"}},
        ),
    ],
    ids=["empty", "claim", "host"],
)
def test_caches(cache: Object, volume: Object) -> None:
    replica, gateway = pods_of(model=HUB | {"cache": cache})
    assert mounts(replica)["/vajra/cache"] == {"name": "cache", **volume}
    assert mounts(gateway)["/vajra/cache"] == {"name": "cache", "emptyDir": {}}, "gateways have their own"


@pytest.mark.parametrize(
    ("profile", "volume", "path"),
    [
        (
            {"type": "HostPath", "hostPath": {"path": "/srv/profiles/llama"}},
            {"hostPath": {"path": "/srv/profiles/llama"}},
            "/vajra/profile",
        ),
        (
            {"type": "ConfigMap", "configMap": {"name": "times", "key": "l4.json"}},
            {"configMap": {"name": "times", "items": [{"key": "l4.json", "path": "l4.json"}]}},
            "/vajra/profile/l4.json",
        ),
    ],
    ids=["host", "config map"],
)
def test_a_profile_is_mounted_in_every_pod_of_a_replica(profile: Object, volume: Object, path: str) -> None:
    cluster = Cluster(parallel_spec(scheduler={"type": "DynamicChunk", "profile": profile}))
    cluster.settle()
    for name in ("llama-0-0", "llama-0-1"):
        spec = cluster.objects["Pod", name]["spec"]
        assert environment(spec)["VAJRA_PROFILE"] == path
        assert mounts(spec)["/vajra/profile"] == {"name": "profile", **volume}
        (mount,) = (each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "profile")
        assert mount["readOnly"] is True
    gateway = cluster.objects["Deployment", "llama-gateway"]["spec"]["template"]["spec"]
    assert "VAJRA_PROFILE" not in environment(gateway), "replicas tell gateways what they need of it"
    assert "/vajra/profile" not in mounts(gateway)


def test_a_profile_that_is_measured_is_kept_in_the_cache_of_the_model() -> None:
    cache = {"type": "HostPath", "hostPath": {"path": "/cache"}}
    replica, _ = pods_of(model=HUB | {"cache": cache}, scheduler={"type": "DynamicChunk"})
    assert "VAJRA_PROFILE" not in environment(replica)
    assert mounts(replica)[environment(replica)["VAJRA_CACHE"]]["hostPath"]["path"] == "/cache"


def test_shared_memory_and_resources() -> None:
    resources = {"accelerator": {"type": "CPU"}, "cpu": 4, "memory": "8Gi", "sharedMemory": "1Gi"}
    replica, gateway = pods_of(resources=resources)
    assert mounts(replica)["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    amounts = {"cpu": 4, "memory": "8Gi"}
    assert replica["containers"][0]["resources"] == {"requests": amounts, "limits": amounts}
    assert "/dev/shm" not in mounts(gateway)


def test_a_claim_template_stands_for_the_gpus() -> None:
    resources = {"accelerator": {"type": "GPU"}, "claimTemplateName": "gpus"}
    replica, _ = pods_of(resources=resources, worker={"executionBackend": "Python"})
    assert replica["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": "gpus"}]
    assert replica["containers"][0]["resources"] == {"claims": [{"name": "gpus"}]}


def test_a_pod_template_is_merged_by_name() -> None:
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [
                {"name": "worker", "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "HOME", "value": "/x"}]},
                {"name": "gateway", "resources": {"limits": {"memory": "1Gi"}}},
                {"name": "logs", "image": "registry.example/logs:1"},
            ],
        },
    }
    replica, gateway = pods_of(podTemplate=template)
    assert [each["name"] for each in replica["containers"]] == ["worker", "logs"]
    assert [each["name"] for each in gateway["containers"]] == ["gateway", "logs"]
    assert environment(replica)["NCCL_DEBUG"] == "INFO"
    assert environment(replica)["HOME"] == "/x"
    assert environment(replica)["VAJRA_REVISION"].startswith("v1-")
    assert "NCCL_DEBUG" not in environment(gateway)
    assert gateway["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }
    assert replica["nodeSelector"] == {"pool": "gpu"}
    assert {each["key"] for each in replica["tolerations"]} >= {"gpu", "node.kubernetes.io/unreachable"}
    assert mounts(replica)["/tmp"]["emptyDir"] == {"sizeLimit": "1Gi"}


def test_labels_of_a_template_are_added_to_ours() -> None:
    cluster = Cluster(minimal_spec(podTemplate={"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}))
    cluster.settle()
    metadata = cluster.objects["Pod", "llama-0-0"]["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"]["vajra.ai/deployment"] == "llama"
    assert metadata["annotations"] == {"note": "b"}


def test_replicas_of_several_pods_keep_close_and_to_themselves() -> None:
    topology = {"requiredKey": "rack", "preferredKey": "switch"}
    cluster = Cluster(parallel_spec(replicas=2, placement={"topology": topology}))
    cluster.settle()
    affinity = cluster.objects["Pod", "llama-1-1"]["spec"]["affinity"]["podAffinity"]
    required = affinity["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert required["topologyKey"] == "rack"
    own = {"vajra.ai/deployment": "llama", "vajra.ai/replica-index": "1"}
    assert required["labelSelector"] == {"matchLabels": own}
    policy = cluster.objects["NetworkPolicy", "llama-group-1"]["spec"]
    assert policy["podSelector"] == {"matchLabels": own}
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": own}}]}]
    cluster.change(replicas=1)
    cluster.settle()
    assert ("NetworkPolicy", "llama-group-0") in cluster.objects
    assert ("NetworkPolicy", "llama-group-1") not in cluster.objects


def test_a_network_policy_goes_when_it_is_not_wanted() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    assert ("NetworkPolicy", "llama") in cluster.objects
    theirs = copy.deepcopy(cluster.objects["NetworkPolicy", "llama"])
    theirs["metadata"] = {"name": "theirs", "labels": theirs["metadata"]["labels"], "uid": "u"}
    cluster.objects["NetworkPolicy", "theirs"] = theirs
    cluster.change(networking={"networkPolicy": "Disabled"})
    cluster.settle()
    assert ("NetworkPolicy", "llama") not in cluster.objects
    assert ("NetworkPolicy", "theirs") in cluster.objects


def test_everything_belongs_to_the_deployment() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    for (kind, name), item in cluster.objects.items():
        assert item["metadata"]["labels"]["vajra.ai/deployment"] == "llama"
        if not name.startswith("llama-gateway-"):  # those pods belong to their Deployment
            owner = item["metadata"]["ownerReferences"][0]
            assert (owner["kind"], owner["uid"], owner["controller"]) == ("VajraDeployment", "cr-1", True), kind
