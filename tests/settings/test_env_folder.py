"""The settings that the repository ships: all load, and hold what a release counts on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gli_tasks.settings import environments, load, load_all, projects
from gli_tasks.settings.load import BUILT_IN_KEYS
from gli_tasks.settings.validation import SECRET_VALUE
from tests.floor_parts import REPOSITORY

ROOT = REPOSITORY / "env"
ALL = [(project, environment) for project in projects(ROOT) for environment in environments(ROOT, project)]


def test_the_projects_and_environments_are_those_of_the_design() -> None:
    assert ALL == [("gli", "dev"), ("gli", "stg"), ("gli", "prod"), ("greenflow", "stg"), ("greenflow", "prod")]


def test_there_is_no_problem() -> None:
    loaded, problems = load_all(ROOT, {})
    assert problems == []
    assert len(loaded) == len(ALL)


@pytest.mark.parametrize(("project", "environment"), ALL)
def test_every_environment_has_a_pipeline_and_health_checks(project: str, environment: str) -> None:
    settings = load(ROOT, project, environment, {}).settings
    assert settings.pipeline
    assert settings.health.checks
    assert settings.aws.region == {"gli": "ap-northeast-2", "greenflow": "us-east-1"}[project]
    hosts = [service.host for service in settings.services.values()]
    assert len(set(hosts)) == len(hosts)
    assert all(any(host in check.url for check in settings.health.checks) for host in hosts)


@pytest.mark.parametrize(("project", "environment"), ALL)
def test_images_are_named_by_the_release_alone(project: str, environment: str) -> None:
    settings = load(ROOT, project, environment, {}).settings
    for service in settings.ecs_services.values():
        definition = json.loads((settings.folder / service.task_definition).read_text(encoding="utf-8"))
        container = next(one for one in definition["containerDefinitions"] if one["name"] == service.container)
        assert container["image"] == f"${{{BUILT_IN_KEYS[0]}}}"
        assert any(port["containerPort"] == service.port for port in container["portMappings"])


def test_only_what_is_known_to_be_missing_is_absent() -> None:
    absent = {names: {one.partition(" ")[0] for one in load(ROOT, *names, {}).absent} for names in ALL}
    assert absent[("gli", "stg")] == absent[("gli", "prod")] == set()
    assert absent[("greenflow", "stg")] == absent[("greenflow", "prod")] == {"aws.account", "registry.host"}
    assert {"state.bucket", "load_balancer.name", "services.api.repository"} <= absent[("gli", "dev")]


def test_production_and_staging_share_no_name_but_the_known() -> None:
    stg, prod = (load(ROOT, "gli", name, {}).settings.values for name in ("stg", "prod"))
    same = {key for key in stg if stg[key] and stg[key] == prod.get(key)}
    assert not {
        key for key in same if key.endswith(("BUCKET", "SERVICE", "REPOSITORY", "HOST", "DISTRIBUTION", "SECRET"))
    }


@pytest.mark.parametrize("file", sorted(path for path in ROOT.rglob("*") if path.is_file()), ids=str)
def test_no_file_holds_a_secret(file: Path) -> None:
    assert not SECRET_VALUE.search(file.read_text(encoding="utf-8"))
