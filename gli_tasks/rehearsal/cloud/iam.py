"""What moto's IAM lacks: the policy simulator, over the policies that moto's roles have.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html: one result an action, and each
resource's decision below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moto.iam.models import Role, iam_backends

from gli_tasks.rehearsal.wire import AwsError, AwsService, RequestContext

Statement = Mapping[str, Any]

#: From the least to the most restrictive: the greatest is the decision on several resources together.
_DECISIONS = ("allowed", "implicitDeny", "explicitDeny")


class PolicySimulator(AwsService):
    """SimulatePrincipalPolicy for the roles of one account; everything else of IAM falls through."""

    validation_error_code = "InvalidInput"

    def __init__(self, account: str) -> None:
        super().__init__("iam", fall_through=True)
        self._account = account

    def simulate_principal_policy(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Decide on each action and resource by the role's own policies."""
        arn = str(params["PolicySourceArn"])
        role = next((one for one in self._roles() if one.arn == arn), None)
        if role is None:
            raise AwsError("NoSuchEntity", f"No role found with arn {arn}", 404)
        given = {str(one.get("ContextKeyName", "")).lower() for one in params.get("ContextEntries") or ()}
        statements = _statements(role)
        resources = params.get("ResourceArns") or ["*"]
        return {
            "EvaluationResults": [_result(statements, action, resources, given) for action in params["ActionNames"]],
            "IsTruncated": False,
        }

    def _roles(self) -> list[Role]:
        return list(iam_backends[self._account]["aws"].roles.values())


def _result(statements: Sequence[Statement], action: str, resources: Sequence[str], given: set[str]) -> dict[str, Any]:
    decided = [(resource, *decide(statements, action, resource, given)) for resource in resources]
    specific = [
        {"EvalResourceName": resource, "EvalResourceDecision": decision, "MissingContextValues": missing}
        for resource, decision, missing in decided
    ]
    return {
        "EvalActionName": action,
        "EvalDecision": max((decision for _, decision, _ in decided), key=_DECISIONS.index),
        "MissingContextValues": sorted({key for _, _, missing in decided for key in missing}),
        "ResourceSpecificResults": specific,
    }


def decide(statements: Iterable[Statement], action: str, resource: str, given: set[str]) -> tuple[str, list[str]]:
    """Return the decision on an action, and the context keys that it would have wanted.

    A statement with a condition on a key that was not given does not count; the values of given keys are taken to fit.
    """
    allowed, missing = False, set[str]()
    for one in statements:
        if not _concerns(one, "Action", action, re.IGNORECASE) or not _concerns(one, "Resource", resource):
            continue
        asked = {key for keys in (one.get("Condition") or {}).values() for key in keys}
        absent = {key for key in asked if key.lower() not in given}
        missing |= absent
        if absent:
            continue
        if one.get("Effect") == "Deny":
            return "explicitDeny", []
        allowed = True
    return ("allowed" if allowed else "implicitDeny"), sorted(missing)


def _statements(role: Role) -> list[Statement]:
    documents = [*role.policies.values()]
    for managed in role.managed_policies.values():
        documents += [version.document for version in managed.versions if version.is_default]
    found: list[Statement] = []
    for document in documents:
        statement = json.loads(document)["Statement"]
        found += [statement] if isinstance(statement, dict) else statement
    return found


def _concerns(statement: Statement, key: str, value: str, flags: int = 0) -> bool:
    if f"Not{key}" in statement:
        return not _matches(statement[f"Not{key}"], value, flags)
    return _matches(statement.get(key, ()), value, flags)


def _matches(patterns: Any, value: str, flags: int) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(re.fullmatch(re.escape(str(one)).replace(r"\*", ".*").replace(r"\?", "."), value, flags) for one in each)
