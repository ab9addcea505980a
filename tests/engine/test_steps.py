"""Finishing, one-step-ahead submission, freeing, and the errors of plans and sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS, MakeEngine
from tests.engine.driver import Request, Schedule, run
from tests.engine.models import LLAMA

from vajra.engine import BatchPlan, Engine, EngineError, FinishReason, PlanItem, SamplingParams

PROMPT = [5, 6, 7, 8, 9]


def greedy(max_tokens: int, **more: Any) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=max_tokens, **more)


def generate(engine: Engine, sampling: SamplingParams, prompt: list[int] = PROMPT, ahead: int = 1) -> Any:
    work = [Request(prompt, sampling)]
    [trace] = run(engine, work, Schedule(ahead=ahead), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    return trace


def test_max_tokens_ends_with_length(make_engine: MakeEngine) -> None:
    trace = generate(make_engine(), greedy(7))
    assert len(trace.ids) == 7
    assert [t.finish for t in trace.tokens] == [FinishReason.NONE] * 6 + [FinishReason.LENGTH]


def test_a_full_context_ends_with_length(make_engine: MakeEngine) -> None:
    trace = generate(make_engine(max_model_len=10), greedy(100))
    assert len(PROMPT + trace.ids) == 10
    assert trace.finish == FinishReason.LENGTH


def test_stop_id_ends_the_sequence_and_is_its_last_token(make_engine: MakeEngine) -> None:
    engine = make_engine()
    free = generate(engine, greedy(12)).ids
    stop = free[5]
    trace = generate(engine, greedy(12, stop_token_ids=(stop, 199)))
    assert trace.ids == free[: free.index(stop) + 1]
    assert trace.finish == FinishReason.STOP


def test_min_tokens_masks_stop_ids(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stop = generate(engine, greedy(1)).ids[0]
    trace = generate(engine, greedy(12, stop_token_ids=(stop,), min_tokens=4))
    assert len(trace.ids) >= 5
    assert stop not in trace.ids[:4]


def test_min_tokens_counts_from_the_prompt_boundary(make_engine: MakeEngine) -> None:
    engine = make_engine()
    whole = generate(engine, SamplingParams(seed=4, max_tokens=9, min_tokens=6, stop_token_ids=tuple(range(100))))
    sampling = SamplingParams(seed=4, max_tokens=9, min_tokens=6, stop_token_ids=tuple(range(100)))
    work = [Request(PROMPT + whole.ids[:3], sampling, len(PROMPT))]
    [rest] = run(engine, work, Schedule(), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    assert rest.ids == whole.ids[3:]


def test_a_finished_sequence_yields_nothing_in_later_steps(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.add_sequence(1, PROMPT, len(PROMPT), greedy(1))
    engine.add_sequence(2, PROMPT, len(PROMPT), greedy(4))
    steps = [engine.submit(BatchPlan(0, [PlanItem(1, 5, [0]), PlanItem(2, 5, [1])]))]
    steps += [engine.submit(BatchPlan(n, [PlanItem(1, 1), PlanItem(2, 1)])) for n in (1, 2, 3)]
    got = [[t.seq_id for t in s.result(60).tokens] for s in steps]
    assert got == [[1, 2], [2], [2], [2]]
    assert steps[3].result().tokens[0].finish == FinishReason.LENGTH
    assert steps[3].done()


def test_many_steps_ahead_equal_one_at_a_time(make_engine: MakeEngine) -> None:
    engine = make_engine()
    assert generate(engine, greedy(20), ahead=0).ids == generate(engine, greedy(20), ahead=6).ids


def test_freeing_waits_for_submitted_steps_and_frees_the_id(make_engine: MakeEngine) -> None:
    engine = make_engine()
    want = generate(engine, greedy(3)).ids
    handles = []
    for n in range(3):  # the same id and the same block, over and over, without waiting
        engine.add_sequence(1, PROMPT, len(PROMPT), greedy(3))
        handles += [engine.submit(BatchPlan(3 * n, [PlanItem(1, 5, [0])]))]
        handles += [engine.submit(BatchPlan(3 * n + k, [PlanItem(1, 1)])) for k in (1, 2)]
        engine.free_sequence(1)
    got = [h.result(60).tokens[0].token_id for h in handles]
    assert got == want * 3


def test_an_empty_plan_is_a_step(make_engine: MakeEngine) -> None:
    result = make_engine().submit(BatchPlan(9, [])).result(60)
    assert (result.step_id, list(result.tokens), result.logits) == (9, [], {})


def test_logits_are_those_of_the_query_rows(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.add_sequence(1, PROMPT, len(PROMPT), greedy(2, return_logits=True, logprobs=1))
    first = engine.submit(BatchPlan(0, [PlanItem(1, 3, [0])])).result(60)
    assert first.logits[1].shape == (3, LLAMA.vocab_size)
    assert not first.tokens
    second = engine.submit(BatchPlan(1, [PlanItem(1, 2)])).result(60)
    row = second.logits[1][-1].astype(np.float64)
    [token] = second.tokens
    assert token.token_id == row.argmax()
    logprob = row.max() - np.log(np.exp(row - row.max()).sum()) - row.max()
    assert token.logprob == pytest.approx(logprob, abs=1e-6)
    assert token.top_logprobs[0] == (token.token_id, token.logprob)


def test_a_wait_can_time_out(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.add_sequence(1, [3] * 4000, 4000, greedy(1))
    blocks = list(range(250))
    steps = [engine.submit(BatchPlan(0, [PlanItem(1, 2000, blocks)])), engine.submit(BatchPlan(1, [PlanItem(1, 2000)]))]
    with pytest.raises(TimeoutError, match="step 1"):
        steps[1].result(0.0)
    assert len(steps[1].result(60).tokens) == 1


Change = Callable[[Engine], object]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda e: e.submit(BatchPlan(4, [PlanItem(8, 1, [0])])), "plan 4: sequence 8 is unknown"),
        (lambda e: e.submit(BatchPlan(4, [], [8])), "plan 4: sequence 8 is unknown"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 2, [0]), PlanItem(1, 2, [1])])), "sequence 1 appears twice"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 2, [512])])), "block id 512; the pool has 0 to 511"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 2, [-1])])), "block id -1"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 5)])), "needs 1 blocks for 5 tokens and would have 0"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 0, [0])])), "num_query_tokens 0; at least 1"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(1, 6, [0])])), "only 5 of its 5 tokens"),
        (lambda e: e.submit(BatchPlan(4, [PlanItem(2, 3000, range(200))])), "exceed max_batch_tokens 2048"),
        (lambda e: e.submit(BatchPlan(4, [], [1, 1])), "sequence 1 is preempted twice"),
        (lambda e: e.free_sequence(8), "sequence 8 is unknown"),
        (lambda e: e.add_sequence(1, [1], 1, greedy(1)), "sequence 1: the id is in use"),
        (lambda e: e.add_sequence(3, [], 0, greedy(1)), "token_ids is empty"),
        (lambda e: e.add_sequence(3, [1, 203], 2, greedy(1)), r"token_ids\[1\] is 203; ids are 0 to 202"),
        (lambda e: e.add_sequence(3, [1, -1], 2, greedy(1)), r"token_ids\[1\] is -1"),
        (lambda e: e.add_sequence(3, [1], 2, greedy(1)), "num_prompt_tokens is 2"),
        (lambda e: e.add_sequence(3, [1, 2], 1, greedy(1)), "nothing is left to generate"),
        (lambda e: e.add_sequence(3, [1] * 4096, 1, greedy(9999)), "leaves none to generate of max_model_len = 4096"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(0)), "max_tokens is 0"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, min_tokens=2)), "min_tokens is 2"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, top_p=0.0)), r"top_p is 0.0.*\(0, 1\]"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, top_k=-1)), "top_k is -1"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, min_p=2)), "min_p is 2"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, repetition_penalty=0.0)), "repetition_penalty is 0"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, logit_bias={203: 1.0})), "logit_bias names token id 203"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, logit_bias={3: float("nan")})), "id 3 is not finite"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, logprobs=204)), "logprobs is 204"),
        (lambda e: e.add_sequence(3, [1], 1, SamplingParams(temperature=float("nan"), max_tokens=1)), "temperature"),
        (lambda e: e.add_sequence(3, [1], 1, SamplingParams(temperature=1e-7, max_tokens=1)), "use 0 for greedy"),
        (lambda e: e.add_sequence(3, [1], 1, greedy(1, seed=2**64)), "seed = 18446744073709551616"),
    ],
)
def test_errors_say_what_and_where_and_change_nothing(act: Change, message: str, make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.add_sequence(1, PROMPT, len(PROMPT), greedy(2))
    engine.add_sequence(2, [1] * 3000, 3000, greedy(2))
    with pytest.raises(ValueError, match=message):
        act(engine)
    step = engine.submit(BatchPlan(5, [PlanItem(1, 5, [0])]))  # as if it had never been asked
    assert len(step.result(60).tokens) == 1


def test_too_many_sequences_in_a_plan(make_engine: MakeEngine) -> None:
    engine = make_engine(max_batch_size=2)
    for i in range(3):
        engine.add_sequence(i, PROMPT, len(PROMPT), greedy(2))
    with pytest.raises(ValueError, match="3 sequences exceed max_batch_size 2"):
        engine.submit(BatchPlan(0, [PlanItem(i, 5, [i]) for i in range(3)]))


def test_a_closed_engine_refuses_steps(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.close()
    with pytest.raises(EngineError, match="refuses steps: it is closed"):
        engine.submit(BatchPlan(0, []))
    engine.close()


def test_closing_fails_the_steps_still_queued(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.add_sequence(1, [3] * 4000, 4000, greedy(1))
    handles = [engine.submit(BatchPlan(0, [PlanItem(1, 2000, range(250))]))]
    handles += [engine.submit(BatchPlan(n, [PlanItem(1, 500)])) for n in range(1, 5)]
    engine.close()
    with pytest.raises(EngineError, match="it is closed"):
        handles[-1].result(60)
