"""Ask AWS for one thing, and take a refusal of the look itself as an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gli_tasks.aws import error_code
from gli_tasks.ecs.facts import Denied
from gli_tasks.errors import AwsCallFailed

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})

Fact = TypeVar("Fact")


def asked(client: Any, ask: Callable[[], Fact]) -> Fact | Denied:
    """Return what was asked for, or Denied where AWS refuses the look itself.

    Raises AwsCallFailed for an answer that lacks what it must hold, as one that was cut off does.
    """
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as error:
        if error_code(error) not in _DENIED:
            raise
        return Denied(f"{client.meta.service_model.signing_name}:{error.operation_name}")
    except (KeyError, IndexError) as error:
        service = client.meta.service_model.service_name
        raise AwsCallFailed(
            f"an answer of {service} lacks what it must hold ({error})", remedy="start again; it was cut off"
        ) from error
