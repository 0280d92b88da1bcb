"""Service deployments and service revisions."""

from __future__ import annotations

from gli_tasks.rehearsal.ecs import inputs, lookup, views
from gli_tasks.rehearsal.ecs.api_base import ApiPart, Wire, missing
from gli_tasks.rehearsal.ecs.model import ServiceDeployment, ServiceDeploymentStatus
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import RequestContext

_STOPPABLE = frozenset({ServiceDeploymentStatus.PENDING, ServiceDeploymentStatus.IN_PROGRESS})
_DESCRIBED_AT_ONCE = 20


class DeploymentsApi(ApiPart):
    """Operations on service deployments and revisions."""

    def list_service_deployments(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List a service's deployments, the newest first."""
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            service = lookup.find_service(self.store, cluster, params["service"])
            if service is None:
                raise AwsError("ServiceNotFoundException", "Service not found.")
            statuses, created = params.get("status"), params.get("createdAt", {})
            chosen = [
                views.service_deployment_brief(item)
                for item in reversed(service.service_deployments)
                if (not statuses or item.status in statuses)
                and ("after" not in created or item.created_at > created["after"])
                and ("before" not in created or item.created_at < created["before"])
            ]
        found, token = lookup.page(chosen, params.get("maxResults", 20), params.get("nextToken"))
        return {"serviceDeployments": found, "nextToken": token}

    def describe_service_deployments(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe service deployments by ARN."""
        arns = params["serviceDeploymentArns"]
        if len(arns) > _DESCRIBED_AT_ONCE:
            raise inputs.invalid(f"Cannot describe more than {_DESCRIBED_AT_ONCE} service deployments at a time.")
        with self.plane.lock:
            known = {item.arn: (service, item) for service, item in self.store.service_deployments()}
            found = [views.service_deployment(self.store, *known[arn]) for arn in arns if arn in known]
            return {"serviceDeployments": found, "failures": [missing(arn) for arn in arns if arn not in known]}

    def describe_service_revisions(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe service revisions by ARN."""
        arns = params["serviceRevisionArns"]
        if len(arns) > _DESCRIBED_AT_ONCE:
            raise inputs.invalid(f"Cannot describe more than {_DESCRIBED_AT_ONCE} service revisions at a time.")
        with self.plane.lock:
            known = self.store.revisions
            found = [views.service_revision(self.store, known[arn]) for arn in arns if arn in known]
            return {"serviceRevisions": found, "failures": [missing(arn) for arn in arns if arn not in known]}

    def stop_service_deployment(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Stop a service deployment: roll it back, or leave it where it is (ABORT)."""
        arn = params["serviceDeploymentArn"]
        with self.plane.lock:
            attempt = self._attempt(arn)
            if attempt.status not in _STOPPABLE:
                raise AwsError(
                    "ConflictException", f"Cannot stop a service deployment in the state {attempt.status.value}."
                )
            abort = params.get("stopType", "ROLLBACK") == "ABORT"
            self.plane.deployments.request_stop(attempt, abort, self.plane.now())
            self.plane.poke()
        return {"serviceDeploymentArn": arn}

    def _attempt(self, arn: str) -> ServiceDeployment:
        for _, attempt in self.store.service_deployments():
            if attempt.arn == arn:
                return attempt
        raise AwsError("ServiceDeploymentNotFoundException", "Service deployment not found.")
