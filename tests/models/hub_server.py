"""A small hub on this machine, as huggingface_hub sees one: the API and the files, with what can go wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
TOKEN = "hf_secret"
REVISIONS = ("main", "v1", COMMIT)


class Hub(ThreadingHTTPServer):
    """Serves `files` as the repository org/tiny (public) and org/gated (to those with TOKEN).

    `stall_after` bytes of a file its answer stops until `go_on` is set. `drop_after` bytes of one, once, it hangs up.
    """

    daemon_threads = True

    def __init__(self, folder: Path, host: str) -> None:
        super().__init__((host, 0), Handler)
        self.folder = folder
        self.fetched: list[str] = []
        self.ranges: list[tuple[str, int]] = []  # (file, first byte) of requests for the rest of a file
        self.stall_after: int | None = None
        self.drop_after: int | None = None
        self.stalled, self.go_on = Event(), Event()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


@contextmanager
def serve_hub(folder: Path, host: str = "127.0.0.1") -> Iterator[Hub]:
    """A hub that runs in this process, at one of this machine's addresses."""
    server = Hub(folder, host)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


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
        if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            return self.send(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b"{}", body)
        if repo == "org/gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send(403, {"X-Error-Code": "GatedRepo"}, b"{}", body)
        if "/revision/" in path and path.split("/revision/")[1] not in REVISIONS:
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
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not body or not (wanted := self.headers.get("Range")):
            return self.send(200, headers, data, body)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.server.ranges.append((name, start))
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.send(206, headers, data[start:], body)

    def entry(self, name: str) -> dict[str, object]:
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": name}

    def send(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        hub = self.server
        if hub.drop_after is not None and len(data) > hub.drop_after:
            self.wfile.write(data[: hub.drop_after])
            hub.drop_after = None
            return
        after = hub.stall_after
        if after is not None and len(data) > after and not hub.go_on.is_set():
            self.wfile.write(data[:after])
            self.wfile.flush()
            hub.stalled.set()
            hub.go_on.wait()
            data = data[after:]
        with suppress(ConnectionError):  # its reader was killed
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass
