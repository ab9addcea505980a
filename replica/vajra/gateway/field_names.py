"""How a face spells a request's fields, so that a complaint names what the client itself sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping


class FieldNames:
    """Maps the fields of GenerateRequestData to a face's own; those that `spelled` lacks are called the same there."""

    def __init__(self, spelled: Mapping[str, str] | None = None) -> None:
        self._spelled = dict(spelled or {})

    def __call__(self, field: str) -> str:
        """The face's path of a field: "prompt" may be "chat.messages" there."""
        return self._spelled.get(field, field)
