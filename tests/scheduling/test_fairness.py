"""Per-tenant fairness: whoever has been served least comes first, whatever the others send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vajra.config import FcfsRequestPrioritizerConfig, FixedChunkReplicaSchedulerConfig
from vajra.scheduling import (
    BlockManager,
    FairPrioritizer,
    FcfsPrioritizer,
    FixedChunk,
    QueuedRequest,
    ReplicaScheduler,
    ReplicaSetQueue,
    RoomReport,
    Sequence,
    VirtualTokenCounters,
)
from vajra.scheduling.fairness import DECODE_PRICE, PREFILL_PRICE

FCFS = FcfsPrioritizer(FcfsRequestPrioritizerConfig())
CHUNK = 16


def scheduler() -> ReplicaScheduler:
    config = FixedChunkReplicaSchedulerConfig(max_batch_size=4, chunk_size=CHUNK)
    fair = FairPrioritizer(FCFS, VirtualTokenCounters())
    return ReplicaScheduler(BlockManager(1000, 4), FixedChunk(config, fair), fair)


class Load:
    """Keeps a number of a tenant's requests in a scheduler, and counts what they get, by price."""

    def __init__(self, weights: dict[str, float] | None = None) -> None:
        self.scheduler = scheduler()
        self.weights = weights or {}
        self.alive: dict[int, Sequence] = {}
        self.service: dict[str, float] = {}
        self.next_id = 1

    def keep(self, tenant: str, count: int, prompt: int, output: int) -> None:
        for _ in range(count - sum(s.tenant == tenant for s in self.alive.values())):
            weight = self.weights.get(tenant, 1.0)
            arrival = float(self.next_id)
            seq = Sequence(self.next_id, prompt, prompt, output, arrival=arrival, tenant=tenant, tenant_weight=weight)
            self.next_id += 1
            self.scheduler.add(seq)
            self.alive[seq.seq_id] = seq

    def step(self) -> None:
        batch = self.scheduler.schedule(0.0)
        sampled = [item.seq_id for item in batch.items[: batch.num_decodes]]
        sampled += [chunk.seq_id for chunk in batch.chunks if chunk.samples]
        for chunk in batch.chunks:
            self.book(chunk.seq_id, PREFILL_PRICE * chunk.num_query)
        for seq_id in sampled:
            self.book(seq_id, DECODE_PRICE)
        self.scheduler.complete(batch, sampled)
        for seq_id in sampled:
            if self.alive[seq_id].known == self.alive[seq_id].last_token:
                self.scheduler.remove(seq_id)
                del self.alive[seq_id]

    def book(self, seq_id: int, price: float) -> None:
        tenant = self.alive[seq_id].tenant
        self.service[tenant] = self.service.get(tenant, 0.0) + price


@settings(max_examples=30)
@given(
    many=st.integers(1, 20),
    prompts=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    outputs=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    weight=st.sampled_from([1.0, 2.0, 0.25]),
)
def test_tenants_that_always_have_work_are_served_by_weight(
    many: int, prompts: tuple[int, int], outputs: tuple[int, int], weight: float
) -> None:
    """However many requests the other sends, and whatever their lengths. The bound is the paper's theorem 4.4: twice
    what a batch and one request can be worth."""
    load = Load({"b": weight})
    bound = 2 * (max(prompts) * PREFILL_PRICE + 4 * max(outputs) * DECODE_PRICE + CHUNK)
    for _ in range(300):
        load.keep("a", 6, prompts[0], outputs[0])
        load.keep("b", 5 + many, prompts[1], outputs[1])
        load.step()
        a, b = load.service.get("a", 0.0), load.service.get("b", 0.0)
        assert abs(a - b / weight) <= bound * max(1.0, 1.0 / weight)


def test_a_flood_does_not_keep_another_tenant_waiting() -> None:
    load = Load()
    load.keep("flood", 100, 40, 4)
    for _ in range(30):
        load.step()
    load.keep("other", 1, 10, 2)
    other = load.alive[load.next_id - 1]
    waiting = [s for s in load.alive.values() if not s.blocks and s is not other]
    while not other.processed:
        load.step()
    assert sum(bool(s.processed) for s in waiting) <= 1, "it starts level with the flood, so one may come before it"


def test_service_that_nobody_asked_for_is_not_saved_up() -> None:
    counters = VirtualTokenCounters()
    for tenant in ("busy", "idle"):
        counters.join(tenant)
    counters.leave("idle")
    counters.charge("busy", prefill=1000)
    counters.join("idle")
    assert counters.of("idle") == counters.of("busy") == 1000
    counters.leave("idle")
    counters.leave("busy")
    counters.join("new")
    assert counters.of("new") == 1000, "as the last one that left"


def test_the_queue_binds_the_tenant_that_was_served_least() -> None:
    queue = ReplicaSetQueue(FairPrioritizer(FCFS, VirtualTokenCounters()), capacity=100)
    for i in range(4):
        queue.put(QueuedRequest(f"a{i}", 50, 50, arrival=float(i), tenant="a"))
    queue.put(QueuedRequest("b0", 50, 50, arrival=10.0, tenant="b"))
    order = []
    for slots in range(1, 6):
        queue.update_room("replica", RoomReport(1, 1000, 16, accepted=slots - 1))
        order += [request.request_id for request, _ in queue.dispatch(20.0)]
    assert order == ["a0", "b0", "a1", "a2", "a3"]


def test_a_backlog_of_small_requests_does_not_keep_a_large_one_of_another_tenant_out_of_memory() -> None:
    queue = ReplicaSetQueue(FairPrioritizer(FCFS, VirtualTokenCounters()), capacity=100)
    for i in range(8):
        queue.put(QueuedRequest(f"a{i}", 16, 16, arrival=float(i), tenant="a"))
    queue.put(QueuedRequest("b", 48, 48, arrival=10.0, tenant="b"))
    bound = []
    for free, accepted in ((1, 0), (1, 1), (2, 1), (3, 1), (1, 2)):
        queue.update_room("replica", RoomReport(100, free, 16, accepted))
        bound.append([request.request_id for request, _ in queue.dispatch(11.0)])
    assert bound == [["a0"], [], [], ["b"], ["a1"]]


def test_generated_tokens_count_in_the_queue_too() -> None:
    counters = VirtualTokenCounters()
    queue = ReplicaSetQueue(FairPrioritizer(FCFS, counters), capacity=100)
    request = QueuedRequest("a", 50, 50, arrival=0.0, tenant="a")
    queue.put(request)
    queue.update_room("replica", RoomReport(1, 1000, 16, accepted=0))
    queue.dispatch(0.0)
    queue.served(request, 7)
    assert counters.of("a") == pytest.approx(50 * PREFILL_PRICE + 7 * DECODE_PRICE)
