"""The replica set in operation: tokenizers, one queue, dispatch, failover, and the gRPC and OpenAI faces.

Names are imported when they are used: `serve` starts the replicas before anything heavy is imported, and a
tokenizer worker needs nothing of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vajra.gateway.endpoints import Endpoints as Endpoints
    from vajra.gateway.gateway import Gateway as Gateway
    from vajra.gateway.request import Chat as Chat
    from vajra.gateway.request import Delta as Delta
    from vajra.gateway.request import GenerateRequestData as GenerateRequestData
    from vajra.gateway.serving import serve as serve

_HOMES = {
    "Chat": "request",
    "Delta": "request",
    "Gateway": "gateway",
    "GenerateRequestData": "request",
    "Endpoints": "endpoints",
    "serve": "serving",
}
__all__ = ["Chat", "Delta", "Endpoints", "Gateway", "GenerateRequestData", "serve"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
