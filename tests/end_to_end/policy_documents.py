"""Policies of IAM as documents: made of needs, filled in with an environment's names, and judged as IAM judges them."""

from __future__ import annotations

import itertools
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.end_to_end.policy_rules import Context, Need

Policy = dict[str, Any]

_TITLES = {
    "application-autoscaling": "Autoscaling",
    "ec2": "Network",
    "ecr": "Images",
    "ecs": "Ecs",
    "elasticloadbalancing": "LoadBalancing",
    "iam": "Roles",
    "logs": "Logs",
    "s3": "State",
    "secretsmanager": "Secrets",
    "servicequotas": "Quotas",
    "ssm": "Parameters",
}
_ARN_PARTS = 5
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def policy_of(needs: Iterable[Need]) -> Policy:
    """Return the policy that allows these needs, and nothing that none of them asks for.

    A statement a service and set of resources: no action is allowed on a resource that it was not needed on.
    """
    resources: dict[tuple[str, Context], set[str]] = defaultdict(set)
    for need in needs:
        resources[need.action, need.context].add(need.resource)
    actions: dict[tuple[str, Context, tuple[str, ...]], set[str]] = defaultdict(set)
    for (action, context), arns in resources.items():
        actions[action.partition(":")[0], context, tuple(sorted(arns))].add(action)
    statements = [_statement(service, context, arns, found) for (service, context, arns), found in actions.items()]
    return {"Version": "2012-10-17", "Statement": _with_own_sids(sorted(statements, key=_order))}


def _statement(service: str, context: Context, arns: tuple[str, ...], actions: Iterable[str]) -> dict[str, Any]:
    kinds = dict.fromkeys(_kind(arn) for arn in arns)
    conditions: dict[str, dict[str, str]] = defaultdict(dict)
    for key, value in context:
        conditions["ArnEquals" if value.startswith("arn:") else "StringEquals"][key] = value
    said = [key.partition(":")[2] for key, _ in context if key in ("ecs:CreateAction", "iam:PassedToService")]
    if arns == ("*",) and context:
        said = ["InCluster"]
    made = {
        "Sid": _TITLES[service] + "".join(kinds) + "".join(one[0].upper() + one[1:] for one in said),
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(arns),
    }
    return {**made, "Condition": dict(conditions)} if conditions else made


def _kind(arn: str) -> str:
    if arn == "*":
        return "Any"
    service, resource = arn.split(":")[2], arn.split(":", _ARN_PARTS)[_ARN_PARTS]
    if service == "s3":
        return "Object" if "/" in resource else "Bucket"
    if service == "servicequotas":
        return "Service"
    return "".join(word.title() for word in re.split("[:/]", resource)[0].split("-"))


def _order(statement: Mapping[str, Any]) -> tuple[str, list[str]]:
    return statement["Sid"], statement["Action"]


def _with_own_sids(statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the Sids that are not the only ones: within a policy each must be its own."""
    counted: dict[str, int] = defaultdict(int)
    for one in statements:
        counted[one["Sid"]] += 1
    number: dict[str, int] = defaultdict(int)
    for one in statements:
        if counted[one["Sid"]] > 1:
            number[one["Sid"]] += 1
            one["Sid"] += str(number[one["Sid"]])
    return statements


def placeholders(policy: Policy) -> set[str]:
    """Return the names that a policy leaves open."""
    return set(_PLACEHOLDER.findall(repr(policy)))


def fill(policy: Policy, names: Mapping[str, Sequence[str]]) -> Policy:
    """Return a policy with names in the place of placeholders; a resource is there once for each of several names.

    One that is left without a name is left out, and so is a statement without a resource: ``*`` it never becomes.
    """
    statements = []
    for statement in policy["Statement"]:
        resources = [one for resource in statement["Resource"] for one in _filled(resource, names)]
        conditions = {
            operator: {key: list(_filled(value, names)) for key, value in keys.items()}
            for operator, keys in statement.get("Condition", {}).items()
        }
        if resources:
            filled = {**statement, "Resource": resources}
            statements.append({**filled, "Condition": conditions} if conditions else filled)
    return {**policy, "Statement": statements}


def _filled(text: str, names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    keys = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
    for values in itertools.product(*(names.get(key, ()) for key in keys)):
        yield string.Template(text).substitute(dict(zip(keys, values, strict=True)))


def allows(policy: Policy, need: Need) -> bool:
    """Tell whether a policy of ``Allow`` statements alone lets a need pass, by its conditions as well."""
    context = dict(need.context)
    return any(
        _fits(statement["Action"], need.action, re.IGNORECASE)
        and _fits(statement["Resource"], need.resource)
        and all(
            key in context and _fits(value, context[key])
            for keys in statement.get("Condition", {}).values()
            for key, value in keys.items()
        )
        for statement in policy["Statement"]
    )


def _fits(patterns: str | Sequence[str], value: str, flags: int = 0) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*").replace(r"\?", "."), value, flags) for one in each)
