"""What `vajra generate` does: read prompts, answer them, print the answers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vajra.cli.deployment import read_deployment
from vajra.cli.errors import USAGE, CommandError
from vajra.cli.output import Format, print_json, progress_bars
from vajra.client import LLM, GenerationResult, Prompt, SamplingParams
from vajra.client.explanation import explain
from vajra.client.prompts import checked_prompt


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Where prompts and model come from."""

    prompts: list[str]
    file: Path | None
    jsonl: bool
    model: str | None
    manifest: Path | None
    overrides: dict[str, Any]


def run_command(options: GenerateOptions, sampling: SamplingParams, output: Format) -> None:
    """Prints one answer, or one line of JSON, per prompt and in order."""
    prompts = _read_prompts(options)
    deployment = read_deployment(options.model, options.manifest, options.overrides)
    with progress_bars() as progress:
        llm = LLM(deployment, progress=progress)
    with llm:
        for result in llm.generate(prompts, sampling):
            if output is Format.json:
                print_json(to_json(result), compact=True)
            else:
                for completion in result.completions:
                    print(completion.text)
                    if completion.ledger:
                        print(explain(completion.ledger), file=sys.stderr)


def to_json(result: GenerationResult) -> dict[str, Any]:
    """One result as JSON's types."""
    choices = [asdict(completion) for completion in result.completions]
    for choice in choices:
        if not choice["ledger"]:
            del choice["ledger"]
    return {"prompt": result.prompt, "choices": choices}


def _read_prompts(options: GenerateOptions) -> list[Prompt]:
    if options.prompts:
        if options.file is not None:
            raise CommandError("give prompts or --file, not both", USAGE)
        return list(options.prompts)
    file = None if options.file == Path("-") else options.file
    if options.file is None and sys.stdin.isatty():
        raise CommandError('there is no prompt; give one, as in: vajra generate "The capital of France is"', USAGE)
    name = "stdin" if file is None else str(file)
    try:
        text = sys.stdin.read() if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"cannot read prompts from {name}: {reason}", USAGE) from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise CommandError(f"{name} holds no prompts", USAGE)
    if options.jsonl or name.endswith(".jsonl"):
        return [parse_prompt(line, f"{name}:{number}") for number, line in lines]
    return [line for _, line in lines]


def parse_prompt(line: str, where: str) -> Prompt:
    """One line of a .jsonl file: a string, token ids, chat messages, or an object with one of them as "prompt"."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise CommandError(f"{where}: not JSON: {error}", USAGE) from None
    if isinstance(value, dict):
        if set(value) != {"prompt"}:
            raise CommandError(f'{where}: an object must have "prompt" and nothing else, not {sorted(value)}', USAGE)
        value = value["prompt"]
    return checked_prompt(value, f"{where}: prompt")
