"""`kubectl vajra status`."""

from __future__ import annotations

from typing import Annotated

import typer

from vajra.cli.kubectl.options import AllOption, ContextOption, KubeconfigOption, NamespaceOption, WatchOption
from vajra.cli.output import Format, FormatOption


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the VajraDeployment; without it, a table of all.")
    ] = None,
    watch: WatchOption = False,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    all_namespaces: AllOption = False,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show how a VajraDeployment is: replicas, nodes, revisions, capacity, faults.

    \b
    Examples:
      kubectl vajra status llama
      kubectl vajra status -A
      kubectl vajra status llama --watch
    """
    import time

    from vajra.cli.errors import USAGE, CommandError
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.status import rows_text, status_text
    from vajra.cli.kubectl.views.status import StatusView, row, status_view
    from vajra.cli.kubectl.watching import follow, show

    cluster = Cluster(namespace, context, kubeconfig, all_namespaces)
    if name is None:
        if watch:
            follow(
                lambda: [row(each) for each in cluster.deployments()],
                lambda rows: rows_text(rows, time.time(), namespaces=all_namespaces),
                output,
            )
        else:
            rows = [row(each) for each in cluster.deployments()]
            show(rows, lambda rows: rows_text(rows, time.time(), namespaces=all_namespaces), output)
        return
    if all_namespaces:
        raise CommandError(f"-A shows all VajraDeployments; leave out {name}, or name its namespace with -n", USAGE)

    def read() -> StatusView:
        deployment = cluster.deployment(name)
        return status_view(deployment, cluster.find("pods", name))

    if watch:
        follow(read, lambda view: status_text(view, time.time()), output)
    else:
        show(read(), lambda view: status_text(view, time.time()), output)
