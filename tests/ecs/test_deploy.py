"""Rollouts against the twin's ECS: followed by their own id, believed by digest, explained, and put back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from gli_tasks.ecs.deploy import Expected, Started, follow, require_completed, restore, update_service
from gli_tasks.ecs.plan import Judgement, Progress
from gli_tasks.ecs.services import read_services
from gli_tasks.errors import NotRestored, RolloutFailed, UsageError
from tests.ecs.rollout_parts import Cluster, ignore

GOOD, BETTER = "good@sha256:" + "1" * 64, "good@sha256:" + "2" * 64


@dataclass
class Clock:
    """A clock that moves only when it is slept on; each sleep takes a moment of real time."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        time.sleep(0.01)


def followed(cluster: Cluster, ids: dict[str, str], timeout_s: float = 20) -> dict[str, Judgement]:
    return follow(cluster.ecs, "main", ids, timeout_s=timeout_s, poll_s=0.02, on_change=ignore)


def serving(cluster: Cluster, name: str = "api", image: str = GOOD, count: int = 1) -> str:
    """Create a service and wait until it serves; return its task definition."""
    definition = cluster.register(image, name)
    ended = followed(cluster, {name: cluster.create(name, definition, count)})
    assert ended[name].progress is Progress.COMPLETED
    return definition


def update(cluster: Cluster, definition: str, name: str = "api") -> Started:
    before = read_services(cluster.ecs, "main", [name])[name]
    return update_service(cluster.ecs, "main", before, definition, minimum_healthy_percent=100, maximum_percent=200)


def test_a_rollout_is_followed_to_its_end_and_believed_by_digest(cluster: Cluster) -> None:
    old = serving(cluster, count=2)
    new = cluster.register(BETTER)
    started = update(cluster, new)
    assert (started.task_definition_before, started.task_definition, started.changed) == (old, new, True)
    said: list[str] = []
    ended = follow(
        cluster.ecs,
        "main",
        {"api": started.deployment_id},
        timeout_s=20,
        poll_s=0.02,
        on_change=lambda name, judgement: said.append(f"{name} {judgement.sentence}"),
    )
    assert ended["api"].progress is Progress.COMPLETED
    assert said[-1] == "api completed, 2/2 running"
    require_completed(cluster.ecs, "main", ended, {"api": Expected("api", BETTER.partition("@")[2])}, 20)
    with pytest.raises(RolloutFailed, match=r"runs sha256:2+, not sha256:9"):
        require_completed(cluster.ecs, "main", ended, {"api": Expected("api", "sha256:9")}, 20)
    facts = read_services(cluster.ecs, "main", ["api"])["api"]
    assert facts.desired == 2


def test_a_service_without_tasks_proves_nothing(cluster: Cluster) -> None:
    ended = followed(cluster, {"api": cluster.create("api", cluster.register(GOOD), 0)})
    assert ended["api"].progress is Progress.COMPLETED
    assert ended["api"].sentence == "completed, 0/0 running: no task runs, so nothing is proven"
    require_completed(cluster.ecs, "main", ended, {}, 20)
    with pytest.raises(RolloutFailed) as caught:
        require_completed(cluster.ecs, "main", ended, {"api": Expected("api", GOOD.partition("@")[2])}, 20)
    assert caught.value.what == "api: no task runs, so nothing is proven (its desired count is 0)"
    assert caught.value.remedy == "scale it first (`invoke ecs.scale -s api --count 1`), then start again"


def test_what_runs_already_is_left_alone(cluster: Cluster) -> None:
    definition = serving(cluster)
    before = read_services(cluster.ecs, "main", ["api"])["api"]
    started = update(cluster, definition)
    assert not started.changed
    assert before.primary is not None
    assert started.deployment_id == before.primary.id
    assert len(read_services(cluster.ecs, "main", ["api"])["api"].deployments) == 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [("crash@sha256:3", "api exited with 3"), ("absent@sha256:3", "CannotPullContainerError")],
    ids=["crash", "absent"],
)
def test_a_bad_rollout_is_no_success_though_the_service_is_steady_again(
    cluster: Cluster, image: str, reason: str
) -> None:
    old = serving(cluster)
    started = update(cluster, cluster.register(image))
    ended = followed(cluster, {"api": started.deployment_id})
    assert ended["api"].progress in (Progress.FAILED, Progress.REPLACED)
    with pytest.raises(RolloutFailed) as caught:
        require_completed(cluster.ecs, "main", ended, {}, 20)
    assert reason in str(caught.value)
    assert "circuit breaker" in str(caught.value)
    assert restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore) == (
        f"api runs {old.rpartition('/')[2]} again",
    )


def test_reasons_of_an_earlier_rollout_are_not_given_for_this_one(cluster: Cluster) -> None:
    serving(cluster)
    first = update(cluster, cluster.register("crash@sha256:3"))
    followed(cluster, {"api": first.deployment_id})
    restore(cluster.ecs, "main", [first], timeout_s=20, poll_s=0.02, on_change=ignore)
    second = update(cluster, cluster.register("absent@sha256:4"))
    ended = followed(cluster, {"api": second.deployment_id})
    with pytest.raises(RolloutFailed) as caught:
        require_completed(cluster.ecs, "main", ended, {}, 20)
    reasons = [line for line in str(caught.value).splitlines() if line.strip().startswith("stopped: ")]
    assert reasons
    assert all("CannotPullContainerError" in line for line in reasons)


def test_time_runs_out_by_the_clock_that_was_given(cluster: Cluster) -> None:
    # Without a breaker, a service whose image is not there tries for ever.
    deployment = cluster.create("api", cluster.register("absent@sha256:3"), breaker=False)
    clock = Clock()
    ended = follow(
        cluster.ecs,
        "main",
        {"api": deployment},
        timeout_s=3,
        poll_s=1.5,
        on_change=ignore,
        clock=clock.read,
        sleep=clock.sleep,
    )
    assert clock.slept == [1.5, 1.5]
    assert ended["api"].progress is Progress.RUNNING
    with pytest.raises(RolloutFailed, match=r"api: did not end within 3 s \("):
        require_completed(cluster.ecs, "main", ended, {}, 3)


def test_only_those_that_still_run_are_asked_for_again(cluster: Cluster) -> None:
    serving(cluster)
    asked: list[list[str]] = []
    cluster.ecs.meta.events.register(
        "provide-client-params.ecs.DescribeServices", lambda params, **_: asked.append(list(params["services"]))
    )
    web = cluster.create("web", cluster.register(GOOD, "web"))
    api = read_services(cluster.ecs, "main", ["api"])["api"].primary
    assert api is not None
    asked.clear()
    ended = followed(cluster, {"api": api.id, "web": web})
    assert asked[0] == ["api", "web"]
    assert all(names == ["web"] for names in asked[1:])
    assert {name: one.progress for name, one in ended.items()} == dict.fromkeys(("api", "web"), Progress.COMPLETED)


def test_a_deployment_of_another_is_not_ours(cluster: Cluster) -> None:
    serving(cluster)
    ended = followed(cluster, {"api": "ecs-svc/0"})
    assert ended["api"].progress is Progress.REPLACED
    assert "ecs-svc/0 is gone" in ended["api"].sentence
    assert followed(cluster, {}) == {}


def test_services_that_are_not_there_are_all_named(cluster: Cluster) -> None:
    serving(cluster)
    with pytest.raises(UsageError, match="no active service web, worker"):
        read_services(cluster.ecs, "main", ["web", "api", "worker"])
    with pytest.raises(UsageError, match="no cluster 'staging'"):
        read_services(cluster.ecs, "staging", ["api"])
    cluster.ecs.delete_service(cluster="main", service="api", force=True)
    with pytest.raises(UsageError, match="no active service api"):
        read_services(cluster.ecs, "main", ["api"])


def test_more_services_than_one_call_takes(cluster: Cluster) -> None:
    definition = cluster.register(GOOD)
    names = [f"s{number:02}" for number in range(12)]
    for name in names:
        cluster.create(name, definition, 0)
    assert list(read_services(cluster.ecs, "main", names[::-1])) == names[::-1]
    assert read_services(cluster.ecs, "main", []) == {}


def test_the_old_version_is_put_back_after_a_rollout_that_completed(cluster: Cluster) -> None:
    old = serving(cluster)
    started = update(cluster, cluster.register(BETTER))
    followed(cluster, {"api": started.deployment_id})
    sentences = restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    assert sentences == ("api runs api:1 again",)
    assert read_services(cluster.ecs, "main", ["api"])["api"].task_definition == old
    again = restore(cluster.ecs, "main", [started], timeout_s=20, poll_s=0.02, on_change=ignore)
    assert again == sentences


def test_what_was_not_changed_is_not_touched(cluster: Cluster) -> None:
    started = Started("no-such-service", "", "api:1", "api:1")
    assert restore(cluster.ecs, "main", [started], timeout_s=1, poll_s=0.02, on_change=ignore) == ()


def test_one_that_cannot_go_back_does_not_keep_the_others_from_it(cluster: Cluster) -> None:
    serving(cluster, "api")
    old_web = serving(cluster, "web")
    started = [update(cluster, cluster.register(BETTER, name), name) for name in ("api", "web")]
    followed(cluster, {one.service: one.deployment_id for one in started})
    started[0] = Started("api", started[0].deployment_id, started[0].task_definition, "api:99")
    with pytest.raises(NotRestored) as caught:
        restore(cluster.ecs, "main", started, timeout_s=20, poll_s=0.02, on_change=ignore)
    assert "api: AWS refused UpdateService" in str(caught.value)
    assert "web" not in caught.value.what
    assert read_services(cluster.ecs, "main", ["web"])["web"].task_definition == old_web


def test_an_old_version_that_does_not_come_up_in_time_is_not_restored(cluster: Cluster) -> None:
    serving(cluster)
    broken = cluster.register("crash@sha256:3")
    started = update(cluster, cluster.register(BETTER))
    followed(cluster, {"api": started.deployment_id})
    lost = Started("api", started.deployment_id, started.task_definition, broken)
    with pytest.raises(NotRestored, match="tasks of another version") as caught:
        restore(cluster.ecs, "main", [lost], timeout_s=0.3, poll_s=0.02, on_change=ignore)
    assert caught.value.exit_code == 5
