"""API keys with names: what a file may hold, when it is read, and how far a name travels."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.harness import MODEL, manifest
from tests.gateway.pods import TIMEOUT, Pods
from tests.gateway.spy import SpyReplica

from vajra.client import Ahead, AsyncVajraClient, AuthenticationError, SamplingParams
from vajra.config import ConfigError
from vajra.gateway.api_keys import ANYBODY, ApiKeys, Tenant, parse_keys

HOST = "127.0.0.2"
KEYS = """\
- {name: search, key: s3cret-a, weight: 2.5}
- {name: search, key: s3cret-b, weight: 2.5}  # the next one, before the old one goes
- name: chat
  key: 1234
"""


def test_a_file_names_tenants() -> None:
    search = Tenant("search", 2.5)
    tenants = {"s3cret-a": search, "s3cret-b": search, "1234": Tenant("chat", 1.0)}
    assert parse_keys(KEYS, "keys") == tenants
    assert parse_keys(json.dumps([{"name": "a", "key": "b", "weight": 3}]), "keys") == {"b": Tenant("a", 3.0)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "keys: holds no list of API keys"),
        ("{name: a, key: s3cret}", "keys: holds no list"),
        ("- {name: a, key: s3cret", "not readable as YAML"),
        ("- {name: a, key: *s3cret}", "keys:1: is not readable"),
        ("- s3cret", "keys:1: is no entry"),
        ("\n- {name: a}", "keys:2: has no key"),
        ("- {key: s3cret}", "keys:1: has no name"),
        ("- {name: a, key: }", "keys:1: has no key"),
        ("- {name: a, s3cret: b}", "field that is unknown"),
        ("- {name: a, key: [s3cret]}", "no plain value"),
        ("- {name: a, key: s3cret, key: s3cret-2}", "has key twice"),
        ("- {name: a b, key: s3cret}", "a name that is none"),
        ("- {name: a, key: s3cret too}", "a key that is none"),
        ("- {name: a, key: s3cret, weight: 0}", "weight 0; allowed: a number above 0"),
        ("- {name: a, key: s3cret, weight: .inf}", "a number above 0"),
        ("- {name: a, key: s3cret, weight: much}", "a number above 0"),
        ("- {name: a, key: s3cret}\n- {name: b, key: s3cret}", "keys:2: has the key of line 1"),
        ("- {name: a, key: s3cret}\n- {name: a, key: s3cret-2, weight: 2}", "'a', which has 1 in line 1"),
        ("- {name: a b, key: x}\n- {key: s3cret}", "2 faults:"),
    ],
)
def test_faults_are_told_with_their_line_and_without_keys(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_keys(text, "keys")
    assert words in str(error.value)
    assert "s3cret" not in str(error.value)


def test_keys_are_asked_for_when_there_are_any(tmp_path: Path) -> None:
    assert ApiKeys().tenant(b"") == ANYBODY
    (tmp_path / "keys").write_text(KEYS)
    both = ApiKeys("lone", tmp_path / "keys")
    assert both.tenant(b"Bearer lone") == ANYBODY
    assert both.tenant(b"bearer s3cret-b") == Tenant("search", 2.5)
    for given in (b"", b"Bearer", b"Bearer ", b"Bearer s3cret", b"s3cret-a", b"Basic s3cret-a", b"Bearer  s3cret-a"):
        assert both.tenant(given) is None
    with pytest.raises(ConfigError, match="API key: is empty"):
        ApiKeys("")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        ApiKeys(None, tmp_path / "absent")


def test_a_file_that_changes_is_read_again_and_a_faulty_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, now = tmp_path / "keys", [0.0]
    file.write_text(KEYS)
    keys = ApiKeys(None, file, clock=lambda: now[0])

    def known(text: str) -> list[str]:
        """Who is known a moment after the file has become another one, as a mounted Secret's does."""
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(file)
        now[0] += 2.0
        return [key for key in ("1234", "5678") if keys.tenant(f"Bearer {key}".encode()) is not None]

    assert known(KEYS.replace("1234", "5678")) == ["5678"]
    assert known("- {name: chat, key: 1234}\n- {}") == ["5678"]
    assert "the API keys before stay in force" in caplog.text
    assert known(KEYS) == ["1234"]
    file.unlink()
    now[0] += 2.0
    assert keys.tenant(b"Bearer 1234") == Tenant("chat")


def test_a_gateway_ends_with_the_secret_and_the_line_that_it_refuses(checkpoint: Path, tmp_path: Path) -> None:
    spec = manifest(checkpoint, networking={"apiKeysSecretRef": {"name": "smollm2-keys", "key": "k.yaml"}})
    (tmp_path / "revision-r1.json").write_text(json.dumps(spec))
    (tmp_path / "keys").write_text(KEYS + "- {name: chat}\n")
    command = [sys.executable, "-m", "vajra.gateway", "--config-dir", str(tmp_path)]
    command += ["--replicas", "127.0.0.1:1", "--control", "127.0.0.1:0"]
    environment = {**os.environ, "VAJRA_REVISION": "r1", "VAJRA_API_KEYS_FILE": str(tmp_path / "keys")}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    assert ended.returncode == 2
    assert "Secret smollm2-keys, k.yaml:5: has no key" in ended.stderr


async def test_a_tenant_is_known_to_the_replica_and_counted_and_no_other_tenants_requests_are_named(
    checkpoint: Path, tmp_path: Path
) -> None:
    (keys := tmp_path / "keys.yaml").write_text(KEYS)
    one = SamplingParams(max_tokens=1, ledger=True)
    async with Pods(manifest(checkpoint), tmp_path) as pods, SpyReplica(f"{HOST}:{pods.port}") as spy:
        gateway = await pods.gateway(HOST, VAJRA_API_KEYS_FILE=str(keys), VAJRA_API_KEY="lone")
        async with (
            openai.AsyncOpenAI(base_url=f"http://{gateway.http}/v1", api_key="1234", timeout=TIMEOUT) as chat,
            AsyncVajraClient(gateway.grpc, api_key="s3cret-a") as search,
            AsyncVajraClient(gateway.grpc, api_key="s3cret-b") as also_search,
            AsyncVajraClient(gateway.grpc, api_key="lone") as nameless,
            AsyncVajraClient(gateway.grpc, api_key="guess") as stranger,
        ):
            await chat.completions.create(model=MODEL, prompt="four", max_tokens=1)
            await nameless.generate("x", one)
            with pytest.raises(AuthenticationError):
                await stranger.generate("x", one)
            spy.go.clear()
            asked = [asyncio.create_task(search.generate("x", one, request_id="first"))]
            await gateway.until(lambda status: status.running == 1)
            for waiting, (client, name) in enumerate(
                ((nameless, "hidden"), (search, "seen"), (also_search, "last")), 1
            ):
                asked.append(asyncio.create_task(client.generate("x", one, request_id=name)))
                await gateway.until(lambda status, waiting=waiting: status.waiting == waiting)
            spy.go.set()
            *_, last = await asyncio.gather(*asked)
        with await asyncio.to_thread(urllib.request.urlopen, gateway.metrics, timeout=60) as response:
            families = text_string_to_metric_families(response.read().decode())
            samples = [each for family in families for each in family.samples if "tenant" in each.labels]
    assert last.completions[0].ledger[0].queue_ahead == (Ahead("seen", 1), Ahead("", 1))
    tenants = [(request.tenant, request.tenant_weight) for request in spy.requests]
    search_twice = [("search", 2.5), ("", 1.0), ("search", 2.5), ("search", 2.5)]
    assert tenants == [("chat", 1.0), ("", 1.0), *search_twice]
    assert {(each.name, each.labels["tenant"], each.labels.get("outcome"), each.value) for each in samples} == {
        ("vajra_tenant_requests_total", "chat", "ok", 1),
        ("vajra_tenant_requests_total", "search", "ok", 3),
        ("vajra_tenant_prompt_tokens_total", "chat", None, 4),
        ("vajra_tenant_prompt_tokens_total", "search", None, 3),
        ("vajra_tenant_completion_tokens_total", "chat", None, 1),
        ("vajra_tenant_completion_tokens_total", "search", None, 3),
    }
