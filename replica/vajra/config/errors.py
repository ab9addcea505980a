"""What a user is told when a configuration cannot be used: where, what, what is allowed, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final


class _Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()


class ConfigError(ValueError):
    """One fault in a configuration.

    `path` names the field as the user wrote it (`spec.scheduler.fixedChunk.chunkSize` in a manifest,
    `FixedChunkReplicaSchedulerConfig.chunk_size` in Python), `value` is what stands there, `allowed` says what may,
    `hint` what to do next. `problem` replaces the default first half of the message, "got VALUE".
    """

    def __init__(self, path: str, value: Any, allowed: str, hint: str = "", *, problem: str = "") -> None:
        self.path = path
        self.value = value
        self.allowed = allowed
        self.hint = hint
        self.problem = problem or ("a value is required" if value is MISSING else f"got {_short(value)}")
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [self.problem]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.hint:
            parts.append(self.hint)
        return f"{self.path}: " + "; ".join(parts)

    def __str__(self) -> str:
        return self._message()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.path, self.value, self.allowed, self.hint, self.problem)

    @property
    def errors(self) -> Sequence[ConfigError]:
        """The faults that this exception reports: itself, or several (`ConfigErrors`)."""
        return (self,)

    def below(self, prefix: str) -> ConfigError:
        """The same fault seen from outside: `prefix` stands before the path."""
        return ConfigError(join(prefix, self.path), self.value, self.allowed, self.hint, problem=self.problem)


class ConfigErrors(ConfigError):
    """Several faults, reported together; path, value, allowed and hint are those of the first."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        self._errors = tuple(errors)
        super().__init__(first.path, first.value, first.allowed, first.hint, problem=first.problem)

    def __str__(self) -> str:
        return f"{len(self._errors)} faults:\n" + "\n".join(f"  {error}" for error in self._errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigErrors, (self._errors,)

    @property
    def errors(self) -> Sequence[ConfigError]:
        """The faults, in the order of the fields."""
        return self._errors


def raise_errors(errors: Sequence[ConfigError]) -> None:
    """Raises what there is to raise: nothing, the one fault, or all of them together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def join(prefix: str, path: str) -> str:
    """`a` and `b` make `a.b`; an index needs no dot."""
    if not prefix or not path:
        return prefix or path
    return f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}"


def nearest(name: object, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`: letter case and separators count for nothing."""
    if not isinstance(name, str):
        return None
    by_letters = {_letters(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(_letters(name), by_letters, n=1, cutoff=0.54)
    return by_letters[found[0]] if found else None


def did_you_mean(name: object, candidates: Iterable[str]) -> str:
    """A hint, empty when nothing is near."""
    found = nearest(name, candidates)
    return f"did you mean {found}?" if found else ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _short(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuild(path: str, value: Any, allowed: str, hint: str, problem: str) -> ConfigError:
    return ConfigError(path, value, allowed, hint, problem=problem)
