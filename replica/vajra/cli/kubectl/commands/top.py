"""`kubectl vajra top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vajra.cli.kubectl.options import ContextOption, KubeconfigOption, NameArgument, NamespaceOption, WatchOption
from vajra.cli.output import Format, FormatOption

if TYPE_CHECKING:
    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.views.top import Scrape, TopView


def top(
    name: NameArgument,
    watch: WatchOption = False,
    output: FormatOption = Format.text,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show what replicas and gateways are doing: requests, KV cache, tokens per second over two seconds.

    It reads the gateways' metrics through the API server, which takes the right to get pods/proxy.

    \b
    Example:
      kubectl vajra top llama --watch
    """
    import time

    from vajra.cli.kubectl.cluster import Cluster
    from vajra.cli.kubectl.texts.top import top_text
    from vajra.cli.kubectl.views.top import scrapable, top_view
    from vajra.cli.kubectl.watching import POLL_SECONDS, follow, show

    cluster = Cluster(namespace, context, kubeconfig)
    before: dict[str, Scrape] = {}

    def read() -> TopView:
        nonlocal before
        deployment, pods = cluster.deployment(name), cluster.find("pods", name)
        if not before and (ports := scrapable(pods)):
            before = _scrape(cluster, deployment, ports)
            time.sleep(POLL_SECONDS)
        now = _scrape(cluster, deployment, scrapable(pods))
        view = top_view(deployment, pods, before, now)
        before = now
        return view

    if watch:
        follow(read, top_text, output)
    else:
        show(read(), top_text, output)


def _scrape(cluster: Cluster, deployment: dict[str, Any], ports: dict[str, int]) -> dict[str, Scrape]:
    """The gateways' metrics; without those of one that does not answer."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    from vajra.cli.kubectl.faults import KubectlError
    from vajra.cli.kubectl.views.top import parse_scrape

    namespace = deployment["metadata"]["namespace"]

    def ask(gateway: str) -> Scrape | None:
        path = f"/api/v1/namespaces/{namespace}/pods/{gateway}:{ports[gateway]}/proxy/metrics"
        try:
            text = cluster.raw(path, "--request-timeout=5s")
        except KubectlError as error:
            if error.reason in ("Forbidden", "NoContext"):
                raise
            return None
        return parse_scrape(text, time.monotonic())

    if not ports:
        return {}
    with ThreadPoolExecutor(len(ports)) as pool:
        answers = dict(zip(ports, pool.map(ask, ports), strict=True))
    return {gateway: scrape for gateway, scrape in answers.items() if scrape is not None}
