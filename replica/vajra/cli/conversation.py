"""What `vajra chat` does: reads a line, streams an answer, remembers both."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vajra.cli.deployment import read_deployment
from vajra.cli.errors import USAGE, CommandError
from vajra.cli.openai_client import OpenAIClient, ServerError
from vajra.cli.output import progress_bars

Messages = list[dict[str, str]]
Answer = Callable[[Messages], Iterator[str]]
"""Text of the answer to a conversation, piece by piece."""


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """Whom to talk to, and how it answers."""

    model: str | None
    url: str | None
    manifest: Path | None
    api_key: str | None
    overrides: dict[str, Any]
    system: str | None
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


def run_command(options: ChatOptions) -> None:
    """Talks until /quit or the end of the input. On no terminal it prints answers alone."""
    with _answerer(options) as (name, answer):
        interactive = sys.stdin.isatty()
        if interactive:
            with suppress(ImportError):
                import readline  # noqa: F401 (line editing and history for input())
            print(f"Talking with {name}. /quit ends, /reset forgets, Ctrl-C stops an answer.", file=sys.stderr)
        start: Messages = [{"role": "system", "content": options.system}] if options.system else []
        messages = list(start)
        for line in _lines(interactive):
            match line:
                case "/quit" | "/exit":
                    return
                case "/reset":
                    messages = list(start)
                case _:
                    messages.append({"role": "user", "content": line})
                    _take_turn(messages, answer, interactive)


def _lines(interactive: bool) -> Iterator[str]:
    while True:
        try:
            line = input("> " if interactive else "").strip()
        except (EOFError, KeyboardInterrupt):
            if interactive:
                print(file=sys.stderr)
            return
        if line:
            yield line


def _take_turn(messages: Messages, answer: Answer, interactive: bool) -> None:
    """Appends the answer, or takes the question back when there is none."""
    from vajra.client import VajraError

    said = ""
    try:
        for text in answer(messages):
            said += text
            print(text, end="", flush=True)
    except KeyboardInterrupt:  # what was said so far stays
        if not interactive:
            raise
    except (ServerError, VajraError) as error:
        messages.pop()
        if not interactive:
            raise
        print(f"vajra: {error}", file=sys.stderr)
        return
    print()
    messages.append({"role": "assistant", "content": said})


@contextmanager
def _answerer(options: ChatOptions) -> Iterator[tuple[str, Answer]]:
    """The model's name and what answers, from a server or from an engine of our own."""
    if options.url is None:
        yield from _local(options)
        return
    given = [name for name, value in options.overrides.items() if value is not None]
    if options.manifest is not None or given:
        names = ", ".join((["-f"] if options.manifest else []) + ["--" + n.replace("_", "-") for n in given])
        raise CommandError(f"{names}: these are for a model run here, the server of --url has its own", USAGE)
    yield from _server(options, options.url)


def _local(options: ChatOptions) -> Iterator[tuple[str, Answer]]:
    deployment = read_deployment(options.model, options.manifest, options.overrides)
    from vajra.client import LLM, SamplingParams

    sampling = SamplingParams(
        max_tokens=options.max_tokens, temperature=options.temperature, top_p=options.top_p, seed=options.seed
    )
    with progress_bars() as progress:
        llm = LLM(deployment, progress=progress)
    with llm:
        yield llm.model.name, lambda messages: (delta.text for delta in llm.stream(messages, sampling))


def _server(options: ChatOptions, url: str) -> Iterator[tuple[str, Answer]]:
    with asyncio.Runner() as runner:
        client = OpenAIClient(url, api_key=options.api_key)
        runner.run(client.__aenter__())
        try:
            names = runner.run(client.models())
            if options.model is not None and options.model not in names:
                raise CommandError(f"{client.base} does not serve {options.model!r}; it has {', '.join(names)}", USAGE)
            if not names:
                raise CommandError(f"{client.base} serves no model")
            name = options.model or names[0]
            yield name, lambda messages: _blocking(runner, _stream(client, name, options, messages))
        finally:
            runner.run(client.__aexit__(None, None, None))


async def _stream(client: OpenAIClient, model: str, options: ChatOptions, messages: Messages) -> AsyncIterator[str]:
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
    }
    if options.seed is not None:
        body["seed"] = options.seed
    async for event in client.stream("/chat/completions", body):
        for choice in event.get("choices") or []:
            yield (choice.get("delta") or {}).get("content") or ""


def _blocking(runner: asyncio.Runner, source: AsyncIterator[str]) -> Iterator[str]:
    """Takes the items of an asynchronous iterator one by one."""
    end = object()
    try:
        while (item := runner.run(_next(source, end))) is not end:
            yield str(item)
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            runner.run(close())


async def _next(source: AsyncIterator[str], end: object) -> object:
    return await anext(source, end)
