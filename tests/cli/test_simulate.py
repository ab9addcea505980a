"""`vajra simulate` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vajra.config import VajraDeployment

RUN = ["--requests", "60", "--arrivals", "10", "--prompt-len", "512", "--output-len", "uniform:1:20"]


def vajra(*arguments: object, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, "-m", "vajra.cli", "simulate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_one_run_as_a_table_and_as_json(tmp_path: Path) -> None:
    text, _ = vajra(*RUN, "--slo", "ttft:p90:1", "--output-dir", tmp_path / "out", "--keep", "ledgers")
    assert "simulated, times from: analytic roofline of H100" in text
    assert "60 of 60 requests completed" in text
    assert "holds ttft p90 <= 1 s" in text
    for name in ("ledgers.jsonl", "request_summary.csv", "ttft.png", "timeline.png"):
        assert (tmp_path / "out" / name).stat().st_size
    found = json.loads(vajra(*RUN, "--seed", "0", "-o", "json")[0])
    again = json.loads(vajra(*RUN, "-o", "json", "--device", "h100")[0])
    assert {**found, "wall_seconds": 0} == {**again, "wall_seconds": 0}
    assert found["requests"]["completed"] == 60


def test_a_search_ends_in_a_manifest_that_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    options = ("--arrivals", 60, "--slo", "ttft:p90:0.2", "--tensor-choices", "1,2", "--pipeline-choices", 1)
    text, progress = vajra("--requests", 200, *options, "--search", "--manifest-out", path)
    assert "cheapest: " in text
    assert "holds" in progress
    found = VajraDeployment.from_yaml(path)
    again = json.loads(vajra("-f", path, "--requests", 200, "--arrivals", 60, "--slo", "ttft:p90:0.2", "-o", "json")[0])
    assert again["objectives"][0]["holds"]
    assert again["setup"]["replicas"] == found.replica_set_config.num_replicas
    if found.replica_set_config.num_replicas > 1:
        fewer = found.to_dict()
        fewer["spec"]["replicas"] -= 1
        path.write_text(json.dumps(fewer))
        less = vajra("-f", path, "--requests", 200, "--arrivals", 60, "--slo", "ttft:p90:0.2", "-o", "json")[0]
        assert not json.loads(less)["objectives"][0]["holds"]


def test_the_highest_rate_of_a_deployment() -> None:
    options = ("--requests", 200, "--slo", "ttft:p90:0.5", "--prompt-len", 2048, "--output-len", 8)
    found = json.loads(vajra(*options, "--max-rate", "-o", "json")[0])
    rate = found["highest_rate"]
    for factor, holds in ((1.0, True), (1.2, False)):
        run = json.loads(vajra(*options, "--arrivals", f"{rate * factor:.12g}", "-o", "json")[0])
        assert run["objectives"][0]["holds"] is holds


def test_every_policy_runs(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    rows = ({"timestamp": 100 * i, "input_length": 700 + i, "output_length": 5} for i in range(20))
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for scheduler, prioritizer in (("DynamicChunk", "EDF"), ("SpaceSharing", "LRS")):
        options = ("--scheduler", scheduler, "--prioritizer", prioritizer, "--replicas", 2, "--tensor", 2)
        found = json.loads(vajra("--trace", trace, *options, "-o", "json")[0])
        assert found["requests"]["completed"] == 20
        assert (found["setup"]["scheduler"], found["setup"]["prioritizer"]) == (scheduler, prioritizer)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--device", "B9000"], "--device: there is no B9000; known are H100, H200, A100"),
        (["--arrivals", "sometimes"], "--arrivals: 'sometimes': "),
        (["--search"], "a search needs an objective: --slo ttft:p90:2.0"),
        (["--slo", "speed:p1:1"], "--slo: 'speed:p1:1' is not an objective"),
        (["--keep", "ledgers"], "--keep needs --output-dir"),
        (["--model", "meta-llama/Llama-3.1-70B-Instruct"], "does not fit into one device"),
        (["--scheduler", "SpaceSharing"], "LRS with scheduler SpaceSharing"),
        (["-f", "x.yaml", "--tensor", "2"], "with -f the manifest says model, layout"),
    ],
)
def test_faults_are_told(options: list[str], problem: str) -> None:
    _, errors = vajra(*options, code=2)
    assert problem in errors
