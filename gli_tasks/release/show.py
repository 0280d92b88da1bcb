"""Show releases to the operator."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gli_tasks.aws import Aws
from gli_tasks.console import Console
from gli_tasks.ecs.plan import ServiceFacts
from gli_tasks.ecs.services import read_services
from gli_tasks.release.journal import Journal
from gli_tasks.release.record import Outcome, Record, encode
from gli_tasks.release.start import Ended
from gli_tasks.settings import LoadedSettings, Settings


def release_question(loaded: LoadedSettings) -> str:
    """Return what is about to happen, for the confirmation."""
    settings = loaded.settings
    lines = [f"releasing {', '.join(settings.ecs_services)}"]
    if loaded.overrides:
        lines.append(f"with settings overridden by the process's environment: {', '.join(loaded.overrides)}")
    return " ".join(lines)


def show_end(console: Console, ended: Ended, as_json: bool) -> None:
    """Print how a release ended: what changed, the checks, and where the record is. Raises the error that ended it."""
    if as_json:
        console.answer_json({**json.loads(encode(ended.record)), "record": ended.place})
    else:
        _show_record(console, ended.record, ended.place)
    if ended.error is not None:
        raise ended.error


def _show_record(console: Console, record: Record, place: str) -> None:
    healthy = record.outcome is Outcome.HEALTHY
    console.answer(f"release {record.id} is {record.outcome} after {record.seconds:.1f} s")
    for name, service in record.services.items():
        if service.task_definition:
            before = service.task_definition_before.rsplit("/", 1)[-1] or "?"
            now = service.task_definition.rsplit("/", 1)[-1]
            if healthy:
                console.answer(f"  {name}: {before} → {now}  {service.commit[:12]}  {service.digest}")
            else:
                console.answer(f"  {name}: {before} served before; {now} ({service.commit[:12]}) was released")
        elif service.commit:
            console.answer(f"  {name}: {service.commit[:12]}")
    changed = [one for one in record.services.values() if one.task_definition != one.task_definition_before]
    if healthy and not changed:
        console.answer("  nothing changed: every service ran this already")
    if record.tag and healthy:
        console.answer(f"  tag: {record.tag}")
    console.answer(f"  record: {place}")


def show_open(console: Console, record: Record, left: Sequence[str]) -> None:
    """Print how a release that can go on stands: how far it came, and what is left to do."""
    console.line(f"release {record.id} by {record.who}, {record.outcome}, begun at {record.started_at}")
    for step in record.steps:
        console.line(f"  {step.outcome:<10} {step.name}  {step.detail.splitlines()[0] if step.detail else ''}")
    console.line(f"  left: {', '.join(left) or 'to put back what it had changed'}")


def show_target(console: Console, target: Record) -> None:
    """Print what a rollback goes back to."""
    console.line(f"release {target.id} by {target.who}, healthy at {target.ended_at}")
    for name, service in target.services.items():
        if service.task_definition:
            definition = service.task_definition.rsplit("/", 1)[-1]
            console.line(f"  {name}: {definition}  {service.commit[:12]}  {service.digest}")


def _version(facts: ServiceFacts) -> str:
    return facts.task_definition.rsplit("/", 1)[-1]


def show_status(console: Console, settings: Settings, aws: Aws, as_json: bool) -> None:
    """Print what serves now, beside what the last healthy release says."""
    names = {name: service.service for name, service in settings.ecs_services.items()}
    live = read_services(aws.client("ecs"), settings.ecs.cluster, list(names.values()))
    current = Journal(aws.client("s3"), settings.state.bucket).current()
    rows = []
    for name, service in names.items():
        facts = live[service]
        recorded = current.services.get(name) if current else None
        agrees = recorded is not None and recorded.task_definition == facts.task_definition
        rows.append(
            {
                "service": name,
                "task_definition": _version(facts),
                "running": facts.running,
                "desired": facts.desired,
                "rollout": facts.primary.rollout_state if facts.primary else "",
                "commit": recorded.commit if recorded and agrees else "",
                "as_released": agrees,
            }
        )
    if as_json:
        console.answer_json({"release": current.id if current else None, "services": rows})
        return
    released = f"last healthy release: {current.id} by {current.who}" if current else "no release is recorded yet"
    console.answer(f"{settings.project} {settings.environment}: {released}")
    console.table(
        ("service", "task definition", "running", "rollout", "commit", "as released"),
        [
            (
                str(row["service"]),
                str(row["task_definition"]),
                f"{row['running']}/{row['desired']}",
                str(row["rollout"]),
                str(row["commit"])[:12],
                "yes" if row["as_released"] else "no",
            )
            for row in rows
        ],
    )


def show_history(console: Console, settings: Settings, aws: Aws, limit: int, as_json: bool) -> None:
    """Print the newest releases."""
    records, broken = Journal(aws.client("s3"), settings.state.bucket).newest_readable(limit)
    for error in broken:
        console.line(f"left out: {error}")
    if as_json:
        console.answer_json([json.loads(encode(record)) for record in records])
        return
    rows = [
        (
            record.id,
            str(record.outcome),
            f"{record.seconds:.0f} s",
            record.who,
            ", ".join(f"{name} {one.commit[:12]}" for name, one in record.services.items() if one.task_definition),
            f"{record.failure.step}: {record.failure.what.splitlines()[0]}" if record.failure else record.tag,
        )
        for record in records
    ]
    console.table(("release", "outcome", "took", "who", "commits", "why / tag"), rows)
