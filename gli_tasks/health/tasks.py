"""`health.check`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import chosen, flags, number, operator


@task(
    help=flags(
        "env", "project", "json", timeout="seconds until which a failed check is asked again (default: the settings')"
    )
)
@operator
def check(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    json: bool = False,
    timeout: str = "",
) -> None:
    """Ask all health checks at once, again and again until they pass or time is over."""
    import dataclasses

    from gli_tasks.console import Console
    from gli_tasks.errors import ChecksFailed
    from gli_tasks.health.expectations import expectations
    from gli_tasks.health.plan import CheckResult
    from gli_tasks.health.probe import wait_healthy

    console = Console()
    health = chosen(env, project).settings.health
    timeout_s = number("timeout", timeout, 0, 86_400) if timeout else health.timeout_s
    last: dict[tuple[str, str], CheckResult] = {}
    failure: ChecksFailed | None = None
    try:
        wait_healthy(
            expectations(health),
            certificate_days=health.certificate_days,
            connect_to=health.connect_to,
            ca_file=health.ca_file,
            request_timeout_s=health.request_timeout_s,
            timeout_s=timeout_s,
            interval_s=health.interval_s,
            on_result=lambda result: last.update({(result.name, result.url): result}),
        )
    except ChecksFailed as error:
        failure = error
    if json:
        console.answer_json({"passed": failure is None, "checks": [dataclasses.asdict(one) for one in last.values()]})
    else:
        rows = []
        for one in last.values():
            days = "" if one.certificate_days is None else f"{one.certificate_days:.0f}"
            rows.append(
                ("OK" if one.passed else "NG", one.name, str(one.status), f"{one.latency_ms:.0f}", days, one.url)
            )
        console.table(("", "check", "status", "ms", "TLS days", "address"), rows)
    if failure is not None:
        raise failure
