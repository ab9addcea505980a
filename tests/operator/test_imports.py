"""What the operator's process is spared."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "tokenizers", "numpy", "huggingface_hub", "vajra.engine", "vajra.models")


def test_the_operator_imports_nothing_of_the_engines_world() -> None:
    code = f"import sys, vajra.operator.main; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
