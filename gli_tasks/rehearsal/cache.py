"""The cache of the twin: fakeredis behind TLS, as ElastiCache with transit encryption."""

from __future__ import annotations

import ssl
import threading
from typing import Any

from fakeredis import TcpFakeServer

from gli_tasks.rehearsal.certificates import Certificates


class _TlsServer(TcpFakeServer):
    """fakeredis's server, with TLS on each connection."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(address)

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        connection, peer = self.socket.accept()
        # The handshake is left to the connection's own thread: one slow client must not keep the others out.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; the service's health says whether the cache answers."""


class Cache:
    """A running cache; ``port`` is where it listens, with TLS."""

    def __init__(self, host: str, certificates: Certificates) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.chain, certificates.key)
        self._server = _TlsServer((host, 0), context)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="cache", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
