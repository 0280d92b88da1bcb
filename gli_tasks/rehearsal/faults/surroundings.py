"""Faults of what surrounds a release: registry, state bucket, Slack, and the workstation itself."""

from __future__ import annotations

from gli_tasks.rehearsal.faults.fault import Fault, Kept, Promise, Serving, Workstation

_KIB = 1024

SURROUNDING_FAULTS = (
    Fault(
        "registry-down-mid-push",
        "the registry goes away in the middle of a push, and stays away",
        Promise(1, Serving.OLD, cause=("push", "the registry is down")),
        twin={"registry_down": True},
    ),
    Fault(
        "s3-down-for-the-record",
        "S3 is away from the rollout on, so that neither record nor lock can be written",
        Promise(1, Serving.OLD, kept=Kept.UNENDED, cause=("record cannot be written",), lock_left=True),
        twin={"door": [{"fault": "unavailable", "service": "s3"}]},
        when="ecs.wait",
    ),
    Fault(
        "s3-down-for-the-lock",
        "S3 refuses the lock's last write, when the release is healthy and on record",
        Promise(0, Serving.NEW, lock_left=True),
        twin={"door": [{"fault": "unavailable", "service": "s3", "operation": "PutObject", "path": "/lock.json"}]},
        when="notify",
    ),
    Fault(
        "slack-down",
        "Slack answers every message with 503",
        Promise(0, Serving.NEW, told=("Slack was not told",)),
        twin={"slack_down": True},
    ),
    Fault(
        "disk-full",
        "the temporary folder of the release is full",
        Promise(1, Serving.OLD, cause=("No space left on device",)),
        workstation=Workstation(temporary_bytes=16 * _KIB),
    ),
    Fault(
        "clock-skew",
        "the workstation's clock is an hour ahead; AWS refuses what it signs",
        Promise(1, Serving.OLD, kept=Kept.NOTHING, cause=("Signature not yet current", "clock of this machine")),
        workstation=Workstation(clock_s=3600),
    ),
    Fault(
        "clock-drift",
        "the workstation's clock is four minutes ahead, which AWS lets pass",
        Promise(0, Serving.NEW),
        workstation=Workstation(clock_s=240),
    ),
)
