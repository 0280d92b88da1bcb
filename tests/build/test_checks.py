"""A source folder's own checks, and the environment file of a front end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from dotenv import dotenv_values

from gli_tasks.build.check import run_checks
from gli_tasks.build.environment import source_version, write_environment
from gli_tasks.build.plan import render_environment
from gli_tasks.errors import BuildFailed, UsageError

MOMENT = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def test_checks_run_in_their_order_in_the_folder(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run_checks(tmp_path, [sh("pwd; echo warning: x"), sh("echo two >&2")], on_line=lines.append)
    assert lines == [str(tmp_path), "warning: x", "two"]
    assert (result.commands, result.warnings, result.bundle) == (2, 1, None)
    assert result.seconds > 0


def test_a_failed_check_is_not_hidden_by_its_output_and_stops_the_rest(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="ended with status 3") as caught:
        run_checks(tmp_path, [sh("echo error TS2322; exit 3"), sh("touch ran")])
    assert "error TS2322" in str(caught.value)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "ran").exists()


def test_a_check_that_is_killed_or_never_ends_fails(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="SIGKILL"):
        run_checks(tmp_path, [sh("kill -9 $$")])
    with pytest.raises(BuildFailed, match=r"did not end within 0\.3 s"):
        run_checks(tmp_path, [("sleep", "60")], timeout_s=0.3)


def test_a_missing_program_or_folder_is_a_matter_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not installed"):
        run_checks(tmp_path, [("no-such-program-here",)])
    with pytest.raises(UsageError, match="no such folder"):
        run_checks(tmp_path / "absent", [sh("true")])


def test_no_checks_pass_and_the_bundle_is_looked_at_all_the_same(tmp_path: Path) -> None:
    assert run_checks(tmp_path, []).commands == 0
    with pytest.raises(BuildFailed, match=r"no index\.html"):
        run_checks(tmp_path, [], output="dist")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text('<script src="/app.js"></script>')
    (tmp_path / "dist" / "app.js").write_text("start()")
    bundle = run_checks(tmp_path, [], output="dist", bundle_limit_kb=1).bundle
    assert bundle is not None
    assert [asset.path for asset in bundle.assets] == ["app.js"]


def written(folder: Path, **fixed: str) -> Path:
    kinds = {"VITE_VERSION": "version", "VITE_TIME": "time", "VITE_COMMIT": "commit", "VITE_BRANCH": "branch"}
    return write_environment(folder, ".env.production", fixed, kinds, commit=COMMIT, branch="main", moment=MOMENT)


def test_values_are_computed_and_not_left_as_shell_words(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"version": "1.4.0"}')
    file = written(tmp_path, VITE_API="https://api.example.com/v1?x=1", VITE_EMPTY="")
    assert file == tmp_path / ".env.production"
    assert dotenv_values(file, interpolate=False) == {
        "VITE_API": "https://api.example.com/v1?x=1",
        "VITE_VERSION": "1.4.0",
        "VITE_TIME": "2026-03-01T04:05:06Z",
        "VITE_COMMIT": COMMIT[:12],
        "VITE_BRANCH": "main",
    }
    assert "$(" not in file.read_text()


def test_an_older_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / ".env.production").write_text("OLD=1\n" * 100)
    file = written(tmp_path, NEW="2")
    assert "OLD" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == [".env.production"]
    assert file.read_text() == written(tmp_path, NEW="2").read_text()


@pytest.mark.parametrize("package", ["{}", "[]", '{"version": ""}', '{"version": null}', "3", None])
def test_without_a_version_the_commit_stands_in(tmp_path: Path, package: str | None) -> None:
    if package is not None:
        (tmp_path / "package.json").write_text(package)
    assert source_version(tmp_path, "abc") == "abc"


@pytest.mark.parametrize("package", [b"{", b"", b"\xff\xfe{}"])
def test_a_broken_package_file_is_named(tmp_path: Path, package: bytes) -> None:
    (tmp_path / "package.json").write_bytes(package)
    with pytest.raises(UsageError, match=r"package\.json"):
        source_version(tmp_path, "abc")


# Each pair was read back by Vite's own loadEnv (version 8), which takes dotenv and dotenv-expand.
READ_BACK_BY_VITE = {
    "plain/1:2": "plain/1:2",
    "with space": "'with space'",
    " lead and trail ": "' lead and trail '",
    'quo"te': "'quo\"te'",
    "apo'strophe": "`apo'strophe`",
    "both \"x\" and 'y'": "`both \"x\" and 'y'`",
    "back\\slash": "'back\\slash'",
    "literal\\nn": "'literal\\nn'",
    "two\nlines": "'two\nlines'",
    "dol$lar": "'dol\\$lar'",
    "${KEY}": "'\\${KEY}'",
    "a#b": "'a#b'",
    "tick`t": "'tick`t'",
    "한국어": "'한국어'",
}


@pytest.mark.parametrize("value", READ_BACK_BY_VITE)
def test_a_value_is_written_as_vite_reads_it(value: str) -> None:
    text = render_environment({"KEY": value})
    assert text.partition("\n")[2] == f"KEY={READ_BACK_BY_VITE[value]}\n"


@pytest.mark.parametrize("value", ["a\\$b", "all of '\"`", "'`\\"])
def test_a_value_that_cannot_be_read_back_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="dotenv cannot read"):
        render_environment({"KEY": value})


def test_empty_values_are_left_out() -> None:
    assert "KEY" not in render_environment({"KEY": ""})
