"""Turns what happens to requests into metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vajra.gateway.api_keys import Tenant
from vajra.gateway.choice import Choice
from vajra.gateway.dispatcher import Dispatcher
from vajra.gateway.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    DuplicateRequest,
    InvalidRequest,
    Overloaded,
    RequestError,
    Unavailable,
    UnknownModel,
)
from vajra.gateway.generation import Generation
from vajra.gateway.replica_link import ReplicaLink, ReplicaState
from vajra.metrics import ReplicaSample, ServingMetrics

_OUTCOMES: tuple[tuple[type[RequestError], str], ...] = (
    (InvalidRequest, "invalid"),
    (UnknownModel, "invalid"),
    (DuplicateRequest, "invalid"),
    (Overloaded, "overloaded"),
    (Unavailable, "unavailable"),
    (DeadlineExceeded, "deadline"),
    (ClientTooSlow, "slow_client"),
)


class Observation:
    """The dispatcher's observer, and the account of every request."""

    def __init__(self, model: str) -> None:
        self.metrics = ServingMetrics(model, [state.value for state in ReplicaState])

    def first_token(self, choice: Choice, now: float) -> None:
        self.metrics.ttft.observe(now - choice.arrival)

    def next_tokens(self, choice: Choice, count: int, now: float) -> None:
        """Tokens that came together share the time since the last one."""
        gap = (now - choice.last_token) / count
        for _ in range(count):
            self.metrics.itl.observe(gap)

    def failover(self) -> None:
        self.metrics.failovers.inc()

    def refused(self, error: RequestError, tenant: Tenant) -> None:
        """A request did not get as far as a stream."""
        self.metrics.ended(_outcome(error), tenant.name)

    def ended(self, generation: Generation) -> None:
        """A request's reader is done with it."""
        metrics = self.metrics
        prompts = [choice.prompt for choice in generation.choices if choice.output.index % choice.params.n == 0]
        tenant = generation.choices[0].tenant.name
        generated = sum(len(choice.output.token_ids) for choice in generation.choices)
        metrics.tokens(sum(map(len, prompts)), generated, tenant)
        metrics.preemptions.inc(sum(choice.preemptions for choice in generation.choices))
        if generation.error is not None:
            metrics.ended(_outcome(generation.error), tenant)
        elif not generation.complete:
            metrics.ended("cancelled", tenant)
        else:
            metrics.ended("aborted" if generation.aborted else "ok", tenant)
            metrics.e2e.observe(asyncio.get_running_loop().time() - generation.arrival)

    async def scrape(self, dispatcher: Dispatcher, links: Sequence[ReplicaLink], tokenizer_workers: int) -> bytes:
        """Asks the replicas how they are, and renders everything."""
        self.metrics.queue_depth.set(dispatcher.num_waiting)
        self.metrics.running.set(dispatcher.num_running)
        self.metrics.tokenizers.set(tokenizer_workers)
        self.metrics.sample(await asyncio.gather(*(_sample(link) for link in links)))
        return self.metrics.render()


async def _sample(link: ReplicaLink) -> ReplicaSample:
    status = await link.status() if link.state is ReplicaState.SERVING else None
    return ReplicaSample(
        replica=link.name,
        state=link.state.value,
        restarts=link.restarts,
        running=status.running if status else 0,
        waiting=status.waiting if status else 0,
        kv_blocks=status.capacity.kv_blocks if status else 0,
        kv_blocks_used=status.kv_blocks_used if status else 0,
    )


def _outcome(error: RequestError) -> str:
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "error")
