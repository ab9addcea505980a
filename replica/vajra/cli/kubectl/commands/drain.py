"""`kubectl vajra drain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vajra.cli.errors import CommandError
from vajra.cli.kubectl.options import ContextOption, KubeconfigOption, NameArgument, NamespaceOption
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.draining import DrainView


def drain(
    name: NameArgument,
    replica: Annotated[int, typer.Argument(metavar="REPLICA", min=0, help="Index of the replica.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until as many replicas serve as before.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds after which to give up waiting.")] = 1800,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Take one replica out: it finishes its requests and leaves, and another takes its place.

    It is evicted, so the PodDisruptionBudget is kept: while it refuses, the command waits and says so. To have fewer
    replicas, scale down instead. As JSON: one object a line.

    \b
    Example:
      kubectl vajra drain llama 1
    """
    import time

    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.draining import SERVING, drain_view, leader_of
    from vajra.cli.kubectl.watching import follow
    from vajra.operator.planning import names

    cluster = Cluster(namespace, context, kubeconfig)
    cluster.deployment(name)
    end = time.monotonic() + timeout
    pods = cluster.find("pods", name)
    leader = leader_of(pods, replica)
    before = {p["metadata"]["uid"] for p in pods if p["metadata"]["labels"].get(names.REPLICA) == str(replica)}
    _evict(cluster, leader, replica, end, output)

    def read() -> DrainView:
        _check(end, f"replica {replica} has been evicted, and its successor does not serve yet")
        return drain_view(cluster.deployment(name), cluster.find("pods", name), replica, before)

    def done(view: DrainView) -> bool:
        return not wait or view.state == SERVING

    follow(read, _line, output, done=done, pause=1, redraw=False, gap="")


def _evict(cluster: Cluster, pod: dict[str, Any], replica: int, end: float, output: Format) -> None:
    """Asks until the eviction is granted. A pod that is leaving or gone already needs none."""
    import json
    import time

    from vajra.cli.kubectl.faults import KubectlError
    from vajra.cli.kubectl.views.document import document
    from vajra.cli.kubectl.views.draining import REFUSED, DrainView, eviction
    from vajra.cli.output import print_json

    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    told = ""
    while "deletionTimestamp" not in meta:
        try:
            cluster.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction(pod)))
            return
        except KubectlError as error:
            if error.reason in ("NotFound", "Conflict"):
                return
            if error.reason != "TooManyRequests":
                raise
            said = str(error)
        if said != told:
            view = DrainView(replica, REFUSED, f"{meta['name']}: {said} Waiting: replicas may leave one at a time.")
            if output is Format.json:
                print_json(document(view), compact=True)
            else:
                print(_line(view), flush=True)
            told = said
        _check(end, f"the eviction of {meta['name']} is still refused: {said}")
        time.sleep(2)


def _check(end: float, message: str) -> None:
    import time

    if time.monotonic() > end:
        raise CommandError(f"{message} (--timeout)")


def _line(view: DrainView) -> str:
    return f"{view.state}: {view.message}"
