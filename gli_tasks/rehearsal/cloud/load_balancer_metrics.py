"""The balancer's counts as CloudWatch's ``AWS/ApplicationELB`` metrics.

As on AWS, counts are reported only where they are not zero, so a release without errors has no 5XX metric at all.
Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gli_tasks.rehearsal.cloud.metrics import Metric, Sample

NAMESPACE = "AWS/ApplicationELB"


class LoadBalancerCounts(msgspec.Struct, frozen=True):
    """What one load balancer counted for one target group ("" where no target was chosen) in one interval.

    ``load_balancer`` and ``target_group`` are ARNs or CloudWatch's short forms; ``timestamp`` is epoch seconds.
    """

    load_balancer: str
    timestamp: float
    target_group: str | None = None
    requests: int = 0
    target_2xx: int = 0
    target_3xx: int = 0
    target_4xx: int = 0
    target_5xx: int = 0
    elb_4xx: int = 0
    elb_5xx: int = 0
    target_connection_errors: int = 0
    response_times_s: tuple[float, ...] = ()
    healthy_hosts: int = 0
    unhealthy_hosts: int = 0


def samples_of(counts: LoadBalancerCounts) -> Iterator[tuple[Metric, Sample]]:
    """Yield the samples of one report, for each set of dimensions that AWS publishes."""
    balancer = ("LoadBalancer", counts.load_balancer.split(":loadbalancer/", 1)[-1])
    per_balancer: list[tuple[tuple[str, str], ...]] = [(balancer,)]
    per_target = list(per_balancer)
    if counts.target_group:
        group = ("TargetGroup", counts.target_group.rsplit(":", 1)[-1])
        per_target += [(balancer, group), (group,)]
    for name, count in (
        ("RequestCount", counts.requests),
        ("HTTPCode_Target_2XX_Count", counts.target_2xx),
        ("HTTPCode_Target_3XX_Count", counts.target_3xx),
        ("HTTPCode_Target_4XX_Count", counts.target_4xx),
        ("HTTPCode_Target_5XX_Count", counts.target_5xx),
        ("TargetConnectionErrorCount", counts.target_connection_errors),
    ):
        yield from _count(name, count, per_target, counts.timestamp)
    yield from _count("HTTPCode_ELB_4XX_Count", counts.elb_4xx, per_balancer, counts.timestamp)
    yield from _count("HTTPCode_ELB_5XX_Count", counts.elb_5xx, per_balancer, counts.timestamp)
    if counts.response_times_s:
        times = tuple((seconds, 1.0) for seconds in counts.response_times_s)
        for dimensions in per_target:
            metric = Metric.of(NAMESPACE, "TargetResponseTime", dimensions)
            yield metric, Sample(counts.timestamp, times, unit="Seconds")
    if counts.target_group:
        for name, hosts in (("HealthyHostCount", counts.healthy_hosts), ("UnHealthyHostCount", counts.unhealthy_hosts)):
            metric = Metric.of(NAMESPACE, name, (balancer, group))
            yield metric, Sample(counts.timestamp, ((float(hosts), 1.0),), unit="Count")


def _count(
    name: str, count: int, several: Iterable[tuple[tuple[str, str], ...]], timestamp: float
) -> Iterator[tuple[Metric, Sample]]:
    if count:
        for dimensions in several:
            # AWS counts each request as a sample of 1: Sum is the count, Average is always 1.
            yield Metric.of(NAMESPACE, name, dimensions), Sample(timestamp, ((1.0, float(count)),), unit="Count")
