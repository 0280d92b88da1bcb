"""Rollouts followed by this tool, by the SDK's waiter and by `ecs-deploy`, against one ECS endpoint in one run.

    python -m venv V && V/bin/pip install ecs-deploy==1.17.0
    python benchmarks/rollout.py --ecs-deploy V/bin/ecs [--rounds 10]

The endpoint is `pretend_ecs.py`: the twin's control plane with timers as tasks, in a process of its own, so that only
the following is measured. It counts every call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402

from gli_tasks.ecs.definition import register  # noqa: E402
from gli_tasks.ecs.deploy import Expected, follow, require_completed, update_service  # noqa: E402
from gli_tasks.ecs.plan import Judgement, Progress  # noqa: E402
from gli_tasks.ecs.services import read_services  # noqa: E402

POLL_S = 1.0
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "ap-northeast-2"}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class Endpoint:
    """A running ECS endpoint, a client of it, and what to make there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ecs = boto3.client(
            "ecs",
            endpoint_url=address,
            region_name="ap-northeast-2",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
        )
        self.ecs.create_cluster(clusterName="main")

    def calls(self) -> list[tuple[float, str]]:
        """Return every call so far: moment and operation."""
        with urlopen(f"{self.address}/_calls", timeout=30) as answer:
            return [(moment, operation) for moment, operation in json.loads(answer.read())]

    def definition(self, family: str, image: str) -> dict[str, Any]:
        """Return a task definition whose container becomes healthy, or crashes, by its image's name."""
        container = {"name": "api", "image": image, "healthCheck": {"command": ["CMD", "true"]}}
        return {
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "containerDefinitions": [container],
        }

    def serving(self, names: list[str]) -> None:
        """Create services, and wait until they serve."""
        ids = {}
        for name in names:
            arn = register(self.ecs, self.definition(name, f"good/0@sha256:{'1' * 64}"), {}).arn
            answer = self.ecs.create_service(
                cluster="main",
                serviceName=name,
                taskDefinition=arn,
                desiredCount=1,
                launchType="FARGATE",
                networkConfiguration=NETWORK,
                deploymentConfiguration=BREAKER,
            )
            ids[name] = answer["service"]["deployments"][0]["id"]
        ended = follow(self.ecs, "main", ids, timeout_s=60, poll_s=0.2, on_change=silent)
        assert all(one.progress is Progress.COMPLETED for one in ended.values()), ended

    def update(self, name: str, image: str) -> str:
        """Begin a rollout, and return its deployment."""
        before = read_services(self.ecs, "main", [name])[name]
        arn = register(self.ecs, self.definition(name, image), {}).arn
        return update_service(
            self.ecs, "main", before, arn, minimum_healthy_percent=100, maximum_percent=200
        ).deployment_id

    def completed_at(self, name: str) -> float:
        """Return when the newest deployment of a service was completed, by the server's clock."""
        primary = self.ecs.describe_services(cluster="main", services=[name])["services"][0]["deployments"][0]
        assert primary["rolloutState"] == "COMPLETED", primary
        return float(primary["updatedAt"].timestamp())


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Run an endpoint for as long as the context lasts."""
    argv = [sys.executable, str(ROOT / "benchmarks" / "pretend_ecs.py")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield Endpoint(server.stdout.readline().strip())
        server.stdin.close()


def silent(_name: str, _judgement: Judgement) -> None:
    """Tell nobody."""


def image(kind: str, seconds: float, number: int) -> str:
    """Return an image's name: what it does, when, and a digest."""
    return f"{kind}/{int(seconds * 1000)}@sha256:{number:064x}"


def ours(at: Endpoint, name: str, new: str) -> float:
    """Roll out as a release does, proof included; return the moment at which it is known."""
    deployment = at.update(name, new)
    ended = follow(at.ecs, "main", {name: deployment}, timeout_s=120, poll_s=POLL_S, on_change=silent)
    known = time.time()
    require_completed(at.ecs, "main", ended, {name: Expected("api", new.partition("@")[2])}, 120)
    return known


def waiter(at: Endpoint, name: str, new: str) -> float:
    """Roll out and wait by the SDK's waiter as it comes: a poll every 15 s."""
    at.update(name, new)
    at.ecs.get_waiter("services_stable").wait(cluster="main", services=[name])
    return time.time()


def ecs_deploy(program: str) -> Callable[[Endpoint, str, str], float]:
    """Return how ecs-deploy rolls out, as a program of its own."""

    def roll(at: Endpoint, name: str, new: str) -> float:
        argv = [
            program,
            "deploy",
            "main",
            name,
            "--image",
            "api",
            new,
            "--region",
            "ap-northeast-2",
            "--timeout",
            "120",
        ]
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": at.address, "AWS_ENDPOINT_URL_ECS": at.address}
        # Without a timeout, since Python waits for one by polling, in steps of up to 50 ms.
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"ecs-deploy failed:\n{done.stdout}\n{done.stderr}")
        return time.time()

    return roll


def knowing(peers: dict[str, Callable[[Endpoint, str, str], float]], rounds: int) -> dict[str, list[float]]:
    """Return, for each peer, the seconds from each rollout's end at the server to the peer's knowing of it.

    All at once, each with services of its own; the rollouts of a round take equally long with every peer.
    """
    chance = random.Random(20261122)
    lengths = [chance.uniform(2, 17) for _ in range(rounds)]
    with endpoint() as at:
        names = {(peer, number): f"{peer}-{number}" for peer in peers for number in range(rounds)}
        at.serving(list(names.values()))

        def one(key: tuple[str, int]) -> tuple[str, float]:
            peer, number = key
            time.sleep(number * 0.7)
            known = peers[peer](at, names[key], image("good", lengths[number], 2))
            return peer, known - at.completed_at(names[key])

        with ThreadPoolExecutor(len(names)) as pool:
            found: dict[str, list[float]] = {peer: [] for peer in peers}
            for peer, late in pool.map(one, names):
                found[peer].append(late)
    return found


def calls_of(peer: Callable[[Endpoint, str, str], float]) -> tuple[Counter[str], Counter[str]]:
    """Return the calls of one service's rollout: those aside from polling, and those of polling.

    Polling is what is asked again and again while ECS works: what only reads, between the update and the last look of
    the same kind.
    """
    with endpoint() as at:
        at.serving(["api"])
        before = len(at.calls())
        peer(at, "api", image("good", 6, 2))
        calls = [operation for _, operation in at.calls()[before:]]
    updated = calls.index("UpdateService")
    waiting = calls[updated + 1 :]
    often = {name for name, count in Counter(waiting).items() if count > 2}
    polls = Counter(name for name in waiting if name in often)
    return Counter(calls) - polls, polls


def crashes(rounds: int, give_up_after: int) -> list[float]:
    """Return the seconds from the second stop of a crash-looping task to the moment at which its cause is named."""
    chance = random.Random(20261123)
    with endpoint() as at:
        names = [f"api-{number}" for number in range(rounds)]
        at.serving(names)

        def one(name: str) -> float:
            time.sleep(chance.uniform(0, 1))
            deployment = at.update(name, image("crash", chance.uniform(0.1, 2), 3))
            ended = follow(
                at.ecs,
                "main",
                {name: deployment},
                timeout_s=120,
                poll_s=POLL_S,
                on_change=silent,
                give_up_after=give_up_after,
            )
            known = time.time()
            diagnosis = ended[name].diagnosis
            assert diagnosis is not None
            assert "api exited with 1" in diagnosis.cause, diagnosis
            arns = at.ecs.list_tasks(cluster="main", serviceName=name, desiredStatus="STOPPED")["taskArns"]
            tasks = at.ecs.describe_tasks(cluster="main", tasks=arns)["tasks"]
            stops = sorted(task["stoppingAt"].timestamp() for task in tasks if task["startedBy"] == deployment)
            return known - stops[1]

        with ThreadPoolExecutor(rounds) as pool:
            return list(pool.map(one, names))


def many(count: int) -> tuple[int, float]:
    """Return the describe calls and the seconds that it takes to follow so many services at once."""
    with endpoint() as at:
        names = [f"s{number:03}" for number in range(count)]
        at.serving(names)
        with ThreadPoolExecutor(8) as pool:
            deployments = dict(
                zip(names, pool.map(lambda name: at.update(name, image("good", 10, 4)), names), strict=True)
            )
        before = len(at.calls())
        start = time.monotonic()
        ended = follow(at.ecs, "main", deployments, timeout_s=120, poll_s=POLL_S, on_change=silent)
        seconds = time.monotonic() - start
        assert all(one.progress is Progress.COMPLETED for one in ended.values())
        return len(at.calls()) - before, seconds


def spread(values: list[float]) -> str:
    """Return a median and the greatest."""
    return f"median {statistics.median(values):5.2f} s, worst {max(values):5.2f} s"


def main() -> None:
    """Measure, and print every figure beside its peer's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ecs-deploy", required=True, help="the program `ecs` of ecs-deploy 1.17")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    peers = {"ours": ours, "waiter": waiter, "ecs-deploy": ecs_deploy(options.ecs_deploy)}
    print(f"service is stable → known, {options.rounds} rollouts each (target: median <= 1 s)")
    for peer, late in knowing(peers, options.rounds).items():
        print(f"  {peer:<11} {spread(late)}")
    print("calls of one service's rollout (target: <= 9 with all checks, polling aside)")
    for peer in ("ours", "ecs-deploy"):
        aside, polls = calls_of(peers[peer])
        print(f"  {peer:<11} {aside.total()} + {polls.total()} of polling: {dict(aside)}; polling {dict(polls)}")
    print("second stop of a crash loop → cause named (target: <= 3 s)")
    print(f"  ours        {spread(crashes(options.rounds, 2))}")
    print(f"  the breaker {spread(crashes(options.rounds, 0))}   (the same, waiting for ECS's circuit breaker)")
    print("services followed at once (target: <= 10 x the calls, <= 1.5 x the time)")
    (few, short), (lot, long) = many(10), many(100)
    print(
        f"  10: {few} calls in {short:.1f} s; 100: {lot} calls in {long:.1f} s; {lot / few:.1f} x, {long / short:.2f} x"
    )


if __name__ == "__main__":
    main()
