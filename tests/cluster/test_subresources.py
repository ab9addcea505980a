"""A VajraDeployment beyond its creation: changes of a union's type, status, scale, and what kubectl shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.cluster.deployments import MODEL, Deployments, RefusedError, manifest
from tests.cluster.kubectl import Kubectl, KubectlError

pytestmark = pytest.mark.usefixtures("crd")

FIXED = {"type": "FixedChunk", "fixedChunk": {"chunkSize": 512}}
DYNAMIC = {"type": "DynamicChunk"}
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "replicas": 2,
    "readyReplicas": 1,
    "updatedReplicas": 2,
    "availableReplicas": 1,
    "readySummary": "1/2",
    "selector": "vajra.ai/deployment=llama,vajra.ai/role=leader",
    "gpus": 16,
    "accelerator": "GPU",
    "currentRevision": "a",
    "updateRevision": "b",
    "endpoint": {"grpc": "llama.default.svc:8471", "openAI": "http://llama.default.svc:8000/v1"},
    "resolved": {
        "controller": "Base",
        "worldSize": 8,
        "podsPerReplica": 1,
        "gpusPerPod": 8,
        "configMapName": "llama-config",
    },
    "capacity": {"kvBlocks": 40960, "kvTokens": 655360, "maxConcurrentSequences": 128},
    "pendingChange": {"impact": "Recreate", "fields": ["spec.parallelism.tensor"]},
    "startup": {"totalSeconds": 93.5, "stages": [{"name": "Scheduling", "seconds": 2}]},
    "recovery": {
        "workerRestarts": 1,
        "groupRestarts": 1,
        "groups": [
            {
                "replica": 1,
                "revision": "a",
                "restarts": 1,
                "workerRestarts": 0,
                "podUID": "u",
                "lastRestartTime": "2026-01-01T00:00:00Z",
            }
        ],
        "lastFault": {
            "reason": "Stalled",
            "time": "2026-01-01T00:00:00Z",
            "replica": 1,
            "rank": 3,
            "nodeName": "n1",
            "action": "RecreateGroup",
            "message": "no step for 60 s",
        },
    },
    "revisions": [{"name": "a", "hash": "v1:a", "generation": 1, "createdTime": "2026-01-01T00:00:00Z"}],
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "LoadingWeights",
            "message": "1 of 2 replicas load their weights",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@pytest.mark.parametrize("side", ["client", "server"])
def test_apply_changes_the_type_of_a_union(kubectl: Kubectl, side: str) -> None:
    def apply(**spec: Any) -> dict[str, Any]:
        text = json.dumps(manifest({"model": MODEL} | spec))
        kubectl("apply", f"--server-side={str(side == 'server').lower()}", "-f", "-", stdin=text)
        found: dict[str, Any] = kubectl.get("vd", "llama")["spec"]["scheduler"]
        return found

    profile = {"profile": {"type": "Auto"}}
    assert apply() == {"type": "FixedChunk"} | profile
    assert apply(scheduler=DYNAMIC) == DYNAMIC | profile
    assert apply(scheduler=FIXED)["fixedChunk"] == {"chunkSize": 512, "maxBatchSize": 128}
    assert apply(scheduler=DYNAMIC) == DYNAMIC | profile
    assert apply() == {"type": "FixedChunk"} | profile


def test_a_patch_of_the_type_takes_the_old_member_away(deployments: Deployments) -> None:
    deployments.created({"model": MODEL, "scheduler": FIXED})
    with pytest.raises(RefusedError, match=r"take fixedChunk away \(in a patch, fixedChunk: null\)"):
        deployments.patched({"scheduler": DYNAMIC})
    assert (
        deployments.patched({"scheduler": DYNAMIC | {"fixedChunk": None}})["spec"]["scheduler"]["type"]
        == "DynamicChunk"
    )


def test_status_holds_all_that_the_operator_says(deployments: Deployments) -> None:
    created = deployments.created({"model": MODEL})
    reported = deployments.report(STATUS)
    assert reported["status"] == STATUS
    assert reported["metadata"]["generation"] == created["metadata"]["generation"]
    with pytest.raises(RefusedError, match=r'unknown field "status\.phase"'):
        deployments.report({"phase": "Running"})


def test_a_user_cannot_write_status_with_the_spec(deployments: Deployments) -> None:
    deployments.created({"model": MODEL})
    assert "status" not in deployments.patched({"replicas": 2})


def test_scale(kubectl: Kubectl, deployments: Deployments) -> None:
    deployments.created({"model": MODEL})
    deployments.report(STATUS)
    kubectl("scale", "vd/llama", "--replicas=3")
    path = f"/apis/vajra.ai/v1alpha1/namespaces/{kubectl.namespace}/vajradeployments/llama/scale"
    scale = json.loads(kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": STATUS["selector"]}
    assert kubectl.get("vd", "llama")["metadata"]["generation"] == 2
    with pytest.raises(KubectlError, match="less than or equal to 10000"):
        kubectl("scale", "vd/llama", "--replicas=10001")


def test_scaling_takes_no_field_from_an_applier_that_left_it_out(kubectl: Kubectl) -> None:
    kubectl.apply(manifest({"model": MODEL}))
    kubectl("scale", "vd/llama", "--replicas=3")
    kubectl.apply(manifest({"model": MODEL, "suspend": True}))
    assert kubectl.get("vd", "llama")["spec"]["replicas"] == 3


def test_what_kubectl_get_shows(kubectl: Kubectl, deployments: Deployments) -> None:
    deployments.created({"model": MODEL})
    deployments.report(STATUS)
    head, row = kubectl("get", "vd").splitlines()
    assert head.split() == ["NAME", "MODEL", "READY", "UP-TO-DATE", "SCHEDULER", "STATUS", "AGE"]
    assert row.split()[:6] == ["llama", MODEL["name"], "1/2", "2", "FixedChunk", "LoadingWeights"]
    head, row = kubectl("get", "vajra", "-o", "wide").splitlines()
    assert head.split()[7:] == ["PRIORITIZER", "GPUS", "ACCELERATOR", "ENDPOINT"]
    assert row.split()[7:] == ["FCFS", "16", "GPU", "llama.default.svc:8471"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (f"spec.model.name={MODEL['name']}", True),
        ("spec.model.name=other", False),
        ("spec.scheduler.type=FixedChunk", True),
        ("spec.resources.accelerator.type=CPU", False),
    ],
)
def test_selectable_fields(kubectl: Kubectl, deployments: Deployments, selector: str, found: bool) -> None:
    deployments.created({"model": MODEL})
    assert bool(kubectl("get", "vd", "--field-selector", selector, "-o", "name")) is found
