"""The native engine on SmolLM2-135M-Instruct against transformers, which reads the GGUF file with its own reader."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from tests.oracle.driver import Driver, options
from tests.oracle.prompts import PROMPTS
from transformers.initialization import no_init_weights
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from vajra.config import ModelConfig
from vajra.engine import create_engine
from vajra.engine.api import Engine
from vajra.engine.sampling import SamplingParams
from vajra.models import DEFAULT_MODEL, load, load_tokenizer, resolve

Logits = npt.NDArray[np.float32]
MakeModel = Callable[[str], transformers.PreTrainedModel]

OPTIONS = options(num_blocks=384, max_batch_size=len(PROMPTS), max_batch_tokens=1024)

# Prompts and tokens after each; the whole requirement is the slow one.
SIZES = [pytest.param((3, 40), id="short"), pytest.param((len(PROMPTS), 200), id="long", marks=pytest.mark.slow)]


def native(dtype: Any) -> Engine:
    model = load(ModelConfig(model=DEFAULT_MODEL, dtype=dtype))
    return create_engine(model.spec, model.weights, OPTIONS)


@pytest.fixture(scope="module")
def oracle() -> MakeModel:
    """make(dtype) -> the model in transformers, weights rounded to dtype; of vajra.models only the file's path."""
    path = str(resolve(ModelConfig(model=DEFAULT_MODEL, dtype="float32")).path)
    fields = load_gguf_checkpoint(path)["config"]
    config = transformers.LlamaConfig(**{k: v for k, v in fields.items() if k != "model_type" and k[0] != "_"})
    with torch.device("meta"):
        shapes = transformers.LlamaForCausalLM(config)
    state = load_gguf_checkpoint(path, return_tensors=True, model_to_load=shapes)["tensors"]

    @functools.cache
    def make(dtype: str) -> transformers.PreTrainedModel:
        with no_init_weights():
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected
        assert set(missing) == {"lm_head.weight"}
        model.tie_weights()
        return model

    return make


@pytest.fixture(scope="module")
def float32_engine() -> Iterator[Engine]:
    engine = native("float32")
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=SIZES)
def sequences(request: pytest.FixtureRequest, float32_engine: Engine) -> list[list[int]]:
    """Prompts with continuations that the model itself samples: what it meets in use."""
    num_prompts, num_tokens = request.param
    tokenizer = load_tokenizer(resolve(ModelConfig(model=DEFAULT_MODEL, dtype="float32")))
    stride = len(PROMPTS) // num_prompts
    prompts = [tokenizer.encode(text) for text in PROMPTS[::stride][:num_prompts]]
    params = [SamplingParams(seed=i, max_tokens=num_tokens) for i in range(num_prompts)]
    outputs = Driver(float32_engine, OPTIONS).generate(prompts, params)
    return [p + [t.token_id for t in out] for p, out in zip(prompts, outputs, strict=True)]


def logits_of(model: transformers.PreTrainedModel, token_ids: list[int]) -> Logits:
    with torch.inference_mode():
        return np.asarray(model(torch.tensor([token_ids])).logits[0].float().numpy())


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    return np.asarray(torch.tensor(logits).double().log_softmax(-1).numpy())


def divergence(want: Logits, got: Logits) -> npt.NDArray[np.float64]:
    """KL(want || got) of every row."""
    p, q = log_softmax(want), log_softmax(got)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


def test_float32_equals_transformers(oracle: MakeModel, sequences: list[list[int]], float32_engine: Engine) -> None:
    model = oracle("float32")
    driver = Driver(float32_engine, OPTIONS)
    for token_ids in sequences:
        want, got = logits_of(model, token_ids), driver.teacher_force(token_ids)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
        best = np.sort(want, axis=-1)[:, -2:]
        clear = best[:, 1] - best[:, 0] > 1e-3
        assert (got.argmax(-1) == want.argmax(-1))[clear].all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_no_further_from_float32_than_torchs_own(
    dtype: str, oracle: MakeModel, sequences: list[list[int]]
) -> None:
    exact, half = oracle("float32"), oracle(dtype)
    engine = native(dtype)
    driver = Driver(engine, OPTIONS)
    ours, theirs = [], []
    for token_ids in sequences:
        want = logits_of(exact, token_ids)
        ours.append(divergence(want, driver.teacher_force(token_ids)))
        theirs.append(divergence(want, logits_of(half, token_ids)))
    engine.close()
    assert np.concatenate(ours).mean() <= 1.1 * np.concatenate(theirs).mean()
