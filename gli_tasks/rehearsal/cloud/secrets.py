"""Reads moto's Secrets Manager and Parameter Store in process, as the ECS agent does with a task's secrets.

What a reference in a task definition means is ECS's to know; here is only the fetching.
"""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.exceptions import SecretsManagerClientError
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.exceptions import ParameterVersionNotFound
from moto.ssm.models import ssm_backends

from gli_tasks.rehearsal.ecs.ports import SecretUnavailable

_NO_SECRET = "ResourceNotFoundException: Secrets Manager can't find the specified secret."  # noqa: S105


class SecretResolver:
    """Secrets and parameters of one account; ``region`` is where names that are no ARN are looked for.

    A reference into another account finds nothing: the twin has no resource policies that would let it in.
    """

    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region

    def secret(self, secret_id: str, version_stage: str | None, version_id: str | None) -> str:
        """Return a secret's string; ``secret_id`` is an ARN, with or without its six-character suffix, or a name.

        Without stage and version the current one is meant. Raises SecretUnavailable.
        """
        account, region = self._place(secret_id)
        if account != self._account:
            raise SecretUnavailable(_NO_SECRET)
        backend = secretsmanager_backends[account][region]
        stage = version_stage or ("" if version_id else "AWSCURRENT")
        try:
            found: dict[str, Any] = backend.get_secret_value(secret_id, version_id or None, stage)
        except SecretsManagerClientError as error:
            raise SecretUnavailable(f"{error.error_type}: {error.message}") from error
        if "SecretString" not in found:
            raise SecretUnavailable("InvalidParameterException: the secret has a binary value, and no string")
        return str(found["SecretString"])

    def parameter(self, name: str) -> str:
        """Return a parameter's decrypted value, by name or ARN. Raises SecretUnavailable."""
        account, region = self._place(name)
        missing = SecretUnavailable(f"ParameterNotFound: invalid parameters: {name}")
        if account != self._account:
            raise missing
        bare = name.split(":parameter", 1)[1] if name.startswith("arn:") and ":parameter" in name else name
        # The ARN of a parameter "x" and of one "/x" are the same text.
        for candidate in (bare, bare.removeprefix("/")):
            try:
                found = ssm_backends[account][region].get_parameter(candidate)
            except ParameterVersionNotFound as error:
                raise missing from error
            if found is not None:
                return str(found.decrypt(found.value))
        raise missing

    def _place(self, reference: str) -> tuple[str, str]:
        """Return account and region of an ARN, or the resolver's own."""
        parts = reference.split(":")
        return (parts[4], parts[3]) if parts[0] == "arn" and len(parts) > 5 else (self._account, self._region)
