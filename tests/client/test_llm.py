"""The offline face on the embedded model, cut to two layers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from vajra.client import LLM, DeadlineExceededError, InvalidRequestError, SamplingParams, VajraError
from vajra.config import (
    ConfigError,
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    SpaceSharingReplicaSchedulerConfig,
)
from vajra.models import ModelError

MODEL = "smollm2-135m-instruct"
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
PROMPTS = ["The capital of France is", "Two plus two is", "Once upon a time there was a small dog"]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(MODEL, override_num_layers=2, dtype="float32", max_model_len=512) as running:
        yield running


def test_results_come_in_the_order_of_the_prompts_and_whatever_the_batch(llm: LLM) -> None:
    together = llm.generate(PROMPTS, GREEDY)
    alone = [llm.generate(prompt, GREEDY)[0] for prompt in PROMPTS]
    assert together == [r for r in together if r.finish_reason == "length"]
    for prompt, one, other in zip(PROMPTS, together, alone, strict=True):
        assert one.prompt == prompt
        assert (one.text, one.token_ids) == (other.text, other.token_ids)
        assert len(one.token_ids) == one.usage.completion_tokens == 12


def test_a_stream_says_what_generate_says(llm: LLM) -> None:
    deltas = list(llm.stream(PROMPTS[0], GREEDY))
    whole = llm.generate(PROMPTS[0], GREEDY)[0]
    assert len(deltas) > 1
    assert "".join(d.text for d in deltas) == whole.text
    assert tuple(t for d in deltas for t in d.token_ids) == whole.token_ids
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_parameters_arrive(llm: LLM) -> None:
    params = SamplingParams(n=2, temperature=1.0, seed=7, max_tokens=5, logprobs=3, ignore_eos=True)
    first, again = (llm.generate("A", params)[0] for _ in range(2))
    assert [c.token_ids for c in first.completions] == [c.token_ids for c in again.completions]
    assert first.completions[0].token_ids != first.completions[1].token_ids
    for completion in first.completions:
        assert len(completion.logprobs) == 5
        assert all(p.logprob <= 0 and len(p.alternatives) == 3 for p in completion.logprobs)
    own = llm.generate(["A", "A"], [SamplingParams(max_tokens=1), SamplingParams(max_tokens=2, ignore_eos=True)])
    assert [len(r.token_ids) for r in own] == [1, 2]


def test_a_conversation_is_one_prompt(llm: LLM) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    (listed,) = llm.generate(messages, GREEDY)
    said = llm.chat(messages, GREEDY)
    assert said.token_ids == listed.token_ids
    assert said.usage.prompt_tokens > 10  # the template's own tokens


def test_token_ids_in_and_out(llm: LLM) -> None:
    ids = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True, detokenize=False)
    (result,) = llm.generate([504, 3575, 282], ids)
    assert result.usage.prompt_tokens == 3
    assert len(result.token_ids) == 3
    assert result.text == ""


def test_leaving_a_stream_early_disturbs_nobody(llm: LLM) -> None:
    endless = SamplingParams(temperature=0, max_tokens=400, ignore_eos=True)
    expected = llm.generate(PROMPTS[1], GREEDY)[0].token_ids
    for _ in llm.stream(PROMPTS[0], endless):
        break
    assert llm.generate(PROMPTS[1], GREEDY)[0].token_ids == expected


async def test_any_event_loop_may_ask(llm: LLM) -> None:
    expected = await asyncio.to_thread(llm.generate, PROMPTS, GREEDY)
    results = await asyncio.gather(*(llm.agenerate(prompt, GREEDY) for prompt in PROMPTS))
    assert [r.token_ids for r in results] == [r.token_ids for r in expected]
    async with aclosing(llm.astream(PROMPTS[0], GREEDY)) as deltas:
        async for delta in deltas:
            assert delta.token_ids == expected[0].token_ids[: len(delta.token_ids)]
            break


@pytest.mark.parametrize(
    ("prompt", "params", "says"),
    [
        ("hi", SamplingParams(top_p=2.0), "top_p"),
        ("", SamplingParams(), "empty"),
        ([10**6], SamplingParams(), "prompt"),
        ("word " * 600, SamplingParams(), "512"),
    ],
)
def test_a_bad_request_says_why_and_the_next_one_works(
    llm: LLM, prompt: str | list[int], params: SamplingParams, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        llm.generate(prompt, params)
    assert llm.generate("hi", GREEDY)[0].finish_reason == "length"


@pytest.mark.parametrize("prompt", [5, None, [[]], ["a", 5], [None], [1, "a"], {"role": "user", "content": "a"}])
async def test_what_is_no_prompt_is_refused_by_every_face(llm: LLM, prompt: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^prompts.* is .*; a prompt is text"):
        llm.generate(prompt)
    with pytest.raises(InvalidRequestError, match=r"^messages.* is .*message"):
        llm.chat(prompt)
    for face in (llm.stream, llm.astream):
        with pytest.raises(InvalidRequestError, match=r"^prompt.* is .*; a prompt is text"):
            face(prompt)
    with pytest.raises(InvalidRequestError, match=r"^prompt.* is .*; a prompt is text"):
        await llm.agenerate(prompt)


def test_what_is_no_sampling_or_timeout_is_refused(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match=r"sampling is \{'n': 1\}; give a SamplingParams"):
        llm.generate("a", {"n": 1})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"sampling\[1\] is None"):
        llm.generate(["a", "b"], [GREEDY, None])  # type: ignore[list-item]
    with pytest.raises(InvalidRequestError, match="timeout is '1'"):
        llm.stream("a", timeout="1")  # type: ignore[arg-type]


def test_one_sampling_per_prompt_or_one_for_all(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match="2 SamplingParams for 3 prompts"):
        llm.generate(PROMPTS, [GREEDY, GREEDY])
    assert llm.generate([]) == []


def test_more_prompts_than_the_queue_holds(llm: LLM) -> None:
    one = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, n=4, detokenize=False)
    results = llm.generate([[number % 97 + 1000] for number in range(260)], one)
    assert [len(r.completions) for r in results] == [4] * 260


def test_a_deadline_ends_a_request_and_frees_it(llm: LLM) -> None:
    endless = SamplingParams(temperature=0, max_tokens=500, ignore_eos=True)
    with pytest.raises(DeadlineExceededError):
        llm.generate("A", endless, timeout=0.01)
    assert llm.generate("A", GREEDY, timeout=60)[0].finish_reason == "length"


def test_the_model_is_described(llm: LLM) -> None:
    info = llm.model
    assert (info.name, info.num_layers, info.max_context_tokens, info.dtype) == (MODEL, 2, 512, "float32")


def test_what_cannot_be_served_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_batch_size"):
        LLM(MODEL, max_batchsize=3)
    with pytest.raises(ConfigError, match=r"spec\.parallelism\.tensor"):
        LLM(MODEL, tensor_parallel_size=2)
    with pytest.raises(ModelError, match="no-such-model"):
        LLM("no-such-model")
    with pytest.raises(ConfigError, match="cannot be read"):
        LLM(tmp_path / "absent.yaml")
    with pytest.raises(TypeError, match="dtype"):
        LLM(tmp_path / "absent.yaml", dtype="float32")


def test_a_script_without_a_main_guard_works_and_need_not_close(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from vajra.client import LLM, SamplingParams\n"
        f"llm = LLM({MODEL!r}, override_num_layers=2)\n"
        "print(len(llm.generate('A', SamplingParams(max_tokens=4, ignore_eos=True))[0].token_ids))\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "4"
    assert "Traceback" not in result.stderr


def test_closing_fails_what_is_in_flight_and_may_be_done_twice() -> None:
    llm = LLM(MODEL, override_num_layers=2)
    deltas = llm.stream("A", SamplingParams(temperature=0, max_tokens=2000, ignore_eos=True))
    next(deltas)
    llm.close()
    with pytest.raises(VajraError):
        list(deltas)
    llm.close()
    with pytest.raises(VajraError, match="closed"):
        llm.generate("A")


def test_schedulers_and_prioritizers_are_swapped_under_running_requests() -> None:
    """As in the reference's first example."""
    fixed = FixedChunkReplicaSchedulerConfig(max_batch_size=16, chunk_size=64)
    dynamic = DynamicChunkReplicaSchedulerConfig(
        max_batch_size=16, max_chunk_size_param=64, min_chunk_size_param=16, target_batch_time_param=0.02
    )
    prompts = [[10 + i, 20, 30] * (1 + 20 * i) for i in range(6)]
    sampling = SamplingParams(temperature=1.0, seed=3, max_tokens=150, ignore_eos=True)
    with LLM(MODEL, override_num_layers=2, dtype="float32", max_model_len=512, scheduler_config=fixed) as llm:
        undisturbed = llm.generate(prompts, sampling)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(llm.generate, prompts, sampling)
            while not running.done():
                llm.reconfigure(scheduler_config=dynamic, prioritizer_config=LrsRequestPrioritizerConfig())
                llm.reconfigure(scheduler_config=fixed)
                llm.reconfigure(prioritizer_config=EdfRequestPrioritizerConfig())
            assert [r.token_ids for r in running.result()] == [r.token_ids for r in undisturbed]
        with pytest.raises(ConfigError, match="LRS with scheduler SpaceSharing"):
            llm.reconfigure(scheduler_config=SpaceSharingReplicaSchedulerConfig())
        with pytest.raises(InvalidRequestError, match=r"chunkSize is 128: .* at most 64"):
            llm.reconfigure(scheduler_config=FixedChunkReplicaSchedulerConfig(max_batch_size=16, chunk_size=128))
