"""The wire, asked by real boto3 clients over real HTTP."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import make_server

from gli_tasks.rehearsal.wire import AwsError, AwsService, Gateway, HttpAnswer, RequestContext

ACCESS_KEY = "AKIAREHEARSAL"
MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500_000, tzinfo=UTC)


@dataclass
class Seen:
    """What handlers were given."""

    contexts: list[RequestContext] = field(default_factory=list)
    params: list[dict[str, Any]] = field(default_factory=list)

    def note(self, request: RequestContext, params: dict[str, Any]) -> None:
        self.contexts.append(request)
        self.params.append(params)


class Alarms(AwsService):
    validation_error_code = "ValidationError"

    def __init__(self, seen: Seen) -> None:
        super().__init__("cloudwatch", fall_through=True)
        self.seen = seen

    def put_metric_data(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        return {}

    def get_metric_data(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        result = {"Id": "m1", "Label": "a", "Timestamps": [MOMENT], "Values": [1], "StatusCode": "Complete"}
        return {"MetricDataResults": [result], "NextToken": None}

    def describe_alarm_history(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("InvalidNextToken", "no such page")

    def describe_alarms(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"MetricAlarms": [{"AlarmNam": "misspelt"}]}


class Balancers(AwsService):
    validation_error_code = "ValidationError"

    def __init__(self, seen: Seen) -> None:
        super().__init__("elbv2")
        self.seen = seen

    def describe_target_health(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        if params["TargetGroupArn"] == "none":
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        target = {"Id": "127.0.1.1", "Port": 8000}
        health = {"State": "unhealthy", "Reason": "Target.Timeout", "Description": "a < b & c"}
        return {"TargetHealthDescriptions": [{"Target": target, "TargetHealth": health}]}


class Schedules(AwsService):
    def __init__(self, seen: Seen) -> None:
        super().__init__("scheduler")
        self.seen = seen

    def get_schedule(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        if params["Name"] == "none":
            raise AwsError("ResourceNotFoundException", "Schedule none does not exist.")
        return {"Name": params["Name"], "CreationDate": MOMENT}

    def create_schedule(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        return {"ScheduleArn": "arn:aws:scheduler:ap-northeast-2:1:schedule/default/x"}

    def list_schedules(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        return {"Schedules": []}


class Secrets(AwsService):
    validation_error_code = "InvalidParameterException"

    def __init__(self, seen: Seen) -> None:
        super().__init__("secretsmanager")
        self.seen = seen

    def get_secret_value(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        return {"Name": params["SecretId"], "SecretBinary": b"\x00\x01", "CreatedDate": MOMENT}

    def put_secret_value(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.seen.note(request, params)
        raise AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")


def behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The wrapped application: tells what reached it."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("broken on purpose")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"path": environ["PATH_INFO"], "body": body.decode("latin-1")}).encode()]


@dataclass(frozen=True)
class Wire:
    port: int
    seen: Seen
    gateway: Gateway

    def client(self, service: str, **config: Any) -> Any:
        return boto3.client(
            service,
            region_name="ap-northeast-2",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        service: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        scope = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260504/ap-northeast-2/{service}/aws4_request, Signature=0"
        sent = {**(headers or {}), **({"Authorization": scope} if service else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    seen = Seen()
    pages = {
        "/_twin/topology": lambda request: HttpAnswer.json({"after": request.query_value("after")}),
        "/_twin/below/": lambda request: HttpAnswer.text(f"{request.method} {request.path} {request.body.decode()}"),
    }
    gateway = Gateway(behind, [Alarms(seen), Balancers(seen), Schedules(seen), Secrets(seen)], pages)
    server = make_server("127.0.0.1", 0, gateway, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield Wire(server.server_port, seen, gateway)
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_cbor_carries_timestamps_floats_and_nested_members_both_ways(wire: Wire) -> None:
    cloudwatch = wire.client("cloudwatch")
    datum = {"MetricName": "Requests", "Value": 3.0, "Timestamp": MOMENT, "Dimensions": [{"Name": "a", "Value": "b"}]}
    answer = cloudwatch.put_metric_data(Namespace="N", MetricData=[datum])
    assert wire.seen.params[-1] == {"Namespace": "N", "MetricData": [datum]}
    assert wire.seen.contexts[-1].access_key == ACCESS_KEY
    assert wire.seen.contexts[-1].region == "ap-northeast-2"
    assert answer["ResponseMetadata"]["RequestId"] == wire.seen.contexts[-1].request_id
    found = cloudwatch.get_metric_data(MetricDataQueries=[], StartTime=MOMENT, EndTime=MOMENT)
    assert found["MetricDataResults"][0]["Timestamps"] == [MOMENT]
    assert found["MetricDataResults"][0]["Values"] == [1.0]


def test_a_large_request_arrives_compressed(wire: Wire) -> None:
    data = [{"MetricName": f"Requests{index}", "Value": 1.0, "Timestamp": MOMENT} for index in range(400)]
    wire.client("cloudwatch").put_metric_data(Namespace="N", MetricData=data)
    assert wire.seen.params[-1]["MetricData"] == data


def test_cbor_error_has_the_modelled_name_and_the_old_code(wire: Wire) -> None:
    with pytest.raises(ClientError) as caught:
        wire.client("cloudwatch").describe_alarm_history()
    assert caught.value.response["Error"]["Code"] == "InvalidNextToken"
    assert caught.value.response["Error"]["Message"] == "no such page"


def test_the_same_service_answers_json_and_query(wire: Wire) -> None:
    headers = {
        "X-Amz-Target": "GraniteServiceVersion20100801.GetMetricData",
        "Content-Type": "application/x-amz-json-1.0",
    }
    body = json.dumps({"MetricDataQueries": [], "StartTime": 1777863721.5, "EndTime": 1777863721}).encode()
    status, sent, text = wire.ask("POST", "/", body, headers, "monitoring")
    assert status == 200
    assert sent["content-type"] == "application/x-amz-json-1.0"
    assert json.loads(text)["MetricDataResults"][0]["Timestamps"] == [MOMENT.timestamp()]
    form = b"Action=GetMetricData&Version=2010-08-01&StartTime=2026-05-04T03:02:01Z&EndTime=2026-05-04T03:02:01Z"
    form += b"&MetricDataQueries.member.1.Id=m1&MetricDataQueries.member.1.ReturnData=true"
    status, _, text = wire.ask("POST", "/", form, {"Content-Type": "application/x-www-form-urlencoded"}, "monitoring")
    assert status == 200
    assert wire.seen.params[-1]["MetricDataQueries"] == [{"Id": "m1", "ReturnData": True}]
    assert b"<GetMetricDataResult><MetricDataResults><member><Id>m1</Id>" in text
    assert b"<Timestamps><member>2026-05-04T03:02:01.500Z</member>" in text


def test_query_lists_structures_escapes_and_errors(wire: Wire) -> None:
    balancers = wire.client("elbv2")
    found = balancers.describe_target_health(TargetGroupArn="arn", Targets=[{"Id": "127.0.1.1", "Port": 8000}])
    assert wire.seen.params[-1] == {"TargetGroupArn": "arn", "Targets": [{"Id": "127.0.1.1", "Port": 8000}]}
    assert found["TargetHealthDescriptions"][0]["TargetHealth"]["Description"] == "a < b & c"
    assert found["TargetHealthDescriptions"][0]["Target"]["Port"] == 8000
    with pytest.raises(balancers.exceptions.TargetGroupNotFoundException) as caught:
        balancers.describe_target_health(TargetGroupArn="none")
    assert caught.value.response["Error"]["Code"] == "TargetGroupNotFound"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_rest_json_paths_queries_bodies_and_errors(wire: Wire) -> None:
    schedules = wire.client("scheduler")
    found = schedules.get_schedule(Name="nightly", GroupName="blue")
    assert wire.seen.params[-1] == {"Name": "nightly", "GroupName": "blue"}
    assert found["CreationDate"] == MOMENT
    schedules.create_schedule(
        Name="nightly",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:sns:ap-northeast-2:1:t", "RoleArn": "arn:aws:iam::1:role/r"},
    )
    assert wire.seen.params[-1]["Name"] == "nightly"
    assert wire.seen.params[-1]["FlexibleTimeWindow"] == {"Mode": "OFF"}
    schedules.list_schedules(MaxResults=5, NamePrefix="n")
    assert wire.seen.params[-1] == {"MaxResults": 5, "NamePrefix": "n"}
    with pytest.raises(schedules.exceptions.ResourceNotFoundException):
        schedules.get_schedule(Name="none")


def test_json_carries_blobs_and_modelled_errors(wire: Wire) -> None:
    secrets = wire.client("secretsmanager")
    found = secrets.get_secret_value(SecretId="a")
    assert (found["SecretBinary"], found["CreatedDate"]) == (b"\x00\x01", MOMENT)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.put_secret_value(SecretId="a", SecretBinary=b"\xff", ClientRequestToken="t" * 32)
    assert wire.seen.params[-1]["SecretBinary"] == b"\xff"


def test_input_is_validated_at_the_server(wire: Wire) -> None:
    with pytest.raises(ClientError) as caught:
        wire.client("secretsmanager", parameter_validation=False).get_secret_value()
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"
    assert "SecretId" in caught.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as caught:
        wire.client("scheduler").create_schedule(
            Name="n",
            ScheduleExpression="x",
            FlexibleTimeWindow={"Mode": "SIDEWAYS"},
            Target={"Arn": "a", "RoleArn": "b"},
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "Value 'SIDEWAYS' at 'FlexibleTimeWindow.Mode' failed" in caught.value.response["Error"]["Message"]


def test_an_answer_that_does_not_fit_its_model_is_the_twins_own_failure(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL), pytest.raises(ClientError) as caught:
        wire.client("cloudwatch").describe_alarms()
    assert caught.value.response["Error"]["Code"] == "InternalFailure"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "AlarmNam" in caught.value.response["Error"]["Message"]


def test_an_operation_that_the_twin_does_not_do_says_so(wire: Wire) -> None:
    with pytest.raises(ClientError) as caught:
        wire.client("secretsmanager").list_secrets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "ListSecrets" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "path", "headers", "body"),
    [
        ("secretsmanager", "/", {"X-Amz-Target": "secretsmanager.GetSecretValue"}, b'{"SecretId": "a'),
        ("secretsmanager", "/", {"X-Amz-Target": "secretsmanager.GetSecretValue"}, b"[]"),
        (
            "monitoring",
            "/service/GraniteServiceVersion20100801/operation/PutMetricData",
            {"smithy-protocol": "rpc-v2-cbor"},
            b"\xa2iNam",
        ),
        (
            "monitoring",
            "/service/GraniteServiceVersion20100801/operation/PutMetricData",
            {"smithy-protocol": "rpc-v2-cbor"},
            b"\xff\xff",
        ),
        ("scheduler", "/schedules/n", {"Content-Type": "application/json", "X-Method": "POST"}, b"{nonsense"),
    ],
)
def test_an_unreadable_request_is_a_serialization_exception(
    wire: Wire, service: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    status, sent, text = wire.ask("POST", path, body, headers, service)
    assert status == 400
    assert b"SerializationException" in text
    assert sent["x-amzn-requestid"]


def test_a_body_cut_short_is_answered(wire: Wire) -> None:
    head = (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: secretsmanager.GetSecretValue\r\nContent-Length: 100\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=A/20260504/r/secretsmanager/aws4_request, Signature=0\r\n\r\n{}"
    )
    with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as raw:
        raw.sendall(head)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := raw.recv(4096):
            answer += chunk
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert b"SerializationException" in answer


def test_what_is_not_ours_reaches_the_wrapped_application_with_its_body(wire: Wire) -> None:
    form = b"Action=ListTopics&Version=2010-03-31"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, sent, text = wire.ask("POST", "/sns", form, headers, "sns")
    assert (status, json.loads(text)) == (200, {"path": "/sns", "body": form.decode()})
    assert sent["x-amzn-requestid"]
    cloudwatch_form = b"Action=PutDashboard&DashboardName=d"
    _, _, text = wire.ask("POST", "/", cloudwatch_form, headers, "monitoring")
    assert json.loads(text)["body"] == cloudwatch_form.decode()
    _, _, text = wire.ask("GET", "/bucket/key")
    assert json.loads(text)["path"] == "/bucket/key"


def test_calls_are_counted_and_readable(wire: Wire) -> None:
    secrets = wire.client("secretsmanager")
    secrets.get_secret_value(SecretId="a")
    secrets.get_secret_value(SecretId="b")
    wire.ask("GET", "/bucket/key", service="s3")
    wire.ask("POST", "/", b"Action=Publish", {"Content-Type": "application/x-www-form-urlencoded"}, "sns")
    status, _, text = wire.ask("GET", "/_twin/calls")
    assert status == 200
    expected = {"s3": {"GET": 1}, "secretsmanager": {"GetSecretValue": 2}, "sns": {"Publish": 1}}
    assert json.loads(text) == expected == wire.gateway.calls()


def test_who_asked_for_what_is_written_down_by_name_and_without_values(wire: Wire) -> None:
    secrets = wire.client("secretsmanager")
    for value in ("hunter2", "hunter3"):
        with pytest.raises(ClientError):
            secrets.put_secret_value(SecretId="a", SecretString=value)
    wire.ask("PUT", "/bucket/releases/1.json", b"{}", service="s3")
    wire.ask("HEAD", "/bucket", service="s3")
    wire.ask("GET", "/bucket?list-type=2&prefix=releases%2F", service="s3")
    form = b"Action=GetRole&RoleName=r&Version=2010-05-08"
    wire.ask("POST", "/", form, {"Content-Type": "application/x-www-form-urlencoded"}, "iam")
    status, _, text = wire.ask("GET", "/_twin/ledger")
    assert status == 200
    assert b"hunter" not in text
    rows = [(row["service"], row["operation"], row["named"], row["count"]) for row in json.loads(text)]
    assert sorted(rows, key=str) == [
        ("iam", "GetRole", {"RoleName": ["r"]}, 1),
        ("s3", "HeadBucket", {"Bucket": ["bucket"]}, 1),
        ("s3", "ListObjectsV2", {"Bucket": ["bucket"], "Prefix": ["releases/"]}, 1),
        ("s3", "PutObject", {"Bucket": ["bucket"], "Key": ["releases/1.json"]}, 1),
        ("secretsmanager", "PutSecretValue", {"SecretId": ["a"]}, 2),
    ]
    assert {row["caller"] for row in json.loads(text)} == {ACCESS_KEY}
    assert wire.ask("POST", "/_twin/ledger")[0] == 405


def test_pages_match_exactly_or_below_a_slash(wire: Wire) -> None:
    assert json.loads(wire.ask("GET", "/_twin/topology?after=3")[2]) == {"after": "3"}
    assert wire.ask("POST", "/_twin/below/a/b", b"text")[2] == b"POST /_twin/below/a/b text"


def test_a_failure_of_the_wrapped_application_is_answered(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        status, sent, _ = wire.ask("GET", "/broken")
    assert status == 500
    assert sent["x-amzn-requestid"]


def test_a_presigned_request_is_counted_for_its_service(wire: Wire) -> None:
    url = wire.client("s3").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    assert AWSRequest("GET", url).url
    status, _, _ = wire.ask("GET", "/" + url.split("/", 3)[3])
    assert status == 200
