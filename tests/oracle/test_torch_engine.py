"""TorchEngine against transformers in float32, and the Engine protocol's promises on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.oracle.checkpoints import CHECKPOINTS, random_checkpoint
from tests.oracle.driver import TIMEOUT, Driver, options

from vajra.engine.api import BatchPlan, EngineError, FinishReason, PlanItem, SampledToken
from vajra.engine.sampling import SamplingParams
from vajra.engine.torch_engine import TorchEngine

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
GREEDY = SamplingParams(temperature=0.0, max_tokens=12)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(0, 131, length)]


@pytest.fixture
def engine() -> Iterator[TorchEngine]:
    checkpoint = random_checkpoint("llama-gqa-tied")
    engine = TorchEngine(checkpoint.spec, checkpoint.weights, options())
    yield engine
    engine.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_equal_transformers(name: str, device: str) -> None:
    checkpoint = random_checkpoint(name)
    engine = TorchEngine(checkpoint.spec, checkpoint.weights, options(device=device))
    tokens = prompt_of(300)
    want = checkpoint.logits(tokens)
    for chunk in (None, 37):
        got = Driver(engine, options()).teacher_force(tokens, chunk)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    engine.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_close(dtype: str) -> None:
    checkpoint = random_checkpoint("qwen3", dtype)
    engine = TorchEngine(checkpoint.spec, checkpoint.weights, options())
    tokens = prompt_of(200)
    want = checkpoint.logits(tokens)
    got = Driver(engine, options()).teacher_force(tokens)
    tolerance = {"float16": 2e-3, "bfloat16": 3e-2}[dtype]
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()
    engine.close()


def test_batches_chunks_and_one_step_ahead_change_no_token(engine: TorchEngine) -> None:
    prompts = [prompt_of(length, length) for length in (5, 40, 17)]
    alone = [Driver(engine, options()).generate([p], [GREEDY])[0] for p in prompts]
    together = Driver(engine, options()).generate(prompts, [GREEDY] * 3, chunk=7)
    assert [[t.token_id for t in ts] for ts in together] == [[t.token_id for t in ts] for ts in alone]
    assert all(len(ts) == 12 and ts[-1].finish is FinishReason.LENGTH for ts in together)


def test_preemption_and_resume_continue_exactly(engine: TorchEngine) -> None:
    prompt = prompt_of(20)
    sampled = SamplingParams(temperature=0.8, top_k=20, seed=5, presence_penalty=0.3, max_tokens=8)
    driver = Driver(engine, options())
    want = [t.token_id for t in driver.generate([prompt], [sampled])[0]]

    engine.add_sequence(1, prompt, 20, sampled)
    got = [engine.submit(driver.plan([driver.item(1, 20)])).result(TIMEOUT).tokens[0].token_id]
    ahead = [engine.submit(driver.plan([driver.item(1, 1)])) for _ in range(2)]
    driver.release(1)  # preempted while its last step may still run
    again = engine.submit(driver.plan([driver.item(1, 23)], preempted=[1]))
    got += [h.result(TIMEOUT).tokens[0].token_id for h in (*ahead, again)]
    assert got == want[:4]
    driver.free(1)

    engine.add_sequence(2, prompt + want[:4], 20, sampled)
    resumed = engine.submit(driver.plan([driver.item(2, 24)])).result(TIMEOUT)
    assert resumed.tokens[0].token_id == want[4]


def test_stop_ids_end_a_sequence_and_min_tokens_holds_them_back(engine: TorchEngine) -> None:
    prompt = prompt_of(9)
    want = [t.token_id for t in Driver(engine, options()).generate([prompt], [GREEDY])[0]]
    stop = want[3]
    first = want.index(stop)
    ended = SamplingParams(temperature=0.0, max_tokens=12, stop_token_ids=(stop,))
    tokens = Driver(engine, options()).generate([prompt], [ended])[0]
    assert [t.token_id for t in tokens] == want[: first + 1]
    assert tokens[-1].finish is FinishReason.STOP
    held = SamplingParams(temperature=0.0, max_tokens=12, min_tokens=first + 2, stop_token_ids=(stop,))
    tokens = Driver(engine, options()).generate([prompt], [held])[0]
    assert stop not in [t.token_id for t in tokens][: first + 2]


def test_log_probabilities_are_the_models_own(engine: TorchEngine) -> None:
    params = SamplingParams(temperature=0.0, max_tokens=1, logprobs=3, logit_bias={7: 100.0}, return_logits=True)
    engine.add_sequence(1, prompt_of(4), 4, params)
    driver = Driver(engine, options())
    result = engine.submit(driver.plan([driver.item(1, 4)])).result(TIMEOUT)
    row = result.logits[1][-1].astype(np.float64)
    logprobs = row - np.log(np.exp(row - row.max()).sum()) - row.max()
    [token] = result.tokens
    assert token.token_id == 7
    assert token.logprob == pytest.approx(logprobs[7])
    assert [i for i, _ in token.top_logprobs] == np.argsort(-logprobs)[:3].tolist()
    assert [p for _, p in token.top_logprobs] == pytest.approx(np.sort(logprobs)[::-1][:3].tolist())


def test_a_sequence_ends_at_max_model_len() -> None:
    checkpoint = random_checkpoint("llama-mha")
    opts = options(max_model_len=16)
    engine = TorchEngine(checkpoint.spec, checkpoint.weights, opts)
    tokens = Driver(engine, opts).generate([prompt_of(10)], [SamplingParams(max_tokens=100)])[0]
    assert len(tokens) == 6
    assert tokens[-1].finish is FinishReason.LENGTH
    engine.close()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (BatchPlan(1, [PlanItem(9, 1, [0])]), "seq_id 9 is unknown"),
        (BatchPlan(1, [], preempted=[9]), "seq_id 9 is unknown"),
        (BatchPlan(1, [PlanItem(1, 5, [0])]), "num_query_tokens 5 is outside 1 to 4"),
        (BatchPlan(1, [PlanItem(1, 0, [0])]), "num_query_tokens 0"),
        (BatchPlan(1, [PlanItem(1, 4, [])]), "its blocks hold 0"),
        (BatchPlan(1, [PlanItem(1, 4, [96])]), "block 96 is outside the pool of 96"),
        (BatchPlan(1, [PlanItem(1, 2, [0]), PlanItem(1, 2, [])]), "twice"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_whole(engine: TorchEngine, plan: BatchPlan, message: str) -> None:
    engine.add_sequence(1, prompt_of(4), 4, GREEDY)
    with pytest.raises(ValueError, match=message):
        engine.submit(plan)
    assert engine.submit(BatchPlan(2, [PlanItem(1, 4, [0])])).result(TIMEOUT).tokens


@pytest.mark.parametrize(
    ("tokens", "num_prompt", "changes", "message"),
    [
        ([], 0, {}, "token_ids"),
        ([131], 1, {}, "token_ids has id 131"),
        ([1, 2], 0, {}, "num_prompt_tokens 0"),
        ([1, 2], 3, {}, "num_prompt_tokens 3"),
        ([1, 2], 1, {"max_tokens": 1}, "max_tokens is 1"),
        ([1] * 512, 512, {}, "max_model_len 512"),
        ([1], 1, {"temperature": float("nan")}, r"sampling\.temperature is nan"),
        ([1], 1, {"temperature": 1e-7}, r"sampling\.temperature is 1e-07.*use 0 for greedy"),
        ([1], 1, {"top_p": 0.0}, r"sampling\.top_p is 0\.0"),
        ([1], 1, {"logit_bias": {131: 1.0}}, r"sampling\.logit_bias"),
        ([1], 1, {"min_tokens": 5, "max_tokens": 4}, r"sampling\.min_tokens is 5"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused(
    engine: TorchEngine, tokens: list[int], num_prompt: int, changes: dict[str, object], message: str
) -> None:
    params = SamplingParams(**{"max_tokens": 4, **changes})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        engine.add_sequence(1, tokens, num_prompt, params)


def test_logits_of_nan_end_their_sequence_alone() -> None:
    checkpoint = random_checkpoint("llama-mha")
    checkpoint.model.model.embed_tokens.weight.data[7] = float("nan")
    engine = TorchEngine(checkpoint.spec, checkpoint.weights, options())
    engine.add_sequence(1, [1, 7], 2, GREEDY)
    engine.add_sequence(2, [1, 2], 2, GREEDY)
    plans = [[PlanItem(1, 2, [0]), PlanItem(2, 2, [1])], [PlanItem(1, 1), PlanItem(2, 1)]]
    first, second = (engine.submit(BatchPlan(i, items)).result(TIMEOUT).tokens for i, items in enumerate(plans))
    assert first[0] == SampledToken(1, -1, FinishReason.ERROR)
    assert [t.seq_id for t in second] == [2]
    assert first[1].finish == second[0].finish == FinishReason.NONE
    engine.close()


def test_a_failed_step_says_why_and_stops_the_engine() -> None:
    engine = TorchEngine(random_checkpoint("llama-mha").spec, random_checkpoint("llama-mha").weights, options())
    engine.add_sequence(1, [1, 2], 2, GREEDY)
    engine._sequences[1].tokens[0] = 10**6  # a fault of ours: outside the embedding
    handles = [engine.submit(BatchPlan(i, [PlanItem(1, n, b)])) for i, n, b in ((1, 2, [0]), (2, 1, []))]
    with pytest.raises(EngineError, match=r"step 1: .*out of"):
        handles[0].result(TIMEOUT)
    with pytest.raises(EngineError, match="earlier step failed"):
        handles[1].result(TIMEOUT)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(BatchPlan(3, []))
