"""Completion in the shell, as Invoke's own scripts ask for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.floor_parts import REPOSITORY, clean_process_environment, invoke


def candidates(line: str) -> set[str]:
    done = invoke("--complete", "--", *line.split(" "))
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_tasks_are_completed() -> None:
    assert {"ecs.run", "ecs.logs", "release.prod"} <= candidates("invoke ecs")


def test_flags_are_completed_with_a_task_s_own() -> None:
    found = candidates("invoke ecs.logs -e prod --")
    assert {"--env", "--project", "--service", "--json", "--follow", "--since"} <= found
    assert "--count" not in found
    assert "--task-definition" in candidates("invoke ecs.run --ta")


def test_a_whole_line_is_completed_by_bash() -> None:
    bash = shutil.which("bash")
    if bash is None:
        missing("bash")
        return
    script = (
        'eval "$(invoke --print-completion-script bash)"\n'
        "COMP_WORDS=(invoke ecs.sca); COMP_CWORD=1; _complete_invoke invoke ecs.sca; echo ${COMPREPLY[*]}\n"
        "COMP_WORDS=(invoke ecs.scale --co); COMP_CWORD=2; _complete_invoke invoke --co; echo ${COMPREPLY[*]}\n"
    )
    done = subprocess.run(
        [bash, "-c", script],
        cwd=REPOSITORY,
        env=clean_process_environment(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["ecs.scale", "--count"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_every_shell(shell: str) -> None:
    done = invoke("--print-completion-script", shell)
    assert (done.returncode, "invoke" in done.stdout) == (0, True)


def test_completion_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom invoke.main import program\n"
        "try:\n    program.run(['invoke', '--complete', '--', 'invoke ecs.logs --'], exit=False)\n"
        "finally:\n    print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=clean_process_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "--follow" in loaded
    assert not loaded & {"boto3", "botocore", "rich", "httpx", "docker", "msgspec", "moto"}
