"""YAML in and out: duplicate keys are refused, and syntax errors say where."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from vajra.config.errors import ConfigError

if TYPE_CHECKING:
    import yaml


def load(text: str, name: str) -> Any:
    """The one document in `text`. Raises ConfigError at path `name`."""
    import yaml

    try:
        documents = [document for document in yaml.load_all(text, Loader=_loader()) if document is not None]
    except yaml.YAMLError as error:
        raise ConfigError(name, text, "", problem=f"not readable as YAML: {_where(error)}") from None
    if len(documents) > 1:
        raise ConfigError(name, text, "", "write a file for each", problem=f"{len(documents)} documents in one")
    return documents[0] if documents else None


def dump(data: Any) -> str:
    """`data` in YAML, keys in their order."""
    import yaml

    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader that refuses a key given twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: dict[Any, Any] = {}
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable) and key in seen and key != "<<":
                    first = seen[key].line + 1
                    message = f"{key!r} is given twice, first in line {first}"
                    raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
                if isinstance(key, Hashable):
                    seen[key] = key_node.start_mark
            return super().construct_mapping(node, deep)

    return Loader


def _where(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what
