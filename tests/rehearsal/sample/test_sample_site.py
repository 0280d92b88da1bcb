"""The site sample's build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parents[3] / "gli_tasks" / "rehearsal" / "sample" / "site"


def build(source: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-B", "build.py"], cwd=source, check=True, capture_output=True)
    dist = source / "dist"
    return {str(path.relative_to(dist)): path.read_bytes() for path in sorted(dist.rglob("*")) if path.is_file()}


def test_the_build_is_repeatable_and_hashed_by_content(tmp_path: Path) -> None:
    source = tmp_path / "site"
    shutil.copytree(SITE, source)
    first = build(source)
    assert build(source) == first
    assert len(first) == 3
    for name in first:
        if name != "index.html":
            assert f"/{name}".encode() in first["index.html"]

    (source / ".env.production").write_text("VITE_APP_VERSION=2.0.0\nDB_PASSWORD=never\n")
    second = build(source)
    assert b"never" not in b"".join(second.values())
    scripts = {name for name in second if name.endswith(".js")}
    assert b"2.0.0" in second[next(iter(scripts))]
    assert not scripts & first.keys(), "another content has another name"
    assert {name for name in first if name.endswith(".css")} == {name for name in second if name.endswith(".css")}
