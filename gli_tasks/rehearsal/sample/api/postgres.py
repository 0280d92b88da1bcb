"""A PostgreSQL client just big enough to prove that the database answers.

It speaks protocol 3.0 (https://www.postgresql.org/docs/current/protocol.html): TLS on request, the authentication
methods trust, password, md5 and SCRAM-SHA-256 (RFC 7677, without channel binding), and the simple query ``SELECT 1``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

PROTOCOL_VERSION = 3 << 16
SSL_REQUEST = 80877103
LONGEST_MESSAGE = 1 << 20
SERVER_ERRORS = {
    "28P01": "authentication failed",
    "28000": "authentication failed",
    "3D000": "database does not exist",
    "53300": "too many connections",
    "57P01": "server is shutting down",
    "57P03": "server is starting up",
}


class DatabaseError(Exception):
    """The database does not answer as it should; the text is short and carries no secret."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is and how to get in."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    tls: str = "prefer"  # libpq's sslmode: disable, prefer, require or verify-full
    ca_file: str | None = None


def database_from_url(url: str) -> Database:
    """Read ``postgresql://user:password@host:port/name?sslmode=require``. Raises ValueError without quoting the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise ValueError("DATABASE_URL cannot be read") from None
    if not parts.scheme.startswith("postgres") or not parts.hostname:
        raise ValueError("DATABASE_URL is not a postgresql:// address")
    options = parse_qs(parts.query)
    user = unquote(parts.username or "postgres")
    return Database(
        host=parts.hostname,
        port=port,
        name=unquote(parts.path.lstrip("/")) or user,
        user=user,
        password=unquote(parts.password or ""),
        tls=options.get("sslmode", ["prefer"])[-1],
        ca_file=options.get("sslrootcert", [None])[-1],
    )


class Connection:
    """An open, authenticated connection."""

    def __init__(self, database: Database, timeout_s: float) -> None:
        """Connect within ``timeout_s`` seconds a step. Raises DatabaseError or OSError."""
        self._socket = socket.create_connection((database.host, database.port), timeout_s)
        try:
            if database.tls != "disable":
                self._start_tls(database)
            self._start_session(database)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def select_one(self) -> None:
        """Ask ``SELECT 1``. Raises DatabaseError or OSError."""
        self._send(b"Q", b"SELECT 1\0")
        rows = 0
        while True:
            kind, payload = self._receive()
            if kind == b"E":
                _fail(payload)
            rows += kind == b"D"
            if kind == b"Z":
                break
        if rows != 1:
            raise DatabaseError("unexpected answer")

    def _start_tls(self, database: Database) -> None:
        self._socket.sendall(struct.pack("!ii", 8, SSL_REQUEST))
        if self._read(1) != b"S":
            if database.tls == "prefer":
                return
            raise DatabaseError("server does not offer TLS")
        import ssl  # only here: it doubles the time to start

        context = ssl.create_default_context(cafile=database.ca_file)
        if database.tls != "verify-full":  # as libpq: require and prefer encrypt, and verify nothing
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket, server_hostname=database.host)

    def _start_session(self, database: Database) -> None:
        words = ("user", database.user, "database", database.name, "application_name", "sample-api")
        body = struct.pack("!i", PROTOCOL_VERSION) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self._socket.sendall(struct.pack("!i", len(body) + 4) + body)
        while True:
            kind, payload = self._receive()
            if kind == b"E":
                _fail(payload)
            if kind == b"Z":
                return
            if kind == b"R":
                self._authenticate(payload, database)

    def _authenticate(self, payload: bytes, database: Database) -> None:
        (method,) = struct.unpack_from("!i", payload)
        password = database.password.encode()
        if method == 0:
            return
        if method == 3:
            self._send(b"p", password + b"\0")
        elif method == 5:
            inner = hashlib.md5(password + database.user.encode()).hexdigest()  # noqa: S324 - the protocol's choice
            outer = hashlib.md5(inner.encode() + payload[4:8]).hexdigest()  # noqa: S324
            self._send(b"p", b"md5" + outer.encode() + b"\0")
        elif method == 10 and b"SCRAM-SHA-256\0" in payload[4:]:
            self._scram(password)
        else:
            raise DatabaseError("authentication method is not supported")

    def _scram(self, password: bytes) -> None:
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        message = b"n,," + first.encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(message)) + message)
        challenge = self._sasl_answer(11)
        fields = dict(part.split("=", 1) for part in challenge.split(",") if "=" in part)
        if not fields.get("r", "").startswith(nonce) or "s" not in fields or not fields.get("i", "").isdigit():
            raise DatabaseError("unexpected answer")
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields["s"]), int(fields["i"]))
        final = f"c=biws,r={fields['r']}"
        signed = f"{first},{challenge},{final}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._send(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode())
        server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        if self._sasl_answer(12) != "v=" + base64.b64encode(server_signature).decode():
            raise DatabaseError("server failed to prove that it knows the password")

    def _sasl_answer(self, expected: int) -> str:
        kind, payload = self._receive()
        if kind == b"E":
            _fail(payload)
        if kind != b"R" or struct.unpack_from("!i", payload)[0] != expected:
            raise DatabaseError("unexpected answer")
        return payload[4:].decode()

    def _send(self, kind: bytes, payload: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(payload) + 4) + payload)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._read(5)
        (length,) = struct.unpack("!i", head[1:])
        if not 4 <= length <= LONGEST_MESSAGE:
            raise DatabaseError("unexpected answer")
        return head[:1], self._read(length - 4)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise DatabaseError("connection lost")
            data += piece
        return data


def _fail(payload: bytes) -> NoReturn:
    """Raise for an ErrorResponse by its SQLSTATE: the server's own sentence may quote what we sent."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in payload.split(b"\0") if part}
    code = fields.get(b"C", "unknown")
    raise DatabaseError(SERVER_ERRORS.get(code, f"server error {code}"))
