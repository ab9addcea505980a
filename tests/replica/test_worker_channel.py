"""The worker's frames and what it reads of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.worker import resources
from vajra.worker.protocol import Add, FrameSplitter, Free, Plan, ToWorker, encode, to_worker

MESSAGES: list[ToWorker] = [
    Add(1, [5, 6, 7], 2, {"temperature": 0.5, "logit_bias": {3: -1.0}, "stop_token_ids": [2]}),
    Plan(0, [(1, 3, [10, 11])], [4]),
    Free([1, 2]),
]


@given(st.lists(st.integers(1, 40), max_size=30))
def test_frames_survive_any_cut(cuts: list[int]) -> None:
    data, splitter = encode(MESSAGES), FrameSplitter()
    frames, start = [], 0
    for length in [*cuts, len(data)]:
        frames += splitter.push(data[start : start + length])
        start += length
    assert [to_worker.decode(frame) for frame in frames] == MESSAGES


def test_a_frame_out_of_step_is_noticed() -> None:
    with pytest.raises(ValueError, match="out of step"):
        FrameSplitter().push(b"\xff\xff\xff\xff")


def test_limits_of_cgroups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer = tmp_path / "inner", tmp_path
    inner.mkdir()
    monkeypatch.setattr(resources, "_own_cgroups", lambda controller: [inner, outer])
    machine, cores = resources.memory_limit_bytes(), resources.num_cores()
    assert cores == len(os.sched_getaffinity(0))
    (inner / "memory.max").write_text("max\n")
    (outer / "memory.max").write_text("1000000\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    (outer / "cpu.max").write_text("max 100000\n")
    assert resources.memory_limit_bytes() == 1_000_000 < machine
    assert resources.num_cores() == 1
    (outer / "memory.max").unlink()
    (outer / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert resources.memory_limit_bytes() == machine
