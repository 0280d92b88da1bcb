"""A release in a process of its own, for tests to stop: ``stoppable_release.py ENDPOINT MODE``.

It prints what befalls its steps, and ends with the exit code that an operator would see.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gli_tasks.errors import GliError
from gli_tasks.release.pipeline import run_pipeline
from gli_tasks.release.run import Run
from gli_tasks.release.steps import Step
from tests.release.release_parts import Release, s3_client


def main(endpoint: str, mode: str) -> int:
    release = Release(s3_client(endpoint))

    def say(text: str) -> None:
        print(text, flush=True)

    def change(_: Run) -> str:
        say("changed")
        return "changed"

    def back(_: Run) -> str:
        say("undo begins")
        time.sleep(0.5 if mode == "undo" else 0.0)
        say("undo ends")
        return "api runs api:6 again"

    def long(run: Run) -> str:
        say("long begins")
        if mode == "undo":
            raise GliError("it broke")
        if mode == "busy":
            time.sleep(0.4)
        elif mode == "stuck":
            time.sleep(60)
        else:
            run.sleep(60)
        say("long ends")
        return ""

    def last(_: Run) -> str:
        say("last begins")
        return ""

    steps = {"ecs.update": Step(change, changes=True, undo=back), "ecs.wait": Step(long), "notify": Step(last)}
    try:
        run_pipeline(release.run, ("ecs.update", "ecs.wait", "notify"), steps)
    except GliError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
