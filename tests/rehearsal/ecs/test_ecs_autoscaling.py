"""Scalable targets of services: registered, changed, held to, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.rehearsal.ecs.ecs_twin import Twin

PLACE = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/main/api",
    "ScalableDimension": "ecs:service:DesiredCount",
}


@pytest.fixture
def scaling(twin: Twin) -> Iterator[Any]:
    made = boto3.client(
        "application-autoscaling",
        region_name="ap-northeast-2",
        endpoint_url=f"http://127.0.0.1:{twin.port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


def targets(scaling: Any) -> list[tuple[str, int, int]]:
    found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=["service/main/api"])
    return [(one["ResourceId"], one["MinCapacity"], one["MaxCapacity"]) for one in found["ScalableTargets"]]


def test_a_target_is_registered_changed_and_forgotten(twin: Twin, scaling: Any) -> None:
    twin.create(twin.register("serve"), 1, targets=False)
    assert targets(scaling) == []
    answer = scaling.register_scalable_target(**PLACE, MinCapacity=1, MaxCapacity=4)
    assert answer["ScalableTargetARN"].startswith("arn:aws:application-autoscaling:ap-northeast-2:123456789012:")
    assert targets(scaling) == [("service/main/api", 1, 4)]
    scaling.register_scalable_target(**PLACE, MaxCapacity=6)
    assert targets(scaling) == [("service/main/api", 1, 6)]
    assert scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"] == []
    scaling.deregister_scalable_target(**PLACE)
    assert targets(scaling) == []
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**PLACE)


def test_the_desired_count_is_brought_into_the_range(twin: Twin, scaling: Any) -> None:
    twin.create(twin.register("serve"), 1, targets=False)
    scaling.register_scalable_target(**PLACE, MinCapacity=2, MaxCapacity=4)
    twin.until(lambda: twin.service()["runningCount"] == 2)
    scaling.register_scalable_target(**PLACE, MinCapacity=0, MaxCapacity=1)
    twin.until(lambda: twin.service()["runningCount"] == 1)
    assert twin.service()["desiredCount"] == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"MinCapacity": 1}, "MinCapacity and MaxCapacity are required"),
        ({"MinCapacity": 3, "MaxCapacity": 2}, "cannot be less than minimum"),
        ({"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "service/main/ghost"}, "ECS service doesn't exist"),
        ({"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "service/none/api"}, "ECS service doesn't exist"),
        ({"MinCapacity": 1, "MaxCapacity": 2, "ResourceId": "api"}, "Unsupported service namespace"),
    ],
)
def test_what_makes_no_target_is_refused(twin: Twin, scaling: Any, changes: dict[str, Any], text: str) -> None:
    twin.create(twin.register("serve"), 1, targets=False)
    with pytest.raises(ClientError, match=text):
        scaling.register_scalable_target(**{**PLACE, **changes})
