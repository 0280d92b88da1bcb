"""Build the site into dist/: what Vite does, in small.

Assets get the hash of their content in their name, so that an old page keeps finding its own. Of ``.env.production``
only ``VITE_*`` reaches the browser. The same source gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

REFERENCE = re.compile(r'(?P<before>(?:src|href)=")/(?P<path>src/[^"]+)"')


def read_settings(path: Path) -> dict[str, str]:
    """Read the ``VITE_*`` lines of a ``KEY=VALUE`` file, if it is there."""
    if not path.is_file():
        return {}
    pairs = (line.strip().partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs if key.strip().startswith("VITE_")}


def build(source: Path) -> list[Path]:
    """Write ``dist/`` anew; return its files."""
    output = source / "dist"
    shutil.rmtree(output, ignore_errors=True)
    (output / "assets").mkdir(parents=True)
    settings = json.dumps(read_settings(source / ".env.production"), sort_keys=True)
    written: list[Path] = []

    def asset(match: re.Match[str]) -> str:
        file = source / match["path"]
        content = file.read_text(encoding="utf-8").replace("import.meta.env", settings).encode()
        digest = hashlib.sha256(content).hexdigest()[:8]
        built = output / "assets" / f"{file.stem}-{digest}{file.suffix}"
        built.write_bytes(content)
        written.append(built)
        return f'{match["before"]}/assets/{built.name}"'

    page = output / "index.html"
    page.write_text(REFERENCE.sub(asset, (source / "index.html").read_text(encoding="utf-8")), encoding="utf-8")
    return [page, *written]


if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    for path in build(root):
        print(f"{path.relative_to(root)}  {path.stat().st_size} bytes")
