"""The control plane of the twin: moto with our own services in front of it, on one port, and the parts behind them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.ecr.models import ecr_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.rehearsal.cloud import (
    AlarmBook,
    AlarmEvaluator,
    CloudWatchService,
    CompletingInvalidations,
    Elbv2Service,
    FargateQuota,
    LoadBalancers,
    LogSink,
    MetricStore,
    PolicySimulator,
    SecretResolver,
    Site,
    SnsNotifier,
    TargetStates,
    Topology,
    balancer_pages,
)
from gli_tasks.rehearsal.door import Door, DoorFault, DoorRule, SignedInTime
from gli_tasks.rehearsal.drawn_secrets import draw
from gli_tasks.rehearsal.ecs.autoscaling import ApplicationAutoScalingService
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.overrides import ACCESS_KEY
from gli_tasks.rehearsal.provision import static_sites
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.registry.ecr import EcrImages
from gli_tasks.rehearsal.registry.manifest import Manifest
from gli_tasks.rehearsal.registry.server import OciRegistry, RegistryAnswer
from gli_tasks.rehearsal.runtime.contract import Runtime
from gli_tasks.rehearsal.wire import Asked, Gateway, HttpAnswer, HttpRequest, Ledger, Page
from gli_tasks.settings import Settings

_NEWS_KEPT = 100
# Who pulls the images of tasks: on AWS, whoever has their execution role.
_TASKS_AGENT = "tasks-agent"
# A push asks for each layer and opens an upload before it sends one: after so many requests it is in the middle.
_PUSH_BEGUN = 2


@dataclass(frozen=True, slots=True)
class TwinFaults:
    """What is wrong with the twin itself; by default nothing is.

    ``unpullable``: images that are pushed from now on cannot be pulled. ``no_capacity``: no task is placed.
    ``slack_down``: news are answered with 503. ``registry_down``: the registry answers 503 from the middle of the
    next push on. ``door``: what befalls the calls that come in by the second door.
    """

    unpullable: bool = False
    no_capacity: bool = False
    slack_down: bool = False
    registry_down: bool = False
    door: tuple[DoorRule, ...] = ()


def read_faults(wanted: Mapping[str, Any]) -> TwinFaults:
    """Read the faults that a rehearsal asks for; what is not named is well."""
    rules = tuple(
        DoorRule(DoorFault(one["fault"]), one["service"], one.get("operation", "*"), one.get("path", ""))
        for one in wanted.get("door", ())
    )
    flags = {name: bool(value) for name, value in wanted.items() if name != "door"}
    return TwinFaults(door=rules, **flags)


class _Handler(WSGIRequestHandler):
    """Keeps connections open, and writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Control:
    """All AWS APIs of the twin. ``endpoint`` answers every service, and so does ``door``, where faults may be put;
    ``registry`` holds the images.
    """

    def __init__(self, settings: Settings, folder: Path, time_scale: float) -> None:
        account, region = settings.aws.account, settings.aws.region
        self._account, self._region = account, region
        self._clients: dict[str, Any] = {}
        self._ledger = Ledger()
        #: The password that the registry takes from the owner of each access key.
        self._passwords: dict[str, str] = {}
        self.news: deque[Any] = deque(maxlen=_NEWS_KEPT)
        self._faults = TwinFaults()
        self._met: Counter[str] = Counter()
        self._pushing = 0
        self._unpullable: set[str] = set()
        self.registry = OciRegistry(
            folder / "registry",
            authenticate=lambda user, password: user == "AWS" and password in list(self._passwords.values()),
            repository_exists=self._registry_has,
            on_push=self._note_push,
            is_pullable=lambda _repository, digest: digest not in self._unpullable,
            on_use=self._note_use,
            account=account,
        )
        metrics = MetricStore(period_scale=time_scale)
        alarms = AlarmBook(metrics, account=account, region=region, notify=SnsNotifier(account))
        self._evaluator = AlarmEvaluator(alarms, time.time)
        balancers = LoadBalancers(account, region)
        self._targets = TargetStates(balancers, time_scale=time_scale)
        sites = [Site(site.host, site.bucket, "index.html") for site in static_sites(settings)]
        self._topology = Topology(balancers, self._targets, time_scale=time_scale, sites=lambda: sites)
        self._images = EcrImages(
            self.registry.store,
            repository_exists=self._repository_exists,
            tag_is_immutable=lambda _repository, _tag: False,
            account=account,
            signed_address=self.registry.signed_address,
            password_for=self._password_for,
        )
        self._time_scale = time_scale
        self.ecs: EcsControlPlane | None = None
        self._services = [
            CloudWatchService(metrics, alarms),
            Elbv2Service(balancers, self._targets),
            FargateQuota(account, region),
            PolicySimulator(account),
            self._images,
        ]
        self._pages: dict[str, Page] = {
            **balancer_pages(self._topology, self._targets, metrics),
            "/_twin/slack": self._take_news,
            # What Slack gives is an address that is itself the secret.
            "/_twin/slack/": self._take_news,
            "/_twin/faults": self._take_fault,
        }
        self._moto = CompletingInvalidations(
            DomainDispatcherApplication(create_backend_app), account, time_scale=time_scale
        )

    def start(self, runtime: Runtime) -> None:
        """Serve; tasks run on this runtime."""
        self.ecs = EcsControlPlane(
            runtime,
            self._digest_of,
            self._targets,
            LogSink(self._account, self._region),
            SecretResolver(self._account, self._region),
            time_scale=self._time_scale,
            account=self._account,
            region=self._region,
        )
        own = [*self._services, EcsService(self.ecs), ApplicationAutoScalingService(self.ecs)]
        aws = SignedInTime(Gateway(self._moto, own, self._pages, self._ledger))
        self._door = Door(aws)
        self._servers = [
            make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler) for app in (aws, self._door)
        ]
        self.endpoint, self.door = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self._threads = [
            threading.Thread(target=server.serve_forever, name="control", daemon=True) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()
        self.ecs.start()
        self._evaluator.start()

    def credentials(self) -> Credentials:
        """Return what the registry takes, as the tasks' agent gets it from ECR."""
        return Credentials("AWS", self._password_for(_TASKS_AGENT))

    def stop_tasks(self) -> None:
        """Stop every task; nothing is started from here on. Comes before the runtime's own end."""
        if self.ecs is not None:
            self.ecs.stop()
            self._evaluator.stop()

    def stop(self) -> None:
        """Stop serving."""
        if self.ecs is not None:
            self._topology.close()
            for server, thread in zip(self._servers, self._threads, strict=True):
                server.shutdown()
                server.server_close()
                thread.join(5)
        self.registry.stop()

    def client(self, service: str) -> Any:
        """Return a client of the twin itself."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=self._region,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=ACCESS_KEY,
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def _repository_exists(self, name: str) -> bool:
        return name in ecr_backends[self._account][self._region].repositories

    def _password_for(self, access_key: str) -> str:
        return self._passwords.setdefault(access_key, draw())

    def _note_use(self, password: str, repository: str, actions: Sequence[str]) -> None:
        owners = [access_key for access_key, one in list(self._passwords.items()) if one == password]
        named = (("repositoryName", (repository,)),)
        self._ledger.note(Asked(owner, "ecr", action, named) for owner in owners for action in actions)

    def _registry_has(self, name: str) -> bool:
        if self._faults.registry_down:
            self._pushing += 1
            if self._pushing > _PUSH_BEGUN:
                self._met["registry_down"] += 1
                raise RegistryAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "the registry is down")
        return self._repository_exists(name)

    def _digest_of(self, image: str) -> str | None:
        name, _, tag = image.rpartition(":")
        return self.registry.store.tags(name.partition("/")[2]).get(tag)

    def _take_news(self, request: HttpRequest) -> HttpAnswer:
        if request.method == "POST" and self._faults.slack_down:
            self._met["slack_down"] += 1
            return HttpAnswer.text("service_unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
        if request.method == "POST":
            self.news.append(json.loads(request.body))
        return HttpAnswer.json(list(self.news))

    def _take_fault(self, request: HttpRequest) -> HttpAnswer:
        """Take the faults that hold from now on (POST), or tell how often each was met since then (GET)."""
        if request.method == "POST":
            self._faults, self._pushing = read_faults(json.loads(request.body)), 0
            self._met.clear()
            self._door.set_rules(self._faults.door)
            assert self.ecs is not None
            self.ecs.capacity = self._has_capacity
        return HttpAnswer.json({**self._met, "door": self._door.fired()})

    def _has_capacity(self) -> bool:
        if self._faults.no_capacity:
            self._met["no_capacity"] += 1
        return not self._faults.no_capacity

    def _note_push(self, _repository: str, _reference: str, manifest: Manifest) -> None:
        if self._faults.unpullable:
            self._met["unpullable"] += 1
            self._unpullable.add(manifest.digest)
