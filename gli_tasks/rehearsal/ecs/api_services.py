"""Services."""

from __future__ import annotations

import dataclasses
import re

from gli_tasks.rehearsal.ecs import inputs, lookup, views
from gli_tasks.rehearsal.ecs.api_base import ApiPart, Wire, missing
from gli_tasks.rehearsal.ecs.model import RegisteredDefinition, Service
from gli_tasks.rehearsal.ecs.placement import LATEST_PLATFORM
from gli_tasks.rehearsal.ecs.settings import DeploymentConfiguration, Workload
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import RequestContext

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_DESCRIBED_AT_ONCE = 10
_LONGEST_GRACE_S = 2_147_483_647
# Parameters whose behaviour the twin does not have: refused rather than ignored.
_NOT_DONE = ("serviceRegistries", "serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")


class ServicesApi(ApiPart):
    """Operations on services."""

    def create_service(self, request: RequestContext, params: Wire) -> Wire:
        """Create a service and begin its first deployment."""
        name = params["serviceName"]
        if not _NAME.fullmatch(name):
            raise inputs.invalid("Service name contains invalid characters.")
        _check(params)
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            earlier = lookup.find_service(self.store, cluster, name)
            token = params.get("clientToken")
            if earlier is not None and token is not None and token == earlier.client_token:
                return {"service": views.service(self.store, earlier, with_tags=True)}
            if earlier is not None and earlier.status == "ACTIVE":
                raise inputs.invalid("Creation of service was not idempotent.")
            if earlier is not None and earlier.status == "DRAINING":
                raise inputs.invalid("Unable to Start a service that is still Draining.")
            if "taskDefinition" not in params:
                raise inputs.invalid("TaskDefinition cannot be empty.")
            definition = lookup.usable_definition(self.store, params["taskDefinition"])
            now = self.plane.now()
            service = Service(
                name=name,
                arn=self.store.arn(f"service/{cluster.name}/{name}"),
                cluster=cluster,
                workload=self._workload(params, definition, None),
                desired_count=_count(params.get("desiredCount", 1)),
                configuration=inputs.configuration(params.get("deploymentConfiguration"), DeploymentConfiguration()),
                created_at=now,
                created_by=f"arn:aws:iam::{self.store.account}:user/{request.access_key}",
                client_token=token,
                availability_zone_rebalancing=params.get("availabilityZoneRebalancing", "ENABLED"),
            )
            self._options(service, params)
            if service.workload.load_balancers and service.grace_period_s is None:
                service.grace_period_s = 0
            self.store.tags[service.arn] = inputs.tags(params.get("tags"))
            self.store.services[service.arn] = service
            self.plane.deployments.begin(service, now)
            self.plane.poke()
            return {"service": views.service(self.store, service, with_tags=True)}

    def update_service(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Change a service; a changed workload, or ``forceNewDeployment``, begins a deployment."""
        _check(params)
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            service = lookup.need_service(self.store, cluster, params["service"])
            named = params.get("taskDefinition")
            if named is not None:
                definition = lookup.usable_definition(self.store, named)
            else:
                found = lookup.find_definition(self.store, service.workload.task_definition_arn)
                if found is None:
                    raise AwsError("ClientException", "TaskDefinition not found.")
                definition = found
            workload = self._workload(params, definition, service.workload)
            configuration = inputs.configuration(params.get("deploymentConfiguration"), service.configuration)
            count = _count(params.get("desiredCount", service.desired_count))
            # Everything is checked; from here on nothing is refused, so that an update is made whole or not at all.
            if count != service.desired_count:
                service.steady = False
            service.desired_count, service.configuration = count, configuration
            self._options(service, params)
            changed = workload != service.workload
            service.workload = workload
            if changed or params.get("forceNewDeployment", False):
                self.plane.deployments.begin(service, self.plane.now())
            else:
                service.primary.updated_at = self.plane.now()
            self.plane.poke()
            return {"service": views.service(self.store, service, with_tags=False)}

    def delete_service(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Delete a service: DRAINING while its tasks stop, then INACTIVE."""
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            service = lookup.need_service(self.store, cluster, params["service"])
            if service.desired_count > 0 and not params.get("force", False):
                raise inputs.invalid("The service cannot be stopped while it is scaled above 0.")
            service.status, service.desired_count = "DRAINING", 0
            self.plane.deployments.abandon(service, self.plane.now())
            self.plane.poke()
            return {"service": views.service(self.store, service, with_tags=False)}

    def describe_services(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe up to ten services; those that are not there are failures."""
        names = params["services"]
        if not names:
            raise inputs.invalid("Services cannot be empty.")
        if len(names) > _DESCRIBED_AT_ONCE:
            raise inputs.invalid(f"Cannot describe more than {_DESCRIBED_AT_ONCE} services at a time.")
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            found, failures = [], []
            for name in names:
                service = lookup.find_service(self.store, cluster, name)
                if service is None:
                    failures.append(missing(self.store.arn(f"service/{cluster.name}/{lookup.short_name(name)}")))
                else:
                    found.append(views.service(self.store, service, with_tags="TAGS" in params.get("include", [])))
            return {"services": found, "failures": failures}

    def list_services(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List the services of a cluster."""
        launch_type, strategy = params.get("launchType"), params.get("schedulingStrategy", "REPLICA")
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            arns = [
                service.arn
                for service in self.store.services.values()
                if service.cluster is cluster
                and service.status != "INACTIVE"
                and launch_type in (None, service.workload.launch_type)
                and strategy == "REPLICA"
            ]
        found, token = lookup.page(arns, params.get("maxResults", 10), params.get("nextToken"))
        return {"serviceArns": found, "nextToken": token}

    def _workload(self, params: Wire, definition: RegisteredDefinition, earlier: Workload | None) -> Workload:
        base = earlier or Workload(definition.facts.arn, None, (), None, (), None)
        providers = base.capacity_providers
        launch_type = params.get("launchType", base.launch_type)
        if "capacityProviderStrategy" in params:
            if "launchType" in params:
                raise inputs.invalid("Specifying both a launch type and capacity provider strategy is not supported.")
            providers, launch_type = inputs.capacity_providers(params["capacityProviderStrategy"]), None
        if launch_type is None and not providers:
            launch_type = "EC2"
        if launch_type == "FARGATE" and "FARGATE" not in definition.wire["compatibilities"]:
            raise inputs.invalid("Task definition does not support launch_type FARGATE.")
        network = inputs.network(params["networkConfiguration"]) if "networkConfiguration" in params else base.network
        inputs.need_network(definition.wire, network)
        balancers = base.load_balancers
        if "loadBalancers" in params:
            balancers = inputs.load_balancers(params["loadBalancers"], definition.facts)
        elif balancers:
            balancers = inputs.load_balancers(views.load_balancers(balancers), definition.facts)
        platform = params.get("platformVersion", base.platform_version)
        if launch_type == "FARGATE":
            platform = LATEST_PLATFORM if platform in (None, "LATEST") else platform
        return dataclasses.replace(
            base,
            task_definition_arn=definition.facts.arn,
            launch_type=launch_type,
            capacity_providers=providers,
            platform_version=platform,
            load_balancers=balancers,
            network=network,
        )

    @staticmethod
    def _options(service: Service, params: Wire) -> None:
        if "healthCheckGracePeriodSeconds" in params:
            service.grace_period_s = params["healthCheckGracePeriodSeconds"]
        service.execute_command = params.get("enableExecuteCommand", service.execute_command)
        service.managed_tags = params.get("enableECSManagedTags", service.managed_tags)
        service.propagate_tags = params.get("propagateTags", service.propagate_tags)


def _count(value: int) -> int:
    if value < 0:
        raise inputs.invalid("desiredCount must not be negative.")
    return value


def _check(params: Wire) -> None:
    if not 0 <= params.get("healthCheckGracePeriodSeconds", 0) <= _LONGEST_GRACE_S:
        raise inputs.invalid("healthCheckGracePeriodSeconds must not be negative.")
    for name in _NOT_DONE:
        if params.get(name):
            raise AwsError("UnsupportedFeatureException", f"The twin does not do {name} yet.")
    controller = params.get("deploymentController", {}).get("type", "ECS")
    if controller != "ECS":
        raise AwsError(
            "UnsupportedFeatureException", f"The twin does not do the deployment controller {controller} yet."
        )
    if params.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise AwsError("UnsupportedFeatureException", "The twin does not do the scheduling strategy DAEMON yet.")
