"""The error tree, its exit codes, and the drawing of it in the module's docstring."""

from __future__ import annotations

import pytest

from gli_tasks import errors
from gli_tasks.errors import CommandFailed, GliError, SettingsError

ALL = {one.__name__: one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, GliError)}
PROMISED = {0, 1, 2, 3, 4, 5, 130}


def drawn() -> dict[str, tuple[int, int]]:
    """Return each class of the drawing with its depth and its exit code."""
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        name, _, rest = line.lstrip(" │├└─").partition(" ")
        if name in ALL:
            found[name] = ((len(line) - len(line.lstrip(" │├└─"))) // 4, int(rest.split()[0]))
    return found


def test_the_drawing_shows_every_class_with_its_exit_code() -> None:
    assert {name: code for name, (_, code) in drawn().items()} == {name: one.exit_code for name, one in ALL.items()}


def test_the_drawing_shows_every_class_below_its_base() -> None:
    open_classes: dict[int, str] = {}
    for name, (depth, _) in drawn().items():
        open_classes[depth] = name
        if name != "GliError":
            assert ALL[name].__base__ is ALL[open_classes[depth - 1]]


def test_exit_codes_are_those_of_the_design() -> None:
    assert {one.exit_code for one in ALL.values()} <= PROMISED - {0}


def test_every_class_says_what_it_is_for() -> None:
    assert [name for name, one in ALL.items() if not one.__doc__] == []


@pytest.mark.parametrize(
    ("where", "remedy", "text"),
    [
        ("", "", "it broke"),
        ("file.env", "", "file.env: it broke"),
        ("", "mend it", "it broke\n  next: mend it"),
        ("file.env", "mend it", "file.env: it broke\n  next: mend it"),
    ],
)
def test_message_says_where_what_and_what_to_do(where: str, remedy: str, text: str) -> None:
    assert str(GliError("it broke", where=where, remedy=remedy)) == text


def test_settings_error_lists_every_problem() -> None:
    assert str(SettingsError(["a: bad"])) == "1 problem in the settings:\n  - a: bad"
    error = SettingsError(["a: bad", "b: worse"])
    assert str(error) == "2 problems in the settings:\n  - a: bad\n  - b: worse"
    assert error.problems == ("a: bad", "b: worse")


def test_command_failed_keeps_the_status() -> None:
    assert CommandFailed("x", returncode=-9).returncode == -9
