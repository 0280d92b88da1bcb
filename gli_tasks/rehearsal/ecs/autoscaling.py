"""Application Auto Scaling for ECS services: scalable targets, which hold a service's desired count within a range.

Scaling policies are not carried out: nothing here asks for more tasks by itself. Other operations go to the wrapped
application.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from gli_tasks.rehearsal.ecs import lookup
from gli_tasks.rehearsal.ecs.api_base import Wire
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.model import Service
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import AwsService, RequestContext

_NAMESPACE, _DIMENSION = "ecs", "ecs:service:DesiredCount"
_ROLE = (
    "role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
)


@dataclass(frozen=True, slots=True)
class _Target:
    """A scalable target; ``resource`` is ``service/<cluster>/<service>``."""

    resource: str
    low: int
    high: int
    created_at: datetime


class ApplicationAutoScalingService(AwsService):
    """Scalable targets of the services of a control plane."""

    validation_error_code: ClassVar[str] = "ValidationException"

    def __init__(self, plane: EcsControlPlane) -> None:
        super().__init__("application-autoscaling", fall_through=True)
        self._plane = plane
        self._targets: dict[str, _Target] = {}
        self._lock = threading.Lock()

    def register_scalable_target(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Register or change a target, and bring the desired count into its range.

        API reference, RegisterScalableTarget: it "changes the resource's current capacity to a value that is inside of
        this range".
        """
        resource = _resource(params)
        with self._lock, self._plane.lock:
            service = self._service(resource)
            known = self._targets.get(resource)
            low = params.get("MinCapacity", known.low if known else None)
            high = params.get("MaxCapacity", known.high if known else None)
            if low is None or high is None:
                raise _invalid("MinCapacity and MaxCapacity are required when registering a new scalable target")
            if low < 0 or low > high:
                raise _invalid("Maximum capacity cannot be less than minimum capacity")
            now = self._plane.now()
            made = replace(known, low=low, high=high) if known else _Target(resource, low, high, now)
            self._targets[resource] = made
            within = min(max(service.desired_count, low), high)
            if within != service.desired_count:
                service.desired_count, service.steady = within, False
                self._plane.poke()
            return {"ScalableTargetARN": self._arn(resource)}

    def describe_scalable_targets(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe targets."""
        wanted = params.get("ResourceIds")
        with self._lock:
            found = [one for name, one in sorted(self._targets.items()) if wanted is None or name in wanted]
        if params["ServiceNamespace"] != _NAMESPACE or params.get("ScalableDimension", _DIMENSION) != _DIMENSION:
            found = []
        account = self._plane.store.account
        return {
            "ScalableTargets": [
                {
                    "ServiceNamespace": _NAMESPACE,
                    "ResourceId": one.resource,
                    "ScalableDimension": _DIMENSION,
                    "MinCapacity": one.low,
                    "MaxCapacity": one.high,
                    "RoleARN": f"arn:aws:iam::{account}:{_ROLE}",
                    "CreationTime": one.created_at,
                    "SuspendedState": {
                        "DynamicScalingInSuspended": False,
                        "DynamicScalingOutSuspended": False,
                        "ScheduledScalingSuspended": False,
                    },
                    "ScalableTargetARN": self._arn(one.resource),
                }
                for one in found
            ]
        }

    def deregister_scalable_target(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Forget a target; the desired count stays."""
        resource = _resource(params)
        with self._lock:
            if self._targets.pop(resource, None) is None:
                raise AwsError("ObjectNotFoundException", f"No scalable target found for resource ID: {resource}")
        return {}

    def _service(self, resource: str) -> Service:
        _, _, rest = resource.partition("/")
        cluster_name, _, name = rest.partition("/")
        cluster = self._plane.store.clusters.get(cluster_name)
        service = lookup.find_service(self._plane.store, cluster, name) if cluster else None
        if service is None or service.status != "ACTIVE":
            raise _invalid(f"ECS service doesn't exist: {resource}")
        return service

    def _arn(self, resource: str) -> str:
        store = self._plane.store
        place = f"arn:aws:application-autoscaling:{store.region}:{store.account}:scalable-target"
        return f"{place}/{resource.replace('/', '-')}"


def _resource(params: Wire) -> str:
    if params["ServiceNamespace"] != _NAMESPACE or params["ScalableDimension"] != _DIMENSION:
        raise _invalid("The twin scales the desired count of ECS services only.")
    resource = str(params["ResourceId"])
    if not resource.startswith("service/") or resource.count("/") != 2:
        raise _invalid(f"Unsupported service namespace, resource type or scalable dimension: {resource}")
    return resource


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
