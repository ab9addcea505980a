"""The analytic predictor keeps the contract of predictors, and stays within what a device can do."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.config import VajraDeployment
from vajra.prediction.devices import DEVICES, H100, H200
from vajra.prediction.roofline import RooflinePredictor
from vajra.prediction.shapes import MODEL_SHAPES, weight_elements
from vajra.simulator import SimulationError
from vajra.simulator.plan import roofline_plan

LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
tokens = st.integers(1, 8192)
contexts = st.integers(0, 1 << 20)


@given(
    st.sampled_from(sorted(MODEL_SHAPES)),
    st.sampled_from(sorted(DEVICES)),
    st.sampled_from([(1, 1), (2, 1), (8, 1), (1, 2), (4, 4)]),
    st.lists(st.tuples(tokens, contexts, st.booleans()), max_size=4),
    st.tuples(st.integers(0, 256), contexts),
    st.tuples(tokens, contexts, st.integers(0, 500), st.integers(0, 500)),
)
def test_predictions_never_fall_and_announce_themselves(
    model: str,
    device: str,
    layout: tuple[int, int],
    chunks: list[tuple[int, int, bool]],
    decodes: tuple[int, int],
    last: tuple[int, int, int, int],
) -> None:
    predictor = RooflinePredictor(MODEL_SHAPES[model], DEVICES[device], tensor=layout[0], pipeline=layout[1])
    batch = predictor.batch()
    assert batch.seconds == 0.0
    before = 0.0
    if decodes[0]:
        batch.add_decodes(*decodes)
    for chunk in chunks:
        announced = batch.with_chunk(*chunk)
        batch.add_chunk(*chunk)
        assert before <= batch.seconds == pytest.approx(announced)
        before = batch.seconds
    query, context, more_query, more_context = last
    assert batch.with_chunk(query, context, False) <= batch.with_chunk(query + more_query, context, False)
    assert batch.with_chunk(query, context, False) <= batch.with_chunk(query, context + more_context, True)


def test_no_step_beats_the_device() -> None:
    shape = MODEL_SHAPES[LLAMA_8B]
    decode = RooflinePredictor(shape, H200).batch()
    decode.add_decodes(1, 1000)
    read = 2 * (weight_elements(shape) - shape.vocab_size * shape.hidden_size) / H200.bandwidth
    assert read < decode.seconds < 2 * read
    prefill = RooflinePredictor(shape, H100).batch()
    prefill.add_chunk(8192, 0, True)
    layers = 2 * 8192 * (weight_elements(shape) - 2 * shape.vocab_size * shape.hidden_size) / H100.flops
    assert layers < prefill.seconds < 2 * layers


def test_more_ranks_are_faster_and_never_in_proportion() -> None:
    times = []
    for tensor in (1, 2, 4, 8):
        batch = RooflinePredictor(MODEL_SHAPES[LLAMA_70B], H100, tensor=tensor).batch()
        batch.add_chunk(4096, 65536, False)
        times.append(batch.seconds)
    for slower, faster in itertools.pairwise(times):
        assert slower / 2 < faster < slower


def test_layouts_and_memory_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide into 16 tensor ranks"):
        RooflinePredictor(MODEL_SHAPES[LLAMA_8B], H100, tensor=16)
    with pytest.raises(ValueError, match="do not divide into 3 pipeline stages"):
        RooflinePredictor(MODEL_SHAPES[LLAMA_8B], H100, pipeline=3)
    deployment = VajraDeployment.for_model(LLAMA_70B, accelerator="GPU")
    with pytest.raises(SimulationError, match=r"weights take 131\.4, .* Use more tensor or pipeline ranks"):
        roofline_plan(deployment, MODEL_SHAPES[LLAMA_70B], H100)
    wide = VajraDeployment.for_model(LLAMA_70B, accelerator="GPU", tensor_parallel_size=4)
    cluster = roofline_plan(wide, MODEL_SHAPES[LLAMA_70B], H100)
    gigabytes = cluster.num_blocks * cluster.block_size * 2 * 80 * 8 * 128 * 2 / 1e9
    assert 80 < gigabytes < 4 * 80 * 0.8 - 141


def test_what_is_not_simulated_is_refused() -> None:
    deployment = VajraDeployment.for_model(
        LLAMA_8B, accelerator="GPU", kv_parallel_size=2, max_num_tokens_per_kvp_group=1024
    )
    with pytest.raises(SimulationError, match=r"spec\.parallelism\.kv is set"):
        roofline_plan(deployment, MODEL_SHAPES[LLAMA_8B], H100)
