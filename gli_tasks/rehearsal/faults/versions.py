"""Faults of the new version, and of what it needs to run. Times are AWS's seconds."""

from __future__ import annotations

from gli_tasks.rehearsal.faults.fault import Fault, Own, Promise, Serving


def _fails(*cause: str, own: Own | None = None) -> Promise:
    return Promise(1, Serving.OLD, cause=cause, own=own or Own())


VERSION_FAULTS = (
    Fault(
        "bad-image",
        "the new image cannot be pulled",
        _fails("CannotPullContainerError"),
        twin={"unpullable": True},
    ),
    Fault(
        "crash-at-start",
        "the new version's container exits at once",
        _fails("exited with 1"),
        version={"CRASH_AT_START": 1},
    ),
    Fault(
        "crash-after-a-minute",
        "each task of the new version crashes about a minute after it was asked for, when it serves already",
        # Its tasks took the old ones' place before they crashed, so nobody serves until the rollback's tasks do.
        _fails("exited with 1", own=Own("none", 120)),
        # Fargate takes some ten seconds to give a task its place, and an image some more to be pulled.
        version={"CRASH_AFTER_S": 45},
    ),
    Fault(
        "health-check-never-passes",
        "the new version answers its health check with 503",
        _fails("health checks"),
        version={"HEALTH_FAILS": 1},
    ),
    Fault(
        "slow-start-within-grace",
        "the new version takes half a minute to start; the grace period is 60 s",
        Promise(0, Serving.NEW),
        version={"START_DELAY_S": 30},
    ),
    Fault(
        "slow-start-beyond-grace",
        "the new version takes ten minutes to start; the grace period is 60 s",
        _fails("health checks"),
        version={"START_DELAY_S": 600},
    ),
    Fault(
        "new-version-answers-500",
        "the new version answers everything with 500, while its container's own health check passes",
        _fails("ELB health checks"),
        version={"REQUESTS_FAIL_AFTER_S": 0},
    ),
    Fault(
        "no-capacity",
        "Fargate has no capacity for a new task",
        _fails("Capacity is unavailable"),
        twin={"no_capacity": True},
    ),
    Fault(
        "secret-missing",
        "the database's secret lacks the keys that the new task definition names",
        _fails("holds no key"),
        secret_keys=("url", "password"),
    ),
    Fault(
        "secret-lost-meanwhile",
        "the database's secret loses those keys after it was looked at",
        _fails("ResourceInitializationError", "did not contain json key"),
        secret_keys=("url", "password"),
        when="ecs.register",
    ),
)
