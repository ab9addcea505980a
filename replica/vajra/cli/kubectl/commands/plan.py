"""`kubectl vajra plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vajra.cli.errors import USAGE, CommandError
from vajra.cli.kubectl.options import ContextOption, KubeconfigOption, NamespaceOption
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.change import ChangeView


def plan(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the VajraDeployment, with --set instead of -f.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("-f", "--file", metavar="FILE", help="A manifest, or a folder of them; - reads stdin.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="A field to change; null unsets it.")
    ] = None,
    server_side: Annotated[
        bool, typer.Option("--server-side", help="As `kubectl apply --server-side` would have it.")
    ] = False,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show what a change will do before it is applied. Nothing is changed.

    The API server checks it (a server-side dry run); then the operator's planner is run on a copy of what is there.
    Exit code 2 when the API server or the operator refuses it.

    \b
    Examples:
      kubectl vajra plan -f llama.yaml
      kubectl vajra plan llama --set spec.model.maxModelLen=4096
    """
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.change import change_text
    from vajra.cli.kubectl.views.change import REFUSED
    from vajra.cli.kubectl.views.document import document
    from vajra.cli.output import print_json

    cluster = Cluster(namespace, context, kubeconfig)
    if file is not None and name is None and not settings:
        views = [judge(cluster, after) for after in _applied(cluster, file, server_side=server_side)]
    elif file is None and name is not None and settings:
        views = [judge(cluster, cluster.merge(name, patch_of(settings), "--dry-run=server"))]
    else:
        raise CommandError("give either -f FILE, or NAME and --set PATH=VALUE", USAGE)
    if output is Format.json:
        documents = document(views)
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        print("\n\n".join(change_text(view) for view in views))
    if any(view.impact == REFUSED for view in views):
        raise typer.Exit(USAGE)


def judge(cluster: Cluster, after: dict[str, Any]) -> ChangeView:
    """The impact of an object that is not stored yet."""
    import json
    import time
    from dataclasses import replace

    from vajra.cli.kubectl.cluster import RESOURCE
    from vajra.cli.kubectl.views.change import change_view

    meta = after["metadata"]
    there = replace(cluster, namespace=meta["namespace"])
    found = there.run("get", RESOURCE, meta["name"], "--ignore-not-found", "--output=json")
    before = json.loads(found) if found.strip() else None
    children = [] if before is None else there.find("pods,configmaps,deployments.apps", meta["name"])
    return change_view(before, after, children, time.time())


def patch_of(settings: list[str]) -> dict[str, Any]:
    """A merge patch of `spec.rollout.maxSurge=1` and the like. Raises CommandError."""
    import yaml

    patch: dict[str, Any] = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        *sections, key = path.split(".")
        if not equals or not sections or sections[0] != "spec":
            raise CommandError(f"--set {setting}: allowed: spec.FIELD=VALUE, such as spec.rollout.maxSurge=1", USAGE)
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise CommandError(f"--set {setting}: {value!r} is no YAML value", USAGE) from None
        _check_path(path)
        here = patch
        for section in sections:
            here = here.setdefault(section, {})
        here[key] = parsed
    return patch


def _check_path(path: str) -> None:
    """A patch drops fields that the API server does not know; here they are a mistake."""
    from vajra.config.errors import did_you_mean
    from vajra.config.table import row_by_path

    known = row_by_path()
    if path not in known and not path.startswith("spec.podTemplate."):
        hint = did_you_mean(path, known) or "kubectl explain vd.spec shows all fields"
        raise CommandError(f"--set {path}: there is no such field; {hint}", USAGE)


def _applied(cluster: Cluster, file: str, *, server_side: bool) -> list[dict[str, Any]]:
    """The VajraDeployments of a file as the API server would store them."""
    import sys

    from vajra.config import KIND

    text = sys.stdin.read() if file == "-" else None
    options = ["--server-side"] if server_side else []
    answer = cluster.json("apply", "--filename", file, "--dry-run=server", *options, stdin=text)
    objects = answer["items"] if answer["kind"] == "List" else [answer]
    found = [each for each in objects if each["kind"] == KIND]
    others = ", ".join(f"{each['kind']}/{each['metadata']['name']}" for each in objects if each["kind"] != KIND)
    if not found:
        raise CommandError(f"{file} has no VajraDeployment, but: {others}", USAGE)
    if others:
        print(f"not judged: {others}", file=sys.stderr)
    return found
