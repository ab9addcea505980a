"""LLMBaseReplicaController: the step loop of one replica and what its gRPC faces ask of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import Enum

import grpc

from vajra.config import VajraDeployment
from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2
from vajra.replica.limits import StreamLimits
from vajra.replica.running import FINISH_ERROR, FINISH_REASONS, Running, Signal, logprob_message
from vajra.replica.stream import StreamError, TokenStream
from vajra.replica.supervisor import Supervisor
from vajra.replica.validation import InvalidRequest, check_run
from vajra.replica.worker_process import WorkerProcess
from vajra.scheduling import (
    Batch,
    BlockManager,
    IntegrityError,
    ReplicaScheduler,
    Sequence,
    prioritizers,
    schedulers,
)
from vajra.worker.protocol import Free, Plan, Ready, Result, Token, ToWorker

log = logging.getLogger(__name__)

STEPS_IN_FLIGHT = 2  # one runs, one is queued
MAX_WAITING = 1024  # beyond a full batch: dispatchers send only what has room, so this is a fuse
BAD_LOGITS = (
    "the model's logits for this sequence hold NaN or infinity. If it happens to all requests, the weights are "
    "damaged: fetch the model again and empty the cache of packed weights; if to some, the model overflows its "
    "dtype: serve it with dtype BFloat16 or Float32"
)


class Phase(Enum):
    """Where the replica is in its life; RECOVERING serves on once the worker is back."""

    STARTING = 1
    SERVING = 2
    DRAINING = 3
    FAILED = 4
    RECOVERING = 5


class LLMBaseReplicaController:
    """Schedules one batch ahead of the engine, hands tokens to streams, resumes everything after a worker's death.

    All methods belong to one event loop. At most two steps are with the worker: one runs, one is queued, and the
    next is planned as soon as a result comes, before its tokens are handed out.
    """

    def __init__(
        self,
        deployment: VajraDeployment,
        worker: WorkerProcess,
        spawn: Callable[[], WorkerProcess],
        limits: StreamLimits,
    ) -> None:
        self.deployment = deployment
        self._limits = limits
        self.phase = Phase.STARTING
        self.message = ""
        self.model: Ready | None = None
        self.accepted = 0
        self.notices: list[str] = []
        self.supervisor = Supervisor(
            worker,
            spawn,
            deployment.spec.recovery,
            on_ready=self._worker_ready,
            on_result=self._step_done,
            on_lost=self._worker_lost,
            on_failed=self._worker_failed,
        )
        self._scheduler: ReplicaScheduler | None = None
        self._running: dict[int, Running] = {}
        self._ids: dict[str, int] = {}
        self._next_seq_id = 1
        self._in_flight: deque[Batch] = deque()
        self._outbox: list[ToWorker] = []
        self._pump_due = False
        self._audited = True
        self._draining = False
        self._watches_end = False
        self._room_changed = Signal()
        self._idle = asyncio.Event()
        self._idle.set()
        self.phase_changed = Signal()

    async def start(self) -> None:
        """Begins to serve as soon as the worker has loaded."""
        await self.supervisor.start()

    def end_watches(self) -> None:
        """Ends every room stream, for they never end by themselves."""
        self._watches_end = True
        self._room_changed.send()

    async def stop(self) -> None:
        """Ends streams that are left and the worker."""
        self._fail_all(grpc.StatusCode.UNAVAILABLE, "the replica is stopping")
        await self.supervisor.stop()

    # ---- requests

    def run(self, request: dispatch_pb2.RunRequest) -> Running:
        """Takes a sequence. Raises StreamError with the status that refuses it."""
        model, scheduler = self._admission()
        try:
            params = check_run(request, model)
        except InvalidRequest as error:
            raise StreamError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        if request.sequence_id in self._ids:
            message = f"sequence_id {request.sequence_id!r} is in flight already"
            raise StreamError(grpc.StatusCode.ALREADY_EXISTS, message)
        if scheduler.num_waiting >= MAX_WAITING:
            message = f"{MAX_WAITING} sequences wait for room in this replica; send what WatchRoom has room for"
            raise StreamError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        now = time.monotonic()
        sequence = Sequence(
            self._next_seq_id,
            len(params.token_ids),
            params.num_prompt_tokens,
            params.max_tokens,
            arrival=now - params.age_seconds,
            ttft_target=None if params.ttft_target_seconds is None else now + params.ttft_target_seconds,
        )
        try:
            scheduler.add(sequence)
        except ValueError as error:
            raise StreamError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        self._next_seq_id += 1
        stream = TokenStream(self._limits)
        running = Running(sequence, request.sequence_id, params.token_ids, params, stream, now)
        self._running[sequence.seq_id] = running
        self._ids[request.sequence_id] = sequence.seq_id
        self._idle.clear()
        self._audited = False
        self.accepted += 1
        if self.supervisor.ready:
            self._outbox.append(running.add_message())
        self._pump_soon()
        return running

    def release(self, running: Running) -> None:
        """The reader is gone or done: frees the sequence if it still runs, within one step."""
        if running.sequence.seq_id in self._running:
            self._forget(running)
            self._pump_soon()

    def _admission(self) -> tuple[Ready, ReplicaScheduler]:
        """Raises StreamError unless sequences are taken now."""
        if self.phase is Phase.FAILED:
            raise StreamError(grpc.StatusCode.UNAVAILABLE, f"this replica has failed: {self.message}")
        if self._draining:
            raise StreamError(grpc.StatusCode.UNAVAILABLE, "this replica is draining; send the sequence to another one")
        if self.model is None or self._scheduler is None:
            stage = self.supervisor.stages[-1] if self.supervisor.stages else None
            where = f"{stage.name} at {stage.progress:.0%}" if stage else "the worker is starting"
            raise StreamError(grpc.StatusCode.UNAVAILABLE, f"this replica is not ready: {where}; try again soon")
        return self.model, self._scheduler

    def _forget(self, running: Running) -> None:
        assert self._scheduler is not None
        sequence = running.sequence
        self._scheduler.remove(sequence.seq_id)
        del self._running[sequence.seq_id]
        del self._ids[running.sequence_id]
        if self.supervisor.ready:
            self._outbox.append(Free([sequence.seq_id]))
        if not self._running:
            self._idle.set()

    # ---- the step loop

    def _pump_soon(self) -> None:
        """Plans once per turn of the event loop, so that requests which arrive together run together."""
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self.supervisor.ready and self._scheduler is not None:
            while len(self._in_flight) < STEPS_IN_FLIGHT:
                batch = self._scheduler.schedule(time.monotonic())
                if not batch:
                    break
                self._in_flight.append(batch)
                self._outbox.append(Plan(batch.step_id, batch.items, batch.preempted))  # type: ignore[arg-type]
            if self._outbox:
                self.supervisor.send(self._outbox)
                self._outbox = []
        self._audit()
        self._room_changed.send()

    def _step_done(self, result: Result) -> None:
        assert self._scheduler is not None
        batch = self._in_flight.popleft()
        if batch.step_id != result.step_id:
            raise RuntimeError(f"step {result.step_id} came back, {batch.step_id} was due")
        now = time.monotonic()
        self._scheduler.complete(batch, [t.seq_id for t in result.tokens])
        delivery: list[tuple[Running, Token]] = []
        for token in result.tokens:
            running = self._running.get(token.seq_id)
            if running is None:  # cancelled while the step ran
                continue
            delivery.append((running, token))
            if token.finish:
                self._forget(running)
        self._pump()  # first: the engine must find its next step waiting
        for running, token in delivery:
            self._deliver(running, token, now)

    def _deliver(self, running: Running, token: Token, now: float) -> None:
        if token.finish == FINISH_ERROR:
            log.error("sequence %s: %s", running.sequence_id, BAD_LOGITS)
            running.stream.fail(grpc.StatusCode.INTERNAL, BAD_LOGITS)
            return
        running.token_ids.append(token.token_id)
        ledger = running.sequence.ledger
        if ledger.first_token is None:
            ledger.first_token = now
        if not running.stream.push(token.token_id, logprob_message(token), now):
            self.release(running)
        elif token.finish:
            running.finish(FINISH_REASONS[token.finish], token.token_id, now)

    # ---- the worker's life

    def _worker_ready(self, ready: Ready) -> None:
        if self.model is None:
            config = self.deployment.replica_config
            prioritizer = prioritizers.create(self.deployment.prioritizer_config)
            blocks = BlockManager(ready.num_blocks, ready.block_size)
            self._scheduler = schedulers.create(config.scheduler_config, blocks, prioritizer)
        elif (ready.fingerprint, ready.num_blocks) != (self.model.fingerprint, self.model.num_blocks):
            self._worker_failed(
                f"the worker came back different: fingerprint {ready.fingerprint} with {ready.num_blocks} KV blocks, "
                f"before {self.model.fingerprint} with {self.model.num_blocks}"
            )
            self.supervisor.give_up()
            return
        self.model = ready
        self._outbox = [running.add_message() for running in self._running.values()]
        self._set_phase(Phase.DRAINING if self._draining else Phase.SERVING)
        self._pump()

    def _worker_lost(self, message: str) -> None:
        self._in_flight.clear()
        self._outbox.clear()
        if self._scheduler is not None:
            self._scheduler.restart()
        if self.model is not None and not self._draining:
            self._set_phase(Phase.RECOVERING, message)
        self._room_changed.send()

    def _worker_failed(self, message: str) -> None:
        log.error("%s", message)
        self._in_flight.clear()
        self._outbox.clear()
        self._set_phase(Phase.FAILED, message)
        self._fail_all(grpc.StatusCode.UNAVAILABLE, f"this replica has failed: {message}")
        self._room_changed.send()

    def _fail_all(self, code: grpc.StatusCode, message: str) -> None:
        for running in list(self._running.values()):
            running.stream.fail(code, message)
            self._forget(running)

    def _set_phase(self, phase: Phase, message: str = "") -> None:
        self.phase, self.message = phase, message
        self.phase_changed.send()

    # ---- room, drain, audit

    def room(self) -> dispatch_pb2.WatchRoomResponse:
        """What may be sent here now."""
        model, scheduler = self.model, self._scheduler
        if model is None or scheduler is None:
            return dispatch_pb2.WatchRoomResponse(accepted=self.accepted)
        room = scheduler.room()
        return dispatch_pb2.WatchRoomResponse(
            free_slots=room.free_slots,
            free_blocks=room.free_blocks,
            block_size=model.block_size,
            accepted=self.accepted,
            accepting=self.phase is Phase.SERVING,
            fingerprint=model.fingerprint,
        )

    async def watch_room(self) -> AsyncIterator[dispatch_pb2.WatchRoomResponse]:
        """The room now, and again whenever it has changed; a slow reader skips to the latest."""
        last: dispatch_pb2.WatchRoomResponse | None = None
        while not self._watches_end:
            changed = self._room_changed.next
            room = self.room()
            if room != last:
                last = room
                yield room
            else:
                await changed.wait()

    @property
    def num_running(self) -> int:
        """Sequences with KV blocks."""
        return self._scheduler.num_resident if self._scheduler is not None else 0

    @property
    def num_waiting(self) -> int:
        """Sequences without."""
        return self._scheduler.num_waiting if self._scheduler is not None else 0

    @property
    def blocks_used(self) -> int:
        """KV blocks in use."""
        return self._scheduler.blocks.used if self._scheduler is not None else 0

    def drain(self, grace_seconds: float | None) -> int:
        """Stops admission; sequences unfinished after `grace_seconds` are aborted. How many are in flight now."""
        if not self._draining:
            self._draining = True
            if self.phase is not Phase.FAILED:
                self._set_phase(Phase.DRAINING)
            self._room_changed.send()
        if grace_seconds is not None:
            asyncio.get_running_loop().call_later(max(0.0, grace_seconds), self._abort_all)
        return len(self._running)

    async def wait_idle(self) -> None:
        """Until no sequence is left."""
        await self._idle.wait()

    def _abort_all(self) -> None:
        now = time.monotonic()
        for running in list(self._running.values()):
            running.finish(inference_pb2.FINISH_REASON_ABORTED, None, now)
            self._forget(running)
        self._pump_soon()

    def _audit(self) -> None:
        """Checks the books once whenever the replica has become idle; faults are ours, so they are loud."""
        if self._running or self._audited or self._scheduler is None:
            return
        self._audited = True
        try:
            self._scheduler.check_integrity()
        except IntegrityError as error:
            log.exception("the KV block books do not balance; starting them anew")
            self.notices.append(f"internal error, please report: {error}")
            blocks = self._scheduler.blocks
            self._scheduler.blocks = BlockManager(blocks.num_blocks, blocks.block_size)
