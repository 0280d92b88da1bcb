"""The page that explains the policies, made of the policies themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gli_tasks.aws import is_read
from tests.end_to_end.policy_documents import Policy, placeholders
from tests.end_to_end.policy_names import PLACEHOLDERS

_ABOUT = {
    "read": "looks, and plans; changes nothing",
    "release": "releases, goes on with one, gives one up, goes back",
    "build-and-push": "builds images, pushes them, gives them to another repository",
    "operate": "one-off tasks, a way into a container, numbers of tasks, one service back, a dead lock",
    "prune": "removes task definitions and images that nobody needs",
}

_HEAD = """# IAM policies, a group of tasks each

What each group of tasks may do on AWS, and no more. `python -m tests.end_to_end.policies` writes these files: it plays
the tasks below on a twin, as an operator of each group, and takes the calls that the twin saw.
[calls.json](calls.json) holds them. `tests/end_to_end/test_policies.py` holds that the policies follow from these
calls, that the tasks ask for nothing else, and that nothing is allowed that no task asked for.

To attach one, fill in its placeholders. Where there are several of a kind, repeat the line, one for each name. This
does it from an environment's settings:

```console
$ python -m tests.end_to_end.policies --fill gli prod release > release.json
$ aws iam create-policy --policy-name gli-prod-release --policy-document file://release.json
```

Who releases needs `release`; CI that only plans needs `read`. Who does the work of several groups gets several.
"""

_NOTES = """## What to know

- `sts:GetCallerIdentity`, by which every task that changes something makes sure of the account, needs no permission.
- `*` stands where AWS has no resource types for an action; the condition `ecs:cluster` bounds `ecs:ListTasks`.
- `s3:ListBucket` goes with `s3:GetObject`: without it S3 answers 403 in the place of 404 for what is not there yet.
- `iam:PassRole` is for the roles of tasks alone, and for ECS tasks alone.
- `ecs.verify`, and so `read`, gets the secrets that task definitions take, to see whether their keys are there; it
  shows no value. For a person who may not see them, put `secretsmanager:DescribeSecret` in the place of
  `secretsmanager:GetSecretValue`: the check then says SKIP.
- `ecs.exec` opens a session with the token that ECS gives, without `ssm:StartSession`. The container's own task role
  needs the four `ssmmessages` permissions.
- Where repositories are encrypted with a KMS key of yours, or ECS Exec is, permissions on that key come on top.
- Where environments share a repository, `image.prune` asks what each of them runs: repeat its lines on cluster and
  bucket for each.
"""


def page(tasks: Mapping[str, Sequence[str]], policies: Mapping[str, Policy]) -> str:
    """Return the page: what each group is for, its tasks, what it changes and reads, and what to fill in."""
    parts = [_HEAD, "## The groups\n", _groups(tasks, policies), _placeholders(policies), _NOTES]
    return "\n".join(parts)


def _groups(tasks: Mapping[str, Sequence[str]], policies: Mapping[str, Policy]) -> str:
    lines = ["| policy | for | tasks | changes | reads |", "|---|---|---|---|---|"]
    for group, policy in policies.items():
        actions = sorted({action for one in policy["Statement"] for action in one["Action"]})
        changes = [one for one in actions if not is_read(one.partition(":")[2])]
        reads = [one for one in actions if one not in changes]
        typed = sorted({_task(line) for line in tasks[group]})
        cells = (f"[{group}]({group}.json)", _ABOUT[group], _code(typed), _code(changes) or "nothing", _code(reads))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _task(line: str) -> str:
    words = line.split()
    name = "release.<environment>" if words[0] == "release.prod" else words[0]
    return f"{name} --plan" if "--plan" in words else name


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _placeholders(policies: Mapping[str, Policy]) -> str:
    lines = ["## What to fill in\n", "| placeholder | what it is | in |", "|---|---|---|"]
    for name, one in PLACEHOLDERS.items():
        users = [group for group, policy in policies.items() if name in placeholders(policy)]
        if users:
            lines.append(f"| `${{{name}}}` | {one.meaning} | {', '.join(users)} |")
    return "\n".join(lines) + "\n"
