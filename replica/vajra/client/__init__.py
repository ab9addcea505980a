"""Python clients: `VajraClient` and `AsyncVajraClient` over gRPC, and `LLM`, the same controllers without a server.

Names are imported when they are used: who asks for `LLM` does not wait for the gRPC client, nor the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vajra.client.errors import (
        AuthenticationError,
        DeadlineExceededError,
        InvalidRequestError,
        OverloadedError,
        RequestCancelledError,
        ServerFaultError,
        UnavailableError,
        UnknownModelError,
        VajraError,
    )
    from vajra.client.grpc_client import (
        AsyncVajraClient,
        VajraClient,
    )
    from vajra.client.llm import (
        LLM,
    )
    from vajra.client.params import (
        Message,
        Prompt,
        SamplingParams,
    )
    from vajra.client.results import (
        Ahead,
        Completion,
        Delta,
        GenerationResult,
        ModelInfo,
        Stay,
        TokenLogprob,
        Usage,
    )
    from vajra.client.retry import (
        RetryPolicy,
    )

_HOMES = {
    "LLM": "llm",
    "Ahead": "results",
    "AsyncVajraClient": "grpc_client",
    "AuthenticationError": "errors",
    "Completion": "results",
    "DeadlineExceededError": "errors",
    "Delta": "results",
    "GenerationResult": "results",
    "InvalidRequestError": "errors",
    "Message": "params",
    "ModelInfo": "results",
    "OverloadedError": "errors",
    "Prompt": "params",
    "RequestCancelledError": "errors",
    "RetryPolicy": "retry",
    "SamplingParams": "params",
    "ServerFaultError": "errors",
    "Stay": "results",
    "TokenLogprob": "results",
    "UnavailableError": "errors",
    "UnknownModelError": "errors",
    "Usage": "results",
    "VajraClient": "grpc_client",
    "VajraError": "errors",
}
__all__ = [
    "LLM",
    "Ahead",
    "AsyncVajraClient",
    "AuthenticationError",
    "Completion",
    "DeadlineExceededError",
    "Delta",
    "GenerationResult",
    "InvalidRequestError",
    "Message",
    "ModelInfo",
    "OverloadedError",
    "Prompt",
    "RequestCancelledError",
    "RetryPolicy",
    "SamplingParams",
    "ServerFaultError",
    "Stay",
    "TokenLogprob",
    "UnavailableError",
    "UnknownModelError",
    "Usage",
    "VajraClient",
    "VajraError",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
