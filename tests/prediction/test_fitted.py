"""FittedPredictor: sums of parts, in any order; and the profile file."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.prediction.profiles import IDENTITY, profile, tables

from vajra.prediction import FittedBatch, FittedPredictor, Profile, ProfileError, ProfileMismatch
from vajra.scheduling.predictor import Predictor

PREDICTOR = FittedPredictor(profile())

chunks = st.tuples(st.integers(1, 5000), st.integers(0, 10**6), st.booleans())
decodes = st.tuples(st.integers(1, 300), st.integers(0, 10**6))
additions = st.one_of(chunks, decodes)


def add(batch: FittedBatch, addition: tuple[int, ...]) -> None:
    if len(addition) == 3:
        batch.add_chunk(addition[0], addition[1], bool(addition[2]))
    else:
        batch.add_decodes(*addition)


def seconds(items: list[tuple[int, ...]]) -> float:
    batch = PREDICTOR.batch()
    for item in items:
        add(batch, item)
    return batch.seconds


def test_it_is_what_scheduling_asks_for() -> None:
    asked: Predictor = PREDICTOR
    assert asked.batch().seconds == 0


def test_a_batch_takes_the_sum_of_its_parts() -> None:
    t = tables()
    batch = PREDICTOR.batch()
    batch.add_decodes(3, 300)
    batch.add_decodes(2, 50)
    batch.add_chunk(40, 1000, True)
    batch.add_chunk(7, 0, False)
    expected = t.constant + t.tokens(52) + t.rows(6) + t.decode(5, 350) + t.prefill(40, 1000) + t.prefill(7, 0)
    assert batch.seconds == pytest.approx(expected)


@given(st.lists(additions, max_size=6).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items))))
def test_order_does_not_matter(both: tuple[list[tuple[int, ...]], list[tuple[int, ...]]]) -> None:
    assert seconds(both[0]) == pytest.approx(seconds(both[1]))


@given(st.lists(additions, max_size=4), additions)
def test_more_never_takes_less_and_all_is_finite(items: list[tuple[int, ...]], more: tuple[int, ...]) -> None:
    before, after = seconds(items), seconds([*items, more])
    assert before <= after * (1 + 1e-9)
    assert 0 < after < math.inf


@given(st.lists(additions, max_size=4), chunks)
def test_with_chunk_is_what_add_chunk_leads_to(items: list[tuple[int, ...]], chunk: tuple[int, int, bool]) -> None:
    batch = PREDICTOR.batch()
    for item in items:
        add(batch, item)
    expected = batch.with_chunk(*chunk)
    batch.add_chunk(*chunk)
    assert batch.seconds == pytest.approx(expected)


@given(st.lists(additions, max_size=3), st.integers(1, 4000), st.integers(0, 10**5), st.booleans())
def test_a_longer_chunk_and_a_longer_context_take_no_less(
    items: list[tuple[int, ...]], num_query: int, context: int, samples: bool
) -> None:
    batch = PREDICTOR.batch()
    for item in items:
        add(batch, item)
    one = batch.with_chunk(num_query, context, samples) * (1 - 1e-9)
    assert one <= batch.with_chunk(num_query + 1, context, samples)
    assert one <= batch.with_chunk(num_query, context + 1, samples)
    assert one <= batch.with_chunk(num_query, context, True)


def test_a_step_is_all_stages() -> None:
    staged = FittedPredictor(profile(pipeline_parallel=4)).batch()
    plain = PREDICTOR.batch()
    for batch in (staged, plain):
        batch.add_chunk(100, 50, True)
    assert staged.seconds == pytest.approx(4 * plain.seconds)


def test_the_slowest_group_is_the_stages_time() -> None:
    predictor = FittedPredictor(profile(pipeline_parallel=2))
    short, long = [(1, 100, True)], [(64, 4000, False), (1, 20, True)]
    assert predictor.stage_time([short, long]) == predictor.stage_time([long]) > predictor.stage_time([short]) > 0
    assert predictor.stage_time([]) == 0


def test_a_slower_machine_is_followed_within_bounds() -> None:
    predictor = FittedPredictor(profile())
    for _ in range(400):
        batch = predictor.batch()
        batch.add_decodes(4, 400)
        batch.observe(2 * seconds([(4, 400)]))
    assert predictor.scale == pytest.approx(2, rel=0.01)
    for _ in range(1000):
        one_step(predictor).observe(100.0)
    assert predictor.scale == 4
    for _ in range(1000):
        one_step(predictor).observe(1e-9)
    assert predictor.scale == 0.5


def one_step(predictor: FittedPredictor) -> FittedBatch:
    batch = predictor.batch()
    batch.add_decodes(1, 10)
    return batch


def test_one_outlier_moves_little_and_nonsense_nothing() -> None:
    predictor = FittedPredictor(profile())
    for actual in (0.0, -1.0, math.nan, math.inf):
        one_step(predictor).observe(actual)
    assert predictor.scale == 1
    one_step(predictor).observe(1000.0)
    assert 1 < predictor.scale < 1.03


def test_a_profile_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "profile.json"
    written = profile()
    written.write(path)
    read = Profile.read(path)
    assert read.fingerprint() == written.fingerprint()
    assert read.tables.plain() == written.tables.plain()
    assert [p.name for p in path.parent.iterdir()] == ["profile.json"]


def test_a_mismatch_names_every_field_both_values_and_the_way_out() -> None:
    with pytest.raises(ProfileMismatch) as error:
        profile(threads=8, dtype="float32").check(IDENTITY)
    said = str(error.value)
    for part in ("threads is 2 here and 8 in the profile", "dtype is 'bfloat16' here and 'float32'", "vajra profile"):
        assert part in said
    profile().check(IDENTITY)


@pytest.mark.parametrize("name", [f.name for f in fields(IDENTITY)])
def test_every_field_of_the_identity_counts(name: str) -> None:
    value = getattr(IDENTITY, name)
    other = profile(**{name: value + 1 if isinstance(value, int) else value + "x"})
    assert other.fingerprint() != profile().fingerprint()
    assert other.identity.key != IDENTITY.key
    with pytest.raises(ProfileMismatch, match=name):
        other.check(IDENTITY)


def test_files_that_are_no_profiles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(ProfileError, match="cannot be read"):
        Profile.read(path)
    path.write_text("{}")
    with pytest.raises(ProfileError, match="is not a profile"):
        Profile.read(path)
    value = json.loads(profile().to_json())
    value["tables"]["tokens"]["seconds"][-1] *= 2
    path.write_text(json.dumps(value))
    with pytest.raises(ProfileError, match="was changed"):
        Profile.read(path)
    value["format"] = 99
    path.write_text(json.dumps(value))
    with pytest.raises(ProfileError, match="format 99"):
        Profile.read(path)
