"""ECS's API on the wire."""

from __future__ import annotations

from typing import ClassVar

from gli_tasks.rehearsal.ecs.api_clusters import ClustersApi
from gli_tasks.rehearsal.ecs.api_deployments import DeploymentsApi
from gli_tasks.rehearsal.ecs.api_services import ServicesApi
from gli_tasks.rehearsal.ecs.api_task_definitions import TaskDefinitionsApi
from gli_tasks.rehearsal.ecs.api_tasks import TasksApi
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.wire.service import AwsService


class EcsService(ClustersApi, TaskDefinitionsApi, ServicesApi, DeploymentsApi, TasksApi, AwsService):
    """The ECS API over a control plane. Operations that it does not have are answered as not supported."""

    validation_error_code: ClassVar[str] = "InvalidParameterException"

    def __init__(self, plane: EcsControlPlane) -> None:
        AwsService.__init__(self, "ecs")
        self.plane = plane
