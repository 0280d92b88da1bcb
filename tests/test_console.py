"""What an operator sees, and what no operator may see."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.console import MASK, PROCESS_REDACTOR, Console, Redactor, Secret, masked
from gli_tasks.errors import GliError
from tests.floor_parts import REPOSITORY, clean_process_environment, steady

# Without the mask's own character, of which a masked text is full.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="*")
CHARACTERS = st.characters(codec="utf-8", exclude_characters="*")
SECRETS = st.text(CHARACTERS, min_size=4).filter(lambda one: one.strip() == one)
TEXT = st.text(CHARACTERS)


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.learn(Secret(value))
    return redactor


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret!s} {[secret]}" + "%s" % secret  # noqa: UP031
    assert secret.reveal() == "hunter2"
    assert (secret, hash(secret)) == (Secret("hunter2"), hash(Secret("hunter2")))
    assert secret != "hunter2"
    assert secret != Secret("hunter3")


def test_a_secret_is_written_nowhere() -> None:
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not written") as caught:
            write(Secret("hunter2"))
        assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError):
        json.dumps(Secret("hunter2"))
    assert not hasattr(Secret("hunter2"), "__dict__")


@steady
@given(SECRETS, TEXT, TEXT)
def test_a_learnt_secret_is_in_no_text(value: str, before: str, after: str) -> None:
    assert value not in redactor_of(value).clean(before + value + after)


@steady
@given(st.lists(SECRETS, min_size=1, max_size=4), st.lists(TEXT, max_size=4))
def test_no_learnt_secret_is_in_a_text_made_of_them(values: list[str], words: list[str]) -> None:
    cleaned = redactor_of(*values).clean(" ".join([*words, *values]))
    assert not [value for value in values if value in cleaned]


@steady
@given(SECRETS, TEXT)
def test_text_without_the_secret_is_left_alone(value: str, text: str) -> None:
    if not any(line.strip() in text for line in value.splitlines() if len(line.strip()) >= 4):
        assert redactor_of(value).clean(text) == text


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    assert redactor_of("hunter", "hunter-two").clean("hunter-two hunter") == f"{MASK} {MASK}"


def test_short_values_would_mask_words_and_are_left() -> None:
    assert redactor_of("", "a", "abc", "\n\n\n\n").clean("abc a\n\n\n\n") == "abc a\n\n\n\n"


def test_each_line_of_a_key_is_masked_for_itself() -> None:
    redactor = redactor_of("-----BEGIN KEY-----\nMIIEabcdef\r\n  c2VjcmV0==\n-----END KEY-----\n")
    for line in ("MIIEabcdef", "c2VjcmV0=="):
        assert redactor.clean(f"stderr: {line}.") == f"stderr: {MASK}."


def test_a_value_is_masked_without_its_last_newline() -> None:
    assert redactor_of("hunter2\n").clean("pw=hunter2;") == f"pw={MASK};"


@steady
@given(st.dictionaries(TEXT, SECRETS, max_size=3), SECRETS)
def test_json_stays_json_and_holds_no_secret(data: dict[str, str], value: str) -> None:
    cleaned = redactor_of(value).clean_tree({**data, "list": [value, (value, 1, None, True)], value: 2})
    strings = json.dumps(cleaned, ensure_ascii=True)
    assert json.dumps(value)[1:-1] not in strings.replace('"list"', "") or value in '", : [] {} 12 null true'


@pytest.mark.parametrize("value", ['pa"ss', "back\\slash", "true", "1234", '": "', "한글비밀"])
def test_json_with_a_secret_of_any_form(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    Console(redactor_of(value)).answer_json({"a": f"x{value}x", "port": 1234, "on": True, "path": Path(value)})
    assert json.loads(capsys.readouterr().out) == {"a": f"x{MASK}x", "port": 1234, "on": True, "path": MASK}


def test_lines_questions_answers_tables_and_errors_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(redactor_of("hunter2"))
    console.line("hunter2")
    console.answer("hunter2")
    console.answer_json({"hunter2": "hunter2"})
    console.table(("name",), [("hunter2",)], "hunter2")
    console.error(GliError("hunter2", where="hunter2", remedy="hunter2"))
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err
    assert (captured.out.count(MASK), captured.err.count(MASK)) == (5, 4)


def test_a_secret_learnt_by_one_console_is_masked_by_every_other(capsys: pytest.CaptureFixture[str]) -> None:
    Console().redactor.learn(Secret("a-secret-of-this-test"))
    Console().error(GliError("it said a-secret-of-this-test"))
    assert capsys.readouterr().err == f"error: it said {MASK}\n"
    assert Console().redactor is PROCESS_REDACTOR


def test_answers_go_to_standard_output_and_the_rest_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.line("a line")
    console.line()
    console.error(GliError("it broke", remedy="mend it"))
    console.answer("an answer")
    captured = capsys.readouterr()
    assert captured.err == "a line\n\nerror: it broke\n  next: mend it\n"
    assert captured.out == "an answer\n"


def test_a_table_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    arn = "arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:shop/db"
    Console().table(("a", "b"), [(arn, "[red]plain[/red] :x: ✓"), ("y" * 400, "z")], "a title")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["a", "title"]
    assert lines[3:] == [[arn, "[red]plain[/red]", ":x:", "✓"], ["y" * 400, "z"]]


def test_an_empty_table_is_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(("one", "two"), [])
    assert "one" in capsys.readouterr().out


def test_nobody_can_be_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not Console().interactive
    monkeypatch.setattr(sys, "stdin", None)
    assert not Console().interactive


@pytest.mark.parametrize(("typed", "answer"), [("prod\n", "prod"), ("\n", ""), ("", ""), ("y", "y")])
def test_an_answer_is_what_was_typed(monkeypatch: pytest.MonkeyPatch, typed: str, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    stream = io.StringIO()
    assert Console(stream=stream).ask("Sure? ") == answer
    assert stream.getvalue() == "Sure? "


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("DB_PASSWORD", "hunter2", MASK),
        ("db_password", "hunter2", MASK),
        ("JWT_SECRET", "aGVsbG8/d29ybGQ=", MASK),
        ("ACCESS_TOKEN", "Ab/cD", MASK),
        ("PRIVATE_NOTE", "x", MASK),
        ("CREDENTIALS", "x y", MASK),
        ("DB_PASSWORD", "", ""),
        ("DB_SECRET", "gli/db/production", "gli/db/production"),
        ("DB_SECRET", "aws-sm:gli/db#password", "aws-sm:gli/db#password"),
        ("DB_TOKEN", "env:TOKEN", "env:TOKEN"),
        ("DB_SECRET_ARN", "arn:aws:secretsmanager:x", "arn:aws:secretsmanager:x"),
        ("API_HOST", "api.example.com", "api.example.com"),
    ],
)
def test_values_whose_keys_say_secret_are_masked(key: str, value: str, shown: str) -> None:
    assert masked({key: value}) == {key: shown}


def program(body: str) -> list[str]:
    return [sys.executable, "-c", f"import sys\nfrom gli_tasks.console import Console\nconsole = Console()\n{body}"]


@pytest.mark.parametrize("call", ["line", "answer", "answer_json"])
def test_a_reader_that_goes_away_stops_no_work(tmp_path: Path, call: str) -> None:
    body = (
        f"for i in range(20_000): console.{call}('x' * 50)\nopen({str(tmp_path / 'end')!r}, 'w').close()\nsys.exit(7)"
    )
    environment = clean_process_environment()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(program(body), cwd=REPOSITORY, env=environment, stdout=write_end, stderr=write_end)
    os.close(write_end)
    assert os.read(read_end, 10)
    os.close(read_end)
    assert process.wait(30) == 7
    assert (tmp_path / "end").exists()


def test_lines_of_many_threads_are_whole() -> None:
    body = """
import threading
def say(n):
    for _ in range(100): console.line(str(n) * 60)
threads = [threading.Thread(target=say, args=(n,)) for n in range(5)]
[one.start() for one in threads]; [one.join() for one in threads]
"""
    environment = clean_process_environment()
    done = subprocess.run(program(body), cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert sorted(done.stderr.splitlines()) == sorted(str(n) * 60 for n in range(5) for _ in range(100))


def test_an_error_on_a_terminal_is_shown_as_it_is() -> None:
    import pty

    leader, follower = pty.openpty()
    body = "from gli_tasks.errors import GliError\nconsole.error(GliError('[bold]x[/bold] :secret:', remedy='mend'))"
    environment = clean_process_environment(TERM="xterm", COLUMNS="100")
    subprocess.run(program(body), cwd=REPOSITORY, env=environment, stderr=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 4_096).decode()
    os.close(leader)
    assert "[bold]x[/bold] :secret:" in shown
    assert "\x1b[1;31m" in shown
    assert "next: mend" in shown
