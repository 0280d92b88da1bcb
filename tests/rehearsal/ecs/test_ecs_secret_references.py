"""References to secrets, taken apart as ECS does."""

from __future__ import annotations

import pytest

from gli_tasks.rehearsal.ecs.secrets import SecretError, SecretReference, read_reference

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"


def test_all_parameters_or_none_are_read() -> None:
    assert read_reference(ARN) == SecretReference("asm", ARN)
    assert read_reference(f"{ARN}:host::") == SecretReference("asm", ARN, "host")
    assert read_reference(f"{ARN}::AWSPREVIOUS:") == SecretReference("asm", ARN, None, "AWSPREVIOUS")


@pytest.mark.parametrize("behind", [":host", ":host:", ":host:::"])
def test_some_of_them_are_refused(behind: str) -> None:
    with pytest.raises(SecretError, match="unexpected ARN format with parameters"):
        read_reference(f"{ARN}{behind}")
