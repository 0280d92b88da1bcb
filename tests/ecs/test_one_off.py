"""One-off tasks against the twin's ECS: exit codes, lines, deadlines, Ctrl-C, lost answers, secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from werkzeug.serving import make_server

from gli_tasks.ecs.one_off import OneOff, Placement, placement_of, require_no_secrets, require_success, run_once
from gli_tasks.errors import AwsCallFailed, CommandFailed, Interrupted, Refused, UsageError
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.wire import Gateway
from tests.ecs.stack_parts import GROUP, NETWORK, Stack
from tests.floor_parts import REGION


def placed(definition: str) -> Placement:
    return Placement("shop-cluster", definition, {"launchType": "FARGATE", "networkConfiguration": NETWORK})


def run(cloud: Stack, *command: str, definition: str = "", lines: list[str] | None = None, **changes: Any) -> OneOff:
    options: dict[str, Any] = {
        "container": "api",
        "command": command,
        "environment": {},
        "timeout_s": 20,
        "poll_s": 0.05,
        "on_line": (lines if lines is not None else []).append,
        **changes,
    }
    ecs = options.pop("ecs", cloud.ecs)
    return run_once(ecs, cloud.logs, placed(definition or cloud.register("serve")), **options)


def test_a_command_runs_to_its_end_with_its_lines_and_its_exit_code(cloud: Stack) -> None:
    lines: list[str] = []
    done = run(cloud, "print", "one", "two", "three", lines=lines)
    assert (done.exit_code, lines, done.log_tail) == (0, ["one", "two", "three"], ("one", "two", "three"))
    assert done.seconds > 0
    require_success(done)
    (task,) = cloud.tasks("STOPPED")
    assert task["taskArn"].endswith(done.task)
    assert task["startedBy"].startswith("one-off-")


def test_lines_come_while_the_task_runs(cloud: Stack) -> None:
    seen: list[tuple[str, int]] = []
    stop = threading.Event()

    def on_line(line: str) -> None:
        seen.append((line, len(cloud.tasks())))
        stop.set()

    with pytest.raises(Interrupted):
        run(cloud, "serve", on_line=on_line, stop=stop.is_set)
    assert seen == [("serving", 1)]


def test_another_exit_code_fails_with_code_reason_and_last_lines(cloud: Stack) -> None:
    done = run(cloud, "exit", "3")
    assert done.exit_code == 3
    with pytest.raises(CommandFailed) as caught:
        require_success(done)
    assert caught.value.returncode == 3
    assert f"task {done.task} ended with exit code 3: Essential container in task exited" in str(caught.value)
    assert "    ends with 3" in str(caught.value)
    assert "read the log" in caught.value.remedy


def test_a_task_that_never_starts_says_why(cloud: Stack) -> None:
    done = run(cloud, definition=cloud.register("serve", image="missing/api:1"))
    assert done.exit_code is None
    with pytest.raises(CommandFailed, match=r"never started: .*CannotPullContainerError") as caught:
        require_success(done)
    assert "pushed and not pruned" in caught.value.remedy


def test_environment_and_size_are_given_and_the_image_keeps_its_command(cloud: Stack) -> None:
    lines: list[str] = []
    definition = cloud.register("env", "GREETING", environment=[{"name": "GREETING", "value": "old"}])
    run(cloud, definition=definition, environment={"GREETING": "new"}, lines=lines, cpu="512", memory="2048")
    assert lines == ["new"]
    (task,) = cloud.tasks("STOPPED")
    assert (task["cpu"], task["memory"]) == ("512", "2048")


def test_after_its_deadline_the_task_is_stopped(cloud: Stack) -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s; task [0-9a-f]{32} was stopped"):
        run(cloud, "deaf", timeout_s=0.5)
    assert cloud.tasks() == []
    (task,) = cloud.tasks("STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "did not end within 0.5 s")


def test_ctrl_c_stops_the_task_and_says_so(cloud: Stack) -> None:
    def press(_seconds: float) -> None:
        raise KeyboardInterrupt

    presses = iter([press])

    def sleep(seconds: float) -> None:
        next(presses, lambda _s: threading.Event().wait(_s))(seconds)

    with pytest.raises(Interrupted, match=r"stopped by Ctrl-C; task [0-9a-f]{32} was stopped"):
        run(cloud, "deaf", sleep=sleep)
    assert cloud.tasks() == []


def test_a_second_ctrl_c_does_not_wait_for_the_task_s_end(cloud: Stack) -> None:
    def sleep(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="was told to stop, and is not seen to have done so"):
        run(cloud, "deaf", sleep=sleep)
    cloud.until(lambda: cloud.tasks() == [])


def test_no_capacity_is_said_and_nothing_runs(cloud: Stack) -> None:
    cloud.plane.capacity = lambda: False
    with pytest.raises(AwsCallFailed, match="ECS started no task: Capacity is unavailable"):
        run(cloud, "exit", "0")


def test_a_container_that_is_not_there_is_refused_before_anything_runs(cloud: Stack) -> None:
    with pytest.raises(UsageError, match="has no container 'web'") as caught:
        run(cloud, "exit", "0", container="web")
    assert caught.value.remedy == "its containers: api"
    assert cloud.tasks() == []


def test_without_its_log_a_task_still_runs_to_its_end(cloud: Stack) -> None:
    lines: list[str] = []
    definition = cloud.register("exit", "0", "0.3")
    cloud.logs.delete_log_group(logGroupName=GROUP)
    try:
        done = run(cloud, definition=definition, lines=lines)
    finally:
        cloud.logs.create_log_group(logGroupName=GROUP)
    assert done.exit_code is None
    assert lines == [f"(its log cannot be read: there is no log group {GROUP!r})"]


def test_where_a_service_runs_is_copied_from_it(cloud: Stack) -> None:
    definition = cloud.register("serve")
    cloud.serve(definition)
    placement = placement_of(cloud.ecs, "shop-cluster", "shop-api")
    assert placement.task_definition == definition
    assert placement.request == {
        "networkConfiguration": NETWORK,
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
    }
    # While a bad rollout is under way, it is the version that serves that is run.
    cloud.ecs.update_service(
        cluster="shop-cluster", service="shop-api", taskDefinition=cloud.register("serve", image="missing/api:1")
    )
    assert placement_of(cloud.ecs, "shop-cluster", "shop-api").task_definition == definition


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (["psql", "postgres://app:hunter2x@db/gli"], {}),
        (["migrate", "--password", "hunter2x"], {}),
        (["migrate", "--db-password=hunter2x"], {}),
        ([], {"PGPASSWORD": "hunter2x"}),
        ([], {"API_KEY": "hunter2x"}),
        ([], {"DATABASE_URL": "postgres://app:hunter2x@db/gli"}),
    ],
)
def test_secrets_are_not_put_where_everyone_reads_them(
    cloud: Stack, command: list[str], environment: dict[str, str]
) -> None:
    with pytest.raises(Refused) as caught:
        run(cloud, *command, environment=environment)
    assert "hunter2x" not in str(caught.value)
    assert cloud.runtime.specs == []


def test_references_and_plain_words_are_no_secrets() -> None:
    require_no_secrets(
        ["migrate", "--secret=aws-sm:gli/db#password", "arn:aws:secretsmanager:x:1:secret:gli/db:password::"],
        {"DB_SECRET": "gli/db/production", "LEVEL": "debug"},
    )


class Flaky:
    """A gateway that loses answers: it lets a call through, and answers 500 in its place."""

    def __init__(self, gateway: Gateway, operation: str, times: int) -> None:
        self._gateway, self._operation, self._left = gateway, operation, times

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]
        answer = self._gateway(environ, start_response)
        if asked != self._operation or not self._left:
            return answer
        self._left -= 1
        return self._fail(environ, start_response)

    def _fail(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("500 Internal Server Error", [("Content-Length", "2")])
        return [b"{}"]


@pytest.fixture
def losing(cloud: Stack) -> Iterator[Any]:
    """Make clients whose answers of one operation are lost so many times."""
    servers, clients = [], []

    def nothing_behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return []

    def make(operation: str, times: int, attempts: int) -> Any:
        gateway = Flaky(Gateway(nothing_behind, [EcsService(cloud.plane)]), operation, times)
        server = make_server("127.0.0.1", 0, gateway, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        servers.append((server, thread))
        clients.append(
            boto3.client(
                "ecs",
                region_name=REGION,
                endpoint_url=f"http://127.0.0.1:{server.server_port}",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    for server, thread in servers:
        server.shutdown()
        thread.join(5)
        server.server_close()


@pytest.mark.parametrize(("times", "attempts"), [(1, 3), (2, 2)], ids=["sent again", "found by who started it"])
def test_a_lost_answer_to_run_task_starts_nothing_twice(cloud: Stack, losing: Any, times: int, attempts: int) -> None:
    done = run(cloud, "exit", "0", ecs=losing("RunTask", times, attempts))
    assert done.exit_code == 0
    assert len(cloud.tasks("STOPPED")) == 1
    assert len(cloud.runtime.specs) == 1


def test_a_task_that_cannot_be_seen_any_more_is_named(cloud: Stack, losing: Any) -> None:
    with pytest.raises(
        AwsCallFailed, match=r"task [0-9a-f]{32} cannot be followed any further, and may run on"
    ) as caught:
        run(cloud, "deaf", ecs=losing("DescribeTasks", 99, 1))
    assert "aws ecs describe-tasks --cluster shop-cluster --tasks" in caught.value.remedy
    assert len(cloud.tasks()) == 1


def test_a_moment_of_blindness_is_no_end(cloud: Stack, losing: Any) -> None:
    assert run(cloud, "exit", "0", ecs=losing("DescribeTasks", 3, 1)).exit_code == 0
