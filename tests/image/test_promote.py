"""An image goes on to another repository by digest: nothing is built, and the digest is equal at the end."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from gli_tasks.console import Secret
from gli_tasks.errors import AwsCallFailed, PushFailed, Refused
from gli_tasks.image.distribution import Distribution
from gli_tasks.image.promote import Place, decide_promotion, promote
from gli_tasks.image.push import push_image
from gli_tasks.registry import find_image, login
from gli_tasks.rehearsal.registry.manifest import OCI_INDEX, parse_manifest
from tests.image.image_parts import Registry
from tests.image.test_push import CONTENT_TAG, build_large

COMMIT = "c" * 40


def places(registry: Registry, host: str = "") -> tuple[Place, Place]:
    return (
        Place(registry.ecr, registry.host, "team-api"),
        Place(registry.ecr, host or registry.host, "team-web"),
    )


@pytest.fixture
def image(engine: docker.DockerClient, registry: Registry, tmp_path: Path) -> str:
    build_large(tmp_path / "source", f"{registry.host}/team-api:{COMMIT}", 3_000_000)
    return push_image(registry.ecr, registry.host, "team-api", COMMIT, on_line=lambda _: None).digest


def run(source: Place, target: Place, digest: str, to_tag: str = "") -> tuple[str, list[str]]:
    lines: list[str] = []
    way = decide_promotion(source, target, digest, to_tag)
    return promote(source, way, pause_s=0.01, on_line=lines.append).digest, lines


@dataclass
class Peer:
    """A registry in between, with ECR's manners: no mounting unless it is on, and blobs that are kept elsewhere."""

    url: str
    mounts: bool = False
    cuts: list[str] = field(default_factory=list)
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)


@pytest.fixture
def peer(registry: Registry) -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            state.seen.append((self.command, self.path, length))
            if self.path.startswith("/elsewhere/"):
                # A pre-signed address: who comes with a login was led wrong.
                state.strays += [self.headers["Authorization"]] if self.headers.get("Authorization") else []
                self.forward("GET", self.path.removeprefix("/elsewhere"), b"", {"Authorization": state.login})
                return
            if state.cuts and state.cuts[0] == self.command:
                state.cuts.pop(0)
                self.close_connection = True
                return
            if self.command == "GET" and "/blobs/sha256:" in self.path:
                self.send_response(307)
                self.send_header("Location", f"http://localhost:{http.server_port}/elsewhere{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = self.path if state.mounts else self.path.partition("?mount=")[0]
            keep = ("Authorization", "Content-Type", "Accept")
            self.forward(self.command, path, body, {name: self.headers[name] for name in keep if name in self.headers})

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = answer

        def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
            shown = httpx.request(method, f"http://{registry.host}{path}", content=body, headers=headers)
            self.send_response(shown.status_code)
            for name in ("Location", "Docker-Content-Digest", "Content-Type"):
                if name in shown.headers:
                    self.send_header(name, shown.headers[name])
            self.send_header("Content-Length", str(len(shown.content)))
            self.end_headers()
            if method != "HEAD":
                self.wfile.write(shown.content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state = Peer(f"127.0.0.1:{http.server_port}")
    user, password = login(registry.ecr)
    state.login = httpx.BasicAuth(user, password.reveal())._auth_header  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join(5)


def test_to_another_repository_of_the_registry(registry: Registry, image: str) -> None:
    source, target = places(registry)
    way = decide_promotion(source, target, image, "")
    assert way.copied
    assert way.sentence == (
        f"{image} would be copied from team-api ({way.image.size / 1e6:.1f} MB) "
        f"and tagged {COMMIT}, {CONTENT_TAG} in team-web"
    )
    digest, lines = run(source, target, image)
    assert digest == image
    assert registry.server.store.tags("team-web") == {COMMIT: image, CONTENT_TAG: image}
    assert [line.split(" ")[3] for line in lines] == ["mounted"] * 3
    again = decide_promotion(source, target, image, "")
    assert again.sentence == ""
    assert run(source, target, image) == (image, [])


def test_in_the_same_repository_only_a_tag_is_given(registry: Registry, image: str) -> None:
    source, _ = places(registry)
    way = decide_promotion(source, source, image, "proven")
    assert way.sentence == f"{image} would be tagged proven in team-api"
    assert run(source, source, image, "proven") == (image, [])
    assert registry.server.store.tags("team-api")["proven"] == image


def test_where_nothing_is_mounted_the_bytes_go_through(registry: Registry, image: str, peer: Peer) -> None:
    source, target = places(registry)
    source, target = Place(source.ecr, peer.url, source.repository), Place(target.ecr, peer.url, target.repository)
    digest, lines = run(source, target, image)
    assert digest == image
    assert [line.split(" ")[3] for line in lines] == ["copied"] * 3
    assert peer.strays == []
    sent = [length for method, _, length in peer.seen if method == "PATCH"]
    assert max(sent) > 3_000_000
    store = registry.server.store
    for blob in parse_manifest(store.manifest("team-web", image).content).blobs:  # type: ignore[union-attr]
        path = store.blob("team-web", blob)
        assert path is not None
        assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == blob


def test_mounting_where_it_is_on(registry: Registry, image: str, peer: Peer) -> None:
    peer.mounts = True
    source, target = (Place(one.ecr, peer.url, one.repository) for one in places(registry))
    _, lines = run(source, target, image)
    assert [line.split(" ")[3] for line in lines] == ["mounted"] * 3


@pytest.mark.parametrize("method", ["HEAD", "POST", "GET", "PATCH", "PUT"])
def test_a_copy_that_is_cut_off_goes_on(registry: Registry, image: str, peer: Peer, method: str) -> None:
    peer.cuts = [method, method]
    source, target = (Place(one.ecr, peer.url, one.repository) for one in places(registry))
    assert run(source, target, image)[0] == image
    assert peer.cuts == []


def test_a_copy_that_is_cut_off_for_good_tags_nothing(registry: Registry, image: str, peer: Peer) -> None:
    peer.cuts = ["PATCH"] * 3
    source, target = (Place(one.ecr, peer.url, one.repository) for one in places(registry))
    with pytest.raises(PushFailed, match="was cut off 3 times") as caught:
        run(source, target, image)
    assert "next: start again: what arrived is kept" in str(caught.value)
    assert registry.server.store.tags("team-web") == {}
    assert run(source, target, image)[0] == image


def test_an_index_comes_with_all_that_it_names(registry: Registry, image: str, tmp_path: Path) -> None:
    child = registry.server.store.manifest("team-api", image)
    assert child is not None
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": child.media_type, "size": len(child.content), "digest": image}],
    }
    put = registry.ecr.put_image(
        repositoryName="team-api",
        imageManifest=json.dumps(index),
        imageManifestMediaType=OCI_INDEX,
        imageTag="both",
    )
    digest = put["image"]["imageId"]["imageDigest"]
    source, target = places(registry)
    assert run(source, target, digest, "both")[0] == digest
    assert registry.server.store.tags("team-web") == {"both": digest}
    assert registry.server.store.manifest("team-web", image) is not None


def test_a_tag_that_another_image_has(registry: Registry, image: str, engine: Any, tmp_path: Path) -> None:
    build_large(tmp_path / "other", f"{registry.host}/team-web:{COMMIT}", 10)
    other = push_image(registry.ecr, registry.host, "team-web", COMMIT, on_line=lambda _: None).digest
    source, target = places(registry)
    way = decide_promotion(source, target, image, "")
    assert f"tagged {COMMIT} (which is {other} now)" in way.sentence
    registry.immutable.add("team-web")
    with pytest.raises(PushFailed, match=f"the tag {COMMIT} of team-web may not move to {image}"):
        run(source, target, image)
    assert registry.server.store.tags("team-web")[COMMIT] == other
    registry.immutable.clear()
    assert run(source, target, image)[0] == image
    assert registry.server.store.tags("team-web") == {COMMIT: image, CONTENT_TAG: image}


def test_what_is_not_there_or_says_nothing_of_itself_is_refused(registry: Registry, image: str) -> None:
    source, target = places(registry)
    with pytest.raises(Refused, match="team-api holds no image sha256:9"):
        decide_promotion(source, target, f"sha256:{'9' * 64}", "")
    for tag in (COMMIT, CONTENT_TAG):
        registry.server.store.delete_tag("team-api", tag)
    registry.ecr.put_image(
        repositoryName="team-api",
        imageManifest=registry.server.store.manifest("team-api", image).content.decode(),  # type: ignore[union-attr]
        imageTag=f"{COMMIT}-dirty",
    )
    with pytest.raises(Refused, match=r"has no tag of a commit \(its tags: c{40}-dirty\)"):
        decide_promotion(source, target, image, "")


def test_a_manifest_that_is_another_is_not_taken(registry: Registry, image: str) -> None:
    def change(parsed: dict[str, Any], **_: Any) -> None:
        for one in parsed.get("images", []):
            one["imageManifest"] = one["imageManifest"].replace(":", ": ", 1)

    registry.ecr.meta.events.register("after-call.ecr.BatchGetImage", change)
    source, target = places(registry)
    with pytest.raises(AwsCallFailed, match=f"ECR gave the manifest sha256:[0-9a-f]+ for team-api@{image}"):
        run(source, target, image)
    assert find_image(registry.ecr, "team-web", COMMIT) is None


def test_the_login_is_said_to_be_wrong(registry: Registry, image: str) -> None:
    with (
        Distribution(registry.host, ("AWS", Secret("no"))) as wrong,
        pytest.raises(PushFailed, match="the registry answered 403"),
    ):
        wrong.has("team-api", image)
