"""Chat templates against transformers' renderer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models.checkpoints import make_checkpoint
from transformers.utils.chat_template_utils import render_jinja_template

import vajra.models
from vajra.config import ModelConfig
from vajra.models import ChatTemplateError, ModelError
from vajra.models.chat_template import ChatTemplate

MESSAGES = [
    {"role": "system", "content": "Be brief & <polite>."},
    {"role": "user", "content": "Hi  "},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": 'Say "☃"'},
]
TEMPLATES = [
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{{ bos_token }}{%- for m in messages if m.role != 'system' %}\n  {% if loop.first %}\n [INST]\n  {% endif %}"
    "{{ m.content }}{{ eos_token }}\n{%- endfor %}",
    "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m | tojson }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{{ messages | tojson(indent=2) }}{{ dict(a=1) | tojson }}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% if tools is defined and tools %}{{ tools | tojson }}{% endif %}{{ missing }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("generate", [False, True])
def test_renders_as_transformers(template: str, generate: bool) -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    (theirs,), _ = render_jinja_template(
        [MESSAGES], chat_template=template, tools=tools, add_generation_prompt=generate, **special
    )
    ours = ChatTemplate(template, special, where="t")
    assert ours.render(MESSAGES, add_generation_prompt=generate, tools=tools) == theirs


def test_refusals_of_the_template_reach_the_caller() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {}, where="t")
    with pytest.raises(ChatTemplateError, match=r"^roles must alternate$"):
        template.render(MESSAGES)
    with pytest.raises(ChatTemplateError, match="cannot render"):
        ChatTemplate("{{ messages[0].content + 1 }}", {}, where="t").render(MESSAGES)


def test_broken_template_names_its_place() -> None:
    with pytest.raises(ModelError, match=r"^here: the chat template cannot be compiled"):
        ChatTemplate("{% if %}", {}, where="here")


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ dict.__subclasses__() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
    ],
)
def test_sandbox(attack: str) -> None:
    """The sandbox yields nothing (undefined) or refuses; it never hands out Python's insides."""
    try:
        text = ChatTemplate(attack, {}, where="t").render(list(MESSAGES))
    except ChatTemplateError:
        text = ""
    assert text == ""


def write_template(folder: Path, how: str, template: str) -> None:
    config: dict[str, Any] = {"bos_token": {"content": "<bos>"}}
    if how == "jinja":
        (folder / "chat_template.jinja").write_text(template)
    elif how == "json":
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    elif how == "list":
        named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": template}]
        config["chat_template"] = named
    else:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("how", ["jinja", "json", "list", "config"])
def test_wherever_the_template_is(tmp_path: Path, how: str) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", num_hidden_layers=1)
    write_template(folder, how, "{{ bos_token }}{{ messages[0].content }}")
    resolved = vajra.models.resolve(ModelConfig(model=str(folder), dtype="auto"))
    tokenizer = vajra.models.load_tokenizer(resolved)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}]) == "<bos>x"


def test_no_template(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", num_hidden_layers=1)
    (folder / "tokenizer_config.json").unlink()
    tokenizer = vajra.models.load_tokenizer(vajra.models.resolve(ModelConfig(model=str(folder), dtype="auto")))
    assert not tokenizer.has_chat_template
    with pytest.raises(ModelError, match="no chat template"):
        tokenizer.apply_chat_template(MESSAGES)
