"""`python -m vajra.gateway.tokenizer_worker`: one tokenizer, fed through stdin, answering on stdout.

Exec'ed, never forked: the gateway holds gRPC threads. A frame is a little-endian (flags, length) header and that many
bytes. The first one is the deployment as JSON; then come texts, one at a time: UTF-8 down, uint32 ids up, so that a
long prompt costs neither side an object per token on the wire. The end of stdin is the end of the worker.
"""

from __future__ import annotations

import array
import json
import os
import signal
import struct
import sys
from typing import IO

HEADER = struct.Struct("<II")  # flags, bytes
ADD_SPECIAL_TOKENS = 1
FAILED = 2  # the answer is a message, not ids


def main() -> int:
    """Answers until stdin ends. The exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the gateway's to handle
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a tokenizer's own code prints is no answer
    from vajra.config import VajraDeployment
    from vajra.models import load_tokenizer, resolve

    frame = read_frame(requests)
    if frame is None:
        return 0
    deployment = VajraDeployment.from_dict(json.loads(frame[1]))
    tokenizer = load_tokenizer(resolve(deployment.replica_config.model_config))
    while (frame := read_frame(requests)) is not None:
        flags, data = frame
        try:
            ids = tokenizer.encode(data.decode(), add_special_tokens=bool(flags & ADD_SPECIAL_TOKENS))
            answer, flags = array.array("I", ids).tobytes(), 0
        except Exception as error:
            answer, flags = f"{type(error).__name__}: {error}".encode(), FAILED
        answers.write(HEADER.pack(flags, len(answer)))
        answers.write(answer)
        answers.flush()
    return 0


def read_frame(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """(flags, data), or None at the end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    flags, length = HEADER.unpack(header)
    data = stream.read(length)
    return (flags, data) if len(data) == length else None


if __name__ == "__main__":
    sys.exit(main())
