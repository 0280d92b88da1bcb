"""The balancer's process, as the twin starts it."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from signal import SIGTERM

from gli_tasks.errors import RehearsalFailed
from gli_tasks.rehearsal.certificates import Certificates
from gli_tasks.rehearsal.runtime.children import Children

_STOP_S = 6.0


class BalancerProcess:
    """A running balancer; ``http`` and ``https`` are the addresses that it listens on."""

    def __init__(self, control: str, certificates: Certificates, children: Children) -> None:
        """Start it and wait until it listens. Raises RehearsalFailed where it does not."""
        argv = [
            sys.executable,
            *("-m", "gli_tasks.rehearsal.balancer"),
            *("--control", control),
            *("--http", "127.0.0.1:0"),
            *("--https", "127.0.0.1:0"),
            *("--certificate", str(certificates.chain)),
            *("--key", str(certificates.key)),
        ]
        root = Path(__file__).resolve().parents[2]
        self._child = children.start(sys.executable, argv, name="balancer", folder=root, environment=dict(os.environ))
        line = self._child.output.readline()
        try:
            ports = json.loads(line)
        except ValueError:
            text = (line + self._child.output.read(2_000)).decode(errors="replace")
            self._child.wait()
            raise RehearsalFailed(f"the balancer did not start: {text.strip()}") from None
        self.http, self.https = f"127.0.0.1:{ports['http']}", f"127.0.0.1:{ports['https']}"
        # Nobody reads what it says later, but a full pipe would stop it.
        self._drain = threading.Thread(target=self._child.output.read, name="balancer output", daemon=True)
        self._drain.start()

    def stop(self) -> None:
        """Let requests in flight end, then stop it."""
        self._child.signal(SIGTERM)
        self._child.wait_at_most(_STOP_S)
        self._drain.join(1)
        self._child.output.close()
