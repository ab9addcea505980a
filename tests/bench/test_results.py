"""The file of a comparison goes on after a cut, and belongs to one setting."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.engines import ENGINES, Launch, Setting
from bench.peers.layout import Layout
from bench.peers.protocol import WrongAnswer, timed
from bench.processes import EngineFailed, Runner
from bench.results import Failure, OtherSettings, Results, Sample

SETTINGS = {"engines": ["a", "b"], "threads": 2}


def _sample(engine: str, number: int, workload: str = "W1") -> Sample:
    return Sample("m", workload, engine, number, {"decode": 1.0 + number})


def test_samples_come_back_after_a_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.jsonl"
    results = Results.open(path, SETTINGS)
    results.head["rates"] = {"m": {"bandwidth": 1.0, "flops": 2.0}}
    results.start()
    for sample in (_sample("a", 0), _sample("b", 0), _sample("a", 1)):
        results.add(sample)
    results.version("a", "A 1")
    results.fail(Failure("m", "W2", "b", "no"))
    path.write_text(path.read_text() + '{"model": "m", "workl')

    again = Results.open(path, SETTINGS)
    assert again.head == results.head
    assert again.versions == {"a": "A 1"}
    assert again.samples == results.samples
    assert again.failures == results.failures
    again.keep_complete_rounds({"W1": ["a", "b"]})
    assert again.samples == [_sample("a", 0), _sample("b", 0)]
    again.start()
    assert Results.open(path, SETTINGS).samples == again.samples


def test_an_engine_that_failed_is_not_waited_for_and_one_that_was_cut_off_is(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.jsonl", {"settings": SETTINGS})
    results.samples = [_sample("a", 0), _sample("a", 0, "W2")]
    results.failures = [Failure("m", "W1", "b", "no")]
    results.keep_complete_rounds({"W1": ["a", "b"], "W2": ["a", "b"]})
    assert results.rounds("m", "W1") == {0}
    assert results.rounds("m", "W2") == set()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Results.open(path, SETTINGS).start()
    with pytest.raises(OtherSettings, match=r"other threads: threads was 2, is 4\. Give another file with --results"):
        Results.open(path, {**SETTINGS, "threads": 4})


def test_an_answer_of_the_wrong_length_is_no_measurement() -> None:
    assert timed(lambda prompts, output: [output] * len(prompts))([[1], [2]], 3) >= 0
    with pytest.raises(WrongAnswer, match="asked for 3 tokens for each of 2 prompts, got"):
        timed(lambda prompts, output: [3, 2])([[1], [2]], 3)


RUNNER = """
from bench.peers.protocol import claim_stdout, serve
channel = claim_stdout()
print("noise on stdout")
serve(channel, "fake 1", lambda prompts, output: len(prompts) * 10.0 + output)
"""


def _runner(script: str, log: Path) -> Runner:
    from dataclasses import replace

    engine = replace(ENGINES["vllm"], offline=lambda setting: Launch([sys.executable, "-c", script]))
    return Runner(engine, Setting(Layout(log.parent), "m", 1), log)


def test_a_runner_answers_while_it_may_run(tmp_path: Path) -> None:
    runner = _runner(RUNNER, tmp_path / "log")
    try:
        assert runner.version == "fake 1"
        with runner.running():
            answer = runner.ask([[1, 2], [3, 4]], 5, first=True)
        assert (answer.first, answer.whole) == (21.0, 25.0)
        with runner.running():
            assert runner.ask([[1]], 5, first=False).first is None
    finally:
        runner.close()
    assert "noise on stdout" in (tmp_path / "log").read_text()


def test_a_runner_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"(?s)ended with status 1; the end of .*no such model"):
        _runner("raise SystemExit('no such model')", tmp_path / "log")
