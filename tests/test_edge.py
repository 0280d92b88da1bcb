"""What every task has in common: exit codes, the choice of environment, refusals and questions."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gli_tasks import edge
from gli_tasks.console import MASK, Console
from gli_tasks.errors import (
    GliError,
    Interrupted,
    Locked,
    NotRestored,
    Refused,
    SettingsError,
    UsageError,
    WaitsForPerson,
)
from gli_tasks.settings import LoadedSettings, load
from tests.floor_parts import REPOSITORY, Shop, clean_process_environment
from tests.marker_secrets import draw, look_into

pytest_plugins = ["tests.floor_fixtures"]


@pytest.fixture
def loaded(shop: Shop) -> LoadedSettings:
    return load(shop.root, "shop", "dev", {})


@pytest.fixture
def prod(shop: Shop) -> LoadedSettings:
    shop.env.rename(shop.root / "shop" / "prod.env")
    shop.replace(shop.toml, "dev = [", "prod = [")
    return load(shop.root, "shop", "prod", {})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GliError("x"), 1),
        (UsageError("x"), 2),
        (SettingsError(["x"]), 2),
        (Refused("x"), 2),
        (Locked("x"), 3),
        (WaitsForPerson("x"), 4),
        (NotRestored("x"), 5),
        (Interrupted("x"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_a_sentence_and_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @edge.operator
    def task() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        task()
    assert caught.value.code == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.out == ""


def test_an_error_of_botocore_becomes_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from botocore.exceptions import NoCredentialsError

    @edge.operator
    def task() -> None:
        raise NoCredentialsError

    with pytest.raises(SystemExit) as caught:
        task()
    assert caught.value.code == 2
    assert "aws sso login" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("a bug"), BrokenPipeError("a socket's")])
def test_what_nobody_foresaw_is_not_hidden(error: Exception) -> None:
    @edge.operator
    def task() -> None:
        raise error

    with pytest.raises(type(error)):
        task()


def program_of(body: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a task's body in a process of its own."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"import logging, os, sys\nfrom gli_tasks import edge\n@edge.operator\ndef task():\n{lines}\ntask()\n"
    environment = clean_process_environment(**variables)
    done = subprocess.run(
        [sys.executable, "-"], input=text, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    look_into({"standard output": done.stdout, "standard error": done.stderr})
    return done


def test_what_nobody_foresaw_shows_no_secret_that_was_resolved() -> None:
    body = """\
from gli_tasks.console import PROCESS_REDACTOR
from gli_tasks.secret_references import resolve
secret = resolve("env:DB_PASSWORD", None, PROCESS_REDACTOR)
try:
    raise ValueError(f"cannot reach app:{secret.reveal()}@db")
except ValueError as error:
    raise KeyError(repr(secret.reveal())) from error"""
    done = program_of(body, DB_PASSWORD=draw())
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert f"ValueError: cannot reach app:{MASK}@db" in done.stderr


def test_with_all_debugging_on_no_library_tells_what_it_sends_and_gets() -> None:
    body = """\
logging.basicConfig(level=logging.DEBUG)
secret = os.environ["WEBHOOK"]
for name in ("botocore.parsers", "httpx", "httpcore.http11", "urllib3.connectionpool", "docker.auth"):
    logging.getLogger(name).info("HTTP Request: POST %s", secret)
logging.getLogger("invoke").debug("still heard")
logging.getLogger("httpx").warning("heard as well")"""
    done = program_of(body, WEBHOOK=f"https://hooks.slack.com/services/{draw()}")
    assert done.returncode == 0
    assert "still heard" in done.stderr
    assert "heard as well" in done.stderr


def test_a_task_keeps_its_name_text_and_answer() -> None:
    @edge.operator
    def task(one: int, two: int = 2) -> int:
        """Say something."""
        return one + two

    assert (task.__name__, task.__doc__, task(1, two=4)) == ("task", "Say something.", 5)


def test_flags_are_the_shared_ones_and_the_task_s_own() -> None:
    assert edge.flags("env", "yes", tag="x") == {"env": edge.FLAGS["env"], "yes": edge.FLAGS["yes"], "tag": "x"}
    with pytest.raises(KeyError):
        edge.flags("evn")


@pytest.mark.parametrize(
    ("env", "project", "process", "found"),
    [
        (None, "shop", {}, ("shop", "dev")),
        (None, None, {"GLI_PROJECT": "shop"}, ("shop", "dev")),
        (None, None, {"GLI_PROJECT": "shop", "GLI_ENV": "stg"}, ("shop", "stg")),
        ("dev", None, {"GLI_PROJECT": "shop", "GLI_ENV": "stg"}, ("shop", "dev")),
        (None, None, {"GLI_PROJECT": "", "GLI_ENV": ""}, ("gli", "dev")),
        (None, None, {}, ("gli", "dev")),
    ],
)
def test_flags_go_before_variables_and_these_before_defaults(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    env: str | None,
    project: str | None,
    process: dict[str, str],
    found: tuple[str, str],
) -> None:
    (shop.root / "shop" / "stg.env").write_text(shop.env.read_text())
    subprocess.run(["cp", "-r", str(shop.root / "shop"), str(shop.root / "gli")], check=True)
    for name in ("GLI_ENV", "GLI_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**process, "GLI_ENV_FOLDER": str(shop.root)}.items():
        monkeypatch.setenv(name, value)
    settings = edge.chosen(env, project).settings
    assert (settings.project, settings.environment) == found


def test_aws_for_takes_region_and_account_of_the_settings(loaded: LoadedSettings) -> None:
    aws = edge.aws_for(loaded)
    assert (aws.region, aws.account) == ("ap-northeast-2", "123456789012")


def test_what_a_task_needs_must_be_there(shop: Shop) -> None:
    shop.replace(shop.env, "STATE_BUCKET=shop-state", "STATE_BUCKET=")
    shop.replace(shop.env, "ECR_REGISTRY=123456789012.dkr.ecr.ap-northeast-2.amazonaws.com", "ECR_REGISTRY=")
    loaded = load(shop.root, "shop", "dev", {})
    edge.require_present(loaded, "aws", "services")
    with pytest.raises(
        Refused, match=r"shop dev leave empty .*\n  - registry.host \(ECR_REGISTRY in .*dev.env\)"
    ) as one:
        edge.require_present(loaded, "registry", "ecs")
    assert "state.bucket" not in one.value.what
    with pytest.raises(Refused) as both:
        edge.require_present(loaded)
    assert "state.bucket" in both.value.what
    assert "registry.host" in both.value.what


def test_nothing_is_asked_with_yes(loaded: LoadedSettings) -> None:
    stream = io.StringIO()
    edge.confirm(Console(stream=stream), "pushing", loaded, yes=True)
    assert stream.getvalue() == ""


def test_nobody_there_to_confirm_is_a_refusal(loaded: LoadedSettings) -> None:
    with pytest.raises(Refused, match="pushing on shop dev changes things, and nobody is here") as caught:
        edge.confirm(Console(stream=io.StringIO()), "pushing", loaded, yes=False)
    assert caught.value.remedy == "add --yes"


def asked(root: Path, environment: str, typed: bytes) -> tuple[int, str]:
    """Ask on a real terminal; return the exit code and what was shown."""
    program = f"""
from pathlib import Path
from gli_tasks.console import MASK, Console
from gli_tasks.edge import confirm, operator
from gli_tasks.settings import load
@operator
def task():
    confirm(Console(), "pushing", load(Path({str(root)!r}), "shop", {environment!r}, {{}}), False)
task()
"""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=clean_process_environment(TERM="dumb", COLUMNS="200"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, typed)
    code = process.wait(30)
    shown = os.read(leader, 65_536).decode()
    os.close(leader)
    return code, shown


@pytest.mark.parametrize(
    ("typed", "code"), [(b"yes\n", 0), (b" yes \n", 0), (b"y\n", 2), (b"\n", 2), (b"dev\n", 2), (b"\x04", 2)]
)
def test_a_question_wants_yes(shop: Shop, typed: bytes, code: int) -> None:
    result, shown = asked(shop.root, "dev", typed)
    assert result == code
    assert "pushing on shop dev. Type 'yes' to go on: " in shown
    assert ("was not confirmed" in shown) == (code == 2)


@pytest.mark.parametrize(("typed", "code"), [(b"prod\n", 0), (b"yes\n", 2), (b"PROD\n", 2)])
def test_in_production_the_environment_s_name_is_typed(prod: LoadedSettings, typed: bytes, code: int) -> None:
    result, shown = asked(prod.settings.folder.parent, "prod", typed)
    assert result == code
    assert "pushing on shop prod. Type 'prod' to go on: " in shown


def test_one_service_or_all() -> None:
    names = {"api": 1, "websocket": 2}
    assert edge.pick(names, None) == names
    assert edge.pick(names, "api") == {"api": 1}
    with pytest.raises(
        UsageError, match=r"there is no service 'websoket' here \(did you mean 'websocket'\?\)"
    ) as caught:
        edge.pick(names, "websoket")
    assert caught.value.remedy == "name one of: api, websocket"
    with pytest.raises(UsageError) as none:
        edge.pick({}, "api")
    assert none.value.remedy == "name one of: none"


@pytest.mark.parametrize(
    ("process", "name"),
    [
        ({"GITHUB_ACTOR": "mina"}, "mina (CI)"),
        ({"GITLAB_USER_LOGIN": "jun"}, "jun (CI)"),
        ({"LOGNAME": "mina"}, "mina@"),
    ],
)
def test_who_is_at_work(monkeypatch: pytest.MonkeyPatch, process: dict[str, str], name: str) -> None:
    for key in ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in process.items():
        monkeypatch.setenv(key, value)
    assert edge.operator_name().startswith(name)


def test_what_is_done_to_one_service_wants_one_named() -> None:
    both = {"api": 1, "web": 2}
    assert edge.pick_one(both, "web") == ("web", 2)
    assert edge.pick_one({"api": 1}, None) == ("api", 1)
    with pytest.raises(UsageError, match="one service at a time") as caught:
        edge.pick_one(both, None)
    assert caught.value.remedy == "add --service: api, web"
    with pytest.raises(UsageError, match="there is no service 'apo' here"):
        edge.pick_one(both, "apo")


def test_surroundings_hold_what_a_task_works_with_and_refuse_what_is_absent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLI_ENV_FOLDER", str(shop.root))
    found = edge.surroundings("dev", "shop", "aws", "ecs")
    assert (found.settings.project, found.aws.region) == ("shop", found.settings.aws.region)
    shop.replace(shop.env, "STATE_BUCKET=shop-state", "STATE_BUCKET=")
    assert edge.surroundings("dev", "shop", "aws").settings.state.bucket == ""
    with pytest.raises(Refused, match=r"state\.bucket"):
        edge.surroundings("dev", "shop", "aws", "state")
