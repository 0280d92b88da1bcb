"""Task definitions: rendered from a file, registered once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from gli_tasks.ecs.definition import current, register, rendered
from gli_tasks.errors import AwsCallFailed, UsageError
from tests.ecs.rollout_parts import Cluster, Fault


def write(folder: Path, content: Any) -> Path:
    file = folder / "api.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


TEMPLATE = {
    "family": "${SERVICE}",
    "containerDefinitions": [
        {"name": "api", "image": "${IMAGE}", "environment": [{"name": "V", "value": "${VERSION}"}]},
        {"name": "side", "image": "side:1", "command": ["echo", "$${HOME}"]},
    ],
}


def test_a_file_is_filled_and_gets_its_image(tmp_path: Path) -> None:
    made = rendered(write(tmp_path, TEMPLATE), {"SERVICE": "prod-api"}, "api", "r/api@sha256:1", "abc")
    assert made["family"] == "prod-api"
    api, side = made["containerDefinitions"]
    assert (api["image"], api["environment"][0]["value"]) == ("r/api@sha256:1", "abc")
    assert (side["image"], side["command"]) == ("side:1", ["echo", "${HOME}"])


def test_the_image_of_the_container_does_not_depend_on_the_file(tmp_path: Path) -> None:
    template = {"family": "a", "containerDefinitions": [{"name": "api", "image": "r/api:latest"}]}
    made = rendered(write(tmp_path, template), {}, "api", "r/api@sha256:1", "abc")
    assert made["containerDefinitions"][0]["image"] == "r/api@sha256:1"


def test_every_unknown_key_is_named_with_its_place(tmp_path: Path) -> None:
    template = {**TEMPLATE, "cpu": "${CPU}"}
    with pytest.raises(UsageError) as caught:
        rendered(write(tmp_path, template), {}, "api", "i", "v")
    assert "family wants ${SERVICE}; cpu wants ${CPU}" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")])
def test_what_is_no_json_is_refused_by_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match=r"api\.json"):
        rendered(write(tmp_path, content), {}, "api", "i", "v")
    with pytest.raises(UsageError, match=r"absent\.json"):
        rendered(tmp_path / "absent.json", {}, "api", "i", "v")


@pytest.mark.parametrize(
    "content",
    [{}, [], "3", {"containerDefinitions": []}, {"containerDefinitions": [{}]}, {"containerDefinitions": None}],
)
def test_a_file_without_the_container_says_so(tmp_path: Path, content: Any) -> None:
    with pytest.raises(UsageError, match="holds no container 'api'"):
        rendered(write(tmp_path, content), {}, "api", "i", "v")


def test_an_equal_one_is_not_registered_twice(cluster: Cluster) -> None:
    assert current(cluster.ecs, "api") is None
    first = register(cluster.ecs, cluster.definition("good@sha256:1"), {"commit": "abc", "release": ""})
    assert first.new
    assert first.arn.endswith(":task-definition/api:1")
    again = register(cluster.ecs, cluster.definition("good@sha256:1"), {"commit": "def"})
    assert (again.arn, again.new) == (first.arn, False)
    other = register(cluster.ecs, cluster.definition("good@sha256:2"), {})
    assert other.new
    assert other.arn.endswith("api:2")
    back = register(cluster.ecs, cluster.definition("good@sha256:1"), {})
    assert back.arn.endswith("api:3")


def test_what_was_deregistered_does_not_count(cluster: Cluster) -> None:
    first = register(cluster.ecs, cluster.definition("good@sha256:1"), {})
    cluster.ecs.deregister_task_definition(taskDefinition=first.arn)
    assert register(cluster.ecs, cluster.definition("good@sha256:1"), {}).new


def test_tags_of_the_file_and_of_the_release_go_together(cluster: Cluster) -> None:
    own = [{"key": "team", "value": "core"}, {"key": "commit", "value": "stale"}]
    made = register(cluster.ecs, cluster.definition("good@sha256:1", tags=own), {"commit": "abc"})
    tags = cluster.ecs.describe_task_definition(taskDefinition=made.arn, include=["TAGS"])["tags"]
    assert sorted((tag["key"], tag["value"]) for tag in tags) == [("commit", "abc"), ("team", "core")]


def test_a_file_saved_from_aws_is_refused_before_the_call(cluster: Cluster) -> None:
    saved = cluster.definition("good@sha256:1", revision=7, status="ACTIVE")
    with pytest.raises(ParamValidationError, match="revision"):
        register(cluster.ecs, saved, {})


def test_an_answer_that_was_cut_short_is_read_back(cluster: Cluster) -> None:
    cluster.meddler.faults.append(Fault("RegisterTaskDefinition", carried_out=True))
    made = register(cluster.ecs, cluster.definition("good@sha256:1"), {})
    assert cluster.meddler.spoilt == 1
    assert (made.arn.rpartition("/")[2], made.new) == ("api:1", True)


def test_an_answer_that_was_cut_short_of_what_was_not_done_is_no_success(cluster: Cluster) -> None:
    register(cluster.ecs, cluster.definition("good@sha256:1"), {})
    cluster.meddler.faults.append(Fault("RegisterTaskDefinition"))
    with pytest.raises(AwsCallFailed, match="cut short, and it is not registered"):
        register(cluster.ecs, cluster.definition("good@sha256:2"), {})
