"""Hub models: huggingface_hub itself against a small hub on this machine.

The library reads its endpoint when imported, so every scenario runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
from tests.models.checkpoints import make_checkpoint

COMMIT = "a" * 40
TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """Serves `files` as the repository org/tiny (public) and org/gated (to those with TOKEN)."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        repo = next((r for r in ("org/tiny", "org/gated") if f"/{r}" in path), None)
        if repo is None:
            return self.send(401 if "/api/" in path else 404, {"X-Error-Code": "RepoNotFound"}, b"{}", body)
        if repo == "org/gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send(403, {"X-Error-Code": "GatedRepo"}, b"{}", body)
        if "/revision/" in path and path.split("/revision/")[1] not in ("main", COMMIT):
            return self.send(404, {"X-Error-Code": "RevisionNotFound"}, b"{}", body)
        names = sorted(p.name for p in self.server.folder.iterdir())
        if "/tree/" in path:
            entries = [self.entry(name) for name in names]
            return self.send(200, {}, json.dumps(entries).encode(), body)
        if path.startswith("/api/models/"):
            info = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names], "private": False}
            return self.send(200, {}, json.dumps(info).encode(), body)
        name = path.rsplit("/", 1)[1]
        if name not in names:
            return self.send(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
        data = (self.server.folder / name).read_bytes()
        if body:
            self.server.fetched.append(name)
        etag = hashlib.sha256(data).hexdigest()
        return self.send(200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}, data, body)

    def entry(self, name: str) -> dict[str, object]:
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}

    def send(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = make_checkpoint(tmp_path / "repo", "llama", shards=3)
    (folder / "README.md").write_text("not needed")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    server = Hub(folder)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


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
