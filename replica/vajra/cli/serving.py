"""What `vajra serve` does: runs the gateway, says how it is going, and what to try first."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vajra.cli.output import progress_bars

if TYPE_CHECKING:
    from pathlib import Path

    from vajra.config import VajraDeployment
    from vajra.gateway.endpoints import Endpoints


def serve_until_interrupted(
    deployment: VajraDeployment,
    *,
    host: str,
    port: int,
    grpc_port: int,
    api_key: str | None,
    api_keys_file: Path | None,
) -> int:
    """Serves until SIGINT or SIGTERM and drains; returns the exit code."""
    from vajra.client.startup import fetch, readable
    from vajra.gateway import serve
    from vajra.gateway.api_keys import ApiKeys

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    ApiKeys(api_key, api_keys_file)  # a fault of the file is told before a model is fetched
    with ExitStack() as stack:
        progress = readable(stack.enter_context(progress_bars()))
        fetch(deployment, progress)

        def ready(endpoints: Endpoints) -> None:
            stack.close()  # the bars make room for the addresses
            for notice in endpoints.notices:
                print(f"note: {notice}", file=sys.stderr)
            print(
                announcement(endpoints.model, endpoints.http, endpoints.grpc, bool(api_key or api_keys_file)),
                flush=True,
            )

        return serve(
            deployment,
            host=host,
            port=port,
            grpc_port=grpc_port,
            api_key=api_key,
            api_keys_file=api_keys_file,
            progress=progress,
            on_ready=ready,
        )


def announcement(model: str, http: str, grpc: str, key: bool) -> str:
    """The addresses, and a first request to paste. `http` is a URL, `grpc` host:port."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is a thunderbolt?"}], "max_tokens": 64}
    headers = "-H 'Content-Type: application/json'"
    if key:
        headers += ' -H "Authorization: Bearer $VAJRA_API_KEY"'
    return (
        f"{model} is ready.\n"
        f"  HTTP  {http}/v1 (OpenAI)   {http}/health   {http}/metrics\n"
        f"  gRPC  {grpc}\n"
        "Try:\n"
        f"  curl {http}/v1/chat/completions {headers} -d {shlex.quote(json.dumps(body))}\n"
        f"  vajra chat --url {http}"
    )
