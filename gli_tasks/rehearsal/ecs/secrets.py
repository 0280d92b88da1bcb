"""Secrets of a container, from their references to values, at the moment of start.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from gli_tasks.rehearsal.ecs import wording
from gli_tasks.rehearsal.ecs.ports import SecretResolver, SecretUnavailable

_ARN_PARTS = 7
_SECRETS_MANAGER = "arn:aws:secretsmanager:"


class SecretError(Exception):
    """A container's secrets cannot be resolved; the text is the task's stop reason."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A ``valueFrom``, taken apart. ``kind`` is asm (Secrets Manager) or ssm (Parameter Store)."""

    kind: str
    name: str
    json_key: str | None = None
    version_stage: str | None = None
    version_id: str | None = None


def read_reference(value_from: str) -> SecretReference:
    """Take a ``valueFrom`` apart: a Secrets Manager ARN with its suffixes, else a parameter's ARN or name.

    Raises SecretError for an ARN with some of its suffixes: ECS takes all three or none.
    """
    if not value_from.startswith(_SECRETS_MANAGER):
        return SecretReference("ssm", value_from)
    parts = value_from.split(":")
    if len(parts) not in (_ARN_PARTS, _ARN_PARTS + 3):
        raise SecretError(wording.secret_arn_malformed(value_from))
    suffixes = [part or None for part in parts[_ARN_PARTS:]]
    key, stage, version = (*suffixes, None, None, None)[:3]
    return SecretReference("asm", ":".join(parts[:_ARN_PARTS]), key, stage, version)


def resolve(value_from: str, resolver: SecretResolver) -> str:
    """Return the value that a reference names. Raises SecretError, whose text never holds a value."""
    reference = read_reference(value_from)
    try:
        if reference.kind == "ssm":
            return resolver.parameter(reference.name)
        text = resolver.secret(reference.name, reference.version_stage, reference.version_id)
    except SecretUnavailable as error:
        raise SecretError(wording.secret_unavailable(reference.kind, reference.name, str(error))) from error
    return text if reference.json_key is None else _member(text, reference.name, reference.json_key)


def _member(text: str, name: str, key: str) -> str:
    try:
        members = json.loads(text)
    except ValueError:
        # The parser's own error would quote the secret.
        raise SecretError(wording.secret_without_key(name, key)) from None
    if not isinstance(members, dict) or key not in members:
        raise SecretError(wording.secret_without_key(name, key))
    value = members[key]
    return value if isinstance(value, str) else json.dumps(value)
