"""`config.show` and `config.check`, run as an operator runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.floor_parts import REPOSITORY, Shop, clean_process_environment, invoke

pytest_plugins = ["tests.floor_fixtures"]


def test_show_prints_each_value_with_where_it_came_from(shop: Shop) -> None:
    shop.add(shop.env, "JWT_SECRET=abc/Def\n")
    shop.replace(shop.task_definition, "${VERSION}", "${JWT_SECRET}")
    done = invoke("config.show", "-p", "shop", root=shop.root, variables={"API_HOST": "other.example.com"})
    assert (done.returncode, done.stderr) == (0, "")
    rows = [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in done.stdout.splitlines()]
    assert ["shop dev"] in rows
    overridden = "(overridden by the process's environment)"
    assert ["services.api.host", "other.example.com", f"dev.env API_HOST {overridden}"] in rows
    assert ["values.API_HOST", "other.example.com", f"dev.env {overridden}"] in rows
    assert ["ecs.cluster", "shop-cluster", "project.toml or default"] in rows
    assert ["values.JWT_SECRET", "********", "dev.env"] in rows
    assert ["pipelines.dev", "git.check · build.check + image.build · image.push", "project.toml or default"] in rows
    assert ["notify.slack_webhook", "aws-sm:shop/slack#webhook", "dev.env SLACK_WEBHOOK"] in rows


def test_show_as_json(shop: Shop) -> None:
    done = invoke("config.show", "-p", "shop", "--json", root=shop.root)
    answer = json.loads(done.stdout)
    assert answer["aws.account"] == {"value": "123456789012", "from": "dev.env AWS_ACCOUNT_ID"}
    assert answer["services.api.port"]["value"] == "8000"
    assert "values.LOG_GROUP" in answer


def test_show_takes_project_and_environment_from_the_process(shop: Shop) -> None:
    (shop.root / "shop" / "qa.env").write_text(shop.env.read_text())
    done = invoke("config.show", root=shop.root, variables={"GLI_PROJECT": "shop", "GLI_ENV": "qa"})
    assert "shop qa" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-p", "shpo"), "there is no project 'shpo' (did you mean 'shop'?)\n  next: name one of: shop"),
        (("-p", "shop", "-e", "dve"), "there is no environment 'dve' (did you mean 'dev'?)\n  next: name one of: dev"),
    ],
)
def test_show_of_what_does_not_exist(shop: Shop, words: tuple[str, ...], sentence: str) -> None:
    done = invoke("config.show", *words, root=shop.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_show_of_broken_settings_lists_every_problem(shop: Shop) -> None:
    shop.replace(shop.toml, "port = 8000", "port = 0")
    shop.add(shop.env, "LEFT_OVER=1\n")
    done = invoke("config.show", "-p", "shop", root=shop.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 2 problems in the settings:\n  - ")


def test_check_of_good_settings_names_what_is_absent_and_overridden(shop: Shop) -> None:
    shop.replace(shop.env, "STATE_BUCKET=shop-state", "STATE_BUCKET=")
    done = invoke("config.check", root=shop.root, variables={"API_HOST": "other.example.com"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "OK  shop dev: 1 services, 4 steps\n"
        f"      absent: state.bucket (STATE_BUCKET in {shop.env})\n"
        "      overridden by the process's environment: API_HOST\n"
    )


def test_check_shows_the_good_and_every_problem_of_the_rest(shop: Shop) -> None:
    (shop.root / "shop" / "stg.env").write_text(shop.env.read_text().replace("API_HOST=", "API_HOTS="))
    done = invoke("config.check", root=shop.root)
    assert done.returncode == 2
    assert done.stdout.startswith("OK  shop dev")
    assert "3 problems in the settings" in done.stderr
    assert "(did you mean 'API_HOTS'?)" in done.stderr
    answer = json.loads(invoke("config.check", "--json", root=shop.root).stdout)
    assert answer["good"] == ["shop/dev"]
    assert len(answer["problems"]) == 3
    assert answer["absent"] == {}


def test_check_as_json_has_the_same_exit_code(shop: Shop) -> None:
    shop.toml.write_text("x = ")
    done = invoke("config.check", "--json", root=shop.root)
    assert (done.returncode, done.stderr) == (2, "")
    assert len(json.loads(done.stdout)["problems"]) == 1


def test_a_folder_without_settings_is_a_problem(shop: Shop) -> None:
    done = invoke("config.check", root=shop.root / "none")
    assert done.returncode == 2
    assert "no project has a project.toml here" in done.stderr


def test_the_repository_s_own_settings_are_good() -> None:
    done = invoke("config.check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("OK  ") == 5


def test_a_reader_that_takes_one_line_is_no_failure() -> None:
    script = f"set -o pipefail; {sys.executable} -m invoke config.show -e prod | head -1"
    environment = clean_process_environment()
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "gli prod")


def test_a_terminal_without_utf_8_is_no_failure(shop: Shop) -> None:
    done = invoke("config.show", "-p", "shop", root=shop.root, variables={"LC_ALL": "C", "LANG": "C"})
    assert (done.returncode, done.stderr) == (0, "")
