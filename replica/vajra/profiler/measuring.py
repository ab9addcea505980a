"""measure: from a live engine to its profile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from vajra.engine import Engine, EngineOptions, isa
from vajra.models.spec import ModelSpec
from vajra.prediction import Identity, Profile
from vajra.prediction.fitting import fit, operator_tables, predicted
from vajra.prediction.measurements import (
    ATTENTION_COLUMNS,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    STEP_COLUMNS,
    TOKEN_OPS,
    Chunk,
    Measurements,
    Row,
    Step,
    StepShape,
    append_row,
    read_identity,
    read_measurements,
    read_rows,
    statistics_of,
    write_identity,
)
from vajra.prediction.profile import ProfileError
from vajra.prediction.tables import Curve
from vajra.profiler.calm import Calm
from vajra.profiler.identity import identity_of, is_native, num_threads
from vajra.profiler.operators import Operators
from vajra.profiler.presets import QUICK, Preset
from vajra.profiler.steps import StepLimits, StepWalker, chunk_within, walking

Progress = Callable[[str, float], None]
"""Called with what is measured and which part of all is done, 0 to 1."""

_T = TypeVar("_T")
_Points = Iterator[tuple[str, Callable[[], None]]]
"""Of a grid, those that files hold fewer `times` than asked: what each is, and what measures it."""

MLP, ATTENTION, HEAD, STEPS = "mlp.csv", "attention.csv", "head.csv", "steps.csv"


def no_progress(what: str, part: float) -> None:
    """A Progress that shows nothing."""


def measure(
    engine: Engine,
    spec: ModelSpec,
    options: EngineOptions,
    *,
    preset: Preset = QUICK,
    model: str = "",
    folder: Path | None = None,
    free_blocks: Sequence[int] | None = None,
    progress: Progress = no_progress,
) -> Profile:
    """Measures a live engine and fits its profile. To be called from the engine's own thread.

    The engine must not be running anything else; it is left as it was found: only `free_blocks` are used (all of the
    pool by default), and every sequence is freed. Takes up to about 700 MiB, or one layer's weights where these are
    more. With a `folder`, rows go into CSV files there as they are measured, and what these files hold already is not
    measured again. Raises ProfileError for a folder of another identity, EngineError when the engine fails.
    """
    if folder is None:
        with TemporaryDirectory(prefix="vajra-profile-") as name:
            return measure(
                engine,
                spec,
                options,
                preset=preset,
                model=model,
                folder=Path(name),
                free_blocks=free_blocks,
                progress=progress,
            )
    begin = time.perf_counter()
    identity = identity_of(spec, options, native=is_native(engine))
    _claim(folder, identity, model)
    run = _Run(identity, folder, preset, options, spec, progress)
    run.operators()
    data, _ = read_measurements(folder)
    blocks = range(options.num_blocks) if free_blocks is None else free_blocks
    run.steps(engine, blocks, data)
    data, _ = read_measurements(folder)
    notes = []
    if run.disturbed:
        notes.append(
            f"other processes disturbed {run.disturbed} of the measurements, which count without the time that threads "
            "waited: measure anew on a calmer machine"
        )
    profile = fit(
        identity,
        data,
        model=model,
        preset=preset.name,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - begin, 1),
        notes=notes,
    )
    progress("fitted", 1.0)
    return profile


def _claim(folder: Path, identity: Identity, model: str) -> None:
    """Makes the folder one of this identity's measurements."""
    found = read_identity(folder)
    if found is None:
        if (folder / MLP).exists():
            raise ProfileError(f"{folder} holds measurements of an unknown identity. Choose another folder")
        write_identity(folder, identity, model)
    elif differing := identity.differences(found[0]):
        raise ProfileError(
            f"{folder} holds measurements of something else: {'; '.join(differing)}. Choose another folder"
        )


class _Run:
    """One measurement, going on where the files in its folder end."""

    def __init__(
        self,
        identity: Identity,
        folder: Path,
        preset: Preset,
        options: EngineOptions,
        spec: ModelSpec,
        progress: Progress,
    ) -> None:
        self._identity, self._folder, self._preset = identity, folder, preset
        self._options, self._spec, self._progress = options, spec, progress
        self._max_tokens = options.max_batch_tokens
        self._calm = Calm(preset.patience, num_threads(options))
        self._model_columns = {
            "n_embd": spec.hidden_size,
            "n_kv_head": spec.num_kv_heads,
            "vocab_size": spec.vocab_size,
            "num_tensor_parallel_workers": 1,
        }

    @property
    def disturbed(self) -> int:
        """How many measurements count though other processes disturbed them."""
        return self._calm.disturbed

    def operators(self) -> None:
        """Measures what the operators' files lack: points of all grids in turn, so that a machine that is slower for a
        while is so for every kind of operator, in passes, of which one may be disturbed."""
        grids = (self._token_points, self._head_points, self._prefill_points, self._decode_points)
        made: list[Operators] = []

        def operators() -> Operators:
            if not made:
                made.append(
                    Operators(
                        self._spec,
                        isa=isa(),
                        threads=num_threads(self._options),
                        block_size=self._options.block_size,
                        max_context=self._options.max_model_len,
                        kv_blocks=self._spec.num_layers * self._options.num_blocks,
                        fewest=self._preset.fewest,
                        calm=self._calm,
                    )
                )
            return made[0]

        points = []
        for times in range(1, self._preset.passes + 1):
            for number, grid in enumerate(grids):
                found = _coarse_first(list(grid(operators, times)))
                for i, (what, point) in enumerate(found):
                    part = (times - 1 + (i + 1) / len(found)) / self._preset.passes
                    points.append((part, number, what, point))
        share = 1 - self._preset.step_seconds / self._preset.seconds
        spent = [0.0] * len(grids)
        for part, number, what, measure_point in sorted(points, key=lambda p: p[:2]):
            if spent[number] > self._preset.operator_seconds:
                continue
            self._progress(what, share * part)
            begin = time.perf_counter() - self._calm.lost
            measure_point()
            spent[number] += time.perf_counter() - self._calm.lost - begin

    def _token_points(self, operators: Callable[[], Operators], times: int) -> _Points:
        done = Counter(int(r["num_tokens"]) for r in read_rows(self._folder / MLP))

        def point(count: int) -> None:
            times = operators().tokens(count)
            row: Row = {}
            for op in TOKEN_OPS:  # the residual is added inside the products
                row |= statistics_of(op, times.get(op, [0.0]))
            more: dict[str, object] = {
                **self._model_columns,
                "n_head": self._spec.num_heads,
                "n_expanded_embd": self._spec.intermediate_size,
                "use_gated_mlp": True,
                "num_tokens": count,
            }
            append_row(self._folder / MLP, MLP_COLUMNS, {**row, **more})

        for count in _up_to(self._preset.tokens, self._max_tokens):
            if done[count] < times:
                yield f"{count} tokens", lambda count=count: point(count)  # type: ignore[misc]

    def _head_points(self, operators: Callable[[], Operators], times: int) -> _Points:
        done = Counter(int(r["num_tokens"]) for r in read_rows(self._folder / HEAD))

        def point(rows: int) -> None:
            row = statistics_of("emb", operators().embedding(rows)) | statistics_of("lm_head", operators().head(rows))
            append_row(
                self._folder / HEAD, HEAD_COLUMNS, row | _only(HEAD_COLUMNS, self._model_columns) | {"num_tokens": rows}
            )

        for rows in _up_to(self._preset.rows, self._options.max_batch_size):
            if done[rows] < times:
                yield f"{rows} rows of logits", lambda rows=rows: point(rows)  # type: ignore[misc]

    def _prefill_points(self, operators: Callable[[], Operators], times: int) -> _Points:
        done = self._attention_done("True")
        most = self._options.max_model_len
        chunks = _up_to(self._preset.chunks, min(self._max_tokens, most))
        points = [(q, c) for q in chunks for c in self._preset.contexts if q + c <= most]
        points = [p for p in points if _pairs(*p) <= self._preset.most_pairs]
        for q, context in sorted(points, key=lambda p: _pairs(*p)):
            if q + context <= operators().max_context and done[1, q, context] < times:
                yield (
                    f"attention of {q} tokens behind {context}",
                    lambda q=q, context=context: self._attention(operators(), 1, q, context),  # type: ignore[misc]
                )

    def _decode_points(self, operators: Callable[[], Operators], times: int) -> _Points:
        done = self._attention_done("False")
        counts = _up_to(self._preset.decodes, min(self._options.max_batch_size, self._max_tokens))
        contexts = _up_to(self._preset.decode_contexts, self._options.max_model_len - 1)
        points = [(n, c) for n in counts for c in contexts]
        for n, context in sorted(points, key=lambda p: p[0] * p[1]):
            fits = (
                context < operators().max_context
                and n * (context + 1 + self._options.block_size) <= operators().max_kv_tokens
            )
            if fits and done[n, 0, context] < times:
                yield (
                    f"attention of {n} decodes behind {context}",
                    lambda n=n, context=context: self._attention(operators(), n, 0, context),  # type: ignore[misc]
                )

    def _attention_done(self, is_prefill: str) -> Counter[tuple[int, int, int]]:
        columns = ("batch_size", "prefill_chunk_size", "kv_cache_size")
        rows = [r for r in read_rows(self._folder / ATTENTION) if r["is_prefill"] == is_prefill]
        return Counter((int(r[columns[0]]), int(r[columns[1]]), int(r[columns[2]])) for r in rows)

    def _attention(self, operators: Operators, batch: int, chunk: int, context: int) -> None:
        """A row of attention.csv; `chunk` 0 stands for decodes."""
        times = operators.attention(chunk or 1, context, batch)
        row: Row = {}
        for op in ("attn_input_reshape", "attn_output_reshape", "attn_kv_cache_save"):
            row |= statistics_of(op, [0.0])  # none of its own: queries and KV are written by attn_rope
        row |= statistics_of("attn_prefill", times if chunk else [])
        row |= statistics_of("attn_decode", [] if chunk else times)
        more = {
            **_only(ATTENTION_COLUMNS, self._model_columns),
            "n_q_head": self._spec.num_heads,
            "block_size": self._options.block_size,
            "max_model_len": self._options.max_model_len,
            "batch_size": batch,
            "prefill_chunk_size": chunk,
            "kv_cache_size": context,
            "is_prefill": bool(chunk),
            "attention_backend": f"vajra-{self._identity.kernels}",
        }
        append_row(self._folder / ATTENTION, ATTENTION_COLUMNS, row | more)

    def steps(self, engine: Engine, free_blocks: Sequence[int], data: Measurements) -> None:
        """Runs whole steps until the files hold as many of them, or as many seconds, as the preset asks for."""
        budget = self._preset.step_seconds
        done, spent = len(data.steps), sum(step.seconds for step in data.steps)
        tables = operator_tables(self._identity, data)
        most = min(self._max_tokens, self._options.max_model_len)
        longest = budget / 30  # of one step, so that there are many of every kind

        def seconds(chunk: int) -> float:
            return predicted(tables, StepShape(chunks=(Chunk(chunk, 0, True),)))

        limits = StepLimits(
            max_chunk=chunk_within(longest, seconds, most),
            max_context=self._context_within(budget / 3, tables.tokens),
            max_decodes=min(self._options.max_batch_size, 64),
        )
        share = self._preset.step_seconds / self._preset.seconds
        # A run that goes on walks another way than the one before.
        walker = StepWalker(engine, self._options, limits, free_blocks, seed=len(data.steps))
        begin = time.perf_counter() - self._calm.lost - spent
        with walking(walker):
            while spent < budget and done < self._preset.most_steps:
                part = max(spent / budget, done / self._preset.most_steps)
                self._progress("whole steps", 1 - share * (1 - part))
                mark = self._calm.mark()
                step = walker.step()
                undisturbed = self._calm.share(mark)
                if undisturbed > 0:
                    done += 1
                    self._append_step(Step(step.shape, undisturbed * step.seconds))
                spent = time.perf_counter() - self._calm.lost - begin

    def _context_within(self, seconds: float, tokens: Curve) -> int:
        """How long a prompt may be that passes within `seconds`."""
        per_token = tokens(tokens.last) / tokens.last
        return max(1, min(self._options.max_model_len, int(seconds / per_token)))

    def _append_step(self, step: Step) -> None:
        shape = step.shape
        row = statistics_of("step", [step.seconds])
        more = {
            "num_decodes": shape.decodes,
            "decode_context": shape.decode_context,
            "chunks": shape.chunk_text(),
            "num_tokens": shape.num_tokens,
        }
        append_row(self._folder / STEPS, STEP_COLUMNS, row | more)


def _up_to(counts: Sequence[int], most: int) -> list[int]:
    """Counts up to `most`; `most` itself where they end below it by more than they began."""
    kept = [c for c in counts if c <= most]
    return kept if kept and (kept[-1] == most or len(kept) == len(counts)) else [*kept, most]


def _pairs(chunk: int, context: int) -> int:
    """Of a query and a KV token, in a chunk's attention."""
    return chunk * context + chunk * (chunk + 1) // 2


def _coarse_first(points: Sequence[_T]) -> list[_T]:
    """Every fourth point, then the others: if time runs out, what is measured still spans much."""
    return [*points[::4], *(point for i, point in enumerate(points) if i % 4)]


def _only(columns: Sequence[str], values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in values.items() if name in columns}
