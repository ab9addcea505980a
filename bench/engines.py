"""The engines that can be measured: how each is started, offline and as a server, at its best settings.

A new one is an entry of `ENGINES`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.peers.layout import Layout
from bench.roofline import Storage

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64


@dataclass(frozen=True)
class Launch:
    """A command and what its environment has beside ours. `body` goes into every request over HTTP."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What an engine is started for."""

    layout: Layout
    model: str
    threads: int
    port: int = 0
    chunk: int | None = None  # most prompt tokens in one step; None: the engine's best for throughput
    context: int = 8192  # over HTTP: longest prompt plus answer
    batch: int = BATCH


@dataclass(frozen=True)
class Engine:
    """One engine. `server` is None where there is none."""

    name: str
    is_ours: bool
    offline: Callable[[Setting], Launch]
    server: Callable[[Setting], Launch] | None
    steps: tuple[str, ...]  # of the installer, that must have been done
    storage: Storage
    note: str = ""


def _runner(python: Path | str, module: str, *arguments: object, **environment: str) -> Launch:
    command = [str(python), "-m", f"bench.peers.{module}", *(str(a) for a in arguments)]
    return Launch(command, {"HF_HUB_OFFLINE": "1", **environment})


def _vajra(quantization: str) -> tuple[Callable[[Setting], Launch], Callable[[Setting], Launch]]:
    def offline(s: Setting) -> Launch:
        return _runner(sys.executable, "vajra", s.layout.checkpoint(s.model), s.threads, s.batch, quantization)

    def server(s: Setting) -> Launch:
        command = [sys.executable, "-m", "vajra.cli", "serve", str(s.layout.checkpoint(s.model)), "--port", str(s.port)]
        command += ["--grpc-port", "0", "--dtype", "bfloat16", "--quantization", quantization]
        command += ["--max-model-len", str(s.context)]
        return Launch(command + ([] if s.chunk is None else ["--chunk-size", str(s.chunk)]))

    return offline, server


def probed(
    start: Callable[[Setting], Launch], variables: Callable[[Setting], Mapping[str, str]]
) -> Callable[[Setting], Launch]:
    """`start` with bench/probe on the path of its Pythons, and the variables that tell it what to do."""
    paths = [str(ROOT / "bench" / "probe"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]

    def launch(setting: Setting) -> Launch:
        plain, path = start(setting), os.pathsep.join(p for p in paths if p)
        return replace(plain, environment={**plain.environment, "PYTHONPATH": path, **variables(setting)})

    return launch


def _free_order() -> tuple[Callable[[Setting], Launch], Callable[[Setting], Launch]]:
    def variables(s: Setting) -> Mapping[str, str]:
        return {"BENCH_NATIVE": str(s.layout.free_order)}

    offline, server = _vajra("none")
    return probed(offline, variables), probed(server, variables)


def _openvino(kv: str) -> Callable[[Setting], Launch]:
    return lambda s: _runner(
        s.layout.python("openvino"), "openvino", s.layout.openvino(s.model), s.threads, s.batch, kv
    )


def _vllm_environment(s: Setting) -> dict[str, str]:
    cpus = sorted(os.sched_getaffinity(0))[: s.threads]
    venv = s.layout.venv("vllm")
    preload = [p for p in (s.layout.tcmalloc, venv / "lib" / "libiomp5.so") if p.exists()]
    return {
        "LD_PRELOAD": ":".join(str(p) for p in preload),
        "PATH": f"{venv / 'bin'}:{os.environ.get('PATH', '')}",
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(str(cpu) for cpu in cpus),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def _vllm_offline(s: Setting) -> Launch:
    environment = {**_vllm_environment(s), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    return _runner(s.layout.python("vllm"), "vllm", s.layout.checkpoint(s.model), s.threads, s.batch, **environment)


def _vllm_server(s: Setting) -> Launch:
    command = [str(s.layout.python("vllm")), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(s.port), "--model", str(s.layout.checkpoint(s.model)), "--dtype", "bfloat16"]
    command += ["--max-model-len", str(s.context), "--max-num-seqs", str(s.batch), "--no-enable-prefix-caching"]
    if s.chunk is not None:
        command += ["--max-num-batched-tokens", str(s.chunk)]
    return Launch(command, {"HF_HUB_OFFLINE": "1", **_vllm_environment(s)})


def _llamacpp_offline(s: Setting) -> Launch:
    program = s.layout.llamacpp("llama-batched-bench")
    omp = {"OMP_NUM_THREADS": str(s.threads)}
    return _runner(sys.executable, "llamacpp", s.layout.gguf(s.model), s.threads, s.batch, program, **omp)


def _llamacpp_server(s: Setting) -> Launch:
    # Its context is shared out to the slots; -b bounds a step, -ub what one pass computes at once.
    slots = min(s.batch, 16)
    step, micro = (2048, 512) if s.chunk is None else (s.chunk, s.chunk)
    command = [str(s.layout.llamacpp("llama-server")), "-m", str(s.layout.gguf(s.model)), "--host", "127.0.0.1"]
    command += ["--port", str(s.port), "-t", str(s.threads), "-tb", str(s.threads), "-np", str(slots)]
    command += ["-c", str(slots * s.context), "-b", str(step), "-ub", str(micro)]
    return Launch(command, {"OMP_NUM_THREADS": str(s.threads)}, {"cache_prompt": False})


def _transformers(s: Setting) -> Launch:
    omp = {"OMP_NUM_THREADS": str(s.threads)}
    return _runner(
        s.layout.python("transformers"), "transformers", s.layout.checkpoint(s.model), s.threads, s.batch, **omp
    )


_BF16, _KV8 = Storage(), Storage(kv=1.0)
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("vajra", True, *_vajra("none"), ("models",), _BF16),
        Engine("vajra-int8", True, *_vajra("int8"), ("models",), Storage(weight=1.0), "weights in 8 bits"),
        Engine(  # no peer, but what we are measured against
            "vajra-free-order",
            False,
            *_free_order(),
            ("models", "free-order"),
            _BF16,
            "ours without batch invariance",
        ),
        Engine(
            "openvino",
            False,
            _openvino("u8"),
            None,
            ("openvino",),
            _KV8,
            "KV in 8 bits, its default; no server in its wheel",
        ),
        Engine(
            "openvino-bf16",
            False,
            _openvino("bf16"),
            None,
            ("openvino",),
            _BF16,
            "KV in bfloat16; no server in its wheel",
        ),
        Engine("vllm", False, _vllm_offline, _vllm_server, ("models", "vllm"), _BF16, "offline in one process"),
        Engine(
            "llamacpp",
            False,
            _llamacpp_offline,
            _llamacpp_server,
            ("models", "llamacpp"),
            _BF16,
            "offline loads anew each round",
        ),
        Engine(
            "transformers", False, _transformers, None, ("models", "transformers"), _BF16, "one static batch; no server"
        ),
    )
}
DEFAULT = ("vajra", "openvino", "openvino-bf16", "vllm", "llamacpp")
