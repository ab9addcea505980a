"""How the ranks of one replica are laid out: which rank is what, and which pod has which ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vajra.config import VajraDeploymentSpec

_MOST_RANKS_PER_POD = 8  # where the spec leaves it open: the GPUs of a common machine


class Place(NamedTuple):
    """What a rank does: its pipeline stage, KV group and tensor slice."""

    pipeline: int
    kv: int
    tensor: int


@dataclass(frozen=True)
class Layout:
    """pipeline x tensor x kv ranks, spread evenly over pods: tensor innermost, kv in the middle, pipeline outermost."""

    pipeline: int
    tensor: int
    kv: int
    ranks_per_pod: int

    @property
    def world_size(self) -> int:
        """Ranks of a replica."""
        return self.pipeline * self.tensor * self.kv

    @property
    def pods(self) -> int:
        """Pods of a replica."""
        return self.world_size // self.ranks_per_pod

    def ranks(self, pod: int) -> range:
        """The ranks of a pod."""
        return range(pod * self.ranks_per_pod, (pod + 1) * self.ranks_per_pod)

    def place(self, rank: int) -> Place:
        """What a rank does."""
        outer, tensor = divmod(rank, self.tensor)
        pipeline, kv = divmod(outer, self.kv)
        return Place(pipeline, kv, tensor)


def layout_of(spec: VajraDeploymentSpec) -> Layout:
    """The layout of a spec that keeps the rules of `vajra.config`."""
    parallel = spec.parallelism
    world = parallel.pipeline * parallel.tensor * parallel.kv
    per_pod = spec.resources.gpus_per_pod or _ranks_per_pod(world, parallel.tensor)
    return Layout(parallel.pipeline, parallel.tensor, parallel.kv, per_pod)


def _ranks_per_pod(world: int, tensor: int) -> int:
    """The most that divide the world and neither split a tensor group unevenly nor put a part of one into a pod."""
    return next(
        ranks
        for ranks in range(min(world, _MOST_RANKS_PER_POD), 0, -1)
        if world % ranks == 0 and (tensor % ranks == 0 or ranks % tensor == 0)
    )
