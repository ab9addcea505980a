"""Hub models: huggingface_hub itself against a small hub on this machine.

The library reads its endpoint when imported, so every scenario runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.checkpoints import make_checkpoint
from tests.models.hub_server import COMMIT, TOKEN, Hub, serve_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = make_checkpoint(tmp_path / "repo", "llama", shards=3)
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    with serve_hub(folder) as server:
        yield server


PRELUDE = """
import vajra.models as m
from vajra.config import ModelConfig
def config(model, **options):
    return ModelConfig(model=model, **{"dtype": "float32", "max_model_len": 64, **options})
"""


def run(program: str, home: Path, endpoint: str, **env: str) -> str:
    """Runs a program with a hub cache of its own; returns what it printed. A ModelError's text is printed too."""
    guarded = "\n".join("    " + line for line in program.strip().splitlines())
    code = f"{PRELUDE}\ntry:\n{guarded}\nexcept m.ModelError as e:\n    print('ModelError:', e)\n"
    base = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=base | env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fetch_serve_and_go_on_offline(hub: Hub, tmp_path: Path) -> None:
    program = """
r = m.resolve(config("org/tiny"))
print(r.spec.architecture, r.served_name, r.path.name)
seen = []
l = m.load_resolved(r, progress=lambda stage, done, total: seen.append((stage, done, total)))
print(l.weights.tensor("model.norm.weight").array.shape, m.load_tokenizer(r).decode([72, 105]), len(l.content_key))
if seen: print(seen[-1][0], seen[-1][1] == seen[-1][2] > 100_000)
print([(x.reference, x.source) for x in m.list_models()][1:])
"""
    out = run(program, tmp_path / "home", hub.url)
    assert out.splitlines()[:1] == [f"LlamaForCausalLM org/tiny {COMMIT}"]
    assert "(64,)" in out
    assert "downloading org/tiny True" in out
    assert "[('org/tiny', 'hub')]" in out
    assert "README.md" not in hub.fetched
    assert "pytorch_model.bin" not in hub.fetched
    fetched = list(hub.fetched)
    again = run(program, tmp_path / "home", "http://127.0.0.1:9")
    assert again.splitlines() == [line for line in out.splitlines() if "downloading" not in line]
    assert hub.fetched == fetched


def test_resolve_fetches_no_weights(hub: Hub, tmp_path: Path) -> None:
    run('m.resolve(config("org/tiny"))', tmp_path / "home", hub.url)
    assert not [name for name in hub.fetched if name.endswith(".safetensors")]
    offline = run('m.load(config("org/tiny"))', tmp_path / "home", "http://127.0.0.1:9")
    assert "ModelError: org/tiny is in the local cache without its weights" in offline


def test_download_dir_and_pull(hub: Hub, tmp_path: Path) -> None:
    out = run(
        f'p = m.pull("org/tiny", download_dir={str(tmp_path / "d")!r}); print(p.path, p.size_bytes > 100_000)',
        tmp_path / "home",
        hub.url,
    )
    assert out.startswith(str(tmp_path / "d"))
    assert out.endswith("True\n")


def test_token_comes_from_the_environment(hub: Hub, tmp_path: Path) -> None:
    program = 'print(m.resolve(config("org/gated")).spec.num_layers)'
    assert "is gated. Accept its terms on the hub, then set HF_TOKEN" in run(program, tmp_path / "a", hub.url)
    assert run(program, tmp_path / "b", hub.url, HF_TOKEN=TOKEN) == "2\n"
    wrong = run(program, tmp_path / "c", hub.url, HF_TOKEN="hf_stale")
    assert "ModelError: the hub refuses the token for org/gated (401). Set HF_TOKEN to a valid one, or unset" in wrong


COMMAND = "import sys; from vajra.cli.main import main; main()"


def command(*arguments: str, home: Path, hub: Hub, **env: str) -> subprocess.Popen[str]:
    """`vajra …` with a cache of its own."""
    base = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "VAJRA_CACHE": str(home / "vajra")}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=base | {"PATH": "", "PYTHONPATH": ":".join(sys.path)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_line_pulls_a_revision_in_shards_and_lists_it(hub: Hub, tmp_path: Path) -> None:
    with command("model", "pull", "org/tiny", "--revision", "v1", "-o", "json", home=tmp_path / "home", hub=hub) as p:
        output, errors = p.communicate()
    assert p.returncode == 0, errors
    pulled = json.loads(output)
    assert (pulled["model"], pulled["format"], pulled["num_layers"]) == ("org/tiny", "safetensors", 2)
    shards = {name for name in hub.fetched if name.endswith(".safetensors")}
    assert len(shards) > 1
    assert shards == {path.name for path in hub.folder.glob("*.safetensors")}
    with command("model", "list", "-o", "json", home=tmp_path / "home", hub=hub) as p:
        output, errors = p.communicate()
    [row] = [row for row in json.loads(output) if row["model"] == "org/tiny"]
    assert (row["source"], row["state"]) == ("hub", "ready")
    assert row["bytes"] > sum((hub.folder / name).stat().st_size for name in shards)


@pytest.mark.parametrize(
    ("reference", "env", "words"),
    [
        ("org/none", {}, "org/none is not on the hub, or is private"),
        ("org/gated", {}, "is gated. Accept its terms on the hub, then set HF_TOKEN"),
        ("org/gated", {"HF_TOKEN": "hf_stale"}, "the hub refuses the token for org/gated (401)"),
        ("org/tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "and the hub cannot be reached"),
    ],
)
def test_the_command_line_says_what_went_wrong_in_a_line(
    hub: Hub, tmp_path: Path, reference: str, env: dict[str, str], words: str
) -> None:
    with command("model", "pull", reference, home=tmp_path / "home", hub=hub, **env) as process:
        output, errors = process.communicate()
    assert process.returncode == 1
    assert words in errors
    assert "Traceback" not in errors
    assert output == ""


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Hub]:
    """A model of which one file takes the library several reads."""
    with serve_hub(make_checkpoint(tmp_path / "repo", "llama", vocab_size=100_000, tie_word_embeddings=True)) as hub:
        yield hub


AFTER = 11 << 20  # bytes: the library writes 10 MiB at a time


def pull(large: Hub, home: Path) -> None:
    """Pulls the model and compares its weights."""
    with command("model", "pull", "org/tiny", "-o", "json", home=home, hub=large) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    path = Path(json.loads(output)["path"]) / "model.safetensors"
    assert path.read_bytes() == (large.folder / path.name).read_bytes()


def test_a_broken_connection_goes_on_where_it_was(large: Hub, tmp_path: Path) -> None:
    large.drop_after = AFTER
    pull(large, tmp_path / "home")
    [(name, start)] = large.ranges
    assert name == "model.safetensors"
    assert start == 10 << 20


def test_after_a_kill_what_is_complete_is_not_fetched_again(large: Hub, tmp_path: Path) -> None:
    large.stall_after = AFTER
    with command("model", "pull", "org/tiny", home=tmp_path / "home", hub=large) as process:
        assert large.stalled.wait(60)
        process.kill()
    large.go_on.set()
    before = list(large.fetched)
    pull(large, tmp_path / "home")
    assert before[-1] == "model.safetensors"
    assert large.fetched == [*before, "model.safetensors"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ('m.resolve(config("org/none"))', "org/none is not on the hub, or is private"),
        ('m.resolve(config("org/tiny", revision="v9"))', "org/tiny has no revision 'v9' on the hub"),
        ('m.resolve(config("org/tiny/x.gguf"))', "org/tiny has no file x.gguf. It holds no model"),
        (
            'm.resolve(config("org/tiny", load_format="gguf"))',
            "has no weights in format gguf. It offers safe",
        ),
    ],
)
def test_refusals(hub: Hub, tmp_path: Path, call: str, words: str) -> None:
    assert f"ModelError: {words}" in run(call, tmp_path / "home", hub.url).replace(str(tmp_path), "").replace(
        "/home/hub/models--org--tiny/snapshots/" + COMMIT + " ", ""
    )


def test_unreachable(tmp_path: Path) -> None:
    out = run('m.resolve(config("org/tiny"))', tmp_path / "home", "http://127.0.0.1:9")
    assert "org/tiny is not in the local cache, and the hub cannot be reached" in out
