"""What the balancer is told: listeners, rules, target groups, targets and sites, as one versioned document."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from gli_tasks.rehearsal.cloud.cloudfront import Site
from gli_tasks.rehearsal.cloud.listeners import (
    Action,
    FixedResponse,
    Forward,
    Listener,
    LoadBalancers,
    Rule,
    TargetGroup,
)
from gli_tasks.rehearsal.cloud.targets import RegisteredTarget, TargetStates

POLL_PACE_S = 0.02
LONG_POLL_S = 1.0


class Topology:
    """Builds the document of ``GET /_twin/topology`` afresh at each read; its version grows when its content changes.

    ``time_scale`` is told to the balancer, which scales the document's seconds. ``sites`` returns the static sites.
    """

    def __init__(
        self,
        load_balancers: LoadBalancers,
        targets: TargetStates,
        *,
        time_scale: float = 1.0,
        sites: Callable[[], Sequence[Site]] = tuple,
    ) -> None:
        self._load_balancers = load_balancers
        self._targets = targets
        self._time_scale = time_scale
        self._sites = sites
        self._lock = threading.Lock()
        self._version = 0
        self._content: dict[str, Any] = {}
        self._closing = threading.Event()

    def read(self) -> dict[str, Any]:
        """Return the document as it stands."""
        with self._lock:
            content = self._build()
            if content != self._content or self._version == 0:
                self._content = content
                self._version += 1
            return {"version": self._version, **content}

    def wait(self, after: int, timeout_s: float = LONG_POLL_S) -> dict[str, Any]:
        """Return the document once its version differs from ``after``, at the latest after ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        while True:
            document = self.read()
            if document["version"] != after or time.monotonic() >= deadline or self._closing.wait(POLL_PACE_S):
                return document

    def close(self) -> None:
        """Let every waiting read answer at once."""
        self._closing.set()

    def _build(self) -> dict[str, Any]:
        registered: dict[str, list[RegisteredTarget]] = defaultdict(list)
        for one in self._targets.registered():
            registered[one.target.target_group_arn].append(one)
        return {
            "time_scale": self._time_scale,
            "listeners": [_listener(one) for one in self._load_balancers.listeners()],
            "target_groups": [_target_group(one, registered[one.arn]) for one in self._load_balancers.target_groups()],
            "sites": [{"host": site.host, "bucket": site.bucket, "fallback": site.fallback} for site in self._sites()],
        }


def _listener(listener: Listener) -> dict[str, Any]:
    return {
        "arn": listener.arn,
        "port": listener.port,
        "protocol": listener.protocol,
        "load_balancer": listener.load_balancer,
        "rules": [_rule(rule) for rule in listener.rules],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "arn": rule.arn,
        "priority": "default" if rule.priority is None else rule.priority,
        "hosts": list(rule.hosts),
        "paths": list(rule.paths),
        "action": _action(rule.action),
    }


def _action(action: Action) -> dict[str, Any]:
    if isinstance(action, Forward):
        targets = [{"target_group": one.target_group, "weight": one.weight} for one in action.targets]
        return {"type": "forward", "targets": targets, "stickiness_s": action.stickiness_s}
    if isinstance(action, FixedResponse):
        return {
            "type": "fixed-response",
            "status": action.status,
            "content_type": action.content_type,
            "body": action.body,
        }
    return {
        "type": "redirect",
        "status": action.status,
        "protocol": action.protocol,
        "host": action.host,
        "port": action.port,
        "path": action.path,
        "query": action.query,
    }


def _target_group(group: TargetGroup, targets: Sequence[RegisteredTarget]) -> dict[str, Any]:
    return {
        "arn": group.arn,
        "name": group.name,
        "dimension": group.dimension,
        "health": {
            "path": group.health_path,
            "interval_s": group.interval_s,
            "timeout_s": group.timeout_s,
            "healthy_threshold": group.healthy_threshold,
            "unhealthy_threshold": group.unhealthy_threshold,
            "matcher": group.matcher,
        },
        "deregistration_delay_s": group.deregistration_delay_s,
        "targets": [
            {"address": one.target.address, "port": one.target.port, "draining": one.is_draining} for one in targets
        ],
    }
