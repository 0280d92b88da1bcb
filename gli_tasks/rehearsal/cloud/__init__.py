"""Monitoring and load balancing of the twin, and what moto's other services need to be believed.

One account and region, wired together:

    store = MetricStore(period_scale=0.05)
    alarms = AlarmBook(store, account=ACCOUNT, region=REGION, notify=SnsNotifier(ACCOUNT))
    evaluator = AlarmEvaluator(alarms, time.time)
    balancers = LoadBalancers(ACCOUNT, REGION)
    targets = TargetStates(balancers, time_scale=0.05)
    topology = Topology(balancers, targets, time_scale=0.05, sites=lambda: distribution_sites(ACCOUNT))
    gateway = Gateway(
        CompletingInvalidations(moto_app, ACCOUNT, time_scale=0.05),
        [CloudWatchService(store, alarms), Elbv2Service(balancers, targets)],
        balancer_pages(topology, targets, store),
    )

``TargetStates``, ``LogSink`` and ``SecretResolver`` are the ports that ECS asks for (``ecs.ports``). All of them act on
moto's objects in this process, so moto's application must run in it.
"""

from gli_tasks.rehearsal.cloud.alarms import ActionFailed, AlarmBook, AlarmEvaluator
from gli_tasks.rehearsal.cloud.cloudfront import CompletingInvalidations, Site, distribution_sites
from gli_tasks.rehearsal.cloud.cloudwatch import CloudWatchService
from gli_tasks.rehearsal.cloud.elbv2 import Elbv2Service
from gli_tasks.rehearsal.cloud.iam import PolicySimulator
from gli_tasks.rehearsal.cloud.listeners import LoadBalancers
from gli_tasks.rehearsal.cloud.logs import LogSink
from gli_tasks.rehearsal.cloud.metrics import Metric, MetricStore, Sample
from gli_tasks.rehearsal.cloud.notifications import SnsNotifier
from gli_tasks.rehearsal.cloud.pages import balancer_pages
from gli_tasks.rehearsal.cloud.quotas import FargateQuota
from gli_tasks.rehearsal.cloud.secrets import SecretResolver
from gli_tasks.rehearsal.cloud.targets import TargetHealth, TargetStates, UnknownTargetGroup
from gli_tasks.rehearsal.cloud.topology import Topology

__all__ = [
    "ActionFailed",
    "AlarmBook",
    "AlarmEvaluator",
    "CloudWatchService",
    "CompletingInvalidations",
    "Elbv2Service",
    "FargateQuota",
    "LoadBalancers",
    "LogSink",
    "Metric",
    "MetricStore",
    "PolicySimulator",
    "Sample",
    "SecretResolver",
    "Site",
    "SnsNotifier",
    "TargetHealth",
    "TargetStates",
    "Topology",
    "UnknownTargetGroup",
    "balancer_pages",
    "distribution_sites",
]
