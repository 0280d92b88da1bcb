"""The one error tree. Each class carries the exit code that an operator's script sees.

    GliError                          1   failed; the old version is serving
    ├── UsageError                    2   flags or surroundings are wrong; nothing was touched
    │   ├── SettingsError             2   env/ holds problems; all of them are listed
    │   └── Refused                   2   a question was not answered with yes, or a precondition does not hold
    ├── Locked                        3   another release holds the environment
    ├── WaitsForPerson                4   paused, inconclusive, or a sign-off is missing
    ├── CommandFailed                 1   a program that the tool started ended with a failure
    ├── AwsCallFailed                 1   AWS refused a call, or could not be reached
    ├── BuildFailed                   1   a check or an image build failed
    ├── PushFailed                    1   the registry does not hold what was pushed
    ├── RolloutFailed                 1   a deployment did not become healthy
    ├── ChecksFailed                  1   health checks did not pass before their deadline
    ├── RecordFailed                  1   the release's record could not be read or written
    ├── PlanWouldWrite                1   a plan tried to write, and was kept from it
    ├── RehearsalFailed               1   the twin did not start, or the rehearsal did not end as promised
    ├── NotRestored                   5   failed, and the old version could not be put back
    └── Interrupted                 130   stopped by a person; can be resumed

Every message says what happened, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class GliError(Exception):
    """Say what happened, where, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  next: {self.remedy}" if self.remedy else text


class UsageError(GliError):
    """The flags or the surroundings are wrong; nothing was touched."""

    exit_code = 2


class SettingsError(UsageError):
    """The files in ``env/`` hold problems; all of them are in ``problems``, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        count = len(problems)
        heading = "1 problem in the settings" if count == 1 else f"{count} problems in the settings"
        super().__init__(heading + ":\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


class Refused(UsageError):
    """A question was not answered with yes, or a precondition does not hold; nothing was touched."""


class Locked(GliError):
    """Another release holds the environment."""

    exit_code = 3


class WaitsForPerson(GliError):
    """The release is paused, inconclusive, or lacks a sign-off."""

    exit_code = 4


class CommandFailed(GliError):
    """A program ended with a failure; ``returncode`` is its exit status, or minus the signal's number."""

    def __init__(self, what: str, *, returncode: int, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.returncode = returncode


class AwsCallFailed(GliError):
    """AWS refused a call, or could not be reached."""


class BuildFailed(GliError):
    """A build check or an image build failed."""


class PushFailed(GliError):
    """The registry does not hold what was pushed."""


class RolloutFailed(GliError):
    """A deployment did not become healthy."""


class ChecksFailed(GliError):
    """Health checks did not pass before their deadline."""


class RecordFailed(GliError):
    """The release's record could not be read or written."""


class PlanWouldWrite(GliError):
    """A plan tried to write something; the guard kept it from that."""


class RehearsalFailed(GliError):
    """The twin did not start, or the rehearsal did not end as promised."""


class NotRestored(GliError):
    """The release failed, and the old version could not be put back."""

    exit_code = 5


class Interrupted(GliError):
    """A person stopped the release; it can be resumed."""

    exit_code = 130
