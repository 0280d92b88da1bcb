"""The pages through which the balancer's process talks with the control process."""

from __future__ import annotations

import msgspec

from gli_tasks.rehearsal.cloud.load_balancer_metrics import LoadBalancerCounts, samples_of
from gli_tasks.rehearsal.cloud.metrics import MetricStore
from gli_tasks.rehearsal.cloud.targets import HealthReport, Target, TargetHealth, TargetStates
from gli_tasks.rehearsal.cloud.topology import Topology
from gli_tasks.rehearsal.ecs.ports import TargetState
from gli_tasks.rehearsal.wire import HttpAnswer, HttpRequest, Page

TOPOLOGY_PATH = "/_twin/topology"
HEALTH_PATH = "/_twin/health"
METRICS_PATH = "/_twin/metrics"


class _ReportedTarget(msgspec.Struct, frozen=True):
    target_group: str
    address: str
    port: int
    state: TargetHealth
    reason: str = ""
    description: str = ""
    active: int = 0


def balancer_pages(topology: Topology, targets: TargetStates, metrics: MetricStore) -> dict[str, Page]:
    """Return the gateway's pages for the balancer: topology (GET, long poll by ``?after=``), health, metrics (POST)."""

    def read_topology(request: HttpRequest) -> HttpAnswer:
        if request.method != "GET":
            return HttpAnswer.text("only GET", 405)
        after = request.query_value("after")
        if after is None:
            return HttpAnswer.json(topology.read())
        if not after.lstrip("-").isdigit():
            return HttpAnswer.text("after must be a version", 400)
        return HttpAnswer.json(topology.wait(int(after)))

    def report_health(request: HttpRequest) -> HttpAnswer:
        if request.method != "POST":
            return HttpAnswer.text("only POST", 405)
        try:
            reported = msgspec.json.decode(request.body, type=list[_ReportedTarget])
        except msgspec.DecodeError as error:
            return HttpAnswer.text(f"not a health report: {error}", 400)
        targets.report(
            HealthReport(
                Target(one.target_group, one.address, one.port),
                TargetState(one.state, one.reason, one.description),
                one.active,
            )
            for one in reported
        )
        return HttpAnswer.json({})

    def report_metrics(request: HttpRequest) -> HttpAnswer:
        if request.method != "POST":
            return HttpAnswer.text("only POST", 405)
        try:
            reported = msgspec.json.decode(request.body, type=list[LoadBalancerCounts])
        except msgspec.DecodeError as error:
            return HttpAnswer.text(f"not a metrics report: {error}", 400)
        metrics.put(sample for counts in reported for sample in samples_of(counts))
        return HttpAnswer.json({})

    return {TOPOLOGY_PATH: read_topology, HEALTH_PATH: report_health, METRICS_PATH: report_metrics}
