"""The cloud part as the control process wires it, on a real threaded HTTP server with moto behind it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
import httpx
import pytest
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.rehearsal.cloud import (
    AlarmBook,
    CloudWatchService,
    CompletingInvalidations,
    Elbv2Service,
    LoadBalancers,
    MetricStore,
    SnsNotifier,
    TargetStates,
    Topology,
    balancer_pages,
    distribution_sites,
)
from gli_tasks.rehearsal.wire import Gateway

ACCOUNT = "123456789012"
REGION = "ap-northeast-2"
START = 1_790_000_040.0  # a whole multiple of 60


class Clock:
    """A clock that tests move."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@dataclass
class Twin:
    """A running twin of the cloud part, and its insides."""

    url: str
    clock: Clock
    store: MetricStore
    alarms: AlarmBook
    targets: TargetStates
    topology: Topology

    def client(self, service: str, region: str = REGION, config: Config | None = None) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=config or Config(retries={"max_attempts": 0}),
        )


def wait_for(condition: Callable[[], Any], timeout_s: float = 5.0) -> Any:
    """Return the condition's first true value; fail after the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@dataclass
class Network:
    """What an application load balancer needs to exist."""

    vpc: str
    subnets: list[str]


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[Any], str]]:
    """Serve one application after another on one port."""

    class Switch:
        application: Any = None

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.application(environ, start_response)

    switch = Switch()
    http = make_server("127.0.0.1", 0, switch, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()

    def serve(application: Any) -> str:
        switch.application = application
        return f"http://127.0.0.1:{http.server_port}"

    yield serve
    http.shutdown()
    thread.join(5)
    http.server_close()


@pytest.fixture(scope="module")
def moto_app() -> Any:
    return DomainDispatcherApplication(create_backend_app)


@pytest.fixture
def twin(server: Callable[[Any], str], moto_app: Any) -> Iterator[Twin]:
    clock = Clock(START)
    store = MetricStore(clock=clock)
    alarms = AlarmBook(store, account=ACCOUNT, region=REGION, notify=SnsNotifier(ACCOUNT))
    balancers = LoadBalancers(ACCOUNT, REGION)
    targets = TargetStates(balancers, time_scale=0.05, clock=clock)
    topology = Topology(balancers, targets, time_scale=0.05, sites=lambda: distribution_sites(ACCOUNT))
    gateway = Gateway(
        CompletingInvalidations(moto_app, ACCOUNT, delay_s=60, time_scale=0.005),
        [CloudWatchService(store, alarms), Elbv2Service(balancers, targets)],
        balancer_pages(topology, targets, store),
    )
    url = server(gateway)
    yield Twin(url, clock, store, alarms, targets, topology)
    topology.close()


@pytest.fixture
def fresh_twin(twin: Twin) -> Twin:
    """A twin whose moto holds nothing from other tests."""
    httpx.post(f"{twin.url}/moto-api/reset").raise_for_status()
    return twin


@pytest.fixture
def network(fresh_twin: Twin) -> Network:
    ec2 = fresh_twin.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
            "SubnetId"
        ]
        for index, zone in enumerate("ab")
    ]
    return Network(vpc, subnets)


@pytest.fixture(scope="session", params=["smithy-rpc-v2-cbor", "json", "query"])
def one_protocol(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A botocore session that knows CloudWatch by one protocol alone."""
    loader = botocore.session.get_session().get_component("data_loader")
    model = json.loads(json.dumps(loader.load_service_model("cloudwatch", "service-2")))
    model["metadata"] |= {"protocol": request.param, "protocols": [request.param]}
    root = tmp_path_factory.mktemp("models")
    folder = root / "cloudwatch" / "2010-08-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(model))
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.insert(0, str(root))
    return request.param, session


@pytest.fixture
def cloudwatch(one_protocol: Any, twin: Twin) -> Any:
    """A CloudWatch client of botocore in each of the protocols that CloudWatch speaks."""
    protocol, session = one_protocol
    client = session.create_client(
        "cloudwatch",
        region_name=REGION,
        endpoint_url=twin.url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"max_attempts": 0}),
    )
    assert client.meta.service_model.metadata["protocol"] == protocol
    return client
