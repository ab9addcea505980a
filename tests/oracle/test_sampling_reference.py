"""The sampler's definition: known answers, exact filters, and the distribution it draws from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

from vajra.engine.api import FinishReason
from vajra.engine.sampling import SamplingParams
from vajra.engine.sampling_reference import (
    adjusted_logits,
    candidates,
    choose,
    log_probabilities,
    philox4x32,
    sample,
    uniform,
)

VOCAB = 40
ONES = 0xFFFFFFFF


def params(**changes: object) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 100, **changes})  # type: ignore[arg-type]


def random_logits(seed: int, scale: float = 3.0) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(VOCAB) * scale).astype(np.float32)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # Random123's known answers for philox4x32 with 10 rounds
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, int, int, int]
) -> None:
    assert philox4x32(counter, key) == words


def test_draws_are_uniform_and_depend_on_every_bit_of_seed_and_position() -> None:
    draws = np.array([uniform(1, p) for p in range(4000)])
    assert (draws >= 0).all()
    assert (draws < 1).all()
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.05
    varied = [uniform(1 << i, 0) for i in range(64)] + [uniform(0, 1 << i) for i in range(40)] + [uniform(0, 0)]
    assert len(set(varied)) == len(varied)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 2.0, "top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.05},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.02},
        {"repetition_penalty": 1.5, "top_k": 10},
    ],
)
def test_draws_follow_the_distribution_that_transformers_filters_leave(changes: dict[str, float]) -> None:
    p, logits, context = params(**changes), random_logits(3), [3, 9, 14, 27]
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(p.repetition_penalty)])
    processors.append(TemperatureLogitsWarper(float(p.temperature)))
    if p.top_k:
        processors.append(TopKLogitsWarper(p.top_k))
    if p.top_p < 1:
        processors.append(TopPLogitsWarper(p.top_p))
    if p.min_p:
        processors.append(MinPLogitsWarper(p.min_p))
    scores = processors(torch.tensor([context]), torch.tensor(logits)[None])
    want = scores[0].double().softmax(-1).numpy()

    ids, weights = candidates(adjusted_logits(logits, p, context, 4), p)
    got = np.zeros(VOCAB)
    got[ids] = weights / weights.sum()
    assert got == pytest.approx(want, abs=1e-6)

    draws = 3000
    seen = np.bincount([choose(logits, params(**changes, seed=s), context, 4) for s in range(draws)], minlength=VOCAB)
    assert not seen[want == 0].any()
    expected = want[want > 0] * draws
    chi_square = ((seen[want > 0] - expected) ** 2 / expected).sum()
    freedom = max((want > 0).sum() - 1, 1)
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom) + 4  # far in the tail; the draws are fixed


def test_greedy_takes_the_lowest_id_of_equals_and_ignores_filters() -> None:
    logits = np.zeros(VOCAB, np.float32)
    logits[[11, 30]] = 2.0
    assert choose(logits, params(temperature=0.0, top_k=1, top_p=0.1, seed=9), [1], 1) == 11


def test_ties_are_cut_by_id() -> None:
    logits = np.zeros(VOCAB, np.float32)
    assert candidates(logits, params(top_k=3))[0].tolist() == [0, 1, 2]
    assert candidates(logits, params(top_p=0.25))[0].tolist() == list(range(10))
    assert candidates(logits, params(min_p=1.0))[0].tolist() == list(range(VOCAB))
    logits[7] = 1.0
    assert candidates(logits, params(top_k=3))[0].tolist() == [7, 0, 1]


def test_top_p_keeps_the_candidate_that_reaches_the_mass_and_at_least_one() -> None:
    logits = np.full(VOCAB, -np.inf, np.float32)
    logits[[5, 6, 7]] = np.log([0.5, 0.3, 0.2]).astype(np.float32)
    assert candidates(logits, params(top_p=0.49))[0].tolist() == [5]
    assert candidates(logits, params(top_p=0.55))[0].tolist() == [5, 6]
    assert candidates(logits, params(top_p=1e-300))[0].tolist() == [5]


def test_penalties_count_from_the_prompt_boundary() -> None:
    logits = np.ones(VOCAB, np.float32)
    tokens = [1, 2, 2, 3, 3, 3, 4]
    p = params(repetition_penalty=2.0, presence_penalty=0.25, frequency_penalty=0.125)
    got = adjusted_logits(logits, p, tokens, 3)
    assert got[:6].tolist() == [1.0, 0.5, 0.5, 0.5 - 0.25 - 3 * 0.125, 0.5 - 0.25 - 0.125, 1.0]
    assert adjusted_logits(-logits, p, tokens, 7)[:6].tolist() == [-1.0, -2.0, -2.0, -2.0, -2.0, -1.0]


def test_bias_can_force_and_the_stop_mask_beats_it() -> None:
    logits = random_logits(1)
    forced = params(temperature=0.0, logit_bias={17: 100.0}, stop_token_ids=(17,))
    assert sample(0, logits, forced, [1], 1, 50).finish is FinishReason.STOP
    held = params(temperature=0.0, logit_bias={17: 100.0}, stop_token_ids=(17, 999), min_tokens=1)
    assert choose(logits, held, [1], 1) != 17
    assert choose(logits, held, [1, 2], 1) == 17


def test_a_stop_id_at_the_last_token_is_a_stop() -> None:
    p = params(temperature=0.0, logit_bias={17: 100.0}, stop_token_ids=(17,), max_tokens=1)
    assert sample(0, random_logits(1), p, [1], 1, 2).finish is FinishReason.STOP


def test_log_probabilities_are_torchs() -> None:
    logits = random_logits(5, 20.0)
    want = torch.tensor(logits).double().log_softmax(-1).numpy()
    assert log_probabilities(logits) == pytest.approx(want, abs=1e-5)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**64 - 1),
    temperature=st.floats(0.01, 10),
    top_k=st.integers(0, VOCAB + 2),
    top_p=st.floats(0.001, 1),
    min_p=st.floats(0, 1),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
)
def test_filters_nest_and_the_draw_is_among_them(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, scale: float
) -> None:
    logits = np.round(random_logits(seed % 1000, scale), 1)  # rounded, so that there are ties
    changes = {"seed": seed, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    p = params(**changes)
    ids, weights = candidates(logits, p)
    assert weights[ids == logits.argmax()].tolist() == [1.0]
    wider = candidates(logits, params(**{**changes, "top_k": 0}))[0]
    assert set(ids) <= set(wider)
    if 0 < top_k < VOCAB:
        assert len(ids) <= top_k
    assert min(weights) >= min(min_p, 1.0)
    token = choose(logits, p, [0, 1], 1)
    assert weights[ids == token] > 0
    assert choose(logits, p, [0, 1], 1) == token
