"""Each task's own loopback address."""

from __future__ import annotations

import errno
import socket
from itertools import cycle

_NETS, _HOSTS = range(1, 255), range(1, 255)
# Whoever listens on 127.0.x.255 at this port owns 127.0.x.*; the system lets go of it when the process ends.
_CLAIM_HOST, _CLAIM_PORT = 255, 47127


class AddressesExhausted(Exception):
    """Every address is taken."""


class Addresses:
    """Hands out 127.0.x.y of one x that no other twin on this machine uses; 127.0.0.* is left to the machine.

    A freed address comes round again only after all the others, so that nothing which still remembers an old task
    (a keep-alive connection, a balancer's table) meets a new one under the same name.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._ring = cycle(_HOSTS)
        self._net = 0
        self._claim: socket.socket | None = None

    @property
    def available(self) -> bool:
        """Say whether an address is free."""
        return len(self._taken) < len(_HOSTS)

    def take(self) -> str:
        """Return a free address; the first call claims the block. Raises AddressesExhausted."""
        if not self.available:
            raise AddressesExhausted(f"all addresses of 127.0.{self._net}.* are taken")
        if self._claim is None:
            self._net, self._claim = _claim_block()
        host = next(host for host in self._ring if host not in self._taken)
        self._taken.add(host)
        return f"127.0.{self._net}.{host}"

    def free(self, address: str) -> None:
        """Give an address back."""
        self._taken.discard(int(address.rpartition(".")[2]))

    def close(self) -> None:
        """Leave the block to others."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _claim_block() -> tuple[int, socket.socket]:
    for net in _NETS:
        claim = socket.socket()
        try:
            claim.bind((f"127.0.{net}.{_CLAIM_HOST}", _CLAIM_PORT))
            claim.listen(1)
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return net, claim
    raise AddressesExhausted("every 127.0.x.* belongs to some other twin")
