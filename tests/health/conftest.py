"""Services to ask, and the authority that their certificates come from."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.health.health_parts import Service, serve


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


@pytest.fixture
def service() -> Iterator[Service]:
    found, end = serve()
    yield found
    end()


def _tls(authority: trustme.CA, days: float) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ends = datetime.now(UTC) + timedelta(days=days, minutes=5)
    authority.issue_cert("api.example.com", not_after=ends).configure_cert(context)
    return context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Service]:
    """A service of the name api.example.com, whose certificate has 20 days left."""
    found, end = serve(_tls(authority, 20))
    yield found
    end()


@pytest.fixture
def expired(authority: trustme.CA) -> Iterator[Service]:
    found, end = serve(_tls(authority, -3))
    yield found
    end()


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[str]:
    """Return an address of this machine where nobody answers, and nobody will."""
    import socket

    with socket.socket() as taken:
        # Bound and not listening: every connection is refused, and no other process gets the port.
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
