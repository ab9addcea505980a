"""What kubectl says when it fails, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vajra.cli.errors import FAILED, USAGE, CommandError

_KINDS: Final = (
    ("NotFound", r"\(NotFound\)"),
    ("NoResource", r"doesn't have a resource type|no matches for kind"),
    ("Forbidden", r"\(Forbidden\)|\(Unauthorized\)|must be logged in"),
    ("TooManyRequests", r"TooManyRequests|disruption budget"),
    ("Conflict", r"\(Conflict\)"),
    ("Invalid", r"is invalid|\(Invalid\)|\(BadRequest\)|error validating|strict decoding error"),
    ("Unreachable", r"[Uu]nable to connect|was refused|[Cc]ouldn't get current server|no such host|i/o timeout"),
    ("NoContext", r"context .*does not exist|no configuration has been provided|current-context"),
)
_ADVICE: Final = {
    "NoResource": "the cluster does not know VajraDeployments; install the operator: "
    "kubectl apply -f manifests/crd.yaml -f manifests/install.yaml",
    "Forbidden": "ask an administrator for this right; `kubectl auth can-i --list` shows those that you have",
    "Unreachable": "is it up, and the one you mean? `kubectl config get-contexts`, --context, --kubeconfig",
    "NoContext": "`kubectl config get-contexts` lists those that there are; choose with --context or --kubeconfig",
    "Conflict": "it has changed meanwhile; look at it and try again",
}


class KubectlError(CommandError):
    """kubectl has failed. reason: one of the words above, or Other."""

    def __init__(self, message: str, reason: str, code: int = FAILED) -> None:
        super().__init__(message, code)
        self.reason = reason


def fault_of(said: str, namespace: str | None) -> KubectlError:
    """The error for what kubectl said, with what to do next."""
    reason = next((kind for kind, pattern in _KINDS if re.search(pattern, said)), "Other")
    text = re.sub(r"^(Error from server( \(\w+\))?|[Ee]rror): ", "", said)
    if (advice := _ADVICE.get(reason)) is not None:
        text = f"{text}\n{advice}"
    elif reason == "NotFound" and namespace is None and "namespace" not in text:
        text = f"{text}\nlook in another namespace with -n NAMESPACE"
    return KubectlError(text, reason, USAGE if reason == "Invalid" else FAILED)


def not_found(name: str, there: Sequence[str], namespace: str | None) -> KubectlError:
    """There is no VajraDeployment of this name, but those."""
    from vajra.config.errors import did_you_mean

    where = f"the namespace {namespace}" if namespace else "this namespace"
    if there:
        found = f"{where} has {', '.join(there[:10])}" + (" and others" if len(there) > 10 else "")
    else:
        found = f"{where} has none; `kubectl vajra status -A` looks in all"
    hint = did_you_mean(name, there)
    return KubectlError(f"there is no VajraDeployment {name}: {hint + ' ' if hint else ''}{found}", "NotFound")
