"""What a cause of a failed rollout is, and where AWS documents causes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Where AWS says so: pages of the Amazon ECS Developer Guide, and of the Elastic Load Balancing guide.
STOPPED = "Amazon ECS stopped tasks error messages"
RESOLVE = "Resolve Amazon ECS stopped task errors"
PULL = "CannotPullContainer task errors in Amazon ECS"
INITIALIZE = "Troubleshoot Amazon ECS ResourceInitializationError errors"
EVENTS = "Amazon ECS service event messages"
TARGETS = "Health checks for Application Load Balancer target groups: health check reason codes"
BREAKER = "How the Amazon ECS deployment circuit breaker detects failures"
MAINTENANCE = "Task retirement and maintenance for AWS Fargate on Amazon ECS"
EXIT_CODES = "Why is my Amazon ECS task stopped? (AWS re:Post, common exit codes)"


class Fault(StrEnum):
    """Whose fault a cause is: of what was released, with its settings, or of the world around it; or AWS's words do not
    tell.

    Only what is ours is the same for every further task, so that no more of them need be waited for.
    """

    OURS = "ours"
    WORLD = "world"
    UNKNOWN = "unknown"


class Sign(StrEnum):
    """A sign that no text alone holds; worked out from all that was seen."""

    NONE = ""
    OTHER_PORT = "the log names a port that is not the target group's"
    STILL_STARTING = "the log goes on, and says nowhere that the port is open"


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: the page that documents it, how it shows, a sentence on it, and what to do next.

    ``text`` is looked for in what AWS says of stopped tasks and their containers (with "NAME exited with CODE" where
    the task ended by itself), and in service events; ``log``, which will do instead, in the last lines of such a task;
    ``target``, which must hold besides, in the reasons of unhealthy targets; none with regard to case. A ``general``
    cause counts only where nothing more specific shows anywhere. Sentences may name the groups of these patterns, and
    ``exited``, ``line``, ``port``, ``listens`` and ``grace``.
    """

    name: str
    page: str
    sentence: str
    next_step: str
    text: str = ""
    target: str = ""
    log: str = ""
    sign: Sign = Sign.NONE
    fault: Fault = Fault.OURS
    general: bool = False
