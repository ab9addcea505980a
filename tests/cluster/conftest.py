"""Fixtures on a real Kubernetes.

`api` has an API server and no nodes, `cluster` has two nodes and the project's images. A test takes one of the two, and
`kubectl` or `namespace` for a namespace of its own there. What this machine lacks makes a test skip and say so; with
VAJRA_CLUSTER_REQUIRED=1 it fails.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config
from tests.cluster import binaries, folders, kind, local, operator_install, prometheus_operator
from tests.cluster.api import Api
from tests.cluster.binaries import MissingError
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import wait_for_service_account
from tests.cluster.deployments import Admission, Deployments
from tests.cluster.helm import Helm
from tests.cluster.helm import program as helm_program
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.prometheus import program as prometheus_program
from tests.cluster.requirements import missing_for_nodes

NODES = 2
TEST_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs nodes. The time limit is the test's own: whoever comes first also builds the images."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("node" if "cluster" in getattr(item, "fixturenames", ()) else "cluster")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """An API server: that of USE_EXISTING_CLUSTER, else a new one from KUBEBUILDER_ASSETS or our own build."""
    try:
        with _api() as found:
            yield found
    except MissingError as e:
        _lacking(str(e))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, with the images of `tests.cluster.images` as this tree has them.

    A new cluster of this machine's own; with VAJRA_CLUSTER=kind one of kind's; with USE_EXISTING_CLUSTER that of
    `make cluster-up` which KUBECONFIG names.
    """
    try:
        with _cluster() as found:
            yield found
    except MissingError as e:
        _lacking(str(e))


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> None:
    """The operator works in `cluster`, for all namespaces, installed with the chart."""
    operator_install.install(cluster)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """helm of no cluster."""
    try:
        return Helm(helm_program())
    except MissingError as e:
        _lacking(str(e))


@pytest.fixture(scope="session")
def prometheus() -> None:
    """prometheus and promtool are here."""
    try:
        for name in ("prometheus", "promtool"):
            prometheus_program(name)
    except MissingError as e:
        _lacking(str(e))


@pytest.fixture(scope="session")
def prometheus_definitions(api: Api) -> None:
    """PodMonitors and PrometheusRules are known to `api`; where they are already, the definitions stay as they are."""
    try:
        files = prometheus_operator.definitions()
    except MissingError as e:
        _lacking(str(e))
    prometheus_operator.install(api.kubectl, files)


@pytest.fixture
def kubectl(request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a new namespace of `cluster`, where the test takes that, else of `api`."""
    where: Cluster | Api = request.getfixturevalue("cluster" if "cluster" in request.fixturenames else "api")
    new = where.kubectl.within(f"test-{secrets.token_hex(4)}")
    new("create", "namespace", new.namespace)
    if not isinstance(where, Api) or where.has_controllers:
        wait_for_service_account(new)
    yield new
    new.delete("namespace", new.namespace, wait=False)


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    """The name of the test's namespace."""
    return kubectl.namespace


@pytest.fixture(scope="session")
def crd(api: Api) -> None:
    """VajraDeployments are known to `api`. The CRD is applied as anyone does it, and stays."""
    operator_install.define(api.kubectl)


@pytest.fixture(scope="session")
def api_client(api: Api) -> Iterator[ApiClient]:
    """A connection to `api` for many small questions."""
    with new_client_from_config(str(api.kubeconfig)) as client:
        yield client


@pytest.fixture(scope="session")
def admission(api: Api, crd: None, api_client: ApiClient) -> Iterator[Admission]:
    """What `api` says to VajraDeployments; all tests ask in one namespace, for nothing is kept there."""
    namespace = f"test-{secrets.token_hex(4)}"
    api.kubectl("create", "namespace", namespace)
    yield Admission(api_client, namespace)
    api.kubectl.delete("namespace", namespace, wait=False)


@pytest.fixture
def deployments(crd: None, api_client: ApiClient, namespace: str) -> Deployments:
    """VajraDeployments in the test's namespace of `api`."""
    return Deployments(api_client, namespace)


@contextmanager
def _api() -> Iterator[Api]:
    existing = _existing_kubeconfig()
    if existing is not None:
        yield Api(Kubectl(_kubectl(), existing), has_controllers=True)
        return
    with local.running_api(binaries.assets()) as plane:
        yield Api(plane.kubectl, plane.has_controllers)


@contextmanager
def _cluster() -> Iterator[Cluster]:
    if os.environ.get("VAJRA_CLUSTER") == "kind":
        if missing := kind.missing():
            raise MissingError("; ".join(missing))
        with kind.running() as made:
            yield made
        return
    if missing := missing_for_nodes():
        raise MissingError("; ".join(missing))
    existing = _existing_kubeconfig()
    if existing is None:
        with local.running(binaries.built(), NODES) as own:
            yield own
    elif existing.parent in folders.kept() and folders.slot_of(existing.parent) is not None:
        kept = LocalCluster(existing.parent, Kubectl(_kubectl(), existing))
        kept.load_images()
        yield kept
    else:
        raise MissingError(f"{existing} is not of `make cluster-up`: no test can load images there or cut a node off")


def _existing_kubeconfig() -> Path | None:
    """envtest's convention: KUBECONFIG, or a person's own, where USE_EXISTING_CLUSTER is true."""
    if os.environ.get("USE_EXISTING_CLUSTER", "").lower() != "true":
        return None
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def _kubectl() -> Path:
    found = shutil.which("kubectl")
    return Path(found) if found else binaries.assets()["kubectl"]


def _lacking(reason: str) -> NoReturn:
    """Skips for what this machine lacks; fails where the tests were promised to run."""
    if os.environ.get("VAJRA_CLUSTER_REQUIRED") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
