"""The Docker Engine API, as far as building and pushing images goes.

Reference: https://docs.docker.com/reference/api/engine/version/v1.41/. Whatever is not served is answered 501 with a
sentence that says so.
"""

from __future__ import annotations

import gzip
import json
import logging
import platform as machine_platform
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from gli_tasks.image.dockerfile import DockerfileError, parse_dockerfile
from gli_tasks.rehearsal.builder.bases import is_elsewhere, pull_lines, shown_manifest
from gli_tasks.rehearsal.builder.config import parse_platform
from gli_tasks.rehearsal.builder.descriptions import SOFTWARE, VERSION, inspected, summary
from gli_tasks.rehearsal.builder.images import ImageInUse, LocalImages, NoSuchImage
from gli_tasks.rehearsal.builder.push import Pusher, PushRefused, check_loopback, read_credentials
from gli_tasks.rehearsal.builder.recipe import BuildError, BuildOptions, Recipe
from gli_tasks.rehearsal.builder.tree import NotInTree, Tree, read_context
from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient, RegistryError
from gli_tasks.rehearsal.registry.http1 import HttpRequest, HttpResponse, HttpServer, MalformedBody, copy_body
from gli_tasks.rehearsal.registry.names import ImageReference, InvalidReference, parse_reference

LOG = logging.getLogger(__name__)

API_VERSION = "1.41"
MINIMUM_API_VERSION = "1.24"

_ROUTE = re.compile(r"(?:/v(?P<version>\d+\.\d+))?(?P<path>/.*)")
_IMAGE = re.compile(r"/images/(?P<name>.+?)/(?P<action>json|tag|push)")
_DISTRIBUTION = re.compile(r"/distribution/(?P<name>.+)/json")
_READ_BYTES = 1024 * 1024
_JSON = {"Content-Type": "application/json"}


class _Refusal(Exception):
    """An error answer of the API."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class StandInBuilder:
    """The stand-in for a Docker engine: ``url`` is what the docker SDK takes as ``base_url``."""

    def __init__(self, root: Path, address: tuple[str, int] | Path = ("127.0.0.1", 0)) -> None:
        """Serve at once on a TCP ``address`` (port 0: a free one) or a Unix socket; keep images below ``root``.

        Raises OSError.
        """
        self._work = root / "work"
        self._work.mkdir(parents=True, exist_ok=True)
        self.images = LocalImages(root)
        self._pusher = Pusher(self.images)
        self._server = HttpServer(self._answer, address, SOFTWARE)
        self.url = f"unix://{address}" if isinstance(address, Path) else f"tcp://{address[0]}:{self._server.port}"

    def stop(self) -> None:
        """Stop serving; the folder stays."""
        self._server.stop()

    def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            response = self._route(request)
        except _Refusal as refusal:
            response = _json_response({"message": str(refusal)}, refusal.status)
        except (NoSuchImage, ImageInUse, InvalidReference, PushRefused) as error:
            statuses = {NoSuchImage: HTTPStatus.NOT_FOUND, ImageInUse: HTTPStatus.CONFLICT}
            response = _json_response({"message": str(error)}, statuses.get(type(error), HTTPStatus.BAD_REQUEST))
        headers = {
            "Api-Version": API_VERSION,
            "Docker-Experimental": "false",
            "Ostype": "linux",
            "Builder-Version": "1",
            "Server": f"{SOFTWARE} (stand-in for a Docker engine)",
            **response.headers,
        }
        return HttpResponse(response.status, headers, response.body)

    def _route(self, request: HttpRequest) -> HttpResponse:
        match = _ROUTE.fullmatch(request.path)
        path = match["path"] if match else request.path
        if match and match["version"] and not _serves(match["version"]):
            raise _Refusal(
                HTTPStatus.BAD_REQUEST,
                f"client version {match['version']} is not served here: from {MINIMUM_API_VERSION} to {API_VERSION}",
            )
        fixed: dict[tuple[str, str], Callable[[HttpRequest], HttpResponse]] = {
            ("GET", "/_ping"): _ping,
            ("HEAD", "/_ping"): _ping,
            ("GET", "/version"): _version,
            ("GET", "/info"): self._info,
            ("POST", "/auth"): _login,
            ("POST", "/build"): self._build,
            ("GET", "/images/json"): self._list,
            ("POST", "/images/create"): self._pull,
        }
        handler = fixed.get((request.method, path))
        if handler is not None:
            return handler(request)
        image = _IMAGE.fullmatch(path)
        if image is not None:
            name, action = image["name"], image["action"]
            if (request.method, action) == ("GET", "json"):
                return _json_response(inspected(self.images.get(name)))
            if (request.method, action) == ("POST", "tag"):
                return self._tag(request, name)
            if (request.method, action) == ("POST", "push"):
                return self._push(request, name)
        distribution = _DISTRIBUTION.fullmatch(path)
        if request.method == "GET" and distribution is not None:
            return _distribution(request, distribution["name"])
        if request.method == "DELETE" and path.startswith("/images/"):
            force = request.query.get("force", "") in ("1", "true", "True")
            return _json_response(self.images.remove(path.removeprefix("/images/"), force=force))
        raise _Refusal(
            HTTPStatus.NOT_IMPLEMENTED,
            f"the stand-in builder does not serve {request.method} {path}: it builds, lists, tags, removes and pushes "
            "images; start a Docker engine (DOCKER_HOST) for the rest",
        )

    # Build

    def _build(self, request: HttpRequest) -> HttpResponse:
        query = request.query
        if query.get("remote"):
            raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, "the stand-in builder fetches no remote context: send one")
        if query.get("version", "1") == "2":
            raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, "the stand-in builder has no BuildKit: build without it")
        references = [parse_reference(name) for name in (query.get("t", ""),) if name]
        options = BuildOptions(
            arguments={name: value or "" for name, value in _json_object(query, "buildargs").items()},
            labels={name: value or "" for name, value in _json_object(query, "labels").items()},
            target=query.get("target", ""),
            platform=query.get("platform", ""),
        )
        archive = self._receive(request)
        try:
            recipe = self._recipe(archive, query.get("dockerfile") or "Dockerfile", options)
        except BaseException:
            archive.unlink(missing_ok=True)
            raise
        quiet = query.get("q", "") in ("1", "true", "True")
        lines = self._build_lines(recipe, references, archive, quiet=quiet)
        return HttpResponse(HTTPStatus.OK, _JSON, _encoded(lines))

    def _receive(self, request: HttpRequest) -> Path:
        """Write the context to disk as a plain tar; it may come gzipped."""
        with tempfile.NamedTemporaryFile(dir=self._work, suffix=".context", delete=False) as file:
            archive = Path(file.name)
            try:
                copy_body(request.body, file)  # type: ignore[arg-type]
                file.flush()
                _inflate(archive)
            except (MalformedBody, OSError, EOFError, zlib.error) as error:
                archive.unlink(missing_ok=True)
                raise _Refusal(HTTPStatus.BAD_REQUEST, f"the build context cannot be read: {error}") from error
        return archive

    def _recipe(self, archive: Path, name: str, options: BuildOptions) -> Recipe:
        try:
            context = read_context(archive)
        except tarfile.TarError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"the build context is not a tar archive: {error}") from error
        try:
            dockerfile = parse_dockerfile(_text_of(context, name))
        except DockerfileError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        return Recipe(dockerfile, context, options, self.images.blobs, self.images.as_base)

    def _build_lines(
        self, recipe: Recipe, references: list[ImageReference], archive: Path, *, quiet: bool
    ) -> Iterator[dict[str, object]]:
        try:
            for line in recipe.run():
                if not quiet:
                    yield {"stream": line}
            assert recipe.result is not None
            image = self.images.add(recipe.result)
            yield {"aux": {"ID": image.image_id}}
            yield {"stream": f"{image.image_id}\n" if quiet else f"Successfully built {image.image_id[7:19]}\n"}
            for reference in references:
                self.images.tag(image, reference)
                if not quiet:
                    yield {"stream": f"Successfully tagged {reference.name}:{reference.tag or 'latest'}\n"}
        except (DockerfileError, BuildError) as error:
            yield _error_line(str(error))
        finally:
            archive.unlink(missing_ok=True)

    # Images

    def _list(self, request: HttpRequest) -> HttpResponse:
        filters = _filters(request.query)
        unknown = set(filters) - {"label", "reference", "dangling"}
        if unknown:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"invalid filter '{min(unknown)}'")
        references = list(filters.get("reference", []))
        if request.query.get("filter"):
            references.append(request.query["filter"])
        dangling = filters.get("dangling")
        found = self.images.find(
            labels=filters.get("label", []),
            references=references,
            dangling=None if not dangling else dangling[0] in ("1", "true", "True"),
        )
        return _json_response([summary(image) for image in found])

    def _tag(self, request: HttpRequest, name: str) -> HttpResponse:
        image = self.images.get(name)
        repository, tag = request.query.get("repo", ""), request.query.get("tag", "")
        self.images.tag(image, parse_reference(f"{repository}:{tag}" if tag else repository))
        return HttpResponse(HTTPStatus.CREATED)

    def _push(self, request: HttpRequest, name: str) -> HttpResponse:
        credentials = read_credentials(request.headers.get("x-registry-auth", ""))
        reference = parse_reference(name)
        tag = request.query.get("tag", "") or reference.tag or ""
        tags = [tag] if tag else self.images.tags_of(reference.name)
        if not tags:
            raise NoSuchImage(f"An image does not exist locally with the tag: {reference.name}")
        return HttpResponse(HTTPStatus.OK, _JSON, _encoded(self._push_lines(reference, tags, credentials)))

    def _push_lines(
        self, reference: ImageReference, tags: list[str], credentials: Credentials | None
    ) -> Iterator[dict[str, object]]:
        try:
            for tag in tags:
                image = self.images.get(f"{reference.name}:{tag}")
                yield from self._pusher.push(image, reference, tag, credentials)
        except NoSuchImage:
            yield _error_line(f"An image does not exist locally with the tag: {reference.name}")
        except PushRefused as error:
            yield _error_line(str(error))

    def _pull(self, request: HttpRequest) -> HttpResponse:
        name, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
        reference = parse_reference(f"{name}@{tag}" if ":" in tag else f"{name}:{tag or 'latest'}")
        if not is_elsewhere(reference):
            message = f"the stand-in builder pulls nothing from a registry on this machine ({reference})"
            raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, message)
        return HttpResponse(HTTPStatus.OK, _JSON, _encoded(pull_lines(self.images, reference)))

    def _info(self, _request: HttpRequest) -> HttpResponse:
        count = len(self.images.find([], [], None))
        document = {"ID": SOFTWARE, "Name": SOFTWARE, "ServerVersion": VERSION, "Images": count, "OSType": "linux"}
        document |= {"Architecture": machine_platform.machine(), "Containers": 0, "Driver": "none"}
        document |= {"OperatingSystem": "stand-in builder, not a Docker engine", "NCPU": 0, "MemTotal": 0}
        return _json_response(document)


def _ping(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(HTTPStatus.OK, {"Content-Type": "text/plain; charset=utf-8"}, b"OK")


def _version(_request: HttpRequest) -> HttpResponse:
    document = {
        "Platform": {"Name": "rehearsal-builder (stand-in, not a Docker engine)"},
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "Os": "linux",
        "Arch": parse_platform("").architecture,
        "Components": [],
    }
    return _json_response(document)


def _distribution(request: HttpRequest, name: str) -> HttpResponse:
    """Tell what an image's registry shows (DistributionInspect)."""
    credentials = read_credentials(request.headers.get("x-registry-auth", ""))
    try:
        manifest = shown_manifest(parse_reference(name), credentials)
    except RegistryError as error:
        statuses = {404: HTTPStatus.NOT_FOUND, 401: HTTPStatus.UNAUTHORIZED, 403: HTTPStatus.FORBIDDEN}
        raise _Refusal(statuses.get(error.status, HTTPStatus.INTERNAL_SERVER_ERROR), str(error)) from error
    machine = parse_platform("")
    return _json_response(
        {
            "Descriptor": {
                "mediaType": manifest.media_type,
                "digest": manifest.digest,
                "size": len(manifest.content),
            },
            "Platforms": [{"architecture": machine.architecture, "os": machine.os}],
        }
    )


def _login(request: HttpRequest) -> HttpResponse:
    try:
        document = json.loads(request.body.read_all(_READ_BYTES))
        user, password = str(document["username"]), str(document["password"])
        registry = str(document["serveraddress"]).removeprefix("http://").partition("/")[0]
    except (ValueError, KeyError, TypeError, MalformedBody) as error:
        message = "username, password and serveraddress are needed"
        raise _Refusal(HTTPStatus.BAD_REQUEST, message) from error
    check_loopback(registry)
    try:
        with RegistryClient(registry, Credentials(user, password)) as client:
            client.check()
    except RegistryError as error:
        status = (
            HTTPStatus.UNAUTHORIZED if error.code in ("UNAUTHORIZED", "DENIED") else HTTPStatus.INTERNAL_SERVER_ERROR
        )
        raise _Refusal(status, f"login attempt to http://{registry}/v2/ failed: {error}") from error
    return _json_response({"IdentityToken": "", "Status": "Login Succeeded"})


def _text_of(context: Tree, name: str) -> str:
    try:
        _, entry = context.follow(name.removeprefix("./"))
    except NotInTree:
        entry = None
    if entry is None or entry.open_content is None:
        raise _Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"Cannot locate specified Dockerfile: {name}")
    with entry.open_content() as content:
        try:
            return content.read().decode()
        except UnicodeDecodeError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} is not UTF-8: {error}") from error


def _inflate(archive: Path) -> None:
    with archive.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return
    plain = archive.with_suffix(".tar")
    try:
        with gzip.open(archive) as packed, plain.open("wb") as target:
            shutil.copyfileobj(packed, target, _READ_BYTES)
        plain.replace(archive)
    finally:
        plain.unlink(missing_ok=True)


def _json_object(query: Mapping[str, str], name: str) -> dict[str, str | None]:
    try:
        document = json.loads(query.get(name) or "{}") or {}
    except ValueError as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"{name} is not a JSON object")
    return document


def _filters(query: Mapping[str, str]) -> dict[str, list[str]]:
    """Read filters in either form: lists of values, or objects whose keys are the values."""
    return {name: list(values or []) for name, values in _json_object(query, "filters").items()}


def _serves(version: str) -> bool:
    low, wanted, high = (
        tuple(int(part) for part in text.split(".")) for text in (MINIMUM_API_VERSION, version, API_VERSION)
    )
    return low <= wanted <= high


def _error_line(message: str) -> dict[str, object]:
    return {"errorDetail": {"message": message}, "error": message}


def _encoded(lines: Iterator[dict[str, object]]) -> Iterator[bytes]:
    for line in lines:
        yield json.dumps(line).encode() + b"\r\n"


def _json_response(document: object, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(status, _JSON, json.dumps(document).encode())
