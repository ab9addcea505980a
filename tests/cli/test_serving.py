"""`vajra serve` as a process, and every other command and client against it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vajra.client import AsyncVajraClient, AuthenticationError, SamplingParams, VajraClient
from vajra.config import VajraDeployment

MODEL = "smollm2-135m-instruct"
KEY = "a-secret"


@dataclass
class Server:
    process: subprocess.Popen[str]
    announcement: str

    @property
    def http(self) -> str:
        match = re.search(r"http://127\.0\.0\.1:\d+", self.announcement)
        assert match is not None
        return match[0]

    @property
    def grpc(self) -> str:
        match = re.search(r"gRPC +(\S+)", self.announcement)
        assert match is not None
        return match[1]


def vajra(*arguments: str, stdin: str = "", key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "VAJRA_API_KEY"}
    if key is not None:
        environment["VAJRA_API_KEY"] = key
    command = [sys.executable, "-m", "vajra.cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    manifest = tmp_path_factory.mktemp("serve") / "manifest.yaml"
    manifest.write_text(VajraDeployment.for_model(MODEL, override_num_layers=2, max_model_len=512).to_yaml())
    command = [sys.executable, "-m", "vajra.cli", "serve", "-f", str(manifest), "--port", "0", "--grpc-port", "0"]
    environment = {**os.environ, "VAJRA_API_KEY": KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "vajra chat" in line:
                break
        yield Server(process, "".join(lines))
        if process.poll() is None:
            process.kill()


def test_the_first_request_can_be_pasted(server: Server) -> None:
    (line,) = (text for text in server.announcement.splitlines() if "curl" in text)
    words = shlex.split(line.replace("$VAJRA_API_KEY", KEY))
    headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1].encode()
    request = urllib.request.Request(words[1], data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    assert answer["model"] == MODEL
    assert answer["usage"]["completion_tokens"] >= 1


def test_the_bench_measures_it(server: Server, tmp_path: Path) -> None:
    result = vajra(
        "bench", "--url", server.http, "--num-requests", "12", "--rate", "200", "--prompt-len", "uniform:4:40",
        "--output-len", "uniform:2:9", "--warmup", "1", "--output-dir", str(tmp_path / "out"), "-o", "json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr + result.stdout
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "out/result.json").read_text())
    assert report["result"]["completed"] == 12
    assert report["result"]["short_answers"] == 0
    assert report["result"]["latencies"]["ttft"]["count"] == 12
    assert KEY not in result.stdout
    assert (tmp_path / "out/ttft.png").stat().st_size > 1000
    requests = [json.loads(line) for line in (tmp_path / "out/requests.jsonl").read_text().splitlines()]
    assert [r["output_tokens"] for r in requests] == [r["max_tokens"] for r in requests]


def test_the_bench_measures_chat_in_a_table(server: Server) -> None:
    result = vajra("bench", "--url", server.http, "--chat", "--num-requests", "3", "--output-len", "5", "--warmup", "0")
    assert result.returncode == 0, result.stderr + result.stdout
    assert "TTFT" in result.stdout
    assert "3 of 3 requests completed" in result.stdout


def test_the_bench_counts_what_the_server_refuses(server: Server) -> None:
    result = vajra(
        "bench", "--url", server.http, "--num-requests", "4", "--prompt-len", "600", "--warmup", "0", "-o", "json"
    )
    assert result.returncode == 1
    (reason, count), *others = json.loads(result.stdout)["result"]["errors"].items()
    assert (count, others) == (4, [])
    assert "HTTP 400" in reason
    assert "600" in reason


def test_chat_talks_and_remembers_until_reset(server: Server) -> None:
    def say(text: str) -> str:
        result = vajra("chat", "--url", server.http, "--max-tokens", "6", "--temperature", "0", stdin=text)
        assert result.returncode == 0, result.stderr
        return result.stdout

    once = say("Hello\n/quit\nunheard\n")
    assert once.strip()
    assert say("Hello\n/reset\nHello\n") == once + once
    again = say("Hello\nHello\n")
    assert again.startswith(once)
    assert again != once + once


def test_a_wrong_key_is_told_with_what_to_do(server: Server) -> None:
    result = vajra("chat", "--url", server.http, key="wrong", stdin="Hello\n")
    assert result.returncode == 1
    assert "HTTP 401" in result.stderr
    assert "VAJRA_API_KEY" in result.stderr
    with VajraClient(server.grpc, api_key="wrong") as client, pytest.raises(AuthenticationError):
        client.generate("hi")


def test_the_grpc_client_streams(server: Server) -> None:
    params = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    with VajraClient(server.grpc, api_key=KEY) as client:
        deltas = list(client.stream("The capital of France is", params))
        whole = client.generate("The capital of France is", params)
        assert "".join(d.text for d in deltas) == whole.text
        assert len(whole.token_ids) == 8
        assert client.get_model().num_layers == 2


async def test_the_async_grpc_client_answers(server: Server) -> None:
    params = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, n=2, logprobs=1)
    async with AsyncVajraClient(server.grpc, api_key=KEY) as client:
        result = await client.generate([{"role": "user", "content": "Hi"}], params)
    assert [len(c.token_ids) for c in result.completions] == [8, 8]
    assert len(result.logprobs) == 8


def test_a_port_in_use_is_told(server: Server) -> None:
    port = server.http.rpartition(":")[2]
    result = vajra("serve", "--port", port, "--grpc-port", "0", key=None)
    assert result.returncode == 1
    assert port in result.stderr
    assert "Traceback" not in result.stderr


def test_sigterm_ends_it_well(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0


def test_an_answer_is_explained_beside_it() -> None:
    ask = ("generate", "A", "--max-tokens", "2", "--ignore-eos", "--explain")
    text, data = vajra(*ask), vajra(*ask, "-o", "json")
    assert "waited" in text.stderr
    assert "prefill of 1 token took" in text.stderr
    (choice,) = json.loads(data.stdout)["choices"]
    assert text.stdout == choice["text"] + "\n"
    assert choice["ledger"][0]["chunks"] == [1]
