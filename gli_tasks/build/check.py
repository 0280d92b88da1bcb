"""Run a source folder's own checks, each with its true exit status, and look at what they left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gli_tasks import shell
from gli_tasks.build import bundle as bundles
from gli_tasks.build.plan import Bundle, count_warnings
from gli_tasks.errors import BuildFailed, CommandFailed


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a folder's checks came to. ``bundle`` is None where the folder is no front end."""

    commands: int
    warnings: int
    seconds: float
    bundle: Bundle | None


def run_checks(
    source: Path,
    checks: Sequence[Sequence[str]],
    *,
    output: str = "",
    bundle_limit_kb: float = 0,
    timeout_s: float = 1_800,
    on_line: Callable[[str], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> CheckResult:
    """Run the checks in their order and stop at the first that fails.

    Raises BuildFailed with the command, its exit status and its last lines.
    """
    warnings, seconds = 0, 0.0
    for argv in checks:
        try:
            done = shell.run(argv, folder=source, timeout_s=timeout_s, on_line=on_line, stop=stop)
        except CommandFailed as error:
            raise BuildFailed(
                error.what, where=error.where, remedy="mend the source, commit, and start again"
            ) from None
        warnings += count_warnings(done.output)
        seconds += done.seconds
    bundle = bundles.check(source / output, bundle_limit_kb) if output else None
    return CheckResult(len(checks), warnings, seconds, bundle)
