"""Deployments of a service: begin, complete, fail, roll back. The caller holds the control plane's lock."""

from __future__ import annotations

from datetime import datetime

from gli_tasks.rehearsal.ecs import plan, wording
from gli_tasks.rehearsal.ecs.identifiers import new_number, new_short_id
from gli_tasks.rehearsal.ecs.model import (
    Deployment,
    Rollout,
    Service,
    ServiceDeployment,
    ServiceDeploymentStatus,
    ServiceRevision,
    Store,
)


def threshold(service: Service) -> int:
    """Return how many failed tasks end the service's current deployment."""
    breaker = service.configuration.breaker
    kind = (breaker.threshold_kind if breaker else None) or "BOUNDED_PERCENT"
    value = breaker.threshold_value if breaker and breaker.threshold_value is not None else 50
    return plan.failure_threshold(service.desired_count, kind, value)


class Deployments:
    """The transitions of deployments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, service: Service, now: datetime) -> Deployment:
        """Start a deployment of the service's workload; one that is under way is replaced."""
        revision = self._new_revision(service, now)
        sources = tuple(item.revision.arn for item in service.deployments)
        for earlier in service.service_deployments:
            if earlier.open:
                self._finish(earlier, ServiceDeploymentStatus.STOPPED, wording.SUPERSEDED, now)
        attempt = ServiceDeployment(
            arn=self._store.arn(f"service-deployment/{service.cluster.name}/{service.name}/{new_short_id()}"),
            service_arn=service.arn,
            cluster_arn=service.cluster.arn,
            target=revision,
            sources=sources,
            configuration=service.configuration,
            created_at=now,
            updated_at=now,
            threshold=threshold(service),
        )
        service.service_deployments.append(attempt)
        return self._make_primary(service, Deployment(f"ecs-svc/{new_number()}", revision, attempt, now, now), now)

    def complete(self, service: Service, now: datetime) -> None:
        """Mark the primary deployment as done."""
        deployment = service.primary
        deployment.rollout, deployment.completed_at, deployment.updated_at = Rollout.COMPLETED, now, now
        deployment.reason = wording.completed(deployment.id)
        service.say(now, wording.deployment_completed(service.name, deployment.id))
        attempt = deployment.service_deployment
        if not attempt.open:
            return
        if deployment.is_rollback:
            self._finish(attempt, ServiceDeploymentStatus.ROLLBACK_SUCCESSFUL, attempt.status_reason, now)
        else:
            self._finish(attempt, ServiceDeploymentStatus.SUCCESSFUL, None, now)

    def fail(self, service: Service, now: datetime) -> None:
        """End the primary deployment because too many of its tasks failed, and roll back where that is asked for."""
        deployment, breaker = service.primary, service.configuration.breaker
        deployment.rollout, deployment.updated_at, deployment.reason = Rollout.FAILED, now, wording.BREAKER_FAILED
        service.say(now, wording.deployment_failed(service.name, deployment.id))
        attempt = deployment.service_deployment
        attempt.breaker_triggered, attempt.updated_at = True, now
        if deployment.is_rollback:
            self._finish(attempt, ServiceDeploymentStatus.ROLLBACK_FAILED, wording.ROLLBACK_BREAKER, now)
        elif breaker is not None and breaker.rollback:
            self._roll_back(service, wording.BREAKER_ROLLED_BACK, now, by_breaker=True)
        else:
            self._finish(attempt, ServiceDeploymentStatus.STOPPED, wording.BREAKER_STOPPED, now)

    def abandon(self, service: Service, now: datetime) -> None:
        """End what is under way, because the service is being deleted."""
        for attempt in service.service_deployments:
            if attempt.open:
                self._finish(attempt, ServiceDeploymentStatus.STOPPED, wording.SERVICE_DELETED, now)

    @staticmethod
    def request_stop(attempt: ServiceDeployment, abort: bool, now: datetime) -> None:
        """Note that a user wants a service deployment stopped; the next look at the service acts on it."""
        attempt.updated_at = now
        if abort:
            attempt.status, attempt.status_reason = ServiceDeploymentStatus.STOP_REQUESTED, wording.STOPPED_BY_REQUEST
        else:
            attempt.status = ServiceDeploymentStatus.ROLLBACK_REQUESTED
            attempt.status_reason = wording.ROLLBACK_BY_REQUEST

    def act_on_requests(self, service: Service, now: datetime) -> None:
        """Move the current service deployment out of the states that wait for the scheduler."""
        deployment = service.primary
        attempt = deployment.service_deployment
        match attempt.status:
            case ServiceDeploymentStatus.PENDING:
                attempt.status, attempt.started_at, attempt.updated_at = ServiceDeploymentStatus.IN_PROGRESS, now, now
            case ServiceDeploymentStatus.STOP_REQUESTED:
                deployment.rollout, deployment.reason = Rollout.FAILED, wording.STOPPED_BY_REQUEST
                deployment.updated_at = now
                self._finish(attempt, ServiceDeploymentStatus.STOPPED, wording.STOPPED_BY_REQUEST, now)
            case ServiceDeploymentStatus.ROLLBACK_REQUESTED:
                deployment.rollout, deployment.reason = Rollout.FAILED, wording.ROLLBACK_BY_REQUEST
                deployment.updated_at = now
                self._roll_back(service, wording.ROLLBACK_BY_REQUEST, now, by_breaker=False)
            case _:
                pass

    def drop_replaced(self, service: Service) -> None:
        """Forget deployments that have been replaced whole."""
        busy = {task.deployment_id for task in self._store.tasks_of(service) if task.stopped_at is None}
        for deployment in service.deployments[1:]:
            if deployment.id not in busy:
                deployment.status = "INACTIVE"
                service.deployments.remove(deployment)

    def _roll_back(self, service: Service, reason: str, now: datetime, *, by_breaker: bool) -> None:
        failed = service.primary
        attempt = failed.service_deployment
        past = [plan.PastDeployment(item.id, item.revision.arn, item.completed_at) for item in service.history]
        good = plan.last_good(past, failed.id)
        if good is None:
            self._finish(attempt, ServiceDeploymentStatus.ROLLBACK_FAILED, wording.NO_ROLLBACK_CANDIDATE, now)
            return
        revision = self._store.revisions[good.revision_arn]
        attempt.status, attempt.status_reason = ServiceDeploymentStatus.ROLLBACK_IN_PROGRESS, reason
        attempt.rollback_reason, attempt.rollback_started_at = reason, now
        attempt.rollback_revision_arn = revision.arn
        service.workload = revision.workload
        back = Deployment(f"ecs-svc/{new_number()}", revision, attempt, now, now, is_rollback=True)
        self._make_primary(service, back, now)
        rolling_back = wording.breaker_rolling_back if by_breaker else wording.request_rolling_back
        back.reason = rolling_back(good.deployment_id)
        service.say(now, wording.rolling_back(service.name, good.deployment_id))
        # What still runs the good revision is what the rollback wants: it stays, and serves on.
        for task in self._store.tasks_of(service):
            if task.wanted and task.revision is revision:
                task.deployment_id = back.id

    @staticmethod
    def _make_primary(service: Service, deployment: Deployment, now: datetime) -> Deployment:
        deployment.reason = wording.in_progress(deployment.id)
        for earlier in service.deployments:
            earlier.status, earlier.updated_at = "ACTIVE", now
        service.deployments.insert(0, deployment)
        service.history.append(deployment)
        service.steady = False
        return deployment

    def _new_revision(self, service: Service, now: datetime) -> ServiceRevision:
        arn = self._store.arn(f"service-revision/{service.cluster.name}/{service.name}/{new_number()}")
        revision = ServiceRevision(arn, service.arn, service.cluster.arn, service.workload, now)
        self._store.revisions[arn] = revision
        return revision

    @staticmethod
    def _finish(attempt: ServiceDeployment, status: ServiceDeploymentStatus, reason: str | None, now: datetime) -> None:
        attempt.status, attempt.status_reason, attempt.updated_at = status, reason, now
        if status == ServiceDeploymentStatus.STOPPED:
            attempt.stopped_at = now
        attempt.finished_at = now
