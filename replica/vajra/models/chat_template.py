"""Chat templates: Jinja as checkpoints use it, in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from vajra.models.errors import ModelError

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser


class ChatTemplateError(ValueError):
    """Messages that the model's template does not take, in the template's own words."""


class ChatTemplate:
    """A compiled template. Raises ModelError, prefixed with `where`, when it cannot be compiled."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], *, where: str) -> None:
        import jinja2

        self._special_tokens = dict(special_tokens)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as e:
            raise ModelError(f"{where}: the chat template cannot be compiled: {e}.") from e

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """The prompt for these messages. Raises ChatTemplateError when the template refuses them."""
        import jinja2

        try:
            return str(self._template.render(messages=messages, **{**self._special_tokens, **variables}))
        except ChatTemplateError:
            raise
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as e:
            raise ChatTemplateError(f"the chat template cannot render these messages: {e}") from e


def _environment() -> Any:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the assistant's words for training; here it is only its body."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.Undefined,
        extensions=[loopcontrols, Generation],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["dict"] = lambda *args, **kwargs: dict(*args, **kwargs)  # not the class: no type to climb
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise ChatTemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which a prompt must not have."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
