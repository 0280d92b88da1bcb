"""Task definitions over the API."""

from __future__ import annotations

import string
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rehearsal.ecs.ecs_twin import ROLE, Twin

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8)
ENVIRONMENTS = st.dictionaries(NAMES, st.text(max_size=12), max_size=3)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES, "image": NAMES, "memory": st.integers(6, 64)},
    optional={
        "cpu": st.integers(0, 128),
        "command": st.lists(st.text(min_size=1, max_size=8), max_size=3),
        "environment": ENVIRONMENTS.map(lambda found: [{"name": k, "value": v} for k, v in found.items()]),
        "portMappings": st.lists(
            st.integers(1, 65535).map(lambda port: {"containerPort": port}), max_size=2, unique_by=str
        ),
        "healthCheck": st.fixed_dictionaries(
            {"command": st.just(["CMD", "true"])}, optional={"interval": st.integers(5, 300)}
        ),
        "stopTimeout": st.integers(2, 120),
        "user": NAMES,
        "dockerLabels": ENVIRONMENTS,
    },
)
DEFINITIONS = st.lists(CONTAINERS, min_size=1, max_size=3, unique_by=lambda item: item["name"])


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(containers=DEFINITIONS)
def test_what_is_registered_is_described_and_registers_again_as_the_same(
    twin: Twin, containers: list[dict[str, Any]]
) -> None:
    asked: dict[str, Any] = {
        "family": "any",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "512",
        "memory": "1024",
        "containerDefinitions": containers,
    }
    registered = twin.ecs.register_task_definition(**asked)["taskDefinition"]
    described = twin.ecs.describe_task_definition(taskDefinition="any")["taskDefinition"]
    assert described == registered
    assert contains(described, asked)
    again = {key: described[key] for key in asked}
    second = twin.ecs.register_task_definition(**again)["taskDefinition"]
    assert second["revision"] == registered["revision"] + 1
    assert {key: second[key] for key in asked} == again


def test_defaults_are_those_of_ecs(twin: Twin) -> None:
    twin.register("serve", healthCheck={"command": ["CMD-SHELL", "true"]})
    found = twin.ecs.describe_task_definition(taskDefinition="api:1")["taskDefinition"]
    container = found["containerDefinitions"][0]
    assert container["portMappings"] == [{"containerPort": 8000, "hostPort": 8000, "protocol": "tcp"}]
    assert container["healthCheck"] == {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3}
    for field in ("environment", "mountPoints", "volumesFrom", "systemControls"):
        assert container[field] == []
    assert (container["cpu"], container["essential"]) == (0, True)
    assert (found["status"], found["compatibilities"]) == ("ACTIVE", ["EC2", "FARGATE"])
    assert (found["volumes"], found["placementConstraints"]) == ([], [])
    assert found["registeredBy"].endswith("AKIAREHEARSAL")


FARGATE = {
    "family": "f",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": ROLE,
    "containerDefinitions": [{"name": "a", "image": "b"}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu": "300"}, "No Fargate configuration exists"),
        ({"memory": "4096"}, "No Fargate configuration exists"),
        ({"cpu": "much"}, "Invalid 'cpu' setting"),
        ({"networkMode": "bridge"}, "only supports network mode 'awsvpc'"),
        ({"containerDefinitions": []}, "Container list cannot be empty"),
        ({"containerDefinitions": [{"name": "a"}]}, "Container.image should not be null"),
        ({"containerDefinitions": [{"name": "a", "image": "b"}] * 2}, "unique"),
        ({"containerDefinitions": [{"name": "a", "image": "b", "essential": False}]}, "essential"),
        (
            {
                "containerDefinitions": [
                    {"name": "a", "image": "b", "portMappings": [{"containerPort": 1, "hostPort": 2}]}
                ]
            },
            "host ports and container ports in port mappings must match",
        ),
        (
            {
                "executionRoleArn": "",
                "containerDefinitions": [{"name": "a", "image": "b", "secrets": [{"name": "X", "valueFrom": "y"}]}],
            },
            "you must also specify a value for 'executionRoleArn'",
        ),
        (
            {"executionRoleArn": "", "containerDefinitions": [{"name": "a", "image": "1.dkr.ecr.r.amazonaws.com/b"}]},
            "support ECR images",
        ),
        (
            {
                "executionRoleArn": "",
                "containerDefinitions": [{"name": "a", "image": "b", "logConfiguration": {"logDriver": "awslogs"}}],
            },
            "support log driver awslogs",
        ),
        (
            {
                "containerDefinitions": [
                    {"name": "a", "image": "b", "dependsOn": [{"containerName": "z", "condition": "START"}]}
                ]
            },
            "unknown container",
        ),
        (
            {
                "containerDefinitions": [
                    {"name": "a", "image": "b", "dependsOn": [{"containerName": "c", "condition": "START"}]},
                    {"name": "c", "image": "b", "dependsOn": [{"containerName": "a", "condition": "START"}]},
                ]
            },
            "circular dependency",
        ),
        ({"family": "a b"}, "Family contains invalid characters"),
    ],
)
def test_what_ecs_refuses(twin: Twin, change: dict[str, Any], message: str) -> None:
    with pytest.raises(twin.ecs.exceptions.ClientException, match=message):
        twin.ecs.register_task_definition(**(FARGATE | change))
    with pytest.raises(twin.ecs.exceptions.ClientException, match="Unable to describe task definition"):
        twin.ecs.describe_task_definition(taskDefinition="f")


def test_sizes_in_words_become_units(twin: Twin) -> None:
    found = twin.ecs.register_task_definition(**(FARGATE | {"cpu": ".25 vCPU", "memory": "1 GB"}))["taskDefinition"]
    assert (found["cpu"], found["memory"]) == ("256", "1024")


def test_revisions_deregistration_and_deletion(twin: Twin) -> None:
    first, second = twin.register("serve"), twin.register("serve")
    assert second.endswith("api:2")
    twin.ecs.deregister_task_definition(taskDefinition="api:2")
    latest = twin.ecs.describe_task_definition(taskDefinition="api")["taskDefinition"]
    assert latest["taskDefinitionArn"] == first
    old = twin.ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]
    assert old["status"] == "INACTIVE"
    assert old["deregisteredAt"]
    with pytest.raises(ClientError, match="TaskDefinition is inactive"):
        twin.create(second)
    assert twin.ecs.list_task_definitions(status="INACTIVE")["taskDefinitionArns"] == [second]
    answer = twin.ecs.delete_task_definitions(taskDefinitions=["api:1", "api:2"])
    assert [item["status"] for item in answer["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert "still in ACTIVE status" in answer["failures"][0]["reason"]
    assert twin.register("serve").endswith("api:3")
    assert twin.ecs.list_task_definition_families()["families"] == ["api"]


def test_lists_have_pages_and_an_order(twin: Twin) -> None:
    arns = [twin.register("serve", family=family) for family in ("b", "a") for _ in range(3)]
    pages = twin.ecs.get_paginator("list_task_definitions").paginate(PaginationConfig={"PageSize": 2})
    listed = [arn for page in pages for arn in page["taskDefinitionArns"]]
    assert listed == arns[3:] + arns[:3]
    newest = twin.ecs.list_task_definitions(familyPrefix="b", sort="DESC", maxResults=1)
    assert newest["taskDefinitionArns"] == [arns[2]]
    with pytest.raises(ClientError, match="Invalid token"):
        twin.ecs.list_task_definitions(nextToken="nonsense")


def test_tags_of_definitions_clusters_and_services(twin: Twin) -> None:
    arn = twin.register("serve")
    twin.ecs.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "api"}])
    found = twin.ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
    assert found["tags"] == [{"key": "team", "value": "api"}]
    service = twin.create(arn, 0, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    twin.ecs.untag_resource(resourceArn=service["serviceArn"], tagKeys=["a"])
    tags = twin.ecs.list_tags_for_resource(resourceArn=service["serviceArn"])["tags"]
    assert tags == [{"key": "b", "value": "2"}]
    with pytest.raises(ClientError, match="not found"):
        twin.ecs.list_tags_for_resource(resourceArn=arn + "9")


def test_clusters(twin: Twin) -> None:
    missing = twin.ecs.describe_clusters(clusters=["main", "none"])
    assert [item["clusterName"] for item in missing["clusters"]] == ["main"]
    assert missing["failures"][0]["reason"] == "MISSING"
    assert twin.ecs.create_cluster()["cluster"]["clusterName"] == "default"
    assert len(twin.ecs.list_clusters()["clusterArns"]) == 2
    twin.create(twin.register("serve"), 0)
    with pytest.raises(twin.ecs.exceptions.ClusterContainsServicesException):
        twin.ecs.delete_cluster(cluster="main")
    assert twin.ecs.delete_cluster(cluster="default")["cluster"]["status"] == "INACTIVE"
    with pytest.raises(twin.ecs.exceptions.ClusterNotFoundException):
        twin.ecs.list_services()
