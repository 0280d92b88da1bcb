"""What records say of earlier releases, read as plain JSON, and written here by the release's own journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from gli_tasks.errors import RecordFailed
from gli_tasks.release.journal import Journal
from gli_tasks.release.record import Outcome, Record, ServiceRecord
from gli_tasks.releases_on_record import OnRecord, on_record, releases_on_record

pytest_plugins = ["tests.floor_fixtures"]
BUCKET = "records"


def client(url: str, **config: Any) -> Any:
    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture
def s3(moto_url: str) -> Iterator[Any]:
    made = client(moto_url)
    made.create_bucket(Bucket=BUCKET)
    yield made
    for one in made.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        made.delete_object(Bucket=BUCKET, Key=one["Key"])
    made.delete_bucket(Bucket=BUCKET)
    made.close()


def write(s3: Any, day: int, outcome: Outcome, **changes: Any) -> None:
    before = f"arn:api:{day - 1}" if day > 1 else ""
    service = ServiceRecord(
        task_definition=f"arn:api:{day}", task_definition_before=before, image=f"r/api@sha256:{day}"
    )
    record = Record(
        id=f"202603{day:02}-000000-abcd",
        project="gli",
        environment="prod",
        who="kim@desk",
        identity="arn",
        started_at="2026-03-01T00:00:00Z",
        outcome=outcome,
        services={"api": service},
    )
    Journal(s3, BUCKET).write(replace(record, **changes))


def test_the_newest_healthy_ones_are_kept_and_no_failed_one(s3: Any) -> None:
    for day, outcome in enumerate([Outcome.HEALTHY, Outcome.HEALTHY, Outcome.FAILED, Outcome.HEALTHY], start=1):
        write(s3, day, outcome)
    assert on_record(s3, BUCKET, 2) == OnRecord(
        frozenset({"arn:api:4", "arn:api:2"}), frozenset({"r/api@sha256:4", "r/api@sha256:2"})
    )
    assert on_record(s3, BUCKET, 1).task_definitions == {"arn:api:4"}
    assert on_record(s3, BUCKET, 99).task_definitions == {"arn:api:4", "arn:api:2", "arn:api:1"}
    assert on_record(s3, BUCKET, 0) == OnRecord(frozenset(), frozenset())


@pytest.mark.parametrize("outcome", [Outcome.RUNNING, Outcome.INTERRUPTED])
def test_what_a_release_under_way_needs_is_kept_with_what_it_would_go_back_to(s3: Any, outcome: Outcome) -> None:
    write(s3, 1, Outcome.HEALTHY)
    write(s3, 3, outcome)
    assert on_record(s3, BUCKET, 1) == OnRecord(
        frozenset({"arn:api:1", "arn:api:2", "arn:api:3"}), frozenset({"r/api@sha256:1", "r/api@sha256:3"})
    )


def test_releases_come_newest_first_with_what_they_went_back_to(s3: Any) -> None:
    write(s3, 1, Outcome.HEALTHY)
    write(s3, 2, Outcome.FAILED)
    write(s3, 3, Outcome.HEALTHY, rollback_to="20260301-000000-abcd")
    s3.put_object(Bucket=BUCKET, Key="releases/notes.txt", Body=b"no record")
    found = list(releases_on_record(s3, BUCKET, 99))
    assert [(one.id[:8], one.healthy, one.rollback_to[:8]) for one in found] == [
        ("20260303", True, "20260301"),
        ("20260302", False, ""),
        ("20260301", True, ""),
    ]
    assert found[0].services["api"].image == "r/api@sha256:3"


def test_a_service_that_came_to_nothing_names_nothing(s3: Any) -> None:
    write(s3, 1, Outcome.HEALTHY, services={"site": ServiceRecord(commit="abc")})
    assert on_record(s3, BUCKET, 5) == OnRecord(frozenset(), frozenset())


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"id": "x", "outcome": "healthy", "services": [1]}', b"\xff"]
)
def test_one_record_that_cannot_be_read_is_named_and_nothing_is_assumed(s3: Any, body: bytes) -> None:
    write(s3, 1, Outcome.HEALTHY)
    s3.put_object(Bucket=BUCKET, Key="releases/20260302-000000-bad.json", Body=body)
    with pytest.raises(RecordFailed, match="is not a record") as caught:
        on_record(s3, BUCKET, 5)
    assert caught.value.where == "s3://records/releases/20260302-000000-bad.json"


def test_a_bucket_that_is_missing_or_out_of_reach_is_named(moto_url: str) -> None:
    with pytest.raises(RecordFailed) as caught:
        on_record(client(moto_url), "no-such-bucket", 5)
    assert "STATE_BUCKET" in caught.value.remedy
    with pytest.raises(RecordFailed) as caught:
        on_record(client("http://127.0.0.1:1", connect_timeout=1), BUCKET, 5)
    assert "network" in caught.value.remedy
