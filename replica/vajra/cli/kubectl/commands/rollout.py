"""`kubectl vajra rollout`: look at a rollout, hold it, go back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vajra.cli.errors import CommandError
from vajra.cli.kubectl.options import (
    NOT_READY,
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    WatchOption,
)
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.rollout import RevisionView

app = typer.Typer(help="Look at a rollout, hold it, go back.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def status(
    name: NameArgument,
    watch: WatchOption = False,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show how far a rollout is; with --watch until it is complete or has failed.

    Exit code 0 when all replicas serve the newest revision, 3 when they do not.

    \b
    Example:
      kubectl vajra rollout status llama --watch
    """
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.rollout import rollout_text
    from vajra.cli.kubectl.views.rollout import RolloutView, rollout_view
    from vajra.cli.kubectl.watching import follow, show

    cluster = Cluster(namespace, context, kubeconfig)

    def read() -> RolloutView:
        return rollout_view(cluster.deployment(name), cluster.find("pods", name))

    if watch:
        view = follow(read, rollout_text, output, done=lambda view: view.complete or view.failed)
    else:
        view = read()
        show(view, rollout_text, output)
    if not view.complete:
        raise typer.Exit(NOT_READY)


@app.command()
def history(
    name: NameArgument,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Print the spec of this revision: its name or generation.")
    ] = None,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """List the revisions that are kept, newest first, with what each has changed.

    \b
    Examples:
      kubectl vajra rollout history llama
      kubectl vajra rollout history llama --revision 3
    """
    import time

    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.rollout import history_text
    from vajra.cli.kubectl.views.rollout import manifest_of, named, not_kept
    from vajra.cli.kubectl.watching import show

    cluster = Cluster(namespace, context, kubeconfig)
    revisions = _history(cluster, cluster.deployment(name))
    if revision is None:
        show(revisions, lambda views: history_text(views, time.time()), output)
        return
    found = named(revisions, revision)
    if found is None or found.spec is None:
        raise not_kept("--revision", revision, revisions)
    show(found, manifest_of, output)


@app.command()
def undo(
    name: NameArgument,
    to_revision: Annotated[
        str | None, typer.Option("--to-revision", help="Name or generation of a revision; else the one before.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Go back to an earlier revision. Live settings (replicas, scheduler, drain and the like) stay as they are.

    The plan is shown first. Whoever applies manifests should set the fields back there, too.

    \b
    Examples:
      kubectl vajra rollout undo llama --dry-run
      kubectl vajra rollout undo llama --to-revision 3
    """
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.commands.plan import judge
    from vajra.cli.kubectl.texts.change import change_text
    from vajra.cli.kubectl.views.rollout import chosen, way_back
    from vajra.cli.kubectl.watching import show

    cluster = Cluster(namespace, context, kubeconfig)
    deployment = cluster.deployment(name)
    patch = way_back(deployment, chosen(deployment, _history(cluster, deployment), to_revision))
    view = judge(cluster, cluster.edit(name, patch, "--dry-run=server"))
    show(view, change_text, output)
    if not dry_run:
        _write(cluster, deployment, patch)
        if output is Format.text:
            print(f"done: kubectl vajra rollout status {name} --watch  follows it")


@app.command()
def pause(
    name: NameArgument,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Hold a rollout: no replica goes over to another revision until `resume`.

    \b
    Example:
      kubectl vajra rollout pause llama
    """
    from vajra.cli.kubectl.cluster import Cluster

    _hold(Cluster(namespace, context, kubeconfig), name, True, output)


@app.command()
def resume(
    name: NameArgument,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let a rollout that is held go on.

    \b
    Example:
      kubectl vajra rollout resume llama
    """
    from vajra.cli.kubectl.cluster import Cluster

    _hold(Cluster(namespace, context, kubeconfig), name, False, output)


def _write(cluster: Cluster, deployment: dict[str, Any], patch: list[dict[str, Any]]) -> None:
    from vajra.cli.kubectl.faults import KubectlError

    meta = deployment["metadata"]
    try:
        cluster.edit(meta["name"], patch)
    except KubectlError:
        if cluster.deployment(meta["name"])["metadata"]["generation"] == meta["generation"]:
            raise
        raise CommandError("the spec has been changed meanwhile, and nothing was done: try again") from None


def _hold(cluster: Cluster, name: str, paused: bool, output: Format) -> None:
    from vajra.cli.output import print_json

    before = cluster.deployment(name)["spec"].get("rollout", {}).get("paused", False)
    if before != paused:
        cluster.merge(name, {"spec": {"rollout": {"paused": paused}}})
    if output is Format.json:
        print_json({"name": name, "paused": paused, "changed": before != paused})
    else:
        state = "paused" if paused else "not paused"
        print(f"the rollout of {name} is {state}" + (" already" if before == paused else ""))


def _history(cluster: Cluster, deployment: dict[str, Any]) -> list[RevisionView]:
    from vajra.cli.kubectl.views.rollout import history
    from vajra.operator.planning import names

    name = deployment["metadata"]["name"]
    maps = cluster.find("configmaps", name)
    wanted = names.config_map(name)
    return history(deployment, next((each for each in maps if each["metadata"]["name"] == wanted), None))
