"""Reads moto's ELBv2 objects, in process, into the facts that the balancer needs.

Every read goes to moto's live objects, so a rule that was modified is seen at the next read. Other threads may change
them meanwhile; dictionaries are therefore copied before they are walked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from moto.elbv2.models import elbv2_backends

_log = logging.getLogger(__name__)
DEFAULT_DELAY_S = 300.0


@dataclass(frozen=True, slots=True)
class WeightedGroup:
    """A target group of a forward action."""

    target_group: str
    weight: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Forward to target groups by weight; ``stickiness_s`` 0 is none."""

    targets: tuple[WeightedGroup, ...]
    stickiness_s: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """Redirect; parts may hold placeholders such as ``#{host}``."""

    status: int
    protocol: str
    host: str
    port: str
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class FixedResponse:
    """Answer without a target."""

    status: int
    content_type: str
    body: str


Action: TypeAlias = Forward | Redirect | FixedResponse


@dataclass(frozen=True, slots=True)
class Rule:
    """A listener rule; empty conditions match every request."""

    arn: str
    priority: int | None
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    action: Action


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener with its rules in the order of evaluation, the default one last."""

    arn: str
    port: int
    protocol: str
    load_balancer: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group's settings; seconds are AWS's."""

    arn: str
    name: str
    port: int | None
    health_check_port: str
    health_path: str
    interval_s: float
    timeout_s: float
    healthy_threshold: int
    unhealthy_threshold: int
    matcher: str
    deregistration_delay_s: float

    @property
    def dimension(self) -> str:
        """Return CloudWatch's value of the dimension ``TargetGroup``."""
        return self.arn.rsplit(":", 1)[-1]


class UnsupportedRule(Exception):
    """A rule has a condition or an action that the twin's balancer does not do."""


class LoadBalancers:
    """The application load balancers, listeners and target groups of one account and region, as moto holds them."""

    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region
        self._complained: set[str] = set()

    def listeners(self) -> tuple[Listener, ...]:
        """Return every listener of every application load balancer.

        A rule that cannot be done is left out, and logged once: matching too much would be worse than not at all.
        """
        found: list[Listener] = []
        for balancer in list(self._backend().load_balancers.values()):
            if balancer.type != "application":
                continue
            for listener in list(balancer.listeners.values()):
                rules = tuple(sorted(self._rules(listener), key=_order))
                name = balancer.arn.split(":loadbalancer/", 1)[-1]
                found.append(Listener(listener.arn, int(listener.port), listener.protocol, name, rules))
        return tuple(found)

    def target_groups(self) -> tuple[TargetGroup, ...]:
        """Return every target group."""
        return tuple(_target_group(group) for group in list(self._backend().target_groups.values()))

    def target_group(self, target_group_arn: str) -> TargetGroup | None:
        """Return one target group, or None."""
        group = self._backend().target_groups.get(target_group_arn)
        return _target_group(group) if group is not None else None

    def has_target_group(self, target_group_arn: str) -> bool:
        """Tell whether the target group exists."""
        return target_group_arn in self._backend().target_groups

    def is_in_use(self, target_group_arn: str) -> bool:
        """Tell whether a listener or a rule refers to the target group, be it with weight 0."""
        for balancer in list(self._backend().load_balancers.values()):
            for listener in list(balancer.listeners.values()):
                for rule in list(listener.rules.values()):
                    for action in rule.actions:
                        if any(one.target_group == target_group_arn for one in _weighted_groups(action.data)):
                            return True
        return False

    def deregistration_delay_s(self, target_group_arn: str) -> float:
        """Return the deregistration delay in AWS's seconds."""
        group = self.target_group(target_group_arn)
        return group.deregistration_delay_s if group is not None else DEFAULT_DELAY_S

    def _backend(self) -> Any:
        return elbv2_backends[self._account][self._region]

    def _rules(self, listener: Any) -> Iterator[Rule]:
        for rule in list(listener.rules.values()):
            try:
                yield _rule(rule)
            except UnsupportedRule as error:
                if rule.arn not in self._complained:
                    self._complained.add(rule.arn)
                    _log.warning("the balancer leaves rule %s out: %s", rule.arn, error)


def _order(rule: Rule) -> tuple[bool, int]:
    return rule.priority is None, rule.priority or 0


def _rule(rule: Any) -> Rule:
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    for condition in rule.conditions:
        field = condition.get("Field")
        if field == "host-header":
            hosts += _values(condition, "HostHeaderConfig")
        elif field == "path-pattern":
            paths += _values(condition, "PathPatternConfig")
        else:
            raise UnsupportedRule(f"it has a condition on {field}")
    priority = None if rule.priority == "default" else int(rule.priority)
    return Rule(rule.arn, priority, hosts, paths, _action(rule.actions))


def _values(condition: dict[str, Any], config: str) -> tuple[str, ...]:
    return tuple(condition.get("Values") or (condition.get(config) or {}).get("Values") or ())


def _action(actions: list[Any]) -> Action:
    # The action with the highest order routes the request; those before it only authenticate.
    last = max(actions, key=lambda action: int(action.data.get("Order") or 0))
    data = last.data
    if data["Type"] == "forward":
        sticky = (data.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig") or {}
        is_sticky = str(sticky.get("Enabled", "")).lower() == "true"
        return Forward(_weighted_groups(data), int(sticky.get("DurationSeconds") or 0) if is_sticky else 0)
    if data["Type"] == "redirect":
        config = data["RedirectConfig"]
        return Redirect(
            int(config["StatusCode"].removeprefix("HTTP_")),
            config.get("Protocol") or "#{protocol}",
            config.get("Host") or "#{host}",
            str(config.get("Port") or "#{port}"),
            config.get("Path") or "/#{path}",
            config["Query"] if config.get("Query") is not None else "#{query}",
        )
    if data["Type"] == "fixed-response":
        config = data["FixedResponseConfig"]
        body = config.get("MessageBody") or ""
        return FixedResponse(int(config["StatusCode"]), config.get("ContentType") or "text/plain", body)
    raise UnsupportedRule(f"its action is {data['Type']}")


def _weighted_groups(data: dict[str, Any]) -> tuple[WeightedGroup, ...]:
    several = (data.get("ForwardConfig") or {}).get("TargetGroups") or ()
    if several:
        return tuple(WeightedGroup(one["TargetGroupArn"], int(one.get("Weight", 1))) for one in several)
    return (WeightedGroup(data["TargetGroupArn"], 1),) if data.get("TargetGroupArn") else ()


def _target_group(group: Any) -> TargetGroup:
    port = int(group.port) if group.port else None
    check_port = group.health_check_port or "traffic-port"
    return TargetGroup(
        arn=group.arn,
        name=group.name,
        port=port,
        health_check_port=str(check_port),
        health_path=group.health_check_path or "/",
        interval_s=float(group.health_check_interval_seconds),
        timeout_s=float(group.health_check_timeout_seconds),
        healthy_threshold=int(group.healthy_threshold_count),
        unhealthy_threshold=int(group.unhealthy_threshold_count),
        matcher=str((getattr(group, "matcher", None) or {}).get("HttpCode") or "200"),
        deregistration_delay_s=float(group.attributes.get("deregistration_delay.timeout_seconds", DEFAULT_DELAY_S)),
    )
