"""The native sampler against the numpy reference, on the logits that it sampled from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS, MakeEngine
from tests.engine.driver import Request, Schedule, Trace, run
from tests.engine.models import LLAMA, RandomWeights

from vajra.engine import Engine, SamplingParams, create_engine, sampling_reference
from vajra.models.tensor import Tensor

SPEC = replace(LLAMA, vocab_size=3001, num_layers=1)


def checked(engine: Engine, params: list[SamplingParams]) -> list[Trace]:
    """Runs a request for each; every token must be the reference's choice on the same logits."""
    prompt = [5, 5, 2900, 17]
    work = [Request(prompt, replace(p, return_logits=True)) for p in params]
    traces = run(engine, work, Schedule(batch=16), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    for r, trace in zip(work, traces, strict=True):
        known = list(prompt)
        for token in trace.tokens:
            row = trace.logits[len(known) - 1]
            assert token.token_id == sampling_reference.choose(row, r.sampling, known, len(prompt)), r.sampling
            if r.sampling.logprobs is not None:
                want = sampling_reference.log_probabilities(row)
                assert token.logprob == pytest.approx(want[token.token_id], rel=1e-6, abs=1e-6)
                order = sampling_reference.descending(row)[: r.sampling.logprobs]
                assert [i for i, _ in token.top_logprobs] == order.tolist()
                np.testing.assert_allclose([p for _, p in token.top_logprobs], want[order], rtol=1e-6, atol=1e-6)
            known.append(token.token_id)
    return traces


FILTERS: list[dict[str, Any]] = [
    {}, {"top_k": 1}, {"top_k": 7}, {"top_k": 2999}, {"top_k": 3001}, {"top_p": 0.5}, {"top_p": 0.999},
    {"top_p": 1e-9}, {"min_p": 0.1}, {"min_p": 1.0}, {"top_k": 40, "top_p": 0.8},
    {"top_k": 40, "top_p": 0.9, "min_p": 0.05}, {"top_p": 0.95, "min_p": 1e-3},
]  # fmt: skip


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 0.7, 1.0, 50.0])
def test_filters_alone_and_together(temperature: float, make_engine: MakeEngine) -> None:
    checked(
        make_engine(SPEC),
        [
            SamplingParams(temperature=temperature, seed=2**40 * i + i, max_tokens=12, logprobs=i % 4, **f)
            for i, f in enumerate(FILTERS)
        ],
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ties_go_by_id(temperature: float) -> None:
    class Tied(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            tensor = super().tensor(name)
            if name == "lm_head.weight":
                rows = tensor.array
                rows[...] = rows[np.arange(len(rows)) % 40]
                rows[::7] = 0
            return tensor

    spec = replace(SPEC, tie_embeddings=False)
    engine = create_engine(spec, Tied(spec), OPTIONS)
    checked(
        engine,
        [SamplingParams(temperature=temperature, seed=i, max_tokens=8, logprobs=9, **f) for i, f in enumerate(FILTERS)],
    )
    engine.close()


def test_penalties_bias_and_masks(make_engine: MakeEngine) -> None:
    rng = np.random.default_rng(11)
    params = [
        SamplingParams(
            temperature=float(rng.choice([0.0, 0.8, 1.3])),
            top_k=int(rng.choice([0, 5])),
            repetition_penalty=float(rng.choice([1.0, 1.3, 0.8])),
            presence_penalty=float(rng.choice([0.0, 1.5, -1.0])),
            frequency_penalty=float(rng.choice([0.0, 0.7, -0.5])),
            logit_bias={int(i): float(rng.normal() * 5) for i in rng.integers(0, 3001, 5)},
            min_tokens=int(rng.integers(0, 10)),
            stop_token_ids=(*rng.integers(0, 3001, 300).tolist(), 5000),
            seed=int(rng.integers(0, 2**63)),
            max_tokens=20,
            logprobs=5,
        )
        for _ in range(24)
    ]
    checked(make_engine(SPEC), params)


def test_penalties_change_what_greedy_repeats(make_engine: MakeEngine) -> None:
    plain, penal = checked(
        make_engine(SPEC),
        [SamplingParams(temperature=0.0, max_tokens=40, frequency_penalty=f) for f in (0.0, 100.0)],
    )
    assert len(set(plain.ids)) < 40
    assert len(set(penal.ids)) == 40


def test_seeds_give_other_draws_and_the_right_distribution(make_engine: MakeEngine) -> None:
    """Frequencies of first tokens over many seeds match the softmax (chi-squared, fixed seeds)."""
    n = 4000
    spec = replace(SPEC, vocab_size=24)
    sampling = SamplingParams(temperature=2.0, max_tokens=1)
    work = [Request([3], replace(sampling, seed=i, return_logits=i == 0)) for i in range(n)]
    traces = run(make_engine(spec), work, Schedule(batch=64), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    row = traces[0].logits[0].astype(np.float64) / 2
    p = np.exp(row - row.max())
    expected = n * p / p.sum()
    seen = np.bincount([t.ids[0] for t in traces], minlength=24)
    common = expected >= 5
    chi2 = ((seen - expected)[common] ** 2 / expected[common]).sum()
    assert chi2 < common.sum() + 4 * np.sqrt(2 * common.sum())
