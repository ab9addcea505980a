"""Promise 1: what a request gets depends on prompt, parameters and seed alone, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS, MakeEngine
from tests.engine.driver import Request, Schedule, Trace, run, same
from tests.engine.models import LLAMA, QWEN2, VARIANTS, int8

from vajra.engine import SamplingParams
from vajra.models.spec import ModelSpec

BUDGET = OPTIONS.max_batch_tokens


def requests(spec: ModelSpec, count: int, longest: int, logits: bool = True) -> list[Request]:
    """Prompts of mixed lengths, every kind of sampling among them."""
    rng = np.random.default_rng(7)
    made = []
    for i in range(count):
        length = longest if i == 0 else int(rng.integers(1, longest))
        sampling = SamplingParams(
            temperature=(0.0, 1.0, 0.7)[i % 3],
            top_k=(0, 20, 0)[i % 3],
            top_p=(1.0, 1.0, 0.9)[i % 3],
            repetition_penalty=1.2 if i % 4 == 1 else 1.0,
            frequency_penalty=0.3 if i % 4 == 2 else 0.0,
            seed=1000 + i,
            max_tokens=int(rng.integers(1, 12)),
            logprobs=3 if i % 2 else 0,
            return_logits=logits and i % 2 == 0,
        )
        made.append(Request(rng.integers(0, spec.vocab_size, length).tolist(), sampling))
    return made


def traces(make: MakeEngine, spec: ModelSpec, work: list[Request], how: Schedule, threads: int = 2) -> list[Trace]:
    num_blocks = 8192 // how.block_size * 2
    engine = make(spec, block_size=how.block_size, num_blocks=num_blocks, num_threads=threads)
    return run(engine, work, how, num_blocks, BUDGET)


SCHEDULES = (
    (Schedule(batch=2, chunk=1, block_size=8), 2),
    (Schedule(batch=5, chunk=7, block_size=32, seed=1), 3),
    (Schedule(batch=12, chunk=16, block_size=128, ahead=2, seed=2), 4),
    (Schedule(batch=12, chunk=100, block_size=64, seed=3), 1),
    (Schedule(batch=12, chunk=129, block_size=16, preempt=0.3, seed=4), 2),
    (Schedule(batch=12, chunk=2048, block_size=16, ahead=0, seed=5), 2),
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
def test_schedule_never_shows(family: str, dtype: str, make_engine: MakeEngine) -> None:
    spec = int8(LLAMA) if dtype == "int8" else replace(LLAMA, dtype=dtype)
    work = requests(spec, 12, 300)
    alone = traces(make_engine, spec, work, Schedule(), threads=1)
    for how, threads in SCHEDULES:
        same(alone, traces(make_engine, spec, work, how, threads))


@pytest.mark.parametrize("spec", VARIANTS[1:], ids=lambda s: s.architecture)
def test_every_architecture(spec: ModelSpec, make_engine: MakeEngine) -> None:
    spec = replace(spec, dtype="bfloat16")
    work = requests(spec, 9, 150)
    alone = traces(make_engine, spec, work, Schedule(), threads=1)
    for how in (Schedule(batch=9, chunk=33, preempt=0.2), Schedule(batch=4, chunk=5, block_size=64)):
        same(alone, traces(make_engine, spec, work, how))


@pytest.mark.parametrize("batch", [2, 3, 17, 64])
def test_batches_up_to_64(batch: int, make_engine: MakeEngine) -> None:
    spec = replace(QWEN2, dtype="bfloat16")
    work = requests(spec, 64, 40)
    same(
        traces(make_engine, spec, work, Schedule()),
        traces(make_engine, spec, work, Schedule(batch=batch, chunk=16, preempt=0.1, seed=batch)),
    )


def test_long_context_in_chunks_up_to_2048(make_engine: MakeEngine) -> None:
    spec = replace(LLAMA, dtype="bfloat16", num_layers=1)
    work = requests(spec, 1, 2500, logits=False)
    whole = traces(make_engine, spec, work, Schedule(chunk=2048))
    for chunk in (64, 500, 1024):
        same(whole, traces(make_engine, spec, work, Schedule(chunk=chunk, block_size=32)))


def test_resume_at_any_boundary(family: str, make_engine: MakeEngine) -> None:
    """A sequence resumed elsewhere goes on as if nothing had happened."""
    spec = replace(LLAMA, dtype="bfloat16")
    sampling = SamplingParams(
        temperature=0.9, top_p=0.95, repetition_penalty=1.1, presence_penalty=0.2, seed=2**63 + 5, max_tokens=20,
        min_tokens=6, stop_token_ids=tuple(range(3, 20)), logprobs=2,
    )  # fmt: skip
    prompt = np.random.default_rng(3).integers(0, spec.vocab_size, 37).tolist()
    engine = make_engine(spec)
    [whole] = run(engine, [Request(prompt, sampling)], Schedule(), OPTIONS.num_blocks, BUDGET)
    cuts = range(1, len(whole.ids))
    resumed = [Request(prompt + whole.ids[:cut], sampling, len(prompt)) for cut in cuts]
    for cut, trace in zip(
        cuts, run(engine, resumed, Schedule(batch=8, chunk=11), OPTIONS.num_blocks, BUDGET), strict=True
    ):
        assert [replace(t, seq_id=0) for t in trace.tokens] == whole.tokens[cut:]
