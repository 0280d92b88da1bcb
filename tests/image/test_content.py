"""What an image would be made of, as one key."""

from __future__ import annotations

import os
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from docker.utils.build import tar

from gli_tasks.image.content import Base
from gli_tasks.image.context import what_is_sent
from tests.image.image_parts import BrokenEngine, Checkout, write_source


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


@pytest.mark.usefixtures("no_engine")
def test_the_same_content_has_the_same_key(checkout: Checkout, tmp_path: Path) -> None:
    first = checkout.read()
    assert (len(first.key), first.bases, first.note) == (64, (), "")
    assert first.tag == f"source-{first.key[:40]}"
    os.utime(checkout.folder / "app.py", (1, 1))
    assert checkout.read() == first
    checkout.commit("of another service", **{"../web": "x"})
    assert checkout.read() == first
    other = Checkout(tmp_path / "other")
    other.git("init", "--quiet", "--initial-branch=main")
    write_source(other.folder)
    other.commit("the same by someone else")
    assert other.read().key == first.key


@pytest.mark.usefixtures("no_engine")
def test_whatever_goes_into_the_image_changes_the_key(checkout: Checkout) -> None:
    keys = [checkout.read().key]
    keys.append(checkout.read(arguments={"A": "1"}).key)
    keys.append(checkout.read(arguments={"A": "2"}).key)
    keys.append(checkout.read(platform="linux/arm64").key)
    checkout.commit("change", app__py="print('other')")
    keys.append(checkout.read().key)
    checkout.commit("another Dockerfile", Dockerfile__prod="FROM scratch\nCOPY app.py /\n")
    keys.append(checkout.read().key)
    keys.append(checkout.read(dockerfile="Dockerfile.prod").key)
    os.chmod(checkout.folder / "app.py", 0o755)
    checkout.commit("a mode")
    keys.append(checkout.read().key)
    assert len(set(keys)) == len(keys)
    assert "" not in keys


@pytest.mark.usefixtures("no_engine")
def test_a_dockerfile_outside_of_the_folder_counts_by_its_text(checkout: Checkout) -> None:
    checkout.write("Dockerfile.all", "FROM scratch\n")
    checkout.commit("beside the service")
    first = checkout.read(dockerfile="../Dockerfile.all").key
    checkout.write("Dockerfile.all", "FROM scratch\nCOPY app.py /\n")
    checkout.commit("changed")
    assert first
    assert checkout.read(dockerfile="../Dockerfile.all").key not in ("", first)


@pytest.mark.usefixtures("no_engine")
def test_a_dirty_source_has_no_key(checkout: Checkout) -> None:
    checkout.write("api/app.py", "print('changed')")
    content = checkout.read()
    assert (content.key, content.tag, content.dirty) == ("", "", True)
    assert "differs from its commit" in content.note


@pytest.mark.usefixtures("no_engine")
def test_a_source_with_a_file_that_git_does_not_look_at_has_no_key(checkout: Checkout) -> None:
    first = checkout.read()
    checkout.git("update-index", "--skip-worktree", "api/app.py")
    checkout.write("api/app.py", "print('not in the commit')")
    content = checkout.read()
    assert (content.key, content.dirty) == ("", True)
    assert "has files that git was told not to look at" in content.note
    checkout.git("update-index", "--no-skip-worktree", "api/app.py")
    checkout.git("checkout", "--quiet", "--", "api/app.py")
    assert checkout.read() == first


@pytest.mark.usefixtures("no_engine")
def test_files_that_git_does_not_keep_count_where_the_image_gets_them(checkout: Checkout) -> None:
    checkout.commit("ignore", __gitignore="*.secret\n", __dockerignore="# a comment\n\nleft.secret\n.dockerignore\n")
    first = checkout.read()
    checkout.write("api/left.secret", "1")
    assert checkout.read() == first
    checkout.write("api/in.secret", "1")
    second = checkout.read()
    assert second.note == "git does not keep all that goes into the image: in.secret"
    checkout.write("api/in.secret", "2")
    third = checkout.read()
    (checkout.folder / "in.secret").unlink()
    (checkout.folder / "in.secret").symlink_to("2")
    fourth = checkout.read()
    assert len({first.key, second.key, third.key, fourth.key, ""}) == 5


def sed(checkout: Checkout, program: str) -> None:
    """Have git keep ``*.bin`` as ``sed`` makes it, as a filter for large files does."""
    checkout.git("config", "filter.large.clean", program)
    checkout.git("config", "filter.large.smudge", "cat")
    checkout.commit("filter", __gitattributes="*.bin filter=large\n", model__bin="REAL\n")


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("prepare", "change"),
    [
        pytest.param(Checkout.read, lambda c: (c.folder / "app.py").chmod(0o600), id="permission-bits"),
        pytest.param(Checkout.read, lambda c: (c.folder / "uploads").mkdir(), id="an-empty-folder"),
        pytest.param(
            lambda c: c.git("config", "core.filemode", "false"),
            lambda c: (c.folder / "app.py").chmod(0o755),
            id="filemode-false",
        ),
        pytest.param(
            lambda c: c.commit("text", app__py="a\n"),
            lambda c: (
                c.git("config", "core.autocrlf", "true"),
                (c.folder / "app.py").unlink(),
                c.git("checkout", "--quiet", "--", "api/app.py"),
            ),
            id="line-ends",
        ),
        pytest.param(
            lambda c: sed(c, "sed s/REAL/pointer/"),
            lambda c: ((c.folder / "model.bin").unlink(), c.git("checkout", "--quiet", "--", "api/model.bin")),
            id="a-filter-that-did-not-run",
        ),
    ],
)
def test_what_lies_on_disk_counts_where_git_sees_no_change(
    checkout: Checkout, prepare: Callable[[Checkout], object], change: Callable[[Checkout], object]
) -> None:
    prepare(checkout)
    before = checkout.read()
    change(checkout)
    after = checkout.read()
    assert not after.dirty
    assert after.key not in ("", before.key)


def entries(folder: Path) -> set[str]:
    """Return the names that the SDK packs of a folder for the engine."""
    with tarfile.open(fileobj=tar(str(folder), exclude=["*.log", "!keep.log", "out", ".git"])) as archive:
        return {member.name for member in archive.getmembers() if not member.isdir()}


def test_what_is_sent_is_what_the_sdk_packs(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "api")
    (folder / ".dockerignore").write_text("# nothing of these\n*.log\n!keep.log\n\nout\n")
    for name in ("a.log", "keep.log", "out/x", "in/deep/y", ".git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "link").symlink_to("absent")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket"))
        sent = what_is_sent(folder, "Dockerfile")
    assert set(sent.files) == entries(folder)
    assert "in/deep/y" in sent.files
    first = sent.digest
    (folder / "link").unlink()
    (folder / "link").symlink_to("absent-too")
    assert what_is_sent(folder, "Dockerfile").digest not in ("", first)


@pytest.mark.usefixtures("no_engine")
def test_too_much_to_compare_is_said_and_has_no_key(checkout: Checkout) -> None:
    checkout.commit("ignore", __gitignore="big\n")
    with (checkout.folder / "big").open("wb") as file:
        file.truncate(1024**3)
    content = checkout.read()
    assert (content.key, content.dirty) == ("", False)
    assert "4 files and folders (1074 MB) go into the build: too many to compare" in content.note
    assert "name in .dockerignore what the image does not need" in content.note


@pytest.mark.usefixtures("no_engine")
def test_git_s_own_folder_does_not_count(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "whole")
    checkout = Checkout(tmp_path / "unused")
    checkout.root = checkout.folder = folder
    checkout.git("init", "--quiet", "--initial-branch=main")
    checkout.commit("begin")
    first = checkout.read()
    checkout.git("branch", "more")
    assert checkout.read() == first
    assert first.key


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM\n", "line 1"),
        ("FROM a\nRUN <<EOF\nEOF\n", "here-document needs BuildKit"),
        ("FROM python:3.11-slim\n", "no Docker engine answers at tcp://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_told_is_said_and_no_error(checkout: Checkout, dockerfile: str, words: str) -> None:
    checkout.commit("change", Dockerfile=dockerfile)
    content = checkout.read()
    assert (content.key, content.dirty) == ("", False)
    assert words in content.note
    (checkout.folder / "Dockerfile").write_bytes(b"\xff")
    checkout.commit("no text")
    assert "cannot be told" in checkout.read().note


@pytest.mark.usefixtures("no_engine")
def test_a_base_by_digest_needs_no_engine(checkout: Checkout) -> None:
    digest = f"sha256:{'1' * 64}"
    checkout.commit("pin", Dockerfile=f"FROM python@{digest}\n")
    content = checkout.read()
    assert content.bases == (Base(f"python@{digest}", digest, "name"),)
    assert content.base == content.bases[0]
    assert content.key


def test_a_base_is_what_its_registry_shows(engine: docker.DockerClient, checkout: Checkout) -> None:
    checkout.commit("base", Dockerfile="ARG V=1\nFROM python:${V} AS one\nFROM scratch\nCOPY --from=one / /\n")
    content = checkout.read(arguments={"V": "3.11-slim"})
    assert [(base.name, base.origin) for base in content.bases] == [("python:3.11-slim", "registry")]
    assert (len(content.key), content.note, content.base) == (64, "", None)
    assert checkout.read(arguments={"V": "3.12"}).key != content.key


def test_an_image_that_was_never_in_a_registry_is_what_the_engine_has(
    engine: docker.DockerClient, checkout: Checkout, tmp_path: Path
) -> None:
    base, _ = engine.images.build(path=str(write_source(tmp_path / "base")), tag="ours:1")
    checkout.commit("base", Dockerfile="FROM ours:1\n")
    first = checkout.read()
    assert first.bases == (Base("ours:1", base.id, "engine"),)
    changed, _ = engine.images.build(path=str(write_source(tmp_path / "base", "FROM scratch\n")), tag="ours:1")
    assert checkout.read().bases == (Base("ours:1", changed.id, "engine"),)
    assert checkout.read().key not in ("", first.key)


def test_an_engine_that_goes_silent_costs_the_deadline_and_no_more(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = BrokenEngine("silent-inspection")
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    checkout.commit("bases", Dockerfile="FROM a:1 AS a\nFROM b:1 AS b\nFROM c:1\n")
    started = time.monotonic()
    content = checkout.read(within_s=1)
    took = time.monotonic() - started
    engine.stop()
    assert content.key == ""
    assert "a:1 could not be asked for" in content.note
    assert "c:1 could not be asked for, and the engine has no copy (there was no time left)" in content.note
    assert took < 4
