"""The distribution API, byte by byte, as the specification says."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from pathlib import Path

import httpx
import pytest

from gli_tasks.rehearsal.registry.client import Credentials, RegistryClient, RegistryError
from gli_tasks.rehearsal.registry.manifest import OCI_INDEX, parse_manifest
from gli_tasks.rehearsal.registry.names import digest_of

from .conftest import CREDENTIALS, Registry, make_image

BLOB = b"some bytes"
ZEROES = "sha256:" + "0" * 64


@pytest.fixture
def http(registry: Registry):
    auth = (CREDENTIALS.user, CREDENTIALS.password)
    with httpx.Client(base_url=f"http://{registry.server.address}", auth=auth, trust_env=False) as http:
        yield http


def code_of(response: httpx.Response) -> str:
    return response.json()["errors"][0]["code"]


def test_every_path_wants_the_password(registry: Registry) -> None:
    for path in ("/v2/", "/v2/team/api/tags/list", "/v2/_catalog"):
        response = httpx.get(f"http://{registry.server.address}{path}", trust_env=False)
        assert (response.status_code, code_of(response)) == (401, "UNAUTHORIZED")
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    with (
        RegistryClient(registry.server.address, Credentials("AWS", "wrong")) as client,
        pytest.raises(RegistryError) as raised,
    ):
        client.check()
    assert (raised.value.status, raised.value.code) == (403, "DENIED")
    assert "wrong" not in repr(Credentials("AWS", "wrong"))


def test_an_image_comes_back_as_it_was_pushed(registry: Registry, client: RegistryClient, tmp_path: Path) -> None:
    image = make_image({"app/file": b"content"})
    image.push(client, "team/api", "v1", tmp_path)
    assert client.resolve("team/api", "v1") == image.manifest.digest
    assert client.manifest("team/api", "v1") == image.manifest
    assert client.manifest("team/api", image.manifest.digest).content == image.manifest.content
    assert registry.pushed == [("team/api", "v1", image.manifest.digest)]
    for digest, content in image.blobs.items():
        client.pull_blob("team/api", digest, tmp_path / "pulled")
        assert (tmp_path / "pulled").read_bytes() == content


def test_a_push_and_a_pull_need_what_the_user_guide_lists(
    registry: Registry, client: RegistryClient, http: httpx.Client, tmp_path: Path
) -> None:
    image = make_image({"app/file": b"content"})
    image.push(client, "team/api", "v1", tmp_path)
    assert {(password, repository) for password, repository, _ in registry.used} == {(CREDENTIALS.password, "team/api")}
    assert {action for _, _, action in registry.used} == {
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CompleteLayerUpload",
        "PutImage",
    }
    registry.used.clear()
    layer = next(iter(image.blobs))
    http.head(f"/v2/team/api/blobs/{layer}")
    assert registry.used == [(CREDENTIALS.password, "team/api", "BatchCheckLayerAvailability")]
    registry.used.clear()
    client.manifest("team/api", "v1")
    client.pull_blob("team/api", layer, tmp_path / "pulled")
    assert [action for _, _, action in registry.used] == ["BatchGetImage", "GetDownloadUrlForLayer"]
    registry.used.clear()
    http.post("/v2/team/web/blobs/uploads/", params={"mount": layer, "from": "team/api"})
    assert [one[1:] for one in registry.used] == [
        ("team/web", "InitiateLayerUpload"),
        ("team/api", "GetDownloadUrlForLayer"),
    ]


def test_a_head_answers_digest_and_type_without_a_body(
    http: httpx.Client, client: RegistryClient, tmp_path: Path
) -> None:
    image = make_image({"a": b"1"})
    image.push(client, "team/api", "v1", tmp_path)
    head = http.head("/v2/team/api/manifests/v1")
    assert head.status_code == 200
    assert head.headers["Docker-Content-Digest"] == image.manifest.digest
    assert head.headers["Content-Type"] == image.manifest.media_type
    assert int(head.headers["Content-Length"]) == len(image.manifest.content)
    assert head.content == b""


def test_an_upload_in_pieces(http: httpx.Client) -> None:
    opened = http.post("/v2/team/api/blobs/uploads/")
    assert opened.status_code == 202
    place = opened.headers["Location"]
    first = http.patch(place, content=BLOB[:4], headers={"Content-Range": "0-3"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-3")
    again = http.patch(place, content=BLOB[:4], headers={"Content-Range": "0-3"})
    assert (again.status_code, again.headers["Range"]) == (416, "0-3")
    second = http.patch(place, content=iter([BLOB[4:6], BLOB[6:8]]))  # chunked, as dockerd sends
    assert second.headers["Range"] == "0-7"
    assert http.get(place).headers["Range"] == "0-7"
    done = http.put(place, params={"digest": digest_of(BLOB)}, content=BLOB[8:])
    assert (done.status_code, done.headers["Docker-Content-Digest"]) == (201, digest_of(BLOB))
    assert http.get(f"/v2/team/api/blobs/{digest_of(BLOB)}").content == BLOB
    assert code_of(http.get(place)) == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_in_one_request(http: httpx.Client) -> None:
    done = http.post("/v2/team/api/blobs/uploads/", params={"digest": digest_of(BLOB)}, content=BLOB)
    assert done.status_code == 201
    assert http.head(done.headers["Location"]).headers["Content-Length"] == str(len(BLOB))


def test_a_wrong_digest_leaves_nothing(registry: Registry, http: httpx.Client, tmp_path: Path) -> None:
    refused = http.post("/v2/team/api/blobs/uploads/", params={"digest": ZEROES}, content=BLOB)
    assert (refused.status_code, code_of(refused)) == (400, "DIGEST_INVALID")
    assert http.head(f"/v2/team/api/blobs/{ZEROES}").status_code == 404
    assert not list((tmp_path / "registry" / "uploads").iterdir())


def test_a_cancelled_upload_is_gone(http: httpx.Client, tmp_path: Path) -> None:
    place = http.post("/v2/team/api/blobs/uploads/").headers["Location"]
    assert http.delete(place).status_code == 204
    assert http.get(place).status_code == 404
    assert not list((tmp_path / "registry" / "uploads").iterdir())


def test_an_upload_cut_short_can_be_continued(registry: Registry, http: httpx.Client) -> None:
    place = http.post("/v2/team/api/blobs/uploads/").headers["Location"]
    host, port = registry.server.address.split(":")
    authorization = httpx.BasicAuth(CREDENTIALS.user, CREDENTIALS.password)._auth_header
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 10\r\n\r\n"
        connection.sendall(head.encode() + BLOB[:4])
        connection.shutdown(socket.SHUT_WR)
        assert b"400" in connection.recv(64)
    assert http.get(place).headers["Range"] == "0-3"
    assert http.put(place, params={"digest": digest_of(BLOB)}, content=BLOB[4:]).status_code == 201


def test_a_part_of_a_blob(http: httpx.Client) -> None:
    http.post("/v2/team/api/blobs/uploads/", params={"digest": digest_of(BLOB)}, content=BLOB)
    part = http.get(f"/v2/team/api/blobs/{digest_of(BLOB)}", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, BLOB[2:6])
    assert part.headers["Content-Range"] == f"bytes 2-5/{len(BLOB)}"
    rest = http.get(f"/v2/team/api/blobs/{digest_of(BLOB)}", headers={"Range": "bytes=7-"})
    assert rest.content == BLOB[7:]
    assert http.get(f"/v2/team/api/blobs/{digest_of(BLOB)}", headers={"Range": "bytes=99-"}).status_code == 416


def test_a_blob_of_another_repository_is_mounted_not_shared(client: RegistryClient, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    client.push_blob("team/api", digest_of(BLOB), path)
    assert not client.has_blob("team/web", digest_of(BLOB))
    assert client.mount_blob("team/web", digest_of(BLOB), "team/api")
    assert client.has_blob("team/web", digest_of(BLOB))
    assert not client.mount_blob("team/web", ZEROES, "team/api")


def test_many_push_the_same_blob_at_once(client: RegistryClient, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(hashlib.sha256(b"seed").digest() * 100_000)
    digest = digest_of(path.read_bytes())
    failures: list[Exception] = []

    def push(repository: str) -> None:
        try:
            client.push_blob(repository, digest, path)
        except RegistryError as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=(name,)) for name in ("team/api", "team/web") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    client.pull_blob("team/web", digest, tmp_path / "pulled")
    assert (tmp_path / "pulled").read_bytes() == path.read_bytes()


def test_a_repository_that_does_not_exist_is_not_made(http: httpx.Client) -> None:
    response = http.post("/v2/team/unknown/blobs/uploads/")
    assert (response.status_code, code_of(response)) == (404, "NAME_UNKNOWN")
    assert response.json()["errors"][0]["message"] == (
        "The repository with name 'team/unknown' does not exist in the registry with id '123456789012'"
    )


def test_a_manifest_needs_its_blobs(client: RegistryClient) -> None:
    with pytest.raises(RegistryError) as raised:
        client.put_manifest("team/api", "v1", make_image({"a": b"1"}).manifest)
    assert raised.value.code == "MANIFEST_BLOB_UNKNOWN"
    assert client.resolve("team/api", "v1") is None


def test_what_is_no_manifest(http: httpx.Client) -> None:
    for content in (b"", b"{}", b"[1]", b'{"schemaVersion":1}', b"\xff"):
        response = http.put("/v2/team/api/manifests/v1", content=content)
        assert (response.status_code, code_of(response)) == (400, "MANIFEST_INVALID")
    too_large = http.put("/v2/team/api/manifests/v1", content=b" " * (5 * 1024 * 1024))
    assert too_large.status_code == 400


def test_an_index_keeps_its_type_and_needs_its_children(client: RegistryClient, tmp_path: Path) -> None:
    child = make_image({"a": b"1"})
    entry = {"mediaType": child.manifest.media_type, "size": len(child.manifest.content)}
    entry |= {"digest": child.manifest.digest, "platform": {"architecture": "amd64", "os": "linux"}}
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}, indent=3).encode()
    index = parse_manifest(content, OCI_INDEX)
    with pytest.raises(RegistryError):
        client.put_manifest("team/api", "all", index)
    child.push(client, "team/api", child.manifest.digest, tmp_path)
    client.put_manifest("team/api", "all", index)
    assert client.manifest("team/api", "all") == index
    assert client.manifest("team/api", "all").content == content


def test_an_immutable_tag_does_not_move(registry: Registry, client: RegistryClient, tmp_path: Path) -> None:
    registry.immutable.add("team/api")
    first, second = make_image({"a": b"1"}), make_image({"a": b"2"})
    first.push(client, "team/api", "v1", tmp_path)
    with pytest.raises(RegistryError) as raised:
        second.push(client, "team/api", "v1", tmp_path)
    assert raised.value.code == "TAG_INVALID"
    assert "because the repository is immutable" in str(raised.value)
    assert client.resolve("team/api", "v1") == first.manifest.digest


def test_tags_come_in_pages(http: httpx.Client, client: RegistryClient, tmp_path: Path) -> None:
    image = make_image({"a": b"1"})
    image.push(client, "team/api", "v1", tmp_path)
    for number in range(2, 6):
        client.put_manifest("team/api", f"v{number}", image.manifest)
    page = http.get("/v2/team/api/tags/list", params={"n": "2"})
    assert page.json() == {"name": "team/api", "tags": ["v1", "v2"]}
    assert page.links["next"]["url"] == "/v2/team/api/tags/list?n=2&last=v2"
    assert client.tags("team/api") == ("v1", "v2", "v3", "v4", "v5")


def test_deleting(http: httpx.Client, client: RegistryClient, tmp_path: Path) -> None:
    image = make_image({"a": b"1"})
    image.push(client, "team/api", "v1", tmp_path)
    client.put_manifest("team/api", "v2", image.manifest)
    assert http.delete("/v2/team/api/manifests/v1").status_code == 202
    assert client.tags("team/api") == ("v2",)
    assert http.delete(f"/v2/team/api/manifests/{image.manifest.digest}").status_code == 202
    assert client.tags("team/api") == ()
    assert code_of(http.get(f"/v2/team/api/manifests/{image.manifest.digest}")) == "MANIFEST_UNKNOWN"
    layer = image.manifest.layers[0].digest
    assert http.delete(f"/v2/team/api/blobs/{layer}").status_code == 202
    assert http.delete(f"/v2/team/api/blobs/{layer}").status_code == 404


@pytest.mark.parametrize("path", ["/v2/../../etc/manifests/x", "/v2/Team/api/tags/list", "/v2/_layers/tags/list"])
def test_no_name_is_a_path_elsewhere(registry: Registry, path: str) -> None:
    host, port = registry.server.address.split(":")
    authorization = httpx.BasicAuth(CREDENTIALS.user, CREDENTIALS.password)._auth_header
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode())
        assert b" 400 " in connection.recv(64)


def test_the_connection_is_kept_after_a_refusal(registry: Registry) -> None:
    host, port = registry.server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for _ in range(3):
            connection.sendall(
                b"PUT /v2/team/api/manifests/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nabcde\r\n3;x=y\r\nfgh\r\n0\r\nTrailer: x\r\n\r\n"
            )
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 401")
            assert b"authentication required" in answer


def test_the_store_outlives_the_server(registry: Registry, client: RegistryClient, tmp_path: Path) -> None:
    image = make_image({"a": b"1"})
    image.push(client, "team/api", "v1", tmp_path)
    registry.server.stop()
    with pytest.raises(RegistryError) as raised:
        client.check()
    assert raised.value.status == 0
    from gli_tasks.rehearsal.registry.store import ImageStore

    assert ImageStore(tmp_path / "registry").manifest("team/api", "v1") == image.manifest
