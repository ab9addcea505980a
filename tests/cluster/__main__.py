"""Clusters for a person: `python -m tests.cluster up`, `down`, `status`, and `build` for the programs alone."""

from __future__ import annotations

import argparse
import sys

from tests.cluster import binaries, control_plane, folders, images, local
from tests.cluster.binaries import MissingError
from tests.cluster.processes import Daemons
from tests.cluster.requirements import missing_for_nodes, missing_packages, more_missing_packages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("build", help="build etcd, Kubernetes and CoreDNS, unless that is done")
    up = actions.add_parser("up", help="start a cluster that stays until `down`")
    up.add_argument("--nodes", type=int, default=2, choices=range(10), help="0: a control plane alone; needs no root")
    up.add_argument("--no-images", action="store_true", help="without the operator's and the replicas' images")
    actions.add_parser("packages", help="print the Debian packages that are missing for nodes, images and single tests")
    actions.add_parser("down", help="end the clusters of `up`")
    actions.add_parser("status", help="show all clusters of this machine")
    arguments = parser.parse_args()
    try:
        if arguments.action == "build":
            print(binaries.build().folder)
        elif arguments.action == "up":
            _up(arguments.nodes, with_images=not arguments.no_images)
        elif arguments.action == "packages":
            print(*missing_packages(), *more_missing_packages())
        elif arguments.action == "down":
            _down()
        else:
            _status()
    except MissingError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


def _up(nodes: int, *, with_images: bool) -> None:
    programs = binaries.build()
    if nodes and (missing := missing_for_nodes()):
        raise MissingError("\n".join(missing))
    claim = local.claim_nodes() if nodes else folders.claim_api()
    try:
        if nodes:
            local.start(claim.folder, programs, nodes, with_images=with_images)
        else:
            control_plane.start(claim.folder, programs)
    except BaseException:
        local.tear_down(claim.folder)
        raise
    claim.keep()
    print(f"a cluster runs until `make cluster-down`: {claim.folder}", file=sys.stderr)
    if nodes and with_images:
        print(f"its images: {images.OPERATOR}, {images.REPLICA}", file=sys.stderr)
    print(f"export KUBECONFIG={claim.folder}/admin.kubeconfig PATH={programs.folder}:$PATH")


def _down() -> None:
    for folder in folders.kept():
        local.tear_down(folder)
    local.sweep()


def _status() -> None:
    for folder in folders.all_folders():
        print(f"{folder}: {'kept' if (folder / 'kept').exists() else 'of a running test session, or left behind'}")
        for part in (folder, *sorted(path for path in folder.glob("n[0-9]"))):
            for name, process in Daemons(part).running().items():
                place = "" if part == folder else f"{part.name} "
                print(f"  {place}{name}: pid {process.pid}, {process.resident_mib} MiB")


if __name__ == "__main__":
    sys.exit(main())
