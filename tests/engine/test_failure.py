"""What fails inside the engine: a step, which ends the engine, or one sequence's logits, which end it alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS, MakeEngine
from tests.engine.driver import Request, Schedule, Trace, run
from tests.engine.models import LLAMA, RandomWeights

from vajra.engine import (
    BatchPlan,
    FinishReason,
    PlanItem,
    SampledToken,
    SamplingParams,
    create_engine,
    sampling_reference,
)
from vajra.models.tensor import Tensor

# Out of address space for the logits that a step is to return.
SCRIPT = """
import re, resource
from dataclasses import replace
from tests.engine.models import LLAMA, RandomWeights
from vajra.engine import BatchPlan, EngineError, EngineOptions, PlanItem, SamplingParams, create_engine

spec = replace(LLAMA, vocab_size=20011)
engine = create_engine(spec, RandomWeights(spec), EngineOptions(
    num_blocks=256, block_size=16, max_model_len=4096, max_batch_size=8, max_batch_tokens=2048, num_threads=1))
for i in (1, 2):
    engine.add_sequence(i, [3] * 2000, 2000, SamplingParams(temperature=0.0, max_tokens=2, return_logits=i == 1))
in_use = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**20, in_use + 2**20))
first = engine.submit(BatchPlan(7, [PlanItem(1, 2000, range(125))]))
errors = []
second = BatchPlan(8, [PlanItem(2, 2000, range(125, 250))])
for act in (first.result, first.result, lambda: engine.submit(second).result()):
    try:
        act()
    except EngineError as e:
        errors.append(str(e))
engine.close()
assert len(errors) == 3, errors
assert errors[0] == errors[1] and errors[0].startswith("step 7 failed"), errors
assert "step 7 failed" in errors[2], errors
"""


@pytest.mark.skipif(
    "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ, reason="sanitizers abort when memory runs out"
)
def test_a_failed_step_ends_the_engine() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Poisoned(RandomWeights):
    """Token 7's embedding is NaN."""

    def tensor(self, name: str) -> Tensor:
        tensor = super().tensor(name)
        if name == "model.embed_tokens.weight":
            tensor.array[7] = np.nan
        return tensor


@pytest.mark.parametrize("params", [{"temperature": 0.0}, {"top_k": 5}, {"logprobs": 3, "frequency_penalty": 0.5}])
def test_logits_of_nan_end_their_sequence_alone(family: str, params: dict[str, Any]) -> None:
    spec = replace(LLAMA, tie_embeddings=False)
    sampling = SamplingParams(max_tokens=4, **params)
    sound = [Request([3, i, 5], sampling) for i in (2, 9, 11)]
    poisoned = [Request([3, 7], sampling), Request([7] * 40, sampling)]

    def traces(work: list[Request]) -> list[Trace]:
        engine = create_engine(spec, Poisoned(spec), OPTIONS)
        try:
            return run(engine, work, Schedule(batch=8, chunk=16), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
        finally:
            engine.close()

    mixed = traces([poisoned[0], *sound, poisoned[1]])
    for trace in (mixed[0], mixed[4]):
        [token] = trace.tokens
        assert (token.token_id, token.finish, token.logprob) == (-1, FinishReason.ERROR, None)
    for alone, together in zip(traces(sound), mixed[1:4], strict=True):
        assert [replace(t, seq_id=0) for t in alone.tokens] == [replace(t, seq_id=0) for t in together.tokens]


def test_infinite_logits_end_a_sequence() -> None:
    class Huge(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            tensor = super().tensor(name)
            if name == "lm_head.weight":
                tensor.array[100] = 3e38
            return tensor

    spec = replace(LLAMA, tie_embeddings=False)
    engine = create_engine(spec, Huge(spec), OPTIONS)
    engine.add_sequence(1, [3], 1, SamplingParams(temperature=0.0, max_tokens=4))
    [token] = engine.submit(BatchPlan(0, [PlanItem(1, 1, [0])])).result(60).tokens
    assert token == SampledToken(1, -1, FinishReason.ERROR)
    engine.close()


def test_a_penalty_that_overflows_chooses_what_it_has_blown_up(make_engine: MakeEngine) -> None:
    engine = make_engine()
    sampling = SamplingParams(repetition_penalty=1e-38, max_tokens=6, seed=3, return_logits=True)
    work = [Request([5, 6, 7, 8], sampling)]
    [trace] = run(engine, work, Schedule(), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    known = [5, 6, 7, 8]
    for token in trace.tokens:
        row = trace.logits[len(known) - 1]
        with np.errstate(over="ignore"):
            assert token.token_id == sampling_reference.choose(row, sampling, known, 4)
        known.append(token.token_id)


# Out of address space for the scratch memory of a kernel's threads, and for nothing else.
SCRATCH = """
import re, resource
import numpy as np
from vajra.engine._native import ops

pool = ops.KvPool("float32", 16, 1, 256, 128)
seqs = ops.Sequences([(10, 100, [i]) for i in range(16)], pool)
q = np.zeros((160, 4, 256), np.float32)
single, kernels = (ops.Ops(ops.host_isa(), n) for n in (1, 2))
for _ in range(3):  # the arrays' memory
    single.attention(q, pool, seqs, 1.0)
in_use = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (in_use, most))
single.attention(q, pool, seqs, 1.0)
try:
    kernels.attention(q, pool, seqs, 1.0)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    kernels.attention(q, pool, seqs, 1.0)  # the threads are as they were
else:
    raise AssertionError("there was memory")
"""


@pytest.mark.skipif(
    "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ, reason="sanitizers abort when memory runs out"
)
def test_a_kernel_that_runs_out_of_memory_tells_its_caller() -> None:
    done = subprocess.run([sys.executable, "-c", SCRATCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
