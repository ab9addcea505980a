"""What a profiler has measured, and the CSV files that hold it: Vidur's columns and folders, and two files of ours.

mlp.csv        every operator that each query token passes, over token counts, per layer
attention.csv  attention of one chunk or of decodes, per layer
all_reduce.csv, send_recv.csv  collectives, over bytes (read only)
head.csv       ours: logits, over rows
steps.csv      ours: whole steps of mixed batches

Times are milliseconds in files and seconds here. A file may grow a row at a time; a last line that was cut short by an
interruption does not count.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from vajra.prediction.profile import Identity, ProfileError

TOKEN_OPS = (  # of a layer, in the order of execution
    "input_layernorm",
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "post_attention_layernorm",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)
ATTENTION_OPS = ("attn_input_reshape", "attn_output_reshape", "attn_kv_cache_save", "attn_prefill", "attn_decode")
IDENTITY_FILE = "identity.json"  # only beside files of ours
_STATISTICS = ("min", "max", "mean", "median", "std")


def _columns(ops: Iterable[str]) -> list[str]:
    return [f"time_stats.{op}.{statistic}" for op in ops for statistic in _STATISTICS]


MLP_COLUMNS = [
    *_columns(TOKEN_OPS),
    "n_head",
    "n_kv_head",
    "n_embd",
    "n_expanded_embd",
    "vocab_size",
    "use_gated_mlp",
    "num_tokens",
    "num_tensor_parallel_workers",
]
ATTENTION_COLUMNS = [
    *_columns(ATTENTION_OPS),
    "n_embd",
    "n_q_head",
    "n_kv_head",
    "block_size",
    "num_tensor_parallel_workers",
    "max_model_len",
    "batch_size",
    "prefill_chunk_size",
    "kv_cache_size",
    "is_prefill",
    "attention_backend",
]
HEAD_COLUMNS = [*_columns(["emb", "lm_head"]), "n_embd", "vocab_size", "num_tokens", "num_tensor_parallel_workers"]
STEP_COLUMNS = [*_columns(["step"]), "num_decodes", "decode_context", "chunks", "num_tokens"]

Row = dict[str, str]
_Key = TypeVar("_Key")


@dataclass(frozen=True, order=True)
class Chunk:
    """A prefill chunk within a step."""

    num_query: int
    context: int  # KV tokens before it
    samples: bool


@dataclass(frozen=True)
class StepShape:
    """A whole step's batch, as far as time depends on it."""

    decodes: int = 0
    decode_context: int = 0  # KV tokens of all decodes together
    chunks: tuple[Chunk, ...] = ()

    @property
    def num_tokens(self) -> int:
        return self.decodes + sum(c.num_query for c in self.chunks)

    @property
    def num_rows(self) -> int:
        return self.decodes + sum(c.samples for c in self.chunks)

    def chunk_text(self) -> str:
        """`512@1024` for each chunk, with `!` behind those that sample."""
        return " ".join(f"{c.num_query}@{c.context}{'!' if c.samples else ''}" for c in self.chunks)

    @staticmethod
    def chunks_of(text: str) -> tuple[Chunk, ...]:
        """The reverse of `chunk_text`. Raises ValueError."""
        chunks = []
        for word in text.split():
            num_query, _, context = word.rstrip("!").partition("@")
            chunks.append(Chunk(int(num_query), int(context), word.endswith("!")))
        return tuple(chunks)


@dataclass(frozen=True)
class Step:
    """A measured whole step."""

    shape: StepShape
    seconds: float


@dataclass
class Measurements:
    """Median seconds; per layer, but for `embedding`, `head` and `steps`."""

    tokens: dict[str, dict[int, float]] = field(default_factory=dict)  # operator → query tokens → seconds
    prefill: dict[tuple[int, int], float] = field(default_factory=dict)  # (query tokens, KV tokens before) → seconds
    decode: dict[tuple[int, int], float] = field(default_factory=dict)  # (sequences, KV tokens of each) → seconds
    embedding: dict[int, float] = field(default_factory=dict)  # query tokens → seconds
    head: dict[int, float] = field(default_factory=dict)  # rows → seconds
    all_reduce: dict[int, float] = field(default_factory=dict)  # bytes → seconds
    send_recv: dict[int, float] = field(default_factory=dict)  # bytes → seconds
    steps: list[Step] = field(default_factory=list)

    def digest(self) -> str:
        """Names this data."""
        plain = asdict(self)
        plain["prefill"] = sorted((*k, v) for k, v in self.prefill.items())
        plain["decode"] = sorted((*k, v) for k, v in self.decode.items())
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class ModelColumns:
    """What Vidur's rows say of the model."""

    num_heads: int
    num_kv_heads: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int


def statistics_of(op: str, seconds: Sequence[float]) -> Row:
    """The five columns of an operator's repeats; empty for none."""
    if not seconds:
        return {f"time_stats.{op}.{name}": "" for name in _STATISTICS}
    ms = [1000 * s for s in seconds]
    values = (min(ms), max(ms), statistics.fmean(ms), statistics.median(ms), statistics.pstdev(ms))
    return {f"time_stats.{op}.{name}": f"{v:.6f}" for name, v in zip(_STATISTICS, values, strict=True)}


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, object]) -> None:
    """Adds one row to a CSV file, which gets its header first. The row is on disk when this returns."""
    fresh = not path.exists() or path.stat().st_size == 0
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        _cut_to_whole_lines(path)
    with path.open("a", newline="") as f:
        writer = csv.DictWriter(f, columns, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _cut_to_whole_lines(path: Path) -> None:
    with path.open("rb+") as f:
        f.seek(-1, 2)
        if f.read(1) != b"\n":
            data = path.read_bytes()
            f.truncate(data.rfind(b"\n") + 1)


def read_rows(path: Path) -> list[Row]:
    """Whole rows of a CSV file; none where there is no file. Raises ProfileError for a file without columns."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(whole.splitlines())
    rows = list(reader)
    if rows and not any(name.startswith("time_stats.") for name in reader.fieldnames or ()):
        raise ProfileError(f"{path} has no time_stats columns: is it a profile in Vidur's layout?")
    return rows


def model_folder(root: Path, device: str, model: str) -> Path:
    """Where Vidur's layout has a model's files: compute/{DEVICE}/{MODEL} below `root`."""
    return root / "compute" / re.sub(r"[^\w.-]+", "-", device).strip("-") / re.sub(r"[^\w./-]+", "-", model)


def names_of(folder: Path) -> tuple[str, str]:
    """The device and the model that a folder of Vidur's layout is named for; outside one its last two names."""
    parts = folder.absolute().parts
    if "compute" in parts[:-2]:
        parts = parts[parts.index("compute") + 1 :]
        return parts[0], "/".join(parts[1:])
    return parts[-2], parts[-1]


def find_model_folder(root: Path) -> Path:
    """The folder of mlp.csv: `root` itself, or the only one below it. Raises ProfileError for none or several."""
    if (root / "mlp.csv").exists():
        return root
    found = sorted({path.parent for path in root.rglob("mlp.csv")})
    if len(found) == 1:
        return found[0]
    if not found:
        raise ProfileError(f"no mlp.csv in {root} or below. `vajra profile MODEL --output {root}` measures one")
    names = ", ".join(str(p.relative_to(root)) for p in found)
    raise ProfileError(f"{root} holds several profiles: {names}. Name one of these folders")


def find_network_folder(model_folder: Path) -> Path | None:
    """The only folder below `network`, where that stands beside the `compute` that the model's folder is in."""
    for parent in model_folder.absolute().parents:
        if parent.name == "compute":
            found = [p for p in sorted(parent.with_name("network").glob("*")) if p.is_dir()]
            return found[0] if len(found) == 1 else None
    return None


def read_measurements(
    folder: Path, *, tensor_parallel: int = 1, network: Path | None = None, block_size: int | None = None
) -> tuple[Measurements, ModelColumns]:
    """What the CSV files of a model's folder hold, for one tensor-parallel degree.

    `network` is the folder of all_reduce.csv and send_recv.csv. With a `block_size` only attention rows of it count.
    Of an operator's repeats their median counts in Vidur's files. In ours it is the shortest, of all rows of a point:
    whole steps say how long operators take, these only how they relate, and minima repeat themselves better.

    Raises ProfileError, naming the file, for columns that lack and for a degree that was not measured.
    """
    statistic = "min" if (folder / IDENTITY_FILE).exists() else "median"

    def add(table: dict[_Key, float], key: _Key, row: Row, op: str) -> None:
        value = _time(row, op, statistic)
        if value is not None:
            table[key] = min(value, table.get(key, value))

    data = Measurements()
    path = folder / "mlp.csv"
    rows = read_rows(path)
    mine = [r for r in rows if _whole(r, "num_tensor_parallel_workers", path) == tensor_parallel]
    if not mine:
        degrees = sorted({r["num_tensor_parallel_workers"] for r in rows}) or ["none"]
        raise ProfileError(
            f"{path} has no rows of {tensor_parallel} tensor-parallel workers; it has: {', '.join(degrees)}"
        )
    for row in mine:
        tokens = _whole(row, "num_tokens", path)
        for op in TOKEN_OPS:
            add(data.tokens.setdefault(op, {}), tokens, row, op)
    data.tokens = {op: times for op, times in data.tokens.items() if times}
    first = mine[0]
    model = ModelColumns(
        *(_whole(first, n, path) for n in ("n_head", "n_kv_head", "n_embd", "n_expanded_embd", "vocab_size"))
    )
    for row in _of_degree(folder / "attention.csv", tensor_parallel):
        path = folder / "attention.csv"
        if block_size is not None and _whole(row, "block_size", path) != block_size:
            continue
        context = _whole(row, "kv_cache_size", path)
        if row["is_prefill"].strip().lower() in ("true", "1", "1.0"):
            if _whole(row, "batch_size", path) == 1:
                add(data.prefill, (_whole(row, "prefill_chunk_size", path), context), row, "attn_prefill")
        else:
            add(data.decode, (_whole(row, "batch_size", path), context), row, "attn_decode")
    for row in _of_degree(folder / "head.csv", tensor_parallel):
        path = folder / "head.csv"
        add(data.embedding, _whole(row, "num_tokens", path), row, "emb")
        add(data.head, _whole(row, "num_tokens", path), row, "lm_head")
    path = folder / "steps.csv"
    for row in read_rows(path):
        shape = StepShape(
            _whole(row, "num_decodes", path), _whole(row, "decode_context", path), StepShape.chunks_of(row["chunks"])
        )
        if (value := _time(row, "step")) is not None:
            data.steps.append(Step(shape, value))
    if network is not None:
        if tensor_parallel > 1:
            data.all_reduce = _collective(network / "all_reduce.csv", "all_reduce", tensor_parallel)
        if (network / "send_recv.csv").exists():
            data.send_recv = _collective(network / "send_recv.csv", "send_recv", 2)
    return data, model


def _of_degree(path: Path, tensor_parallel: int) -> Iterator[Row]:
    return (r for r in read_rows(path) if _whole(r, "num_tensor_parallel_workers", path) == tensor_parallel)


def _collective(path: Path, op: str, workers: int) -> dict[int, float]:
    rows = read_rows(path)
    found = {
        _whole(r, "size", path): value
        for r in rows
        if _whole(r, "num_workers", path) == workers and (value := _time(r, op)) is not None
    }
    if not found:
        raise ProfileError(f"{path} has no rows of {op} over {workers} workers")
    return found


def _whole(row: Row, column: str, path: Path) -> int:
    try:
        return int(float(row[column]))
    except KeyError:
        raise ProfileError(f"{path} lacks the column {column}") from None
    except (TypeError, ValueError):
        raise ProfileError(f"{path}: {column} is {row[column]!r}; it must be a whole number") from None


def _time(row: Row, op: str, statistic: str = "median") -> float | None:
    """Seconds, or None where the row has none."""
    text = (row.get(f"time_stats.{op}.{statistic}") or "").strip()
    if not text or text.lower() == "nan":
        return None
    return float(text) / 1000


def write_identity(folder: Path, identity: Identity, model: str) -> None:
    """Beside CSV files of ours: what they were measured for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IDENTITY_FILE).write_text(json.dumps({"model": model, **asdict(identity)}, indent=1) + "\n")


def read_identity(folder: Path) -> tuple[Identity, str] | None:
    """The identity beside CSV files and the model's name; None where there is none, as in Vidur's own folders."""
    path = folder / IDENTITY_FILE
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text())
        model = value.pop("model")
        return Identity(**value), model
    except (TypeError, ValueError, KeyError) as e:
        raise ProfileError(f"{path} is not an identity ({e}). Measure anew with `vajra profile MODEL`") from e
