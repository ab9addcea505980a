"""What the plugin tells, made from objects as a cluster has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.operator.planning.cluster import Cluster, minimal_spec, parallel_spec

from vajra.cli.errors import CommandError
from vajra.cli.kubectl.faults import fault_of, not_found
from vajra.cli.kubectl.texts.status import status_text
from vajra.cli.kubectl.views import steps
from vajra.cli.kubectl.views.document import document
from vajra.cli.kubectl.views.logs import pod_of_rank
from vajra.cli.kubectl.views.operators import nobody_leads
from vajra.cli.kubectl.views.status import status_view
from vajra.cli.kubectl.views.top import Scrape, parse_scrape, top_view
from vajra.cli.kubectl.views.why import why_view
from vajra.metrics import ReplicaSample, ServingMetrics
from vajra.operator.planning import clock
from vajra.operator.reasons import Reason

DOCS = Path(__file__).parents[3] / "docs/kubernetes"


def objects(cluster: Cluster) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The VajraDeployment and its pods."""
    return cluster.deployment(), list(cluster.pods().values())


@pytest.fixture
def settled() -> Cluster:
    """Two replicas of two pods with two ranks each."""
    cluster = Cluster(parallel_spec(replicas=2))
    cluster.settle()
    return cluster


def test_each_reason_has_the_step_that_the_documentation_has() -> None:
    page = (DOCS / "custom-resource.md").read_text()
    (chapter,) = re.findall(r"^### Reasons\n(.*?)^### ", page, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]* \| ([^|]*) \|$", chapter, re.MULTILINE)
    written = {word: cell for words, cell in rows for word in re.findall(r"`(\w+)`", words)}
    plain = {word: re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", cell).replace("`", "") for word, cell in written.items()}
    assert {reason: steps.STEPS[reason].what for reason in Reason} == {reason: plain[reason] for reason in Reason}


def test_the_page_of_the_plugin_explains_its_own_reasons() -> None:
    page = (DOCS / "plugin.md").read_text()
    explained = dict(re.findall(r"^\| `([A-Z]\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    assert explained == {reason: step.what for reason, step in steps.OWN_STEPS.items()}


def test_commands_of_steps_can_be_filled_in() -> None:
    for step in [*steps.STEPS.values(), *steps.OWN_STEPS.values()]:
        filled = step.command.format(name="llama", pod="llama-0-0", container="worker")
        assert "{{" not in filled, filled


def test_a_rank_is_found_in_the_pod_that_holds_it(settled: Cluster) -> None:
    spec, pods = settled.spec, list(settled.pods().values())
    assert pod_of_rank(pods, spec, 3, 1)["metadata"]["name"] == "llama-1-1"
    assert pod_of_rank(pods, spec, 1, None)["metadata"]["name"] == "llama-0-0"
    with pytest.raises(CommandError, match="replica 0 has the ranks 0, 1, 2, 3"):
        pod_of_rank(pods, spec, 4, 0)
    with pytest.raises(CommandError, match="allowed: 0, 1"):
        pod_of_rank(pods, spec, 0, 5)


def test_a_status_of_a_good_day_is_short(settled: Cluster) -> None:
    view = status_view(*objects(settled))
    assert view.ready
    assert [each["type"] for each in view.conditions] == ["Ready"]
    assert [[pod.ranks for pod in replica.pods] for replica in view.replicas] == [["0-1", "2-3"]] * 2
    assert len(view.gateways) == 2
    text = status_text(view, settled.now)
    assert "8 GPUs" in text
    assert "why" not in text
    assert document(view)["wantedReplicas"] == 2


def test_why_gives_the_last_words_of_a_process(settled: Cluster) -> None:
    settled.fail("llama-1-0", 2, "model.maxModelLen is too large")
    for _ in range(40):
        settled.carry_out(settled.plan())
        settled.live_on(60)
        if "llama-1-0" in settled.pods():
            settled.fail("llama-1-0", 2, "model.maxModelLen is too large")
    view = why_view(*objects(settled), events=[], leases=None, now=settled.now)
    assert (view.ready, view.reason) == (False, Reason.CONFIG_REFUSED)
    assert "model.maxModelLen is too large" in view.message
    assert view.command == "kubectl logs llama-1-0 -c worker"
    assert {pod.phase for pod in view.pods} <= {"Failed", "Starting", "Serving", "Creating"}


def test_who_refuses_the_operator_is_told_while_it_is_news(settled: Cluster) -> None:
    settled.change(replicas=3)
    settled.carry_out(settled.plan())
    settled.objects.pop(("Pod", "llama-2-0"))
    settled.objects.pop(("Pod", "llama-2-1"))
    settled.write_status(settled.plan())
    event = {"metadata": {}, "type": "Warning", "reason": "FailedCreate", "note": "exceeded quota"}
    event["eventTime"] = clock.rfc3339(settled.now - 60)
    now = settled.now
    assert why_view(*objects(settled), events=[event], now=now, leases=None).reason == "FailedCreate"
    assert why_view(*objects(settled), events=[event], now=now + 3600, leases=None).reason == Reason.CREATING
    assert why_view(*objects(settled), events=[], now=now, leases=None).reason == Reason.CREATING


@pytest.mark.parametrize(
    ("leases", "words"),
    [
        (None, None),
        ([("me", 3)], None),
        ([("", 3)], "no operator holds"),
        ([("me", 60)], "me has not renewed"),
        ([("me", 60), ("you", 1)], None),
    ],
)
def test_a_lease_tells_whether_someone_leads(leases: Any, words: str | None) -> None:
    now = 1_800_000_000.0
    found = leases and [
        {
            "metadata": {"namespace": "vajra-system"},
            "spec": {"holderIdentity": holder, "renewTime": clock.rfc3339(now - age), "leaseDurationSeconds": 15},
        }
        for holder, age in leases
    ]
    said = nobody_leads(found, now)
    assert said is None if words is None else said is not None and words in said


def test_top_puts_gateways_numbers_to_replicas() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    for number, pod in enumerate(cluster.replica_pods().values()):
        pod["status"]["podIP"] = f"10.0.0.{number}"
    gateway = next(iter(cluster.pods("gateway")))
    metrics = ServingMetrics("smollm2", ["serving"])
    before = scrape(metrics, 0.0)
    metrics.itl.observe(0.1)
    metrics.itl.observe(0.1)
    metrics.ttft.observe(0.1)
    metrics.queue_depth.set(4)
    metrics.ended("ok")
    metrics.sample(
        [
            ReplicaSample(
                replica=f"10.0.0.{number}:8472", state="serving", restarts=0, running=number + 1, waiting=0,
                kv_blocks=100, kv_blocks_used=7,
            )
            for number in range(2)
        ]
    )  # fmt: skip
    view = top_view(*objects(cluster), before={gateway: before}, now={gateway: scrape(metrics, 2.0)})
    assert [(each.running, each.kv_blocks_used, each.kv_blocks) for each in view.replicas] == [(1, 7, 100), (2, 7, 100)]
    (load,) = [each for each in view.gateways if each.pod == gateway]
    assert (load.waiting, load.requests_rate, load.tokens_rate) == (4, 0.5, 1.5)
    (note,) = view.notes
    assert note.startswith("these did not answer")


def scrape(metrics: ServingMetrics, time: float) -> Scrape:
    return parse_scrape(metrics.render().decode(), time)


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        ('error: the server doesn\'t have a resource type "vajradeployments"', "NoResource", "manifests/crd.yaml"),
        ('Error from server (Forbidden): pods is forbidden: User "u" cannot list', "Forbidden", "kubectl auth can-i"),
        ("The connection to the server localhost:8080 was refused", "Unreachable", "--kubeconfig"),
        ('Error from server (NotFound): pods "a" not found', "NotFound", "-n NAMESPACE"),
    ],
)
def test_what_kubectl_says_is_told_with_what_to_do(said: str, reason: str, words: str) -> None:
    fault = fault_of(said, None)
    assert fault.reason == reason
    assert words in str(fault)
    assert not str(fault).startswith(("Error", "error"))


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    assert "did you mean llama?" in str(not_found("lama", ["llama", "mistral"], None))
    assert "has none" in str(not_found("lama", [], "prod"))
