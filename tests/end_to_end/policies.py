"""Make the least-privilege policies in ``docs/policies`` out of the calls that the tasks really make.

    python -m tests.end_to_end.policies                            # plays every task on a twin, writes all anew
    python -m tests.end_to_end.policies --from-calls               # writes all anew out of calls.json
    python -m tests.end_to_end.policies --fill gli prod release    # prints a policy with an environment's names in it

Each group of tasks is played by an operator of its own, whom the twin tells by the access key. What the operator asked
for is kept in ``calls.json``; everything else there is made of it, and of nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gli_tasks.errors import GliError, Refused, UsageError
from gli_tasks.settings import load
from gli_tasks.settings.load import root_folder
from tests.end_to_end.policy_desk import ENVIRONMENT, OTHER_ENVIRONMENT, Desk, other_settings, standing_twin
from tests.end_to_end.policy_documents import Policy, fill, placeholders, policy_of
from tests.end_to_end.policy_names import PLACEHOLDERS, known_of, names_of
from tests.end_to_end.policy_pages import page
from tests.end_to_end.policy_rules import ANYWHERE, Call, general, needs_of

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "policies"
CALLS = FOLDER / "calls.json"
E = ("-e", ENVIRONMENT)
YES = (*E, "--yes")
API, WEBSOCKET = ("--service", "api"), ("--service", "websocket")
UPDATED = "ecs.update    done in"
ROLLING = "ecs.wait      production-gli-api:"


@dataclass(frozen=True, slots=True)
class Played:
    """What a group's tasks were, as typed, and what they asked of AWS."""

    tasks: tuple[str, ...]
    calls: tuple[Call, ...]


Groups = Mapping[str, Played]


def look(desk: Desk) -> None:
    """Everything that only looks, plans of what changes things included."""
    for words in (
        ("release.status", *E),
        ("release.history", *E),
        ("release.plan", *E),
        ("ecs.status", *E),
        ("ecs.diff", *E),
        ("ecs.verify", *E),
        ("ecs.logs", *E),
        ("image.list", *E),
        ("health.check", *E),
        ("release.prod", "--plan"),
        ("release.unlock", *E, "--plan"),
        ("ecs.register", *E, "--plan"),
        ("ecs.update", *E, "--plan"),
        ("ecs.wait", *E),
        ("ecs.rollback", *E, *API, "--plan"),
        ("ecs.run", *E, *API, "--default-command", "--plan"),
        ("ecs.exec", *E, *API, "--plan"),
        ("ecs.scale", *E, *API, "--count", "3", "--plan"),
        ("ecs.prune", *E, "--newest", "1", "--plan"),
        ("image.push", *E, "--plan"),
        ("image.promote", "--from", ENVIRONMENT, "--to", OTHER_ENVIRONMENT, "--plan"),
        ("image.prune", *E, "--newest", "1", "--days", "0", "--plan"),
    ):
        desk.run("read", *words)


def release(desk: Desk) -> None:
    """Releases: good ones, some that fail and are undone, one that is cut off and goes on, and the way back."""
    desk.run("release", "release.plan", *E)
    desk.commit()
    desk.run("release", "release.prod", "--yes")
    for fault in ("CRASH_AT_START=1\n", "HEALTH_FAILS=1\n"):
        desk.commit({"FAULTS": fault})
        desk.run("release", "release.prod", "--yes", code=1)
    desk.run("operate", "ecs.rollback", *YES, *API, "--to", desk.newest_revision(), code=1)
    desk.settle()
    desk.commit({"FAULTS": ""})
    desk.interfere("release", ROLLING, lambda _: desk.replace_rollout(), "release.prod", "--yes", code=1)
    desk.settle()
    desk.commit()
    desk.kill("release", UPDATED, "release.prod", "--yes")
    desk.run("operate", "release.unlock", *YES, "--reason", "killed")
    desk.run("read", "release.resume", *E, "--plan")
    desk.run("release", "release.resume", *YES)
    desk.commit()
    desk.kill("release", UPDATED, "release.prod", "--yes")
    desk.run("operate", "release.unlock", *YES, "--reason", "killed")
    desk.run("read", "release.abort", *E, "--plan")
    desk.run("release", "release.abort", *YES, "--reason", "not today")
    desk.run("read", "release.rollback", *E, "--plan")
    desk.run("release", "release.rollback", *YES)


def build_and_push(desk: Desk) -> None:
    """Images: one that is new, one that is there already, and one that goes on to another repository."""
    desk.commit()
    desk.run("build-and-push", "image.build", *E)
    desk.run("build-and-push", "image.push", *YES)
    desk.commit_nothing()
    desk.run("build-and-push", "image.build", *E)
    desk.run("build-and-push", "image.push", *YES)
    desk.run(
        "build-and-push", "image.promote", "--from", ENVIRONMENT, "--to", OTHER_ENVIRONMENT, "--yes", "--service", "api"
    )
    desk.run("build-and-push", "image.promote", *YES, *API, "--to-tag", "proven")


def operate(desk: Desk) -> None:
    """Services by hand: one-off tasks that end and that have to be stopped, numbers, a way in, and the way back."""
    desk.run("operate", "ecs.run", *YES, *API, "--command", "python3 -c 'print(1)'")
    desk.run("operate", "ecs.run", *YES, *API, "--command", "python3 -c 'input()'", code=1)
    desk.run("operate", "ecs.run", *YES, *API, "--command", "sleep 60", "--timeout", "2", code=1)
    desk.run("operate", "ecs.exec", *YES, *API, "--command", "ls")
    desk.run("operate", "ecs.scale", *YES, *API, "--count", "3")
    desk.run("operate", "ecs.scale", *YES, *API, "--count", "2")
    desk.run("operate", "ecs.scale", *YES, *WEBSOCKET, "--min", "1", "--max", "3")
    desk.run("operate", "ecs.rollback", *YES, *API)


def prune(desk: Desk) -> None:
    """What nobody needs any more."""
    desk.run("prune", "ecs.prune", *YES, "--newest", "1", "--releases", "1")
    desk.run("prune", "ecs.prune", *YES, "--newest", "1", "--releases", "1", "--delete")
    desk.run("prune", "image.prune", *YES, "--newest", "1", "--days", "0", "--records", "1")


ACTS: Sequence[Callable[[Desk], None]] = (release, look, build_and_push, operate, prune)
#: The groups in the order in which a reader wants them.
GROUPS = ("read", "release", "build-and-push", "operate", "prune")


def play(desk: Desk) -> Groups:
    """Play everything, and return each group's tasks and calls with placeholders in the place of names."""
    for act in ACTS:
        act(desk)
    known = known_of(names_of(desk.settings(), other_settings(desk.environment)))
    return {
        group: Played(
            tuple(dict.fromkeys(desk.done[group])),
            tuple(sorted({general(call, known) for call in desk.calls(group)})),
        )
        for group in GROUPS
    }


def policies_of(groups: Groups) -> dict[str, Policy]:
    """Return each group's policy."""
    return {
        group: policy_of(need for call in played.calls for need in needs_of(call, ANYWHERE))
        for group, played in groups.items()
    }


def files_of(groups: Groups) -> dict[str, str]:
    """Return every file of ``docs/policies`` with its text."""
    policies = policies_of(groups)
    written = {f"{group}.json": _text(policy) for group, policy in policies.items()}
    tasks = {group: played.tasks for group, played in groups.items()}
    return {**written, "README.md": page(tasks, policies), CALLS.name: _text(_as_tree(groups))}


def read_groups(file: Path = CALLS) -> Groups:
    """Return what the last play wrote down."""
    tree = json.loads(file.read_text(encoding="utf-8"))
    return {
        group: Played(
            tuple(played["tasks"]),
            tuple(
                Call(one["service"], one["operation"], tuple((kind, tuple(names)) for kind, names in one["on"].items()))
                for one in played["calls"]
            ),
        )
        for group, played in tree.items()
    }


def _as_tree(groups: Groups) -> dict[str, Any]:
    return {
        group: {
            "tasks": list(played.tasks),
            "calls": [
                {"service": call.service, "operation": call.operation, "on": dict(call.touched)}
                for call in played.calls
            ],
        }
        for group, played in groups.items()
    }


def _text(tree: Any) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def filled(project: str, environment: str, group: str) -> Policy:
    """Return a committed policy with the names of an environment in it.

    Raises UsageError for what is unknown, and Refused where the settings leave a name empty.
    """
    if group not in GROUPS:
        raise UsageError(f"there is no policy {group!r}", remedy=f"name one of: {', '.join(GROUPS)}")
    names = names_of(load(root_folder(), project, environment, os.environ).settings)
    policy = json.loads((FOLDER / f"{group}.json").read_text(encoding="utf-8"))
    absent = sorted(one for one in placeholders(policy) if not names[one] and not PLACEHOLDERS[one].optional)
    if absent:
        raise Refused(
            f"the settings of {project} {environment} do not tell: {', '.join(absent)}", remedy="fill them in"
        )
    return fill(policy, names)


def main(arguments: Sequence[str]) -> int:
    """Write the files, or print a policy that is filled in."""
    parser = argparse.ArgumentParser(prog="policies", description="Make the policies in docs/policies.")
    parser.add_argument("--from-calls", action="store_true", help="play nothing: take calls.json as it is")
    parser.add_argument("--fill", nargs=3, metavar=("PROJECT", "ENVIRONMENT", "GROUP"), help="print one, filled in")
    options = parser.parse_args(arguments)
    if options.fill:
        try:
            print(_text(filled(*options.fill)), end="")
        except GliError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        return 0
    if options.from_calls:
        groups = read_groups()
    else:
        with tempfile.TemporaryDirectory() as folder, standing_twin(Path(folder)) as desk:
            groups = play(desk)
    FOLDER.mkdir(exist_ok=True)
    for name, text in files_of(groups).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
