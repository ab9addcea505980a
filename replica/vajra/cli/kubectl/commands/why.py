"""`kubectl vajra why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from vajra.cli.kubectl.options import NOT_READY, ContextOption, KubeconfigOption, NameArgument, NamespaceOption
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster


def why(
    name: NameArgument,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say why a VajraDeployment is not Ready: the first reason, and what to do next.

    Exit code 0 when it is Ready, 3 when it is not.

    \b
    Example:
      kubectl vajra why llama
    """
    import time

    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.why import why_text
    from vajra.cli.kubectl.views.why import why_view
    from vajra.cli.kubectl.watching import show

    cluster = Cluster(namespace, context, kubeconfig)
    deployment = cluster.deployment(name)
    pods = cluster.find("pods", name)
    view = why_view(deployment, pods, _events(cluster, name), _leases(cluster), time.time())
    show(view, lambda view: why_text(view, time.time()), output)
    if not view.ready:
        raise typer.Exit(NOT_READY)


def _events(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Of the VajraDeployment."""
    selector = f"regarding.kind=VajraDeployment,regarding.name={name}"
    return cluster.items("events.events.k8s.io", f"--field-selector={selector}")


def _leases(cluster: Cluster) -> list[dict[str, Any]] | None:
    """The operators' Leases of all namespaces; None where this user may not see them."""
    from vajra.cli.kubectl.faults import KubectlError
    from vajra.cli.kubectl.views.operators import LEASE

    try:
        return cluster.items("leases", "--all-namespaces", f"--field-selector=metadata.name={LEASE}")
    except KubectlError as error:
        if error.reason == "Forbidden":
            return None
        raise
