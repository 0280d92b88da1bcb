"""ECR as moto plays it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from gli_tasks.aws import Aws
from gli_tasks.errors import UsageError
from gli_tasks.registry import ImageFacts, find_image, list_images, login

pytest_plugins = ["tests.floor_fixtures"]
pytestmark = pytest.mark.usefixtures("aws_process")  # moto, in this process, looks at its variables too

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def ecr(moto_aws: Aws) -> Any:
    return moto_aws.client("ecr")


@pytest.fixture
def repository(ecr: Any) -> str:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    ecr.create_repository(repositoryName=name)
    return name


def put(ecr: Any, repository: str, tag: str) -> str:
    digest = f"sha256:{uuid.uuid4().hex * 2}"
    media = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": digest},
        "layers": [],
    }
    answer = ecr.put_image(
        repositoryName=repository, imageManifest=json.dumps(manifest), imageManifestMediaType=media, imageTag=tag
    )
    return str(answer["image"]["imageId"]["imageDigest"])


def test_an_image_is_found_by_its_tag(ecr: Any, repository: str) -> None:
    digest = put(ecr, repository, "abc")
    found = find_image(ecr, repository, "abc")
    assert found is not None
    assert (found.repository, found.digest, found.tags) == (repository, digest, ("abc",))
    assert found.pushed_at[4] == "-"


def test_a_tag_that_nothing_carries(ecr: Any, repository: str) -> None:
    put(ecr, repository, "abc")
    assert find_image(ecr, repository, "abd") is None


def test_a_repository_that_does_not_exist(ecr: Any) -> None:
    with pytest.raises(UsageError, match="ECR has no repository 'none'"):
        find_image(ecr, "none", "abc")
    with pytest.raises(UsageError, match="ECR has no repository 'none'") as caught:
        list_images(ecr, "none")
    assert ".env" in caught.value.remedy


def test_images_come_the_newest_first(ecr: Any, repository: str) -> None:
    assert list_images(ecr, repository) == []
    digests = {put(ecr, repository, f"tag{number}") for number in range(3)}
    found = list_images(ecr, repository)
    assert {image.digest for image in found} == digests
    assert [image.pushed_at for image in found] == sorted((image.pushed_at for image in found), reverse=True)


def test_a_reference_names_the_digest_and_no_tag() -> None:
    image = ImageFacts("shop-api", DIGEST, ("abc",), "", 1)
    assert image.reference("host.example") == f"host.example/shop-api@{DIGEST}"


def test_the_login_s_password_does_not_show(ecr: Any) -> None:
    user, password = login(ecr)
    assert user == "AWS"
    assert password.reveal()
    assert password.reveal() not in f"{password} {password!r}"
