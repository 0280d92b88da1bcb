"""Move blobs between repositories over the OCI distribution API, without an engine and in little memory.

Protocol: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. Amazon ECR takes Basic authentication
on it (ECR user guide, "Private registry authentication").
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

from gli_tasks.console import Secret
from gli_tasks.errors import PushFailed
from gli_tasks.web import http_client

if TYPE_CHECKING:
    import httpx

_PIECE = 1024 * 1024


class BlobCopyCut(Exception):
    """A connection broke, or the registry had a fault of its own: the same may work a moment later."""


class Distribution:
    """A registry's blobs. ``timeout_s`` bounds each wait for bytes, not a whole transfer."""

    def __init__(self, host: str, account: tuple[str, Secret], timeout_s: float = 60) -> None:
        import httpx

        self.host = host
        # Plain HTTP to this machine and to none else, as Docker does it.
        local = _is_loopback(host)
        self._base = f"{'http' if local else 'https'}://{host}"
        user, password = account
        self._http = http_client(auth=httpx.BasicAuth(user, password.reveal()), timeout=timeout_s, trust_env=not local)

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self._http.close()

    def has(self, repository: str, digest: str) -> bool:
        """Tell whether a repository holds a blob. Raises PushFailed, BlobCopyCut."""
        with self._translated():
            answer = self._http.head(f"{self._base}/v2/{repository}/blobs/{digest}", follow_redirects=False)
        if answer.status_code == 404:
            return False
        # ECR keeps blobs elsewhere: that it would lead there is a yes.
        if not (answer.is_success or answer.is_redirect):
            raise _refusal(answer, f"{repository}/{digest}")
        return True

    def begin(self, repository: str, digest: str, mount_from: str) -> str:
        """Open an upload and return where it goes on; empty where the registry mounted the blob instead.

        ``mount_from`` is a repository of this registry that holds it, or empty. ECR mounts only where the registry's
        BLOB_MOUNTING is on and both repositories are encrypted alike (ECR user guide, "Blob mounting").
        Raises PushFailed, BlobCopyCut.
        """
        asked = {"mount": digest, "from": mount_from} if mount_from else {}
        with self._translated():
            answer = self._http.post(f"{self._base}/v2/{repository}/blobs/uploads/", params=asked)
        if answer.status_code == 201 and mount_from:
            return ""
        if answer.status_code != 202 or "Location" not in answer.headers:
            raise _refusal(answer, f"an upload to {repository}")
        return urljoin(f"{self._base}/", str(answer.headers["Location"]))

    @contextmanager
    def reading(self, repository: str, digest: str) -> Iterator[Iterator[bytes]]:
        """Give a blob in pieces, as it is kept. Raises PushFailed, BlobCopyCut."""
        url = f"{self._base}/v2/{repository}/blobs/{digest}"
        # The login goes to the registry alone: httpx drops it where ECR leads on to another host.
        with self._translated(), self._http.stream("GET", url, follow_redirects=True) as answer:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer, f"{repository}/{digest}")
            yield answer.iter_raw(_PIECE)

    def write(self, location: str, digest: str, size: int, pieces: Iterator[bytes]) -> None:
        """Send a blob to where its upload goes on, and end it under its digest.

        The bytes are hashed on their way. Raises PushFailed where they are not those of the digest, BlobCopyCut.
        """
        import httpx

        total = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for piece in pieces:
                total.update(piece)
                yield piece

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._translated():
            answer = self._http.patch(location, content=hashed(), headers=headers)
        if not answer.is_success:
            raise _refusal(answer, digest)
        if f"sha256:{total.hexdigest()}" != digest:
            raise PushFailed(f"the blob {digest} came as sha256:{total.hexdigest()}", remedy="start again")
        onward = urljoin(location, str(answer.headers.get("Location") or location))
        with self._translated():
            answer = self._http.put(httpx.URL(onward).copy_merge_params({"digest": digest}))
        if not answer.is_success:
            raise _refusal(answer, digest)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.HTTPError as error:
            raise BlobCopyCut(f"{self.host}: {error or type(error).__name__}") from None


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _refusal(answer: httpx.Response, what: str) -> Exception:
    said = f"{what}: the registry answered {answer.status_code} {answer.reason_phrase} {answer.text[:200]}".strip()
    if answer.status_code >= 500 or answer.status_code == 429:
        return BlobCopyCut(said)
    return PushFailed(said, remedy="see the registry's reason, then start again")
