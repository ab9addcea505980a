"""`vajra serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.deployment import DtypeOption, ManifestOption, MaxModelLenOption, QuantizationOption


def serve(
    model: Annotated[
        str | None,
        typer.Argument(help="A model: smollm2-135m-instruct (the default), a folder, a .gguf file or a hub id."),
    ] = None,
    manifest: ManifestOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one. 8000, or the manifest's.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one. 8471, or the manifest's.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="VAJRA_API_KEY", help="Ask every client for this bearer token.")
    ] = None,
    api_keys: Annotated[
        Path | None,
        typer.Option(envvar="VAJRA_API_KEYS_FILE", help="Ask every client for a bearer token of this file, by name."),
    ] = None,
    dtype: DtypeOption = None,
    quantization: QuantizationOption = None,
    max_model_len: MaxModelLenOption = None,
    num_replicas: Annotated[int | None, typer.Option(min=1, help="Replicas on this machine.")] = None,
    max_batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences in one batch.")] = None,
    chunk_size: Annotated[int | None, typer.Option(min=1, help="Tokens in one batch.")] = None,
    block_size: Annotated[int | None, typer.Option(min=1, help="Tokens in one KV block.")] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Share of the device's memory (or the machine's) to use.")
    ] = None,
    load_format: Annotated[str | None, typer.Option(help="auto, safetensors, pt, gguf or dummy.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    download_dir: Annotated[str | None, typer.Option(help="Where to keep models instead of the cache.")] = None,
) -> None:
    """Serve a model over HTTP (OpenAI's API) and gRPC until interrupted.

    SIGTERM and Ctrl-C drain: no new requests, and those in flight are finished.

    \b
    Examples:
      vajra serve
      vajra serve path/to/checkpoint --dtype float32 --port 9000
      vajra serve -f manifests/smollm2.yaml
    """
    from vajra.cli.deployment import read_deployment
    from vajra.cli.serving import serve_until_interrupted

    deployment = read_deployment(
        model,
        manifest,
        {
            "dtype": dtype,
            "quantization": quantization,
            "max_model_len": max_model_len,
            "num_replicas": num_replicas,
            "max_batch_size": max_batch_size,
            "chunk_size": chunk_size,
            "block_size": block_size,
            "gpu_memory_utilization": gpu_memory_utilization,
            "load_format": load_format,
            "revision": revision,
            "download_dir": download_dir,
        },
    )
    networking = deployment.spec.networking
    code = serve_until_interrupted(
        deployment,
        host=host,
        port=(networking.open_ai_port or 8000) if port is None else port,
        grpc_port=networking.grpc_port if grpc_port is None else grpc_port,
        api_key=api_key,
        api_keys_file=api_keys,
    )
    raise typer.Exit(code)
