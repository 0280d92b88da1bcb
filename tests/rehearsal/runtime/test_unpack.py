"""Layers are unpacked as the specification says, and never outside their folder."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gli_tasks.rehearsal.registry.names import digest_of
from gli_tasks.rehearsal.runtime.unpack import BadLayer, path_in, unpack_layer


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"", mode: int = 0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(content), mode
    return info, content


def unpack(folder: Path, *members, packed: bool = True) -> Path:
    root = folder / "root"
    root.mkdir(exist_ok=True)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    layer = folder / "layer"
    layer.write_bytes(gzip.compress(raw.getvalue()) if packed else raw.getvalue())
    unpack_layer(layer, root, digest_of(raw.getvalue()))
    return root


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.mark.parametrize("packed", [True, False])
def test_files_folders_and_links(tmp_path: Path, packed: bool) -> None:
    root = unpack(
        tmp_path,
        member("./app", tarfile.DIRTYPE, mode=0o700),
        member("app/run", content=b"#!/bin/sh", mode=0o4755),
        member("deep/er/file", content=b"x"),
        member("app/link", tarfile.SYMTYPE, "run"),
        member("app/hard", tarfile.LNKTYPE, "app/run"),
        member("dev/null", tarfile.CHRTYPE),
        packed=packed,
    )
    assert names(root) == {"app", "app/run", "app/link", "app/hard", "deep", "deep/er", "deep/er/file", "dev"}
    assert (root / "app/run").stat().st_mode & 0o7777 == 0o755
    assert (root / "app/link").readlink() == Path("run")
    assert (root / "app/hard").samefile(root / "app/run")


def test_later_layers_replace_and_remove(tmp_path: Path) -> None:
    unpack(tmp_path, member("a/one", content=b"1"), member("a/two", content=b"2"), member("b/three", content=b"3"))
    unpack(tmp_path, member("c", tarfile.SYMTYPE, "a"), member("d/e", content=b"old"))
    root = unpack(
        tmp_path,
        member("a/.wh.one"),
        member("a/.wh.not-there"),
        member("b/.wh..wh..opq"),
        member("b/four", content=b"4"),
        member("d", content=b"a file now"),
        member("c", tarfile.DIRTYPE),
        member(".wh..."),
    )
    assert names(root) == {"a", "a/two", "b", "b/four", "c", "d"}
    assert (root / "d").read_bytes() == b"a file now"
    assert not (root / "c").is_symlink()


@pytest.mark.parametrize(
    "members",
    [
        [member("../../outside", content=b"x")],
        [member("/outside", content=b"x")],
        [member("out", tarfile.SYMTYPE, ".."), member("out/outside", content=b"x")],
        [member("out", tarfile.SYMTYPE, "../.."), member("out/a/outside", content=b"x")],
        [member("out", tarfile.SYMTYPE, "/"), member("out/outside", content=b"x")],
        [member("a/out", tarfile.SYMTYPE, "../../.."), member("b", tarfile.SYMTYPE, "a/out"), member("b/outside")],
        [member("out", tarfile.SYMTYPE, ".."), member("out/.wh.bystander")],
        [member("out", tarfile.SYMTYPE, ".."), member("out/.wh..wh..opq")],
    ],
)
def test_nothing_gets_outside(tmp_path: Path, members: list) -> None:
    (tmp_path / "bystander").write_text("untouched")
    unpack(tmp_path, *members)
    assert {path.name for path in tmp_path.iterdir()} == {"root", "layer", "bystander"}
    assert (tmp_path / "bystander").read_text() == "untouched"


def test_a_hard_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(BadLayer, match="not there"):
        unpack(tmp_path, member("copy", tarfile.LNKTYPE, "../secret"))


def test_links_in_a_circle(tmp_path: Path) -> None:
    circle = [member("a", tarfile.SYMTYPE, "b"), member("b", tarfile.SYMTYPE, "a"), member("a/file", content=b"")]
    with pytest.raises(BadLayer, match="too many levels"):
        unpack(tmp_path, *circle)


def test_layers_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for content in (b"junk", gzip.compress(b"junk" * 300), gzip.compress(b"x" * 2000)[:-9]):
        (tmp_path / "layer").write_bytes(content)
        with pytest.raises(BadLayer):
            unpack_layer(tmp_path / "layer", tmp_path / "root", "sha256:" + "0" * 64)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.sampled_from(["..", ".", "link", "up", "a", "", "/"]), max_size=8))
def test_no_path_leads_outside(tmp_path: Path, parts: list[str]) -> None:
    root = tmp_path / "root"
    if not root.exists():
        (root / "a").mkdir(parents=True)
        (root / "link").symlink_to("/a")
        (root / "up").symlink_to("../../..")
    found = path_in(root, "/".join(parts))
    assert os.path.realpath(found.parent).startswith(str(root)) or found == root
