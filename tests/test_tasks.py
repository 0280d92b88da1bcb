"""The tasks as `invoke` shows them: the list, the help of every flag, and flags that mean the same everywhere."""

from __future__ import annotations

import inspect
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from invoke import Collection, FilesystemLoader
from invoke.parser import Argument

from gli_tasks.edge import FLAGS
from gli_tasks.release.steps import STEPS
from gli_tasks.settings import load_all
from gli_tasks.settings.model import STEP_NAMES
from tests.floor_parts import REPOSITORY, Shop, clean_process_environment, invoke

pytest_plugins = ["tests.floor_fixtures"]


@cache
def namespace() -> Collection:
    module, _ = FilesystemLoader(start=str(REPOSITORY)).load("tasks")
    return module.namespace


def names() -> list[str]:
    return sorted(namespace().task_names)


def task(name: str) -> Any:
    return namespace()[name]


@cache
def arguments(name: str) -> dict[str, Argument]:
    # Once for each task, since invoke takes the help texts out of the task as it hands them over.
    return {argument.attr_name or argument.name: argument for argument in task(name).get_arguments()}


def test_the_list_shows_every_task_with_what_it_does() -> None:
    done = invoke("--list")
    assert (done.returncode, done.stderr) == (0, "")
    shown = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(shown) == names()
    assert all(len(line.split()) > 2 for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " ")


def test_there_is_a_release_task_for_every_environment() -> None:
    loaded, _ = load_all(REPOSITORY / "env", {})
    assert {f"release.{one.settings.environment}" for one in loaded} <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_task_says_what_it_does(name: str) -> None:
    text = inspect.getdoc(task(name)) or ""
    assert text.endswith(".")
    assert text[0].isupper()


@pytest.mark.parametrize("name", names())
def test_every_flag_has_help(name: str) -> None:
    assert {flag for flag, argument in arguments(name).items() if not argument.help} == set()


@pytest.mark.parametrize("name", names())
def test_shared_flags_have_one_short_form_and_one_kind(name: str) -> None:
    shorts = {"env": "e", "project": "p", "service": "s", "yes": "y", "json": "j"}
    kinds = {"env": str, "project": str, "service": str, "yes": bool, "json": bool}
    for flag, argument in arguments(name).items():
        if flag in shorts:
            assert argument.names == (flag, shorts[flag])
            assert argument.kind is kinds[flag]
        else:
            assert not set(argument.nicknames) & set(shorts.values())


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("rehearse")])
def test_shared_flags_have_one_help_and_one_default(name: str) -> None:
    for flag, argument in arguments(name).items():
        if flag in FLAGS:
            assert argument.help == FLAGS[flag]
            assert argument.default in (None, False)


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith(("rehearse", "config.check"))])
def test_every_task_takes_a_project_and_an_environment(name: str) -> None:
    flags = arguments(name)
    assert "project" in flags
    assert "env" in flags or name.removeprefix("release.") in {"dev", "stg", "prod"}


def test_help_of_a_task_shows_its_flags() -> None:
    done = invoke("--help", "ecs.register")
    assert done.returncode == 0
    for words in ("-e STRING, --env=STRING", "-p STRING, --project=STRING", "-s STRING, --service=STRING", "-y, --yes"):
        assert words in done.stdout


def test_steps_of_the_settings_are_those_of_the_release() -> None:
    assert set(STEPS) == STEP_NAMES


def test_every_step_but_none_is_a_task_of_the_same_name() -> None:
    # A step and a task alone are the same function; `notify` is the step that sends, as `notify.send` does.
    assert {step for step in STEP_NAMES if step not in names()} == {"notify"}


def test_an_unknown_task_is_named() -> None:
    done = invoke("git.chekc")
    assert done.returncode != 0
    assert "git.chekc" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_mutating_task_without_a_terminal_refuses() -> None:
    done = invoke("release.prod")
    assert done.returncode == 2
    assert "nobody is here to confirm\n  next: add --yes" in done.stderr


def test_a_mutating_task_without_any_standard_input_refuses() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m invoke release.prod <&-"],
        cwd=REPOSITORY,
        env=clean_process_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "add --yes" in done.stderr


def test_a_release_of_what_is_not_there_yet_names_all_of_it() -> None:
    done = invoke("release.dev", "--yes")
    assert done.returncode == 2
    assert "  - state.bucket (STATE_BUCKET in " in done.stderr
    assert "  - services.websocket.target_group" in done.stderr


def test_a_release_without_credentials_touches_nothing() -> None:
    done = invoke("release.prod", "--yes")
    assert done.returncode == 2
    assert "there are no AWS credentials\n  next: run `aws sso login`, or set AWS_PROFILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_are_no_environments_break_no_task(shop: Shop) -> None:
    for name in (".env", "Prod.env", "my env.env", "1.env"):
        (shop.root / "shop" / name).write_text("A=1\n")
    done = invoke("config.check", root=shop.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "release.dev" in invoke("--list", root=shop.root).stdout
