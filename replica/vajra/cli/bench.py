"""`vajra bench`: options only; the work is in `vajra.cli.benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.output import Format, FormatOption

LENGTHS = "N, uniform:MIN:MAX, zipf:THETA:MIN:MAX or lognormal:MEDIAN:SIGMA[:MIN:MAX]"


def bench(
    url: Annotated[str | None, typer.Option(help="An OpenAI-compatible server, as http://127.0.0.1:8000.")] = None,
    offline: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Measure the engine in this process instead of a server.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name on the server; its first one by default.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask /v1/chat/completions, with text.")] = False,
    num_requests: Annotated[int, typer.Option(min=1, help="How many requests to measure.")] = 100,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Requests per second, arriving as a Poisson process.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Most requests in flight; 8 without --rate, unlimited with it.")
    ] = None,
    prompt_len: Annotated[str, typer.Option(metavar="LENGTHS", help=f"Prompt tokens: {LENGTHS}.")] = "128",
    output_len: Annotated[str, typer.Option(metavar="LENGTHS", help="Tokens to generate, in the same forms.")] = "64",
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same workload.")] = 0,
    text: Annotated[bool, typer.Option("--text", help="Prompts of words instead of random token ids.")] = False,
    vocabulary: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Token ids to draw from, HIGH excluded.")
    ] = "1000:30000",
    ignore_eos: Annotated[
        bool, typer.Option(help="Ask for answers of exact length (ignore_eos and min_tokens).")
    ] = True,
    extra_body: Annotated[
        str, typer.Option(metavar="JSON", help="Fields to add to every request, as '{\"top_k\": 1}'.")
    ] = "{}",
    warmup: Annotated[int, typer.Option(min=0, help="Requests to send first and not to count.")] = 2,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take.")] = 600.0,
    api_key: Annotated[str | None, typer.Option(envvar="VAJRA_API_KEY", help="Bearer token for the server.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write result.json, requests.jsonl, ttft.png and itl.png here.")
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Measure a server: TTFT, ITL, TPOT, E2E and throughput.

    TTFT is the time to the first token, ITL the gap between messages with tokens, TPOT the mean time per further
    token, E2E the whole. Failed requests are counted by reason, are in no latency, and make the exit code 1.

    \b
    Examples:
      vajra bench --url http://127.0.0.1:8000 --rate 4 --prompt-len uniform:64:512 --output-len lognormal:100:0.5
      vajra bench --offline smollm2-135m-instruct --concurrency 16 --output-dir results
    """
    from vajra.cli.benchmark.command import BenchmarkOptions, run_command

    run_command(
        BenchmarkOptions(
            url=url,
            offline=offline,
            model=model,
            chat=chat,
            num_requests=num_requests,
            rate=rate,
            concurrency=concurrency,
            prompt_len=prompt_len,
            output_len=output_len,
            seed=seed,
            text=text or chat,
            vocabulary=vocabulary,
            ignore_eos=ignore_eos,
            extra_body=extra_body,
            warmup=warmup,
            timeout=timeout,
            output_dir=str(output_dir) if output_dir else None,
        ),
        api_key=api_key,
        output=output,
    )
