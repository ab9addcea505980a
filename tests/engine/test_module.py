"""The native module's face: its stub is current, and importing vajra.engine stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import vajra.engine
from vajra.engine import _native


def names(scope: object) -> set[str]:
    return {n for n in vars(scope) if not n.startswith("_")}


def check(stub: list[ast.stmt], real: object) -> None:
    """A scope's classes, functions and values are those of its stub; classes are looked into."""
    classes = {n.name: n for n in stub if isinstance(n, ast.ClassDef)}
    functions = {n.name for n in stub if isinstance(n, ast.FunctionDef)}
    values = {n.target.id for n in stub if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    assert names(real) == {n for n in classes.keys() | functions | values if not n.startswith("_")}, real
    for name, node in classes.items():
        check(node.body, getattr(real, name))


def test_the_stub_names_what_the_module_has() -> None:
    stub = ast.parse((Path(vajra.engine.__file__).parent / "_native.pyi").read_text())
    check(stub.body, _native)


def test_importing_the_engine_imports_no_torch_and_no_kernels() -> None:
    code = "import sys, vajra.engine; sys.exit('torch' in sys.modules or 'vajra.engine._native' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_native_module_imports_no_torch() -> None:
    code = "import sys; from vajra.engine import _native; _native.isa(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
