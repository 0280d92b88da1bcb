"""Amazon ECR's image operations and its login, answered from the registry's own store.

What was pushed is what is described: an image's digest is its manifest's. Everything about repositories falls through.
Operations and errors: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from gli_tasks.rehearsal.registry.manifest import DOCKER_LAYER, InvalidManifest, parse_manifest
from gli_tasks.rehearsal.registry.names import is_digest, is_tag
from gli_tasks.rehearsal.registry.store import ImageStore, MissingBlobs, StoredImage, TagIsImmutable
from gli_tasks.rehearsal.wire import AwsError, AwsService, RequestContext

PAGE_SIZE = 100
_LOGIN_LASTS = timedelta(hours=12)

_Item = TypeVar("_Item")


class EcrImages(AwsService):
    """ECR's operations on images; ``repository_exists`` and ``tag_is_immutable`` are the repositories' own facts."""

    validation_error_code: ClassVar[str] = "InvalidParameterException"

    def __init__(
        self,
        store: ImageStore,
        *,
        repository_exists: Callable[[str], bool],
        tag_is_immutable: Callable[[str, str], bool],
        account: str,
        signed_address: Callable[[str, str], str] | None = None,
        password_for: Callable[[str], str] = lambda access_key: f"{access_key}-password",
    ) -> None:
        """Answer from ``store`` for the registry of ``account``; ``signed_address`` makes a blob's address, and
        ``password_for`` the password that the registry then takes from the owner of an access key."""
        super().__init__("ecr", fall_through=True)
        self._password_for = password_for
        self._signed_address = signed_address
        self._store = store
        self._repository_exists = repository_exists
        self._tag_is_immutable = tag_is_immutable
        self._account = account

    def get_authorization_token(self, request: RequestContext, _params: dict[str, Any]) -> dict[str, Any]:
        """Give the caller a password, as good as the caller is: what is done with it is done in the caller's name."""
        token = base64.b64encode(f"AWS:{self._password_for(request.access_key)}".encode()).decode()
        endpoint = f"https://{self._account}.dkr.ecr.{request.region}.amazonaws.com"
        expires = datetime.now(UTC) + _LOGIN_LASTS
        return {
            "authorizationData": [{"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": endpoint}],
        }

    def describe_images(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Describe the images named, or page through all."""
        repository = self._repository(params)
        wanted = params.get("imageIds")
        if wanted is None:
            images, token = _page(_filtered(self._store.images(repository), params), params)
            return {"imageDetails": [self._detail(repository, image) for image in images], "nextToken": token}
        if "maxResults" in params or "nextToken" in params:
            raise AwsError("InvalidParameterException", "imageIds cannot be used together with paging.")
        found: dict[str, StoredImage] = {}
        for image_id in wanted:
            image = self._find(repository, image_id)
            if image is None:
                raise AwsError(
                    "ImageNotFoundException",
                    f"The image with imageId {_described(image_id)} does not exist within the repository with name "
                    f"'{repository}' in the registry with id '{self._account}'",
                )
            found[image.manifest.digest] = image
        return {"imageDetails": [self._detail(repository, image) for image in found.values()]}

    def list_images(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """List the identifiers of all images: one for each tag, or the digest alone where there is none."""
        repository = self._repository(params)
        identifiers: list[dict[str, str]] = []
        for image in _filtered(self._store.images(repository), params):
            digest = image.manifest.digest
            identifiers += [{"imageDigest": digest, "imageTag": tag} for tag in image.tags] or [{"imageDigest": digest}]
        page, token = _page(identifiers, params)
        return {"imageIds": list(page), "nextToken": token}

    def batch_get_image(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Return the manifests of the images named; what is not there is a failure in the answer, not an error."""
        repository = self._repository(params)
        images, failures = [], []
        for image_id in params["imageIds"]:
            failure = _identifier_failure(image_id)
            image = None if failure else self._find(repository, image_id)
            if image is None:
                failures.append(failure or _failure(image_id, "ImageNotFound", "Requested image not found"))
            else:
                images.append(self._image(repository, image, image_id.get("imageTag")))
        return {"images": images, "failures": failures}

    def put_image(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Keep a manifest under a tag: how an image that is there gets one more tag."""
        repository = self._repository(params)
        content: str = params["imageManifest"]
        try:
            manifest = parse_manifest(content.encode(), params.get("imageManifestMediaType", ""))
        except InvalidManifest as error:
            raise AwsError("InvalidParameterException", f"Invalid parameter at 'ImageManifest': {error}") from error
        wanted = params.get("imageDigest")
        if wanted is not None and wanted != manifest.digest:
            raise AwsError(
                "ImageDigestDoesNotMatchException",
                f"The image digest '{wanted}' does not match the digest calculated by Amazon ECR: {manifest.digest}",
            )
        tag = params.get("imageTag")
        if tag is not None and not is_tag(tag):
            raise AwsError("InvalidParameterException", f"Invalid parameter at 'imageTag': {tag!r} is not a tag.")
        existing = self._store.image(repository, manifest.digest)
        immutable = tag is not None and self._tag_is_immutable(repository, tag)
        # Where tags are immutable, one that is taken is refused even to the image that has it.
        there = existing is not None and (tag is None or (tag in existing.tags and not immutable))
        if there:
            named = f" and tag '{tag}'" if tag else ""
            raise AwsError(
                "ImageAlreadyExistsException",
                f"Image with digest '{manifest.digest}'{named} already exists in the repository with name "
                f"'{repository}' in registry with id '{self._account}'",
            )
        try:
            self._store.put_manifest(repository, manifest, tag, immutable=immutable)
        except TagIsImmutable as error:
            raise AwsError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten "
                "because the repository is immutable.",
            ) from error
        except MissingBlobs as error:
            code = "ReferencedImagesNotFoundException" if manifest.manifests else "LayersNotFoundException"
            message = f"'{error}' do not exist in the repository with name '{repository}' in registry '{self._account}'"
            raise AwsError(code, message) from error
        stored = self._store.image(repository, manifest.digest)
        assert stored is not None
        return {"image": self._image(repository, stored, tag)}

    def batch_delete_image(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Delete by tag (the image goes with its last tag) or by digest (with all its tags)."""
        repository = self._repository(params)
        deleted: list[dict[str, str]] = []
        failures = []
        for image_id in params["imageIds"]:
            failure = _identifier_failure(image_id)
            image = None if failure else self._find(repository, image_id)
            if failure or image is None:
                failures.append(failure or _failure(image_id, "ImageNotFound", "Requested image not found"))
                continue
            digest, tag = image.manifest.digest, image_id.get("imageTag")
            goes = tag is None or len(image.tags) == 1
            if goes and self._is_referenced(repository, digest):
                reason = f"Requested image referenced by manifest list: {digest}"
                failures.append(_failure(image_id, "ImageReferencedByManifestList", reason))
                continue
            tags = (tag,) if tag is not None else image.tags
            deleted += [{"imageDigest": digest, "imageTag": each} for each in tags] or [{"imageDigest": digest}]
            if goes:
                self._store.delete_manifest(repository, digest)
            elif tag is not None:
                self._store.delete_tag(repository, tag)
        # The service model forbids an empty list here, so that nothing stands for it.
        return {"imageIds": deleted or None, "failures": failures}

    def batch_check_layer_availability(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Say which layers the repository holds."""
        repository = self._repository(params)
        layers, failures = [], []
        for digest in params["layerDigests"]:
            if not is_digest(digest):
                reason = "Invalid layer digest"
                failures.append({"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason})
                continue
            path = self._store.blob(repository, digest)
            if path is None:
                layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})
                continue
            size = path.stat().st_size
            layer = {"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size}
            layers.append({**layer, "mediaType": DOCKER_LAYER})
        return {"layers": layers, "failures": failures}

    def get_download_url_for_layer(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Return an address that gives a layer, or an image's configuration, without further credentials."""
        repository, digest = self._repository(params), params["layerDigest"]
        if self._signed_address is None or self._store.blob(repository, digest) is None:
            raise AwsError(
                "LayersNotFoundException",
                f"The layer with digest '{digest}' does not exist within the repository with name '{repository}' "
                f"in the registry with id '{self._account}'",
            )
        return {"downloadUrl": self._signed_address(repository, digest), "layerDigest": digest}

    def _repository(self, params: dict[str, Any]) -> str:
        name: str = params["repositoryName"]
        registry = params.get("registryId", self._account)
        if registry != self._account or not self._repository_exists(name):
            raise AwsError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id '{registry}'",
            )
        return name

    def _find(self, repository: str, image_id: dict[str, str]) -> StoredImage | None:
        tag, digest = image_id.get("imageTag"), image_id.get("imageDigest")
        image = self._store.image(repository, digest or tag or "")
        return None if image is None or (tag is not None and tag not in image.tags) else image

    def _is_referenced(self, repository: str, digest: str) -> bool:
        return any(
            child.digest == digest for image in self._store.images(repository) for child in image.manifest.manifests
        )

    def _detail(self, repository: str, image: StoredImage) -> dict[str, Any]:
        return {
            "registryId": self._account,
            "repositoryName": repository,
            "imageDigest": image.manifest.digest,
            "imageTags": list(image.tags) or None,
            "imageSizeInBytes": image.manifest.image_size,
            "imagePushedAt": datetime.fromtimestamp(image.pushed_at, UTC),
            "imageManifestMediaType": image.manifest.media_type,
            "artifactMediaType": image.manifest.config.media_type if image.manifest.config else None,
            "imageStatus": "ACTIVE",
        }

    def _image(self, repository: str, image: StoredImage, tag: str | None) -> dict[str, Any]:
        identifier = {"imageDigest": image.manifest.digest}
        return {
            "registryId": self._account,
            "repositoryName": repository,
            "imageId": {**identifier, "imageTag": tag} if tag else identifier,
            "imageManifest": image.manifest.content.decode(),
            "imageManifestMediaType": image.manifest.media_type,
        }


def _filtered(images: Sequence[StoredImage], params: dict[str, Any]) -> list[StoredImage]:
    wanted = params.get("filter", {})
    if wanted.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return []  # nothing is ever archived here
    status = wanted.get("tagStatus", "ANY")
    return [image for image in images if status == "ANY" or bool(image.tags) == (status == "TAGGED")]


def _page(items: Sequence[_Item], params: dict[str, Any]) -> tuple[Sequence[_Item], str | None]:
    start, size = 0, params.get("maxResults", PAGE_SIZE)
    if token := params.get("nextToken"):
        try:
            start = int(base64.b64decode(token, validate=True))
        except (binascii.Error, ValueError) as error:
            raise AwsError("InvalidParameterException", "Invalid parameter at 'nextToken'.") from error
    end = start + size
    return items[start:end], base64.b64encode(str(end).encode()).decode() if end < len(items) else None


def _identifier_failure(image_id: dict[str, str]) -> dict[str, Any] | None:
    if "imageDigest" not in image_id and "imageTag" not in image_id:
        return _failure(
            image_id, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"
        )
    if "imageDigest" in image_id and not is_digest(image_id["imageDigest"]):
        return _failure(
            image_id,
            "InvalidImageDigest",
            "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        )
    if "imageTag" in image_id and not is_tag(image_id["imageTag"]):
        return _failure(image_id, "InvalidImageTag", "Invalid request parameters: image tag is not valid")
    return None


def _failure(image_id: dict[str, str], code: str, reason: str) -> dict[str, Any]:
    return {"imageId": image_id, "failureCode": code, "failureReason": reason}


def _described(image_id: dict[str, str]) -> str:
    digest, tag = (f"'{image_id[key]}'" if key in image_id else "'null'" for key in ("imageDigest", "imageTag"))
    return f"{{imageDigest:{digest}, imageTag:{tag}}}"
