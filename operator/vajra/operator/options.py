"""The operator's command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_EXAMPLE = """\
examples:
  python -m vajra.operator --replica-image registry.example/vajra-replica:0.1.0
      in a cluster: serves VajraDeployments of all namespaces; of several operators one leads
  KUBECONFIG=~/.kube/config python -m vajra.operator --replica-image vajra-replica:dev --namespace default \\
      --no-leader-elect --image-pull-policy Never
      from a shell: serves one namespace
"""


@dataclass(frozen=True)
class Options:
    """What the command line says. namespaces: none means all."""

    replica_image: str
    image_pull_policy: str
    namespaces: Sequence[str]
    operator_namespace: str
    leader_elect: bool
    metrics_port: int
    resync_seconds: float
    dead_watch_seconds: float
    concurrency: int
    log_format: str


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Reads the command line; ends the process with a message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m vajra.operator",
        description="Makes the cluster match its VajraDeployments.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--replica-image", required=True, metavar="IMAGE", help="for VajraDeployments whose spec.image names none")
    add(
        "--image-pull-policy",
        default="IfNotPresent",
        choices=("Always", "IfNotPresent", "Never"),
        help="of the pods' images (default: %(default)s)",
    )
    add(
        "--namespace",
        dest="namespaces",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this namespace, and those of further --namespace, only (default: all)",
    )
    add(
        "--operator-namespace",
        default=_own_namespace(),
        metavar="NAME",
        help="where the operator's pods run and its Lease is kept (default here: %(default)s)",
    )
    add(
        "--leader-elect",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="wait for the Lease before doing anything, and end when it is lost (default: on)",
    )
    add("--metrics-port", type=int, default=8080, help="of /healthz, /readyz and /metrics (default: %(default)s)")
    add(
        "--resync-seconds",
        type=_positive(float),
        default=300.0,
        metavar="SECONDS",
        help="between full looks at the cluster, which find what the watches have missed (default: %(default)g)",
    )
    add(
        "--dead-watch-seconds",
        type=_positive(float),
        default=120.0,
        metavar="SECONDS",
        help="a watch that has not brought a change for so long, which is known otherwise, makes /healthz fail "
        "(default: %(default)g)",
    )
    add(
        "--concurrency",
        type=_positive(int),
        default=8,
        metavar="NUMBER",
        help="VajraDeployments with news that are worked on at the same time, beside one that is only looked over "
        "(default: %(default)s)",
    )
    add("--log-format", default="text", choices=("text", "json"), help="of the log's lines (default: %(default)s)")
    return Options(**vars(parser.parse_args(arguments)))


def _positive(kind: type[float] | type[int]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"got {text}; allowed: numbers above 0")
        return value

    return convert


def _own_namespace() -> str:
    try:
        return _OWN_NAMESPACE.read_text().strip()
    except OSError:
        return "vajra-system"
