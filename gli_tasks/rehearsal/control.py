"""The control plane of the twin: moto with our own services in front of it, on one port, and the parts behind them."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
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
from gli_tasks.rehearsal.ecs.autoscaling import ApplicationAutoScalingService
from gli_tasks.rehearsal.ecs.control_plane import EcsControlPlane
from gli_tasks.rehearsal.ecs.service import EcsService
from gli_tasks.rehearsal.overrides import ACCESS_KEY
from gli_tasks.rehearsal.provision import static_sites
from gli_tasks.rehearsal.registry.client import Credentials
from gli_tasks.rehearsal.registry.ecr import EcrImages
from gli_tasks.rehearsal.registry.manifest import Manifest
from gli_tasks.rehearsal.registry.server import OciRegistry
from gli_tasks.rehearsal.runtime.contract import Runtime
from gli_tasks.rehearsal.wire import Asked, Gateway, HttpAnswer, HttpRequest, Ledger, Page
from gli_tasks.settings import Settings

_NEWS_KEPT = 100
# Who pulls the images of tasks: on AWS, whoever has their execution role.
_TASKS_AGENT = "tasks-agent"


class _Handler(WSGIRequestHandler):
    """Keeps connections open, and writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Control:
    """All AWS APIs of the twin. ``endpoint`` answers every service; ``registry`` holds the images."""

    def __init__(self, settings: Settings, folder: Path, time_scale: float) -> None:
        account, region = settings.aws.account, settings.aws.region
        self._account, self._region = account, region
        self._clients: dict[str, Any] = {}
        self._ledger = Ledger()
        #: The password that the registry takes from the owner of each access key.
        self._passwords: dict[str, str] = {}
        self.news: deque[Any] = deque(maxlen=_NEWS_KEPT)
        self._pushes_are_unpullable = False
        self._unpullable: set[str] = set()
        self.registry = OciRegistry(
            folder / "registry",
            authenticate=lambda user, password: user == "AWS" and password in self._passwords.values(),
            repository_exists=self._repository_exists,
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
        images = EcrImages(
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
            images,
        ]
        self._pages: dict[str, Page] = {
            **balancer_pages(self._topology, self._targets, metrics),
            "/_twin/slack": self._take_news,
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
        gateway = Gateway(self._moto, own, self._pages, self._ledger)
        self._server = make_server("127.0.0.1", 0, gateway, threaded=True, request_handler=_Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)
        self._thread.start()
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
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)
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
        return self._passwords.setdefault(access_key, secrets.token_urlsafe(24))

    def _note_use(self, password: str, repository: str, actions: Sequence[str]) -> None:
        owners = [access_key for access_key, one in self._passwords.items() if one == password]
        named = (("repositoryName", (repository,)),)
        self._ledger.note(Asked(owner, "ecr", action, named) for owner in owners for action in actions)

    def _digest_of(self, image: str) -> str | None:
        name, _, tag = image.rpartition(":")
        return self.registry.store.tags(name.partition("/")[2]).get(tag)

    def _take_news(self, request: HttpRequest) -> HttpAnswer:
        if request.method == "POST":
            self.news.append(json.loads(request.body))
        return HttpAnswer.json(list(self.news))

    def _take_fault(self, request: HttpRequest) -> HttpAnswer:
        self._pushes_are_unpullable = bool(json.loads(request.body)["unpullable"])
        return HttpAnswer.json({})

    def _note_push(self, _repository: str, _reference: str, manifest: Manifest) -> None:
        if self._pushes_are_unpullable:
            self._unpullable.add(manifest.digest)
