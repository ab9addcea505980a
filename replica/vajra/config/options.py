"""How an option is declared; everything else is read from these declarations.

An option is declared once, with its type, default, limits and meaning, and for a manifest's field also the reference
field it stands for, its unit, its change class and how much of it this version implements. Parsing, the mapping
between manifest and reference classes, the JSON schema, the support check and the documentation read this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from vajra.config.conversions import PLAIN, Conversion

_ACRONYMS: Final = {"kv": "KV", "id": "ID", "ai": "AI"}


class Change(StrEnum):
    """What a change of an option costs on a running deployment."""

    LIVE = "Live"  # taken over by the running processes
    RECREATE = "Recreate"  # pods (locally: processes) start again


class Scope(StrEnum):
    """Who acts on an option in this version."""

    SERVING = "Serving"  # the serving processes, locally and in a pod
    CLUSTER = "Cluster"  # only the operator; local serving reports it and goes on


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of an option beyond its type, default and limits.

    reference: the field of the owning class's reference class that a manifest's field maps to.
    conversion: how the two values correspond (percent, milliseconds, …).
    updatable: whether a change is taken over while everything runs, by whoever acts on it; control.v1's UpdateConfig
    tells the serving processes, and acknowledges what is not theirs.
    change, updatable, scope: inherited from the enclosing section where None.
    implemented: the only values that this version implements; None: all. in_cluster: those that a cluster adds.
    advice: what to do instead of a value that is not implemented.
    allowed: what may stand here, where type and limits say it badly.
    """

    doc: str = ""
    reference: str | None = None
    conversion: Conversion = PLAIN
    change: Change | None = None
    updatable: bool | None = None
    scope: Scope | None = None
    implemented: tuple[object, ...] | None = None
    in_cluster: tuple[object, ...] = ()
    advice: str = ""
    allowed: str = ""


def option(
    *,
    doc: str = "",
    default: Any = ...,
    default_factory: Callable[..., Any] | None = None,
    reference: str | None = None,
    conversion: Conversion = PLAIN,
    change: Change | None = None,
    updatable: bool | None = None,
    scope: Scope | None = None,
    implemented: tuple[object, ...] | None = None,
    in_cluster: tuple[object, ...] = (),
    advice: str = "",
    allowed: str = "",
    **limits: Any,
) -> Any:
    """Declares one option of a `config_class`. `limits` are pydantic's: ge, gt, le, min_length, max_length, pattern.

    A `default_factory` may take the dict of the fields before it.
    """
    info = Option(doc, reference, conversion, change, updatable, scope, implemented, in_cluster, advice, allowed)
    extra: Any = {"option": info}
    if default_factory is not None:
        return Field(default_factory=default_factory, json_schema_extra=extra, **limits)
    return Field(default=default, json_schema_extra=extra, **limits)


def camel(name: str) -> str:
    """The manifest's spelling of a Python name: max_tokens_per_kv_group is maxTokensPerKVGroup."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)
