"""Measure what a front-end build left behind."""

from __future__ import annotations

import gzip
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gli_tasks.build.plan import Asset, Bundle, bundle_findings, missing_sources
from gli_tasks.errors import BuildFailed


class _Loaded(HTMLParser):
    """Collects the scripts and styles of a page that come from its own host."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        source = ""
        if tag == "script":
            source = values.get("src", "")
        elif tag == "link" and {"stylesheet", "modulepreload"} & set(values.get("rel", "").lower().split()):
            source = values.get("href", "")
        parts = urlsplit(source.strip())
        if parts.path and not parts.netloc and not parts.scheme:
            self.paths.append(unquote(parts.path).removeprefix("./").lstrip("/"))


def measure(output: Path) -> tuple[Bundle, tuple[str, ...]]:
    """Return the bundle in a build's output folder, and a sentence for each file that is missing from it.

    Raises BuildFailed where the folder holds no index.html.
    """
    index = output / "index.html"
    if not index.is_file():
        raise BuildFailed(
            "the build left no index.html", where=str(output), remedy="check build.output in the settings"
        )
    page = _Loaded()
    page.feed(index.read_text(encoding="utf-8", errors="replace"))
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    names = [path.relative_to(output).as_posix() for path in files]
    assets = tuple(
        Asset(name, path.stat().st_size, len(gzip.compress(path.read_bytes(), 6, mtime=0)), name in page.paths)
        for name, path in zip(names, files, strict=True)
        if path.suffix in (".js", ".mjs", ".css")
    )
    bundle = Bundle(assets, sum(path.stat().st_size for path in files))
    return bundle, missing_sources("index.html", page.paths, names)


def check(output: Path, limit_kb: float) -> Bundle:
    """Return the bundle, having held it against its limit. Raises BuildFailed, naming every asset that is over."""
    bundle, missing = measure(output)
    found = (*missing, *bundle_findings(bundle, limit_kb))
    if found:
        raise BuildFailed("the bundle is not fit to be released:\n" + "\n".join(f"  - {one}" for one in found))
    return bundle
