"""The eye for marked secrets sees what it is there to see: each way out is planted, in a session of its own."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gli_tasks.rehearsal import drawn_secrets
from tests.floor_parts import REPOSITORY
from tests.marker_secrets import (
    MARKER,
    PREFIX_VARIABLE,
    VARIABLES,
    ArgvWatch,
    draw,
    leaks,
    look_into,
    pattern,
    started_by,
)

PLANTED = """
import logging, os, subprocess, sys
import pytest
from pytest import skip
from tests.marker_secrets import draw

MARKER = draw()

def test_it_prints(): print("out", MARKER)
def test_it_prints_an_error(): print(MARKER, file=sys.stderr)
def test_it_prints_base64():
    import base64
    print(base64.b64encode(f"AWS:{MARKER}".encode()).decode())
def test_it_logs(): logging.getLogger("x").warning("with %s", MARKER)
def test_it_raises(): raise ValueError(f"no {MARKER}")
def test_it_skips(): skip(MARKER)
def test_it_reads_what_it_printed(capsys):
    print(MARKER)
    assert capsys.readouterr().out
def test_it_reads_what_a_child_printed(capfd):
    subprocess.run(["sh", "-c", "echo $M"], env={"M": MARKER}, check=True)
    assert capfd.readouterr().out
def test_it_prints_its_environment(): print(dict(os.environ))
@pytest.fixture
def untidy():
    yield
    print(MARKER)
def test_it_leaks_at_its_end(untidy): pass
def test_it_prints_one_that_is_known_by_name(): print("hunter2")
def test_it_says_the_prefix_alone_and_is_good(): print("planted-secret-")
def test_it_keeps_it_and_is_good(): assert MARKER
"""
STARTED = """
import subprocess, time
from tests.marker_secrets import draw

def test_a_program(): subprocess.run(["true", f"--password={draw()}"], check=True)
def test_a_program_of_a_program():
    # The shell starts it with what it reads, so this process starts nothing with a marker itself.
    subprocess.run(["sh", "-c", 'read M; sh -c "sleep 1; true" "$M"; true'], input=draw(), text=True, check=True)
def test_a_program_that_outlives_its_parent():
    program = 'read M; (exec sh -c "sleep 1; false" "$M") </dev/null >/dev/null 2>&1 &'
    subprocess.run(["sh", "-c", program], input=draw(), text=True, check=True)
    time.sleep(1)
"""


def session(folder: Path, program: str) -> tuple[int, str]:
    """Run a session of pytest with markers of its own; return its exit status and what it said."""
    (folder / "test_planted.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.marker_secrets", "-p", "no:cacheprovider", "-rA", "-q", "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), PREFIX_VARIABLE: "planted-secret-"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_each_way_out_fails_the_test_and_the_marker_is_not_said_again(tmp_path: Path) -> None:
    status, said = session(tmp_path, PLANTED)
    assert status == 1, said
    ended = {line.split("::")[1].split(" ")[0]: line.split(" ")[0] for line in said.splitlines() if "::test_" in line}
    good = {name for name, outcome in ended.items() if outcome == "PASSED"}
    bad = {name for name, outcome in ended.items() if outcome in ("FAILED", "ERROR")}
    assert {one for one in bad if one.endswith("_good")} == set()
    assert {one for one in good if not one.endswith("_good")} <= {"test_it_leaks_at_its_end"}
    assert len(bad) == 11, said
    assert "a marked secret was seen" in said
    assert "Captured stdout call: …out <marker>" in said
    assert not pattern("planted-secret-").search(said.encode())


def test_programs_with_a_marker_in_their_argv_fail_the_session(tmp_path: Path) -> None:
    status, said = session(tmp_path, STARTED)
    assert status == 1, said
    assert "programs started with a marked secret in their argv" in said
    for test in ("a_program", "a_program_of_a_program", "a_program_that_outlives_its_parent"):
        assert f"while test_planted.py::test_{test}: argv: …" in said, said
    assert "3 passed" in said
    assert not pattern("planted-secret-").search(said.encode())


def test_a_session_without_a_leak_is_left_alone(tmp_path: Path) -> None:
    program = (
        "import subprocess\ndef test_a(capsys):\n    subprocess.run(['true', 'planted-secret-'])\n    print('x')\n"
    )
    status, said = session(tmp_path, program)
    assert (status, "1 passed" in said) == (0, True), said


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "AWS:"])
def test_a_marker_is_known_in_base64_wherever_it_begins(before: str) -> None:
    coded = base64.b64encode(f"{before}{draw()}".encode())
    assert MARKER.search(coded)
    assert MARKER.search(base64.urlsafe_b64encode(f"{before}{draw()}:x".encode()))
    assert not MARKER.search(base64.b64encode(f"{before}no secret at all".encode()))


def test_what_the_twin_draws_is_a_marker_and_never_the_same() -> None:
    drawn = [drawn_secrets.draw(), draw(), draw()]
    assert len(set(drawn)) == 3
    assert all(MARKER.fullmatch(one.encode()) for one in drawn)
    assert not MARKER.search(drawn_secrets.PREFIX.encode())


def test_a_leak_is_told_with_its_surroundings_and_without_itself() -> None:
    one, other = draw(), draw()
    told = leaks("the log", f"password {one}, {other}\n")
    assert told == ["the log: …password <marker>, <marker>⏎…", "the log: …password <marker>, <marker>⏎…"]
    with pytest.raises(AssertionError, match="the record: …<marker>"):
        look_into({"the record": one.encode()})
    look_into({"the record": b"\xff\x00 nothing"})


def test_the_suite_s_own_programs_hold_markers_in_their_environment(argv_watch: ArgvWatch) -> None:
    program = f"import os; print(all(os.environ[name] for name in {VARIABLES!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert all(MARKER.fullmatch(os.environ[name].encode()) for name in VARIABLES)
    assert argv_watch.test.endswith("test_the_suite_s_own_programs_hold_markers_in_their_environment")
    assert argv_watch.found == ()


@pytest.mark.parametrize(
    ("event", "arguments", "argv"),
    [
        ("subprocess.Popen", ("sh", ["sh", "-c", "x"], None, None), ["sh", "sh", "-c", "x"]),
        ("subprocess.Popen", ("sh", "x y", None, None), ["sh", "x y"]),
        ("os.exec", ("/bin/true", ["true"], {}), ["/bin/true", "true"]),
        ("os.posix_spawn", ("/bin/true", ["true"], {}), ["/bin/true", "true"]),
        ("os.system", (b"true",), [b"true"]),
        ("open", ("x", "r", 0), []),
    ],
)
def test_what_starts_a_program_is_heard(event: str, arguments: tuple[object, ...], argv: list[object]) -> None:
    assert started_by(event, arguments) == argv
