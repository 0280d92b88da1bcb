"""Verify that everything that services and their task definitions refer to is there, and fits. Writes nothing.

What services share is asked for once, and all reads go side by side; each decision on them is pure (`lint`,
`judgements`, `service_judgements`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gli_tasks.aws import Aws
from gli_tasks.ecs import look_definition, look_service
from gli_tasks.ecs.asking import asked
from gli_tasks.ecs.definition import rendered
from gli_tasks.ecs.facts import Denied, Inventory, ServiceState, TargetGroupState
from gli_tasks.ecs.findings import Finding, Level
from gli_tasks.ecs.judgements import definition_findings
from gli_tasks.ecs.lint import is_fargate, lint
from gli_tasks.ecs.references import (
    Permission,
    SecretUse,
    Wanted,
    execution_role,
    log_groups,
    needed_to_start,
    read_image,
    region_of,
    role_name,
    secret_uses,
    task_role,
)
from gli_tasks.ecs.request_shape import shape_findings
from gli_tasks.ecs.service_judgements import cluster_finding, quota_finding, service_findings
from gli_tasks.errors import Refused, UsageError
from gli_tasks.registry import find_image

if TYPE_CHECKING:
    from gli_tasks.ecs.request_shape import shape_findings
from gli_tasks.settings import EcsService, Settings

__all__ = ["Wanted", "require_verified", "verify", "wanted_by_tag", "wanted_service"]

_AT_ONCE = 12

Key = TypeVar("Key")
Fact = TypeVar("Fact")


def verify(aws: Aws, cluster: str, registry: str, wanted: Sequence[Wanted]) -> tuple[Finding, ...]:
    """Return every finding on these services: what is OK, what is not (NG), and what could not be looked at (SKIP).

    ``registry`` is the host that images are in. A look that AWS denies is a SKIP that names the permission; any other
    failure of AWS is raised as it is.
    """
    if not wanted:
        return ()
    known = look(aws, cluster, registry, wanted)
    findings = [cluster_finding(cluster, known)]
    if any(is_fargate(one.definition) for one in wanted):
        findings.append(quota_finding(wanted, known))
    for one in wanted:
        # The linter reads the fields of a definition that is one.
        findings += shape_findings(one) or lint(one, aws.region)
        findings += definition_findings(one, registry, aws.account, aws.region, known)
        findings += service_findings(one, known)
    return tuple(findings)


def wanted_service(
    settings: Settings, name: str, service: EcsService, image: str, version: str, *, image_known: bool
) -> Wanted:
    """Return a service of the settings as it is going to be with this image. Raises UsageError."""
    file = settings.folder / service.task_definition
    return Wanted(
        name=name,
        service=service.service,
        definition=rendered(file, settings.values, service.container, image, version),
        container=service.container,
        port=service.port,
        health_path=service.health_path,
        target_group=service.target_group,
        repository=service.repository,
        image_known=image_known,
        cache_encrypted=settings.cache.transit_encryption if settings.cache else None,
    )


def wanted_by_tag(aws: Aws, settings: Settings, name: str, service: EcsService, tag: str) -> Wanted:
    """Return a service as it is going to be with the image of this tag: by digest, or by tag where it is not pushed
    yet. Raises UsageError."""
    host = settings.registry.host
    ecr = aws.client("ecr")
    try:
        found = asked(ecr, lambda: find_image(ecr, service.repository, tag))
    except UsageError:
        # There is no such repository, which is a finding.
        found = None
    if found is None or isinstance(found, Denied):
        image = f"{host}/{service.repository}:{tag}"
        return wanted_service(settings, name, service, image, tag[:12], image_known=False)
    return wanted_service(settings, name, service, found.reference(host), tag[:12], image_known=True)


def require_verified(findings: Iterable[Finding]) -> None:
    """Refuse to go on where a finding is NG. Raises Refused with each of them and what to do about it."""
    wrong = [one for one in findings if one.level is Level.NG]
    if wrong:
        one_is = "1 thing is not as a release needs it"
        heading = one_is if len(wrong) == 1 else f"{len(wrong)} things are not as a release needs them"
        lines = "\n".join(f"  - {one.subject}: {one.sentence}\n    next: {one.remedy}" for one in wrong)
        raise Refused(f"{heading}:\n{lines}", remedy="mend what is named above; `invoke ecs.verify` looks again")


def look(aws: Aws, cluster: str, registry: str, wanted: Sequence[Wanted]) -> Inventory:
    """Look at everything that these services refer to: first what they name, then what that leads to."""
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verify")
    try:
        return _look(pool, aws, cluster, registry, wanted)
    finally:
        # Where one read failed, those that have not begun are not made.
        pool.shutdown(cancel_futures=True)


def _look(pool: ThreadPoolExecutor, aws: Aws, cluster: str, registry: str, wanted: Sequence[Wanted]) -> Inventory:
    definitions = [one.definition for one in wanted]
    uses = [use for definition in definitions for use in secret_uses(definition)]
    images = [read_image(str(container.get("image", ""))) for one in wanted for container in one.containers]
    roles = [role for one in definitions for role in (execution_role(one), task_role(one)) if role]
    parameters = _parameters(wanted, aws.region)
    here = [use.secret for use in uses if isinstance(use, SecretUse) and use.secret.region in ("", aws.region)]
    groups = [group.name for one in definitions for group in log_groups(one) if group.region in ("", aws.region)]

    def each(keys: Iterable[Key], read: Callable[[Aws, Key], Fact]) -> dict[Key, Future[Fact]]:
        return {key: pool.submit(read, aws, key) for key in dict.fromkeys(keys)}

    # What the second round waits for comes first.
    services = pool.submit(look_service.read_service_states, aws, cluster, sorted({one.service for one in wanted}))
    target_groups = each((one.target_group for one in wanted), look_service.read_target_group)
    state = pool.submit(look_service.read_cluster, aws, cluster)
    held = each((image for image in images if image.registry == registry), look_definition.read_image_state)
    known_roles = each(roles, look_definition.read_role)
    permissions = {
        role: pool.submit(look_definition.read_permissions, aws, _role_arn(role, aws.account), needed)
        for role, needed in _permissions(wanted, aws, registry).items()
    }
    secrets = each(here, look_definition.read_secret)
    stored = pool.submit(look_definition.read_parameters, aws, parameters) if parameters else None
    logs = each(groups, look_definition.read_log_group)
    quota = pool.submit(look_service.read_fargate_quota, aws)
    # The second round's client takes a tenth of a second to make, and the first waits for answers meanwhile.
    pool.submit(aws.client, "ec2")

    found_services, found_groups = services.result(), _results(target_groups)
    subnets, security_groups = _network(found_services)
    known_subnets = pool.submit(look_service.read_subnets, aws, subnets) if subnets else None
    known_groups = pool.submit(look_service.read_security_groups, aws, security_groups) if security_groups else None
    balancers = each(
        (arn for group in found_groups.values() if isinstance(group, TargetGroupState) for arn in group.balancers),
        look_service.read_balancer,
    )
    return Inventory(
        cluster=state.result(),
        services=found_services,
        images=_results(held),
        roles=_results(known_roles),
        permissions=_results(permissions),
        secrets=_results(secrets),
        parameters=stored.result() if stored else {},
        log_groups=_results(logs),
        target_groups=found_groups,
        balancers=_results(balancers),
        subnets=known_subnets.result() if known_subnets else {},
        security_groups=known_groups.result() if known_groups else {},
        fargate_vcpus=quota.result(),
    )


def _results(futures: Mapping[Key, Future[Fact]]) -> dict[Key, Fact]:
    return {key: future.result() for key, future in futures.items()}


def _parameters(wanted: Sequence[Wanted], region: str) -> list[str]:
    named = [
        use.parameter
        for one in wanted
        for use in secret_uses(one.definition)
        if not isinstance(use, SecretUse) and region_of(use.parameter) in ("", region)
    ]
    return list(dict.fromkeys(named))


def _permissions(wanted: Sequence[Wanted], aws: Aws, registry: str) -> dict[str, list[Permission]]:
    """Return what each execution role needs, of all services that have it."""
    needed: dict[str, dict[Permission, None]] = {}
    for one in wanted:
        role = execution_role(one.definition)
        permissions = needed_to_start(one.definition, aws.account, aws.region, registry)
        if role and permissions:
            needed.setdefault(role, {}).update(dict.fromkeys(permissions))
    return {role: list(permissions) for role, permissions in needed.items()}


def _role_arn(role: str, account: str) -> str:
    return role if role.startswith("arn:") else f"arn:aws:iam::{account}:role/{role_name(role)}"


def _network(services: Mapping[str, ServiceState | None] | Denied) -> tuple[list[str], list[str]]:
    if isinstance(services, Denied):
        return [], []
    states = [state for state in services.values() if state]
    subnets = {subnet for state in states for subnet in state.subnets}
    groups = {group for state in states for group in state.security_groups}
    return sorted(subnets), sorted(groups)
