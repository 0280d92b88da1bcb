"""Look at what a service refers to: cluster, target group, load balancer, subnets, security groups. One read each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gli_tasks.aws import Aws
from gli_tasks.ecs.asking import asked
from gli_tasks.ecs.facts import (
    Attached,
    BalancerState,
    Denied,
    Ingress,
    SecurityGroupState,
    ServiceState,
    SubnetState,
    TargetGroupState,
)

_SERVICES_A_CALL = 10
_FARGATE_VCPU_QUOTA = "L-3032A538"


def read_cluster(aws: Aws, cluster: str) -> str | Denied:
    """Return a cluster's status; MISSING where there is none of that name."""
    ecs = aws.client("ecs")

    def ask() -> str:
        found = ecs.describe_clusters(clusters=[cluster])["clusters"]
        return str(found[0]["status"]) if found else "MISSING"

    return asked(ecs, ask)


def read_service_states(aws: Aws, cluster: str, names: Sequence[str]) -> Mapping[str, ServiceState | None] | Denied:
    """Return each named service, ten a call."""
    ecs = aws.client("ecs")

    def ask() -> Mapping[str, ServiceState | None]:
        found: dict[str, ServiceState | None] = dict.fromkeys(names)
        try:
            for start in range(0, len(names), _SERVICES_A_CALL):
                part = list(names[start : start + _SERVICES_A_CALL])
                answer = ecs.describe_services(cluster=cluster, services=part)["services"]
                found |= {str(one["serviceName"]): _service_state(one) for one in answer}
        except ecs.exceptions.ClusterNotFoundException:
            return found
        return found

    return asked(ecs, ask)


def _service_state(one: Mapping[str, Any]) -> ServiceState:
    network = (one.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    percent = int((one.get("deploymentConfiguration") or {}).get("maximumPercent", 200))
    providers = [str(each.get("capacityProvider")) for each in one.get("capacityProviderStrategy") or ()]
    return ServiceState(
        status=str(one.get("status", "")),
        attached=tuple(
            Attached(str(each["targetGroupArn"]), str(each.get("containerName", "")), int(each.get("containerPort", 0)))
            for each in one.get("loadBalancers") or ()
            if each.get("targetGroupArn")
        ),
        subnets=tuple(network.get("subnets") or ()),
        security_groups=tuple(network.get("securityGroups") or ()),
        most_tasks=int(one.get("desiredCount", 0)) * percent // 100,
        fargate=one.get("launchType") == "FARGATE" or "FARGATE" in providers,
    )


def read_target_group(aws: Aws, name: str) -> TargetGroupState | Denied | None:
    """Return a target group by its name."""
    elbv2 = aws.client("elbv2")

    def ask() -> TargetGroupState | None:
        try:
            found = elbv2.describe_target_groups(Names=[name])["TargetGroups"]
        except elbv2.exceptions.TargetGroupNotFoundException:
            return None
        return _target_group_state(found[0]) if found else None

    return asked(elbv2, ask)


def _target_group_state(one: Mapping[str, Any]) -> TargetGroupState:
    return TargetGroupState(
        arn=str(one["TargetGroupArn"]),
        port=int(one.get("Port", 0)),
        protocol=str(one.get("Protocol", "")),
        target_type=str(one.get("TargetType", "")),
        health_path=str(one.get("HealthCheckPath", "")),
        health_port=str(one.get("HealthCheckPort", "")),
        vpc=str(one.get("VpcId", "")),
        balancers=tuple(one.get("LoadBalancerArns") or ()),
    )


def read_balancer(aws: Aws, arn: str) -> BalancerState | Denied | None:
    """Return a load balancer with what its listeners' rules forward to."""
    elbv2 = aws.client("elbv2")

    def ask() -> BalancerState | None:
        try:
            found = elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
        except elbv2.exceptions.LoadBalancerNotFoundException:
            return None
        weights: dict[str, int] = {}
        listeners = elbv2.get_paginator("describe_listeners").paginate(LoadBalancerArn=arn)
        for listener in [str(one["ListenerArn"]) for page in listeners for one in page["Listeners"]]:
            # A listener's default action is the last of its rules.
            for page in elbv2.get_paginator("describe_rules").paginate(ListenerArn=listener):
                for group, weight in (pair for rule in page["Rules"] for pair in _forwards(rule)):
                    weights[group] = max(weight, weights.get(group, 0))
        return BalancerState(
            name=str(found[0].get("LoadBalancerName", "")),
            state=str((found[0].get("State") or {}).get("Code", "")),
            security_groups=tuple(found[0].get("SecurityGroups") or ()),
            weights=weights,
        )

    return asked(elbv2, ask)


def _forwards(rule: Mapping[str, Any]) -> list[tuple[str, int]]:
    pairs = []
    for action in rule.get("Actions") or ():
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or ()
        pairs += [(str(one["TargetGroupArn"]), int(one.get("Weight", 1))) for one in groups]
        if not groups and action.get("TargetGroupArn"):
            pairs.append((str(action["TargetGroupArn"]), 1))
    return pairs


def read_subnets(aws: Aws, ids: Sequence[str]) -> Mapping[str, SubnetState] | Denied:
    """Return those of the subnets that are there, by id."""
    ec2 = aws.client("ec2")

    def ask() -> Mapping[str, SubnetState]:
        # By filter: asked for by id, one that is not there would hide all others.
        pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "subnet-id", "Values": list(ids)}])
        return {
            str(one["SubnetId"]): SubnetState(str(one.get("VpcId", "")), int(one.get("AvailableIpAddressCount", 0)))
            for page in pages
            for one in page["Subnets"]
        }

    return asked(ec2, ask)


def read_security_groups(aws: Aws, ids: Sequence[str]) -> Mapping[str, SecurityGroupState] | Denied:
    """Return those of the security groups that are there, by id."""
    ec2 = aws.client("ec2")

    def ask() -> Mapping[str, SecurityGroupState]:
        wanted = [{"Name": "group-id", "Values": list(ids)}]
        pages = ec2.get_paginator("describe_security_groups").paginate(Filters=wanted)
        return {
            str(one["GroupId"]): SecurityGroupState(
                str(one.get("VpcId", "")), tuple(map(_ingress, one.get("IpPermissions") or ()))
            )
            for page in pages
            for one in page["SecurityGroups"]
        }

    return asked(ec2, ask)


def _ingress(one: Mapping[str, Any]) -> Ingress:
    return Ingress(
        protocol=str(one.get("IpProtocol", "")),
        first_port=int(one.get("FromPort", 0)),
        last_port=int(one.get("ToPort", 65_535)),
        addresses=any(one.get(key) for key in ("IpRanges", "Ipv6Ranges", "PrefixListIds")),
        groups=tuple(str(pair["GroupId"]) for pair in one.get("UserIdGroupPairs") or () if pair.get("GroupId")),
    )


def read_fargate_quota(aws: Aws) -> float | Denied | None:
    """Return how many vCPUs Fargate gives this account and region at once; None where AWS does not say."""
    quotas = aws.client("service-quotas")

    def ask() -> float | None:
        try:
            answer = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=_FARGATE_VCPU_QUOTA)
        except quotas.exceptions.NoSuchResourceException:
            return None
        return float(answer["Quota"]["Value"])

    return asked(quotas, ask)
