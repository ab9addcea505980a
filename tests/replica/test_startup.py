"""What a replica says of itself while it fetches and loads its model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.models.checkpoints import make_checkpoint
from tests.models.hub_server import TOKEN, serve_hub
from tests.prediction.profiles import profile
from tests.replica.harness import MAX_MODEL_LEN, Replica, manifest, request

from vajra.control.v1 import control_pb2


async def test_a_download_shows_in_the_status_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_checkpoint(
        tmp_path / "repo", "llama", vocab_size=60_000, tie_word_embeddings=True, max_position_embeddings=MAX_MODEL_LEN
    )
    size = (folder / "model.safetensors").stat().st_size
    with serve_hub(folder) as hub:
        hub.stall_after = 11 << 20  # the library reports each 10 MiB
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        deployment = manifest(folder)
        deployment["spec"]["model"] |= {"name": "org/gated", "revision": "v1", "source": {"type": "HuggingFace"}}
        async with Replica(deployment, tmp_path, wait=False) as replica:
            assert await asyncio.to_thread(hub.stalled.wait, 20)
            status = await replica.status()  # its small files come first, to a progress of 1
            while not status.stages or not 0 < status.stages[-1].progress < 1:
                status = await replica.status()
            assert status.phase == control_pb2.REPLICA_PHASE_STARTING
            assert [stage.name for stage in status.stages] == ["ProcessStart", "WeightDownload"]
            assert status.stages[1].progress == pytest.approx((10 << 20) / size, abs=0.05)
            hub.go_on.set()
            await replica.room(lambda room: room.accepting)
            status = await replica.status()
            stages = {stage.name: stage for stage in status.stages}
            assert list(stages) == ["ProcessStart", "WeightDownload", "WeightLoad", "Warmup"]
            assert all(stage.progress == 1 and stage.seconds > 0 for stage in stages.values())
            tokens, _ = await replica.generate(request("a", [1, 2, 3], 5))
            assert len(tokens) == 5


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (profile().to_json(), (" (tiny, A processor) is of something else: ", "vocab_size is 320 here and 256 in the")),
        ("{}", (" is not a profile (KeyError: 'format')",)),
        (None, (" cannot be read: No such file or directory",)),
    ],
    ids=["of something else", "none", "absent"],
)
async def test_a_profile_that_does_not_fit_is_refused_as_a_configuration(
    found: str | None, words: tuple[str, ...], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found is not None:
        (tmp_path / "times.json").write_text(found)
    monkeypatch.setenv("VAJRA_PROFILE", str(tmp_path / "times.json"))  # as an operator has mounted it
    named = {"type": "ConfigMap", "configMap": {"name": "times", "key": "times.json"}}
    deployment = manifest(checkpoint, scheduler={"type": "DynamicChunk", "profile": named})
    live = {"generation": 1, "spec": deployment["spec"]}
    async with Replica(deployment, tmp_path, live=live, wait=False) as replica:
        while (status := await replica.status()).phase == control_pb2.REPLICA_PHASE_STARTING:
            pass
        assert status.phase == control_pb2.REPLICA_PHASE_FAILED
        assert status.config_refused
        where = "spec.scheduler.profile: key times.json of ConfigMap times"
        for said in (where + words[0], *words[1:], "`vajra profile MODEL`", "set spec.scheduler.profile.type to Auto"):
            assert said in status.message
        replica.process.terminate()
        assert await replica.process.wait() == 2
