"""Traces of several houses are read as what they say; faults are told with their lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vajra.simulator import Request, SimulationError, Trace

OURS = (
    "arrival,prompt_tokens,output_tokens,tenant,tenant_weight,ttft_target,max_tokens\n0.5,10,2,a,2,1.5,\n"
    "0.75,20,3,,,,9\n"
)
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,10,2\n2023-11-16 18:17:04.2299600,20,3\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,2\n0.25,20,3\n"
MOONCAKE = [
    {"timestamp": 27000, "input_length": 10, "output_length": 2, "hash_ids": [1]},
    {"timestamp": 27250, "input_length": 20, "output_length": 3, "hash_ids": []},
]


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("azure.csv", AZURE),
        ("vidur.csv", VIDUR),
        ("mooncake.jsonl", lines(MOONCAKE)),
        (
            "azure.jsonl",
            lines(
                [
                    dict(zip(AZURE.split()[0].split(","), r, strict=True))
                    for r in (("2024-05-10 00:00:00.009930+00:00", 10, 2), ("2024-05-10 00:00:00.259930+00:00", 20, 3))
                ]
            ),
        ),
    ],
)
def test_public_styles(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    first, second = Trace(tmp_path / name)
    assert first == Request(0.0, 10, 2)
    assert second[1:3] == (20, 3)
    assert second.arrival == pytest.approx(0.25, abs=1e-6)


def test_our_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(OURS)
    assert list(Trace(path)) == [Request(0.0, 10, 2, None, 1.5, "a", 2.0), Request(0.25, 20, 3, 9)]
    assert [request.arrival for request in Trace(path, speed=2.0)] == [0.0, 0.125]
    assert len(Trace(path)) == 2
    assert len(Trace(path, limit=1)) == 1
    assert [request.arrival for request in Trace(path).at_rate(8.0)] == [0.0, 0.125]
    assert [request.arrival for request in Trace(path, speed=3.0).at_rate(8.0)] == [0.0, 0.125]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("when,tokens\n1,2\n", "line 2: its columns are when, tokens; understood are arrival, prompt_tokens"),
        ("arrival,prompt_tokens,output_tokens\n0,ten,1\n", "line 2: prompt_tokens is 'ten', which is no number"),
        ("arrival,prompt_tokens,output_tokens\n0,10,0\n", "line 2: 10 prompt and 0 output tokens"),
        ("arrival,prompt_tokens,output_tokens\n1,1,1\n0.5,1,1\n", "line 3: it arrives 0.5 s before the row above"),
        ("arrival,prompt_tokens,output_tokens,max_tokens\n1,1,5,4\n", "line 2: max_tokens is 4, below the 5"),
        (
            "arrival,prompt_tokens,output_tokens,tenant_weight\n1,1,5,0\n",
            "line 2: tenant_weight is 0; a tenant's share",
        ),
    ],
)
def test_faults_are_told_with_their_lines(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(SimulationError) as error:
        list(Trace(path))
    assert f"{path}, {problem}" in str(error.value)


def test_what_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="cannot be read: No such file"):
        list(Trace(tmp_path / "missing.csv"))
    path = tmp_path / "trace.jsonl"
    path.write_text("{}\n{\n")
    with pytest.raises(SimulationError, match="line 1: its columns are"):
        list(Trace(path))
    path.write_text("[]\n")
    with pytest.raises(SimulationError, match="line 1: it is no JSON object"):
        list(Trace(path))
    path.write_text("")
    with pytest.raises(SimulationError, match="no request in it"):
        len(Trace(path))
