"""Ask a registry over the distribution API: push, pull, resolve.

Speaks plain HTTP with Basic authentication, which is what registries on loopback take.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urljoin

import httpx

from gli_tasks.rehearsal.registry.manifest import MANIFEST_TYPES, InvalidManifest, Manifest, parse_manifest
from gli_tasks.rehearsal.registry.names import is_digest

CHUNK_BYTES = 1024 * 1024
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password for a registry; the password is not shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Return the user only."""
        return f"Credentials(user={self.user!r})"


class RegistryError(Exception):
    """The registry refused or could not be asked; ``status`` is 0 where no answer came."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep the registry's own ``code`` (``NAME_UNKNOWN``, ...) beside the text."""
        super().__init__(message)
        self.status = status
        self.code = code


class RegistryClient:
    """A client of the registry at ``address`` (``host:port``); safe for use by many threads."""

    def __init__(self, address: str, credentials: Credentials | None, timeout_s: float = TIMEOUT_S) -> None:
        """Ask ``address``; ``timeout_s`` bounds each wait for bytes, not a whole transfer."""
        self.address = address
        auth = httpx.BasicAuth(credentials.user, credentials.password) if credentials else None
        # The environment's proxies are for the internet; a registry on loopback is never behind one.
        self._http = httpx.Client(base_url=f"http://{address}", auth=auth, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def check(self) -> None:
        """Raise RegistryError unless the registry answers and admits the credentials."""
        self._ask("GET", "/v2/")

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names, its digest verified. Raises RegistryError."""
        response = self._ask(
            "GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(MANIFEST_TYPES)}
        )
        try:
            manifest = parse_manifest(response.content, response.headers.get("Content-Type", ""))
        except InvalidManifest as error:
            raise RegistryError(response.status_code, "MANIFEST_INVALID", str(error)) from error
        if is_digest(reference) and manifest.digest != reference:
            raise RegistryError(response.status_code, "DIGEST_INVALID", f"{reference} came as {manifest.digest}")
        return manifest

    def resolve(self, repository: str, reference: str) -> str | None:
        """Return the digest that a tag or digest names, or None. Raises RegistryError."""
        try:
            response = self._ask(
                "HEAD", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(MANIFEST_TYPES)}
            )
        except RegistryError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return str(response.headers["Docker-Content-Digest"])

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Push a manifest under a tag or its digest. Raises RegistryError."""
        self._ask(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            content=manifest.content,
            headers={"Content-Type": manifest.media_type},
        )

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return all tags. Raises RegistryError."""
        found: list[str] = []
        path: str | None = f"/v2/{repository}/tags/list"
        while path:
            response = self._ask("GET", path)
            found += json.loads(response.content)["tags"] or []
            path = response.links.get("next", {}).get("url")
        return tuple(found)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether the repository holds a blob. Raises RegistryError."""
        try:
            self._ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        except RegistryError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Take a blob over from another repository; say whether the registry did. Raises RegistryError."""
        response = self._ask("POST", f"/v2/{repository}/blobs/uploads/", params={"mount": digest, "from": source})
        if response.status_code == httpx.codes.CREATED:
            return True
        self._ask("DELETE", str(response.headers["Location"]))  # it opened an upload instead
        return False

    def push_blob(self, repository: str, digest: str, path: Path) -> None:
        """Push the file as the blob ``digest``, as a stream. Raises RegistryError, OSError."""
        opened = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
        location = urljoin(f"http://{self.address}/", str(opened.headers["Location"]))
        with path.open("rb") as source:
            # Authentication must not need a second try: the body is a stream and is sent once.
            patched = self._ask(
                "PATCH", location, content=_pieces(source), headers={"Content-Type": "application/octet-stream"}
            )
        location = urljoin(location, str(patched.headers["Location"]))
        target = httpx.URL(location).copy_merge_params({"digest": digest})
        self._ask("PUT", str(target), headers={"Content-Length": "0"})

    def pull_blob(self, repository: str, digest: str, target: Path) -> None:
        """Write the blob to ``target``, its digest verified on the way; a wrong one leaves no file.

        Raises RegistryError, OSError.
        """
        hasher = hashlib.sha256()
        try:
            with (
                self._translated(),
                self._http.stream("GET", f"/v2/{repository}/blobs/{digest}", follow_redirects=True) as response,
            ):
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                with target.open("wb") as file:
                    for piece in response.iter_raw(CHUNK_BYTES):
                        hasher.update(piece)
                        file.write(piece)
            if f"sha256:{hasher.hexdigest()}" != digest:
                raise RegistryError(200, "DIGEST_INVALID", f"blob {digest} came as sha256:{hasher.hexdigest()}")
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _ask(
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> httpx.Response:
        with self._translated():
            response = self._http.request(method, url, params=params, headers=headers, content=content)
        if response.is_error:
            raise _refusal(response)
        return response

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise RegistryError(0, "UNAVAILABLE", f"{self.address}: {error or type(error).__name__}") from error


def _pieces(source: object) -> Iterator[bytes]:
    read = source.read  # type: ignore[attr-defined]
    while piece := read(CHUNK_BYTES):
        yield piece


def _refusal(response: httpx.Response) -> RegistryError:
    code, message = "UNKNOWN", response.reason_phrase
    with contextlib.suppress(ValueError, LookupError, TypeError):
        first = json.loads(response.content)["errors"][0]
        code, message = str(first["code"]), str(first["message"])
    if response.status_code == httpx.codes.UNAUTHORIZED:
        code = "UNAUTHORIZED"
    return RegistryError(response.status_code, code, message)
