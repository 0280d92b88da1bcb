"""Faults of AWS's API, on each call of a release that changes something.

`microburst` stands between the release and the twin and answers in AWS's own form. What it cannot do is done by the
twin's second door: an S3 PUT has no body whose end could be lost or cut, and a session that has ended stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gli_tasks.rehearsal.faults.fault import Fault, Kept, Promise, Serving

#: Every call of a release that changes something; a test holds this against the calls of an undisturbed release.
CHANGING_CALLS = ("s3.PutObject", "ecr.PutImage", "ecs.RegisterTaskDefinition", "ecs.UpdateService")

#: Faults that one release meets on all its calls, since it goes on under them.
MET_AT_ONCE = ("aws-throttling", "aws-5xx", "aws-connection-reset", "aws-lost-reply")
#: A fault that ends the release at its first call, and so is no other than the one of that call.
FIRST_ONLY = ("aws-expired-token",)

# Each first try fails, and the one after it passes.
_FIRST_TRY: Mapping[str, Any] = {"sequence": {"fail": 1, "pass": 1}}
_GOES_ON = Promise(0, Serving.NEW)


def _rule(call: str, **what: Any) -> dict[str, Any]:
    service, operation = call.split(".")
    return {"service": service, "operation": operation, **what}


def _throttled(call: str) -> dict[str, Any]:
    code, status = ("SlowDown", 503) if call.startswith("s3.") else ("ThrottlingException", 400)
    return _rule(call, error={"code": code, "status": status, "message": "Rate exceeded"}, **_FIRST_TRY)


def _server_error(call: str) -> dict[str, Any]:
    code = "InternalError" if call.startswith("s3.") else "ServerException"
    return _rule(call, error={"code": code, "status": 500, "message": "Service failure"}, **_FIRST_TRY)


def _reset(call: str) -> dict[str, Any]:
    return _rule(call, reset=True, **_FIRST_TRY)


def _door(fault: str, call: str) -> dict[str, Any]:
    service, operation = call.split(".")
    return {"fault": fault, "service": service, "operation": operation}


def _retried(name: str, description: str, rule: Any, calls: tuple[str, ...]) -> Fault:
    return Fault(name, description, _GOES_ON, rules=tuple(rule(call) for call in calls))


def _lost_reply(name: str, calls: tuple[str, ...]) -> Fault:
    return Fault(
        name,
        "the call is carried out, and its first reply is lost",
        _GOES_ON,
        rules=tuple(
            _rule(call, response={"abort_bytes": 0}, **_FIRST_TRY) for call in calls if not call.startswith("s3.")
        ),
        twin={"door": [_door("lost-reply", call) for call in calls if call.startswith("s3.")]},
    )


def _truncated(name: str, calls: tuple[str, ...]) -> Fault:
    return Fault(
        name,
        "the call is carried out, and its answer is cut in the middle, with status 200",
        # What was done is seen by reading it back.
        _GOES_ON,
        rules=tuple(_rule(call, response={"truncate_frac": 0.5}) for call in calls if not call.startswith("s3.")),
        twin={"door": [_door("cut-head", call) for call in calls if call.startswith("s3.")]},
    )


def _ends(exit_code: int, serving: Serving = Serving.OLD) -> Promise:
    cause = ("ExpiredToken", "log in again")
    return Promise(exit_code, serving, kept=Kept.UNENDED, cause=cause, lock_left=True)


# What is promised once the session has ended, by the call with which it ends. From the rollout's order on, nobody can
# read any more what serves, so that nobody may claim that the old version does.
_EXPIRED = {
    "s3.PutObject": Promise(2, Serving.OLD, kept=Kept.NOTHING, cause=("ExpiredToken",)),
    "ecs.UpdateService": _ends(5),
}


def _expired(name: str, calls: tuple[str, ...]) -> Fault:
    return Fault(
        name,
        "the session ends: this call and every later one of any service is refused",
        _EXPIRED.get(calls[0], _ends(1)),
        twin={"door": [_door("expired", call) for call in calls]},
    )


def _faults(suffix: str, calls: tuple[str, ...]) -> tuple[Fault, ...]:
    return (
        _retried(f"aws-throttling{suffix}", "the first try is refused: too many calls", _throttled, calls),
        _retried(f"aws-5xx{suffix}", "the first try is answered with 500", _server_error, calls),
        _expired(f"aws-expired-token{suffix}", calls),
        _retried(f"aws-connection-reset{suffix}", "the connection of the first try is reset", _reset, calls),
        _truncated(f"aws-truncated-answer{suffix}", calls),
        _lost_reply(f"aws-lost-reply{suffix}", calls),
    )


#: Without a call, each meets every call that changes something; with one (``NAME:ecs.UpdateService``) it alone.
AWS_FAULTS = (
    *_faults("", CHANGING_CALLS),
    *(fault for call in CHANGING_CALLS for fault in _faults(f":{call}", (call,))),
    Fault(
        "aws-expired-token-mid-rollout",
        "the session ends while the rollout runs, and the rollout goes on by itself",
        _ends(5, Serving.NEW),
        twin={"door": [{"fault": "expired", "service": "*"}]},
        when="ecs.wait",
    ),
)
