"""Write `docs/faults.md`: what each fault is, what a release under it promises, and what was seen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gli_tasks.rehearsal.faults import FAULTS
from gli_tasks.rehearsal.faults.fault import Fault
from gli_tasks.rehearsal.verdict import Verdict

COMMAND = "invoke rehearse.faults -p {project} -e {environment} --engine {engine} --write docs/faults.md"
_LONGEST_CAUSE = 200

_HEAD = """\
# Faults

A release that meets a fault ends as the fault promises: by a true exit code, with one version serving wholly, with
the cause named, with a record that says what happened, and with no failed request beyond those that the fault
itself causes. This page is written by a run of all of them:

```console
$ {command}
```

One fault alone, on a twin of its own: `invoke rehearse --fault NAME`. Several on one twin: `invoke rehearse.faults
--only NAME,NAME`. What there is: `invoke rehearse --list-faults [--json]`. Each exits with 0 exactly when all ended
as promised.

## What was seen

{summary}

| fault | exit code | serves | failed requests | cause that was named | seconds | as promised |
|---|---|---|---|---|---|---|
{seen}

## What is promised

Where a fault is put: **version**: into the new version's source; **twin**: into the twin (ECS, registry, Slack,
secrets); **proxy**: `microburst`, between the release and the twin, which answers as AWS does; **door**: the twin's
second door, for what that proxy cannot do (an S3 PUT has no body that could be lost or cut; a session that has
ended stays so; one object of a bucket); **workstation**: where the release runs. Only the release's own process
meets proxy and door; the load, the tasks and the rehearsal's own looks go past them.

| fault | where | what happens | how the release must end |
|---|---|---|---|
{promised}

`aws-…` alone meets every call of a release that changes something, each at its first try; `aws-…:CALL` meets that
call alone, and there is one for every call. Where a release goes on under a fault, the table needs only the first;
where it ends, it has one line for each call. The calls are {calls}: a test holds
this list against the calls that the twin counts in an undisturbed release, so that a call added later is covered or
the test fails.

## How a cell is judged

- **Exit code**: the release's own.
- **Serves wholly**: ten answers in a row through the balancer are of one version, and every running task of every
  service is of that version's task definition, in a rollout that has ended.
- **Failed requests**: a load generator asks all the while. Of the answers that failed (500 and above, or none),
  those count as the fault's own that its promise names by who answered and bounds by time; any other breaks the
  promise.
- **Cause**: the record's failure; where no record could be begun, what the release said last.
- **Record**: read from the bucket past every fault. It names the same end as the exit code, leaves no step running,
  says of the rollout that it was undone where the old version serves, and knows every call that the twin carried
  out; `current.json` names it exactly when it is healthy. Where the bucket could not be written, the record that
  the release printed does.
- **The fault was met**: what nobody met proves nothing, and breaks the promise.
"""


def document(verdicts: Sequence[Verdict]) -> str:
    """Return the page for these verdicts; the first is of the undisturbed release."""
    first = verdicts[0]
    seconds = sum(one.seconds for one in verdicts)
    kept = sum(one.kept for one in verdicts)
    summary = (
        f"{kept} of {len(verdicts)} ended as promised: {first.project} {first.environment}, tasks as "
        f"{'containers' if first.engine == 'docker' else 'local processes'}, {first.traffic.rate:g} requests a second, "
        f"{seconds / 60:.0f} minutes in all."
    )
    faults = [FAULTS[one.fault] for one in verdicts if one.fault]
    calls = ", ".join(f"`{call}`" for call in sorted(first.calls))
    return _HEAD.format(
        command=COMMAND.format(project=first.project, environment=first.environment, engine=first.engine),
        summary=summary,
        seen="\n".join(map(_seen, verdicts)),
        promised="\n".join(map(_promised, faults)),
        calls=calls,
    )


def _seen(verdict: Verdict) -> str:
    serves = {verdict.version_before: "old", verdict.version_new: "new"}.get(verdict.version_after, "neither alone")
    kept = "yes" if verdict.kept else "**no**: " + _cell("; ".join(verdict.broken))
    cells = (
        f"`{verdict.fault}`" if verdict.fault else "none",
        str(verdict.release_exit_code),
        serves,
        str(verdict.requests_failed),
        _cell(verdict.cause),
        f"{verdict.seconds:.0f}",
        kept,
    )
    return f"| {' | '.join(cells)} |"


def _promised(fault: Fault) -> str:
    return f"| `{fault.name}` | {where(fault)} | {_cell(fault.description)} | {_cell(fault.promise.sentence())} |"


def where(fault: Fault) -> str:
    """Return where a fault is put, in one or two words."""
    inside = [name for name in fault.twin if name != "door"]
    places = {
        "version": bool(fault.version),
        "twin": bool(inside or fault.secret_keys),
        "proxy": bool(fault.rules),
        "door": bool(fault.twin.get("door")),
        "workstation": fault.workstation != type(fault.workstation)(),
    }
    return ", ".join(name for name, there in places.items() if there)


def _cell(text: str) -> str:
    """Return a text as a table's cell: its beginning in one line, without what differs from run to run by chance."""
    line = " · ".join(filter(None, map(str.strip, text.splitlines()))).replace("|", "\\|")
    line = re.sub(r"/tmp/gli-rehearsal-[^/\s:]+", "…", line)  # noqa: S108 - a path in a message, not a file
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 1] + "…"
