"""`kubectl vajra logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vajra.cli.errors import USAGE, CommandError
from vajra.cli.kubectl.options import ContextOption, KubeconfigOption, NameArgument, NamespaceOption
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster


def logs(
    name: NameArgument,
    rank: Annotated[
        int | None, typer.Option("--rank", min=0, help="Rank of the worker; 0 where it is left out.")
    ] = None,
    replica: Annotated[
        int | None, typer.Option("--replica", min=0, help="Index of the replica; the lowest where it is left out.")
    ] = None,
    gateway: Annotated[bool, typer.Option("--gateway", help="The gateways' logs instead.")] = False,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is added.")] = False,
    previous: Annotated[
        bool, typer.Option("-p", "--previous", help="Of the container before this one in the same pod.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="The last lines only.")] = None,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the log of the pod that holds a rank, or of the gateways.

    The ranks of a pod share one log. As JSON: one object a line.

    \b
    Examples:
      kubectl vajra logs llama --rank 5 --replica 1 --follow
      kubectl vajra logs llama --gateway --tail 20
    """
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.logs import gateway_pods, has_begun, pod_of_rank
    from vajra.cli.kubectl.views.pods import pod_view

    if gateway and (rank is not None or replica is not None):
        raise CommandError("--gateway has no ranks and replicas: leave --rank and --replica out", USAGE)
    cluster = Cluster(namespace, context, kubeconfig)
    deployment = cluster.deployment(name)
    pods = cluster.find("pods", name)
    found = gateway_pods(pods) if gateway else [pod_of_rank(pods, deployment["spec"], rank or 0, replica)]
    if not any(has_begun(pod) for pod in found):
        raise CommandError(f"there is no log yet: {pod_view(found[0]).message}")
    options = ["--follow"] if follow else []
    options += ["--previous"] if previous else []
    options += [] if tail is None else [f"--tail={tail}"]
    _print(cluster, found, options, output)


def _print(cluster: Cluster, pods: list[dict[str, Any]], options: list[str], output: Format) -> None:
    """Line by line; of several pods at once, each line says which."""
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    if len(pods) == 1:
        _print_one(cluster, options, output, pods[0], many=False)
        return
    with ThreadPoolExecutor(len(pods)) as pool:
        list(pool.map(partial(_print_one, cluster, options, output, many=True), pods))


def _print_one(cluster: Cluster, options: list[str], output: Format, pod: dict[str, Any], *, many: bool) -> None:
    import json

    from vajra.cli.kubectl.faults import fault_of
    from vajra.cli.kubectl.views.logs import container_of
    from vajra.cli.kubectl.views.pods import ranks_of

    name, container = pod["metadata"]["name"], container_of(pod)
    with cluster.open("logs", name, f"--container={container}", *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                text = line.rstrip("\n")
                if output is Format.json:
                    text = json.dumps({"pod": name, "ranks": ranks_of(pod), "line": text}, ensure_ascii=False)
                elif many:
                    text = f"[{name}] {text}"
                print(text, flush=True)
        except BaseException:
            process.kill()  # it might have nothing to print for long, and not see that nobody reads
            raise
        said = process.stderr.read().strip()
    if process.returncode == 0:
        return
    if "previous terminated container" in said and ranks_of(pod):
        raise CommandError(
            f"{name} has no earlier log: a replica's container is never started again in its pod. While a replica that "
            "has failed waits, its pod and log stay; status.recovery.lastFault has the last words of the one before"
        )
    raise fault_of(said, cluster.namespace)
