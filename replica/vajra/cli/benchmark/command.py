"""`vajra bench` from its options to its exit code."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from vajra.cli.arguments import make_output_folder, parsed
from vajra.cli.benchmark.report import print_report, write_files, write_plots
from vajra.cli.benchmark.runner import run
from vajra.cli.benchmark.statistics import Report, RequestRecord
from vajra.cli.benchmark.target import OpenAITarget, Target
from vajra.cli.benchmark.workload import Workload
from vajra.cli.errors import FAILED, USAGE, CommandError
from vajra.cli.openai_client import OpenAIClient
from vajra.cli.output import Format, plots, print_json, print_rich
from vajra.cli.versions import vajra_version
from vajra.simulator.lengths import Lengths

DEFAULT_CONCURRENCY = 8
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The options as given; they go into result.json, so the API key is not among them."""

    url: str | None
    offline: str | None
    model: str | None
    chat: bool
    num_requests: int
    rate: float | None
    concurrency: int | None
    prompt_len: str
    output_len: str
    seed: int
    text: bool
    vocabulary: str
    ignore_eos: bool
    extra_body: str
    warmup: int
    timeout: float
    output_dir: str | None

    def workload(self) -> Workload:
        """Raises CommandError for what cannot be read, by option."""
        return Workload(
            num_requests=self.num_requests,
            prompt_lengths=parsed("--prompt-len", Lengths.parse, self.prompt_len),
            output_lengths=parsed("--output-len", Lengths.parse, self.output_len),
            rate=self.rate,
            seed=self.seed,
            text=self.text,
            vocabulary=parsed("--vocabulary", _vocabulary, self.vocabulary),
        )

    @property
    def limit(self) -> int | None:
        """Most requests in flight."""
        return DEFAULT_CONCURRENCY if self.concurrency is None and self.rate is None else self.concurrency


def run_command(options: BenchmarkOptions, *, api_key: str | None, output: Format) -> None:
    """Runs the benchmark, prints and writes its results. Exits with 1 when a request failed."""
    if (options.url is None) == (options.offline is None):
        raise CommandError("say what to measure: either --url ADDRESS or --offline MODEL", USAGE)
    if options.offline is not None and (options.chat or options.model or options.extra_body != "{}"):
        raise CommandError("--chat, --model and --extra-body are for a server (--url), not for --offline", USAGE)
    options.workload()  # faults are told before anything is started
    if options.output_dir is not None:
        make_output_folder(Path(options.output_dir))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    model, report, records = asyncio.run(_measure(options, api_key))
    setup = {**dataclasses.asdict(options), "model": model, "started": started, "vajra": vajra_version()}
    files: list[Path] = []
    if options.output_dir is not None:
        folder = Path(options.output_dir)
        files = write_files(folder, report, records, setup)
        files += plots(lambda: write_plots(folder, records))
    if output is Format.json:
        print_json({"setup": setup, "result": report.to_dict()})
    else:
        print_rich(lambda console: print_report(report, console))
        for path in files:
            print(f"wrote {path}")
    if report.errors:
        raise typer.Exit(FAILED)


async def _measure(options: BenchmarkOptions, api_key: str | None) -> tuple[str, Report, list[RequestRecord]]:
    """The model that answered, and how."""
    async with _target(options, api_key) as (model, target):
        if options.warmup:
            workload = dataclasses.replace(
                options.workload(), num_requests=options.warmup, rate=None, seed=options.seed + 1
            )
            warm, _ = await run(target, workload.requests(), concurrency=options.limit, time_limit=options.timeout)
            if all(record.error for record in warm):
                raise CommandError(f"the warm-up failed: {warm[0].error}")
        requests = options.workload().requests()
        with _progress(len(requests)) as on_done:
            records, duration = await run(
                target, requests, concurrency=options.limit, time_limit=options.timeout, on_done=on_done
            )
    return model, Report.of(records, duration), records


@asynccontextmanager
async def _target(options: BenchmarkOptions, api_key: str | None) -> AsyncIterator[tuple[str, Target]]:
    if options.offline is not None:
        from vajra.cli.benchmark.offline import offline_target

        async with offline_target(options.offline, ignore_eos=options.ignore_eos) as target:
            yield options.offline, target
        return
    extra = parsed("--extra-body", _json_object, options.extra_body)
    async with OpenAIClient(str(options.url), api_key=api_key) as client:
        model = options.model
        if model is None:
            names = await client.models()
            if not names:
                raise CommandError(f"{client.base} serves no model")
            model = names[0]
        yield model, OpenAITarget(client, model, chat=options.chat, ignore_eos=options.ignore_eos, extra=extra)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[RequestRecord], None]]:
    """A bar on a terminal's stderr; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("requests", total=total)
        failed = 0

        def on_done(record: RequestRecord) -> None:
            nonlocal failed
            failed += record.error is not None
            bar.update(task, advance=1, description=f"requests ({failed} failed)" if failed else "requests")

        yield on_done


def _vocabulary(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal() and int(low) < int(high)):
        raise ValueError(f"{text!r} is not LOW:HIGH with LOW < HIGH, as 1000:30000")
    return int(low), int(high)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text!r} is not a JSON object")
    return value
