"""A Redis client just big enough to prove that the cache answers (RESP 2: AUTH and PING)."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


class RedisError(Exception):
    """The cache does not answer as it should; the text is short and carries no secret."""


@dataclass(frozen=True, slots=True)
class Redis:
    """Where the cache is and how to get in."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    tls: bool = False
    ca_file: str | None = None


def redis_from_url(url: str, ca_file: str | None) -> Redis:
    """Read ``redis[s]://user:password@host:port``. Raises ValueError without quoting the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise ValueError("REDIS_URL cannot be read") from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("REDIS_URL is not a redis:// or rediss:// address")
    return Redis(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        ca_file=ca_file,
    )


class Connection:
    """An open, authenticated connection."""

    def __init__(self, redis: Redis, timeout_s: float) -> None:
        """Connect within ``timeout_s`` seconds a step. Raises RedisError or OSError."""
        self._socket = socket.create_connection((redis.host, redis.port), timeout_s)
        try:
            if redis.tls:
                import ssl  # only here: it doubles the time to start

                context = ssl.create_default_context(cafile=redis.ca_file)
                self._socket = context.wrap_socket(self._socket, server_hostname=redis.host)
            if redis.password is not None:
                words = ["AUTH", redis.user, redis.password] if redis.user else ["AUTH", redis.password]
                if self._ask(*words) != b"+OK":
                    raise RedisError("authentication failed")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ping(self) -> None:
        """Ask ``PING``. Raises RedisError or OSError."""
        answer = self._ask("PING")
        if answer.startswith(b"-NOAUTH"):
            raise RedisError("authentication required")
        if answer != b"+PONG":
            raise RedisError("unexpected answer")

    def _ask(self, *words: str | None) -> bytes:
        encoded = [word.encode() for word in words if word is not None]
        self._socket.sendall(
            b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
        )
        answer = b""
        while not answer.endswith(b"\r\n"):
            piece = self._socket.recv(512)
            if not piece or len(answer) > 4096:
                raise RedisError("connection lost")
            answer += piece
        return answer[:-2]
