"""What the commands share: kubectl's own options under its names, and an exit code."""

from __future__ import annotations

from typing import Annotated, Final

import typer

NOT_READY: Final = 3  # exit code: nothing failed, and it is not as it should be yet

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the VajraDeployment.")]
NamespaceOption = Annotated[
    str | None, typer.Option("-n", "--namespace", help="Namespace; as in the kubeconfig where it is left out.")
]
AllOption = Annotated[bool, typer.Option("-A", "--all-namespaces", help="Look in all namespaces.")]
ContextOption = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
KubeconfigOption = Annotated[str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig.")]
WatchOption = Annotated[
    bool, typer.Option("-w", "--watch", help="Follow it: redrawn on a terminal, else one block per change.")
]
