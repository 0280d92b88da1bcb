"""Sends alarms' notifications to moto's SNS, in process."""

from __future__ import annotations

from moto.core.exceptions import ServiceException
from moto.sns.models import sns_backends

from gli_tasks.rehearsal.cloud.alarms import ActionFailed


class SnsNotifier:
    """Publishes to SNS topics of one account; to be given to AlarmBook as ``notify``."""

    def __init__(self, account: str) -> None:
        self._account = account

    def __call__(self, action: str, subject: str, message: str) -> None:
        """Publish a message to the topic that an action's ARN names. Raises ActionFailed."""
        parts = action.split(":")
        if len(parts) != 6 or parts[2] != "sns":
            raise ActionFailed(f"the twin does SNS actions only, not {action}")
        backend = sns_backends[self._account][parts[3]]
        if action not in backend.topics:
            raise ActionFailed("NotFound: Topic does not exist")
        try:
            backend.publish(message=message, arn=action, subject=subject)
        except ServiceException as error:
            raise ActionFailed(str(error)) from error
