"""`vajra profile`: options only; the work is in `vajra.cli.profiling`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vajra.cli.deployment import DtypeOption, ManifestOption, MaxModelLenOption, QuantizationOption
from vajra.cli.output import Format, FormatOption
from vajra.cli.program import Commands


class _WithDefault(Commands):
    """`vajra profile MODEL` is `vajra profile measure MODEL`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["measure", *args]
        return super().parse_args(ctx, args)


class PresetName(StrEnum):
    """How much is measured."""

    quick = "quick"
    full = "full"


app = typer.Typer(
    cls=_WithDefault,
    help="Measure how long the engine takes on this machine, for schedulers that must know.\n\n"
    "`vajra profile MODEL` is short for `vajra profile measure MODEL`.\n\n"
    "\b\nExamples:\n  vajra profile\n  vajra profile meta-llama/Llama-3.2-1B --preset full\n  vajra profile show",
    rich_markup_mode=None,
)


@app.command()
def measure(
    model: Annotated[
        str | None, typer.Argument(help="A model, as for vajra serve; smollm2-135m-instruct by default.")
    ] = None,
    manifest: ManifestOption = None,
    preset: Annotated[
        PresetName, typer.Option(help="quick takes a minute with a small model, full several.")
    ] = PresetName.quick,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="About how long to measure, instead of the preset's time.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where CSV files and profile.json go; this machine's cache by default.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run instead of measuring anew.")
    ] = False,
    dtype: DtypeOption = None,
    quantization: QuantizationOption = None,
    max_model_len: MaxModelLenOption = None,
    output: FormatOption = Format.text,
) -> None:
    """Measure a model's engine on this machine and fit a profile.

    Engines of the same shapes, dtype, processor, threads and block size find it in the cache. With matplotlib
    installed, predicted.png beside it shows predicted against measured steps.

    \b
    Examples:
      vajra profile measure smollm2-135m-instruct
      vajra profile -f deployment.yaml --preset full --output-dir profiles --resume
    """
    from vajra.cli.profiling import MeasureOptions, run_measure

    run_measure(
        MeasureOptions(
            model=model,
            manifest=manifest,
            preset=preset.value,
            seconds=seconds,
            output_dir=output_dir,
            resume=resume,
            overrides={"dtype": dtype, "quantization": quantization, "max_model_len": max_model_len},
        ),
        output,
    )


@app.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="CSV files in Vidur's layout: the folder of mlp.csv, or one above.")],
    layers: Annotated[
        int | None, typer.Option(min=1, help="The model's layers; needed for files that vajra did not measure.")
    ] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="Workers that share each layer.")] = 1,
    pipeline_parallel: Annotated[int, typer.Option(min=1, help="Stages that the layers are cut into.")] = 1,
    network: Annotated[
        Path | None, typer.Option(help="Folder of all_reduce.csv and send_recv.csv; found beside compute/ by default.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The profile to write; profile.json in the folder by default.")
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Fit a profile to CSV files, ours or Vidur's.

    \b
    Examples:
      vajra profile fit profiles
      vajra profile fit data/profiling/compute/h100/meta-llama/Llama-3-8B --layers 32 --tensor-parallel 4
    """
    from vajra.cli.profiling import FitOptions, run_fit

    run_fit(FitOptions(folder, layers, tensor_parallel, pipeline_parallel, network, to), output)


@app.command()
def show(
    profile: Annotated[
        Path | None, typer.Argument(help="A profile.json; without it, the profiles in this machine's cache.")
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Show what a profile is of and how well it fits; or list the cache.

    \b
    Examples:
      vajra profile show
      vajra profile show profiles/profile.json -o json
    """
    from vajra.cli.profiling import run_show

    run_show(profile, output)
