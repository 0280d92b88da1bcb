"""Resolve a reference to a secret at the moment of its use: ``aws-sm:<name>#<field>`` or ``env:<NAME>``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from gli_tasks.console import Redactor, Secret
from gli_tasks.errors import UsageError

if TYPE_CHECKING:
    from gli_tasks.aws import Aws


def resolve(reference: str, aws: Aws, redactor: Redactor) -> Secret:
    """Return the secret that a reference names, having taught it to the redactor.

    Raises UsageError where the secret or its field does not exist, naming both and never a value.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest, "")
        if not value:
            raise UsageError(f"the variable {rest} is empty", where=reference, remedy=f"export {rest}")
    elif kind == "aws-sm":
        value = _from_secrets_manager(rest, reference, aws)
    else:
        # What stands in a reference's place may be the secret itself, so it is not shown.
        raise UsageError("this is no reference to a secret", remedy="write aws-sm:<name>#<field> or env:<NAME>")
    secret = Secret(value)
    redactor.learn(secret)
    return secret


def _from_secrets_manager(rest: str, reference: str, aws: Aws) -> str:
    name, _, field = rest.partition("#")
    client = aws.client("secretsmanager")
    try:
        text = str(client.get_secret_value(SecretId=name).get("SecretString", ""))
    except client.exceptions.ResourceNotFoundException:
        raise UsageError(
            f"there is no secret {name!r}", where=reference, remedy="create it, or mend the reference"
        ) from None
    if not field:
        if not text:
            raise UsageError(f"the secret {name!r} holds no text", where=reference, remedy="store it as a string")
        return text
    try:
        fields = json.loads(text)
    except ValueError:
        raise UsageError(f"the secret {name!r} is not JSON, so it has no field {field!r}", where=reference) from None
    if not isinstance(fields, dict) or field not in fields:
        known = ", ".join(sorted(fields)) if isinstance(fields, dict) else "none"
        raise UsageError(f"the secret {name!r} has no field {field!r}", where=reference, remedy=f"its fields: {known}")
    value = fields[field]
    if not isinstance(value, str | int | float) or value == "":
        raise UsageError(f"the field {field!r} of the secret {name!r} is empty or no plain value", where=reference)
    return str(value)
