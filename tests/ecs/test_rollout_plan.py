"""Decisions about task definitions and rollouts, as tables and as properties."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.ecs.equality import equal, normalised, render
from gli_tasks.ecs.plan import (
    Deployment,
    Judgement,
    Progress,
    Rolling,
    ServiceFacts,
    TaskFacts,
    judge,
    service_facts,
    stop_sentences,
    task_facts,
    wrong_digests,
)
from gli_tasks.ecs.services import require_settled
from gli_tasks.errors import Refused

MINE, OTHER = "ecs-svc/1", "ecs-svc/2"


def deployment(name: str = MINE, status: str = "PRIMARY", state: str = "IN_PROGRESS", **changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "task_definition": "api:7",
        "rollout_reason": "",
        "desired": 2,
        "pending": 0,
        "running": 2,
        "failed_tasks": 0,
    }
    return Deployment(id=name, status=status, rollout_state=state, **{**values, **changes})


def service(*deployments: Deployment) -> ServiceFacts:
    return ServiceFacts("api", "ACTIVE", "api:7", 2, 2, 0, deployments, ())


@pytest.mark.parametrize(
    ("facts", "progress", "words"),
    [
        (service(deployment(state="COMPLETED")), Progress.COMPLETED, "completed, 2/2 running"),
        (service(deployment(running=1, pending=1)), Progress.RUNNING, "1/2 running, 1 starting"),
        (service(deployment(running=2)), Progress.RUNNING, "2/2 running"),
        (service(deployment(state="COMPLETED", running=1)), Progress.RUNNING, "1/2 running"),
        (service(deployment(state="COMPLETED", pending=1)), Progress.RUNNING, "1 starting"),
        (
            service(deployment(state="COMPLETED", desired=0, running=0)),
            Progress.COMPLETED,
            "completed, 0/0 running: no task runs, so nothing is proven",
        ),
        (service(deployment(failed_tasks=3)), Progress.RUNNING, "3 failed"),
        (
            service(deployment(), deployment(OTHER, "ACTIVE", "COMPLETED", running=1)),
            Progress.RUNNING,
            "1 of the old version left",
        ),
        (
            service(deployment(OTHER, state="COMPLETED", rollout_reason="rolling back to deploymentId x.")),
            Progress.REPLACED,
            "deployment ecs-svc/1 is gone; the primary deployment is ecs-svc/2, rolling back to deploymentId x.",
        ),
        (
            service(deployment(OTHER, rollout_reason="in progress."), deployment(status="ACTIVE")),
            Progress.REPLACED,
            "another deployment took its place: ecs-svc/2 (in progress.)",
        ),
        (
            service(deployment(OTHER), deployment(status="ACTIVE", state="FAILED", rollout_reason="breaker.")),
            Progress.FAILED,
            "breaker.",
        ),
        (service(deployment(state="FAILED")), Progress.FAILED, "the deployment failed"),
        (service(deployment(status="INACTIVE", state="COMPLETED")), Progress.REPLACED, "took its place: none"),
        (service(), Progress.REPLACED, "deployment ecs-svc/1 is gone"),
        (service(deployment(state="")), Progress.RUNNING, "2/2 running"),
    ],
)
def test_where_a_deployment_stands(facts: ServiceFacts, progress: Progress, words: str) -> None:
    judgement = judge(facts, MINE)
    assert judgement.progress is progress
    assert words in judgement.sentence
    assert judgement.deployment == MINE


def test_a_stable_service_is_no_proof() -> None:
    """After the circuit breaker's rollback all is steady and completed; it is not what was asked for."""
    rolled_back = service(deployment(OTHER, state="COMPLETED", rollout_reason="circuit breaker"))
    assert judge(rolled_back, OTHER).progress is Progress.COMPLETED
    assert judge(rolled_back, MINE) == Judgement(Progress.FAILED, "circuit breaker (ecs-svc/1 failed)", MINE)


COUNTS = st.integers(0, 5)
DEPLOYMENTS = st.builds(
    Deployment,
    id=st.sampled_from([MINE, OTHER, "ecs-svc/3"]),
    status=st.sampled_from(["PRIMARY", "ACTIVE", "INACTIVE"]),
    task_definition=st.sampled_from(["api:6", "api:7"]),
    rollout_state=st.sampled_from(["IN_PROGRESS", "COMPLETED", "FAILED", ""]),
    rollout_reason=st.sampled_from(["", "because"]),
    desired=COUNTS,
    pending=COUNTS,
    running=COUNTS,
    failed_tasks=COUNTS,
)


@given(st.lists(DEPLOYMENTS, max_size=4, unique_by=lambda one: one.id))
def test_only_our_own_primary_and_whole_deployment_is_completed(deployments: list[Deployment]) -> None:
    judgement = judge(service(*deployments), MINE)
    mine = [one for one in deployments if one.id == MINE]
    whole = bool(mine) and mine[0].status == "PRIMARY" and mine[0].rollout_state == "COMPLETED"
    whole = whole and mine[0].running >= mine[0].desired and mine[0].pending == 0
    assert (judgement.progress is Progress.COMPLETED) is whole
    assert judgement.sentence


def test_facts_of_a_service_put_the_primary_first_and_take_what_is_missing() -> None:
    facts = service_facts(
        {
            "serviceName": "api",
            "deployments": [{"id": "old", "status": "ACTIVE"}, {"id": "new", "status": "PRIMARY", "runningCount": 1}],
            "events": [{"message": "newest"}, {}],
        }
    )
    assert [one.id for one in facts.deployments] == ["new", "old"]
    assert facts.primary is not None
    assert facts.primary.running == 1
    assert facts.events == ("newest", "")
    assert service_facts({"serviceName": "bare"}).primary is None


CONTAINER: dict[str, Any] = {
    "name": "api",
    "image": "registry/api@sha256:1",
    "essential": True,
    "portMappings": [{"containerPort": 8000, "protocol": "tcp"}],
    "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
    "secrets": [{"name": "P", "valueFrom": "arn:p"}],
    "healthCheck": {"command": ["CMD", "true"]},
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/api"}},
    "dependsOn": [{"containerName": "a", "condition": "START"}, {"containerName": "b", "condition": "START"}],
}
DEFINITION: dict[str, Any] = {
    "family": "api",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "512",
    "memory": "1024",
    "containerDefinitions": [CONTAINER, {"name": "sidecar", "image": "s", "essential": False}],
}


def as_aws_answers(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition as DescribeTaskDefinition shows it: with what it adds, and its lists in another order."""
    answer = copy.deepcopy(definition)
    for one in answer["containerDefinitions"]:
        one.setdefault("cpu", 0)
        one.setdefault("essential", True)
        for empty in ("environment", "mountPoints", "volumesFrom", "systemControls", "portMappings", "secrets"):
            one.setdefault(empty, [])
        one["environment"].reverse()
        for mapping in one["portMappings"]:
            mapping.setdefault("protocol", "tcp")
            mapping["hostPort"] = mapping["containerPort"]
        if one.get("healthCheck"):
            one["healthCheck"] = {"interval": 30, "timeout": 5, "retries": 3, **one["healthCheck"]}
        if "logConfiguration" in one:
            one["logConfiguration"].setdefault("secretOptions", [])
    added = {
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/api:7",
        "revision": 7,
        "status": "ACTIVE",
        "volumes": [],
        "placementConstraints": [],
        "requiresAttributes": [{"name": "ecs.capability.task-eni"}],
        "compatibilities": ["EC2", "FARGATE"],
        "registeredAt": "2026-03-01",
        "registeredBy": "arn:aws:iam::123456789012:user/kim",
        "enableFaultInjection": False,
    }
    return {**added, **answer, "containerDefinitions": answer["containerDefinitions"][::-1]}


def test_what_aws_adds_makes_no_difference() -> None:
    assert equal(as_aws_answers(DEFINITION), DEFINITION)
    assert equal(DEFINITION, {**DEFINITION, "tags": [{"key": "commit", "value": "x"}]})


def change(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(DEFINITION)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


FIRST = ("containerDefinitions", 0)


@pytest.mark.parametrize(
    "changed",
    [
        change(("cpu",), "1024"),
        change(("taskRoleArn",), "arn:role"),
        change(("runtimePlatform",), {"cpuArchitecture": "ARM64"}),
        change(("ephemeralStorage",), {"sizeInGiB": 30}),
        change(("enableFaultInjection",), True),
        change(("volumes",), [{"name": "data"}]),
        change(("placementConstraints",), [{"type": "memberOf", "expression": "x"}]),
        change(("requiresCompatibilities",), ["EC2"]),
        change(("containerDefinitions",), [CONTAINER]),
        change((*FIRST, "image"), "registry/api@sha256:2"),
        change((*FIRST, "essential"), False),
        change((*FIRST, "cpu"), 10),
        change((*FIRST, "stopTimeout"), 5),
        change((*FIRST, "stopTimeout"), 0),
        change((*FIRST, "readonlyRootFilesystem"), False),
        change((*FIRST, "command"), ["serve"]),
        change((*FIRST, "environment", 0, "value"), ""),
        change((*FIRST, "environment"), [{"name": "A", "value": "1"}]),
        change((*FIRST, "secrets", 0, "valueFrom"), "arn:q"),
        change((*FIRST, "portMappings", 0, "protocol"), "udp"),
        change((*FIRST, "healthCheck", "retries"), 4),
        change((*FIRST, "healthCheck", "startPeriod"), 60),
        change((*FIRST, "healthCheck"), None),
        change((*FIRST, "logConfiguration", "options", "mode"), "non-blocking"),
        change((*FIRST, "dependsOn"), CONTAINER["dependsOn"][::-1]),
    ],
)
def test_what_was_changed_makes_a_difference(changed: dict[str, Any]) -> None:
    assert not equal(as_aws_answers(DEFINITION), changed)
    assert equal(as_aws_answers(changed), changed)


NAMES = st.text("abcdef", min_size=1, max_size=4)
PAIRS = st.dictionaries(NAMES, st.text(max_size=3), max_size=4)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES, "image": st.sampled_from(["i@sha256:1", "i@sha256:2"])},
    optional={
        "essential": st.booleans(),
        "cpu": st.integers(0, 4),
        "command": st.lists(NAMES, max_size=3),
        "environment": PAIRS.map(lambda pairs: [{"name": key, "value": value} for key, value in pairs.items()]),
        "secrets": PAIRS.map(lambda pairs: [{"name": key, "valueFrom": "arn:" + key} for key in pairs]),
        "portMappings": st.lists(st.integers(1, 9), max_size=3, unique=True).map(
            lambda ports: [{"containerPort": port} for port in ports]
        ),
        "healthCheck": st.fixed_dictionaries(
            {"command": st.just(["CMD", "true"])}, optional={"interval": st.integers(5, 60)}
        ),
    },
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "family": NAMES,
        "containerDefinitions": st.lists(CONTAINERS, min_size=1, max_size=3, unique_by=lambda one: one["name"]),
    },
    optional={
        "networkMode": st.sampled_from(["awsvpc", "bridge"]),
        "cpu": st.sampled_from(["256", "512"]),
        "requiresCompatibilities": st.lists(st.sampled_from(["EC2", "FARGATE"]), unique=True),
    },
)


@given(DEFINITIONS)
def test_normalising_is_done_once_and_leaves_its_input_alone(definition: dict[str, Any]) -> None:
    before = copy.deepcopy(definition)
    once = normalised(definition)
    assert normalised(once) == once
    assert definition == before
    assert equal(definition, once)


@given(DEFINITIONS.map(lambda one: {**one, "networkMode": "awsvpc"}))
def test_any_definition_equals_what_aws_answers_for_it(definition: dict[str, Any]) -> None:
    assert equal(as_aws_answers(definition), definition)


@given(DEFINITIONS, DEFINITIONS)
def test_equality_is_fair_to_both_sides(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert equal(one, other) is equal(other, one)
    images = [
        {container["name"]: container["image"] for container in definition["containerDefinitions"]}
        for definition in (one, other)
    ]
    if images[0] != images[1]:
        assert not equal(one, other)


@given(DEFINITIONS, st.data())
def test_rendering_puts_the_image_into_one_container_alone(definition: dict[str, Any], data: st.DataObject) -> None:
    names = [one["name"] for one in definition["containerDefinitions"]]
    chosen = data.draw(st.sampled_from(names))
    before = copy.deepcopy(definition)
    after = render(definition, chosen, "new@sha256:9")
    assert definition == before
    assert [one["image"] for one in after["containerDefinitions"] if one["name"] == chosen] == ["new@sha256:9"]
    for old, new in zip(before["containerDefinitions"], after["containerDefinitions"], strict=True):
        assert new == (old if old["name"] != chosen else {**old, "image": "new@sha256:9"})
    assert {key: value for key, value in after.items() if key != "containerDefinitions"} == {
        key: value for key, value in before.items() if key != "containerDefinitions"
    }
    with pytest.raises(KeyError):
        render(definition, "no such container", "x")


def task(name: str = "t1", reason: str = "", status: str = "RUNNING", **changes: Any) -> TaskFacts:
    values: dict[str, Any] = {"digests": {}, "exit_codes": {}, "reasons": ()}
    return TaskFacts(name, "api:7", MINE, status, "", reason, **{**values, **changes})


def test_running_tasks_must_be_of_our_digest() -> None:
    tasks = [
        task("right", digests={"api": "sha256:1", "sidecar": "sha256:9"}),
        task("wrong", digests={"api": "sha256:2"}),
        task("unknown"),
        task("swapped", digests={"sidecar": "sha256:1"}),
        task("starting", status="PENDING"),
        task("stopped", status="STOPPED", digests={"api": "sha256:2"}),
    ]
    assert wrong_digests(tasks, "api", "sha256:1") == (
        "task wrong runs sha256:2, not sha256:1",
        "task unknown runs an unknown image, not sha256:1",
        "task swapped runs an unknown image, not sha256:1",
    )


def test_stop_reasons_are_told_once_with_how_many_and_with_exit_codes() -> None:
    crash = {"reason": "Essential container in task exited", "exit_codes": {"web": 0, "api": 3}}
    tasks = [
        task("1", **crash),
        task("2", "CannotPullContainerError: no such image", reasons=("CannotPullContainerError: no such image",)),
        task("3", **crash),
        task("4"),
        task("5", "Task failed", reasons=("OutOfMemoryError: killed",), exit_codes={"api": 137}),
    ]
    assert stop_sentences(tasks) == (
        "2 × Essential container in task exited (api exited with 3, web exited with 0)",
        "CannotPullContainerError: no such image",
        "Task failed (OutOfMemoryError: killed; api exited with 137)",
    )
    assert stop_sentences([]) == ()


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=30))
def test_no_stopped_task_is_lost_and_none_is_told_twice(reasons: list[str]) -> None:
    sentences = stop_sentences([task(str(number), reason) for number, reason in enumerate(reasons)])
    assert len(sentences) == len(set(reasons) - {""})
    counted = sum(int(one.partition(" × ")[0]) if " × " in one else 1 for one in sentences)
    assert counted == sum(reason != "" for reason in reasons)


def test_facts_of_a_task_take_what_is_missing() -> None:
    facts = task_facts(
        {
            "taskArn": "arn:aws:ecs:eu-west-1:1:task/main/abc",
            "containers": [{"name": "api", "exitCode": 0, "reason": ""}, {"name": "web", "imageDigest": "sha256:1"}],
        }
    )
    assert (facts.id, facts.exit_codes, facts.digests, facts.reasons) == ("abc", {"api": 0}, {"web": "sha256:1"}, ())


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", ""])
def test_a_settled_service_may_be_released_to(state: str) -> None:
    require_settled({"api": service(deployment(state=state))})


def test_a_rollout_under_way_is_named() -> None:
    with pytest.raises(Refused, match=f"api: {MINE} to api:7"):
        require_settled({"api": service(deployment())})


def test_what_an_update_changes_of_the_way_of_rolling() -> None:
    described = {
        "serviceName": "api",
        "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 200},
    }
    facts = service_facts(described)
    assert facts.rolling is not None
    assert facts.rolling.changes_to(Rolling(100, 200)) == (
        "minimumHealthyPercent 50 → 100",
        "circuit breaker off → on",
        "circuit breaker's rollback off → on",
    )
    assert facts.rolling.changes_to(facts.rolling) == ()
    assert service_facts({"serviceName": "api"}).rolling is None


def test_sizes_are_compared_as_aws_answers_them() -> None:
    written = {"family": "api", "cpu": "1 vCPU", "memory": "2 GB"}
    assert equal(written, {"family": "api", "cpu": "1024", "memory": "2048"})
    assert equal({"cpu": ".5 vcpu"}, {"cpu": "512"})
    assert not equal(written, {"family": "api", "cpu": "1024", "memory": "4096"})
