"""What `vajra profile` does."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vajra.cli.deployment import described_deployment
from vajra.cli.errors import USAGE, CommandError
from vajra.cli.output import Format, print_json, progress_bars
from vajra.config import VajraDeployment
from vajra.prediction import Identity, Profile
from vajra.prediction.fitting import fit, predicted
from vajra.prediction.measurements import (
    Measurements,
    ModelColumns,
    find_model_folder,
    find_network_folder,
    model_folder,
    names_of,
    read_identity,
    read_measurements,
)

_CSV = ("mlp.csv", "attention.csv", "head.csv", "steps.csv", "identity.json")


@dataclass(frozen=True)
class MeasureOptions:
    """Of `vajra profile measure`."""

    model: str | None
    manifest: Path | None
    preset: str
    seconds: float | None
    output_dir: Path | None
    resume: bool
    overrides: dict[str, Any]


@dataclass(frozen=True)
class FitOptions:
    """Of `vajra profile fit`."""

    folder: Path
    layers: int | None
    tensor_parallel: int
    pipeline_parallel: int
    network: Path | None
    to: Path | None


def run_measure(options: MeasureOptions, output: Format) -> None:
    """Loads the engine, measures, fits, writes profile.json and the plot.

    Raises:
        CommandError: the folder holds measurements and `resume` is not asked for.
        ConfigError, ModelError, ProfileError: as loading and measuring do.
    """
    from vajra.profiler import PRESETS, folder_of, identity_of
    from vajra.profiler.cache import PROFILE, locked
    from vajra.profiler.identity import processor
    from vajra.profiler.measuring import measure
    from vajra.worker.loading import load_engine
    from vajra.worker.protocol import Init

    deployment = _deployment(options)
    given = options.output_dir and model_folder(options.output_dir, processor(), _name(deployment))
    # Where files of another run are in the way, say so before minutes are spent.
    if given is not None and not options.resume:
        _refuse_measured(given)
    preset = PRESETS[options.preset]
    if options.seconds is not None:
        preset = preset.within(options.seconds)
    with progress_bars() as progress:
        init = Init(deployment.to_dict(), 1)
        loaded = load_engine(init, lambda stage, part: progress(stage, round(100 * part), 100), timed=False)
        engine = loaded.engine
        try:
            native = deployment.replica_config.worker_config.use_native_execution_backend
            identity = identity_of(loaded.spec, loaded.options, native=native)
            folder = given or folder_of(identity)
            folder.mkdir(parents=True, exist_ok=True)
            cache_lock = locked(folder, lambda: progress("waiting for another process that measures it", 0, 0))
            with cache_lock if given is None else nullcontext():
                if not options.resume:
                    _remove_measured(folder)
                profile = measure(
                    engine,
                    loaded.spec,
                    loaded.options,
                    preset=preset,
                    model=_name(deployment),
                    folder=folder,
                    progress=lambda what, part: progress("measuring", round(1000 * part), 1000),
                )
                profile.write(folder / PROFILE)
        finally:
            engine.close()
    _plot(profile, read_measurements(folder)[0], folder / "predicted.png")
    _print(folder / PROFILE, profile, output)


def _deployment(options: MeasureOptions) -> VajraDeployment:
    """What is measured. The profile that a manifest names need not be there: it may be the one that is made here."""
    from vajra.gateway.support import check

    manifest = described_deployment(options.model, options.manifest, options.overrides).to_dict()
    manifest["spec"]["scheduler"].pop("profile", None)
    deployment = VajraDeployment.from_dict(manifest)
    check(deployment)
    return deployment


def run_fit(options: FitOptions, output: Format) -> None:
    """Fits CSV files. Raises CommandError for options that lack or clash, ProfileError for files that do not do."""
    folder = find_model_folder(options.folder)
    known = read_identity(folder)
    network = options.network or find_network_folder(folder)
    data, columns = read_measurements(folder, tensor_parallel=options.tensor_parallel, network=network)
    if known is not None:
        if options.layers is not None:
            raise CommandError("--layers: identity.json beside the CSV files says how many layers there are", USAGE)
        identity, name = known
    else:
        if options.layers is None:
            raise CommandError(f"--layers: {folder} does not say how many layers the model has; give it", USAGE)
        device, name = names_of(folder)
        identity = _vidur_identity(columns, options.layers, device)
    if options.tensor_parallel > 1 and not data.all_reduce:
        raise CommandError(
            "--network: with tensor parallelism times need all_reduce.csv, and there is no network folder beside "
            "compute. Name the folder that holds it",
            USAGE,
        )
    identity = replace(identity, tensor_parallel=options.tensor_parallel, pipeline_parallel=options.pipeline_parallel)
    profile = fit(identity, data, model=name, last_layer_rows_only=known is not None)
    path = options.to or folder / "profile.json"
    profile.write(path)
    _plot(profile, data, path.with_name("predicted.png"))
    _print(path, profile, output)


def run_show(path: Path | None, output: Format) -> None:
    """Prints one profile, or all in the cache. Raises ProfileError for a file that is none."""
    if path is not None:
        _print(path, Profile.read(path), output)
        return
    from vajra.profiler import all_cached, profiles_dir

    found = all_cached()
    if output is Format.json:
        print_json([describe(p, profile) for p, profile in found])
        return
    if not found:
        print(f"no profiles in {profiles_dir()}; `vajra profile MODEL` measures one")
    for p, profile in found:
        i = profile.identity
        what = f"{i.dtype}{'' if i.quantization == 'none' else ' ' + i.quantization}, {i.kernels}, {i.threads} threads"
        print(f"{profile.model or '–':32} {what:34} {profile.preset:6} {_errors(profile):28} {p}")


def describe(path: Path, profile: Profile) -> dict[str, Any]:
    """A profile without its tables."""
    return {
        "path": str(path),
        "fingerprint": profile.fingerprint(),
        "model": profile.model,
        "preset": profile.preset,
        "measured": profile.measured,
        "seconds": profile.seconds,
        "errors": asdict(profile.errors) if profile.errors else None,
        "notes": list(profile.notes),
        "identity": asdict(profile.identity),
    }


def _print(path: Path, profile: Profile, output: Format) -> None:
    found = describe(path, profile)
    if output is Format.json:
        print_json(found)
        return
    identity, notes = found.pop("identity"), found.pop("notes")
    found["errors"] = _errors(profile)
    for name, value in (found | identity).items():
        if value != "":
            print(f"{name:18} {value}")
    for note in notes:
        print(f"note: {note}")


def _errors(profile: Profile) -> str:
    errors = profile.errors
    if errors is None:
        return "no whole steps"
    return f"median {100 * errors.median:.1f}%, p95 {100 * errors.p95:.1f}% of {errors.steps} steps"


def _plot(profile: Profile, data: Measurements, path: Path) -> None:
    """Predicted against measured steps, where matplotlib is installed and there are steps."""
    if not data.steps:
        return
    try:
        from matplotlib.figure import Figure  # no pyplot: no global state, no display
    except ImportError:
        print("no plot: it needs matplotlib (pip install 'vajra[plots]')", file=sys.stderr)
        return
    measured = [1000 * s.seconds for s in data.steps]
    expected = [1000 * predicted(profile.tables, s.shape) for s in data.steps]
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    ends = [min(measured + expected), max(measured + expected)]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.scatter(measured, expected, s=12)
    axes.set(xscale="log", yscale="log", xlabel="measured step (ms)", ylabel="predicted step (ms)")
    axes.set_title(f"{profile.model}: {_errors(profile)}", fontsize="medium")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _refuse_measured(folder: Path) -> None:
    found = [name for name in _CSV if (folder / name).exists()]
    if found:
        raise CommandError(
            f"{folder} holds measurements already ({', '.join(found)}). --resume goes on with them; or choose another "
            "folder",
            USAGE,
        )


def _remove_measured(folder: Path) -> None:
    for name in _CSV:
        (folder / name).unlink(missing_ok=True)


def _name(deployment: VajraDeployment) -> str:
    """As people call the model: a path's last part, else the reference."""
    reference = str(deployment.replica_config.model_config.model)
    return Path(reference).name if Path(reference).exists() else reference


def _vidur_identity(columns: ModelColumns, layers: int, device: str) -> Identity:
    return Identity(
        num_layers=layers,
        hidden_size=columns.hidden_size,
        intermediate_size=columns.intermediate_size,
        num_heads=columns.num_heads,
        num_kv_heads=columns.num_kv_heads,
        head_dim=columns.hidden_size // columns.num_heads,
        vocab_size=columns.vocab_size,
        dtype="float16",
        processor=device,
        kernels="vidur",
        threads=1,
        block_size=16,
    )
