"""`vajra simulate`: options only; the work is in `vajra.cli.simulation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.bench import LENGTHS
from vajra.cli.deployment import ManifestOption
from vajra.cli.output import Format, FormatOption


def simulate(
    manifest: ManifestOption = None,
    model: Annotated[
        str | None, typer.Option(help="A hub id, a folder or a .gguf file, instead of -f; Llama-3.1-8B by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="H100, H200 or A100, by its analytic roofline.")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="A profile.json of `vajra profile` instead: times that were measured.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GiB of each device; the device's own, or this machine's.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="Replicas.")] = None,
    tensor: Annotated[int | None, typer.Option(min=1, help="Tensor ranks of a replica.")] = None,
    pipeline: Annotated[int | None, typer.Option(min=1, help="Pipeline stages of a replica.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="FixedChunk, DynamicChunk or SpaceSharing.")] = None,
    prioritizer: Annotated[str | None, typer.Option(help="FCFS, EDF or LRS.")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest prompt plus answer, in tokens.")] = None,
    chunk_size: Annotated[int | None, typer.Option(min=1, help="Tokens in one batch (FixedChunk).")] = None,
    target_batch_time: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds of one batch (DynamicChunk, SpaceSharing).")
    ] = None,
    max_batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences in one batch.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Recorded requests: .csv or .jsonl, our columns or Azure's, Mooncake's, Vidur's."),
    ] = None,
    speed: Annotated[float, typer.Option(min=1e-6, help="Replay the trace so many times faster.")] = 1.0,
    requests: Annotated[int | None, typer.Option(min=1, help="How many requests; 1000, or all of the trace.")] = None,
    arrivals: Annotated[
        str, typer.Option(help="RATE, poisson:RATE, gamma:RATE:CV, bursty:RATE:ON:OFF, fixed:RATE or at-once.")
    ] = "4",
    prompt_len: Annotated[str, typer.Option(metavar="LENGTHS", help=f"Prompt tokens: {LENGTHS}.")] = "1024",
    output_len: Annotated[str, typer.Option(metavar="LENGTHS", help="Tokens generated, in the same forms.")] = "256",
    long_share: Annotated[float, typer.Option(min=0, max=1, help="Share of requests with long prompts.")] = 0.0,
    long_prompt_len: Annotated[
        str | None, typer.Option(metavar="LENGTHS", help="Tokens of those, in the same forms.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="What clients allow; ends are then a surprise to the scheduler.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same workload.")] = 0,
    long_from: Annotated[
        int | None, typer.Option(min=1, help="Prompts from so many tokens on are told apart as long.")
    ] = None,
    queue: Annotated[
        int | None, typer.Option(min=0, help="Requests that may wait at the gateway; any by default.")
    ] = None,
    step_overhead: Annotated[float, typer.Option(min=0, help="Seconds of each step beyond its prediction.")] = 0.0,
    request_overhead: Annotated[
        float, typer.Option(min=0, help="Seconds from arrival until a request can be dispatched.")
    ] = 0.0,
    slo: Annotated[
        list[str] | None, typer.Option(metavar="OBJECTIVE", help="[short.|long.]METRIC:pQ:SECONDS, as ttft:p90:2.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Find the fewest devices that hold every --slo, and their highest rate.")
    ] = False,
    max_rate: Annotated[
        bool, typer.Option("--max-rate", help="Find the highest rate at which this deployment holds every --slo.")
    ] = False,
    tensor_choices: Annotated[str, typer.Option(help="Tensor ranks that --search tries.")] = "1,2,4,8",
    pipeline_choices: Annotated[str, typer.Option(help="Pipeline stages that --search tries.")] = "1,2",
    max_devices: Annotated[int, typer.Option(min=1, help="Most devices that --search may take.")] = 256,
    manifest_out: Annotated[
        Path | None, typer.Option(help="Write the VajraDeployment that --search found here.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option("--output-dir", help="Write CSV files and plots here.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Write these too: requests, batches, ledgers, trace (for Chrome).")
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Plan a cluster: run the real schedulers over predicted time, without any device.

    The analytic devices compare layouts and policies; a profile of `vajra profile` tells the times of a machine.

    \b
    Examples:
      vajra simulate --device H100 --arrivals 6 --prompt-len lognormal:1000:0.9:1:4000 --slo ttft:p90:1
      vajra simulate -f manifests/smollm2.yaml --profile profile.json --arrivals 1 --output-dir results
      vajra simulate --model meta-llama/Llama-3.1-70B-Instruct --device H200 --arrivals 20 --slo ttft:p90:2
        --slo tbt:p99:0.1 --search --manifest-out deployment.yaml
    """
    from vajra.cli.simulation.command import SimulateOptions, run_command

    run_command(
        SimulateOptions(
            manifest=manifest,
            model=model,
            device=device,
            profile=profile,
            memory=memory,
            overrides={
                "num_replicas": replicas,
                "tensor_parallel_size": tensor,
                "pipeline_parallel_size": pipeline,
                "max_model_len": max_model_len,
            },
            scheduler=scheduler,
            scheduler_options={
                "chunk_size": chunk_size,
                "target_batch_time_param": target_batch_time,
                "max_batch_size": max_batch_size,
            },
            prioritizer=prioritizer,
            trace=trace,
            speed=speed,
            requests=requests,
            arrivals=arrivals,
            prompt_len=prompt_len,
            output_len=output_len,
            long_share=long_share,
            long_prompt_len=long_prompt_len,
            max_tokens=max_tokens,
            seed=seed,
            long_from=long_from,
            queue=queue,
            step_overhead=step_overhead,
            request_overhead=request_overhead,
            objectives=tuple(slo or ()),
            search=search,
            max_rate=max_rate,
            tensor_choices=tensor_choices,
            pipeline_choices=pipeline_choices,
            max_devices=max_devices,
            manifest_out=manifest_out,
            output_dir=output_dir,
            keep=tuple(keep or ()),
        ),
        output,
    )
