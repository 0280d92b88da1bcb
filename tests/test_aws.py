"""botocore for real, against endpoints on loopback."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.session import Session

from gli_tasks.aws import Aws, Call, as_gli_error, error_code, is_read
from gli_tasks.errors import AwsCallFailed, GliError, Locked, Refused
from tests.floor_parts import ACCOUNT, REGION, AwsServer

pytest_plugins = ["tests.floor_fixtures"]
pytestmark = pytest.mark.usefixtures("aws_process")

IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{account}:user/who</Arn><UserId>U</UserId><Account>{account}</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


@pytest.fixture
def aws(aws_server: AwsServer, aws_process: pytest.MonkeyPatch) -> Aws:
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)
    return Aws(REGION, ACCOUNT)


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeServices",
        "ListObjectsV2",
        "GetSecretValue",
        "HeadObject",
        "BatchGetImage",
        "FilterLogEvents",
        "BatchCheckLayerAvailability",
        "GetAuthorizationToken",
    ],
)
def test_reads(operation: str) -> None:
    assert is_read(operation)


@pytest.mark.parametrize(
    "operation",
    ["UpdateService", "PutObject", "RunTask", "Getaway", "StartQuery", "BatchDeleteImage", ""],
)
def test_changes(operation: str) -> None:
    assert not is_read(operation)


@pytest.mark.parametrize("service", ["ecs", "ecr", "elbv2", "s3", "secretsmanager", "cloudfront", "rds", "route53"])
def test_no_operation_whose_name_says_change_counts_as_a_read(service: str) -> None:
    verbs = (
        "Create",
        "Put",
        "Update",
        "Delete",
        "Modify",
        "Register",
        "Deregister",
        "Run",
        "Start",
        "Stop",
        "Add",
        "Set",
    )
    names = Session().get_service_model(service).operation_names
    assert [name for name in names if name.startswith(verbs) and is_read(name)] == []


def test_clients_are_made_once_and_shared_by_threads(aws: Aws) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(aws.client("ecs"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in found}) == 1
    assert aws.client("sts") is not found[0]
    assert found[0].meta.region_name == REGION


def test_the_settings_account_is_let_through(aws: Aws, aws_server: AwsServer) -> None:
    aws_server.answers_with(200, IDENTITY.format(account=ACCOUNT))
    assert aws.require_account() == f"arn:aws:iam::{ACCOUNT}:user/who"


def test_another_account_is_refused(aws: Aws, aws_server: AwsServer) -> None:
    aws_server.answers_with(200, IDENTITY.format(account="999999999999"))
    with pytest.raises(Refused, match=f"belong to account 999999999999, and the settings name {ACCOUNT}") as caught:
        aws.require_account()
    assert "AWS_PROFILE" in caught.value.remedy


def test_no_credentials(aws_server: AwsServer, aws_process: pytest.MonkeyPatch) -> None:
    aws_process.delenv("AWS_ACCESS_KEY_ID")
    aws_process.delenv("AWS_SECRET_ACCESS_KEY")
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)
    with pytest.raises(exceptions.NoCredentialsError) as caught:
        Aws(REGION, ACCOUNT).require_account()
    error = as_gli_error(caught.value)
    assert isinstance(error, Refused)
    assert (error.what, error.exit_code) == ("there are no AWS credentials", 2)
    assert aws_server.asked == 0


def test_half_of_the_credentials(aws_process: pytest.MonkeyPatch) -> None:
    aws_process.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(exceptions.PartialCredentialsError) as caught:
        Aws(REGION, ACCOUNT).require_account()
    assert isinstance(as_gli_error(caught.value), Refused)


def test_a_profile_that_does_not_exist(aws_process: pytest.MonkeyPatch) -> None:
    aws_process.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Refused, match="nobody") as caught:
        Aws(REGION, ACCOUNT).client("sts")
    assert "AWS_PROFILE" in caught.value.remedy


def test_an_endpoint_that_is_down(aws_process: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    config = Config(region_name=REGION, retries={"total_max_attempts": 1})
    client = Session().create_client("sts", endpoint_url=url, config=config)
    with pytest.raises(exceptions.EndpointConnectionError) as caught:
        client.get_caller_identity()
    error = as_gli_error(caught.value)
    assert isinstance(error, AwsCallFailed)
    assert error.what.startswith("AWS cannot be reached")
    assert url in error.what


def test_a_refused_call_says_what_and_what_to_do(aws: Aws, aws_server: AwsServer) -> None:
    ecs = aws.client("ecs")
    for status, code, remedy in (
        (403, "ExpiredTokenException", "log in again"),
        (400, "AccessDeniedException", "allow UpdateService"),
        (403, "UnrecognizedClientException", "check the credentials and the clock"),
        (403, "InvalidClientTokenId", "check the credentials and the clock"),
        (400, "ClusterNotFoundException", ""),
    ):
        aws_server.answers.clear()
        body = f'{{"__type": "{code}", "message": "no way"}}'
        aws_server.answers_with(status, body, x_amzn_RequestId="r-42", Content_Type="application/x-amz-json-1.1")
        with pytest.raises(exceptions.ClientError) as caught:
            ecs.update_service(service="api")
        assert error_code(caught.value) == code
        error = as_gli_error(caught.value)
        assert isinstance(error, AwsCallFailed)
        assert error.what == f"AWS refused UpdateService with {code}: no way"
        assert error.where == "request r-42"
        assert error.remedy.startswith(remedy)
    assert aws_server.asked == 5


@pytest.mark.parametrize("code", ["ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown"])
def test_throttling_that_does_not_end(code: str) -> None:
    error = as_gli_error(exceptions.ClientError({"Error": {"Code": code, "Message": "slow"}}, "X"))
    assert error is not None
    assert "fewer calls" in error.remedy


def test_an_answer_that_is_no_answer_of_aws(aws: Aws, aws_server: AwsServer) -> None:
    aws_server.answers_with(418, "<html>a proxy</html>")
    with pytest.raises((exceptions.BotoCoreError, exceptions.ClientError)) as caught:
        aws.client("sts").get_caller_identity()
    error = as_gli_error(caught.value)
    assert isinstance(error, AwsCallFailed)
    assert error.what == "AWS refused GetCallerIdentity with no code: status 418"


def test_an_answer_that_was_cut_off(aws: Aws, aws_server: AwsServer) -> None:
    aws_server.answers_with(200, IDENTITY.format(account=ACCOUNT)[:150])
    with pytest.raises(ResponseParserError) as caught:
        aws.require_account()
    error = as_gli_error(caught.value)
    assert isinstance(error, AwsCallFailed)
    assert error.what.startswith("AWS's answer was cut off, or is none of AWS's: Unable to parse response (")
    assert "GetCallerIdentityResponse" not in error.what
    assert error.remedy.startswith("ask again")


def test_a_call_with_wrong_parameters() -> None:
    client = Session().create_client("ecs", region_name=REGION, endpoint_url="http://127.0.0.1:1")
    with pytest.raises(exceptions.ParamValidationError) as caught:
        client.update_service(servce="api")
    error = as_gli_error(caught.value)
    assert error is not None
    assert error.what.startswith("ParamValidationError: ")


def test_our_own_errors_stay_and_others_are_none_of_ours() -> None:
    ours = GliError("x")
    assert as_gli_error(ours) is ours
    assert as_gli_error(ValueError("x")) is None
    assert error_code(ValueError("x")) == ""
    assert error_code(exceptions.ClientError({}, "X")) == ""


def watched(calls: list[Call]) -> Aws:
    """Return a session that adds every change to ``calls``."""
    aws = Aws(REGION, ACCOUNT)
    aws.tell_changes(calls.append)
    return aws


def test_a_guard_keeps_changes_from_being_made_and_lets_reads_through(
    aws_server: AwsServer, aws_process: pytest.MonkeyPatch
) -> None:
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)

    def refuse() -> None:
        raise Locked("the lock was lost")

    aws = Aws(REGION, ACCOUNT)
    ecs = aws.client("ecs")
    aws.guard_changes(refuse)
    aws_server.answers_with(200, "{}")
    ecs.describe_services(services=["api"])
    assert aws_server.asked == 1
    with pytest.raises(Locked):
        ecs.update_service(service="api")
    assert aws_server.asked == 1


def test_a_change_whose_answer_was_lost_is_told_with_status_0(aws_process: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers:
        port = nobody_answers.getsockname()[1]
    aws_process.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    calls: list[Call] = []
    with pytest.raises(exceptions.EndpointConnectionError):
        watched(calls).client("ecs").update_service(service="api")
    assert calls == [Call("ecs", "UpdateService", "", 0, 1)]


def test_changes_are_told_with_their_request_id_and_reads_are_not(
    aws_server: AwsServer, aws_process: pytest.MonkeyPatch
) -> None:
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)
    calls: list[Call] = []
    ecs = watched(calls).client("ecs")
    aws_server.answers_with(200, "{}", x_amzn_RequestId="r-1")
    ecs.describe_services(services=["api"])
    assert calls == []
    ecs.update_service(service="api")
    assert calls == [Call("ecs", "UpdateService", "r-1", 200, 1)]


def test_a_refused_change_is_told_too(aws_server: AwsServer, aws_process: pytest.MonkeyPatch) -> None:
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)
    calls: list[Call] = []
    aws_server.answers_with(400, '{"__type": "ServiceNotFoundException"}', x_amzn_RequestId="r-2")
    with pytest.raises(exceptions.ClientError):
        watched(calls).client("ecs").update_service(service="api")
    assert calls == [Call("ecs", "UpdateService", "r-2", 400, 1)]


def test_a_change_that_was_tried_again_is_told_once_with_its_attempts(
    aws_server: AwsServer, aws_process: pytest.MonkeyPatch
) -> None:
    aws_process.setenv("AWS_ENDPOINT_URL", aws_server.url)
    calls: list[Call] = []
    aws_server.answers_with(500, '{"__type": "ServerException"}', x_amzn_RequestId="r-3")
    aws_server.answers_with(200, "{}", x_amzn_RequestId="r-4")
    watched(calls).client("ecs").update_service(service="api")
    assert calls[-1] == Call("ecs", "UpdateService", "r-4", 200, 2)
    assert aws_server.asked == 2
