"""What every task has in common: the flags' help, the choice of environment, and errors that become exit codes.

This module is read at every ``invoke --list``, so it imports nothing that costs time.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gli_tasks import guard
from gli_tasks.errors import GliError, Interrupted, Refused

if TYPE_CHECKING:
    from types import TracebackType

    from gli_tasks.aws import Aws
    from gli_tasks.console import Console
    from gli_tasks.settings import LoadedSettings, Settings

FLAGS = {
    "env": "environment: a .env file's name (default: GLI_ENV, else dev)",
    "project": "project: a folder of env/ (default: GLI_PROJECT, else gli)",
    "yes": "ask nothing; needed where there is no terminal",
    "json": "print the answer as one JSON object",
    "service": "only this service (default: all)",
    "plan": "show what would be changed, and change nothing",
}

Body = TypeVar("Body", bound=Callable[..., Any])


def flags(*names: str, **more: str) -> dict[str, str]:
    """Return the help texts of the named shared flags and of a task's own."""
    return {name: FLAGS[name] for name in names} | more


def operator(body: Body) -> Body:
    """Turn what a user can cause into a sentence on standard error and the exit code of its class."""

    @functools.wraps(body)
    def run(*arguments: Any, **options: Any) -> Any:
        _hush_libraries()
        try:
            return body(*arguments, **options)
        except GliError as error:
            fail(error)
        except KeyboardInterrupt:
            fail(Interrupted("stopped by Ctrl-C"))
        except Exception as error:
            from gli_tasks.aws import as_gli_error

            known = as_gli_error(error)
            if known is None:
                sys.excepthook = _show_without_secrets
                raise
            fail(known)

    return run  # type: ignore[return-value]


def _hush_libraries() -> None:
    """Keep the libraries that see secrets from telling what they send and get, as ``invoke --debug`` would let them."""
    import logging

    for name in ("boto3", "botocore", "docker", "httpcore", "httpx", "paramiko", "s3transfer", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _show_without_secrets(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what Python prints of an error that nobody foresaw, with every known secret masked."""
    import traceback

    from gli_tasks.console import PROCESS_REDACTOR

    sys.stderr.write(PROCESS_REDACTOR.clean("".join(traceback.format_exception(kind, error, trace))))


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which the cancel of a CI job sends, end what is under way as Ctrl-C does: by KeyboardInterrupt.

    Beyond the main thread no signal can be taken, and nothing is changed.
    """
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(error: GliError) -> None:
    """Print an error the way that every task does, and leave with its exit code."""
    from gli_tasks.console import Console

    Console().error(error)
    raise SystemExit(error.exit_code)


def chosen(env: str | None, project: str | None) -> LoadedSettings:
    """Load the settings of the chosen project and environment. Raises UsageError and SettingsError."""
    from gli_tasks.settings import load
    from gli_tasks.settings.load import root_folder

    environment = env or os.environ.get("GLI_ENV") or "dev"
    return load(root_folder(), project or os.environ.get("GLI_PROJECT") or "gli", environment, os.environ)


def aws_for(loaded: LoadedSettings) -> Aws:
    """Return the AWS session for these settings; nothing is asked of AWS yet."""
    from gli_tasks.aws import Aws

    return Aws(loaded.settings.aws.region, loaded.settings.aws.account)


class Surroundings(NamedTuple):
    """What a task works with: where it says things, its settings, and the AWS session for them."""

    console: Console
    loaded: LoadedSettings
    aws: Aws

    @property
    def settings(self) -> Settings:
        """Return the settings themselves."""
        return self.loaded.settings

    def allow(self, what: str, yes: bool) -> None:
        """Ask before something is changed, then make sure that the credentials are the settings' account's.

        Raises Refused.
        """
        confirm(self.console, what, self.loaded, yes)
        self.aws.require_account()

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Hold the environment's lock, so that no release is under way while one of its parts is changed by hand.

        Without a state bucket in the settings there is no release that could be. Raises Locked where a release holds
        it, Refused where the state bucket cannot be used.
        """
        from gli_tasks.lock import held

        if not self.settings.state.bucket:
            yield
            return
        with held(self.aws.client("s3"), self.settings.state.bucket, task, operator_name()) as lock:
            self.aws.guard_changes(lock.require_held)
            yield


def surroundings(env: str | None, project: str | None, *needed: str) -> Surroundings:
    """Return what a task works with; nothing is asked of AWS yet.

    ``needed`` are the settings that it cannot do without, as for ``require_present``. Raises UsageError.
    """
    from gli_tasks.console import Console

    loaded = chosen(env, project)
    require_present(loaded, *needed)
    return Surroundings(Console(), loaded, aws_for(loaded))


def require_present(loaded: LoadedSettings, *prefixes: str) -> None:
    """Refuse where the settings leave a name empty that this task cannot do without.

    ``prefixes`` are dotted paths; none means all of them. Raises Refused, naming every absent one.
    """
    absent = [name for name in loaded.absent if not prefixes or name.startswith(prefixes)]
    if absent:
        where = f"{loaded.settings.project} {loaded.settings.environment}"
        lines = "\n".join(f"  - {name}" for name in absent)
        raise Refused(f"the settings of {where} leave empty what this needs:\n{lines}", remedy="fill them in")


def confirm(console: Console, what: str, loaded: LoadedSettings, yes: bool) -> None:
    """Ask before something is changed; in prod the environment's name must be typed.

    Raises Refused without a terminal and without ``--yes``, or when the answer is not the one asked for.
    """
    if yes:
        return
    settings = loaded.settings
    place = f"{settings.project} {settings.environment}"
    if not console.interactive:
        raise Refused(f"{what} on {place} changes things, and nobody is here to confirm", remedy="add --yes")
    word = settings.environment if settings.environment == "prod" else "yes"
    answer = console.ask(f"{what} on {place}. Type {word!r} to go on: ")
    if answer.strip() != word:
        raise Refused(f"{what} on {place} was not confirmed")


def planning(plan: bool) -> bool:
    """Put up the wall that lets this process only read, where ``--plan`` asks for it; return whether it does.

    To be called before anything else that a mutating task does.
    """
    if plan:
        guard.forbid_writes()
    return plan


def show_planned(console: Console, would: Sequence[str], as_json: bool = False) -> None:
    """Print what a task would change, one sentence each; nothing would be said where there is none."""
    if as_json:
        console.answer_json({"would": list(would)})
        return
    console.answer("would change:" if would else "would change nothing")
    for sentence in would:
        console.answer(f"  - {sentence}")


def pick(names: dict[str, Any], service: str | None) -> dict[str, Any]:
    """Return the one service asked for, or all of them. Raises UsageError for an unknown name."""
    from gli_tasks.errors import UsageError
    from gli_tasks.settings.validation import nearest

    if service is None:
        return names
    if service not in names:
        known = ", ".join(names) or "none"
        raise UsageError(
            f"there is no service {service!r} here{nearest(service, names)}", remedy=f"name one of: {known}"
        )
    return {service: names[service]}


def pick_one(names: dict[str, Any], service: str | None) -> tuple[str, Any]:
    """Return the name and the service asked for, or the only one there is. Raises UsageError."""
    from gli_tasks.errors import UsageError

    found = pick(names, service)
    if len(found) != 1:
        raise UsageError("this is done to one service at a time", remedy=f"add --service: {', '.join(names) or 'none'}")
    return next(iter(found.items()))


def operator_name() -> str:
    """Return who is at work: the CI's actor, else the login name and the host."""
    import getpass
    import socket

    actor = os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    if actor:
        return f"{actor} (CI)"
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def number(flag: str, text: str, low: float, high: float) -> float:
    """Return a flag's number. Flags take text, because Invoke meets what is no number with a traceback.

    Raises UsageError for what is no number, or not from ``low`` to ``high``.
    """
    from gli_tasks.errors import UsageError

    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UsageError(f"--{flag} takes a number from {low:g} to {high:g}, not {text!r}")
    return value


def whole_number(flag: str, text: str, low: int, high: int) -> int:
    """Return a flag's whole number; a fraction is refused, and never cut. Raises UsageError as ``number`` does."""
    from gli_tasks.errors import UsageError

    value = number(flag, text, low, high)
    if not value.is_integer():
        raise UsageError(f"--{flag} takes a whole number from {low} to {high}, not {text!r}")
    return int(value)
