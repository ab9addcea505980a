"""The rules of a replica's scheduler: made of settings and execution times, in force together or not at all."""

from __future__ import annotations

import dataclasses
import hashlib

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    FixedChunkReplicaSchedulerConfig,
    SchedulerConfig,
    UpdateRefused,
    VajraDeployment,
)
from vajra.prediction import FittedPredictor, LearnedPredictor, PrefillTable
from vajra.scheduling import Batch, chunk_alone, ordering_of, policies

_PROBE = 256  # tokens of the chunk by which learned times are seen to change
_CHANGE = 1.1  # a factor of so much makes new prefill times
_LEARNED = (
    "execution times are learned from this replica's own steps, for no profile of this model and machine is cached: "
    "`vajra profile` measures one, which the next start takes"
)


class Rules:
    """A policy, a prioritizer, a predictor, and prefill times where the prioritizer looks at them."""

    def __init__(
        self,
        deployment: VajraDeployment,
        started: VajraDeployment,
        predictor: FittedPredictor | LearnedPredictor,
        max_len: int,
    ) -> None:
        """`started` is what the engine's buffers were made for. Raises UpdateRefused for what they cannot hold."""
        config, self.notices = _within_buffers(deployment, started.replica_config.scheduler_config)
        self.predictor = predictor
        self._config, self._max_len, self._probed = config, max_len, 0.0
        self.times = self._prefill_times() if deployment.needs_prefill_times else None
        self.times_name = _name(self.times)  # of the times without their scale; empty without any
        self.prioritizer = ordering_of(deployment, self.times)
        self.policy = policies.create(config, self.prioritizer)
        if deployment.predicts and isinstance(predictor, LearnedPredictor):
            self.notices.append(_LEARNED)

    def observe(self, batch: Batch, seconds: float) -> None:
        """A step took so long: predictions follow, and prefill times with them."""
        predictor = self.predictor
        assert batch.time is not None
        batch.time.observe(seconds)
        if self.times is None:
            return
        self.times.scale = predictor.scale
        if isinstance(predictor, LearnedPredictor) and self._have_changed():
            self.times.replace(self._prefill_times())
            self.times_name = _name(self.times)

    def _prefill_times(self) -> PrefillTable:
        predictor = self.predictor
        self._probed = self._probe()
        table = PrefillTable.build(predictor, chunk_alone(self._config, predictor, self._max_len), self._max_len)
        return PrefillTable((s / predictor.scale for s in table.seconds), table.stride, predictor.scale)

    def _probe(self) -> float:
        return self.predictor.batch().with_chunk(_PROBE, self._max_len // 2, False)

    def _have_changed(self) -> bool:
        return not 1 / _CHANGE < self._probe() / self._probed < _CHANGE


def _name(times: PrefillTable | None) -> str:
    return hashlib.sha256(times.seconds).hexdigest()[:16] if times is not None else ""


def _within_buffers(deployment: VajraDeployment, started: SchedulerConfig) -> tuple[SchedulerConfig, list[str]]:
    """The scheduler's configuration within what the engine's buffers hold, and notices of what they cut off.

    A fixed chunk is what a user asks for, so a larger one is refused; the bounds of a timed one are only bounds."""
    config = deployment.replica_config.scheduler_config
    section = f"spec.scheduler.{config.type_name[:1].lower()}{config.type_name[1:]}"
    tokens = "chunkSize" if isinstance(config, FixedChunkReplicaSchedulerConfig) else "maxChunkTokens"
    bounds = {
        "maxBatchSize": (started.max_batch_size, config.max_batch_size),
        tokens: (started.max_batch_tokens, config.max_batch_tokens),
    }
    over = [
        f"{section}.{name} is {value}: the engine's buffers were made for at most {limit} when the replica started"
        for name, (limit, value) in bounds.items()
        if value > limit
    ]
    if not over:
        return config, []
    if not isinstance(config, DynamicChunkReplicaSchedulerConfig):
        raise UpdateRefused(f"{'; '.join(over)}. Stay within that, or restart the replica with the new settings.")
    most = min(started.max_batch_tokens, config.max_chunk_size_param)
    within = dataclasses.replace(
        config,
        max_batch_size=min(started.max_batch_size, config.max_batch_size),
        max_chunk_size_param=most,
        min_chunk_size_param=min(config.min_chunk_size_param, most),
    )
    return within, [f"{line}; until it starts again, that is the bound" for line in over]
