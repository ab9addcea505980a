"""What runs here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def vajra_version() -> str:
    """Of the installed distribution; a source tree that was never installed has none."""
    try:
        return version("vajra")
    except PackageNotFoundError:
        return "unknown (not installed)"


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
