"""Ranks of any pipeline x tensor x kv over pods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.planning.cluster import Cluster, minimal_spec

from vajra.config import VajraDeploymentSpec
from vajra.config.spec.cluster import ResourcesSection
from vajra.config.spec.model import ModelSection
from vajra.config.spec.serving import ParallelismSection
from vajra.operator.planning.layout import Layout, layout_of

SIZES = st.integers(1, 12)


def layout(pipeline: int, tensor: int, kv: int, gpus_per_pod: int | None = None) -> Layout:
    parallelism = ParallelismSection(pipeline=pipeline, tensor=tensor, kv=kv)
    resources = ResourcesSection(gpus_per_pod=gpus_per_pod)
    spec = VajraDeploymentSpec(model=ModelSection(name="m"), parallelism=parallelism, resources=resources)
    return layout_of(spec)


@given(SIZES, SIZES, SIZES)
def test_every_rank_has_one_pod_and_one_place(pipeline: int, tensor: int, kv: int) -> None:
    made = layout(pipeline, tensor, kv)
    ranks = [rank for pod in range(made.pods) for rank in made.ranks(pod)]
    assert ranks == list(range(pipeline * tensor * kv)) == list(range(made.world_size))
    places = [made.place(rank) for rank in ranks]
    assert sorted(set(places)) == places, "tensor innermost, kv in the middle, pipeline outermost"
    assert places[-1] == (pipeline - 1, kv - 1, tensor - 1)


@given(SIZES, SIZES, SIZES)
def test_no_tensor_group_straddles_pods_unevenly(pipeline: int, tensor: int, kv: int) -> None:
    made = layout(pipeline, tensor, kv)
    assert made.ranks_per_pod <= 8
    assert made.world_size % made.ranks_per_pod == 0
    assert tensor % made.ranks_per_pod == 0 or made.ranks_per_pod % tensor == 0


def test_gpus_per_pod_is_the_users_to_say() -> None:
    assert layout(2, 8, 1, gpus_per_pod=4).pods == 4


@pytest.mark.parametrize(("gpus_per_pod", "pods"), [(2, 4), (8, 1)])
def test_a_replica_becomes_pods(gpus_per_pod: int, pods: int) -> None:
    resources = {"accelerator": {"type": "GPU"}, "gpusPerPod": gpus_per_pod}
    parallelism = {"tensor": 2, "pipeline": 2, "kv": 2, "maxTokensPerKVGroup": 1024}
    worker = {"executionBackend": "Python"}
    cluster = Cluster(minimal_spec(resources=resources, parallelism=parallelism, worker=worker))
    cluster.settle()
    made = list(cluster.replica_pods().values())
    assert [pod["metadata"]["name"] for pod in made] == [f"llama-0-{index}" for index in range(pods)]
    containers = [pod["spec"]["containers"][0] for pod in made]
    environments = [{each["name"]: each.get("value") for each in container["env"]} for container in containers]
    assert ",".join(str(each["VAJRA_RANKS"]) for each in environments) == "0,1,2,3,4,5,6,7"
    assert {each["VAJRA_LEADER"] for each in environments} == {"llama-0-0.llama-ranks:8472"}
    assert all(each["resources"]["limits"] == {"nvidia.com/gpu": gpus_per_pod} for each in containers)
    assert cluster.status["resolved"]["worldSize"] == 8
    assert cluster.status["gpus"] == 8
