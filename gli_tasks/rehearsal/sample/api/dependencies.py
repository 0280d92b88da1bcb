"""Watch the database and the cache in the background, so that a health check costs nothing and never waits."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import cache
import postgres

CHECK_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 2.0
CONNECTED = "connected"
NOT_CONFIGURED = "not configured"


class Check(Protocol):
    """An open connection and the question that proves it."""

    def ask(self) -> None:
        """Ask; raise when the answer is wrong."""

    def close(self) -> None:
        """Close the connection."""


class DatabaseCheck(postgres.Connection):
    """A database connection that can be checked."""

    ask = postgres.Connection.select_one


class RedisCheck(cache.Connection):
    """A cache connection that can be checked."""

    ask = cache.Connection.ping


class Watch:
    """Keeps one connection and the last known state of one dependency."""

    def __init__(self, name: str, connect: Callable[[], Check]) -> None:
        """Start to watch, once a second."""
        self._name, self._connect = name, connect
        self._state = "not checked yet"
        self._checked = threading.Event()
        threading.Thread(target=self._run, name=f"watch-{name}", daemon=True).start()

    def state(self) -> str:
        """Return ``connected`` or a short reason why not; the first call waits for the first check."""
        self._checked.wait(CHECK_INTERVAL_S)
        return self._state

    def _run(self) -> None:
        connection: Check | None = None
        pace = threading.Event()
        while True:
            try:
                connection = connection or self._connect()
                connection.ask()
                state = CONNECTED
            except (postgres.DatabaseError, cache.RedisError, OSError) as error:
                state = _reason(error)
                if connection is not None:
                    connection.close()
                    connection = None
            if state != self._state:
                print(f"{self._name}: {state}", file=sys.stderr, flush=True)
            self._state = state
            self._checked.set()
            pace.wait(CHECK_INTERVAL_S)


def _reason(error: Exception) -> str:
    """Say in two words what went wrong; the operating system's text could name hosts, never secrets."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "host not found"
    if isinstance(error, OSError):
        return "TLS failed" if "SSL" in type(error).__name__ else "connection lost"
    return str(error)


class Dependencies:
    """The parts that this service needs, as its environment names them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start to watch what is configured. Raises ValueError for an address that cannot be read."""
        self._database: Watch | None = None
        self._redis: Watch | None = None
        if database := _database(environment):
            self._database = Watch("database", lambda: DatabaseCheck(database, ANSWER_TIMEOUT_S))
        if url := environment.get("REDIS_URL"):
            address = cache.redis_from_url(url, environment.get("REDIS_CA_FILE") or _own_authority())
            self._redis = Watch("redis", lambda: RedisCheck(address, ANSWER_TIMEOUT_S))

    def states(self) -> dict[str, str]:
        """Return the state of each part by its name."""
        return {
            "database": self._database.state() if self._database else NOT_CONFIGURED,
            "redis": self._redis.state() if self._redis else NOT_CONFIGURED,
        }


def _database(environment: Mapping[str, str]) -> postgres.Database | None:
    if url := environment.get("DATABASE_URL"):
        return postgres.database_from_url(url)
    if not (host := environment.get("DB_HOST")):
        return None
    user = environment.get("DB_USER", "postgres")
    return postgres.Database(
        host=host,
        port=int(environment.get("DB_PORT") or 5432),
        name=environment.get("DB_NAME") or user,
        user=user,
        password=environment.get("DB_PASSWORD", ""),
        tls=environment.get("DB_SSLMODE") or "prefer",
        ca_file=environment.get("DB_CA_FILE"),
    )


def _own_authority() -> str | None:
    """Return the authority that lies beside the source, for a cache whose certificate no public one signed."""
    file = Path(__file__).with_name("ca.pem")
    return str(file) if file.is_file() else None
