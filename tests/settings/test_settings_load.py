"""Loading whole files: good ones, and broken ones as users break them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.errors import SettingsError, UsageError
from gli_tasks.settings import EcsService, environments, load, load_all, projects
from gli_tasks.settings.load import Origin, root_folder
from tests.floor_parts import ENV, TASK_DEFINITION, TOML, Shop, steady, write_shop
from tests.settings.settings_parts import Load, Problems


def only(problems: tuple[str, ...]) -> str:
    assert len(problems) == 1, "\n".join(problems)
    return problems[0]


def test_good_settings_load(shop: Shop, loaded: Load) -> None:
    one = loaded()
    api = one.settings.services["api"]
    assert isinstance(api, EcsService)
    assert api.source == (shop.root / "source").resolve()
    assert api.host == "api.example.com"
    assert (one.settings.project, one.settings.environment) == ("shop", "dev")
    assert one.settings.pipeline == ("git.check", ("build.check", "image.build"), "image.push")
    assert one.settings.ecs_services == {"api": api}
    assert one.settings.sites == {}
    assert (one.overrides, one.absent) == ((), ())
    assert one.origins["services.api.host"] == Origin("dev.env", ("API_HOST",), False)
    assert one.settings.values["LOG_GROUP"] == "/ecs/shop-api"


def test_the_process_overrides_keys_of_the_file_and_no_others(loaded: Load) -> None:
    one = loaded({"API_HOST": "other.example.com", "AWS_REGION": "ap-northeast-2", "API_HOTS": "x", "port": "1"})
    assert one.settings.services["api"].host == "other.example.com"
    assert one.settings.health.checks[0].url == "https://other.example.com/health"
    assert one.overrides == ("API_HOST",)
    assert one.origins["services.api.host"].overridden
    assert not one.origins["aws.region"].overridden


def test_an_empty_override_counts(problems: Problems) -> None:
    text = "\n".join(problems({"API_HOST": ""}))
    assert (
        "the process's environment: API_HOST (services.api.host): expected a host name such as api.example.com, got"
        in text
    )


def test_empty_names_of_aws_are_absent_and_load(shop: Shop, loaded: Load) -> None:
    shop.replace(shop.env, "STATE_BUCKET=shop-state", "STATE_BUCKET=")
    shop.replace(shop.toml, 'target_group = "shop-api-tg"', 'target_group = ""')
    assert loaded().absent == (f"state.bucket (STATE_BUCKET in {shop.env})", "services.api.target_group")


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_windows_editors_load(shop: Shop, loaded: Load, mark: str, end: str) -> None:
    for file in (shop.toml, shop.env, shop.task_definition):
        file.write_bytes((mark + file.read_text()).replace("\n", end).encode())
    assert loaded().settings.aws.account == "123456789012"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("API_HOST='api.example.com'", "api.example.com"),
        ('API_HOST="api.example.com"', "api.example.com"),
        ("export API_HOST=api.example.com", "api.example.com"),
        ("API_HOST = api.example.com   # the host", "api.example.com"),
    ],
)
def test_ways_to_write_a_line(shop: Shop, loaded: Load, line: str, value: str) -> None:
    shop.replace(shop.env, "API_HOST=api.example.com", line)
    assert loaded().settings.services["api"].host == value


@pytest.mark.parametrize("value", ['a"b', "${AWS_REGION}", '", "essential": false, "x": "', "a\\b", "한글 #1"])
def test_a_value_is_taken_as_it_is_and_reaches_no_other(shop: Shop, loaded: Load, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    shop.replace(shop.env, "STATE_BUCKET=shop-state", f"STATE_BUCKET='{quoted}'")
    one = loaded()
    assert one.settings.state.bucket == value
    assert one.settings.ecs.cluster == "shop-cluster"


def test_unknown_project_and_environment_name_the_nearest(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"there is no project 'shpo' \(did you mean 'shop'\?\)") as caught:
        load(shop.root, "shpo", "dev", {})
    assert caught.value.remedy == "name one of: shop"
    with pytest.raises(UsageError, match="there is no environment 'DEV'"):
        load(shop.root, "shop", "DEV", {})
    for name in ("..", "../shop", "", "."):
        with pytest.raises(UsageError):
            load(shop.root, name, "dev", {})
        with pytest.raises(UsageError):
            load(shop.root, "shop", name, {})


def test_a_folder_that_is_not_there_holds_no_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no project 'gli'") as caught:
        load(tmp_path / "none", "gli", "dev", {})
    assert caught.value.remedy == "name one of: none"


def test_environments_come_in_their_order(shop: Shop) -> None:
    for name in ("prod", "stg", "qa", "Upper", ""):
        (shop.root / "shop" / f"{name}.env").write_text(ENV)
    assert environments(shop.root, "shop") == ("dev", "stg", "prod", "qa")
    assert projects(shop.root) == ("shop",)


def test_broken_toml_says_where(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.toml, 'cluster = "shop-cluster"', "cluster = shop")
    assert only(problems()).startswith(f"{shop.toml}: is not valid TOML: Invalid value (at line 15,")


def test_a_key_twice_in_toml(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.toml, 'branch = "main"', 'branch = "main"\nbranch = "stg"')
    assert "Cannot overwrite a value" in only(problems())


def test_a_key_twice_in_env(shop: Shop, problems: Problems) -> None:
    shop.add(shop.env, "\n\nAPI_HOST=other.example.com\n")
    assert only(problems()) == f"{shop.env}: API_HOST: set a second time in line 11; keep one"


@pytest.mark.parametrize("line", ['API_KEY_X="hunter2', "hunter2 hunter2=1", "KEY=='a' 'hunter2'", "='hunter2'"])
def test_a_line_that_is_none_is_told_by_its_number_and_not_shown(shop: Shop, problems: Problems, line: str) -> None:
    shop.add(shop.env, f"\n\n{line}\n")
    text = "\n".join(problems())
    assert "hunter2" not in text
    assert f"{shop.env}: line 11 is not KEY=VALUE" in text or line.startswith("KEY")


def test_a_line_without_a_value(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.env, "API_HOST=api.example.com", "API_HOST")
    assert f"{shop.env}: API_HOST: line 6 has no '='; expected KEY=VALUE" in problems()


def test_an_unknown_key_in_env_names_the_nearest(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.env, "API_HOST=", "API_HOTS=")
    wants = "wants ${API_HOST}, which dev.env does not hold (did you mean 'API_HOTS'?)"
    assert problems() == (
        f"{shop.toml}: services.api.host: {wants}",
        f"{shop.toml}: health.checks[0].url: {wants}",
        f"{shop.env}: API_HOTS: unknown key; neither project.toml nor a task definition uses it"
        " (did you mean 'API_HOST'?)",
    )


def test_an_unknown_key_in_toml_names_the_nearest(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.toml, "timeout_s = 60", "time_out_s = 60")
    assert only(problems()) == f"{shop.toml}: rollout.time_out_s: unknown key (did you mean 'timeout_s'?)"


def test_several_problems_come_in_one_run(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.toml, "port = 8000", 'port = "many"')
    shop.replace(shop.toml, 'cluster = "shop-cluster"', "clutser = 3")
    shop.replace(shop.toml, '"image.push"]', '"image.pull"]')
    shop.replace(shop.env, "AWS_ACCOUNT_ID=123456789012", "AWS_ACCOUNT_ID=12")
    shop.add(shop.env, "LEFT_OVER=1\n")
    shop.replace(shop.task_definition, '"name": "api"', '"name": "app"')
    found = problems()
    for expected in (
        f"{shop.toml}: services.api.port: expected a whole number, got 'many'",
        f"{shop.toml}: ecs.clutser: unknown key (did you mean 'cluster'?)",
        f"{shop.toml}: ecs.cluster: missing; expected a string",
        f"{shop.toml}: pipelines.dev: there is no step 'image.pull' (did you mean 'image.build'?)",
        f"{shop.env}: AWS_ACCOUNT_ID (aws.account): expected the 12 digits of an AWS account, got '12'",
        f"{shop.task_definition}: containerDefinitions: holds no container 'api', which services.api.container names",
    ):
        assert any(problem.startswith(expected.partition(" (did")[0]) for problem in found), expected
    assert any("LEFT_OVER: unknown key" in problem for problem in found)
    assert len(found) == 7


@pytest.mark.parametrize("text", ["${API_HOST", "x-${API HOST}", "${}", "${API_HOST:-x}"])
def test_what_begins_as_a_reference_and_is_none(shop: Shop, problems: Problems, text: str) -> None:
    shop.replace(shop.toml, 'cluster = "shop-cluster"', f'cluster = "{text}"')
    assert only(problems()).startswith(f"{shop.toml}: ecs.cluster: holds '${{")


def test_an_open_reference_in_a_task_definition(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.task_definition, '"family": "shop-api"', '"family": "${API_HOST"')
    expected = f"{shop.task_definition}: family: holds '${{API_HOST', which is no ${{KEY}}; a plain ${{ is written $${{"
    assert only(problems()) == expected


def test_a_task_definition_that_wants_an_unknown_key(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.task_definition, "${LOG_GROUP}", "${LOG_GRUOP}")
    assert problems()[0] == (
        f"{shop.task_definition}: containerDefinitions[0].logConfiguration.options.awslogs-group:"
        " wants ${LOG_GRUOP}, which dev.env does not hold (did you mean 'LOG_GROUP'?)"
    )


@pytest.mark.parametrize("how", ["missing", "folder", "broken", "binary"])
def test_a_task_definition_that_cannot_be_read_is_the_one_problem(shop: Shop, problems: Problems, how: str) -> None:
    shop.task_definition.unlink()
    if how == "folder":
        shop.task_definition.mkdir()
    elif how != "missing":
        shop.task_definition.write_bytes(b"\xff\xfe" if how == "binary" else b'{"family": ')
    problem = only(problems())
    assert problem.startswith(f"{shop.task_definition}: ")
    assert ("is not valid JSON" in problem) == (how in ("broken", "binary"))


@pytest.mark.parametrize("text", ["[]", "3", '{"containerDefinitions": {}}', '{"containerDefinitions": [1]}', "{}"])
def test_a_task_definition_of_another_shape(shop: Shop, problems: Problems, text: str) -> None:
    shop.task_definition.write_text(text)
    assert f"{shop.task_definition}: containerDefinitions: expected a list of containers" in problems() or (
        text == "{}" and problems()
    )


@pytest.mark.parametrize("name", ["project.toml", "dev.env"])
def test_a_file_that_cannot_be_read(shop: Shop, problems: Problems, name: str) -> None:
    file = shop.root / "shop" / name
    file.write_bytes(b"\xff\xfeA=1")
    assert any(problem.startswith(f"{file}: cannot be read ('utf-8' codec") for problem in problems())
    file.unlink()
    file.mkdir()
    assert any(problem.startswith(f"{file}: cannot be read ([Errno 21]") for problem in problems())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("STATE_BUCKET", "AKIAABCDEFGHIJKLMNOP"),
        ("STATE_BUCKET", "postgres://shop:hunter2@db/shop"),
        ("STATE_BUCKET", "redis://:hunter2@cache:6379"),
        ("STATE_BUCKET", '"-----BEGIN RSA PRIVATE KEY-----"'),
        ("SLACK_WEBHOOK", "https://hooks.slack.com/services/T0/B0/hunter2"),
        ("DB_PASSWORD", "hunter2"),
        ("db_password", "hunter2"),
        ("NPM_TOKEN", "hunter2"),
    ],
)
def test_a_secret_in_env_is_refused_and_not_shown(shop: Shop, problems: Problems, key: str, value: str) -> None:
    text = "\n".join(line for line in ENV.splitlines() if not line.startswith(f"{key}="))
    shop.env.write_text(f"{text}\n{key}={value}\n")
    told = "\n".join(problems())
    assert f"{shop.env}: {key}: holds a secret in the open; keep it in Secrets Manager" in told
    assert "hunter2" not in told


def test_a_secret_that_the_process_puts_in_a_key_s_place(problems: Problems) -> None:
    told = "\n".join(problems({"SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/hunter2"}))
    assert "the process's environment: SLACK_WEBHOOK: holds a secret in the open" in told
    assert "hunter2" not in told


def test_a_secret_in_toml_and_in_a_task_definition(shop: Shop, problems: Problems) -> None:
    shop.replace(shop.toml, 'host = "${API_HOST}"', 'host = "${API_HOST}"\nbuild_arguments = { A = "x://u:hunter2@h" }')
    shop.replace(shop.task_definition, "${VERSION}", "postgres://shop:hunter2@db/shop")
    told = problems()
    assert len(told) == 2
    assert told[0].startswith(f"{shop.toml}: services.api.build_arguments.A: holds a secret in the open")
    assert told[1].startswith(f"{shop.task_definition}: containerDefinitions[0].environment[0].value: holds a secret")
    assert "hunter2" not in str(told)


@pytest.mark.parametrize("value", ["aws-sm:shop/db#password", "env:DB_PASSWORD", "arn:aws:secretsmanager:x", ""])
def test_a_reference_is_no_secret(shop: Shop, loaded: Load, value: str) -> None:
    shop.add(shop.env, f"DB_PASSWORD={value}\n")
    shop.replace(shop.task_definition, "${VERSION}", "${DB_PASSWORD}")
    assert loaded().settings.values["DB_PASSWORD"] == value


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('kind = "ecs"', 'kind = "ec2"', "services.api.kind: expected one of ecs, s3-site, vercel, got 'ec2' (did you"),
        ('kind = "ecs"', "kind = 3", "services.api.kind: expected one of ecs, s3-site, vercel, got 3"),
        ('"git.check",', '"git.check", "git.check",', "pipelines.dev: names the step 'git.check' twice"),
        ('"git.check",', '"git.check", [],', "pipelines.dev: holds an empty list"),
        ('"git.check",', '"git.check", 3,', "pipelines.dev: there is no step '3'"),
        ("dev = [", 'live = ["git.check"]\ndev = [', "pipelines.live: there is no live.env"),
        ("[git]", "project = 'x'\n[git]", "state.project: unknown key"),
        ("[aws]", "folder = 'x'\n[aws]", "folder: is known from the file's place; remove it"),
        ("timeout_s = 60", "minimum_healthy_percent = 200", "rollout: minimum_healthy_percent must be below"),
        ("timeout_s = 60", "timeout_s = -1", "rollout.timeout_s: expected a number from 0 to 86400, got -1"),
        ("timeout_s = 60", "timeout_s = nan", "rollout.timeout_s: expected a number from 0 to 86400, got nan"),
        ("timeout_s = 60", "timeout_s = 2024-01-01", "rollout.timeout_s: expected a number, got datetime.date"),
        ('"shop-alb"', '"shop-alb"\ndefault_service = "web"', "load_balancer.default_service: there is no ECS service"),
        ("port = 8000", "port = 8000\nbuild.checks = [[]]", "services.api.build.checks[0]: names no program to run"),
        ("port = 8000", 'port = 8000\nbuild.checks = ["ls"]', "services.api.build.checks[0]: expected a list, got"),
        (
            "[health]",
            "[cache]\nreplication_group = 'x'\nurl = 'redis://x:1'\n[health]",
            "cache.url: is redis:// while transit_encryption is on",
        ),
    ],
)
def test_meaning_is_checked(shop: Shop, problems: Problems, old: str, new: str, problem: str) -> None:
    shop.replace(shop.toml, old, new)
    assert only(problems()).startswith(f"{shop.toml}: {problem}")


@pytest.mark.parametrize("text", ["", "services = 3", "services = []", "[services]\napi = 1", "pipelines = 1"])
def test_a_toml_of_another_shape_is_told(shop: Shop, problems: Problems, text: str) -> None:
    shop.toml.write_text(text)
    assert len(problems()) > 5
    assert all(problem.startswith((str(shop.toml), str(shop.env))) for problem in problems())


def test_load_all_tells_each_problem_once_and_returns_the_good(shop: Shop) -> None:
    (shop.root / "shop" / "stg.env").write_text(ENV.replace("AWS_REGION=", "AWS_REGOIN="))
    other = write_shop(shop.root / "nested")
    (shop.root / "bad").mkdir()
    (shop.root / "bad" / "project.toml").write_text("x = ")
    for name in ("dev", "prod"):
        (shop.root / "bad" / f"{name}.env").write_text("")
    (shop.root / "empty").mkdir()
    (shop.root / "empty" / "project.toml").write_text(TOML)
    loaded, problems = load_all(shop.root, {})
    assert [(one.settings.project, one.settings.environment) for one in loaded] == [("shop", "dev")]
    assert sum("is not valid TOML" in problem for problem in problems) == 1
    assert f"{shop.root / 'empty'}: no environment has a .env file here" in problems
    assert sum("stg.env" in problem for problem in problems) == 2
    assert other.toml.exists()


def test_load_all_of_nothing_is_a_problem(tmp_path: Path) -> None:
    assert load_all(tmp_path, {}) == ([], [f"{tmp_path}: no project has a project.toml here"])


def test_root_folder_is_that_of_the_process_or_the_repository_s() -> None:
    assert root_folder({"GLI_ENV_FOLDER": "/some/where"}) == Path("/some/where")
    assert root_folder({}).parent / "gli_tasks" == Path(__file__).resolve().parents[2] / "gli_tasks"


@steady
@given(
    st.fixed_dictionaries(
        {key: st.text(st.characters(codec="utf-8", exclude_characters="\x00")) for key in ("AWS_REGION", "API_HOST")}
    )
)
def test_any_process_environment_loads_or_is_told(
    tmp_path_factory: pytest.TempPathFactory, process: dict[str, str]
) -> None:
    root = tmp_path_factory.getbasetemp() / "any-process"
    if not root.exists():
        write_shop(root)
    try:
        one = load(root, "shop", "dev", process)
    except SettingsError as error:
        assert error.problems
    else:
        assert one.settings.aws.region == process["AWS_REGION"]
        assert one.settings.values["API_HOST"] == process["API_HOST"]


def test_the_sample_is_what_it_is_taken_for() -> None:
    assert json.loads(json.dumps(TASK_DEFINITION))["family"] == "shop-api"


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ('["image.push"]', "image.push needs image.build before it"),
        ('[["image.build", "image.push"]]', "image.push needs image.build before it"),
        ('["ecs.update", "ecs.wait"]', "ecs.update needs ecs.register before it"),
        ('["image.build", "image.push", "ecs.register", "ecs.update"]', "ecs.update needs ecs.wait after it"),
    ],
)
def test_a_pipeline_in_an_order_that_cannot_work(shop: Shop, problems: Problems, steps: str, sentence: str) -> None:
    before = next(line for line in shop.toml.read_text().splitlines() if line.startswith("dev = "))
    shop.replace(shop.toml, before, f"dev = {steps}")
    assert any(sentence in problem for problem in problems())


def test_a_folder_of_environments_without_a_project_is_a_problem(shop: Shop) -> None:
    shop.toml.unlink()
    _, problems = load_all(shop.toml.parent.parent, {})
    assert any("project.toml: is missing" in problem for problem in problems)
