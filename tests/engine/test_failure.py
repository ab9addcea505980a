"""A step that fails inside the engine: its handle says so, and the engine refuses to go on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
