"""`notify.send`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import aws_for, chosen, confirm, flags, operator, planning, show_planned


@task(help=flags("env", "project", "yes", "plan", text="what to say (default: that this is a test)"), positional=[])
@operator
def send(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    text: str = "This is a test.",
    yes: bool = False,
    plan: bool = False,
) -> None:
    """Send a line to the environment's Slack channel, to see that the webhook works."""
    plans = planning(plan)
    from gli_tasks.console import Console
    from gli_tasks.edge import operator_name
    from gli_tasks.errors import Refused
    from gli_tasks.notify.plan import News
    from gli_tasks.notify.slack import send as send_news
    from gli_tasks.secret_references import resolve

    console = Console()
    loaded = chosen(env, project)
    settings = loaded.settings
    if not settings.notify.slack_webhook:
        raise Refused(f"{settings.project} {settings.environment} names no webhook", remedy="set SLACK_WEBHOOK")
    if plans:
        show_planned(console, [f"tell Slack: {text}"])
        return
    confirm(console, "telling Slack", loaded, yes)
    webhook = resolve(settings.notify.slack_webhook, aws_for(loaded), console.redactor)
    news = News(settings.project, settings.environment, "-", "a test", operator_name(), 0.0, {}, text)
    console.answer(send_news(webhook, news, settings.notify.channel))
