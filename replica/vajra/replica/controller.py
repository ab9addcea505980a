"""LLMBaseReplicaController: what the gRPC faces ask of one replica, and what its worker's life means for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import grpc

from vajra.config import LiveSettings, VajraDeployment
from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2
from vajra.prediction import FittedPredictor, LearnedPredictor, Profile
from vajra.replica.limits import StreamLimits
from vajra.replica.phase import Phase
from vajra.replica.room import RoomStreams
from vajra.replica.rules import Rules
from vajra.replica.running import FINISH_ERROR, FINISH_REASONS, Running, logprob_message
from vajra.replica.signals import Signal
from vajra.replica.step_loop import StepLoop
from vajra.replica.stream import NotTaken, StreamError, TokenStream
from vajra.replica.strikes import strike
from vajra.replica.supervisor import Supervisor
from vajra.replica.table import SequenceTable
from vajra.replica.validation import InvalidRequest, check_run
from vajra.replica.warm_up import BadLogits, WarmUp
from vajra.replica.worker_process import WorkerProcess
from vajra.scheduling import Batch, BlockManager, ReplicaScheduler, Sequence
from vajra.worker.protocol import Free, Ready, Result, Token

log = logging.getLogger(__name__)

MAX_WAITING = 1024  # beyond a full batch: dispatchers send only what has room, so this is a fuse
_SCALE_STEP = 0.05  # of the scale that watchers of the room hear of: each change is a message
BAD_LOGITS = (
    "the model's logits for this sequence hold NaN or infinity. If it happens to all requests, the weights are "
    "damaged: fetch the model again and empty the cache of packed weights; if to some, the model overflows its "
    "dtype: serve it with dtype BFloat16 or Float32"
)


class LLMBaseReplicaController:
    """Takes sequences, hands their tokens to streams, resumes everything after a worker's death.

    All methods belong to one event loop.
    """

    def __init__(
        self,
        settings: LiveSettings,
        worker: WorkerProcess,
        spawn: Callable[[], WorkerProcess],
        limits: StreamLimits,
    ) -> None:
        self.settings = settings
        self._started_with = settings.deployment  # what every worker is built by
        self._limits = limits
        self.phase = Phase.STARTING
        self.phase_changed = Signal()
        self.message = ""
        self.model: Ready | None = None
        self.accepted = 0
        self.supervisor = Supervisor(
            worker,
            spawn,
            settings.deployment.spec.recovery,
            on_ready=self._worker_ready,
            on_result=self._step_done,
            on_lost=self._worker_lost,
            on_failed=self._worker_failed,
        )
        self.room_streams = RoomStreams(self.room)
        self._rules: Rules | None = None  # from the first time that a worker has loaded
        self._loop: StepLoop | None = None  # from the first time that a worker can serve
        self._warm_up: WarmUp | None = None
        self._sequences = SequenceTable()
        self._retired = self._draining = False

    async def start(self) -> None:
        """Begins to serve as soon as the worker has loaded."""
        await self.supervisor.start()

    async def stop(self) -> None:
        """Ends streams that are left and the worker."""
        self._fail_all(grpc.StatusCode.UNAVAILABLE, "the replica is stopping")
        await self.supervisor.stop()

    @property
    def deployment(self) -> VajraDeployment:
        """What is in force."""
        return self.settings.deployment

    @property
    def refuses(self) -> bool:
        """Whether it has failed because it does not serve such a configuration."""
        return self.phase is Phase.FAILED and self.supervisor.refused

    def prepare(self, deployment: VajraDeployment) -> Callable[[], None]:
        """Makes live settings ready and returns what puts them in force, between two steps. Raises UpdateRefused for
        what the engine has no buffers for."""
        rules = self._rules
        if rules is not None and self.model is not None:
            rules = Rules(deployment, self._started_with, rules.predictor, self.model.max_model_len)

        def commit() -> None:
            self.supervisor.recovery = deployment.spec.recovery
            self._rules = rules
            if self._loop is not None and rules is not None:
                self._loop.scheduler.adopt(rules.policy, rules.prioritizer, rules.predictor)
                self._loop.plan_soon()

        return commit

    # ---- requests

    def run(self, request: dispatch_pb2.RunRequest) -> Running:
        """Takes a sequence. Raises StreamError with the status that refuses it."""
        model, loop = self._admission()
        try:
            params = check_run(request, model)
        except InvalidRequest as error:
            raise StreamError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        if request.sequence_id in self._sequences:
            message = f"sequence_id {request.sequence_id!r} is in flight already"
            raise StreamError(grpc.StatusCode.ALREADY_EXISTS, message)
        if loop.scheduler.num_waiting >= MAX_WAITING:
            message = f"{MAX_WAITING} sequences wait for room in this replica; send what WatchRoom has room for"
            raise StreamError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        now = time.monotonic()
        sequence = Sequence(
            self._sequences.next_seq_id(),
            len(params.token_ids),
            params.num_prompt_tokens,
            params.max_tokens,
            arrival=now - params.age_seconds,
            ttft_target=None if params.ttft_target_seconds is None else now + params.ttft_target_seconds,
            name=request.sequence_id,
            tenant=params.tenant,
            tenant_weight=params.tenant_weight,
        )
        try:
            loop.scheduler.add(sequence)
        except ValueError as error:
            raise StreamError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        running = Running(sequence, request.sequence_id, params.token_ids, params, TokenStream(self._limits), now)
        self._sequences.add(running)
        self.accepted += 1
        if self._rules is not None and self._rules.times is not None:
            sequence.ledger.predicted_prefill = self._rules.times.prefill_time(sequence.prefill_end)
        loop.post(running.add_message())
        loop.plan_soon()
        return running

    def release(self, running: Running) -> None:
        """The reader is gone or done: frees the sequence if it still runs, within one step."""
        if self._loop is not None and self._sequences.get(running.sequence.seq_id) is running:
            self._forget(self._loop, running)
            self._loop.plan_soon()

    def retire(self) -> None:
        """Offers no room any more; a sequence that is on its way is still taken."""
        if not self._retired:
            self._retired = True
            if self.phase is not Phase.FAILED:
                self._set_phase(Phase.DRAINING)
            self.room_streams.changed()

    def drain(self, grace_seconds: float | None) -> int:
        """Stops admission; sequences unfinished after `grace_seconds` are aborted. How many are in flight now."""
        self.retire()
        self._draining = True
        if grace_seconds is not None:
            asyncio.get_running_loop().call_later(max(0.0, grace_seconds), self._abort_all)
        return len(self._sequences)

    async def wait_idle(self) -> None:
        """Until no sequence is left."""
        await self._sequences.wait_empty()

    def _admission(self) -> tuple[Ready, StepLoop]:
        """Raises NotTaken unless sequences are taken now."""
        if self.phase is Phase.FAILED:
            raise NotTaken(f"this replica has failed: {self.message}")
        if self._draining:
            raise NotTaken("this replica is draining; send the sequence to another one")
        if self.model is None or self._loop is None:
            stage = self.supervisor.stages[-1] if self.supervisor.stages else None
            where = f"{stage.name} at {stage.progress:.0%}" if stage else "the worker is starting"
            raise NotTaken(f"this replica is not ready: {where}; try again soon")
        return self.model, self._loop

    def _forget(self, loop: StepLoop, running: Running) -> None:
        loop.scheduler.remove(running.sequence.seq_id)
        self._sequences.remove(running)
        loop.post(Free([running.sequence.seq_id]))

    def _abort_all(self) -> None:
        if self._loop is None:
            return
        now = time.monotonic()
        for running in self._sequences:
            running.finish(inference_pb2.FINISH_REASON_ABORTED, None, now)
            self._forget(self._loop, running)
        self._loop.plan_soon()

    def _fail_all(self, code: grpc.StatusCode, message: str) -> None:
        for running in self._sequences:
            assert self._loop is not None
            running.stream.fail(code, message)
            self._forget(self._loop, running)

    # ---- what the worker says

    def _step_done(self, result: Result) -> None:
        if self._warm_up is not None:
            self._warm_up_step(self._warm_up, result)
            return
        assert self._loop is not None
        now = time.monotonic()
        self._loop.done(result)
        delivery: list[tuple[Running, Token]] = []
        for token in result.tokens:
            running = self._sequences.get(token.seq_id)
            if running is None:  # cancelled while the step ran
                continue
            delivery.append((running, token))
            if token.finish:
                self._forget(self._loop, running)
        self._loop.plan()  # first: the engine must find its next step waiting
        for running, token in delivery:
            self._deliver(running, token, now)

    def _deliver(self, running: Running, token: Token, now: float) -> None:
        if token.finish == FINISH_ERROR:
            log.error("sequence %s: %s", running.sequence_id, BAD_LOGITS)
            running.stream.fail(grpc.StatusCode.INTERNAL, BAD_LOGITS)
            return
        running.strikes = 0
        running.token_ids.append(token.token_id)
        ledger = running.sequence.ledger
        if ledger.first_token is None:
            ledger.first_token = now
            due = self._rules.prioritizer.deadline(running.sequence) if self._rules is not None else None
            ledger.slack = None if due is None else due - now
            if running.params.ledger:
                running.stream.tell(running.account(now))
        if not running.stream.push(token.token_id, logprob_message(token), now):
            self.release(running)
        elif token.finish:
            running.finish(FINISH_REASONS[token.finish], token.token_id, now)

    def _worker_ready(self, ready: Ready) -> None:
        if self.model is not None and _identity(ready) != _identity(self.model):
            self._worker_failed(
                f"the worker came back different: fingerprint {ready.fingerprint} with {ready.num_blocks} KV blocks, "
                f"before {self.model.fingerprint} with {self.model.num_blocks}"
            )
            self.supervisor.give_up()
            return
        if self._rules is None:
            predictor = FittedPredictor(Profile.from_json(ready.profile)) if ready.profile else LearnedPredictor()
            self._rules = Rules(self.deployment, self._started_with, predictor, ready.max_model_len)
        self.supervisor.enter("Warmup", 0.0)
        self._warm_up = WarmUp(self._new_scheduler(ready), self.supervisor, ready, self._timed)

    def _warm_up_step(self, warm_up: WarmUp, result: Result) -> None:
        try:
            if not warm_up.done(result):
                return
        except BadLogits as error:
            self._worker_failed(str(error))
            self.supervisor.give_up()
            return
        self._warm_up = None
        self.supervisor.enter("Warmup", 1.0)
        self._serve(warm_up.model)

    def _serve(self, model: Ready) -> None:
        """A worker can serve: the first one, or another that goes on with all that is known."""
        if self._loop is None:
            scheduler = self._new_scheduler(model)
            self._loop = StepLoop(scheduler, self.supervisor, self.room_streams.changed, self._timed)
        self.model = model
        self._set_phase(Phase.DRAINING if self._retired else Phase.SERVING)
        self._loop.connected([running.add_message() for running in self._sequences])

    def _new_scheduler(self, model: Ready) -> ReplicaScheduler:
        rules = self._rules
        assert rules is not None
        return ReplicaScheduler(
            BlockManager(model.num_blocks, model.block_size), rules.policy, rules.prioritizer, rules.predictor
        )

    def _timed(self, batch: Batch, seconds: float) -> None:
        """The engine took so long for a batch."""
        if self._rules is not None:
            self._rules.observe(batch, seconds)

    def _worker_lost(self, message: str) -> bool:
        guilty: list[Running] = []
        self._warm_up = None
        if self._loop is not None:
            guilty, suspects = strike(self._sequences, self._loop.lost())
            self._loop.scheduler.isolate(suspects)
            for running in guilty:
                verdict = (
                    f"{running.strikes} workers in a row died while they ran this sequence, the last with no other, so "
                    f"it is not resumed again. {message}"
                )
                log.error("sequence %s: %s", running.sequence_id, verdict)
                running.stream.fail(grpc.StatusCode.ABORTED, verdict)
                self._forget(self._loop, running)
            if not self._retired:
                self._set_phase(Phase.RECOVERING, message)
        self.room_streams.changed()
        return bool(guilty)

    def _worker_failed(self, message: str) -> None:
        self._set_phase(Phase.FAILED, message)
        self._fail_all(grpc.StatusCode.UNAVAILABLE, f"this replica has failed: {message}")
        self.room_streams.changed()

    def _set_phase(self, phase: Phase, message: str = "") -> None:
        self.phase, self.message = phase, message
        self.phase_changed.send()

    # ---- what others may know

    def room(self) -> dispatch_pb2.WatchRoomResponse:
        """What may be sent here now."""
        if self.model is None or self._loop is None or self._rules is None:
            return dispatch_pb2.WatchRoomResponse(accepted=self.accepted)
        room = self._loop.scheduler.room()
        return dispatch_pb2.WatchRoomResponse(
            free_slots=room.free_slots,
            free_blocks=room.free_blocks,
            block_size=self.model.block_size,
            accepted=self.accepted,
            accepting=self.phase is Phase.SERVING,
            fingerprint=self.model.fingerprint,
            prefill_times=self._rules.times_name if self._rules is not None else "",
            time_scale=round(self._rules.predictor.scale / _SCALE_STEP) * _SCALE_STEP
            if self._rules is not None
            else 1.0,
        )

    def prefill_times(self) -> dispatch_pb2.GetPrefillTimesResponse | None:
        """How long prompts take here alone; None where nothing asks for it."""
        times = self._rules.times if self._rules is not None else None
        if self._rules is None or times is None:
            return None
        return dispatch_pb2.GetPrefillTimesResponse(
            prefill_times=self._rules.times_name, stride=times.stride, seconds=times.seconds
        )

    @property
    def num_running(self) -> int:
        """Sequences with KV blocks."""
        return self._loop.scheduler.num_resident if self._loop is not None else 0

    @property
    def num_waiting(self) -> int:
        """Sequences without."""
        return self._loop.scheduler.num_waiting if self._loop is not None else 0

    @property
    def blocks_used(self) -> int:
        """KV blocks in use."""
        return self._loop.scheduler.blocks.used if self._loop is not None else 0

    @property
    def notices(self) -> list[str]:
        """Lines that a user should know, beside those about the model."""
        rules = self._rules.notices if self._rules is not None else []
        return [*rules, *(self._loop.notices if self._loop is not None else [])]


def _identity(ready: Ready) -> tuple[str, int]:
    """What sequences that go on rely on."""
    return ready.fingerprint, ready.num_blocks
