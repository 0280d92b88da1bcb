"""Builds by the docker SDK: what gets into the image, and what the client is told."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, BuildError, DockerException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gli_tasks.image.dockerfile import parse_dockerfile
from gli_tasks.rehearsal.builder.engine import StandInBuilder
from gli_tasks.rehearsal.builder.recipe import BuildOptions, BuiltImage, Recipe
from gli_tasks.rehearsal.builder.tree import read_context

from .conftest import Build, make_context

SERVICE = """\
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
ARG VERSION=none
WORKDIR /app
COPY . /app
ENV PATH=/app/bin:$PATH APP_VERSION="v ${VERSION}"
LABEL org.example.version=$VERSION
USER app
EXPOSE 8000 9000/udp
HEALTHCHECK --interval=30s --timeout=5s --retries=3 CMD curl -f http://localhost:8000/health
STOPSIGNAL SIGQUIT
CMD ["python3", "server.py"]
"""


def files_of(builder: StandInBuilder, name: str) -> dict[str, tarfile.TarInfo]:
    """Return what the layers of an image hold, the later ones over the earlier."""
    found: dict[str, tarfile.TarInfo] = {}
    for layer in builder.images.get(name).layers:
        with tarfile.open(builder.images.blob(layer.digest)) as tar:
            found |= {member.name: member for member in tar}
    return found


def error_of(lines: list[dict]) -> str:
    assert lines[-1]["errorDetail"]["message"] == lines[-1]["error"]
    return lines[-1]["error"]


def test_a_service_is_built(client: docker.DockerClient, builder: StandInBuilder) -> None:
    image, lines = client.images.build(
        fileobj=make_context({"Dockerfile": SERVICE, "server.py": "print(1)", "bin/curl": "#!/bin/sh\n"}, mode=0o755),
        custom_context=True,
        tag="team/api:v7",
        buildargs={"VERSION": "7"},
        labels={"commit": "abc"},
        platform="linux/arm64",
        nocache=True,
        rm=True,
    )
    config = image.attrs["Config"]
    assert image.tags == ["team/api:v7"]
    assert image.labels == {"org.example.version": "7", "commit": "abc"}
    assert config["Env"] == [
        "PATH=/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "APP_VERSION=v 7",
    ]
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/app", "app", "SIGQUIT")
    assert config["Cmd"] == ["python3", "server.py"]
    assert config["ExposedPorts"] == {"8000/tcp": {}, "9000/udp": {}}
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "curl -f http://localhost:8000/health"],
        "Interval": 30 * 10**9,
        "Timeout": 5 * 10**9,
        "Retries": 3,
    }
    assert image.attrs["Architecture"] == "arm64"
    texts = [line.get("stream", "") for line in lines]
    assert texts[0] == "Step 1/12 : ARG BASE_IMAGE=python:3.11-slim\n"
    assert texts[-1] == "Successfully tagged team/api:v7\n"
    files = files_of(builder, "team/api:v7")
    assert set(files) == {"app", "app/Dockerfile", "app/server.py", "app/bin", "app/bin/curl"}
    assert files["app/bin/curl"].mode == 0o755


def test_the_same_source_gives_the_same_image(builder: StandInBuilder, build: Build) -> None:
    files = {"Dockerfile": SERVICE, "a": "1", "b/c": "2"}
    build(files, tag="one", context=make_context(files, mode=0o644, modified=1))
    other = dict(reversed(files.items()))
    build(other, tag="two", context=make_context(other, mode=0o664, modified=99))
    build({**files, "a": "changed"}, tag="three")
    assert builder.images.get("one").image_id == builder.images.get("two").image_id
    assert builder.images.get("one").manifest() == builder.images.get("two").manifest()
    assert builder.images.get("one").image_id != builder.images.get("three").image_id


NAMES = st.from_regex(r"[a-z]{1,4}(?:/[a-z]{1,4})?", fullmatch=True)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=5), st.randoms(use_true_random=False))
def test_digests_depend_on_the_content_alone(tmp_path: Path, files: dict[str, bytes], random) -> None:
    folders = {name.partition("/")[0] for name in files if "/" in name}
    files = {name: content for name, content in files.items() if name not in folders}

    def built(order: list[str], modified: int) -> BuiltImage:
        archive = tmp_path / "context.tar"
        archive.write_bytes(make_context({name: files[name] for name in order}, modified=modified).getvalue())
        (tmp_path / "blobs").mkdir(exist_ok=True)
        dockerfile = parse_dockerfile("FROM x\nCOPY . /src/\nLABEL b=2 a=1")
        options = BuildOptions(arguments={}, labels={})
        recipe = Recipe(dockerfile, read_context(archive), options, tmp_path / "blobs", lambda _name: None)
        list(recipe.run())
        assert recipe.result is not None
        return recipe.result

    order = list(files)
    first = built(order, 1)
    random.shuffle(order)
    second = built(order, 2)
    assert (first.config, first.layers) == (second.config, second.layers)


def test_stages_and_targets(builder: StandInBuilder, build: Build) -> None:
    dockerfile = """\
FROM node AS build
WORKDIR /src
COPY package.json dist ./
FROM scratch AS small
COPY --from=build --chmod=755 /src/index.html /www/
FROM small
COPY --from=0 /src /all
CMD ["x"]
"""
    context = {"Dockerfile": dockerfile, "package.json": "{}", "dist/index.html": "<html>", "dist/js/a.js": "1"}
    build(context, tag="whole")
    assert {name for name in files_of(builder, "whole") if "." in name} == {
        "www/index.html",
        "all/package.json",
        "all/index.html",
        "all/js/a.js",
    }
    build(context, tag="part", target="small")
    files = files_of(builder, "part")
    assert set(files) == {"www", "www/index.html"}
    assert files["www/index.html"].mode == 0o755
    assert "failed to reach build target nope" in error_of(build(context, target="nope"))


def test_building_upon_an_image_built_here(builder: StandInBuilder, build: Build) -> None:
    build({"Dockerfile": 'FROM x\nCOPY a /a\nENTRYPOINT ["a"]\nCMD ["b"]\nENV A=1', "a": "1"}, tag="team/base:v1")
    build({"Dockerfile": 'FROM team/base:v1\nCOPY b /b\nENTRYPOINT ["c"]\nENV B=$A', "b": "1"}, tag="child")
    assert set(files_of(builder, "child")) == {"a", "b"}
    container = builder.images.get("child").config.container
    assert container.environment["B"] == "1"
    assert (container.entrypoint, container.cmd) == (("c",), None)


def test_copying_as_docker_does(builder: StandInBuilder, build: Build) -> None:
    context = make_context(
        {
            "Dockerfile": "FROM x\nWORKDIR /w\nCOPY *.txt docs/\nCOPY sub /sub\nCOPY link /file\nCOPY ./a.txt renamed",
            "a.txt": "a",
            "b.txt": "b",
            "sub/deep/c.txt": "c",
        },
        links={"link": "sub/deep/c.txt", "sub/inner": "deep"},
    )
    build({}, context=context, tag="copied")
    files = files_of(builder, "copied")
    assert {"w/docs/a.txt", "w/docs/b.txt", "sub/deep/c.txt", "file", "w/renamed"} <= set(files)
    assert files["file"].isreg()
    assert files["sub/inner"].issym()
    assert "w/docs/c.txt" not in files


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM x\nRUN pip install y", "runs no commands, and line 2 is RUN 'pip install y': start a Docker engine"),
        ("FROM x\nCOPY nope /a", "COPY failed in line 2: file not found in build context or excluded by .dockerignore"),
        ("FROM x\nCOPY ../../etc/passwd /a", "file not found in build context"),
        ("FROM x\nCOPY one two /a", "the destination must be a directory and end with a /"),
        ("FROM x\nADD https://example.com/a /a", "does not fetch https://example.com/a"),
        ("FROM x\nADD a.tar.gz /a", "does not unpack archives"),
        ("FROM x\nCOPY --from=other /a /a", "neither a stage nor an image here"),
        ("FROM x\nENV A=${", "ENV failed in line 2"),
        ("CMD a\nFROM x", "line 1: no build stage in current context: CMD before FROM"),
        ("ARG A=1", "has no FROM"),
        ("FROM $NOTHING", "should not be blank"),
        ("FROM x\nCOPY outside /a", "a link that leads nowhere"),
    ],
)
def test_failures(build: Build, dockerfile: str, message: str) -> None:
    context = make_context(
        {"Dockerfile": dockerfile, "one": "1", "two": "2", "a.tar.gz": "x"}, links={"outside": "/etc/passwd"}
    )
    assert message in error_of(build({}, context=context))


def test_what_the_sdk_raises(client: docker.DockerClient) -> None:
    def build(files: dict[str, str], **options) -> None:
        client.images.build(fileobj=make_context(files), custom_context=True, **options)

    with pytest.raises(BuildError, match="runs no commands"):
        build({"Dockerfile": "FROM x\nRUN true"})
    with pytest.raises(APIError, match="dockerfile parse error line 1: unknown instruction: FOO"):
        build({"Dockerfile": "FOO"})
    with pytest.raises(APIError, match="Cannot locate specified Dockerfile: Dockerfile"):
        build({"a": "1"})
    with pytest.raises(DockerException, match="invalid reference format"):
        build({"Dockerfile": "FROM x"}, tag="Not/Valid")
    with pytest.raises(APIError, match="build context is not a tar"):
        client.images.build(fileobj=io.BytesIO(b"junk" * 999), custom_context=True)


def test_a_folder_a_gzipped_context_and_another_dockerfile(client: docker.DockerClient, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text("FROM x\nCOPY . /app")
    (tmp_path / "src" / "keep").write_text("1")
    (tmp_path / "src" / "drop").write_text("1")
    (tmp_path / "src" / ".dockerignore").write_text("drop\n")
    image, _ = client.images.build(path=str(tmp_path / "src"), gzip=True)
    assert image.attrs["Size"] == len("1") + len("drop\n") + len("FROM x\nCOPY . /app")
    packed = gzip.compress(make_context({"other/Dockerfile": "FROM x\nLABEL a=1"}).getvalue())
    image, _ = client.images.build(
        fileobj=io.BytesIO(packed), custom_context=True, encoding="gzip", dockerfile="other/Dockerfile"
    )
    assert image.labels == {"a": "1"}


def test_unused_arguments_are_told_and_contexts_removed(builder: StandInBuilder, build: Build, tmp_path: Path) -> None:
    lines = build({"Dockerfile": "FROM x\nLABEL a=1"}, buildargs={"SECRETIVE": "value"})
    told = "".join(line.get("stream", "") for line in lines)
    assert "[Warning] One or more build-args ['SECRETIVE'] were not consumed" in told
    [image] = builder.images.find([], [], None)
    assert "value" not in told + image.config_content.decode()
    assert not list((tmp_path / "builder" / "work").iterdir())


def test_the_creation_time_is_the_sources(builder: StandInBuilder, build: Build) -> None:
    build({"Dockerfile": "FROM x"}, tag="dated", buildargs={"SOURCE_DATE_EPOCH": "1700000000"})
    assert builder.images.get("dated").config.created == "2023-11-14T22:13:20Z"
