"""Fixtures for the balancer's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rehearsal.balancer.balancer_parts import BalancerProcess, Certificates, Control, SampleProcess, next_address


@pytest.fixture
def control() -> Iterator[Control]:
    """Yield a control server without listeners."""
    server = Control()
    yield server
    server.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificate files."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def balancer(control: Control, certificates: Certificates) -> Iterator[BalancerProcess]:
    """Yield a running balancer; it must end with 0."""
    process = BalancerProcess(control.url, certificates)
    yield process
    assert process.close() == 0


@pytest.fixture
def start_sample(tmp_path: Path) -> Iterator[Callable[..., SampleProcess]]:
    """Yield a function that starts sample services; all are stopped afterwards."""
    started: list[SampleProcess] = []

    def start(version: str, service: str = "api", **environment: str) -> SampleProcess:
        sample = SampleProcess(tmp_path, service, version, next_address(), **environment)
        started.append(sample)
        return sample

    yield start
    for sample in started:
        sample.stop()
