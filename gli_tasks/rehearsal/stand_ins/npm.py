#!/usr/bin/env python3
"""Stand in for ``npm run SCRIPT``: run that script of package.json, as npm does, by the shell."""

import json
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Become the script. Return 1 where there is none of that name."""
    if len(arguments) != 2 or arguments[0] not in ("run", "run-script"):
        print("this stand-in for npm knows `npm run SCRIPT` alone", file=sys.stderr)
        return 1
    scripts = json.loads(Path("package.json").read_text(encoding="utf-8")).get("scripts", {})
    if arguments[1] not in scripts:
        print(f"npm error Missing script: {arguments[1]!r}", file=sys.stderr)
        return 1
    os.execv("/bin/sh", ["/bin/sh", "-c", scripts[arguments[1]]])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
