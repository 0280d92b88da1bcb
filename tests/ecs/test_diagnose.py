"""A cause for everything that AWS documents, by the words that AWS writes; and never none."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli_tasks.ecs.causes import CAUSES, Cause
from gli_tasks.ecs.diagnose import (
    Log,
    Symptoms,
    TargetFacts,
    diagnose,
    enough_to_give_up,
    is_trouble,
    repeated_failure,
)
from gli_tasks.ecs.plan import Balanced, Deployment, Event, ServiceFacts, TaskFacts
from tests.ecs.diagnose_cases import (
    CASES,
    ECR,
    ELB_FAILED,
    EXITED,
    NO_SECRET,
    RUNTIME,
    TARGET_GROUP,
    Case,
    crashed,
    failed_checks,
    pull,
    stopped,
    twice,
)


def cause_of(diagnosed: str) -> str:
    """Return the name of the cause whose sentence this is."""
    found = [one for one in CAUSES if _begins_like(one, diagnosed)]
    return max(found, key=lambda one: len(one.sentence)).name if found else ""


def _begins_like(cause: Cause, text: str) -> bool:
    parts = [part for part in cause.sentence.replace("{", "}").split("}")[::2] if part]
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.cause} | {case.source}")
def test_what_aws_writes_becomes_its_cause_and_the_next_step(case: Case) -> None:
    found = diagnose(case.symptoms)
    assert cause_of(found.cause) == case.cause
    assert case.sentence in found.cause
    assert case.next_step in found.next_step
    assert "{" not in found.cause + found.next_step


def test_every_cause_of_the_table_is_reached() -> None:
    assert {case.cause for case in CASES} == {cause.name for cause in CAUSES}


def test_every_cause_names_its_page_and_its_fields_can_be_filled() -> None:
    known = {"exited", "line", "port", "listens", "grace", "role", "status", "key", "quota", "why", "target_reason"}
    for cause in CAUSES:
        assert cause.page
        assert cause.text or cause.log
        fields = {name for _, name, _, _ in string.Formatter().parse(cause.sentence + cause.next_step) if name}
        assert fields <= known


def test_the_more_specific_of_several_causes_wins() -> None:
    breaker = ("(service api) is unable to consistently start tasks successfully.",)
    found = diagnose(replace(pull("ref pull has been retried: not found"), events=breaker, rollout="circuit breaker"))
    assert "no such image" in found.cause
    crash = Symptoms(
        stopped=crashed(1), events=breaker, rollout="ECS deployment circuit breaker: tasks failed to start."
    )
    assert "api exited with 1" in diagnose(crash).cause


def test_most_tasks_speak_first_and_our_own_faults_before_the_worlds() -> None:
    spot = [
        stopped("Your Spot Task was interrupted.", "SpotInterruption", {"api": 143}, name=f"s{n}") for n in range(5)
    ]
    assert "api exited with 1" in diagnose(Symptoms(stopped=(*spot, *crashed(1)))).cause
    mixed = (*crashed(1), *twice("CannotPullContainerError: i/o timeout")[:1])
    assert "api exited with 1" in diagnose(Symptoms(stopped=mixed)).cause


def test_a_crash_is_no_health_check_though_its_target_is_ill_too() -> None:
    ill = failed_checks("Target.FailedHealthChecks", "Health checks failed")
    assert "api exited with 1" in diagnose(replace(ill, stopped=crashed(1))).cause


@pytest.mark.parametrize(
    ("status", "line"),
    [("503", "workers:12 ready redis://cache:6379"), ("404", "metrics listening on port 9090")],
)
def test_a_target_that_answers_listens_where_it_is_asked(status: str, line: str) -> None:
    words = f"Health checks failed with these codes: [{status}]"
    found = diagnose(failed_checks("Target.ResponseCodeMismatch", words, log=(line,)))
    assert f"answers them with {status}" in found.cause
    own = diagnose(failed_checks("Elb.InternalError", "Health checks failed due to an internal error", log=(line,)))
    assert "Elb.InternalError" in own.cause


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("ready: connected to redis://cache:6379", ""),
        ("ready: connected to redis://:hidden@localhost:6379/0", ""),
        ("started with database db-1.internal:5432", ""),
        ("server ready, upstream https://api.example.com:8443/v1", ""),
        ("Listening at: http://0.0.0.0:3000 (1)", "3000"),
        ("ready - started server on 0.0.0.0:3000, url: http://localhost:3000", "3000"),
        ("running on http://[::]:3000", "3000"),
        ("ready on localhost:3000", "3000"),
        ("listening on *:3000, cache at redis://cache:6379", "3000"),
        ("server started on :3000", "3000"),
        ("listening port:3000", "3000"),
        ("listening:3000", "3000"),
        ("Started on 10.0.1.5:3000", "3000"),
    ],
)
def test_only_the_ports_that_the_program_itself_opens_count(line: str, port: str) -> None:
    found = diagnose(failed_checks("Target.Timeout", "Request timed out", log=(line,)))
    assert (cause_of(found.cause) == "port-mismatch") is bool(port)
    assert f"listens on port {port}," in found.cause or not port


def test_a_target_alone_explains_a_rollout_that_is_only_late() -> None:
    late = replace(failed_checks("Target.Timeout", "Request timed out"), stopped=(), events=())
    assert "Target.Timeout" in diagnose(late).cause


def test_what_nobody_knows_is_told_raw_and_in_order() -> None:
    symptoms = Symptoms(
        stopped=(stopped("Something new", "Surprise"), stopped("Another thing", "Surprise")),
        events=("(service api) has turned blue.",),
    )
    found = diagnose(symptoms)
    assert "Something new; Another thing; (service api) has turned blue." in found.cause
    assert found.next_step
    nothing = diagnose(Symptoms(rollout="1/2 running, 1 starting"))
    assert "1/2 running, 1 starting" in nothing.cause
    assert "timed out" not in nothing.cause


def test_the_evidence_holds_what_the_cause_is_made_of() -> None:
    symptoms = replace(
        failed_checks("Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        log=Log("/ecs/api ecs/api/t2", tuple(f"line {number}" for number in range(30))),
        rollout="ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/0.",
        unread=("the running tasks: AWS refused",),
    )
    assert diagnose(symptoms).evidence == (
        f"stopped: 2 × {ELB_FAILED}",
        "rollout: ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/0.",
        "target 10.0.1.5:8000 unhealthy: Target.ResponseCodeMismatch, Health checks failed with these codes: [503]",
        "log /ecs/api ecs/api/t2:",
        *(f"  | line {number}" for number in range(20, 30)),
        "event: (service api) (port 8000) is unhealthy in (target-group "
        f"{TARGET_GROUP}) due to (reason Health checks failed "
        "with these codes: [503])",
        "not read: the running tasks: AWS refused",
    )


@pytest.mark.parametrize(
    ("tasks", "repeated"),
    [
        (crashed(1), True),
        (crashed(1)[:1], False),
        ((*crashed(1)[:1], *crashed(2)[:1]), False),
        (twice("CannotPullContainerError: not found"), True),
        (twice(ELB_FAILED, "ServiceSchedulerInitiated", {"api": 137}), True),
        (
            (
                stopped(EXITED.replace("task", "task 0123456789ab"), "EssentialContainerExited", {"api": 1}),
                stopped(EXITED.replace("task", "task ba9876543210"), "EssentialContainerExited", {"api": 1}),
            ),
            True,
        ),
        # However a task ended after ECS had decided to stop it, it was stopped for the same reason.
        (
            (
                stopped(ELB_FAILED, "ServiceSchedulerInitiated", {"api": 137}),
                stopped(ELB_FAILED, "ServiceSchedulerInitiated", {"api": 0}),
            ),
            True,
        ),
        (twice("Task failed to start", "TaskFailedToStart", {}, RUNTIME + "exec: x: executable file not found"), True),
        (twice(NO_SECRET + "unexpected ARN format with parameters when trying to retrieve ASM secret"), True),
        (twice(NO_SECRET + "invalid parameters: /gli/x"), True),
        (twice("Something new", "TaskFailedToStart"), False),
        (twice("Something new", "EssentialContainerExited"), True),
        (twice("Something new", "ServiceSchedulerInitiated"), False),
        (twice("Scaling activity initiated by (deployment ecs-svc/2)", "ServiceSchedulerInitiated", {"api": 0}), False),
        (twice("Task stopped by user", "UserInitiated", {"api": 143}), False),
        (twice("Your Spot Task was interrupted.", "SpotInterruption", {"api": 143}), False),
        (twice("Timeout waiting for network interface provisioning to complete."), False),
        ((), False),
    ],
)
def test_two_of_one_kind_are_a_repetition_and_one_is_an_accident(tasks: tuple[TaskFacts, ...], repeated: bool) -> None:
    assert (len(repeated_failure(Symptoms(stopped=tasks), 2)) >= 2) is repeated
    assert repeated_failure(Symptoms(stopped=tasks), 0) == ()
    assert repeated_failure(Symptoms(stopped=tasks), 3) == ()


NOT_OURS = (
    ("image-unreachable", pull(f'failed to do request: Head "https://{ECR}/v2/x": dial tcp 1.2.3.4:443: i/o timeout')),
    (
        "registry-failed",
        pull(f"failed to resolve ref x: unexpected status from HEAD request to https://{ECR}: 503 Service Unavailable"),
    ),
    ("registry-failed", pull("failed to resolve ref x: 500 Internal Server Error")),
    ("registry-failed", pull("failed to copy: httpReadSeeker: failed open: unexpected status code: 502 Bad Gateway")),
    ("image-layers", pull("failed to copy: httpReadSeeker: failed open: dial tcp 1.2.3.4:443: i/o timeout")),
    ("image-rate-limit", pull("unexpected status code 429 Too Many Requests - toomanyrequests: slow down")),
    ("image-rate-limit", pull("failed to resolve ref x: ThrottlingException: Rate exceeded")),
    ("image-unpullable", pull("something that AWS has not written before")),
    (
        "secrets-unreachable",
        "ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve ecr registry auth: "
        'RequestError: send request failed caused by: Post "https://api.ecr.x/": dial tcp 1.2.3.4:443: i/o timeout',
    ),
    (
        "secrets-unreachable",
        NO_SECRET + "There is a connection issue between the task and AWS Secrets Manager. operation error Secrets "
        "Manager: GetSecretValue, https response error StatusCode: 0, RequestID: , canceled, context deadline exceeded",
    ),
    ("secrets-unreachable", "ResourceInitializationError: failed to validate logger args: : signal: killed"),
    ("secrets-throttled", NO_SECRET + "failed to fetch secret x: ThrottlingException: Rate exceeded"),
    (
        "secrets-service-failed",
        NO_SECRET + "failed to fetch secret x: InternalServiceError: An error occurred on the server side",
    ),
    ("secrets-service-failed", NO_SECRET + "https response error StatusCode: 503, RequestID: x"),
    ("volume", "ResourceInitializationError: failed to invoke EFS utils commands: mount.nfs4: Connection timed out"),
    ("initialization", "ResourceInitializationError: failed to initialize something new"),
    (
        "throttled",
        "Unexpected EC2 error while attempting to Create Network Interface in subnet 'subnet-0': RequestLimitExceeded",
    ),
    ("no-storage", "Timeout waiting for EphemeralStorage provisioning to complete."),
    ("aws-internal", "Timeout waiting for agent"),
    ("aws-internal", "Internal error"),
    ("runtime-timeout", "ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 1m"),
    ("cannot-start", "CannotInspectContainerError: something that AWS has not written before"),
    ("balancer-error", failed_checks("Elb.InternalError", "Health checks failed due to an internal error")),
    ("", "Something that AWS has not written before"),
)


@pytest.mark.parametrize(("cause", "seen"), NOT_OURS)
def test_what_is_no_fault_of_the_version_never_ends_a_rollout_early(cause: str, seen: Symptoms | str) -> None:
    symptoms = seen if isinstance(seen, Symptoms) else Symptoms(stopped=twice(seen))
    assert repeated_failure(symptoms, 2) == ()
    found = diagnose(symptoms)
    assert cause_of(found.cause) == cause
    assert symptoms.stopped[0].stopped_reason in "".join(found.evidence)
    # A fault of the version beside it speaks first.
    assert repeated_failure(replace(symptoms, stopped=(*symptoms.stopped, *crashed(1))), 2) == crashed(1)


def test_a_balancers_own_error_is_told_from_the_versions_by_the_targets() -> None:
    ill = failed_checks("Elb.InternalError", "Health checks failed due to an internal error")
    assert repeated_failure(replace(ill, targets=(), events=()), 2)
    wrong = failed_checks("Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]")
    assert repeated_failure(wrong, 2)


@pytest.mark.parametrize(
    ("desired", "enough"), [(0, 2), (1, 2), (2, 2), (20, 2), (21, 3), (30, 3), (95, 10), (100, 10), (5_000, 10)]
)
def test_a_large_service_needs_more_than_two(desired: int, enough: int) -> None:
    assert enough_to_give_up(desired) == enough


BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def service(*messages: str, **changes: Any) -> ServiceFacts:
    values = {"desired": 2, "pending": 0, "running": 0, "failed_tasks": 0, **changes}
    mine = Deployment("ecs-svc/1", "PRIMARY", "api:8", "IN_PROGRESS", "", created_at=BEGUN, **values)
    history = tuple(Event(f"{number} {message}", BEGUN, message) for number, message in enumerate(messages))
    return ServiceFacts("api", "ACTIVE", "api:8", 2, 2, 0, (mine,), messages, history)


ROUTINE = (
    "(service api) has started 2 tasks: (task a) (task b).",
    f"(service api) registered 2 targets in (target-group {TARGET_GROUP})",
    "(service api) has begun draining connections on 2 tasks.",
    f"(service api) deregistered 2 targets in (target-group {TARGET_GROUP})",
    "(service api) has stopped 2 running tasks: (task c) (task d).",
    "(service api) (deployment ecs-svc/1) deployment completed.",
    "(service api) has reached a steady state.",
)


def test_a_healthy_rollout_is_never_looked_into() -> None:
    before = None
    for count, running in enumerate((0, 0, 1, 2, 2, 2, 2, 2)):
        now = service(*ROUTINE[:count], running=running, pending=2 - running)
        assert not is_trouble(before, now, "ecs-svc/1")
        before = now


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (service(), service(failed_tasks=1)),
        (None, service(failed_tasks=1)),
        (service(running=2), service(running=1)),
        # A task that crashed once it ran is no failed task to ECS, but another one had to be started in its place.
        (service(*ROUTINE[:1]), service(*ROUTINE[:1], "(service api) has started 1 tasks: (task c).", pending=2)),
        (service(), service("(service api) is unable to consistently start tasks successfully.")),
        (service(), replace(service(), deployments=())),
    ],
)
def test_trouble_is_seen_at_once(before: ServiceFacts | None, now: ServiceFacts) -> None:
    assert is_trouble(before, now, "ecs-svc/1")


def test_more_tasks_for_more_load_are_no_trouble() -> None:
    scaled = service(
        *ROUTINE[:1], "(service api) has started 3 tasks: (task c) (task d) (task e).", desired=5, pending=5
    )
    assert not is_trouble(service(*ROUTINE[:1]), scaled, "ecs-svc/1")


WORDS = st.sampled_from(
    [
        *(case.symptoms.stopped[0].stopped_reason for case in CASES if case.symptoms.stopped),
        *(case.symptoms.events[0] for case in CASES if case.symptoms.events),
        "",
        "exec format error",
        "listening on port 9",
        "listening on :99999999",
        "{why} {exited} {0} %s",
        "timed out",
    ]
)
TEXT = WORDS | st.text(max_size=40)
MOMENT = st.none() | st.datetimes(timezones=st.just(UTC))
TASKS = st.builds(
    TaskFacts,
    id=st.text("abc", min_size=1, max_size=3),
    task_definition=TEXT,
    started_by=TEXT,
    last_status=st.sampled_from(["STOPPED", "RUNNING", ""]),
    stop_code=st.sampled_from(["EssentialContainerExited", "TaskFailedToStart", "UserInitiated", "", "New"]),
    stopped_reason=TEXT,
    digests=st.just({}),
    exit_codes=st.dictionaries(st.text("ab", max_size=2), st.integers(-1, 300), max_size=2),
    reasons=st.lists(TEXT, max_size=2).map(tuple),
    address=TEXT,
    started_at=MOMENT,
    stopping_at=MOMENT,
)
SYMPTOMS = st.builds(
    Symptoms,
    stopped=st.lists(TASKS, max_size=4).map(tuple),
    log=st.none() | st.builds(Log, TEXT, st.lists(TEXT, max_size=12).map(tuple)),
    targets=st.lists(
        st.builds(
            TargetFacts, TEXT, st.integers(), st.sampled_from(["unhealthy", "initial", "unused", ""]), TEXT, TEXT
        ),
        max_size=3,
    ).map(tuple),
    events=st.lists(TEXT, max_size=4).map(tuple),
    rollout=TEXT,
    balanced=st.lists(st.builds(Balanced, TEXT, TEXT, st.integers()), max_size=2).map(tuple),
    grace_s=st.integers(0, 1_000),
    unread=st.lists(TEXT, max_size=2).map(tuple),
)


@given(SYMPTOMS)
@settings(deadline=None)
def test_no_symptoms_leave_a_rollout_without_a_cause(symptoms: Symptoms) -> None:
    found = diagnose(symptoms)
    assert found.cause.strip()
    assert found.cause.strip().lower() != "timed out"
    assert found.next_step.strip()
    assert all(line.strip() for line in found.evidence)
    repeated = repeated_failure(symptoms, 2)
    assert all(task in symptoms.stopped for task in repeated)


@given(SYMPTOMS)
@settings(deadline=None)
def test_the_same_symptoms_always_have_the_same_cause(symptoms: Symptoms) -> None:
    assert diagnose(symptoms) == diagnose(replace(symptoms))
