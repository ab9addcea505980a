"""What runs here."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parents[3]  # of a source tree: replica/vajra/cli/versions.py


def vajra_version() -> str:
    """Of the installed distribution, else of the source tree's pyproject.toml, the one place where it is written."""
    try:
        return version("vajra")
    except PackageNotFoundError:
        return tree_version(_ROOT / "pyproject.toml") or "unknown (neither installed nor run from its source tree)"


def tree_version(pyproject: Path) -> str | None:
    """The version that Vajra's own pyproject.toml declares; None when the file is absent or another project's."""
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    found = project.get("version") if project.get("name") == "vajra" else None
    return found if isinstance(found, str) else None


def versions() -> dict[str, str]:
    """vajra, python, platform, and the kernels that the native engine would choose on this machine."""
    found = {"vajra": vajra_version(), "python": platform.python_version(), "platform": platform.platform()}
    try:
        from vajra.engine import isa

        found["kernels"] = isa()
    except ImportError as error:
        found["kernels"] = f"none: {error}"
    try:
        found["torch"] = version("torch")
    except PackageNotFoundError:
        found["torch"] = "not installed"
    return found
