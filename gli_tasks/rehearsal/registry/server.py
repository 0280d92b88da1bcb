"""The registry as Docker sees it: the OCI distribution API with Amazon ECR's manners.

Protocol: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; errors and upload sessions:
https://distribution.github.io/distribution/spec/api/. As ECR does, it makes no repository on a push, wants Basic
authentication on every path, and keeps tags from moving where the repository says so.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from gli_tasks.rehearsal.registry.http1 import FileBody, HttpRequest, HttpResponse, HttpServer
from gli_tasks.rehearsal.registry.manifest import MAXIMUM_MANIFEST_BYTES, InvalidManifest, Manifest, parse_manifest
from gli_tasks.rehearsal.registry.names import is_digest, is_repository, is_tag
from gli_tasks.rehearsal.registry.store import DigestMismatch, ImageStore, MissingBlobs, TagIsImmutable, Upload

LOG = logging.getLogger(__name__)

SOFTWARE = "rehearsal-registry"
PAGE_SIZE = 1000

_ROUTE = re.compile(
    r"/v2/(?P<repository>.+)/(?:(?P<uploads>blobs/uploads/?)|blobs/uploads/(?P<upload>[0-9a-f-]{36})"
    r"|blobs/(?P<blob>[^/]+)|manifests/(?P<manifest>[^/]+)|(?P<tags>tags/list))"
)
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?")
_BYTE_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


# Which of ECR's actions each request of a push and of a pull needs (ECR user guide, "IAM permissions for pushing an
# image" and "... for pulling an image"); the proxy in front of ECR makes these calls of its API out of them.
_ACTIONS = {
    ("HEAD", "blob"): ("BatchCheckLayerAvailability",),
    ("GET", "blob"): ("GetDownloadUrlForLayer",),
    ("POST", "uploads"): ("InitiateLayerUpload",),
    ("PATCH", "upload"): ("UploadLayerPart",),
    ("PUT", "upload"): ("UploadLayerPart", "CompleteLayerUpload"),
    ("HEAD", "manifest"): ("BatchGetImage",),
    ("GET", "manifest"): ("BatchGetImage",),
    ("PUT", "manifest"): ("PutImage",),
    ("GET", "tags"): ("ListImages",),
}
# On the repository that a layer is taken from (ECR user guide, "Blob mounting").
_MOUNTING = ("GetDownloadUrlForLayer",)


class RegistryAnswer(Exception):
    """An error answer in the distribution API's words."""

    def __init__(self, status: HTTPStatus, code: str, message: str, detail: object = None) -> None:
        """Answer ``status`` with one error."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail


class OciRegistry:
    """An OCI registry on a port of its own.

    ``authenticate(user, password)`` admits a client; ``repository_exists(name)`` and ``tag_is_immutable(name, tag)``
    are the repositories' own facts; ``is_pullable(repository, digest)`` may withhold an image from those who ask for
    it, as if it had been pruned; ``on_push(repository, reference, manifest)`` is called after each manifest is kept.
    ``on_use(password, repository, actions)`` is told what of ECR's API a request amounts to, before it is answered.
    """

    def __init__(
        self,
        root: Path,
        *,
        authenticate: Callable[[str, str], bool],
        repository_exists: Callable[[str], bool],
        tag_is_immutable: Callable[[str, str], bool] = lambda _repository, _tag: False,
        is_pullable: Callable[[str, str], bool] = lambda _repository, _digest: True,
        on_push: Callable[[str, str, Manifest], None] = lambda _repository, _reference, _manifest: None,
        on_use: Callable[[str, str, Sequence[str]], None] = lambda _password, _repository, _actions: None,
        account: str = "000000000000",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Serve the store below ``root`` at ``host``:``port`` (0: a free one) at once. Raises OSError."""
        self.store = ImageStore(root)
        self._authenticate = authenticate
        self._repository_exists = repository_exists
        self._tag_is_immutable = tag_is_immutable
        self._is_pullable = is_pullable
        self._on_push = on_push
        self._on_use = on_use
        self._account = account
        self._server = HttpServer(self._answer, (host, port), SOFTWARE)
        self.address = f"{host}:{self._server.port}"
        self._signing_key = secrets.token_bytes(32)

    def stop(self) -> None:
        """Stop serving; the store's files stay."""
        self._server.stop()

    def signed_address(self, repository: str, digest: str) -> str:
        """Return an address that gives a blob to whoever has it, as ECR's signed addresses of S3 do."""
        path = f"/v2/{repository}/blobs/{digest}"
        return f"http://{self.address}{path}?signature={self._signature(path)}"

    def _signature(self, path: str) -> str:
        return hmac.new(self._signing_key, path.encode(), "sha256").hexdigest()

    def _is_signed(self, request: HttpRequest) -> bool:
        given = request.query.get("signature", "")
        return request.method == "GET" and hmac.compare_digest(given, self._signature(request.path))

    def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            response = self._route(request)
        except RegistryAnswer as answer:
            response = _error_response(answer)
            if answer.status == HTTPStatus.UNAUTHORIZED:
                realm = f'Basic realm="http://{self.address}/",service="ecr.amazonaws.com"'
                response = HttpResponse(response.status, {**response.headers, "WWW-Authenticate": realm}, response.body)
        headers = {"Docker-Distribution-Api-Version": "registry/2.0", **response.headers}
        return HttpResponse(response.status, headers, response.body)

    def _route(self, request: HttpRequest) -> HttpResponse:
        if not self._is_signed(request):
            self._require_credentials(request)
        if request.path in ("/v2/", "/v2"):
            return _json_response(HTTPStatus.OK, {})
        if request.path == "/v2/_catalog":
            return self._page(request, "/v2/_catalog", "repositories", list(self.store.repositories()), {})
        match = _ROUTE.fullmatch(request.path)
        if match is None:
            raise RegistryAnswer(HTTPStatus.NOT_FOUND, "UNSUPPORTED", f"{request.path} is not served here")
        repository = match["repository"]
        if not is_repository(repository):
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "NAME_INVALID", f"invalid repository name {repository!r}")
        if not self._repository_exists(repository):
            message = (
                f"The repository with name '{repository}' does not exist in the registry with id '{self._account}'"
            )
            raise RegistryAnswer(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", message, {"name": repository})
        self._tell_use(request, match)
        if match["uploads"]:
            return self._begin_upload(request, repository)
        if match["upload"]:
            return self._continue_upload(request, repository, match["upload"])
        if match["blob"]:
            return self._blob(request, repository, match["blob"])
        if match["manifest"]:
            return self._manifest(request, repository, match["manifest"])
        _allow(request, "GET")
        tags = list(self.store.tags(repository))
        return self._page(request, f"/v2/{repository}/tags/list", "tags", tags, {"name": repository})

    def _tell_use(self, request: HttpRequest, match: re.Match[str]) -> None:
        credentials = _basic_credentials(request.headers)
        if credentials is None:
            return
        part = next(name for name in ("uploads", "upload", "blob", "manifest", "tags") if match[name])
        self._on_use(credentials[1], match["repository"], _ACTIONS.get((request.method, part), ()))
        if part == "uploads" and request.query.get("mount") and request.query.get("from"):
            self._on_use(credentials[1], request.query["from"], _MOUNTING)

    def _require_credentials(self, request: HttpRequest) -> None:
        credentials = _basic_credentials(request.headers)
        if credentials is None:
            raise RegistryAnswer(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
        if not self._authenticate(*credentials):
            # As ECR does. An engine gives up at once, whereas after a 401 it tries again for 50 seconds.
            message = "Your authorization token has expired. Reauthenticate and try again."
            raise RegistryAnswer(HTTPStatus.FORBIDDEN, "DENIED", message)

    # Uploads

    def _begin_upload(self, request: HttpRequest, repository: str) -> HttpResponse:
        _allow(request, "POST")
        mount, source = request.query.get("mount", ""), request.query.get("from", "")
        if mount:
            _require_digest(mount)
            known = is_repository(source) and self._repository_exists(source)
            if known and self.store.mount(repository, mount, source):
                return _created(f"/v2/{repository}/blobs/{mount}", mount)
        digest = request.query.get("digest", "")
        if digest:
            _require_digest(digest)
        upload = self.store.begin_upload(repository)
        if digest:
            return self._finish(request, upload, digest)
        return _upload_status(upload, HTTPStatus.ACCEPTED)

    def _continue_upload(self, request: HttpRequest, repository: str, upload_id: str) -> HttpResponse:
        _allow(request, "GET", "PATCH", "PUT", "DELETE")
        upload = self.store.upload(repository, upload_id)
        if upload is None:
            message = "blob upload unknown to registry"
            raise RegistryAnswer(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message, {"id": upload_id})
        if request.method == "GET":
            return _upload_status(upload, HTTPStatus.NO_CONTENT)
        if not upload.lock.acquire(blocking=False):
            message = "another request is sending to this upload"
            raise RegistryAnswer(HTTPStatus.CONFLICT, "BLOB_UPLOAD_INVALID", message)
        try:
            if request.method == "DELETE":
                self.store.cancel_upload(upload)
                return HttpResponse(HTTPStatus.NO_CONTENT)
            given = request.headers.get("content-range")
            place = _CONTENT_RANGE.fullmatch(given) if given else None
            if given and (place is None or int(place[1]) != upload.size):
                return _upload_status(upload, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            if request.method == "PUT":
                digest = request.query.get("digest", "")
                _require_digest(digest)
                return self._finish(request, upload, digest)
            upload.append(request.body)
            return _upload_status(upload, HTTPStatus.ACCEPTED)
        finally:
            upload.lock.release()

    def _finish(self, request: HttpRequest, upload: Upload, digest: str) -> HttpResponse:
        upload.append(request.body)
        try:
            self.store.finish_upload(upload, digest)
        except DigestMismatch as error:
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", str(error)) from error
        return _created(f"/v2/{upload.repository}/blobs/{digest}", digest)

    # Blobs

    def _blob(self, request: HttpRequest, repository: str, digest: str) -> HttpResponse:
        _allow(request, "GET", "HEAD", "DELETE")
        _require_digest(digest)
        path = self.store.blob(repository, digest)
        if path is None:
            message = "blob unknown to registry"
            raise RegistryAnswer(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", message, {"digest": digest})
        if request.method == "DELETE":
            self.store.unlink_blob(repository, digest)
            return HttpResponse(HTTPStatus.ACCEPTED)
        size = path.stat().st_size
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
        }
        wanted = _BYTE_RANGE.fullmatch(request.headers.get("range", ""))
        if wanted is None or request.method == "HEAD":
            return HttpResponse(HTTPStatus.OK, headers, FileBody(path, 0, size))
        first, last = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
        if first > last:
            return HttpResponse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return HttpResponse(HTTPStatus.PARTIAL_CONTENT, headers, FileBody(path, first, last - first + 1))

    # Manifests

    def _manifest(self, request: HttpRequest, repository: str, reference: str) -> HttpResponse:
        _allow(request, "GET", "HEAD", "PUT", "DELETE")
        if not is_digest(reference) and not is_tag(reference):
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "TAG_INVALID", f"invalid reference {reference!r}")
        if request.method == "PUT":
            return self._put_manifest(request, repository, reference)
        if request.method == "DELETE":
            remove = self.store.delete_manifest if is_digest(reference) else self.store.delete_tag
            if not remove(repository, reference):
                raise _manifest_unknown()
            return HttpResponse(HTTPStatus.ACCEPTED)
        manifest = self.store.manifest(repository, reference)
        if manifest is None or (request.method == "GET" and not self._is_pullable(repository, manifest.digest)):
            raise _manifest_unknown()
        headers = {
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
            "ETag": f'"{manifest.digest}"',
        }
        return HttpResponse(HTTPStatus.OK, headers, manifest.content)

    def _put_manifest(self, request: HttpRequest, repository: str, reference: str) -> HttpResponse:
        content = request.body.read_all(MAXIMUM_MANIFEST_BYTES)
        try:
            manifest = parse_manifest(content, request.headers.get("content-type", ""))
        except InvalidManifest as error:
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", str(error)) from error
        tag = None if is_digest(reference) else reference
        if tag is None and reference != manifest.digest:
            message = f"the manifest is {manifest.digest}, not {reference}"
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", message)
        try:
            immutable = tag is not None and self._tag_is_immutable(repository, tag)
            self.store.put_manifest(repository, manifest, tag, immutable=immutable)
        except TagIsImmutable as error:
            message = (
                f"The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten "
                "because the repository is immutable."
            )
            raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "TAG_INVALID", message) from error
        except MissingBlobs as error:
            message = f"blob unknown to registry: {error}"
            raise RegistryAnswer(
                HTTPStatus.BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message, {"digest": error.digests[0]}
            ) from error
        self._on_push(repository, reference, manifest)
        return _created(f"/v2/{repository}/manifests/{manifest.digest}", manifest.digest)

    def _page(
        self, request: HttpRequest, path: str, key: str, names: list[str], members: Mapping[str, object]
    ) -> HttpResponse:
        last, count = request.query.get("last", ""), request.query.get("n", "")
        limit = int(count) if count.isdecimal() else PAGE_SIZE
        names = [name for name in names if name > last]
        page = names[:limit]
        headers = {}
        if page and len(page) < len(names):
            headers["Link"] = f'<{path}?n={limit}&last={page[-1]}>; rel="next"'
        return _json_response(HTTPStatus.OK, {**members, key: page}, headers)


def _allow(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        message = f"{request.method} is not supported here"
        raise RegistryAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", message)


def _require_digest(text: str) -> None:
    if not is_digest(text):
        raise RegistryAnswer(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"{text!r} is not a sha256 digest")


def _manifest_unknown() -> RegistryAnswer:
    return RegistryAnswer(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", "Requested image not found")


def _basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def _json_response(status: HTTPStatus, document: object, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())


def _error_response(answer: RegistryAnswer) -> HttpResponse:
    error = {"code": answer.code, "message": answer.message, "detail": answer.detail}
    return _json_response(answer.status, {"errors": [error]})


def _created(location: str, digest: str) -> HttpResponse:
    return HttpResponse(HTTPStatus.CREATED, {"Location": location, "Docker-Content-Digest": digest})


def _upload_status(upload: Upload, status: HTTPStatus) -> HttpResponse:
    headers = {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.upload_id}",
        "Docker-Upload-UUID": upload.upload_id,
        "Range": f"0-{max(upload.size - 1, 0)}",
    }
    return HttpResponse(status, headers)
