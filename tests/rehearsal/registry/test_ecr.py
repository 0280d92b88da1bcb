"""ECR's image operations, asked by boto3 over HTTP, agree with what was pushed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import make_server

from gli_tasks.rehearsal.registry.client import RegistryClient
from gli_tasks.rehearsal.registry.ecr import EcrImages
from gli_tasks.rehearsal.wire import Gateway

from .conftest import ACCOUNT, Registry, SampleImage, make_image


def nothing_else(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("418 I'm a teapot", [])
    return [b""]


@pytest.fixture
def ecr(registry: Registry) -> Iterator[Any]:
    service = EcrImages(
        registry.server.store,
        repository_exists=registry.repositories.__contains__,
        tag_is_immutable=lambda repository, _tag: repository in registry.immutable,
        account=ACCOUNT,
        signed_address=registry.server.signed_address,
    )
    server = make_server("127.0.0.1", 0, Gateway(nothing_else, [service], {}), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield boto3.client(
        "ecr",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="ap-northeast-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}),
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def image(client: RegistryClient, tmp_path: Path) -> SampleImage:
    image = make_image({"a": b"1"})
    image.push(client, "team/api", "v1", tmp_path)
    return image


def error_of(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"]


def test_the_login_is_the_caller_s_own(ecr: Any) -> None:
    data = ecr.get_authorization_token()["authorizationData"][0]
    assert base64.b64decode(data["authorizationToken"]) == b"AWS:test-password"
    assert data["proxyEndpoint"] == f"https://{ACCOUNT}.dkr.ecr.ap-northeast-2.amazonaws.com"
    assert data["expiresAt"] > datetime.now(UTC) + timedelta(hours=11)


def test_describing(ecr: Any, image: SampleImage) -> None:
    [detail] = ecr.describe_images(repositoryName="team/api", imageIds=[{"imageTag": "v1"}])["imageDetails"]
    assert detail["imageDigest"] == image.manifest.digest
    assert detail["imageTags"] == ["v1"]
    assert detail["imageManifestMediaType"] == image.manifest.media_type
    assert detail["imageSizeInBytes"] == sum(len(blob) for blob in image.blobs.values())
    by_digest = ecr.describe_images(repositoryName="team/api", imageIds=[{"imageDigest": image.manifest.digest}])
    assert by_digest["imageDetails"] == [detail]
    assert (
        error_of(ecr.describe_images, repositoryName="team/api", imageIds=[{"imageTag": "no"}])
        == "ImageNotFoundException"
    )
    assert error_of(ecr.describe_images, repositoryName="team/no") == "RepositoryNotFoundException"
    assert error_of(ecr.list_images, repositoryName="team/no") == "RepositoryNotFoundException"


def test_retagging_by_manifest(ecr: Any, image: SampleImage, client: RegistryClient) -> None:
    [found] = ecr.batch_get_image(repositoryName="team/api", imageIds=[{"imageTag": "v1"}])["images"]
    assert found["imageManifest"].encode() == image.manifest.content
    params = {"repositoryName": "team/api", "imageManifest": found["imageManifest"], "imageTag": "stable"}
    put = ecr.put_image(**params)["image"]
    assert put["imageId"] == {"imageDigest": image.manifest.digest, "imageTag": "stable"}
    assert client.resolve("team/api", "stable") == image.manifest.digest
    assert error_of(ecr.put_image, **params) == "ImageAlreadyExistsException"
    assert error_of(ecr.put_image, **{**params, "imageManifest": "{}"}) == "InvalidParameterException"
    unknown = make_image({"a": b"unknown"}).manifest.content.decode()
    assert error_of(ecr.put_image, **{**params, "imageManifest": unknown}) == "LayersNotFoundException"


def test_an_immutable_tag(
    registry: Registry, ecr: Any, image: SampleImage, client: RegistryClient, tmp_path: Path
) -> None:
    other = make_image({"a": b"2"})
    other.push(client, "team/api", "v2", tmp_path)
    registry.immutable.add("team/api")
    params = {"repositoryName": "team/api", "imageManifest": other.manifest.content.decode(), "imageTag": "v1"}
    assert error_of(ecr.put_image, **params) == "ImageTagAlreadyExistsException"
    assert client.resolve("team/api", "v1") == image.manifest.digest


def test_what_is_missing_is_a_failure_in_the_answer(ecr: Any, image: SampleImage) -> None:
    answer = ecr.batch_get_image(
        repositoryName="team/api",
        imageIds=[
            {"imageTag": "no"},
            {},
            {"imageDigest": "x"},
            {"imageTag": "v1", "imageDigest": "sha256:" + "0" * 64},
        ],
    )
    assert answer["images"] == []
    codes = [failure["failureCode"] for failure in answer["failures"]]
    assert codes == ["ImageNotFound", "MissingDigestAndTag", "InvalidImageDigest", "ImageNotFound"]


def test_listing_in_pages(ecr: Any, image: SampleImage, client: RegistryClient, tmp_path: Path) -> None:
    client.put_manifest("team/api", "v2", image.manifest)
    untagged = make_image({"a": b"2"})
    untagged.push(client, "team/api", untagged.manifest.digest, tmp_path)
    pages = ecr.get_paginator("list_images").paginate(repositoryName="team/api", PaginationConfig={"PageSize": 2})
    identifiers = [identifier for page in pages for identifier in page["imageIds"]]
    digest = image.manifest.digest
    assert identifiers == [
        {"imageDigest": digest, "imageTag": "v1"},
        {"imageDigest": digest, "imageTag": "v2"},
        {"imageDigest": untagged.manifest.digest},
    ]
    only = ecr.describe_images(repositoryName="team/api", filter={"tagStatus": "UNTAGGED"})["imageDetails"]
    assert [detail["imageDigest"] for detail in only] == [untagged.manifest.digest]
    assert "imageTags" not in only[0]


def test_deleting(ecr: Any, image: SampleImage, client: RegistryClient) -> None:
    client.put_manifest("team/api", "v2", image.manifest)
    digest = image.manifest.digest
    answer = ecr.batch_delete_image(repositoryName="team/api", imageIds=[{"imageTag": "v1"}, {"imageTag": "no"}])
    assert answer["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert [failure["failureCode"] for failure in answer["failures"]] == ["ImageNotFound"]
    assert client.tags("team/api") == ("v2",)
    ecr.batch_delete_image(repositoryName="team/api", imageIds=[{"imageTag": "v2"}])
    assert client.resolve("team/api", digest) is None


def test_layers(ecr: Any, image: SampleImage) -> None:
    layer = image.manifest.layers[0]
    answer = ecr.batch_check_layer_availability(
        repositoryName="team/api", layerDigests=[layer.digest, "sha256:" + "0" * 64]
    )
    assert [each["layerAvailability"] for each in answer["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
    assert answer["layers"][0]["layerSize"] == layer.size


def test_everything_else_falls_through(ecr: Any) -> None:
    with pytest.raises(ClientError) as raised:
        ecr.describe_repositories()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418


def test_a_signed_address_gives_a_blob_and_no_other(
    ecr: Any, registry: Registry, client: RegistryClient, tmp_path: Path
) -> None:
    image = make_image({"app": b"1"})
    image.push(client, "team/api", "1", tmp_path)
    config, layer = (str(digest) for digest in image.blobs)
    url = ecr.get_download_url_for_layer(repositoryName="team/api", layerDigest=config)["downloadUrl"]
    assert httpx.get(url).json()["architecture"] == "amd64"
    assert httpx.get(url.replace(config, layer)).status_code == 401
    assert httpx.delete(url).status_code == 401
    with pytest.raises(ecr.exceptions.LayersNotFoundException):
        ecr.get_download_url_for_layer(repositoryName="team/web", layerDigest=config)
