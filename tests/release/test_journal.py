"""Records in S3, by conditional puts, against a real S3 endpoint."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from gli_tasks.errors import RecordFailed
from gli_tasks.release.journal import Journal
from gli_tasks.release.record import Outcome, encode
from tests.release.release_parts import BUCKET, record, s3_client


def test_the_first_write_and_the_ones_after_it(s3: Any) -> None:
    journal = Journal(s3, BUCKET)
    journal.write(record())
    journal.write(record())
    later = replace(record(), outcome=Outcome.HEALTHY)
    journal.write(later)
    assert Journal(s3, BUCKET).read(record().id) == later
    assert journal.place(record().id) == "s3://state/releases/20260301-040506-abcd.json"
    head = s3.head_object(Bucket=BUCKET, Key="releases/20260301-040506-abcd.json")
    assert head["ContentType"] == "application/json"


def test_a_second_writer_of_the_same_release_is_refused(s3: Any) -> None:
    first, second = Journal(s3, BUCKET), Journal(s3, BUCKET)
    first.write(record())
    with pytest.raises(RecordFailed, match="another process wrote it meanwhile") as caught:
        second.write(replace(record(), who="lee@desk"))
    assert caught.value.where.endswith("releases/20260301-040506-abcd.json")
    assert Journal(s3, BUCKET).read(record().id).who == "kim@desk"


def test_a_record_that_was_changed_from_outside_is_not_written_over(s3: Any) -> None:
    journal = Journal(s3, BUCKET)
    journal.write(record())
    changed = encode(replace(record(), who="someone else"))
    s3.put_object(Bucket=BUCKET, Key=f"releases/{record().id}.json", Body=changed)
    with pytest.raises(RecordFailed, match="another process"):
        journal.write(replace(record(), outcome=Outcome.HEALTHY))
    assert Journal(s3, BUCKET).read(record().id).who == "someone else"


def test_a_record_that_was_removed_meanwhile_is_not_made_anew(s3: Any) -> None:
    journal = Journal(s3, BUCKET)
    journal.write(record())
    s3.delete_object(Bucket=BUCKET, Key=f"releases/{record().id}.json")
    with pytest.raises(RecordFailed):
        journal.write(replace(record(), outcome=Outcome.HEALTHY))


def test_a_write_whose_reply_was_lost_recognises_itself(s3: Any) -> None:
    """The put arrived and its answer did not: sent again, its condition no longer holds, and it is our own doing."""
    key = f"releases/{record().id}.json"
    journal = Journal(s3, BUCKET)
    s3.put_object(Bucket=BUCKET, Key=key, Body=encode(record()))
    journal.write(record())
    later = replace(record(), outcome=Outcome.HEALTHY)
    s3.put_object(Bucket=BUCKET, Key=key, Body=encode(later))
    journal.write(later)
    journal.write(replace(later, tag="deploy-1"))
    assert Journal(s3, BUCKET).read(record().id).tag == "deploy-1"


def test_current_names_the_release_that_was_last_marked(s3: Any) -> None:
    journal = Journal(s3, BUCKET)
    assert journal.current() is None
    for name in ("20260301-000000-aaaa", "20260302-000000-bbbb"):
        one = record(name)
        writer = Journal(s3, BUCKET)
        writer.write(one)
        writer.mark_healthy(one)
        assert journal.current() == one


@pytest.mark.parametrize("first", [True, False], ids=["none before", "one before"])
def test_of_two_that_mark_at_the_same_moment_one_is_told(s3: Any, s3_endpoint: str, first: bool) -> None:
    """The slow one has read ``current.json``, and is held at the wire until the fast one has written."""
    if first:
        before = record("20260301-000000-aaaa")
        Journal(s3, BUCKET).write(before)
        Journal(s3, BUCKET).mark_healthy(before)
    has_read, may_write = threading.Event(), threading.Event()
    told: list[str] = []

    def hold(**_: Any) -> None:
        has_read.set()
        may_write.wait(10)

    def mark_slowly() -> None:
        client = s3_client(s3_endpoint)
        client.meta.events.register("before-send.s3.PutObject", hold)
        try:
            Journal(client, BUCKET).mark_healthy(record("slow"))
        except RecordFailed as error:
            told.append(f"{error.where}: {error.what}")
        client.close()

    slow = threading.Thread(target=mark_slowly)
    slow.start()
    assert has_read.wait(10)
    Journal(s3, BUCKET).mark_healthy(record("fast"))
    may_write.set()
    slow.join(15)
    assert told == ["s3://state/current.json: another process wrote it meanwhile"]
    assert s3.get_object(Bucket=BUCKET, Key="current.json")["Body"].read() == b'{"release":"fast"}'


@pytest.mark.parametrize("act", ["write", "mark", "current", "read", "newest"])
def test_a_bucket_that_is_missing_is_named_with_what_to_do(s3_endpoint: str, act: str) -> None:
    client = s3_client(s3_endpoint)
    journal = Journal(client, "no-such-bucket")
    acts: dict[str, Any] = {
        "write": lambda: journal.write(record()),
        "mark": lambda: journal.mark_healthy(record()),
        "current": journal.current,
        "read": lambda: journal.read("x"),
        "newest": lambda: journal.newest(3),
    }
    with pytest.raises(RecordFailed) as caught:
        acts[act]()
    assert "STATE_BUCKET" in caught.value.remedy
    assert "no-such-bucket" in caught.value.where
    assert caught.value.exit_code == 1
    client.close()


@pytest.mark.parametrize("act", ["write", "current", "newest"])
def test_an_s3_that_is_not_there_is_a_failed_record_too(act: str) -> None:
    client = s3_client("http://127.0.0.1:1", connect_timeout=1)
    journal = Journal(client, BUCKET)
    acts: dict[str, Any] = {
        "write": lambda: journal.write(record()),
        "current": journal.current,
        "newest": lambda: journal.newest(3),
    }
    with pytest.raises(RecordFailed) as caught:
        acts[act]()
    assert "network" in caught.value.remedy
    client.close()


def test_a_record_that_is_missing_or_broken_is_named(s3: Any) -> None:
    journal = Journal(s3, BUCKET)
    with pytest.raises(RecordFailed, match="no such record") as caught:
        journal.read("20250101-000000-ffff")
    assert "release.history" in caught.value.remedy
    s3.put_object(Bucket=BUCKET, Key="releases/bad.json", Body=b"{")
    with pytest.raises(RecordFailed, match="is not a record"):
        journal.read("bad")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"release": 3}', b"\xff"])
def test_a_current_that_names_nothing_is_a_failed_record(s3: Any, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="current.json", Body=body)
    with pytest.raises(RecordFailed, match="does not name a release"):
        Journal(s3, BUCKET).current()


def test_a_current_whose_record_is_gone_says_which(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="current.json", Body=b'{"release": "gone", "since": "a newer version"}')
    with pytest.raises(RecordFailed, match="no such record") as caught:
        Journal(s3, BUCKET).current()
    assert "gone.json" in caught.value.where


def test_the_newest_come_first_and_no_more_than_asked_for(s3: Any) -> None:
    names = [f"2026030{day}-000000-{day * 1111}" for day in (3, 1, 5, 2, 4)]
    for name in names:
        Journal(s3, BUCKET).write(record(name))
    s3.put_object(Bucket=BUCKET, Key="releases/notes.txt", Body=b"not a record")
    s3.put_object(Bucket=BUCKET, Key="lock.json", Body=b"{}")
    journal = Journal(s3, BUCKET)
    assert [one.id for one in journal.newest(3)] == sorted(names, reverse=True)[:3]
    assert len(journal.newest(99)) == 5
    assert journal.newest(0) == []
