"""`vajra generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.deployment import DtypeOption, ManifestOption, MaxModelLenOption, QuantizationOption
from vajra.cli.output import Format, FormatOption


def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help="Prompts; else lines of --file or of stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="A file of prompts, one a line (- is stdin); a .jsonl file as with --jsonl.")
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Lines are JSON: a string, [token ids], [messages], or {"prompt": …}.')
    ] = False,
    model: Annotated[str | None, typer.Option(help="The model; smollm2-135m-instruct by default.")] = None,
    manifest: ManifestOption = None,
    dtype: DtypeOption = None,
    quantization: QuantizationOption = None,
    max_model_len: MaxModelLenOption = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of each answer.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token always.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Choose among the likeliest of this mass.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same answer.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Answers to each prompt.")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")] = None,
    logprobs: Annotated[int | None, typer.Option(help="Log-probabilities of so many alternatives.")] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on after the end of sequence.")] = False,
    ttft_target: Annotated[
        float | None, typer.Option(help="Seconds within which an answer should begin; for EDF and LRS.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on stderr where each answer's time went; with -o json: its ledger.")
    ] = False,
    output: FormatOption = Format.text,
) -> None:
    """Continue prompts, without a server.

    With `-o json` every prompt gives one line of JSON: prompt, choices (text, token_ids, finish_reason, logprobs)
    and usage.

    \b
    Examples:
      vajra generate "The capital of France is" --max-tokens 8
      vajra generate --file prompts.txt -o json > answers.jsonl
      vajra generate "The capital of France is" --explain
    """
    from vajra.cli.generation import GenerateOptions, run_command
    from vajra.client import SamplingParams

    run_command(
        GenerateOptions(
            prompts=prompts or [],
            file=file,
            jsonl=jsonl,
            model=model,
            manifest=manifest,
            overrides={"dtype": dtype, "quantization": quantization, "max_model_len": max_model_len},
        ),
        SamplingParams(
            n=n,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            max_tokens=max_tokens,
            stop=stop or (),
            logprobs=logprobs,
            ignore_eos=ignore_eos,
            ttft_target_seconds=ttft_target,
            ledger=explain,
        ),
        output,
    )
