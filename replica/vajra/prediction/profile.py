"""The fitted profile: what one model's engine takes on one device, as tables in one JSON file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vajra.prediction.tables import Curve, Surface

FORMAT = 1


class ProfileError(Exception):
    """A profile that cannot be used; says why and what to do."""


class ProfileMismatch(ProfileError):
    """A profile of something else than what it is asked for."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a profile is of. The model is told by its shapes: weights and names take no time."""

    num_layers: int  # of the whole model
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    dtype: str
    quantization: str = "none"
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    processor: str
    kernels: str  # the kernel family, as amx or avx512
    threads: int
    block_size: int  # tokens of a KV block

    @property
    def key(self) -> str:
        """Names a profile of this in caches."""
        return _digest(asdict(self))

    def differences(self, other: Identity) -> list[str]:
        """Each field that differs, with this value and the other's."""
        return [
            f"{f.name} is {mine!r} here and {theirs!r} there"
            for f in fields(self)
            if (mine := getattr(self, f.name)) != (theirs := getattr(other, f.name))
        ]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Seconds of a stage's parts; a step takes their sum.

    tokens: what every query token passes (products, norms, rope), over query tokens
    rows: what rows that sample pass beside (last layer, logits, sampling), over their number
    decode: attention of decodes, over their number and their KV tokens together
    prefill: attention of one chunk, over its query tokens and the KV tokens before it
    constant: of any step
    """

    tokens: Curve
    rows: Curve
    decode: Surface
    prefill: Surface
    constant: float = 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        curves = {n: {"at": c.at, "seconds": c.seconds} for n, c in (("tokens", self.tokens), ("rows", self.rows))}
        surfaces = {
            n: {"at": s.at, "seconds": s.seconds} for n, s in (("decode", self.decode), ("prefill", self.prefill))
        }
        return {**curves, **surfaces, "constant": self.constant}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Tables:
        """The reverse of `plain`. Raises KeyError, TypeError or ValueError."""
        return cls(
            tokens=Curve(plain["tokens"]["at"], plain["tokens"]["seconds"]),
            rows=Curve(plain["rows"]["at"], plain["rows"]["seconds"]),
            decode=Surface(plain["decode"]["at"], plain["decode"]["seconds"]),
            prefill=Surface(plain["prefill"]["at"], plain["prefill"]["seconds"]),
            constant=float(plain["constant"]),
        )


@dataclass(frozen=True, kw_only=True)
class FitErrors:
    """How far predictions are from the steps they were fitted to: |predicted / measured - 1|."""

    steps: int
    median: float
    p95: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Tables, what they are of, and where they come from."""

    identity: Identity
    tables: Tables
    model: str = ""  # for people
    preset: str = ""
    measured: str = ""  # date and time, ISO 8601
    seconds: float = 0.0  # that measuring took
    errors: FitErrors | None = None
    notes: tuple[str, ...] = ()
    data: str = field(default="")  # digest of the measurements

    def fingerprint(self) -> str:
        """Equal fingerprints give equal predictions."""
        return _digest({"format": FORMAT, "data": self.data, "tables": self.tables.plain(), **asdict(self.identity)})

    def check(self, identity: Identity, where: str = "this profile") -> None:
        """Raises ProfileMismatch unless this profile is of `identity`: names all that differs, and where it lies."""
        differing = identity.differences(self.identity)
        if differing:
            raise ProfileMismatch(
                f"{where} ({self.model or 'unnamed'}, {self.identity.processor}) is of something else: "
                + "; ".join(differing).replace(" there", " in the profile")
                + ". Measure anew with `vajra profile MODEL`, or name the profile that was measured for this"
            )

    def to_json(self) -> str:
        """The text of profile.json."""
        plain = asdict(self.identity)
        value = {
            "format": FORMAT,
            "fingerprint": self.fingerprint(),
            "model": self.model,
            "preset": self.preset,
            "measured": self.measured,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "errors": asdict(self.errors) if self.errors else None,
            "identity": plain,
            "data": self.data,
            "tables": self.tables.plain(),
        }
        return json.dumps(value, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "profile") -> Profile:
        """Raises ProfileError for text that is not a profile of this format."""
        try:
            value = json.loads(text)
            if value["format"] != FORMAT:
                raise ProfileError(
                    f"{where} has format {value['format']}; this version reads format {FORMAT}. Measure anew with "
                    "`vajra profile MODEL`"
                )
            errors = value["errors"]
            profile = cls(
                identity=Identity(**value["identity"]),
                tables=Tables.of_plain(value["tables"]),
                model=value["model"],
                preset=value["preset"],
                measured=value["measured"],
                seconds=value["seconds"],
                errors=FitErrors(**errors) if errors else None,
                notes=tuple(value["notes"]),
                data=value["data"],
            )
            stated = value["fingerprint"]
        except (KeyError, TypeError, ValueError, IndexError) as e:
            raise ProfileError(
                f"{where} is not a profile ({type(e).__name__}: {e}). Measure anew with `vajra profile MODEL`, or fit "
                "measured CSV files with `vajra profile fit DIR`"
            ) from e
        if stated != profile.fingerprint():
            raise ProfileError(
                f"{where} was changed after it was fitted: its fingerprint is not that of its contents. Fit it again "
                "with `vajra profile fit DIR`, or measure anew"
            )
        return profile

    @classmethod
    def read(cls, path: Path | str, where: str = "") -> Profile:
        """Raises ProfileError for a file that is not there or is no profile; `where` is what it is called there, if not
        by its path."""
        try:
            text = Path(path).read_text()
        except OSError as e:
            raise ProfileError(
                f"{where or path} cannot be read: {e.strerror}. `vajra profile MODEL` makes a profile"
            ) from e
        return cls.from_json(text, where or str(path))

    def write(self, path: Path) -> None:
        """Writes the file in one go: readers see the old one or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(self.to_json())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
