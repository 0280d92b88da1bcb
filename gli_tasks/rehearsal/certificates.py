"""Certificates of the twin: an authority made for one rehearsal, and what it signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: the authority's certificate, and the server's chain and key (0600)."""

    authority: Path
    chain: Path
    key: Path


def make_certificates(folder: Path, names: Sequence[str]) -> Certificates:
    """Sign one certificate for all names (hosts and addresses) by a new authority, and write the files to
    ``folder``."""
    authority = trustme.CA(organization_name="gli-tasks rehearsal")
    # As long as a public authority gives at most (CA/Browser Forum, Baseline Requirements 6.3.2).
    server = authority.issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=397))
    files = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(files.authority)
    files.chain.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    files.key.touch(mode=0o600)
    server.private_key_pem.write_to_path(files.key)
    return files
