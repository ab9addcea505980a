"""The native engine, on every kernel family of this machine, against transformers and the torch engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle.checkpoints import CHECKPOINTS, Checkpoint, random_checkpoint
from tests.oracle.driver import Driver, options

from vajra.engine import Engine, _native, create_engine
from vajra.engine.api import FinishReason, SampledToken
from vajra.engine.sampling import SamplingParams
from vajra.engine.sampling_reference import sample

FAMILIES = ("scalar", "avx2", "avx512", "avx512fma", "amx")
HOST_FAMILIES = FAMILIES[: FAMILIES.index(_native.ops.host_isa()) + 1]
OPTIONS = options(num_threads=2)
VOCAB = 131

MakeEngine = Callable[..., Engine]


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(0, VOCAB, length)]


@pytest.fixture(params=HOST_FAMILIES)
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Native engines made by this test use this kernel family."""
    name = str(request.param)
    monkeypatch.setenv("VAJRA_ISA", name)
    return name


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """make_engine(checkpoint, native=True) -> Engine; closed when the test ends."""
    engines: list[Engine] = []

    def make(checkpoint: Checkpoint, native: bool = True) -> Engine:
        engines.append(create_engine(checkpoint.spec, checkpoint.weights, OPTIONS, native=native))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_float32_logits_equal_transformers(name: str, make_engine: MakeEngine) -> None:
    checkpoint = random_checkpoint(name)
    driver = Driver(make_engine(checkpoint), OPTIONS)
    tokens = prompt_of(300)
    want = checkpoint.logits(tokens)
    for chunk in (None, 37):
        got = driver.teacher_force(tokens, chunk)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("name", ["llama-gqa-tied", "mistral-wide-heads", "qwen2", "qwen3"])
def test_half_precision_is_close(name: str, dtype: str, tolerance: float, make_engine: MakeEngine) -> None:
    checkpoint = random_checkpoint(name, dtype)
    tokens = prompt_of(200)
    want = checkpoint.logits(tokens)
    got = Driver(make_engine(checkpoint), OPTIONS).teacher_force(tokens)
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def requests(params: SamplingParams) -> tuple[list[list[int]], list[SamplingParams]]:
    prompts = [prompt_of(length, length) for length in (3, 33, 150)]
    return prompts, [dataclasses.replace(params, seed=seed) for seed in range(3)]


def ids(outputs: list[list[SampledToken]]) -> list[list[tuple[int, FinishReason]]]:
    return [[(t.token_id, t.finish) for t in output] for output in outputs]


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.0, max_tokens=40),
        SamplingParams(temperature=0.0, max_tokens=40, repetition_penalty=1.3, frequency_penalty=0.4),
        SamplingParams(temperature=0.7, max_tokens=40, top_k=20, top_p=0.9, min_p=0.01),
        SamplingParams(temperature=1.2, max_tokens=40, min_tokens=9, stop_token_ids=tuple(range(0, VOCAB, 4))),
        SamplingParams(temperature=1.0, max_tokens=40, logit_bias={5: 3.0, 6: -9.0}, presence_penalty=0.5, logprobs=4),
    ],
    ids=["greedy", "greedy-penalties", "filters", "stop-ids", "bias-logprobs"],
)
def test_tokens_equal_the_torch_engines(params: SamplingParams, make_engine: MakeEngine) -> None:
    checkpoint = random_checkpoint("qwen3")
    prompts, sampling = requests(params)
    native = Driver(make_engine(checkpoint), OPTIONS).generate(prompts, sampling, chunk=64)
    torch = Driver(make_engine(checkpoint, native=False), OPTIONS).generate(prompts, sampling, chunk=64)
    assert ids(native) == ids(torch)
    for ours, theirs in zip(chain(*native), chain(*torch), strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
        assert [i for i, _ in ours.top_logprobs] == [i for i, _ in theirs.top_logprobs]
        assert [p for _, p in ours.top_logprobs] == pytest.approx([p for _, p in theirs.top_logprobs], abs=1e-4)


@pytest.fixture(scope="module")
def tied_logits() -> Iterator[Engine]:
    """A model whose every logit has an equal twin, 64 ids on: ties wherever a filter may cut."""
    checkpoint = random_checkpoint("llama-mha")
    head = checkpoint.model.lm_head.weight.data
    head[64:128] = head[:64]
    engine = create_engine(checkpoint.spec, checkpoint.weights, OPTIONS)
    yield engine
    engine.close()


@settings(max_examples=60)
@given(
    params=st.builds(
        SamplingParams,
        temperature=st.sampled_from([0.0, 0.05, 0.7, 1.0, 3.0]),
        top_k=st.sampled_from([0, 1, 5, 64, VOCAB - 1, VOCAB]),
        top_p=st.sampled_from([1.0, 0.95, 0.5, 1e-6]),
        min_p=st.sampled_from([0.0, 0.02, 0.9, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 1.7, 0.6]),
        presence_penalty=st.sampled_from([0.0, 0.3, -1.0]),
        frequency_penalty=st.sampled_from([0.0, 0.7, -0.1]),
        logit_bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-5, 5), max_size=4),
        seed=st.integers(0, 2**64 - 1),
        max_tokens=st.just(12),
        min_tokens=st.sampled_from([0, 5, 12]),
        stop_token_ids=st.lists(st.integers(0, VOCAB + 9), max_size=20).map(tuple),
        logprobs=st.sampled_from([None, 0, 1, 7, VOCAB]),
        return_logits=st.just(True),
    ),
    length=st.integers(1, 20),
)
def test_the_sampler_is_the_reference_to_the_token(tied_logits: Engine, params: SamplingParams, length: int) -> None:
    """Every token is the reference's choice given the engine's own logits."""
    driver = Driver(tied_logits, OPTIONS)
    tokens = prompt_of(length, length)
    tied_logits.add_sequence(0, tokens, length, params)
    num_query, finish = length, FinishReason.NONE
    while finish is FinishReason.NONE:
        result = tied_logits.submit(driver.plan([driver.item(0, num_query)])).result(60)
        [token] = result.tokens
        want = sample(0, result.logits[0][-1], params, tokens, length, length + params.max_tokens)
        assert (token.token_id, token.finish) == (want.token_id, want.finish)
        assert token.logprob == pytest.approx(want.logprob, abs=1e-6)
        assert [i for i, _ in token.top_logprobs] == [i for i, _ in want.top_logprobs]
        assert [p for _, p in token.top_logprobs] == pytest.approx([p for _, p in want.top_logprobs], abs=1e-6)
        tokens.append(token.token_id)
        num_query, finish = 1, token.finish
    driver.free(0)
