"""Who may ask: API keys, and the tenants that they stand for."""

from __future__ import annotations

import hashlib
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vajra.config import ConfigError
from vajra.config.errors import MISSING, raise_errors

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

log = logging.getLogger(__name__)

FILE_VARIABLE: Final = "VAJRA_API_KEYS_FILE"
_FIELDS: Final = ("name", "key", "weight")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_KEY: Final = re.compile(r"\S{1,512}")
_MOST_WEIGHT: Final = 1e6
_MOST_BYTES: Final = 1 << 20  # as much as a Secret holds
_CHECK_SECONDS: Final = 1.0  # between looks at the file


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose request it is. `weight` is a share beside other tenants; the nameless tenant is everybody without one."""

    name: str = ""
    weight: float = 1.0


ANYBODY: Final = Tenant()


class ApiKeys:
    """The keys of a server: one without a name, those of a file, both, or none, and then nobody is asked for one.

    The file is read again when it has changed. One that cannot be used then is logged, and the keys before it stay.
    Keys are found by a digest with a secret of this process's own, so the time that takes tells nothing of them.
    """

    def __init__(
        self,
        key: str | None = None,
        file: Path | None = None,
        *,
        called: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`called` is what messages call the file, if not by its path. Raises ConfigError for a file that cannot be
        used, by line and never with a key, and for an empty key."""
        if key == "":
            raise _fault("API key", "is empty", "a key, or none at all: then nobody is asked for one")
        self._file, self._called, self._clock = file, called or str(file), clock
        self._secret = secrets.token_bytes(32)
        self._nameless = {} if key is None else {self._digest(key.encode()): ANYBODY}
        self._tenants: Mapping[bytes, Tenant] = self._nameless
        self._checked = clock()
        self._signature = _signature(file)
        if file is not None:
            self._read(file)

    @property
    def asked(self) -> bool:
        """Whether clients need a key."""
        return self._file is not None or bool(self._nameless)

    def tenant(self, authorization: bytes) -> Tenant | None:
        """Whose key an `Authorization` header or metadata holds; None for nobody's."""
        if not self.asked:
            return ANYBODY
        self._refresh()
        scheme, _, key = authorization.partition(b" ")
        return self._tenants.get(self._digest(key)) if scheme.lower() == b"bearer" else None

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._secret).digest()

    def _read(self, file: Path) -> None:
        keys = read_keys(file, self._called)
        self._tenants = self._nameless | {self._digest(key.encode()): tenant for key, tenant in keys.items()}

    def _refresh(self) -> None:
        now = self._clock()
        if self._file is None or now - self._checked < _CHECK_SECONDS:
            return
        self._checked = now
        if (signature := _signature(self._file)) == self._signature:
            return
        self._signature = signature
        try:
            self._read(self._file)
            log.info("read the API keys in %s again", self._called)
        except ConfigError as error:
            log.error("the API keys before stay in force: %s", error)


def read_keys(file: Path, name: str) -> dict[str, Tenant]:
    """Tenants by key. Raises ConfigError with every fault of the file, which `name` and a line tell apart."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _fault(name, f"cannot be read: {error.strerror or error}", "a file of API keys") from None
    if len(data) > _MOST_BYTES:
        raise _fault(name, "is larger than 1 MiB", "fewer keys")
    try:
        return parse_keys(data.decode(), name)
    except UnicodeDecodeError as error:
        raise _fault(name, f"byte {error.start} is not valid UTF-8", "UTF-8 text") from None


def parse_keys(text: str, name: str) -> dict[str, Tenant]:
    """A list of {name, key, weight} in YAML or JSON; `weight` is 1 by default. Entries of one name are one tenant's
    several keys. Raises ConfigError with every fault, which `name` and a line tell apart."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:  # its own words may quote a key
        mark = getattr(error, "problem_mark", None)
        raise _fault(f"{name}:{mark.line + 1}" if mark else name, "is not readable as YAML or JSON", _FORM) from None
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        raise _fault(name, "holds no list of API keys", _FORM)
    faults: list[ConfigError] = []
    keys: dict[str, Tenant] = {}
    lines: dict[str, int] = {}
    weights: dict[str, tuple[float, int]] = {}
    for node in root.value:
        line = node.start_mark.line + 1
        values = dict(_values(node, f"{name}:{line}", faults))
        if "name" not in values or "key" not in values:
            continue
        tenant, key, weight = values["name"], values["key"], float(values.get("weight", "1"))
        if key in lines:
            faults.append(_fault(f"{name}:{line}", f"has the key of line {lines[key]}", "a key of its own"))
        before, first = weights.setdefault(tenant, (weight, line))
        if weight != before:
            allowed = f"one weight for {tenant!r}, which has {before:g} in line {first}"
            faults.append(_fault(f"{name}:{line}", f"has weight {weight:g}", allowed))
        lines.setdefault(key, line)
        keys[key] = Tenant(tenant, weight)
    raise_errors(faults)
    return keys


_FORM: Final = "a list of entries such as {name: search, key: SECRET, weight: 2}"


def _values(node: Node, where: str, faults: list[ConfigError]) -> Iterator[tuple[str, str]]:
    """The fields of one entry that are in order."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        faults.append(_fault(where, "is no entry", _FORM))
        return
    given = _scalars(node, where, faults)
    for field in ("name", "key"):
        if field not in given:
            faults.append(_fault(where, f"has no {field}", _FORM))
    for field, value in given.items():
        if field == "name" and not _NAME.fullmatch(value):
            faults.append(
                _fault(where, "has a name that is none", "1 to 63 letters, digits, dots, dashes, lines below")
            )
        elif field == "key" and not _KEY.fullmatch(value):
            faults.append(_fault(where, "has a key that is none", "1 to 512 characters without spaces"))
        elif field == "weight" and not _is_weight(value):
            faults.append(_fault(where, f"has weight {value[:20]}", f"a number above 0, at most {_MOST_WEIGHT:g}"))
        else:
            yield field, value


def _scalars(node: MappingNode, where: str, faults: list[ConfigError]) -> dict[str, str]:
    """The entry's fields as they are written: a key of digits is no number."""
    import yaml

    given: dict[str, str] = {}
    for field, value in node.value:
        name = field.value
        if name not in _FIELDS:  # which may be a key: it is not told
            faults.append(_fault(where, "has a field that is unknown", f"the fields {', '.join(_FIELDS)}"))
        elif name in given:
            faults.append(_fault(where, f"has {name} twice", "each field once"))
        elif not isinstance(value, yaml.ScalarNode):
            faults.append(_fault(where, f"has a {name} that is no plain value", _FORM))
        elif value.tag != "tag:yaml.org,2002:null":
            given[name] = value.value
    return given


def _is_weight(text: str) -> bool:
    try:
        weight = float(text)
    except ValueError:
        return False
    return math.isfinite(weight) and 0 < weight <= _MOST_WEIGHT


def _fault(where: str, problem: str, allowed: str) -> ConfigError:
    return ConfigError(where, MISSING, allowed, problem=problem)


def _signature(file: Path | None) -> object:
    """Changes with the file, also where its path leads to another one (a mounted Secret's does)."""
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_size, status.st_ino)
