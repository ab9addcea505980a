"""Cold start and memory of `vajra serve`: seconds from exec to the first token, and PSS over all its processes.

    python bench/startup.py            # three starts with warm files, as text; -o json for JSON

PSS (proportional set size) counts shared pages once over the processes that share them. The embedded model's packed
weights are 259 MiB of the worker's; the rest is KV blocks in use and the cost of the processes themselves.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

PORT, GRPC_PORT = 18231, 18232
BODY = json.dumps({"model": "smollm2-135m-instruct", "prompt": "The capital of France is", "max_tokens": 1}).encode()


def first_token() -> None:
    """Asks for one token until the server answers."""
    url = f"http://127.0.0.1:{PORT}/v1/completions"
    for _ in range(6000):
        try:
            request = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise SystemExit("the server did not answer within a minute")


def pss_mib(pid: int) -> dict[str, float]:
    """Proportional set size of a process and its descendants, in MiB, by what each runs."""
    found: dict[str, float] = {}
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        words = process.cmdline()
        name = next((words[i + 1] for i, word in enumerate(words[:-1]) if word == "-m"), "vajra serve")
        found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 2**20
    return found


def start(extra: list[str]) -> tuple[float, dict[str, float]]:
    """One start: seconds to the first token, and PSS after it."""
    command = [
        str(Path(sys.executable).with_name("vajra")),
        "serve",
        "--port",
        str(PORT),
        "--grpc-port",
        str(GRPC_PORT),
    ]
    begin = time.perf_counter()
    server = subprocess.Popen([*command, *extra], stdout=subprocess.DEVNULL)
    try:
        first_token()
        elapsed = time.perf_counter() - begin
        return elapsed, pss_mib(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def main() -> None:
    """Runs three starts; the first warms the files and is not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    start([])
    runs = [start([]) for _ in range(3)]
    seconds, memory = sorted(run[0] for run in runs), runs[-1][1]
    if options.output == "json":
        print(json.dumps({"first_token_s": seconds, "pss_mib": memory, "pss_total_mib": sum(memory.values())}))
        return
    print("first token after", ", ".join(f"{value:.2f}" for value in seconds), "s")
    for name, mib in memory.items():
        print(f"  {name:24} {mib:7.0f} MiB PSS")
    print(f"  {'in all':24} {sum(memory.values()):7.0f} MiB PSS")


if __name__ == "__main__":
    main()
