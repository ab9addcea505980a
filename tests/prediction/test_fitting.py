"""From CSV files to a profile."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.prediction import vidur
from tests.prediction.profiles import IDENTITY, tables

from vajra.prediction import FittedPredictor, ProfileError
from vajra.prediction.fitting import fit, predicted, weighed
from vajra.prediction.measurements import (
    STEP_COLUMNS,
    TOKEN_OPS,
    Chunk,
    Step,
    StepShape,
    append_row,
    find_model_folder,
    find_network_folder,
    model_folder,
    names_of,
    read_measurements,
    read_rows,
    statistics_of,
    write_identity,
)

VIDUR = replace(
    IDENTITY,
    num_layers=vidur.LAYERS,
    hidden_size=vidur.HIDDEN,
    num_heads=vidur.HEADS,
    num_kv_heads=vidur.KV_HEADS,
    head_dim=64,
    intermediate_size=4096,
    dtype="float16",
)


def shapes(count: int, seed: int) -> list[StepShape]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        decodes = rng.choice([0, 1, 5, 20])
        chunks = tuple(
            Chunk(rng.randint(1, 400), rng.randint(0, 4000), rng.random() < 0.5) for _ in range(rng.randint(0, 2))
        )
        if decodes or chunks:
            found.append(StepShape(decodes, decodes * rng.randint(1, 2000), chunks))
    return found


def test_a_vidur_profile_predicts_what_its_formulas_say(tmp_path: Path) -> None:
    folder = vidur.write(tmp_path, attention=True)
    assert find_model_folder(tmp_path) == folder
    data, columns = read_measurements(folder)
    assert columns.hidden_size == vidur.HIDDEN
    assert columns.vocab_size == 32000
    profile = fit(VIDUR, data, last_layer_rows_only=False)
    assert profile.errors is None
    assert any("whole steps" in note for note in profile.notes)
    batch = FittedPredictor(profile).batch()
    batch.add_decodes(16, 16 * 1000)
    batch.add_chunk(200, 2000, True)
    layer = (
        len(TOKEN_OPS) * vidur.op_seconds(216, 1) + vidur.prefill_seconds(200, 2000) + vidur.decode_seconds(16, 1000)
    )
    assert batch.seconds == pytest.approx(vidur.LAYERS * layer, rel=0.02)


def test_tensor_and_pipeline_parallel_times_come_from_the_network_files(tmp_path: Path) -> None:
    folder = vidur.write(tmp_path, attention=False)
    data, _ = read_measurements(folder, tensor_parallel=2, network=find_network_folder(folder))
    profile = fit(replace(VIDUR, tensor_parallel=2, pipeline_parallel=4), data, last_layer_rows_only=False)
    size = 2 * vidur.HIDDEN * 512
    layers = vidur.LAYERS / 4
    stage = layers * (len(TOKEN_OPS) * vidur.op_seconds(512, 2) + 2 * vidur.all_reduce_seconds(size))
    assert profile.tables.tokens(512) == pytest.approx(stage + vidur.send_recv_seconds(size), rel=1e-3)


def test_attention_that_was_not_measured_is_estimated_and_said_so(tmp_path: Path) -> None:
    data, _ = read_measurements(vidur.write(tmp_path, attention=False))
    profile = fit(VIDUR, data, last_layer_rows_only=False)
    assert any("estimated" in note for note in profile.notes)
    assert profile.tables.prefill(512, 8192) > profile.tables.prefill(512, 0) > 0
    assert profile.tables.decode(16, 16000) > profile.tables.decode(1, 1000) > 0


def test_folders_of_the_layout(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "Some(R) CPU @ 2 GHz", "someone/a model")
    assert folder == tmp_path / "compute" / "Some-R-CPU-2-GHz" / "someone" / "a-model"
    assert names_of(folder) == ("Some-R-CPU-2-GHz", "someone/a-model")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no mlp\.csv"):
        find_model_folder(tmp_path)
    folder = vidur.write(tmp_path, attention=False)
    with pytest.raises(ProfileError, match="4 tensor-parallel workers; it has: 1, 2"):
        read_measurements(folder, tensor_parallel=4)
    (folder / "mlp.csv").write_text((folder / "mlp.csv").read_text().replace("num_tokens", "tokens"))
    with pytest.raises(ProfileError, match="lacks the column num_tokens"):
        read_measurements(folder)
    vidur.write(tmp_path / "other", attention=False)
    with pytest.raises(ProfileError, match="several profiles"):
        find_model_folder(tmp_path)


def test_layers_that_cannot_be_cut_into_stages_are_refused(tmp_path: Path) -> None:
    data, _ = read_measurements(vidur.write(tmp_path, attention=True))
    with pytest.raises(ProfileError, match="3 equal pipeline stages"):
        fit(replace(VIDUR, pipeline_parallel=3), data)


def test_steps_weigh_the_operators_tables() -> None:
    """Steps of other factors than the operators', with noise and some outliers: the factors are found."""
    t = tables()
    rng = random.Random(1)
    truth = replace(
        t,
        tokens=t.tokens.scaled(1.3),
        rows=t.rows.scaled(2.0),
        decode=t.decode.scaled(1.6),
        prefill=t.prefill.scaled(0.8),
        constant=4e-4,
    )
    steps = [Step(s, predicted(truth, s) * rng.gauss(1, 0.02)) for s in shapes(200, 2)]
    steps = [Step(s.shape, s.seconds * 3) if rng.random() < 0.05 else s for s in steps]
    found = weighed(t, steps)
    errors = [abs(predicted(found, s) / predicted(truth, s) - 1) for s in shapes(200, 3)]
    assert sorted(errors)[len(errors) // 2] < 0.025  # a constant of a step is no factor's
    assert max(errors) < 0.12


def test_scatter_makes_no_step_shorter() -> None:
    """Steps that scatter by 20 % about the tables: predictions are neither short nor long of them."""
    t = replace(tables(), constant=0.0)
    rng = random.Random(4)
    found = weighed(t, [Step(s, predicted(t, s) * rng.gauss(1, 0.2)) for s in shapes(1500, 5)])
    ratios = [predicted(found, s) / predicted(t, s) for s in shapes(200, 6)]
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.02)


def test_a_part_that_no_step_has_follows_the_others() -> None:
    """The machine was slower during the steps than during the operators, and no step had decodes."""
    t = tables()
    rng = random.Random(2)
    slower = replace(t, tokens=t.tokens.scaled(1.4), rows=t.rows.scaled(1.4), prefill=t.prefill.scaled(1.4))
    prompts = [StepShape(chunks=s.chunks) for s in shapes(200, 2) if s.chunks]
    found = weighed(t, [Step(s, predicted(slower, s) * rng.gauss(1, 0.05)) for s in prompts])
    assert found.decode(4, 4000) / t.decode(4, 4000) == pytest.approx(1.4, rel=0.02)


def test_of_repeats_the_shortest_counts_in_files_of_ours(tmp_path: Path) -> None:
    """Of all rows of a point; in Vidur's files, beside which no identity lies, it is the median."""
    theirs, _ = read_measurements(vidur.write(tmp_path, attention=True))
    folder = find_model_folder(tmp_path)
    tokens, fast = next(iter(theirs.tokens["mlp_up_proj"])), 1e-6
    row = {**read_rows(folder / "mlp.csv")[0], "num_tokens": str(tokens)}
    row |= statistics_of("mlp_up_proj", [fast, theirs.tokens["mlp_up_proj"][tokens], 1.0])
    append_row(folder / "mlp.csv", list(row), row)
    assert read_measurements(folder)[0].tokens["mlp_up_proj"] == theirs.tokens["mlp_up_proj"]
    write_identity(folder, VIDUR, "any")
    assert read_measurements(folder)[0].tokens["mlp_up_proj"][tokens] == pytest.approx(fast)


def test_rows_that_were_cut_short_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    row = {**statistics_of("step", [0.5]), "num_decodes": 1, "decode_context": 7, "chunks": "3@4!", "num_tokens": 4}
    append_row(path, STEP_COLUMNS, row)
    append_row(path, STEP_COLUMNS, row)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert len(read_rows(path)) == 1
    append_row(path, STEP_COLUMNS, row)
    assert path.read_bytes() == whole


def test_chunks_in_words() -> None:
    for shape in shapes(50, 4):
        assert StepShape.chunks_of(shape.chunk_text()) == shape.chunks
