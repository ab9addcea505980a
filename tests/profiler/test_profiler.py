"""Measuring a tiny engine in seconds: files, resumption, what is left behind, the cache and its lock."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.models import LLAMA, QWEN3, RandomWeights, int8
from tests.prediction.profiles import IDENTITY, profile

from vajra.engine import BatchPlan, Engine, EngineOptions, PlanItem, SamplingParams, create_engine, isa
from vajra.models.spec import ModelSpec
from vajra.prediction import FittedPredictor, Profile, ProfileError
from vajra.prediction.measurements import find_model_folder, read_identity, read_measurements
from vajra.profiler import Preset, cached, cached_or_measured, folder_of, identity_of
from vajra.profiler.calm import Calm
from vajra.profiler.measuring import measure
from vajra.profiler.operators import Operators

OPTIONS = EngineOptions(
    num_blocks=96, block_size=16, max_model_len=256, max_batch_size=8, max_batch_tokens=64, num_threads=1
)
TINY = Preset(
    name="tiny",
    tokens=(1, 8, 64),
    chunks=(8, 64),
    contexts=(0, 128),
    decodes=(1, 8),
    decode_contexts=(16, 128),
    rows=(1, 8),
    passes=2,
    fewest=2,
    most_pairs=1_000_000,
    most_steps=60,
    operator_seconds=5.0,
    step_seconds=5.0,
    patience=0.1,
)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS)
    yield made
    made.close()


def rows(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().splitlines()) - 1 for path in sorted(folder.glob("*.csv"))}


@pytest.mark.parametrize("spec", [LLAMA, int8(QWEN3)], ids=["llama", "qwen3-int8"])
def test_an_engine_is_measured_into_a_profile(spec: ModelSpec, tmp_path: Path) -> None:
    engine = create_engine(spec, RandomWeights(spec), OPTIONS)
    said: list[float] = []
    try:
        found = measure(
            engine,
            spec,
            OPTIONS,
            preset=TINY,
            model="tiny",
            folder=tmp_path,
            progress=lambda _, part: said.append(part),
        )
    finally:
        engine.close()
    assert said == sorted(said)
    assert said[-1] == 1
    found.check(identity_of(spec, OPTIONS))
    assert rows(tmp_path)["mlp.csv"] == 3 * TINY.passes
    assert rows(tmp_path)["attention.csv"] == (4 + 4) * TINY.passes
    assert found.errors is not None
    assert found.errors.steps == rows(tmp_path)["steps.csv"] == len(read_measurements(tmp_path)[0].steps)
    assert find_model_folder(tmp_path) == tmp_path
    assert read_identity(tmp_path) == (found.identity, "tiny")
    batch = FittedPredictor(found).batch()
    batch.add_decodes(4, 100)
    assert 0 < batch.seconds < 1


@pytest.mark.parametrize(("kv_blocks", "tokens"), [(2 * 96, 2 * 96 * 16), (1, 256), (1 << 20, (256 << 20) // 256)])
def test_calls_pass_as_many_pages_as_the_engine_has(kv_blocks: int, tokens: int) -> None:
    """Up to 256 MiB, so that caches do not hold what steps read from memory; at least what one sequence takes."""
    operators = Operators(
        replace(LLAMA, dtype="float32"),
        isa=isa(),
        threads=1,
        block_size=16,
        max_context=256,
        kv_blocks=kv_blocks,
        fewest=1,
        calm=Calm(0.0, 1),
    )
    assert operators.max_kv_tokens == tokens


def test_an_interrupted_measurement_goes_on(engine: Engine, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    begun: list[str] = []

    def interrupt(what: str, part: float) -> None:
        begun.append(what)
        if len(begun) == 7:
            raise Interrupted

    with pytest.raises(Interrupted):
        measure(engine, LLAMA, OPTIONS, preset=TINY, folder=tmp_path, progress=interrupt)
    before = {path: path.read_text() for path in tmp_path.glob("*.csv")}
    assert sum(rows(tmp_path).values()) == 6
    measured: list[str] = []
    measure(engine, LLAMA, OPTIONS, preset=TINY, folder=tmp_path, progress=lambda what, _: measured.append(what))
    assert all(path.read_text().startswith(text) for path, text in before.items())
    every = [what for what in begun[:6] + measured if what not in ("whole steps", "fitted")]
    assert set(Counter(every).values()) == {TINY.passes}, "each point once in each pass, before or after"
    assert rows(tmp_path)["steps.csv"] == TINY.most_steps
    measure(engine, LLAMA, OPTIONS, preset=TINY, folder=tmp_path)
    assert rows(tmp_path)["steps.csv"] == TINY.most_steps


def test_the_engine_is_left_as_it_was_found(engine: Engine) -> None:
    """A sequence in blocks that are not free gets the same tokens after a measurement as without."""

    def run(number: int, during: bool) -> list[int]:
        sampling = SamplingParams(temperature=0.0, max_tokens=20)
        engine.add_sequence(number, list(range(3, 40)), 37, sampling)
        blocks = list(range(4))
        results = [engine.submit(BatchPlan(1, [PlanItem(number, 37, blocks)])).result(30)]
        if during:
            measure(engine, LLAMA, OPTIONS, preset=TINY, free_blocks=range(4, OPTIONS.num_blocks))
        for i in range(19):
            results.append(engine.submit(BatchPlan(2 + i, [PlanItem(number, 1)])).result(30))
        engine.free_sequence(number)
        return [token.token_id for result in results for token in result.tokens]

    assert run(1, during=False) == run(2, during=True)


def test_measurements_of_something_else_are_not_gone_on_with(engine: Engine, tmp_path: Path) -> None:
    measure(engine, LLAMA, OPTIONS, preset=TINY, folder=tmp_path)
    with pytest.raises(ProfileError, match="num_layers is 3"):
        measure(engine, replace(LLAMA, num_layers=3), OPTIONS, preset=TINY, folder=tmp_path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path))
    return tmp_path


def test_a_profile_is_kept_for_its_identity(cache: Path) -> None:
    assert cached(IDENTITY) is None
    found = cached_or_measured(IDENTITY, lambda folder: profile())
    again = cached_or_measured(IDENTITY, lambda folder: pytest.fail("measured twice"))
    assert again.fingerprint() == found.fingerprint()
    assert cached(replace(IDENTITY, threads=7)) is None
    (folder_of(IDENTITY) / "profile.json").write_text("{")
    assert cached(IDENTITY) is None


def test_a_cache_that_cannot_be_written_costs_no_profile(cache: Path) -> None:
    (cache / "profiles").write_text("a file")
    asked: list[Path | None] = []

    def made(folder: Path | None) -> Profile:
        asked.append(folder)
        return profile()

    assert cached_or_measured(IDENTITY, made).fingerprint() == profile().fingerprint()
    assert asked == [None]


def _measure_or_wait(log: Path, others: int) -> None:
    def slow(folder: Path | None) -> Profile:
        with log.open("a") as f:
            f.write("measured\n")
        for _ in range(3000):
            if log.read_text().count("waiting") == others:
                break
            time.sleep(0.01)
        return profile()

    def waiting() -> None:
        with log.open("a") as f:
            f.write("waiting\n")

    found = cached_or_measured(IDENTITY, slow, waiting)
    with log.open("a") as f:
        f.write(found.fingerprint() + "\n")


def test_of_processes_that_start_together_one_measures(cache: Path) -> None:
    log = cache / "log"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_measure_or_wait, args=(log, 2)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    lines = log.read_text().split()
    assert lines.count("measured") == 1
    assert lines.count("waiting") == 2
    assert lines.count(profile().fingerprint()) == 3
