"""Where the installer puts things under its folder, and where the benches find them. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODELS = ("smollm2-135m", "llama-1.1b")


@dataclass(frozen=True)
class Layout:
    """Paths under one folder of installed peers."""

    root: Path

    def python(self, peer: str) -> Path:
        """The interpreter of a peer's virtual environment."""
        return self.venv(peer) / "bin" / "python"

    def venv(self, peer: str) -> Path:
        return self.root / f"venv-{peer}"

    def checkpoint(self, model: str) -> Path:
        """A folder in the Hugging Face layout, bfloat16 safetensors."""
        return self.root / "models" / model

    def gguf(self, model: str) -> Path:
        """The same weights for llama.cpp, bfloat16."""
        return self.root / "models" / f"{model}-bf16.gguf"

    def openvino(self, model: str) -> Path:
        """The same weights exported for OpenVINO."""
        return self.root / "models" / f"{model}-openvino"

    def llamacpp(self, program: str) -> Path:
        """One of llama.cpp's programs, as llama-server."""
        return self.root / "llama.cpp" / "build" / "bin" / program

    @property
    def free_order(self) -> Path:
        """The folder of our native module built without batch invariance."""
        return self.root / "free-order"

    @property
    def tcmalloc(self) -> Path:
        """tcmalloc, which vLLM is preloaded with; absent where it could not be had."""
        return self.root / "tcmalloc" / "libtcmalloc_minimal.so.4"
