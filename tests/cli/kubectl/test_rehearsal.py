"""A rehearsal ends where the operator ends: with the same replicas of the same revisions, after the same acts."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.planning.cluster import Cluster, minimal_spec, parallel_spec

from vajra.cli.kubectl.views.rehearsal import Rehearsal, rehearse
from vajra.operator.planning import names

ROLLOUTS = st.builds(
    lambda surge, unavailable, partition, paused: {
        "maxSurge": surge,
        "maxUnavailable": max(unavailable, 0 if surge else 1),
        "partition": partition,
        "paused": paused,
    },
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 3), st.booleans(),
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {
        "replicas": st.integers(0, 4),
        "rollout": ROLLOUTS,
        "cache": st.sampled_from([{"blockSize": 16}, {"blockSize": 32}]),
    },
    optional={"suspend": st.just(True)},
)


def rehearsed(cluster: Cluster) -> Rehearsal:
    return rehearse(cluster.deployment(), list(cluster.objects.values()), cluster.now)


def revisions(cluster: Cluster) -> dict[int, str]:
    labels = [pod["metadata"]["labels"] for pod in cluster.replica_pods().values()]
    return {int(each[names.REPLICA]): each[names.REVISION] for each in labels}


def played(before: dict[int, str], course: Rehearsal) -> dict[int, str]:
    """What is left when the acts have been done."""
    there = dict(before)
    for act in course.acts:
        assert (act.replica in there) != act.comes
        if act.comes:
            there[act.replica] = act.revision
        else:
            assert there.pop(act.replica) == act.revision
    return there


@given(before=FIELDS, after=FIELDS, parallel=st.booleans())
@settings(max_examples=40)
def test_it_ends_where_the_operator_ends(before: dict[str, Any], after: dict[str, Any], parallel: bool) -> None:
    make = parallel_spec if parallel else minimal_spec
    cluster = Cluster(make(**before))
    cluster.settle()
    there = revisions(cluster)
    cluster.spec = make(**after)
    cluster.generation += 1
    course = rehearsed(cluster)
    cluster.settle()
    end = revisions(cluster)
    assert course.complete
    assert sorted(played(there, course).values()) == sorted(end.values())
    assert (course.replicas.after, course.serving.after) == (len(end), len(cluster.serving()))
    assert course.gateways.pods_after == len(cluster.pods(names.GATEWAY))
    assert bool(course.staying) == (cluster.status["updatedReplicas"] < len(end))
    assert not rehearsed(cluster).acts, "what is at rest stays so"


def test_what_is_there_is_left_alone() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    cluster.change(cache={"blockSize": 32})
    before = cluster.observed()
    rehearsed(cluster)
    assert cluster.observed() == before


def test_gpus_are_counted_while_a_new_replica_comes_before_an_old_one_goes() -> None:
    cluster = Cluster(parallel_spec(replicas=2, rollout={"maxSurge": 1, "maxUnavailable": 0}))
    cluster.settle()
    cluster.change(cache={"blockSize": 32})
    gpus = rehearsed(cluster).gpus
    assert (gpus.before, gpus.most, gpus.after) == (8, 12, 8)
