"""The tasks of `image`, as an operator runs them, against a registry, a cluster and a bucket of one account."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from gli_tasks.aws import is_read
from gli_tasks.image.build import build_image
from gli_tasks.image.plan import CONTENT_KEY
from tests.floor_parts import ACCOUNT, ENV, REGION, TOML, invoke, write_shop
from tests.image.image_parts import Checkout, Cloud, write_source
from tests.image.test_retention import of, put, settled


@dataclass
class Desk:
    """An operator's desk: settings of two environments, a source, an engine and the cloud."""

    root: Path
    cloud: Cloud
    checkout: Checkout
    engine: docker.DockerClient
    bucket: str

    def run(self, *words: str, code: int = 0) -> Any:
        variables = {
            "AWS_ENDPOINT_URL": self.cloud.registry.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "DOCKER_HOST": str(self.engine.api.base_url).replace("http://", "tcp://"),
        }
        self.cloud.registry.asked.clear()
        done = invoke(*words, "-p", "shop", root=self.root, variables=variables)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if "--json" in words and code == 0 else done

    def writes(self) -> list[str]:
        """Return the calls of the last run that change something, as the server saw them."""
        asked = [one for one in self.cloud.registry.asked if not one.startswith(("GET ", "HEAD "))]
        # STS speaks the query protocol, without a target: who one is, is no write.
        return [one for one in asked if not is_read(one) and one not in ("POST /", "GetAuthorizationToken")]

    def tags(self, repository: str) -> dict[str, str]:
        return self.cloud.registry.server.store.tags(repository)


@pytest.fixture
def desk(tmp_path: Path, cloud: Cloud, checkout: Checkout, engine: docker.DockerClient) -> Desk:
    shop = write_shop(tmp_path / "env")
    toml = TOML.replace('"../source"', f'"{checkout.folder}"').replace('"shop-api"', '"${REPOSITORY}"', 1)
    shop.toml.write_text(toml.replace('"shop-cluster"', '"main"').replace("dev = [", "stg = ["))
    shop.env.unlink()
    # moto keeps its buckets for as long as the process lasts.
    bucket = f"state-{uuid.uuid4().hex[:12]}"
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    for name, repository in (("stg", "team-api"), ("prod", "team-web")):
        text = ENV.replace(host, cloud.registry.host).replace("=shop-state", f"={bucket}")
        text += f"REPOSITORY={repository}\n"
        (shop.root / "shop" / f"{name}.env").write_text(text)
    create_bucket(cloud, bucket)
    return Desk(shop.root, cloud, checkout, engine, bucket)


def create_bucket(cloud: Cloud, name: str) -> None:
    cloud.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


def test_build_and_push_and_once_more(desk: Desk) -> None:
    commit = desk.checkout.git("rev-parse", "HEAD")
    planned = desk.run("image.push", "-e", "stg", "--plan", "--json")
    host = desk.cloud.registry.host
    assert planned == {"would": [f"api: {host}/team-api:{commit} would have to be built first (`invoke image.build`)"]}
    built = desk.run("image.build", "-e", "stg", "--json")["api"]
    assert (built["built"], built["image"], len(built["content"])) == (True, f"{host}/team-api:{commit}", 64)
    planned = desk.run("image.push", "-e", "stg", "--plan", "--json")
    tag = f"source-{built['content'][:40]}"
    assert planned == {"would": [f"api: {built['id']} would be pushed to {host}/team-api as {tag} and {commit}"]}
    assert desk.writes() == []
    assert desk.tags("team-api") == {}
    pushed = desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]
    assert desk.tags("team-api") == {commit: pushed["digest"], tag: pushed["digest"]}
    assert pushed["content"] == built["content"]
    assert desk.run("image.push", "-e", "stg", "--plan").stdout == "would change nothing\n"
    again = desk.run("image.push", "-e", "stg", "--yes")
    assert again.stdout == f"api: {pushed['image']} (it was there already)\n"
    assert desk.writes() == []
    assert "nothing to build" in desk.run("image.build", "-e", "stg").stdout
    assert desk.run("image.build", "-e", "stg", "--rebuild", "--json")["api"]["id"] == built["id"]
    assert desk.cloud.registry.asked == []


def test_a_commit_that_changes_nothing_is_only_tagged(desk: Desk) -> None:
    desk.run("image.build", "-e", "stg")
    pushed = desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]
    commit = desk.checkout.commit("of another service", **{"../web": "x"})
    planned = desk.run("image.push", "-e", "stg", "--plan", "--json")["would"]
    assert planned == [f"api: {pushed['image']} would be tagged {commit}; nothing would be pushed"]
    assert desk.writes() == []
    again = desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]
    assert (again["digest"], again["built"]) == (pushed["digest"], False)
    assert desk.writes() == ["PutImage"]


def build_another(desk: Desk, commit: str, key: str, text: str) -> None:
    """Have the engine build another image under the commit's tag, that says it is made of ``key``."""
    source = write_source(desk.checkout.root / "another")
    (source / "app.py").write_text(text)
    name = f"{desk.cloud.registry.host}/team-api:{commit}"
    build_image(source, name, labels={CONTENT_KEY: key}, arguments={}, on_line=lambda _: None)


def test_what_the_engine_has_of_something_else_is_not_pushed(desk: Desk) -> None:
    commit = desk.checkout.git("rev-parse", "HEAD")
    desk.run("image.build", "-e", "stg")
    build_another(desk, commit, "0" * 64, "print('of other build arguments')")
    (planned,) = desk.run("image.push", "-e", "stg", "--plan", "--json")["would"]
    assert planned.endswith("is made of something else and would have to be built (`invoke image.build`)")
    failed = desk.run("image.push", "-e", "stg", "--yes", code=1)
    assert "is made of something else (source-0000" in failed.stderr
    assert "run `invoke image.build`" in failed.stderr
    assert desk.writes() == []
    assert desk.tags("team-api") == {}
    desk.run("image.build", "-e", "stg")
    desk.run("image.push", "-e", "stg", "--yes")
    assert commit in desk.tags("team-api")


def test_a_rebuilt_image_is_pushed_where_that_is_asked_for(desk: Desk) -> None:
    commit = desk.checkout.git("rev-parse", "HEAD")
    key = desk.run("image.build", "-e", "stg", "--json")["api"]["content"]
    first = desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]
    build_another(desk, commit, key, "print('what RUN fetched later')")
    assert desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]["digest"] == first["digest"]
    (planned,) = desk.run("image.push", "-e", "stg", "--rebuild", "--plan", "--json")["would"]
    assert planned.endswith(f" as source-{key[:40]} and {commit}")
    desk.cloud.registry.immutable.add("team-api")
    refused = desk.run("image.push", "-e", "stg", "--rebuild", "--yes", code=1)
    assert "where tags are immutable no image takes an equal one's place" in refused.stderr
    assert set(desk.tags("team-api").values()) == {first["digest"]}
    desk.cloud.registry.immutable.clear()
    second = desk.run("image.push", "-e", "stg", "--rebuild", "--yes", "--json")["api"]
    assert second["digest"] != first["digest"]
    assert desk.tags("team-api") == {commit: second["digest"], f"source-{key[:40]}": second["digest"]}
    assert desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]["digest"] == second["digest"]


def released(desk: Desk) -> str:
    """Have staging run the image of the commit."""
    desk.run("image.build", "-e", "stg")
    image = desk.run("image.push", "-e", "stg", "--yes", "--json")["api"]["image"]
    desk.cloud.cluster.create("shop-api", desk.cloud.cluster.register(image))
    settled(desk.cloud.cluster, "shop-api")
    return str(image)


def test_what_staging_has_proven_goes_on_to_prod(desk: Desk) -> None:
    image = released(desk)
    digest = image.partition("@")[2]
    for words in (("-e", "prod", "--from", "stg"), ("-e", "stg", "--to", "prod")):
        planned = desk.run("image.promote", *words, "--plan", "--json")["would"]
        assert len(planned) == 1
        assert planned[0].startswith(f"api: {digest} would be copied from team-api (")
    assert desk.writes() == []
    assert desk.tags("team-web") == {}
    refused = desk.run("image.promote", "-e", "prod", "--from", "stg", code=2)
    assert "on shop prod changes things, and nobody is here to confirm" in refused.stderr
    done = desk.run("image.promote", "-e", "prod", "--from", "stg", "--yes", "--json")["api"]
    assert done["image"] == image.replace("team-api", "team-web")
    assert desk.tags("team-web") == desk.tags("team-api")
    again = desk.run("image.promote", "-e", "prod", "--from", "stg", "--yes")
    assert again.stdout == f"api: {done['image']} (it was there already)\n"
    assert desk.writes() == []
    # A release of prod has nothing to build.
    assert "nothing to build" in desk.run("image.build", "-e", "prod").stdout
    desk.run("image.promote", "-e", "prod", "--digest", digest, "--to-tag", "proven", "--yes")
    assert desk.tags("team-web")["proven"] == digest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-e", "prod"), "this names one environment, and no tag"),
        (("-e", "prod", "--from", "stg"), "the cluster 'main' has no active service shop-api"),
        (("-e", "prod", "--to-tag", "bad tag!"), "'bad tag!' is no tag of an image"),
        (("-e", "prod", "--from", "stg", "--to-tag", ""), "'' is no tag of an image"),
        (("-e", "prod", "--from", "qa"), "there is no environment 'qa'"),
        (("-e", "prod", "--from", "stg", "--digest", "sha256:" + "9" * 64), "team-api holds no image sha256:9"),
    ],
)
def test_a_promotion_that_cannot_be_is_refused(desk: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in desk.run("image.promote", *words, "--yes", code=2).stderr
    assert desk.writes() == []
    if "--to-tag" in words:
        assert desk.cloud.registry.asked == []


def record(desk: Desk, bucket: str, image: str) -> None:
    document = {"id": "20260101-1", "outcome": "healthy", "services": {"api": {"image": image}}}
    desk.cloud.s3.put_object(Bucket=bucket, Key="releases/20260101-1.json", Body=json.dumps(document))


def test_what_runs_or_is_on_record_stays(desk: Desk) -> None:
    image = released(desk)
    old = {number: put(desk.cloud.registry, number, of(number)) for number in range(4)}
    record(desk, desk.bucket, f"{desk.cloud.registry.host}/team-api@{old[1]}")
    flags = ("image.prune", "-e", "stg", "--newest", "1", "--days", "0")
    planned = desk.run(*flags, "--plan", "--json")["would"]
    assert sorted(line.split()[1] for line in planned[:-1]) == sorted([old[0], old[2]])
    size = sum(
        one["size"] for one in desk.run("image.list", "-e", "stg", "--json")["api"] if one["tags"][0] in (of(0), of(2))
    )
    assert planned[-1] == f"team-api: 2 images, {size} bytes at most (layers may be shared)"
    assert desk.writes() == []
    assert "nobody is here to confirm" in desk.run(*flags, code=2).stderr
    done = desk.run(*flags, "--yes", "--json")["team-api"]
    assert sorted(done["deleted"]) == sorted([old[0], old[2]])
    assert done["bytes"] == size
    assert set(desk.tags("team-api").values()) == {image.partition("@")[2], old[1], old[3]}
    assert desk.run(*flags, "--yes").stdout == "would change nothing\n"
    assert desk.writes() == []


def test_what_a_person_tagged_stays(desk: Desk) -> None:
    released(desk)
    old = [put(desk.cloud.registry, number, of(number)) for number in range(2)]
    desk.run("image.promote", "-e", "stg", "--digest", old[0], "--to-tag", "known-good", "--yes")
    put(desk.cloud.registry, 9, of(9))
    done = desk.run("image.prune", "-e", "stg", "--newest", "1", "--days", "0", "--yes", "--json")["team-api"]
    assert done["deleted"] == [old[1]]
    assert desk.tags("team-api")["known-good"] == old[0]


def test_an_environment_that_shares_the_repository_has_its_say(desk: Desk) -> None:
    prod = desk.root / "shop" / "prod.env"
    prod.write_text(prod.read_text().replace("=team-web", "=team-api").replace(desk.bucket, f"{desk.bucket}-prod"))
    old = put(desk.cloud.registry, 1, of(1))
    flags = ("image.prune", "-e", "stg", "--newest", "1", "--days", "0")
    put(desk.cloud.registry, 2, of(2))
    refused = desk.run(*flags, "--yes", code=1)
    assert "the records cannot be read" in refused.stderr
    create_bucket(desk.cloud, f"{desk.bucket}-prod")
    record(desk, f"{desk.bucket}-prod", f"host/team-api@{old}")
    done = desk.run(*flags, "--yes")
    assert "shop prod has images there too" in done.stderr
    assert old in desk.tags("team-api").values()


@pytest.mark.parametrize(("flag", "value"), [("--newest", "0"), ("--days", "x"), ("--records", "0")])
def test_numbers_that_are_none(desk: Desk, flag: str, value: str) -> None:
    assert f"{flag} takes a number" in desk.run("image.prune", "-e", "stg", flag, value, code=2).stderr
