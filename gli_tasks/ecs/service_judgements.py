"""Judge what a service refers to, from its cluster to its security groups: facts in, findings out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gli_tasks.ecs.facts import (
    BalancerState,
    Denied,
    Ingress,
    Inventory,
    SecurityGroupState,
    ServiceState,
    TargetGroupState,
)
from gli_tasks.ecs.findings import Finding, ng, ok, skip
from gli_tasks.ecs.judgements import unseen
from gli_tasks.ecs.lint import vcpus
from gli_tasks.ecs.references import Wanted

# Protocols of target groups that a container's TCP port can answer.
_OVER_TCP = ("HTTP", "HTTPS", "TCP", "TLS", "TCP_UDP")


def cluster_finding(cluster: str, known: Inventory) -> Finding:
    """Return whether the cluster takes tasks."""
    subject = f"cluster {cluster}"
    if isinstance(known.cluster, Denied):
        return unseen(subject, known.cluster)
    if known.cluster == "MISSING":
        return ng(subject, "there is no such cluster", "create it, or check ECS_CLUSTER and the region")
    if known.cluster != "ACTIVE":
        return ng(subject, f"is {known.cluster}", "wait until it is ACTIVE, or name another")
    return ok(subject, "is ACTIVE")


def quota_finding(wanted: Sequence[Wanted], known: Inventory) -> Finding:
    """Return whether Fargate's vCPUs of this account are enough for the most tasks that these rollouts run at once."""
    subject = "Fargate vCPU quota"
    if isinstance(known.fargate_vcpus, Denied):
        return unseen(subject, known.fargate_vcpus)
    if known.fargate_vcpus is None:
        return skip(subject, "AWS does not say what it is here", "see Service Quotas, L-3032A538, in the AWS console")
    services = known.services
    if isinstance(services, Denied):
        return skip(subject, "cannot be judged while the services may not be seen")
    states = [(one, services.get(one.service)) for one in wanted]
    needed = sum(vcpus(one.definition) * state.most_tasks for one, state in states if state and state.fargate)
    quota = f"{known.fargate_vcpus:g} vCPUs"
    if needed > known.fargate_vcpus:
        return ng(subject, f"a rollout of these services takes up to {needed:g}, of {quota}", "ask AWS for more")
    return ok(subject, f"a rollout of these services takes up to {needed:g} of {quota}")


def service_findings(wanted: Wanted, known: Inventory) -> list[Finding]:
    """Return a finding on the service itself and on each thing that it refers to."""
    group = known.target_groups[wanted.target_group]
    state = None if isinstance(known.services, Denied) else known.services.get(wanted.service)
    service = state if state and state.status == "ACTIVE" else None
    return [
        _service_finding(wanted, known),
        *_target_group_findings(wanted, group),
        _attachment_finding(wanted, service, group),
        _rules_finding(wanted, group, known),
        *_network_findings(wanted, service, group, known),
    ]


def _service_finding(wanted: Wanted, known: Inventory) -> Finding:
    subject = f"{wanted.name} service"
    if isinstance(known.services, Denied):
        return unseen(subject, known.services)
    state = known.services.get(wanted.service)
    if state is None:
        if known.cluster == "MISSING":
            return skip(subject, "cannot be seen while its cluster is not there")
        return ng(
            subject, f"there is no service {wanted.service}", "create it once, with its network and load balancer"
        )
    if state.status != "ACTIVE":
        return ng(subject, f"{wanted.service} is {state.status}", "create it anew, with its network and load balancer")
    return ok(subject, f"{wanted.service} is ACTIVE")


def _target_group_findings(wanted: Wanted, group: TargetGroupState | Denied | None) -> Iterator[Finding]:
    subject, name = f"{wanted.name} target group", wanted.target_group
    if isinstance(group, Denied):
        yield unseen(subject, group)
        return
    if group is None:
        yield ng(subject, f"there is no target group {name}", "create it, or check the .env file")
        return
    awsvpc = wanted.definition.get("networkMode") == "awsvpc"
    if awsvpc and group.target_type != "ip":
        yield ng(
            subject,
            f"{name} takes targets of type {group.target_type}, and awsvpc tasks are of type ip",
            "make a new target group of type ip: the type of one cannot be changed",
        )
    elif group.protocol not in _OVER_TCP:
        yield ng(
            subject,
            f"{name} speaks {group.protocol}, and the container's port is tcp",
            "make a new target group: the protocol of one cannot be changed",
        )
    else:
        # ECS registers each task with the container's own port, so the group's is only what stands for none.
        default = "" if group.port == wanted.port else f" (its default port {group.port} is not used)"
        yield ok(subject, f"{name} takes targets of type {group.target_type} by {group.protocol}{default}")
    yield _health_path_finding(wanted, group)


def _health_path_finding(wanted: Wanted, group: TargetGroupState) -> Finding:
    subject = f"{wanted.name} health path"
    if group.health_path != wanted.health_path:
        return ng(
            subject,
            f"{wanted.target_group} asks {group.health_path or 'no path'}, and the settings say {wanted.health_path}",
            "make the two equal",
        )
    if group.health_port not in ("traffic-port", str(wanted.port)):
        return ng(
            subject,
            f"{wanted.target_group} asks port {group.health_port}, and the container listens on {wanted.port}",
            "let it ask the traffic port",
        )
    return ok(subject, f"{wanted.target_group} asks {group.health_path} on the traffic port")


def _attachment_finding(
    wanted: Wanted, service: ServiceState | None, group: TargetGroupState | Denied | None
) -> Finding:
    subject = f"{wanted.name} service's load balancer"
    if service is None or group is None or isinstance(group, Denied):
        return skip(subject, "cannot be judged without both the service and the target group")
    mine = [one for one in service.attached if one.target_group == group.arn]
    if not mine:
        others = ", ".join(_short(one.target_group) for one in service.attached) or "none"
        return ng(
            subject,
            f"{wanted.service} does not put its tasks into {wanted.target_group}",
            f"its target groups: {others}; mend the service, or the .env file",
        )
    if not any((one.container, one.port) == (wanted.container, wanted.port) for one in mine):
        return ng(
            subject,
            f"{wanted.service} puts {mine[0].container}:{mine[0].port} into {wanted.target_group},"
            f" and the settings say {wanted.container}:{wanted.port}",
            "mend the service's load balancers, or the settings",
        )
    return ok(subject, f"{wanted.service} puts {wanted.container}:{wanted.port} into {wanted.target_group}")


def _short(arn: str) -> str:
    return arn.split(":targetgroup/")[-1].partition("/")[0]


def _rules_finding(wanted: Wanted, group: TargetGroupState | Denied | None, known: Inventory) -> Finding:
    subject = f"{wanted.name} listener rules"
    if group is None or isinstance(group, Denied):
        return skip(subject, "cannot be judged without the target group")
    states = [known.balancers.get(arn) for arn in group.balancers]
    forwarding = [one for one in states if isinstance(one, BalancerState) and group.arn in one.weights]
    if forwarding:
        balancer = forwarding[0]
        if balancer.state not in ("active", "active_impaired"):
            return ng(subject, f"the load balancer {balancer.name} is {balancer.state}", "wait until it is active")
        weight = balancer.weights[group.arn]
        now = "" if weight else ", with weight 0 now: no request reaches it"
        return ok(subject, f"{balancer.name} forwards to {wanted.target_group}{now}")
    if denied := next((one for one in states if isinstance(one, Denied)), None):
        return unseen(subject, denied)
    return ng(
        subject,
        f"no load balancer forwards to {wanted.target_group}",
        "add a rule for the service's host to the listener",
    )


def _network_findings(
    wanted: Wanted, service: ServiceState | None, group: TargetGroupState | Denied | None, known: Inventory
) -> Iterator[Finding]:
    if service is None:
        for what in ("subnets", "security groups"):
            yield skip(f"{wanted.name} {what}", "cannot be judged without the service")
        return
    vpc = group.vpc if isinstance(group, TargetGroupState) else ""
    yield _subnets_finding(wanted, service, vpc, known)
    balancer = _balancer_of(group, known)
    yield _security_groups_finding(wanted, service, vpc, balancer, known)


def _subnets_finding(wanted: Wanted, service: ServiceState, vpc: str, known: Inventory) -> Finding:
    subject = f"{wanted.name} subnets"
    if isinstance(known.subnets, Denied):
        return unseen(subject, known.subnets)
    if not service.subnets:
        return ng(subject, f"{wanted.service} names none", "give the service its network")
    absent = [one for one in service.subnets if one not in known.subnets]
    if absent:
        return ng(subject, f"there is no subnet {', '.join(absent)}", "give the service subnets that are there")
    states = {one: known.subnets[one] for one in service.subnets}
    elsewhere = [one for one, state in states.items() if vpc and state.vpc != vpc]
    if elsewhere:
        return ng(subject, f"{', '.join(elsewhere)} are not in the target group's VPC {vpc}", "give the service others")
    if full := [one for one, state in states.items() if state.free_addresses == 0]:
        return ng(
            subject, f"{', '.join(full)} have no address left for a task", "free some, or give the service others"
        )
    return ok(subject, f"{', '.join(service.subnets)} are there, with addresses left")


def _balancer_of(group: TargetGroupState | Denied | None, known: Inventory) -> BalancerState | None:
    if not isinstance(group, TargetGroupState):
        return None
    states = (known.balancers.get(arn) for arn in group.balancers)
    return next((one for one in states if isinstance(one, BalancerState)), None)


def _security_groups_finding(
    wanted: Wanted, service: ServiceState, vpc: str, balancer: BalancerState | None, known: Inventory
) -> Finding:
    subject = f"{wanted.name} security groups"
    if isinstance(known.security_groups, Denied):
        return unseen(subject, known.security_groups)
    if not service.security_groups:
        return skip(subject, f"{wanted.service} names none, so its tasks have the VPC's default one")
    absent = [one for one in service.security_groups if one not in known.security_groups]
    if absent:
        return ng(subject, f"there is no security group {', '.join(absent)}", "give the service groups that are there")
    states = {one: known.security_groups[one] for one in service.security_groups}
    elsewhere = [one for one, state in states.items() if vpc and state.vpc != vpc]
    if elsewhere:
        return ng(subject, f"{', '.join(elsewhere)} are not in the target group's VPC {vpc}", "give the service others")
    names = ", ".join(states)
    letting = [rule for state in states.values() for rule in _rules_for(state, wanted.port)]
    if not letting:
        return ng(subject, f"{names} let nothing in on port {wanted.port}", _LET_IN)
    if balancer and balancer.security_groups:
        allowed = set(balancer.security_groups)
        if not any(rule.addresses or allowed & set(rule.groups) for rule in letting):
            others = ", ".join(sorted({group for rule in letting for group in rule.groups}))
            return ng(
                subject,
                f"{names} let {others} in on port {wanted.port}, and not the load balancer's {', '.join(allowed)}",
                _LET_IN,
            )
    return ok(subject, f"{names} let port {wanted.port} in")


_LET_IN = "let the load balancer's security group in on the container's port"


def _rules_for(state: SecurityGroupState, port: int) -> Iterator[Ingress]:
    for rule in state.ingress:
        fits = rule.protocol == "-1" or (rule.protocol in ("tcp", "6") and rule.first_port <= port <= rule.last_port)
        if fits and (rule.addresses or rule.groups):
            yield rule
