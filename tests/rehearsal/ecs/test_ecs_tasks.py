"""One-off tasks: exit codes, stop reasons, dependencies, secrets, logs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rehearsal.ecs.ecs_twin import NETWORK, Twin

SECRET = "arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:gli/db/prod-AbCdEf"
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "/ecs/api", "awslogs-stream-prefix": "api", "awslogs-region": "ap-northeast-2"},
}
WAIT = {"Delay": 0.05, "MaxAttempts": 300}


@pytest.mark.parametrize("code", [0, 7])
def test_a_one_off_task_ends_with_its_own_exit_code(twin: Twin, code: int) -> None:
    task = twin.run(twin.register("exit", str(code), "0.2"), startedBy="release-1")
    assert (task["lastStatus"], task["desiredStatus"], task["startedBy"]) == ("PROVISIONING", "RUNNING", "release-1")
    twin.ecs.get_waiter("tasks_running").wait(cluster="main", tasks=[task["taskArn"]], WaiterConfig=WAIT)
    twin.ecs.get_waiter("tasks_stopped").wait(cluster="main", tasks=[task["taskArn"]], WaiterConfig=WAIT)
    found = twin.task(task["taskArn"])
    assert found["containers"][0]["exitCode"] == code
    assert found["containers"][0]["lastStatus"] == "STOPPED"
    assert (found["stopCode"], found["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert found["createdAt"] <= found["startedAt"] <= found["stoppingAt"] <= found["stoppedAt"]
    assert found["group"] == "family:api"


def test_overrides_change_command_and_environment(twin: Twin) -> None:
    definition = twin.register(
        "env", "GREETING", logConfiguration=LOGS, environment=[{"name": "GREETING", "value": "a"}]
    )
    change = [{"name": "api", "environment": [{"name": "GREETING", "value": "changed"}]}]
    task = twin.run(definition, overrides={"containerOverrides": change})
    twin.stopped(task["taskArn"])
    stream = f"api/api/{task['taskArn'].rpartition('/')[2]}"
    assert twin.logs.lines["/ecs/api", stream] == ["changed"]
    command = [{"name": "api", "command": ["exit", "4"]}]
    other = twin.run(definition, overrides={"containerOverrides": command})
    assert twin.stopped(other["taskArn"])["containers"][0]["exitCode"] == 4
    with pytest.raises(ClientError, match="not a container in the TaskDefinition"):
        twin.run(definition, overrides={"containerOverrides": [{"name": "none"}]})


def test_logs_arrive_in_order(twin: Twin) -> None:
    words = [f"line-{number}" for number in range(500)]
    task = twin.run(twin.register("print", *words, logConfiguration=LOGS))
    twin.stopped(task["taskArn"])
    stream = f"api/api/{task['taskArn'].rpartition('/')[2]}"
    twin.until(lambda: len(twin.logs.lines["/ecs/api", stream]) == 500)
    assert twin.logs.lines["/ecs/api", stream] == words


def test_a_missing_log_group_is_a_resource_initialization_error(twin: Twin) -> None:
    missing: dict[str, Any] = {"logDriver": "awslogs", "options": {**LOGS["options"], "awslogs-group": "/none"}}  # type: ignore[dict-item]
    found = twin.stopped(twin.run(twin.register("exit", "0", logConfiguration=missing))["taskArn"])
    assert found["stopCode"] == "TaskFailedToStart"
    assert found["stoppedReason"].startswith("ResourceInitializationError: failed to validate logger args")
    assert "exitCode" not in found["containers"][0]
    create = {"logDriver": "awslogs", "options": {**missing["options"], "awslogs-create-group": "true"}}
    created = twin.stopped(twin.run(twin.register("exit", "0", logConfiguration=create))["taskArn"])
    assert created["containers"][0]["exitCode"] == 0


def test_secrets_are_resolved_at_the_start_and_shown_nowhere(twin: Twin) -> None:
    twin.secrets.secrets[SECRET, None] = '{"password": "s3cr3t-value", "port": 5432}'
    twin.secrets.secrets[SECRET, "AWSPREVIOUS"] = "older-value"
    twin.secrets.parameters["/gli/key"] = "parameter-value"
    references = {
        "WHOLE": SECRET,
        "PASSWORD": f"{SECRET}:password::",
        "PORT": f"{SECRET}:port::",
        "OLDER": f"{SECRET}::AWSPREVIOUS:",
        "PARAMETER": "/gli/key",
    }
    secrets = [{"name": name, "valueFrom": value} for name, value in references.items()]
    task = twin.run(twin.register("exit", "0", secrets=secrets))
    found = twin.stopped(task["taskArn"])
    environment = twin.runtime.specs[-1].environment
    assert environment["PASSWORD"] == "s3cr3t-value"
    assert environment["PORT"] == "5432"
    assert environment["OLDER"] == "older-value"
    assert environment["PARAMETER"] == "parameter-value"
    shown = str(found) + str(twin.ecs.describe_task_definition(taskDefinition="api"))
    assert "s3cr3t-value" not in shown
    kept = next(iter(twin.plane.store.tasks.values()))
    assert kept.secrets == {}


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (SECRET + "x", "ResourceNotFoundException: Secrets Manager can't find the specified secret."),
        (f"{SECRET}:nokey::", "did not contain json key nokey"),
        ("/no/parameter", "ParameterNotFound"),
    ],
)
def test_a_secret_that_cannot_be_had_stops_the_task(twin: Twin, reference: str, text: str) -> None:
    twin.secrets.secrets[SECRET, None] = '{"password": "s3cr3t-value"}'
    definition = twin.register("exit", "0", secrets=[{"name": "X", "valueFrom": reference}])
    found = twin.stopped(twin.run(definition)["taskArn"])
    assert found["stopCode"] == "TaskFailedToStart"
    assert found["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert text in found["stoppedReason"]
    assert "s3cr3t-value" not in found["stoppedReason"]
    assert twin.runtime.specs == []


def test_an_image_that_cannot_be_pulled(twin: Twin) -> None:
    found = twin.stopped(twin.run(twin.register("exit", "0", image="missing/api:9"))["taskArn"])
    assert found["stopCode"] == "TaskFailedToStart"
    assert found["stoppedReason"].startswith("CannotPullContainerError")
    assert found["containers"][0]["reason"].startswith("CannotPullContainerError")


def test_a_user_stops_a_task(twin: Twin) -> None:
    task = twin.run(twin.register("serve", logConfiguration=LOGS))
    # Once it says so, it also heeds SIGTERM; that its process runs is not enough.
    stream = f"api/api/{task['taskArn'].rpartition('/')[2]}"
    twin.until(lambda: "serving" in twin.logs.lines.get(("/ecs/api", stream), []))
    twin.until(lambda: twin.task(task["taskArn"])["lastStatus"] == "RUNNING")
    answer = twin.ecs.stop_task(cluster="main", task=task["taskArn"], reason="enough")["task"]
    assert (answer["desiredStatus"], answer["stopCode"]) == ("STOPPED", "UserInitiated")
    found = twin.stopped(task["taskArn"])
    assert (found["stoppedReason"], found["containers"][0]["exitCode"]) == ("enough", 0)
    with pytest.raises(ClientError, match="The referenced task was not found"):
        twin.ecs.stop_task(cluster="main", task="none")


def test_a_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(twin: Twin) -> None:
    task = twin.run(twin.register("stubborn", stopTimeout=2, logConfiguration=LOGS))
    twin.until(lambda: twin.task(task["taskArn"])["lastStatus"] == "RUNNING")
    stream = f"api/api/{task['taskArn'].rpartition('/')[2]}"
    twin.until(lambda: "stubborn" in twin.logs.lines.get(("/ecs/api", stream), []))
    twin.ecs.stop_task(cluster="main", task=task["taskArn"])
    assert twin.stopped(task["taskArn"])["containers"][0]["exitCode"] == 137


def container(name: str, *command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry/any:1", "command": list(command), "stopTimeout": 5, **more}


def after(name: str, condition: str) -> dict[str, Any]:
    return {"dependsOn": [{"containerName": name, "condition": condition}]}


def test_containers_start_in_the_order_of_their_dependencies(twin: Twin) -> None:
    check = {"command": ["CMD-SHELL", "true"], "interval": 5}
    definition = twin.register_containers(
        [
            container("main", "exit", "0", "0.3", **after("proxy", "HEALTHY")),
            container("proxy", "serve", essential=False, healthCheck=check, **after("migrate", "SUCCESS")),
            container("migrate", "exit", "0", essential=False, **after("first", "COMPLETE")),
            container("first", "exit", "5", essential=False),
        ]
    )
    found = twin.stopped(twin.run(definition)["taskArn"])
    assert [spec.name for spec in twin.runtime.specs] == ["first", "migrate", "proxy", "main"]
    codes = {item["name"]: item["exitCode"] for item in found["containers"]}
    assert codes == {"main": 0, "proxy": 0, "migrate": 0, "first": 5}


def test_a_dependency_that_fails_stops_the_task(twin: Twin) -> None:
    definition = twin.register_containers(
        [
            container("main", "serve", **after("migrate", "SUCCESS")),
            container("migrate", "exit", "1", essential=False),
        ]
    )
    found = twin.stopped(twin.run(definition)["taskArn"])
    assert found["stopCode"] == "TaskFailedToStart"
    assert "dependency [migrate] for target [main]" in found["stoppedReason"]
    assert [spec.name for spec in twin.runtime.specs] == ["migrate"]


def test_a_sidecar_may_end_and_health_is_shown(twin: Twin) -> None:
    check = {"command": ["CMD", "/bin/true"], "interval": 5}
    definition = twin.register_containers(
        [container("main", "serve", healthCheck=check), container("helper", "exit", "0", essential=False)]
    )
    task = twin.run(definition)
    found = twin.until(lambda: (now := twin.task(task["taskArn"]))["healthStatus"] == "HEALTHY" and now)
    twin.until(lambda: twin.task(task["taskArn"])["containers"][1]["lastStatus"] == "STOPPED")
    assert found["lastStatus"] == "RUNNING"
    assert twin.task(task["taskArn"])["lastStatus"] == "RUNNING"


def test_lists_are_filtered(twin: Twin) -> None:
    service_task_definition = twin.register("serve")
    twin.create(service_task_definition, 1)
    twin.completed()
    one = twin.run(twin.register("serve", family="job"), startedBy="me", count=1)
    ended = twin.stopped(twin.run(twin.register("exit", "0", family="job"))["taskArn"])

    def listed(**filters: Any) -> list[str]:
        return list(twin.ecs.list_tasks(cluster="main", **filters)["taskArns"])

    assert listed(family="job") == [one["taskArn"]]
    assert listed(startedBy="me") == [one["taskArn"]]
    assert listed(desiredStatus="STOPPED") == [ended["taskArn"]]
    assert len(listed(serviceName="api")) == 1
    deployment = twin.service()["deployments"][0]["id"]
    assert listed(startedBy=deployment) == listed(serviceName="api")
    assert len(listed()) == 2
    failures = twin.ecs.describe_tasks(cluster="main", tasks=["none"])["failures"]
    assert failures[0]["reason"] == "MISSING"
    with pytest.raises(twin.ecs.exceptions.ServiceNotFoundException):
        listed(serviceName="ghost")


def test_no_capacity_for_a_one_off_task_is_a_failure_in_the_answer(twin: Twin) -> None:
    twin.plane.capacity = lambda: False
    answer = twin.ecs.run_task(
        cluster="main",
        taskDefinition=twin.register("serve"),
        launchType="FARGATE",
        networkConfiguration=NETWORK,
    )
    assert answer["tasks"] == []
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable at this time")


def test_tasks_of_a_deployment_run_the_digest_that_its_first_task_found(twin: Twin) -> None:
    twin.create(twin.register("serve"), 1)
    twin.completed()
    twin.update(desiredCount=2)
    twin.until(lambda: twin.service()["runningCount"] == 2)
    first, second = twin.runtime.specs
    assert first.image == "registry/api:1"
    assert second.image.startswith("registry/api@sha256:")


def test_a_repeated_request_with_the_same_token_starts_nothing_twice(twin: Twin) -> None:
    definition = twin.register("serve")
    first = twin.run(definition, clientToken="token-1")
    again = twin.run(definition, clientToken="token-1")
    assert again["taskArn"] == first["taskArn"]
    assert len(twin.tasks()) == 1
    with pytest.raises(twin.ecs.exceptions.ConflictException):
        twin.run(definition, clientToken="token-1", startedBy="another")


def test_containers_stop_in_the_reverse_order_of_their_start(twin: Twin) -> None:
    definition = twin.register_containers(
        [container("main", "deaf", **after("helper", "START")), container("helper", "deaf", essential=False)]
    )
    task = twin.run(definition)
    twin.until(lambda: twin.task(task["taskArn"])["lastStatus"] == "RUNNING")
    twin.ecs.stop_task(cluster="main", task=task["taskArn"])
    twin.stopped(task["taskArn"])
    assert twin.runtime.stopped == ["main", "helper"]


def test_a_command_is_executed_only_in_a_task_that_was_run_for_it(twin: Twin) -> None:
    definition = twin.register("serve")
    closed, open_ = twin.run(definition), twin.run(definition, enableExecuteCommand=True)
    twin.until(lambda: twin.task(open_["taskArn"])["lastStatus"] == "RUNNING")
    agent = twin.task(open_["taskArn"])["containers"][0]["managedAgents"][0]
    assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING")
    assert "managedAgents" not in twin.task(closed["taskArn"])["containers"][0]

    def execute(task: str, **changes: Any) -> dict[str, Any]:
        asked = {"cluster": "main", "task": task, "command": "/bin/sh", "interactive": True, **changes}
        return dict(twin.ecs.execute_command(**asked))

    answer = execute(open_["taskArn"], container="api")
    assert (answer["taskArn"], answer["containerName"], answer["interactive"]) == (open_["taskArn"], "api", True)
    session = answer["session"]
    assert session["sessionId"] in session["streamUrl"]
    assert session["streamUrl"].startswith("wss://ssmmessages.ap-northeast-2.amazonaws.com/v1/data-channel/")
    assert session["tokenValue"] != execute(open_["taskArn"])["session"]["tokenValue"]
    for task, changes, text in (
        (closed["taskArn"], {}, "execute command was not enabled"),
        ("none", {}, "was not found"),
        (open_["taskArn"], {"container": "side"}, "container provided in the request was not found"),
        (open_["taskArn"], {"interactive": False}, "Interactive is the only mode"),
    ):
        with pytest.raises(ClientError, match=text):
            execute(task, **changes)
    twin.ecs.stop_task(cluster="main", task=open_["taskArn"])
    twin.stopped(open_["taskArn"])
    with pytest.raises(ClientError, match="agent isn't running"):
        execute(open_["taskArn"])


def test_a_size_that_fargate_does_not_offer_is_refused(twin: Twin) -> None:
    definition = twin.register("exit", "0")
    with pytest.raises(ClientError, match="No Fargate configuration exists for given values: 256 CPU, 4096 memory"):
        twin.run(definition, overrides={"memory": "4096"})
    found = twin.run(definition, overrides={"cpu": "512", "memory": "2048"})
    assert (found["cpu"], found["memory"]) == ("512", "2048")
