"""Tell the environment's channel how a release went; whatever happens here decides nothing."""

from __future__ import annotations

from gli_tasks.aws import as_gli_error
from gli_tasks.notify.plan import News
from gli_tasks.notify.slack import send
from gli_tasks.release.record import Outcome
from gli_tasks.release.run import Run
from gli_tasks.secret_references import resolve


def tell(run: Run, outcome: Outcome) -> str:
    """Send the news and return what came of it, as a sentence."""
    settings, record = run.settings, run.record
    if not settings.notify.slack_webhook:
        return "nobody is told here"
    healthy = outcome is Outcome.HEALTHY
    reason = f"{record.failure.step}: {record.failure.what}" if record.failure else ""
    news = News(
        project=settings.project,
        environment=settings.environment,
        release=record.id,
        outcome=str(outcome),
        who=record.who,
        seconds=run.elapsed_s(),
        versions={name: one.commit for name, one in record.services.items()} if healthy else {},
        reason=run.console.redactor.clean(reason)[:1_500],
    )
    try:
        webhook = resolve(settings.notify.slack_webhook, run.aws, run.console.redactor)
    except Exception as error:
        # News is the one thing whose failure must not fail a release; what we did not foresee still goes up.
        known = as_gli_error(error)
        if known is None:
            raise
        return f"Slack was not told ({known.what}); the release goes on"
    return send(webhook, news, settings.notify.channel)
