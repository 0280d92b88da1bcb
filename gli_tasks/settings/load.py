"""Read the files under ``env/``, put them together and check them whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gli_tasks.errors import SettingsError, UsageError
from gli_tasks.settings import interpolation, validation
from gli_tasks.settings.model import SERVICE_KINDS, Service, Settings
from gli_tasks.settings.pipelines import build_pipelines

ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SECRET_KEY = re.compile(r"(PASSWORD|PASSWD|PRIVATE_KEY|SECRET_KEY|SECRET_ACCESS_KEY|API_KEY|TOKEN)$", re.IGNORECASE)
# What a task definition may ask for without the .env file holding it: the release itself knows these.
BUILT_IN_KEYS = ("IMAGE", "VERSION")
# UTF-8, with or without the mark that editors on Windows put in front.
_ENCODING = "utf-8-sig"


@dataclass(frozen=True, slots=True)
class Origin:
    """The keys that a value was made of, the file that holds them, and whether the process overrode one of them."""

    file: str
    keys: tuple[str, ...]
    overridden: bool

    @property
    def source(self) -> str:
        """Return file and keys as the operator reads them."""
        return ", ".join(f"{self.file} {key}" for key in self.keys)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, and for each dotted path where its value came from."""

    settings: Settings
    origins: Mapping[str, Origin]
    overrides: tuple[str, ...]
    absent: tuple[str, ...]


def projects(root: Path) -> tuple[str, ...]:
    """Return the names of all projects that have settings."""
    return tuple(sorted(path.parent.name for path in root.glob("*/project.toml")))


def environments(root: Path, project: str) -> tuple[str, ...]:
    """Return the names of a project's environments, the order being dev, stg, prod and then any other by name."""
    order = {"dev": 0, "stg": 1, "prod": 2}
    found = [path.stem for path in (root / project).glob("*.env") if ENVIRONMENT_NAME.fullmatch(path.stem)]
    return tuple(sorted(found, key=lambda name: (order.get(name, 3), name)))


def load(root: Path, project: str, environment: str, process: Mapping[str, str]) -> LoadedSettings:
    """Return the settings of one environment.

    ``process`` is the process's environment, whose variables override keys of the same name in the ``.env`` file.
    Raises UsageError for an unknown project or environment, SettingsError with every problem found.
    """
    _require_known("project", project, projects(root), root)
    _require_known("environment", environment, environments(root, project), root / project)
    problems: list[str] = []
    loaded = _load(root, project, environment, process, problems)
    if problems or loaded is None:
        raise SettingsError(problems)
    return loaded


def load_all(root: Path, process: Mapping[str, str]) -> tuple[list[LoadedSettings], list[str]]:
    """Return the settings of every project and environment that could be loaded, and every problem of the rest."""
    loaded: list[LoadedSettings] = []
    problems: list[str] = []
    if not projects(root):
        problems.append(f"{root}: no project has a project.toml here")
    for folder in sorted({file.parent for file in root.glob("*/*.env")} - {root / name for name in projects(root)}):
        problems.append(f"{folder / 'project.toml'}: is missing, and {folder} holds environments")
    for project in projects(root):
        names = environments(root, project)
        if not names:
            problems.append(f"{root / project}: no environment has a .env file here")
        for environment in names:
            found: list[str] = []
            one = _load(root, project, environment, process, found)
            problems.extend(problem for problem in found if problem not in problems)
            if one is not None and not found:
                loaded.append(one)
    return loaded, problems


def _require_known(what: str, name: str, known: Sequence[str], where: Path) -> None:
    if name not in known:
        names = ", ".join(known) or "none"
        raise UsageError(
            f"there is no {what} {name!r}{validation.nearest(name, known)}",
            where=str(where),
            remedy=f"name one of: {names}",
        )


def _load(
    root: Path, project: str, environment: str, process: Mapping[str, str], problems: list[str]
) -> LoadedSettings | None:
    toml_file, env_file = root / project / "project.toml", root / project / f"{environment}.env"
    table = _read_toml(toml_file, problems)
    file_values = _read_env(env_file, problems)
    if table is None:
        return None
    values = {key: process.get(key, value) for key, value in file_values.items()}
    overrides = tuple(key for key, value in file_values.items() if process.get(key, value) != value)
    for key in overrides:
        _check_secret(f"the process's environment: {key}", key, values[key], problems)
    _check_secrets_in_tree(table, toml_file, problems)
    unfilled: set[str] = set()

    def missing(path: str, key: str) -> None:
        unfilled.add(path)
        problems.append(f"{toml_file}: {path}: {_missing(key, values, env_file)}")

    keys_of: dict[str, tuple[str, ...]] = {}
    filled = interpolation.fill_tree(table, values, missing, keys_of)

    def report(path: str, sentence: str) -> None:
        if path in unfilled:
            return  # It is wrong because a key is missing, and that was said.
        keys = keys_of.get(path, ())
        overriding = [key for key in keys if key in overrides]
        source = "the process's environment" if overriding else str(env_file)
        where = f"{source}: {', '.join(overriding or keys)} ({path})" if keys else f"{toml_file}: {path}"
        problems.append(f"{where}: {sentence}")

    settings = _build(filled, toml_file.parent, project, environment, values, report)
    used = {key for keys in keys_of.values() for key in keys}
    used_in_definitions = _check_task_definitions(filled, toml_file.parent, values, env_file, problems)
    if used_in_definitions is not None:
        _check_unused(file_values, used | used_in_definitions, env_file, problems)
    if settings is None:
        return None
    _check_meaning(settings, toml_file, problems)
    origins = {
        path: Origin(env_file.name, keys, any(key in overrides for key in keys)) for path, keys in keys_of.items()
    }
    absent = tuple(
        f"{path} ({', '.join(keys_of[path])} in {env_file})" if path in keys_of else path
        for path in validation.absent_names(settings)
    )
    return LoadedSettings(settings, origins, overrides, absent)


def _missing(key: str, values: Mapping[str, str], env_file: Path) -> str:
    sentence = interpolation.wants(key)
    if key.startswith("$"):
        return sentence
    return f"{sentence}, which {env_file.name} does not hold{validation.nearest(key, values)}"


def _read_toml(file: Path, problems: list[str]) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding=_ENCODING))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read ({error})")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{file}: is not valid TOML: {error}")
    return None


def _read_env(file: Path, problems: list[str]) -> dict[str, str]:
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    try:
        with file.open(encoding=_ENCODING) as stream:
            # dotenv's own interpolation stays off: a value must not depend on the order of lines or on the process.
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read ({error})")
        return values
    for binding in bindings:
        text = binding.original.string
        # dotenv counts the empty lines before a line as part of it.
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            # The line is not shown: it may hold a secret.
            problems.append(f"{file}: line {line} is not KEY=VALUE; look for an open quote or a space in the key")
        elif binding.key is not None:
            if binding.key in values:
                problems.append(f"{file}: {binding.key}: set a second time in line {line}; keep one")
            if binding.value is None:
                problems.append(f"{file}: {binding.key}: line {line} has no '='; expected KEY=VALUE")
            values[binding.key] = binding.value or ""
            _check_secret(f"{file}: {binding.key}", binding.key, values[binding.key], problems)
    return values


def _check_secret(where: str, key: str, value: str, problems: list[str]) -> None:
    if validation.SECRET_VALUE.search(value) or (
        _SECRET_KEY.search(key) and value and not value.startswith(("aws-sm:", "env:", "arn:"))
    ):
        problems.append(
            f"{where}: holds a secret in the open; keep it in Secrets Manager and write a reference,"
            " aws-sm:<name>#<field>"
        )


def _check_secrets_in_tree(data: Any, file: Path, problems: list[str], path: str = "") -> None:
    """Report every string of a TOML or JSON file that looks like a secret."""
    if isinstance(data, str) and validation.SECRET_VALUE.search(data):
        _check_secret(f"{file}: {path}", "", data, problems)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            _check_secrets_in_tree(value, file, problems, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            _check_secrets_in_tree(value, file, problems, f"{path}[{index}]")


def _build(
    filled: dict[str, Any],
    folder: Path,
    project: str,
    environment: str,
    values: Mapping[str, str],
    report: validation.Report,
) -> Settings | None:
    count = 0

    def counted(path: str, sentence: str) -> None:
        nonlocal count
        count += 1
        report(path, sentence)

    data = dict(filled)
    services = _build_services(data.pop("services", {}), counted)
    pipelines = build_pipelines(data.pop("pipelines", {}), counted)
    for name in ("project", "environment", "folder", "values"):
        if name in data:
            counted(name, "is known from the file's place; remove it")
    data |= {"project": project, "environment": environment, "folder": str(folder), "services": {}, "pipelines": {}}
    data |= {"values": {}}
    settings: Settings | None = validation.build(Settings, data, "", counted)
    if settings is None or count:
        return None
    here = {name: replace(service, source=(folder / service.source).resolve()) for name, service in services.items()}
    return replace(settings, services=here, pipelines=pipelines, values=dict(values))


def _build_services(data: Any, report: validation.Report) -> dict[str, Service]:
    services: dict[str, Service] = {}
    if not isinstance(data, Mapping) or not data:
        report("services", "expected at least one [services.<name>] table")
        return services
    for name, table in data.items():
        kind = table.get("kind") if isinstance(table, Mapping) else None
        if not isinstance(kind, str) or kind not in SERVICE_KINDS:
            hint = validation.nearest(str(kind), SERVICE_KINDS)
            report(f"services.{name}.kind", f"expected one of {', '.join(SERVICE_KINDS)}, got {kind!r}{hint}")
            continue
        services[name] = validation.build(SERVICE_KINDS[kind], table, f"services.{name}", report)
    return services


def _check_task_definitions(
    table: Mapping[str, Any], folder: Path, values: Mapping[str, str], env_file: Path, problems: list[str]
) -> set[str] | None:
    """Return the keys that the task definitions use, or None where one of them could not be read."""
    used: set[str] = set()
    complete = True
    services = table.get("services")
    for name, service in services.items() if isinstance(services, Mapping) else ():
        named = service.get("task_definition") if isinstance(service, Mapping) else None
        if not isinstance(named, str):
            complete = complete and isinstance(service, Mapping) and service.get("kind") in ("s3-site", "vercel")
            continue
        file = folder / named
        try:
            definition = json.loads(file.read_text(encoding=_ENCODING))
        except OSError as error:
            complete = False
            problems.append(f"{file}: cannot be read ({error.strerror}); services.{name}.task_definition names it")
            continue
        except ValueError as error:
            complete = False
            problems.append(f"{file}: is not valid JSON: {error}")
            continue
        keys, missing = _keys_in_definition(definition, values)
        used |= keys
        problems.extend(f"{file}: {path}: {_missing(key, values, env_file)}" for key, path in missing.items())
        _check_secrets_in_tree(definition, file, problems)
        problem = _container_problem(definition, name, str(service.get("container")))
        if problem:
            problems.append(f"{file}: containerDefinitions: {problem}")
    return used if complete else None


def _keys_in_definition(definition: Any, values: Mapping[str, str]) -> tuple[set[str], dict[str, str]]:
    """Return the keys that a task definition uses, and of the missing ones where each is wanted first."""
    keys_of: dict[str, tuple[str, ...]] = {}
    missing: dict[str, str] = {}
    known = {**values, **dict.fromkeys(BUILT_IN_KEYS, "")}

    def note(path: str, key: str) -> None:
        missing.setdefault(key, path)

    interpolation.fill_tree(definition, known, note, keys_of)
    return {key for keys in keys_of.values() for key in keys}, missing


def _container_problem(definition: Any, service: str, container: str) -> str:
    containers = definition.get("containerDefinitions") if isinstance(definition, dict) else None
    if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
        return "expected a list of containers"
    names = [str(one.get("name")) for one in containers]
    if container in names:
        return ""
    hint = validation.nearest(container, names)
    return f"holds no container {container!r}, which services.{service}.container names{hint}"


def _check_unused(values: Mapping[str, str], used: set[str], env_file: Path, problems: list[str]) -> None:
    for key in values:
        if key not in used:
            hint = validation.nearest(key, used - set(values) or used)
            problems.append(f"{env_file}: {key}: unknown key; neither project.toml nor a task definition uses it{hint}")


def _check_meaning(settings: Settings, toml_file: Path, problems: list[str]) -> None:
    known = environments(settings.folder.parent, settings.project)
    for environment in settings.pipelines:
        if environment not in known:
            hint = validation.nearest(environment, known)
            problems.append(f"{toml_file}: pipelines.{environment}: there is no {environment}.env{hint}")
    default = settings.load_balancer.default_service
    if default and default not in settings.ecs_services:
        hint = validation.nearest(default, settings.ecs_services)
        problems.append(f"{toml_file}: load_balancer.default_service: there is no ECS service {default!r}{hint}")
    names = [check.name for check in settings.health.checks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{toml_file}: health.checks: two checks are called {name!r}; name them apart")
    cache = settings.cache
    if cache is not None and cache.transit_encryption and cache.url.startswith("redis://"):
        problems.append(
            f"{toml_file}: cache.url: is redis:// while transit_encryption is on, which refuses it; write rediss://"
        )
    rollout = settings.rollout
    if rollout.minimum_healthy_percent >= rollout.maximum_percent:
        problems.append(
            f"{toml_file}: rollout: minimum_healthy_percent must be below maximum_percent, or no task can be replaced"
        )
    for name, service in settings.services.items():
        for index, argv in enumerate(service.build.checks):
            if not argv or not argv[0]:
                problems.append(f"{toml_file}: services.{name}.build.checks[{index}]: names no program to run")
        for key, value in service.build.environment.items():
            if validation.SECRET_VALUE.search(value):
                problems.append(
                    f"{toml_file}: services.{name}.build.environment.{key}: a front end shows this to everyone;"
                    " it must not hold a secret"
                )


def root_folder(process: Mapping[str, str] | None = None) -> Path:
    """Return the folder that holds all projects' settings: ``GLI_ENV_FOLDER``, else ``env/`` beside ``tasks.py``."""
    named = (os.environ if process is None else process).get("GLI_ENV_FOLDER")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "env"
