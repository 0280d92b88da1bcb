"""The policy simulator over moto's roles, and Fargate's quota, asked by boto3 over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gli_tasks.rehearsal.cloud import FargateQuota, PolicySimulator
from gli_tasks.rehearsal.wire import Gateway
from tests.rehearsal.cloud.conftest import ACCOUNT, REGION

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf"
READ = "secretsmanager:GetSecretValue"


@pytest.fixture
def client(server: Callable[[Any], str], moto_app: Any) -> Callable[[str], Any]:
    url = server(Gateway(moto_app, [PolicySimulator(ACCOUNT), FargateQuota(ACCOUNT, REGION)]))

    def of(service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"max_attempts": 0}),
        )

    return of


@pytest.fixture
def iam(client: Callable[[str], Any]) -> Iterator[Any]:
    iam = client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument='{"Statement": []}')
    yield iam
    for name in iam.list_role_policies(RoleName="reader")["PolicyNames"]:
        iam.delete_role_policy(RoleName="reader", PolicyName=name)
    for one in iam.list_attached_role_policies(RoleName="reader")["AttachedPolicies"]:
        iam.detach_role_policy(RoleName="reader", PolicyArn=one["PolicyArn"])
        iam.delete_policy(PolicyArn=one["PolicyArn"])
    iam.delete_role(RoleName="reader")


def allow(iam: Any, name: str = "inline", **statement: Any) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": READ, **statement}]}
    iam.put_role_policy(RoleName="reader", PolicyName=name, PolicyDocument=json.dumps(document))


def simulated(iam: Any, *resources: str, action: str = READ) -> dict[str, Any]:
    answer = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:role/reader", ActionNames=[action], ResourceArns=list(resources)
    )
    (result,) = answer["EvaluationResults"]
    return dict(result)


def decided(iam: Any, resource: str = SECRET, action: str = READ) -> str:
    (one,) = simulated(iam, resource, action=action)["ResourceSpecificResults"]
    return str(one["EvalResourceDecision"])


@pytest.mark.parametrize(
    ("statement", "decision"),
    [
        ({"Resource": SECRET}, "allowed"),
        ({"Resource": [f"{SECRET}x", "*"]}, "allowed"),
        ({"Resource": SECRET[:-6] + "??????"}, "allowed"),
        ({"Resource": f"{SECRET}x"}, "implicitDeny"),
        ({"Resource": "*", "Action": "SecretsManager:get*"}, "allowed"),
        ({"Resource": "*", "Action": ["s3:*", "ssm:GetParameters"]}, "implicitDeny"),
        ({"Resource": "*", "Effect": "Deny"}, "explicitDeny"),
        ({"NotResource": SECRET}, "implicitDeny"),
    ],
)
def test_a_statement_decides(iam: Any, statement: dict[str, Any], decision: str) -> None:
    allow(iam, **statement)
    assert decided(iam) == decision


def test_a_denial_beats_what_another_policy_allows(iam: Any) -> None:
    allow(iam, Resource="*")
    allow(iam, "denial", Resource=SECRET, Effect="Deny")
    assert decided(iam) == "explicitDeny"
    assert decided(iam, f"{SECRET}x") == "allowed"


def test_attached_policies_count(iam: Any) -> None:
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    arn = iam.create_policy(PolicyName="all", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="reader", PolicyArn=arn)
    assert decided(iam) == "allowed"


def test_several_resources_are_one_result_as_strict_as_the_strictest(iam: Any) -> None:
    allow(iam, Resource=SECRET)
    result = simulated(iam, SECRET, "arn:other")
    assert result["EvalDecision"] == "implicitDeny"
    assert [one["EvalResourceDecision"] for one in result["ResourceSpecificResults"]] == ["allowed", "implicitDeny"]


def test_a_condition_on_what_was_not_said_is_named(iam: Any) -> None:
    allow(iam, Resource="*", Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})
    result = simulated(iam, SECRET)
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["aws:SourceVpc"])


def test_a_role_that_is_not_there(iam: Any) -> None:
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:role/none", ActionNames=[READ])


def test_fargate_s_quota_and_no_other(client: Callable[[str], Any]) -> None:
    quotas = client("service-quotas")
    found = quotas.get_service_quota(ServiceCode="fargate", QuotaCode="L-3032A538")["Quota"]
    assert (found["Value"], found["Adjustable"]) == (6.0, True)
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        quotas.get_service_quota(ServiceCode="fargate", QuotaCode="L-00000000")
