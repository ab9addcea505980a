"""Reads a request's JSON, field by field; every complaint names the field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from vajra.gateway.errors import InvalidRequest


def parse_json(data: bytes) -> dict[str, Any]:
    """The body as an object. Raises InvalidRequest, also for NaN, which Python would read."""
    try:
        body = json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not valid UTF-8: byte {error.start} is {data[error.start]:#04x}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    except (json.JSONDecodeError, _NoNumber) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    except ValueError:  # Python's bound on an integer's digits
        raise InvalidRequest("the body has an integer of thousands of digits; no field takes one") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be a JSON object, it is {spelled(body)}")
    return body


class _NoNumber(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _NoNumber(f"{name} is no JSON number; numbers must be finite")


class Fields:
    """The fields of one object. `path` stands before names in messages.

    A null counts as absent, as with OpenAI. Anything not in `known` is refused with the nearest known name.
    """

    def __init__(self, body: Mapping[str, Any], known: Collection[str], path: str = "") -> None:
        self._body = body
        self._path = path
        for name in body:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InvalidRequest(f"unknown field {self.path(name)!r}{hint}", self.path(name))

    def path(self, name: str) -> str:
        """The field's full name."""
        return f"{self._path}.{name}" if self._path else name

    def refuse(self, name: str, reason: str, *defaults: Any) -> None:
        """Raises InvalidRequest when a known field asks for something that is not supported."""
        value = self._body.get(name)
        if value is not None and not any(value == d and type(value) is type(d) for d in defaults):
            ways = dict.fromkeys(f" or send {json.dumps(default)}" for default in defaults)
            allowed = f"; leave it out{''.join(ways)}"
            raise InvalidRequest(f"{self.path(name)} is not supported: {reason}{allowed}", self.path(name))

    def get(self, name: str) -> Any:
        """The value as it is, None when absent."""
        return self._body.get(name)

    def integer(self, name: str) -> int | None:
        value = self._body.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(name, "an integer")

    def number(self, name: str) -> float | None:
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(name, "a finite number") from None

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self._body.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def string(self, name: str) -> str | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return None if value is None else checked_text(value, self.path(name))

    def object(self, name: str) -> dict[str, Any] | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def wrong(self, name: str, expected: str) -> InvalidRequest:
        """The complaint about a value that is missing or of the wrong type, to be raised."""
        path = self.path(name)
        if name not in self._body:
            return InvalidRequest(f"{path} is missing; it must be {expected}", path)
        return InvalidRequest(f"{path} must be {expected}, it is {spelled(self._body[name])}", path)


def checked_text(text: str, path: str) -> str:
    """The text itself. JSON can spell half a surrogate pair, which no UTF-8 can."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"{path} is not valid Unicode: it holds half of a surrogate pair", path) from None
    return text


def token_ids(items: list[Any], path: str) -> list[int]:
    """The list itself, when it holds integers only; which of them are tokens is the model's to say."""
    for i, item in enumerate(items):
        if type(item) is not int:
            raise InvalidRequest(f"{path}[{i}] must be a token id, it is {spelled(item)}", f"{path}[{i}]")
    return items


def spelled(value: Any) -> str:
    """A JSON value as messages write it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {value!r}" if len(value) <= 40 else "a string"
        case int() | float():
            text = f"{value:g}" if isinstance(value, float) else str(value)
            return text if len(text) <= 40 else "a very large number"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__
