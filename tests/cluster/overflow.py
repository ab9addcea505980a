"""More for a gateway than its queue can hold."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

# Seven eighths of a queue: the second of these is too many, and others still find room.
_BODY = json.dumps({"prompt": ["x"] * 7, "n": 128, "max_tokens": 1}).encode()
_PATH = "/v1/completions"


@contextmanager
def overflowing(address: str, key: str) -> Iterator[None]:
    """Fills the queue of a gateway that has no replica, and has all that is too much refused, several times a second.

    address: HOST:PORT of its OpenAI API. key: that it asks for. Takes what waits back in the end.
    """
    over = threading.Event()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def ask() -> None:
        while not over.wait(0.2):
            try:
                request = urllib.request.Request(f"http://{address}{_PATH}", _BODY, headers)
                urllib.request.urlopen(request, timeout=1).close()
            except (urllib.error.URLError, TimeoutError):
                pass  # refused, as it should be

    thread = threading.Thread(target=ask)
    with closing(HTTPConnection(address)) as filling:
        filling.request("POST", _PATH, _BODY, headers)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
