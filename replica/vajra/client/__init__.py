"""Python clients: `VajraClient` and `AsyncVajraClient` over gRPC, and `LLM`, the same controllers without a server."""

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
from vajra.client.grpc_client import AsyncVajraClient, VajraClient
from vajra.client.params import Message, Prompt, SamplingParams
from vajra.client.results import Completion, Delta, GenerationResult, ModelInfo, TokenLogprob, Usage
from vajra.client.retry import RetryPolicy

__all__ = [
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
    "TokenLogprob",
    "UnavailableError",
    "UnknownModelError",
    "Usage",
    "VajraClient",
    "VajraError",
]
