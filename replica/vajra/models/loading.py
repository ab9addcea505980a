"""resolve: what a model is, cheaply. load: its weights too."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vajra.models.cache import Progress, no_progress
from vajra.models.checkpoint_files import formats_of, read_index, weight_file_names
from vajra.models.errors import ModelError
from vajra.models.gguf_config import describe_gguf
from vajra.models.gguf_file import GGUFFile
from vajra.models.hf_config import Description, describe_folder
from vajra.models.hub import HubRepo, fetch
from vajra.models.references import Location, locate
from vajra.models.spec import ModelSpec
from vajra.models.tensor import WeightSource
from vajra.models.tokenizer_source import TokenizerSource, find_tokenizer

if TYPE_CHECKING:
    from vajra.config import ModelConfig

DEFAULT_MAX_MODEL_LEN = 4096
TOKENIZER_FOLDER = "tokenizer-1"  # beside an embedded model; the number counts changes of what is derived
LOAD_FORMATS = ("auto", "safetensors", "pt", "gguf", "dummy")


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A model that was found and can be served; no weight was read. Picklable."""

    reference: str
    served_name: str
    path: Path  # the folder, or the .gguf file
    load_format: str  # safetensors, pt, gguf or dummy
    spec: ModelSpec
    max_model_len: int  # resolved: what requests may use
    notices: tuple[str, ...]
    content_key: str | None  # names weights and spec, for caches of what is derived from them; None: do not cache
    tokenizer: TokenizerSource
    weight_files: tuple[str, ...]
    fewer_layers: bool  # override_num_layers took some away
    seed: int
    hub: HubRepo | None = None


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A resolved model and its weights, which are read when asked for."""

    resolved: ResolvedModel
    weights: WeightSource

    @property
    def spec(self) -> ModelSpec:
        return self.resolved.spec

    @property
    def served_name(self) -> str:
        return self.resolved.served_name

    @property
    def notices(self) -> list[str]:
        return list(self.resolved.notices)

    @property
    def max_model_len(self) -> int:
        return self.resolved.max_model_len

    @property
    def content_key(self) -> str | None:
        return self.resolved.content_key


@contextmanager
def _permissions_named() -> Iterator[None]:
    try:
        yield
    except PermissionError as e:
        raise ModelError(
            f"{e.filename}: user {os.getuid()} has no permission. It must be able to read the model, and to write the "
            f"cache."
        ) from e


@_permissions_named()
def resolve(
    model_config: ModelConfig, *, device: str = "cpu", quantization: str = "none", progress: Progress | None = None
) -> ResolvedModel:
    """Finds the model and reads its configuration; fetches no weights, except with a GGUF file, which is one whole.

    `device` ("cpu" or "cuda") and `quantization` ("none" or "int8") decide what dtype "auto" means. Raises ModelError.
    """
    where = locate(
        model_config.model,
        revision=model_config.revision,
        download_dir=model_config.download_dir,
        custom_code=model_config.trust_remote_code,
        progress=progress or no_progress,
    )
    weights_format = _weights_format(model_config.load_format, where)
    folder = where.path if where.path.is_dir() else where.path.parent
    files: list[str] = []
    if weights_format != "dummy":
        index = read_index(folder, weights_format)
        files = weight_file_names(list(where.files), weights_format, index, str(where.path))
    if weights_format == "gguf":
        if where.hub is not None:
            fetch(where.hub, files, progress or no_progress)
        description = describe_gguf(GGUFFile(folder / files[0]))
    else:
        description = describe_folder(folder)
    notices = list(description.notices)
    checkpoint_layers = description.spec.num_layers
    spec = dataclasses.replace(
        description.spec,
        num_layers=_num_layers(model_config.override_num_layers, checkpoint_layers, where.path),
        dtype=_dtype(model_config.dtype, description.spec.dtype, device, quantization, notices),
        quantization=quantization,
    )
    load_format = "dummy" if model_config.load_format == "dummy" else weights_format
    return ResolvedModel(
        reference=model_config.model,
        served_name=model_config.model,
        path=folder / files[0] if weights_format == "gguf" else folder,
        load_format=load_format,
        spec=spec,
        max_model_len=_max_model_len(model_config.max_model_len, description, notices),
        notices=tuple(notices),
        content_key=None if load_format == "dummy" else _content_key(where, folder, files, spec),
        tokenizer=find_tokenizer(
            folder,
            files if weights_format == "gguf" else [],
            model_config.trust_remote_code,
            derived=folder / TOKENIZER_FOLDER if where.embedded else None,
        ),
        weight_files=tuple(files),
        fewer_layers=spec.num_layers < checkpoint_layers,
        seed=model_config.seed,
        hub=where.hub,
    )


def load(
    model_config: ModelConfig, *, device: str = "cpu", quantization: str = "none", progress: Progress | None = None
) -> LoadedModel:
    """Resolves the model, fetches what is missing of it, and opens its weights: names and shapes are checked here.

    Raises ModelError, naming file and tensor, when they do not fit the configuration.
    """
    resolved = resolve(model_config, device=device, quantization=quantization, progress=progress)
    return load_resolved(resolved, progress=progress)


def load_resolved(resolved: ResolvedModel, *, progress: Progress | None = None) -> LoadedModel:
    """As `load`, for a model that was resolved already."""
    return LoadedModel(resolved=resolved, weights=_open_weights(resolved, progress or no_progress))


def _open_weights(resolved: ResolvedModel, progress: Progress) -> WeightSource:
    spec, files, fewer = resolved.spec, resolved.weight_files, resolved.fewer_layers
    if resolved.load_format == "dummy":
        from vajra.models.dummy_weights import DummyWeights

        return DummyWeights(spec, resolved.seed)
    if resolved.load_format == "gguf":
        from vajra.models.gguf_weights import GGUFWeights

        return GGUFWeights(GGUFFile(resolved.path), spec, fewer_layers=fewer)
    if resolved.hub is not None:
        fetch(resolved.hub, files, progress)
    if resolved.load_format == "pt":
        from vajra.models.pt_weights import PtWeights

        return PtWeights(resolved.path, files, spec, fewer_layers=fewer)
    from vajra.models.safetensors_weights import SafetensorsWeights

    return SafetensorsWeights(resolved.path, files, spec, fewer_layers=fewer)


def _weights_format(asked: str, where: Location) -> str:
    """The format that the files are in; for dummy, "gguf" when only a GGUF file could describe the model."""
    if asked not in LOAD_FORMATS:
        raise ModelError(f"load_format {asked!r} is unknown; {', '.join(LOAD_FORMATS)} are allowed.")
    offered = formats_of(list(where.files))
    if asked == "dummy":
        return "gguf" if "config.json" not in where.files and "gguf" in offered else "dummy"
    if not offered and where.hub is not None and where.hub.offline is not None:
        raise ModelError(
            f"{where.hub.repo_id} is in the local cache without its weights, and the hub cannot be reached. Pull it "
            f"again when there is a network."
        )
    if asked == "auto":
        if not offered:
            raise ModelError(f"{where.path} holds no weights: no safetensors, GGUF or PyTorch file. Check the path.")
        return offered[0]
    if asked not in offered:
        has = f"It offers {', '.join(offered)}." if offered else "It holds no weights."
        raise ModelError(f"{where.path} has no weights in format {asked}. {has}")
    return asked


def _num_layers(override: int | None, layers: int, path: Path) -> int:
    if override is None:
        return layers
    if not 1 <= override <= layers:
        raise ModelError(f"override_num_layers is {override}; {path} has {layers} layers, so 1 to {layers} is allowed.")
    return override


def _dtype(asked: str, checkpoint: str, device: str, quantization: str, notices: list[str]) -> str:
    if quantization not in ("none", "int8"):
        raise ModelError(f"quantization {quantization!r} is unknown; none and int8 are allowed.")
    if quantization == "int8" and asked not in ("auto", "bfloat16"):
        raise ModelError(
            f"quantization int8 computes in bfloat16, but dtype is {asked}. Set dtype to bfloat16 or auto, or "
            "quantization to none."
        )
    if asked != "auto":
        dtype = asked
    elif quantization == "int8":
        dtype = "bfloat16"
    elif checkpoint == "float32":
        dtype = "bfloat16" if device == "cpu" else "float16"
    else:
        dtype = checkpoint
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ModelError(f"dtype {dtype!r} is unknown; float16, bfloat16, float32 and auto are allowed.")
    if dtype == "float16" and device == "cpu":
        notices.append(
            "float16 on a CPU is a storage format: weights and KV take half the room, arithmetic is float32."
        )
    return dtype


def _max_model_len(asked: int, description: Description, notices: list[str]) -> int:
    allowed = description.spec.max_model_len
    if asked <= 0:
        raise ModelError(f"max_model_len is {asked}; it must be a positive number of tokens.")
    if asked <= allowed:
        return asked
    if asked == DEFAULT_MAX_MODEL_LEN:
        notices.append(f"max_model_len is lowered from the default {asked} to the model's {allowed}.")
        return allowed
    raise ModelError(
        f"max_model_len is {asked}, but the model allows {allowed} tokens ({description.length_limit} of its "
        f"configuration). Ask for {allowed} or less."
    )


def _content_key(where: Location, folder: Path, files: list[str], spec: ModelSpec) -> str:
    """A hash over the weights' identity and the spec.

    An embedded model has its SHA-256, a hub model its commit. Local files are told apart by size, time of change
    and a sample of their bytes: to read gigabytes through at every start would cost more than any cache saves.
    """
    if where.embedded is not None:
        identity = [where.embedded.gguf_sha256]
    elif where.hub is not None:
        identity = [where.hub.repo_id, where.hub.commit, *files]
    else:
        identity = [_file_identity(folder / name) for name in files]
    text = json.dumps([identity, dataclasses.asdict(spec)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _file_identity(path: Path) -> str:
    try:
        with path.open("rb") as f:
            stat = path.stat()
            digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode())
            for offset in sorted({i * stat.st_size // 16 for i in range(16)}):
                f.seek(offset)
                digest.update(f.read(4096))
    except PermissionError:
        raise  # nothing is wrong with the file
    except OSError as e:
        raise ModelError(f"{path} cannot be read: {e.strerror}. The download may be incomplete.") from e
    return digest.hexdigest()
