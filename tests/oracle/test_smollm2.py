"""The native engine on SmolLM2-135M-Instruct against transformers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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

OPTIONS = options(num_blocks=384, max_batch_size=len(PROMPTS), max_batch_tokens=1024)

CONFIG = transformers.LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rms_norm_eps=1e-5,
    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)

# Prompts, and tokens after each. The long one is the requirement in full.
LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]
SIZES = [pytest.param((3, 40), id="short"), pytest.param((len(PROMPTS), 200), id="long", marks=LONG)]


def native(dtype: Any, quantization: str = "none") -> Engine:
    model = load(ModelConfig(model=DEFAULT_MODEL, dtype=dtype), quantization=quantization)
    return create_engine(model.spec, model.weights, OPTIONS)


def through_int8(weight: torch.Tensor) -> torch.Tensor:
    """float32 [n, k] as int8 keeps it: bfloat16 rounded to 127ths of the largest of 32 neighbours along k."""
    groups = weight.bfloat16().float().unflatten(1, (-1, 32))
    scales = groups.abs().amax(-1, keepdim=True) / 127
    return torch.where(scales > 0, (groups / scales).round() * scales, 0.0).flatten(1)


class Oracle:
    """The model in transformers: of any dtype, or "int8", float32 on such weights. Weights are tested separately."""

    def __init__(self) -> None:
        model = load(ModelConfig(model=DEFAULT_MODEL, dtype="float32"))
        weights = (model.weights.tensor(name) for name in model.weights.names())
        self._weights = {w.name: torch.from_numpy(w.array.copy()) for w in weights}
        self.model = functools.cache(self._make)
        self._exact = functools.lru_cache(maxsize=4)(lambda token_ids: self.logits("float32", token_ids))

    def _make(self, dtype: str) -> transformers.PreTrainedModel:
        weights = self._weights
        if dtype == "int8":
            weights = {name: through_int8(w) if w.ndim == 2 else w for name, w in weights.items()}
        computed = torch.float32 if dtype == "int8" else getattr(torch, dtype)
        with no_init_weights():
            model = transformers.LlamaForCausalLM._from_config(CONFIG, dtype=computed).eval()
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected
        assert set(missing) == {"lm_head.weight"}
        model.tie_weights()
        return model

    def logits(self, dtype: str, token_ids: Sequence[int]) -> Logits:
        """float32 [tokens, vocab]."""
        with torch.inference_mode():
            return np.asarray(self.model(dtype)(torch.tensor([list(token_ids)])).logits[0].float().numpy())

    def exact(self, token_ids: Sequence[int]) -> Logits:
        """As `logits` of float32; those of a few sequences are kept."""
        return self._exact(tuple(token_ids))


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


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


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    return np.asarray(torch.tensor(logits).double().log_softmax(-1).numpy())


def divergence(want: Logits, got: Logits) -> npt.NDArray[np.float64]:
    """KL(want || got) of every row."""
    p, q = log_softmax(want), log_softmax(got)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


@pytest.mark.slow
def test_weights_and_config_are_those_that_transformers_reads() -> None:
    """By transformers' own GGUF reader, which the other tests do without because it takes its time."""
    model = load(ModelConfig(model=DEFAULT_MODEL, dtype="float32"))
    path = str(model.resolved.path)
    with torch.device("meta"):
        shapes = transformers.LlamaForCausalLM(CONFIG)
    want = load_gguf_checkpoint(path, return_tensors=True, model_to_load=shapes)
    config = CONFIG.to_dict() | CONFIG.rope_parameters
    read = {k: v for k, v in want["config"].items() if k in config and k not in ("pad_token_id", "_name_or_path")}
    assert {k: config[k] for k in read} == pytest.approx(read)
    assert set(model.weights.names()) == set(want["tensors"])
    for name in model.weights.names():
        assert np.array_equal(model.weights.tensor(name).array, want["tensors"][name].numpy()), name


def test_float32_equals_transformers(oracle: Oracle, sequences: list[list[int]], float32_engine: Engine) -> None:
    driver = Driver(float32_engine, OPTIONS)
    for token_ids in sequences:
        want, got = oracle.exact(token_ids), driver.teacher_force(token_ids)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
        best = np.sort(want, axis=-1)[:, -2:]
        clear = best[:, 1] - best[:, 0] > 1e-3
        assert (got.argmax(-1) == want.argmax(-1))[clear].all()


def distances(
    engine: Engine, dtype: str, oracle: Oracle, sequences: list[list[int]]
) -> tuple[np.floating[Any], np.floating[Any]]:
    """Mean divergences from float32: of the engine, which is closed, and of transformers' `dtype`."""
    driver = Driver(engine, OPTIONS)
    ours, theirs = [], []
    for token_ids in sequences:
        want = oracle.exact(token_ids)
        ours.append(divergence(want, driver.teacher_force(token_ids)))
        theirs.append(divergence(want, oracle.logits(dtype, token_ids)))
    engine.close()
    return np.concatenate(ours).mean(), np.concatenate(theirs).mean()


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])  # torch's is slow
def test_half_precision_is_no_further_from_float32_than_torchs_own(
    dtype: str, oracle: Oracle, sequences: list[list[int]]
) -> None:
    ours, theirs = distances(native(dtype), dtype, oracle, sequences)
    assert ours <= 1.1 * theirs


@pytest.mark.slow
def test_int8_adds_little_to_what_rounding_its_weights_costs(oracle: Oracle, sequences: list[list[int]]) -> None:
    """Divergences of independent errors add up, and bfloat16's own is about a sixth of the weights'."""
    ours, rounding = distances(native("bfloat16", "int8"), "int8", oracle, sequences)
    assert ours <= 1.25 * rounding
