"""Programs are started for real: small shell scripts and this Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gli_tasks.errors import CommandFailed, Interrupted, UsageError
from gli_tasks.shell import attach, kill_all, run
from tests.floor_parts import REPOSITORY


def gone(pid: int, within_s: float = 5) -> bool:
    """Tell whether a process ends within a time; one that nobody has waited for yet counts as ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_both_streams_come_in_order() -> None:
    done = run(["sh", "-c", "echo one; echo two >&2; echo three"])
    assert (done.returncode, done.output, done.errors) == (0, "one\ntwo\nthree\n", "")
    assert done.argv == ("sh", "-c", "echo one; echo two >&2; echo three")
    assert done.seconds > 0


def test_standard_error_can_be_kept_apart() -> None:
    seen: list[str] = []
    done = run(["sh", "-c", "echo answer; echo warning >&2"], errors_apart=True, on_line=seen.append)
    assert (done.output, done.errors) == ("answer\n", "warning\n")
    assert sorted(seen) == ["answer", "warning"]


def test_a_failure_shows_standard_error_that_was_kept_apart() -> None:
    with pytest.raises(CommandFailed, match="the reason"):
        run(["sh", "-c", "echo the reason >&2; exit 1"], errors_apart=True)


def test_lines_come_as_they_are_printed_and_the_last_needs_no_newline() -> None:
    seen: list[tuple[str, float]] = []
    run(["sh", "-c", "echo first; sleep 0.3; printf last"], on_line=lambda line: seen.append((line, time.monotonic())))
    assert [line for line, _ in seen] == ["first", "last"]
    assert seen[1][1] - seen[0][1] > 0.2


def test_standard_input_is_empty() -> None:
    assert run(["cat"]).output == ""


def test_environment_is_added_to_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOOR_A", "old")
    monkeypatch.setenv("FLOOR_B", "kept")
    assert run(["sh", "-c", "echo $FLOOR_A $FLOOR_B"], environment={"FLOOR_A": "new"}).output == "new kept\n"
    assert os.environ["FLOOR_A"] == "old"


def test_runs_in_its_folder(tmp_path: Path) -> None:
    assert run(["pwd", "-P"], folder=tmp_path).output.strip() == str(tmp_path.resolve())


def test_words_of_argv_are_not_read_by_a_shell() -> None:
    assert run(["echo", "$(id); `id` && x|y", "*"]).output == "$(id); `id` && x|y *\n"


def test_failure_names_command_status_folder_and_last_lines(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "for i in $(seq 40); do echo line $i; echo; done; exit 7"], folder=tmp_path)
    text = str(caught.value)
    assert caught.value.returncode == 7
    assert "ended with status 7" in text
    assert text.startswith(f"{tmp_path}: sh -c 'for i in")
    assert "    line 26\n" in text
    assert text.endswith("    line 40")
    assert "line 25\n" not in text


def test_failure_without_output_says_only_the_status() -> None:
    with pytest.raises(CommandFailed, match=r"^false ended with status 1$"):
        run(["false"])


def test_failure_is_returned_where_check_is_off() -> None:
    assert run(["sh", "-c", "exit 3"], check=False).returncode == 3


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 1, f"signal {signal.SIGRTMIN + 1}")],
)
def test_death_by_signal_is_named(number: int, name: str) -> None:
    with pytest.raises(CommandFailed, match=f"was killed by {name}$") as caught:
        run([sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(number)})"])
    assert caught.value.returncode == -number


def test_output_that_is_not_utf_8_is_shown_all_the_same() -> None:
    seen: list[str] = []
    done = run(["printf", r"caf\351 \303\251\n\377"], on_line=seen.append)
    assert done.output == "caf\ufffd é\n\ufffd"
    assert seen == ["caf\ufffd é", "\ufffd"]


def test_a_character_cut_by_two_writes_is_whole() -> None:
    assert run(["sh", "-c", r"printf '\303'; sleep 0.2; printf '\251'"]).output == "é"


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=20), max_size=6))
def test_every_line_arrives_as_it_was_printed(lines: list[str]) -> None:
    seen: list[str] = []
    done = run(["printf", "%s\\n", *lines], on_line=seen.append) if lines else run(["true"], on_line=seen.append)
    assert seen == lines
    assert done.output == "".join(f"{line}\n" for line in lines)


def test_progress_bars_and_windows_line_ends_become_lines() -> None:
    seen: list[str] = []
    run(["printf", r"10%%\r20%%\r\ndone\r\n"], on_line=seen.append)
    assert seen == ["10%", "20%", "done"]


def test_much_output_is_all_there() -> None:
    program = "import sys\nfor i in range(40_000): print('x' * 40, file=sys.stderr if i % 2 else sys.stdout)"
    done = run([sys.executable, "-c", program], errors_apart=True)
    assert (len(done.output), len(done.errors)) == (820_000, 820_000)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(UsageError, match="'no-such-program' is not installed") as caught:
        run(["no-such-program", "--flag"])
    assert "PATH" in caught.value.remedy


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder") as caught:
        run(["true"], folder=tmp_path / "none")
    assert caught.value.where == str(tmp_path / "none")


def test_a_file_in_the_folder_s_place_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="no such folder"):
        run(["true"], folder=tmp_path / "file")


def test_a_file_that_may_not_be_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    with pytest.raises(UsageError, match="may not be run"):
        run([str(program)])


def test_a_script_that_names_no_interpreter(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("echo hello\n")
    program.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be started"):
        run([str(program)])


def test_time_over_stops_the_program_and_says_so() -> None:
    start = time.monotonic()
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s and was stopped; its last lines:\n    begun"):
        run(["sh", "-c", "echo begun; exec sleep 60"], timeout_s=0.3)
    assert time.monotonic() - start < 5


def test_time_over_stops_what_the_program_started(tmp_path: Path) -> None:
    script = f"(trap '' TERM; sleep 60 & echo $! > {tmp_path}/pid; wait; sleep 60) & wait"
    with pytest.raises(CommandFailed, match="did not end"):
        run(["sh", "-c", script], timeout_s=0.4)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_ignores_the_polite_signal_is_killed() -> None:
    start = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], timeout_s=0.2)
    assert caught.value.returncode == -signal.SIGKILL
    assert time.monotonic() - start < 8


def test_what_a_program_says_when_it_is_stopped_is_kept() -> None:
    with pytest.raises(CommandFailed, match="cleaning up"):
        run(["sh", "-c", "trap 'echo cleaning up; exit 1' TERM; while :; do sleep 0.05; done"], timeout_s=0.3)


def test_a_descendant_that_holds_the_output_open_is_stopped_with_the_program(tmp_path: Path) -> None:
    start = time.monotonic()
    done = run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo done"], timeout_s=30)
    assert (done.returncode, done.output) == (0, "done\n")
    assert time.monotonic() - start < 6
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_descendant_that_left_the_group_cannot_hold_us_up(tmp_path: Path) -> None:
    start = time.monotonic()
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 30' & sleep 0.2; echo done"
    done = run(["sh", "-c", script], timeout_s=30)
    assert done.output == "done\n"
    assert time.monotonic() - start < 6
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_time_over_counts_even_where_a_descendant_left_the_group(tmp_path: Path) -> None:
    start = time.monotonic()
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pid; while :; do echo noise; sleep 0.01; done' & sleep 60"
    with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s"):
        run(["sh", "-c", script], timeout_s=0.5)
    assert time.monotonic() - start < 6
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_program_that_closes_its_output_is_still_waited_for() -> None:
    with pytest.raises(CommandFailed, match="ended with status 4"):
        run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4"])
    with pytest.raises(CommandFailed, match=r"did not end within 0\.3 s"):
        run(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout_s=0.3)


def test_an_error_in_on_line_stops_the_program(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo line; sleep 60"], on_line=refuse)
    assert gone(int((tmp_path / "pid").read_text()))


def test_no_descriptor_and_no_thread_is_left() -> None:
    run(["true"])
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        run(["echo", "x"], errors_apart=True)
        with pytest.raises(CommandFailed):
            run(["false"])
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (descriptors, threads)


def test_a_person_can_stop_a_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    asked = threading.Event()
    threading.Timer(0.5, asked.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        run(["sh", "-c", f"echo $$ > {pid}; sleep 60"], stop=asked.is_set)
    assert time.monotonic() - began < 10
    assert gone(int(pid.read_text()))


def test_everything_that_runs_can_be_killed_at_once(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    failure: list[CommandFailed] = []

    def start() -> None:
        try:
            run(["sh", "-c", f"echo $$ > {pid}; sleep 60"])
        except CommandFailed as error:
            failure.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    deadline = time.monotonic() + 10
    while not (pid.exists() and pid.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_all()
    thread.join(10)
    assert failure[0].returncode == -signal.SIGKILL
    assert gone(int(pid.read_text()))


def test_none_takes_a_variable_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLI_TEST_GIVEN", "x")
    script = 'echo "${GLI_TEST_GIVEN-none} ${GLI_TEST_MORE-none}"'
    done = run(["sh", "-c", script], environment={"GLI_TEST_GIVEN": None, "GLI_TEST_MORE": "y"})
    assert done.output == "none y\n"


HOLDS_A_TERMINAL = """\
from gli_tasks.shell import attach
program = "trap 'echo caught; exit 5' INT; read -r line; echo $line $WORD; while :; do sleep 0.05; done"
print("status", attach(["sh", "-c", program], {"WORD": "given"}), flush=True)
"""


def test_a_session_has_this_terminal_and_its_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_TERMINAL],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("typed\n")
    process.stdin.flush()
    assert process.stdout.readline() == "typed given\n"
    # As a terminal does: to everyone in the foreground.
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "caught\nstatus 5\n")


def test_a_session_gives_the_signals_back_when_it_ends() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)]
    assert attach(["true"]) == 0
    assert attach(["sh", "-c", "exit 3"]) == 3
    with pytest.raises(UsageError, match="'no-such-program' is not installed"):
        attach(["no-such-program"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)] == before
