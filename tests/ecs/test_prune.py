"""Which task definitions may go, and their going."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.ecs.prune import Pruned, Revision, in_use, prunable, prune, read_revisions
from gli_tasks.errors import GliError
from tests.ecs.rollout_parts import Cluster
from tests.ecs.stack_parts import NETWORK
from tests.floor_parts import steady


def revision(number: int, active: bool = True) -> Revision:
    return Revision(f"arn:aws:ecs:r:1:task-definition/api:{number}", number, active)


def numbers(found: tuple[Revision, ...]) -> list[int]:
    return [one.number for one in found]


def test_the_newest_and_the_kept_stay() -> None:
    revisions = [revision(number) for number in range(1, 8)]
    assert numbers(prunable(revisions, {revision(2).arn}, 3)) == [1, 3, 4]
    assert numbers(prunable(revisions, (), 99)) == []


def test_inactive_ones_do_not_count_among_the_newest() -> None:
    revisions = [revision(1, False), revision(2), revision(3, False), revision(4), revision(5, False)]
    assert numbers(prunable(revisions, (), 1)) == [1, 2, 3]
    assert numbers(prunable(revisions, {revision(3).arn}, 2)) == [1]


REVISIONS = st.lists(
    st.builds(revision, st.integers(1, 40), st.booleans()), unique_by=lambda one: one.number, max_size=20
)


@steady
@given(REVISIONS, st.sets(st.integers(1, 40)), st.integers(1, 12))
def test_what_stays_stays(revisions: list[Revision], kept: set[int], newest: int) -> None:
    keep = {revision(number).arn for number in kept}
    going = prunable(revisions, keep, newest)
    assert not {one.arn for one in going} & keep
    active = sorted((one.number for one in revisions if one.active), reverse=True)
    assert not set(active[:newest]) & set(numbers(going))
    assert numbers(going) == sorted(numbers(going))
    # Nothing goes that is newer than what stays as one of the newest.
    assert all(number < min(active[:newest], default=99) for number in numbers(going))
    # The order in which AWS lists them says nothing.
    assert prunable(list(reversed(revisions)), keep, newest) == going


def test_what_services_and_tasks_run_is_in_use(cluster: Cluster) -> None:
    used, other, unused = (
        cluster.register("good@sha256:1"),
        cluster.register("good@sha256:2"),
        cluster.register("good@a"),
    )
    cluster.create("api", used)
    cluster.ecs.run_task(
        cluster="main", taskDefinition=other, launchType="FARGATE", networkConfiguration=NETWORK, count=1
    )
    found = in_use(cluster.ecs, "main")
    assert found == {used, other}
    assert unused not in found


def test_revisions_are_deregistered_and_only_of_their_own_family(cluster: Cluster) -> None:
    arns = [cluster.register(f"good@sha256:{number}") for number in range(4)]
    cluster.register("good@sha256:9", family="api-worker")
    going = prunable(read_revisions(cluster.ecs, "api", inactive=False), {arns[1]}, 1)
    said: list[str] = []
    done = prune(cluster.ecs, "api", going, delete=False, on_change=said.append)
    assert done == Pruned(("api:1", "api:3"), ())
    assert said == ["api:1 deregistered", "api:3 deregistered"]
    assert numbers(read_revisions(cluster.ecs, "api", inactive=False)) == [2, 4]
    assert numbers(read_revisions(cluster.ecs, "api", inactive=True)) == [2, 4, 1, 3]
    assert numbers(read_revisions(cluster.ecs, "api-worker", inactive=False)) == [1]


def test_deleting_takes_those_too_that_were_deregistered_before(cluster: Cluster) -> None:
    arns = [cluster.register(f"good@sha256:{number}") for number in range(3)]
    cluster.ecs.deregister_task_definition(taskDefinition=arns[0])
    going = prunable(read_revisions(cluster.ecs, "api", inactive=True), (), 1)
    done = prune(cluster.ecs, "api", going, delete=True, on_change=lambda _said: None)
    assert done == Pruned(("api:2",), ("api:1", "api:2"))
    assert numbers(read_revisions(cluster.ecs, "api", inactive=True)) == [3]


def test_many_go_at_a_pace_that_leaves_aws_room(cluster: Cluster) -> None:
    for number in range(23):
        cluster.register(f"good@sha256:{number}")
    slept: list[float] = []
    going = prunable(read_revisions(cluster.ecs, "api", inactive=False), (), 1)
    done = prune(cluster.ecs, "api", going, delete=True, on_change=lambda _said: None, sleep=slept.append)
    assert (len(done.deregistered), len(done.deleted)) == (22, 22)
    # After the first ten, one a second; three calls that delete ten each, a second apart.
    assert slept == [1.0] * 14


def test_what_cannot_be_deleted_is_named(cluster: Cluster) -> None:
    gone = Revision("arn:aws:ecs:ap-northeast-2:123456789012:task-definition/api:77", 77, active=False)
    with pytest.raises(GliError, match=r"could not be deleted:\n  - .*api:77"):
        prune(cluster.ecs, "api", [gone], delete=True, on_change=lambda _said: None)
