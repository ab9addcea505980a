"""Runs in a pod: clients that ask one after the other without a pause, and print what became of each request.

    python client_program.py GRPC_ADDRESS OPENAI_URL MODEL GRPC_KEY OPENAI_KEY

A line per request, as JSON: `client` (what asked), `at` (seconds since the start), `seconds`, `outcome`, `error`.
Outcomes: answered; different, when the same question was answered otherwise before; lost, when an answer that had begun
came to no end; failed.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import openai

from vajra.client import SamplingParams, VajraClient

PROMPTS = ("One, two, three,", "The capital of France is", "Once upon a time", "To be or not to be,")
LENGTHS = (8, 48)  # of the answers, in tokens: many requests, and some that are in the way of whatever happens
SECONDS = 60.0  # that a try may take: without an end, one would wait for a node that is gone

Ask = Callable[[str, int], Generator[str]]
started = time.monotonic()
answers: dict[tuple[str, int], str] = {}
lock = threading.Lock()


def openai_client(url: str, key: str) -> openai.OpenAI:
    """With its own retries, of which it makes two."""
    return openai.OpenAI(base_url=url, api_key=key, timeout=SECONDS)


def over_grpc(client: VajraClient, prompt: str, length: int) -> Generator[str]:
    sampling = SamplingParams(temperature=0, max_tokens=length, ignore_eos=True)
    for delta in client.stream(prompt, sampling):
        yield delta.text


def streamed(client: openai.OpenAI, model: str, prompt: str, length: int) -> Generator[str]:
    stream = client.completions.create(
        model=model,
        prompt=prompt,
        max_tokens=length,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    for chunk in stream:
        yield chunk.choices[0].text if chunk.choices else ""


def whole(client: openai.OpenAI, model: str, prompt: str, length: int) -> Generator[str]:
    answer = client.completions.create(
        model=model, prompt=prompt, max_tokens=length, temperature=0, extra_body={"ignore_eos": True}
    )
    yield answer.choices[0].text


def newly_connected(openai_url: str, key: str, model: str, prompt: str, length: int) -> Generator[str]:
    with openai_client(openai_url, key) as client:
        yield from streamed(client, model, prompt, length)


def request(ask: Ask, prompt: str, length: int) -> tuple[str, str]:
    """Outcome and error."""
    text = ""
    try:
        with closing(ask(prompt, length)) as deltas:
            for delta in deltas:
                text += delta
    except Exception as error:
        return "lost" if text else "failed", f"{type(error).__name__}: {error}"
    with lock:
        expected = answers.setdefault((prompt, length), text)
    return ("answered", "") if text == expected else ("different", f"{text!r} instead of {expected!r}")


def ask_for_ever(name: str, ask: Ask, first: int) -> None:
    questions = itertools.cycle(itertools.product(PROMPTS, LENGTHS))
    for prompt, length in itertools.islice(questions, first, None):
        begun = time.monotonic()
        outcome, error = request(ask, prompt, length)
        seconds = time.monotonic() - begun
        record = {"client": name, "at": begun - started, "seconds": seconds, "outcome": outcome, "error": error}
        with lock:
            print(json.dumps(record), flush=True)


def main() -> None:
    grpc_address, openai_url, model, grpc_key, openai_key = sys.argv[1:]
    kept = openai_client(openai_url, openai_key)
    clients: list[tuple[str, Ask]] = [
        ("grpc", partial(over_grpc, VajraClient(grpc_address, api_key=grpc_key))),
        ("grpc", partial(over_grpc, VajraClient(grpc_address, api_key=grpc_key))),
        ("openai", partial(whole, kept, model)),
        ("openai-stream", partial(streamed, kept, model)),
        ("openai-new", partial(newly_connected, openai_url, openai_key, model)),
    ]
    for number, (name, ask) in enumerate(clients):
        threading.Thread(target=ask_for_ever, args=(f"{name}-{number}", ask, number)).start()


if __name__ == "__main__":
    main()
