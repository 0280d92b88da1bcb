"""Which release to go back to."""

from __future__ import annotations

import pytest

from gli_tasks.errors import Refused
from gli_tasks.release.plan import ReleaseFacts, TargetFacts, choose_target, obstacles


def release(name: str, revision: int, healthy: bool = True, rollback_to: str = "") -> ReleaseFacts:
    return ReleaseFacts(name, healthy, {"api": f"api:{revision}"}, rollback_to)


def test_the_newest_healthy_one_that_does_not_serve_now() -> None:
    records = [release("4", 4, False), release("3", 3), release("2", 2, False), release("1", 1)]
    assert choose_target(records, {"api": "api:3"}, "") == "1"
    # Someone changed the service by hand: the last healthy release is the way back.
    assert choose_target(records, {"api": "api:9"}, "") == "3"


def test_what_a_rollback_left_is_not_gone_back_to() -> None:
    records = [release("4", 2, rollback_to="2"), release("3", 3), release("2", 2), release("1", 1)]
    assert choose_target(records, {"api": "api:2"}, "") == "1"


def test_a_rollback_that_failed_left_nothing() -> None:
    records = [release("4", 2, False, rollback_to="2"), release("3", 3), release("2", 2)]
    assert choose_target(records, {"api": "api:3"}, "") == "2"


def test_a_release_of_new_commits_after_a_rollback() -> None:
    records = [release("5", 5), release("4", 2, rollback_to="2"), release("3", 3), release("2", 2), release("1", 1)]
    assert choose_target(records, {"api": "api:5"}, "") == "4"


def test_one_that_changed_no_service_is_passed_over() -> None:
    records = [release("3", 3), ReleaseFacts("2", True, {}), release("1", 1)]
    assert choose_target(records, {"api": "api:3"}, "") == "1"


def test_none_that_is_healthy() -> None:
    with pytest.raises(Refused, match="nothing to go back to"):
        choose_target([release("1", 1)], {"api": "api:1"}, "")


def test_a_named_one_must_be_there_and_healthy() -> None:
    records = [release("3", 3), release("2", 2, False), release("1", 1)]
    assert choose_target(records, {"api": "api:3"}, "1") == "1"
    with pytest.raises(Refused, match="did not end healthy"):
        choose_target(records, {"api": "api:3"}, "2")
    with pytest.raises(Refused, match="no record"):
        choose_target(records, {"api": "api:3"}, "0")


def test_everything_in_the_way_is_named() -> None:
    facts = {
        "api": TargetFacts("arn:x/api:1", "INACTIVE", "registry/api@sha256:1", image_exists=False),
        "websocket": TargetFacts("arn:x/ws:1", "", "registry/ws@sha256:2", image_exists=True),
    }
    assert obstacles(facts, ["api", "websocket", "worker"], ["api", "websocket"]) == (
        "worker was not part of that release",
        "api: the task definition api:1 is INACTIVE",
        "api: the image registry/api@sha256:1 is no longer in the registry",
        "websocket: the task definition ws:1 is gone",
    )
    good = {"api": TargetFacts("arn:x/api:1", "ACTIVE", "registry/api@sha256:1", image_exists=True)}
    assert obstacles(good, ["api"], ["api"]) == ()
