"""Services that roll: good and bad releases, rollbacks, scaling, replacement."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.rehearsal.ecs.ecs_twin import TARGET_GROUP, Twin, client


def test_a_first_deployment_completes_and_tells_so(twin: Twin) -> None:
    definition = twin.register("serve")
    created = twin.create(definition)
    deployment = created["deployments"][0]
    assert re.fullmatch(r"ecs-svc/\d{19}", deployment["id"])
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "IN_PROGRESS")
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} in progress."
    twin.ecs.get_waiter("services_stable").wait(
        cluster="main", services=["api"], WaiterConfig={"Delay": 0.05, "MaxAttempts": 300}
    )
    service = twin.completed(definition)
    assert (service["runningCount"], service["pendingCount"], service["desiredCount"]) == (2, 0, 2)
    assert service["deployments"][0]["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    twin.until(lambda: "(service api) has reached a steady state." in twin.messages())
    messages = twin.messages()
    assert f"(service api) (deployment {deployment['id']}) deployment completed." in messages
    assert f"(service api) registered 1 targets in (target-group {TARGET_GROUP})" in messages
    started = next(message for message in messages if "has started" in message)
    assert re.fullmatch(r"\(service api\) has started 2 tasks: \(task \w{32}\) \(task \w{32}\)\.", started)
    attempt = twin.attempts()[0]
    assert attempt["status"] == "SUCCESSFUL"
    assert attempt["deploymentCircuitBreaker"] == {"status": "MONITORING_COMPLETE", "failureCount": 0, "threshold": 3}
    revision = attempt["targetServiceRevision"]["arn"]
    images = twin.ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"][0]
    assert images["containerImages"][0]["imageDigest"].startswith("sha256:")
    for task in twin.tasks():
        assert task["startedBy"] == deployment["id"]
        assert task["group"] == "service:api"
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        assert {"name": "privateIPv4Address", "value": address} in task["attachments"][0]["details"]
        assert not address.startswith("127.0.0.")


def test_a_rolling_update_never_has_fewer_healthy_targets_than_asked(twin: Twin) -> None:
    twin.create(twin.register("serve"), 2)
    twin.completed()
    fewest, most, done = [99], [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            fewest[0] = min(fewest[0], twin.targets.healthy())
            most[0] = max(most[0], len(twin.tasks()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    second = twin.register("serve")
    answer = twin.update(taskDefinition=second)
    assert [item["status"] for item in answer["deployments"]] == ["PRIMARY", "ACTIVE"]
    twin.completed(second)
    done.set()
    watcher.join()
    assert fewest[0] >= 2
    assert most[0] <= 4
    old = [task for task in twin.tasks("STOPPED") if task["taskDefinitionArn"] != second]
    assert len(old) == 2
    for task in old:
        assert task["stoppedReason"] == f"Scaling activity initiated by (deployment {answer['deployments'][0]['id']})"
        assert (task["stopCode"], task["containers"][0]["exitCode"]) == ("ServiceSchedulerInitiated", 0)
    assert any("has begun draining connections on 1 tasks" in message for message in twin.messages())


@pytest.mark.parametrize("kind", ["crash", "image", "health", "container health"])
def test_a_bad_release_trips_the_breaker_and_rolls_back(twin: Twin, kind: str) -> None:
    good = twin.register("serve")
    first = twin.create(good, 1)["deployments"][0]["id"]
    twin.completed()
    kept = twin.tasks()[0]["taskArn"]
    check = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "retries": 1}
    bad = {
        "crash": lambda: twin.register("exit", "3"),
        "image": lambda: twin.register("serve", image="missing/api:2"),
        "health": lambda: twin.register("deaf"),
        "container health": lambda: twin.register("serve", healthCheck=check),
    }[kind]()
    failed = twin.update(taskDefinition=bad, healthCheckGracePeriodSeconds=0)["deployments"][0]["id"]
    back = twin.until(lambda: (found := twin.service()["deployments"][0])["id"] != failed and found)
    assert back["taskDefinition"] == good
    assert back["rolloutStateReason"] == f"ECS deployment circuit breaker: rolling back to deploymentId {first}."
    service = twin.completed(good)
    assert service["deployments"][0]["id"] == back["id"]
    assert service["taskDefinition"] == good
    assert kept in [task["taskArn"] for task in twin.tasks()]
    messages = twin.messages()
    assert f"(service api) (deployment {failed}) deployment failed: tasks failed to start." in messages
    assert f"(service api) rolling back to deployment {first}." in messages
    attempt = twin.attempts()[0]
    assert attempt["status"] == "ROLLBACK_SUCCESSFUL"
    assert attempt["statusReason"] == (
        "Service deployment rolled back because the circuit breaker threshold was exceeded."
    )
    assert attempt["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    assert attempt["rollback"]["serviceRevisionArn"] == attempt["sourceServiceRevisions"][0]["arn"]
    stopped = [task for task in twin.tasks("STOPPED") if task["taskDefinitionArn"] == bad]
    assert len(stopped) >= 3
    reasons = {
        "crash": ("EssentialContainerExited", "Essential container in task exited"),
        "image": ("TaskFailedToStart", "CannotPullContainerError: pull image manifest"),
        "health": ("ServiceSchedulerInitiated", f"Task failed ELB health checks in (target-group {TARGET_GROUP})"),
        "container health": ("ServiceSchedulerInitiated", "Task failed container health checks"),
    }
    code, reason = reasons[kind]
    assert {task["stopCode"] for task in stopped} == {code}
    assert all(task["stoppedReason"].startswith(reason) for task in stopped)
    if kind == "crash":
        assert {task["containers"][0]["exitCode"] for task in stopped} == {3}
    if kind == "health":
        unhealthy = f"(service api) (port 8000) is unhealthy in (target-group {TARGET_GROUP}) due to "
        assert unhealthy + "(reason Health checks failed)" in messages


def test_a_bad_release_without_rollback_fails_and_leaves_the_old_one(twin: Twin) -> None:
    settings = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    twin.create(twin.register("serve"), 1, deploymentConfiguration=settings)
    twin.completed()
    twin.update(taskDefinition=twin.register("exit", "1"))
    service = twin.until(lambda: (found := twin.service())["deployments"][0]["rolloutState"] == "FAILED" and found)
    assert service["deployments"][0]["rolloutStateReason"] == ("ECS deployment circuit breaker: tasks failed to start.")
    assert service["deployments"][0]["failedTasks"] == 3
    assert (service["deployments"][1]["status"], service["deployments"][1]["runningCount"]) == ("ACTIVE", 1)
    assert twin.attempts()[0]["status"] == "STOPPED"
    started = len(twin.runtime.specs)
    twin.update(desiredCount=0)
    twin.until(lambda: twin.service()["runningCount"] == 0)
    twin.update(desiredCount=2)
    good = twin.register("serve")
    twin.update(taskDefinition=good)
    twin.completed(good)
    assert len(twin.runtime.specs) == started + 2


def test_a_first_deployment_that_fails_has_nothing_to_roll_back_to(twin: Twin) -> None:
    twin.create(twin.register("exit", "1"), 1)
    attempt = twin.until(lambda: (found := twin.attempts()[0])["status"] == "ROLLBACK_FAILED" and found)
    assert attempt["statusReason"] == "No rollback candidate was found to run the rollback."
    assert twin.service()["deployments"][0]["rolloutState"] == "FAILED"
    with pytest.raises(WaiterError):
        twin.ecs.get_waiter("services_stable").wait(
            cluster="main", services=["api"], WaiterConfig={"Delay": 0.02, "MaxAttempts": 5}
        )


def test_a_newer_update_replaces_one_that_is_under_way(twin: Twin) -> None:
    twin.create(twin.register("serve"), 1)
    twin.completed()
    twin.update(taskDefinition=twin.register("deaf"), healthCheckGracePeriodSeconds=600)
    twin.until(lambda: len(twin.tasks()) == 2)
    third = twin.register("serve")
    twin.update(taskDefinition=third)
    twin.completed(third)
    assert [item["status"] for item in twin.attempts()] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_an_equal_task_definition_makes_no_deployment_but_force_does(twin: Twin) -> None:
    definition = twin.register("serve")
    first = twin.create(definition, 1)["deployments"][0]["id"]
    twin.completed()
    answer = twin.update(taskDefinition=definition, deploymentConfiguration={"maximumPercent": 150})
    assert [item["id"] for item in answer["deployments"]] == [first]
    assert answer["deploymentConfiguration"]["maximumPercent"] == 150
    assert answer["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] is True
    twin.update(deploymentConfiguration={"maximumPercent": 200})
    forced = twin.update(forceNewDeployment=True)
    assert forced["deployments"][0]["id"] != first
    assert twin.completed()["deployments"][0]["id"] == forced["deployments"][0]["id"]


def test_scaling_changes_the_count_within_the_same_deployment(twin: Twin) -> None:
    first = twin.create(twin.register("serve"), 1)["deployments"][0]["id"]
    twin.completed()
    twin.update(desiredCount=3)
    twin.until(lambda: twin.service()["runningCount"] == 3)
    twin.update(desiredCount=0)
    service = twin.until(lambda: (found := twin.service())["runningCount"] == 0 and not twin.tasks() and found)
    assert [item["id"] for item in service["deployments"]] == [first]


def test_a_task_whose_target_turns_bad_later_is_replaced(twin: Twin) -> None:
    twin.create(twin.register("serve"), 2)
    twin.completed()
    victim = twin.tasks()[0]
    running = next(
        item.running
        for task in twin.plane.store.tasks.values()
        if task.arn == victim["taskArn"]
        for item in task.containers
    )
    assert running is not None
    running.kill()
    assert twin.stopped(victim["taskArn"])["containers"][0]["exitCode"] == 137
    twin.until(lambda: twin.service()["runningCount"] == 2 and twin.targets.healthy() == 2)
    assert twin.service()["deployments"][0]["rolloutState"] == "COMPLETED"


@pytest.mark.parametrize("stop_type", ["ROLLBACK", "ABORT"])
def test_a_user_can_stop_a_deployment(twin: Twin, stop_type: str) -> None:
    good = twin.register("serve")
    twin.create(good, 1)
    twin.completed()
    twin.update(taskDefinition=twin.register("deaf"), healthCheckGracePeriodSeconds=6000)
    attempt = twin.until(lambda: (found := twin.attempts()[0])["status"] == "IN_PROGRESS" and found)
    twin.ecs.stop_service_deployment(serviceDeploymentArn=attempt["serviceDeploymentArn"], stopType=stop_type)
    if stop_type == "ROLLBACK":
        twin.completed(good)
        assert twin.attempts()[0]["status"] == "ROLLBACK_SUCCESSFUL"
    else:
        twin.until(lambda: twin.attempts()[0]["status"] == "STOPPED")
        assert twin.service()["deployments"][0]["rolloutState"] == "FAILED"
    with pytest.raises(twin.ecs.exceptions.ConflictException):
        twin.ecs.stop_service_deployment(serviceDeploymentArn=attempt["serviceDeploymentArn"])


def test_no_capacity_is_told_and_counted_and_over_when_capacity_is_back(twin: Twin) -> None:
    twin.plane.capacity = lambda: False
    twin.create(twin.register("serve"), 1, deploymentConfiguration={})
    twin.until(lambda: any("was unable to place a task" in message for message in twin.messages()))
    assert twin.service()["deployments"][0]["failedTasks"] >= 1
    twin.plane.capacity = lambda: True
    twin.completed()


def test_deletion_drains_and_frees_the_name(twin: Twin) -> None:
    definition = twin.register("serve")
    twin.create(definition, 1)
    twin.completed()
    with pytest.raises(ClientError, match="scaled above 0"):
        twin.ecs.delete_service(cluster="main", service="api")
    assert twin.ecs.delete_service(cluster="main", service="api", force=True)["service"]["status"] == "DRAINING"
    with pytest.raises(ClientError, match="still Draining"):
        twin.create(definition, 1)
    twin.ecs.get_waiter("services_inactive").wait(
        cluster="main", services=["api"], WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
    )
    with pytest.raises(twin.ecs.exceptions.ServiceNotActiveException):
        twin.update(desiredCount=1)
    assert twin.ecs.list_services(cluster="main")["serviceArns"] == []
    assert twin.targets.addresses() == []
    twin.create(definition, 1)
    twin.completed()


def test_many_callers_at_once(twin: Twin) -> None:
    definition = twin.register("serve")
    twin.create(definition, 1)
    problems: list[Exception] = []

    def work(number: int) -> None:
        ecs = client(twin.port)
        try:
            for _ in range(5):
                ecs.describe_services(cluster="main", services=["api"])
                ecs.register_task_definition(
                    family=f"f{number % 2}", containerDefinitions=[{"name": "a", "image": "b", "memory": 1}]
                )
                ecs.list_tasks(cluster="main")
                ecs.update_service(cluster="main", service="api", desiredCount=1 + number % 2)
        except Exception as error:  # noqa: BLE001 - a thread's top: the test shows it
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    for family in ("f0", "f1"):
        arns = twin.ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]
        assert [arn.rpartition(":")[2] for arn in arns] == [str(number) for number in range(1, 16)]
    twin.completed()


def test_what_the_twin_does_not_do_says_so(twin: Twin) -> None:
    definition = twin.register("serve")
    with pytest.raises(ClientError, match="CANARY yet"):
        twin.create(definition, deploymentConfiguration={"strategy": "CANARY"})
    with pytest.raises(ClientError, match="CODE_DEPLOY yet"):
        twin.create(definition, deploymentController={"type": "CODE_DEPLOY"})
    with pytest.raises(ClientError, match="does not do ecs's CreateTaskSet"):
        twin.ecs.create_task_set(cluster="main", service="api", taskDefinition=definition)


def test_errors_of_services(twin: Twin) -> None:
    definition = twin.register("serve")
    errors = twin.ecs.exceptions
    with pytest.raises(errors.ClusterNotFoundException):
        twin.ecs.describe_services(cluster="none", services=["api"])
    with pytest.raises(errors.ServiceNotFoundException):
        twin.update(desiredCount=1)
    with pytest.raises(errors.ClientException, match="TaskDefinition not found"):
        twin.create("none:1")
    with pytest.raises(errors.InvalidParameterException, match="will block deployments"):
        twin.create(definition, deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 100})
    with pytest.raises(errors.InvalidParameterException, match="container port 9"):
        balancers = [{"targetGroupArn": TARGET_GROUP, "containerName": "api", "containerPort": 9}]
        twin.create(definition, loadBalancers=balancers)
    with pytest.raises(errors.InvalidParameterException, match="Network Configuration must be provided"):
        twin.ecs.create_service(cluster="main", serviceName="api", taskDefinition=definition)
    with pytest.raises(errors.InvalidParameterException, match="more than 10"):
        twin.ecs.describe_services(cluster="main", services=[str(n) for n in range(11)])
    missing = twin.ecs.describe_services(cluster="main", services=["ghost"])["failures"]
    assert missing == [{"arn": "arn:aws:ecs:ap-northeast-2:123456789012:service/main/ghost", "reason": "MISSING"}]
    twin.create(definition, 0)
    with pytest.raises(errors.InvalidParameterException, match="not idempotent"):
        twin.create(definition, 0)


def test_a_target_group_that_is_missing_fails_the_task(twin: Twin, caplog: Any) -> None:
    twin.targets.missing.add(TARGET_GROUP)
    with caplog.at_level("CRITICAL"):
        twin.create(twin.register("serve"), 1)
        twin.until(lambda: any("failed to register targets" in message for message in twin.messages()))
        twin.until(lambda: twin.service()["deployments"][0]["rolloutState"] == "FAILED")


def test_tasks_that_run_for_a_moment_and_crash_trip_the_breaker_too(twin: Twin) -> None:
    good = twin.register("serve")
    twin.create(good, 1, targets=False)
    twin.completed()
    bad = twin.register("exit", "1", "0.1")
    twin.update(taskDefinition=bad)
    twin.completed(good)
    stopped = [task for task in twin.tasks("STOPPED") if task["taskDefinitionArn"] == bad]
    assert len(stopped) >= 3
    assert twin.attempts()[0]["status"] == "ROLLBACK_SUCCESSFUL"


def test_a_task_serves_until_its_target_is_drained(twin: Twin) -> None:
    twin.targets.drain_s = 0.8
    twin.create(twin.register("serve"), 1)
    twin.completed()
    arn = twin.tasks()[0]["taskArn"]
    twin.update(desiredCount=0)
    twin.until(lambda: twin.task(arn)["lastStatus"] == "DEACTIVATING")

    def ended() -> bool:
        over = twin.runtime.running() == 0
        # Read after: a target that is still there now was there when the container ended.
        assert not (over and twin.targets.addresses())
        return over

    twin.until(ended)
    assert twin.stopped(arn)["containers"][0]["exitCode"] == 0


@pytest.mark.parametrize("runs", [True, False], ids=["a task that ends", "a task that never starts"])
def test_only_tasks_that_never_ran_slow_a_service_down(twin: Twin, runs: bool) -> None:
    bad = twin.register("exit", "1") if runs else twin.register("serve", image="missing/api:1")
    twin.create(
        bad,
        1,
        targets=False,
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": False, "rollback": False}},
    )
    twin.until(lambda: twin.service()["deployments"][0]["failedTasks"] >= 5)
    slowed = "(service api) is unable to consistently start tasks successfully."
    assert (slowed in twin.messages()) is not runs
