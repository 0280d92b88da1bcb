"""References resolved against moto's Secrets Manager and this process's environment."""

from __future__ import annotations

import uuid

import pytest

from gli_tasks.aws import Aws
from gli_tasks.console import MASK, Redactor
from gli_tasks.errors import UsageError
from gli_tasks.secret_references import resolve
from tests.floor_parts import ACCOUNT, REGION

pytest_plugins = ["tests.floor_fixtures"]
pytestmark = pytest.mark.usefixtures("aws_process")  # moto, in this process, looks at its variables too


def stored(aws: Aws, **value: str | bytes) -> str:
    name = f"shop/{uuid.uuid4().hex[:8]}"
    aws.client("secretsmanager").create_secret(Name=name, **value)
    return name


def test_a_field_of_a_secret_is_resolved_and_learnt(moto_aws: Aws) -> None:
    name = stored(moto_aws, SecretString='{"password": "hunter2", "port": 5432}')
    redactor = Redactor()
    assert resolve(f"aws-sm:{name}#password", moto_aws, redactor).reveal() == "hunter2"
    assert resolve(f"aws-sm:{name}#port", moto_aws, redactor).reveal() == "5432"
    assert redactor.clean("postgres://u:hunter2@db:5432") == f"postgres://u:{MASK}@db:{MASK}"


def test_a_secret_without_a_field_is_its_text(moto_aws: Aws) -> None:
    name = stored(moto_aws, SecretString="hunter2\n")
    redactor = Redactor()
    assert resolve(f"aws-sm:{name}", moto_aws, redactor).reveal() == "hunter2\n"
    assert redactor.clean("it said hunter2.") == f"it said {MASK}."


def test_the_newest_value_is_resolved(moto_aws: Aws) -> None:
    name = stored(moto_aws, SecretString="old-value")
    moto_aws.client("secretsmanager").put_secret_value(SecretId=name, SecretString="new-value")
    assert resolve(f"aws-sm:{name}", moto_aws, Redactor()).reveal() == "new-value"


@pytest.mark.parametrize(
    ("text", "reference", "what"),
    [
        ('{"user": "hunter2", "host": "x"}', "#pasword", "has no field 'pasword'"),
        ('["hunter2"]', "#password", "has no field 'password'"),
        ('"hunter2"', "#password", "has no field 'password'"),
        ("hunter2", "#password", "is not JSON, so it has no field 'password'"),
        ('{"password": ""}', "#password", "is empty or no plain value"),
        ('{"password": null}', "#password", "is empty or no plain value"),
        ('{"password": {"a": "hunter2"}}', "#password", "is empty or no plain value"),
    ],
)
def test_what_is_not_there_is_named_and_no_value_shown(moto_aws: Aws, text: str, reference: str, what: str) -> None:
    name = stored(moto_aws, SecretString=text)
    with pytest.raises(UsageError, match=what) as caught:
        resolve(f"aws-sm:{name}{reference}", moto_aws, Redactor())
    assert "hunter2" not in str(caught.value)
    assert caught.value.where == f"aws-sm:{name}{reference}"


def test_the_fields_that_there_are_are_named(moto_aws: Aws) -> None:
    name = stored(moto_aws, SecretString='{"user": "hunter2", "host": "x"}')
    with pytest.raises(UsageError) as caught:
        resolve(f"aws-sm:{name}#password", moto_aws, Redactor())
    assert caught.value.remedy == "its fields: host, user"


def test_a_binary_secret_holds_no_text(moto_aws: Aws) -> None:
    name = stored(moto_aws, SecretBinary=b"hunter2")
    with pytest.raises(UsageError, match="holds no text"):
        resolve(f"aws-sm:{name}", moto_aws, Redactor())


def test_a_secret_that_does_not_exist(moto_aws: Aws) -> None:
    with pytest.raises(UsageError, match="there is no secret 'shop/none'") as caught:
        resolve("aws-sm:shop/none#password", moto_aws, Redactor())
    assert caught.value.exit_code == 2


def test_a_variable_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOOR_SECRET", "hunter2")
    redactor = Redactor()
    assert resolve("env:FLOOR_SECRET", Aws(REGION, ACCOUNT), redactor).reveal() == "hunter2"
    assert redactor.clean("hunter2") == MASK


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_empty(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("FLOOR_SECRET", raising=False)
    else:
        monkeypatch.setenv("FLOOR_SECRET", value)
    with pytest.raises(UsageError, match="the variable FLOOR_SECRET is empty") as caught:
        resolve("env:FLOOR_SECRET", Aws(REGION, ACCOUNT), Redactor())
    assert caught.value.remedy == "export FLOOR_SECRET"


@pytest.mark.parametrize("text", ["hunter2", "https://hooks.slack.com/services/hunter2", "vault:hunter2", ""])
def test_what_is_no_reference_may_be_the_secret_and_is_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="no reference to a secret") as caught:
        resolve(text, Aws(REGION, ACCOUNT), Redactor())
    assert "hunter2" not in str(caught.value)
