"""`vajra chat`."""

from __future__ import annotations

from typing import Annotated

import typer

from vajra.cli.deployment import DtypeOption, ManifestOption, MaxModelLenOption, QuantizationOption


def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="A model to run here (smollm2-135m-instruct), or the name of one on the server of --url."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Talk to a running OpenAI-compatible server, as http://127.0.0.1:8000.")
    ] = None,
    manifest: ManifestOption = None,
    api_key: Annotated[str | None, typer.Option(envvar="VAJRA_API_KEY", help="Bearer token for the server.")] = None,
    dtype: DtypeOption = None,
    quantization: QuantizationOption = None,
    max_model_len: MaxModelLenOption = None,
    system: Annotated[str | None, typer.Option(help="What the model is told first.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of each answer.")] = 512,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token always.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Choose among the likeliest of this mass.")] = 0.95,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same answers.")] = None,
) -> None:
    """Talk with a model. /quit ends, /reset forgets, Ctrl-C stops an answer.

    \b
    Examples:
      vajra chat
      vajra chat --url http://127.0.0.1:8000 --system "Answer in one sentence."
    """
    from vajra.cli.conversation import ChatOptions, run_command

    run_command(
        ChatOptions(
            model=model,
            url=url,
            manifest=manifest,
            api_key=api_key,
            overrides={"dtype": dtype, "quantization": quantization, "max_model_len": max_model_len},
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
    )
