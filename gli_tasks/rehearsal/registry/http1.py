"""A small threaded HTTP/1.1 server: keep-alive, chunked bodies both ways, TCP or Unix socket.

Serves the registry and the stand-in builder. Both take bodies of any size as a stream, which is why neither a WSGI
development server (one connection a request) nor one that buffers bodies would do.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import parse_qsl, unquote, urlsplit

LOG = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 120.0
READ_BYTES = 1024 * 1024
# A peer that is still sending when it is refused sees a reset, not the answer, unless what it sends is taken.
MAXIMUM_DRAIN_BYTES = 64 * 1024 * 1024
STOP_TIMEOUT_S = 5.0


class MalformedBody(Exception):
    """The request's body ended early or is not framed as HTTP/1.1 says."""


class BodyReader:
    """The body of one request: framed by Content-Length or by chunks (RFC 9112, 7.1), read once."""

    def __init__(self, stream: BinaryIO, length: int | None, chunked: bool) -> None:
        """Read ``length`` bytes, or chunks, from ``stream``."""
        self._stream = stream
        self._chunked = chunked
        self._left = 0 if chunked else (length or 0)
        self._ended = not chunked and not length

    def read(self, size: int = READ_BYTES) -> bytes:
        """Return up to ``size`` bytes; empty at the end. Raises MalformedBody."""
        if self._ended:
            return b""
        if self._chunked and self._left == 0:
            self._left = self._next_chunk()
            if self._left == 0:
                self._ended = True
                return b""
        data = self._stream.read(min(size, self._left))
        if not data:
            self._ended = True
            raise MalformedBody("the body ended early")
        self._left -= len(data)
        if self._left == 0:
            if not self._chunked:
                self._ended = True
            elif self._stream.readline(8).strip():
                raise MalformedBody("a chunk is longer than it says")
        return data

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body piece by piece."""
        while data := self.read():
            yield data

    def read_all(self, limit: int) -> bytes:
        """Return the whole body. Raises MalformedBody beyond ``limit`` bytes."""
        pieces, size = [], 0
        while data := self.read():
            size += len(data)
            if size > limit:
                raise MalformedBody(f"the body is larger than {limit} bytes")
            pieces.append(data)
        return b"".join(pieces)

    def drain(self) -> bool:
        """Take what is left, and say whether the connection may be used again."""
        taken = 0
        try:
            while data := self.read():
                taken += len(data)
                if taken > MAXIMUM_DRAIN_BYTES:
                    return False
        except (MalformedBody, OSError):
            return False
        return True

    def _next_chunk(self) -> int:
        line = self._stream.readline(1024)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise MalformedBody("a chunk has no size") from error
        if size == 0:
            while self._stream.readline(8192).strip():
                pass  # trailers
        return size


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names are lower case, ``path`` is decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: BodyReader


@dataclass(frozen=True, slots=True)
class FileBody:
    """A part of a file as an answer's body, in bytes."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer; a body that is an iterable is sent in chunks as it comes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileBody | Iterable[bytes] = b""


Application = Callable[[HttpRequest], HttpResponse]


class _Handler(BaseHTTPRequestHandler):
    """Turns a connection's bytes into requests for the server's application."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False  # set by hand: a Unix socket has no such option
    wbufsize = 64 * 1024
    timeout = IDLE_TIMEOUT_S
    server: _Server

    def setup(self) -> None:
        super().setup()
        if self.connection.family == socket.AF_INET:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def version_string(self) -> str:
        return self.server.software

    def log_message(self, format: str, *args: object) -> None:
        LOG.debug("%s " + format, self.server.software, *args)

    def _serve(self) -> None:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length")
        if length is not None and not length.isdecimal():
            self.send_error(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
            self.close_connection = True
            return
        body = BodyReader(cast("BinaryIO", self.rfile), int(length) if length else None, chunked)
        target = urlsplit(self.path)
        request = HttpRequest(
            method=self.command,
            path=unquote(target.path),
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        try:
            response = self.server.application(request)
        except (MalformedBody, ConnectionError, TimeoutError) as error:
            # The peer went away or sent what cannot be framed: there is nobody to answer properly.
            LOG.info("%s %s: %s", self.command, self.path, error)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.send_error(HTTPStatus.BAD_REQUEST, str(error) or type(error).__name__)
            return
        except Exception:  # the outermost edge: answered and logged
            LOG.exception("%s %s failed", self.command, self.path)
            response = HttpResponse(HTTPStatus.INTERNAL_SERVER_ERROR, body=b'{"message":"internal error, see the log"}')
        self._write(response)
        if not body.drain():
            self.close_connection = True

    # http.server finds these by name.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _write(self, response: HttpResponse) -> None:
        try:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if isinstance(response.body, bytes):
                self._write_sized(len(response.body), response.body, response)
            elif isinstance(response.body, FileBody):
                self._write_sized(response.body.length, response.body, response)
            else:
                self._write_chunks(response.body)
            self.wfile.flush()
        except (ConnectionError, TimeoutError) as error:
            LOG.info("%s %s: the peer went away: %s", self.command, self.path, error)
            self.close_connection = True

    def _write_sized(self, length: int, body: bytes | FileBody, response: HttpResponse) -> None:
        if response.status != HTTPStatus.NO_CONTENT and "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD" or not length:
            return
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        with body.path.open("rb") as source:
            source.seek(body.offset)
            left = body.length
            while left and (data := source.read(min(READ_BYTES, left))):
                self.wfile.write(data)
                left -= len(data)

    def _write_chunks(self, pieces: Iterable[bytes]) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
        except (ConnectionError, TimeoutError):
            raise
        except Exception:  # the outermost edge: an answer cut short tells the peer, the log says why
            LOG.exception("%s %s failed while it answered", self.command, self.path)
            self.close_connection = True
            return
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        self.wfile.write(b"0\r\n\r\n")


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread a connection; connections and threads are known, so that stopping ends them."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int] | str, application: Application, software: str) -> None:
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.application = application
        self.software = software
        self._open: dict[socket.socket, threading.Thread | None] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # a Unix socket's address is a path

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name=self.software, daemon=True
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        LOG.info("%s: a connection ended with an error", self.software, exc_info=True)

    def close_connections(self, timeout_s: float) -> None:
        """End every open connection and wait for its thread."""
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout_s)


class HttpServer:
    """Serves an application on a TCP port or a Unix socket until it is stopped."""

    def __init__(self, application: Application, address: tuple[str, int] | Path, software: str) -> None:
        """Bind ``address`` (port 0: a free one) and serve at once. Raises OSError."""
        self._socket_path = address if isinstance(address, Path) else None
        bound = str(address) if isinstance(address, Path) else address
        self._server = _Server(bound, application, software)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"{software} accept", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the TCP port; 0 for a Unix socket."""
        return 0 if self._socket_path else int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop accepting, end the open connections and their threads, free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections(STOP_TIMEOUT_S)
        self._thread.join(STOP_TIMEOUT_S)
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


def copy_body(body: BodyReader, target: BinaryIO) -> None:
    """Write the whole body to ``target``, in constant memory. Raises MalformedBody."""
    shutil.copyfileobj(cast("BinaryIO", body), target, READ_BYTES)
