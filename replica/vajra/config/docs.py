"""Writes docs/configuration.md from the declarations: `python -m vajra.config.docs > docs/configuration.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from vajra.config.changes import updatable_paths
from vajra.config.describe import OptionDescription, describe
from vajra.config.fields import ConfigField, fields_of, is_config_class
from vajra.config.reference import REFERENCE_CLASSES
from vajra.config.table import Row, row_by_path, rows

_HEAD = """\
# Configuration

<!-- Generated: python -m vajra.config.docs > docs/configuration.md -->

One manifest, a `VajraDeployment`, configures everything: `vajra serve -f FILE` runs it on one machine. The smallest:

```yaml
apiVersion: vajra.ai/v1alpha1
kind: VajraDeployment
metadata: {name: smollm2}
spec:
  model: {name: smollm2-135m-instruct, source: {type: Embedded}, dtype: Auto}
  resources: {accelerator: {type: CPU}}
```

`vajra config validate FILE` checks one, `vajra config show FILE` writes it out with every default, `vajra config
schema` prints its JSON schema for editors. A field that is unknown, a value out of its limits and a combination that
cannot work are refused with the field's path, what is allowed and what to do; all faults of a file are reported
together. A key with `null` is as good as absent.

A union is a `type` and, beside it, the member of the same name (`type: FixedChunk`, `fixedChunk: {…}`), which may be
left out when its defaults will do and may only be there with its type.

**Change** says what an edit costs: *Live* settings are taken over by the running processes, *Recreate* starts them
again. Of the Live ones, this version takes over {updatable} while everything runs; the serving processes
hear of it through `UpdateConfig` of `vajra.control.v1`, which refuses a change of anything else by name. A restart
takes that over.

**Here** says what this version does with the option: *yes*; *only* the values named, others are refused when serving
starts; *not yet*: refused; *in a cluster*: for the operator, local serving says that it has no effect and goes on.

In Python the same options are the fields of the reference's classes (`vajra.config`), named in the column
**Class.field**; they carry seconds and fractions where the manifest has integers with a unit. A value that the
manifest cannot hold, such as a memory share of 0.8051, is refused when a manifest is written from them.
"""

_ENVIRONMENT = (
    (
        "VAJRA_CACHE",
        "`~/.cache/vajra`",
        "Folder for what is fetched or made once: embedded models (`embedded/`), weights packed for the native "
        "engine (`packed/`, at most 64 GiB: the longest unused go first) and measured execution times (`profiles/`). "
        "It may be emptied at any time.",
    ),
    (
        "VAJRA_MODELS",
        "unset",
        "Folder of embedded models that came with an image (`embedded/`), looked into before `VAJRA_CACHE` and never "
        "written.",
    ),
    (
        "VAJRA_ISA",
        "the best",
        "Kernel family of the native engine: `scalar`, `avx2`, `avx512`, `avx512fma` or `amx`, where the "
        "processor has it.",
    ),
    (
        "VAJRA_API_KEY",
        "unset",
        "The bearer token that `vajra serve` asks of clients, and that `chat` and `bench` send.",
    ),
    (
        "VAJRA_API_KEYS_FILE",
        "unset",
        "A file of bearer tokens with names, of which `vajra serve` and the gateways of a cluster ask one of clients, "
        "besides `VAJRA_API_KEY`; [requests.md](requests.md#api-keys-with-names).",
    ),
    (
        "VAJRA_REVISION",
        "unset",
        "In a cluster, where the operator sets it: which `revision-NAME.json` of its folder a pod starts with.",
    ),
    (
        "VAJRA_PROFILE",
        "unset",
        "In a cluster, where the operator sets it: where the profile that `scheduler.profile` names is mounted, a file "
        "or a folder with a `profile.json`.",
    ),
    (
        "HF_TOKEN",
        "unset",
        "Token for gated and private models of the Hugging Face hub. The hub's other variables, such as `HF_HOME` "
        "and `HF_ENDPOINT`, count too.",
    ),
)


def render() -> str:
    """The page."""
    *most, last = (f"`{path.removeprefix('spec.')}`" for path in updatable_paths())
    updatable = f"{', '.join(most)} and {last}"
    return (
        "\n".join([_HEAD.replace("{updatable}", updatable), *_options(), *_reference(), *_environment()]).rstrip()
        + "\n"
    )


def _options() -> Iterator[str]:
    yield "## The manifest\n"
    options = describe()
    top = [option for option in options if _section(option) == "spec"]
    rest = [option for option in options if _section(option) != "spec"]
    yield from _section_table("spec", top)
    for section, members in groupby(rest, key=_section):
        yield from _section_table(section, list(members))


def _section(option: OptionDescription) -> str:
    return ".".join(option.path.split(".")[:2]) if option.path.count(".") > 1 else "spec"


def _section_table(section: str, options: Sequence[OptionDescription]) -> Iterator[str]:
    row = row_by_path().get(section)
    yield f"### {section}\n"
    if row is not None:
        yield f"{row.doc}\n"
    columns = ("Option", "Default", "Allowed", "Meaning", "Class.field", "Change", "Here")
    yield from _table(columns, (_cells(option, section) for option in options))


def _cells(option: OptionDescription, section: str) -> Sequence[str]:
    unit = f" ({option.unit})" if option.unit else ""
    return (
        f"`{option.path.removeprefix(f'{section}.')}`",
        f"`{option.default}`" if option.default not in ("required", "unset") else option.default,
        option.allowed + unit,
        option.meaning,
        f"`{option.reference}`" if option.reference else "",
        f"{option.change}. {option.takeover}",
        option.implemented,
    )


def _reference() -> Iterator[str]:
    yield "## The reference's classes\n"
    yield "`from vajra.config import …`; keyword-only and frozen. Lengths of time are seconds, shares are fractions.\n"
    for cls in REFERENCE_CLASSES:
        kind = f" (type `{cls.type_name}`)" if getattr(cls, "type_name", "") else ""
        yield f"### {cls.__name__}\n"
        yield f"{(cls.__doc__ or '').partition(chr(10))[0]}{kind}\n"
        if fields_of(cls):
            head = ("Field", "Default", "Allowed", "Meaning", "In the manifest")
            yield from _table(head, (_reference_cells(cls, field) for field in fields_of(cls)))


def _reference_cells(cls: type[Any], field: ConfigField) -> Sequence[str]:
    paths = [row.path for row in rows() if row.reference == (cls, field.name) or _stands_for(row, field.type)]
    default = f"{type(field.default).__name__}()" if is_config_class(type(field.default)) else repr(field.default)
    return (
        f"`{field.name}`",
        f"`{default}`",
        f"a {field.type.__name__}" if is_config_class(field.type) else field.allowed,
        field.option.doc,
        ", ".join(f"`{path}`" for path in paths),
    )


def _environment() -> Iterator[str]:
    yield "## Environment variables\n"
    yield from _table(("Variable", "Default", "Meaning"), [(f"`{n}`", d, m) for n, d, m in _ENVIRONMENT])


def _stands_for(section: Row, cls: Any) -> bool:
    """Whether a section of the manifest is a member class, or a family of them, of a controller's configuration."""
    found = section.field.nested
    return (
        found is not None
        and not section.is_member
        and cls in (getattr(found, "reference", None), getattr(found, "family", None))
    )


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "--|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(render())
