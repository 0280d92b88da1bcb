"""The twin's ELBv2: targets and their health are its own, all else is moto's."""

from __future__ import annotations

import ipaddress
from typing import Any

from gli_tasks.rehearsal.cloud.listeners import LoadBalancers, TargetGroup
from gli_tasks.rehearsal.cloud.targets import NOT_REGISTERED, TargetHealth, TargetStates
from gli_tasks.rehearsal.ecs.ports import TargetState
from gli_tasks.rehearsal.wire import AwsError, AwsService, RequestContext


class Elbv2Service(AwsService):
    """RegisterTargets, DeregisterTargets and DescribeTargetHealth over the balancer's reports.

    Targets are IP addresses, as Fargate's are; an instance id is refused.
    """

    validation_error_code = "ValidationError"

    def __init__(self, load_balancers: LoadBalancers, targets: TargetStates) -> None:
        super().__init__("elbv2", fall_through=True)
        self._load_balancers = load_balancers
        self._targets = targets

    def register_targets(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Register all targets, or none where one is wrong."""
        group = self._group(params)
        targets = [_address_and_port(target, group) for target in params["Targets"]]
        for address, port in targets:
            self._targets.register(group.arn, address, port)
        return {}

    def deregister_targets(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Start draining targets."""
        group = self._group(params)
        targets = [_address_and_port(target, group) for target in params["Targets"]]
        for address, port in targets:
            self._targets.deregister(group.arn, address, port)
        return {}

    def describe_target_health(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Return the health of the named targets, or of all that are registered."""
        group = self._group(params)
        if params.get("Targets"):
            wanted = [_address_and_port(target, group) for target in params["Targets"]]
        else:
            wanted = [
                (one.target.address, one.target.port)
                for one in self._targets.registered()
                if one.target.target_group_arn == group.arn
            ]
        states = ((address, port, self._targets.state(group.arn, address, port)) for address, port in wanted)
        named = bool(params.get("Targets"))
        # A target that went between the list and the look is left out, unless it was asked for by name.
        return {
            "TargetHealthDescriptions": [
                _description(group, address, port, state)
                for address, port, state in states
                if named or state is not NOT_REGISTERED
            ]
        }

    def _group(self, params: dict[str, Any]) -> TargetGroup:
        group = self._load_balancers.target_group(params["TargetGroupArn"])
        if group is None:
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        return group


def _address_and_port(target: dict[str, Any], group: TargetGroup) -> tuple[str, int]:
    address = target["Id"]
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise AwsError("ValidationError", f"The IP address '{address}' is not a valid IPv4 address") from error
    port = target.get("Port") or group.port
    if port is None:
        raise AwsError("ValidationError", "You must specify a port for the target")
    return address, port


def _description(group: TargetGroup, address: str, port: int, state: TargetState) -> dict[str, Any]:
    shown = TargetHealth.UNUSED if state.state == TargetHealth.GONE else TargetHealth(state.state)
    health: dict[str, Any] = {"State": shown.value}
    if state.reason:
        health |= {"Reason": state.reason, "Description": state.description}
    check_port = str(port) if group.health_check_port == "traffic-port" else group.health_check_port
    return {"Target": {"Id": address, "Port": port}, "HealthCheckPort": check_port, "TargetHealth": health}
