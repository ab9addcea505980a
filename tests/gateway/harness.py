"""A server in a process of its own, as `vajra serve` runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.deployments import deployment

MODEL = "tiny"
MAX_MODEL_LEN = 8192
VOCABULARY = 320

_SERVE = """
import dataclasses, json, sys
from vajra.config import ConfigError, VajraDeployment
from vajra.gateway import serve
from vajra.gateway.errors import GatewayError
from vajra.models import ModelError
options = json.loads(sys.argv[2])
def ready(endpoints):
    print(json.dumps(dataclasses.asdict(endpoints)), flush=True)
try:
    deployment = VajraDeployment.from_dict(json.loads(sys.argv[1]))
    status = serve(deployment, on_ready=ready, **{"port": 0, "grpc_port": 0, **options})
except (ConfigError, GatewayError, ModelError) as error:
    print(error, file=sys.stderr)
    status = 1
sys.exit(status)
"""


def manifest(model: Path, **spec: Any) -> dict[str, Any]:
    """A VajraDeployment for a checkpoint folder, in float32 on the native engine."""
    fields = {"name": "tiny", "servedName": MODEL, "maxModelLen": MAX_MODEL_LEN}
    return deployment(model, model_fields=fields, **{"recovery": {"backoffBaseSeconds": 1}, **spec})


class Server:
    """`with Server(manifest) as server`: serving when the block begins, killed when it ends."""

    def __init__(self, manifest: dict[str, Any], **options: Any) -> None:
        self._command = [sys.executable, "-c", _SERVE, json.dumps(manifest), json.dumps(options)]
        model = Path(manifest["spec"]["model"]["source"]["hostPath"]["path"])
        self._environment = {**os.environ, "VAJRA_CACHE": str(model.with_name(f"{model.name}-cache"))}

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, start_new_session=True, env=self._environment
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.stdout.close()
            raise AssertionError(f"the server exited with status {self.process.wait()}")
        endpoints = json.loads(line)
        self.model, self.http, self.grpc = endpoints["model"], endpoints["http"], endpoints["grpc"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the serving process alone."""
        os.kill(self.process.pid, number)

    @classmethod
    def failure(cls, manifest: dict[str, Any], **options: Any) -> str:
        """What a server that cannot start says."""
        command = cls(manifest, **options)._command
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr
