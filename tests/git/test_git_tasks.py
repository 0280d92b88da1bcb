"""The tasks of `git`, as an operator runs them, on a real checkout with a bare remote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.floor_parts import TOML, invoke, write_shop
from tests.git.git_parts import Repository


class Desk:
    """An operator's desk: the settings of a shop, whose one service's source is the checkout."""

    def __init__(self, root: Path, repository: Repository) -> None:
        self.repository = repository
        self._root = root / "env"
        shop = write_shop(self._root)
        shop.toml.write_text(TOML.replace('"../source"', f'"{repository.folder}"'))

    def run(self, *words: str, code: int = 0) -> Any:
        done = invoke(*words, "-p", "shop", root=self._root)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def would(self, *words: str) -> list[str]:
        return list(json.loads(self.run("git.tag", *words, "--plan", "--json").stdout)["would"])


@pytest.fixture
def desk(tmp_path: Path, repository: Repository) -> Desk:
    return Desk(tmp_path, repository)


def test_a_tag_is_planned_and_made(desk: Desk) -> None:
    repository = desk.repository
    commit = repository.git("rev-parse", "HEAD")
    sentence = f"{commit[:12]} of {repository.folder} would be tagged v1 on origin"
    assert desk.would("--name", "v1") == [sentence]
    assert desk.run("git.tag", "--name", "v1", "--plan").stdout == f"would change:\n  - {sentence}\n"
    assert repository.git("ls-remote", "--tags", "origin") == repository.git("tag", "--list") == ""
    assert "nobody is here to confirm" in desk.run("git.tag", "--name", "v1", code=2).stderr
    assert desk.run("git.tag", "--name", "v1", "--yes").stdout == f"v1  {commit[:12]}  {repository.folder}\n"
    assert repository.on_remote("v1^{commit}") == commit
    assert desk.would("--name", "v1") == []
    again = desk.run("git.tag", "--name", "v1", "--yes", "--json")
    assert json.loads(again.stdout) == {"tag": "v1", "commits": {str(repository.folder): commit}}


def test_a_plan_says_what_the_tag_would_be_refused_for(desk: Desk) -> None:
    desk.run("git.tag", "--name", "v1", "--yes")
    commit = desk.repository.commit("more.py")
    unpushed = desk.run("git.tag", "--name", "v1", "--plan", code=2).stderr
    assert f"is at {commit[:12]}, which is not the head of origin/main" in unpushed
    desk.repository.git("push", "--quiet", "origin", "main")
    taken = desk.run("git.tag", "--name", "v1", "--plan", code=1).stderr
    assert f"on origin already, and this release is {commit[:12]}" in taken
    assert "give --name" in desk.run("git.tag", "--plan", code=2).stderr


def test_a_check_names_what_git_was_told_not_to_look_at(desk: Desk) -> None:
    assert desk.run("git.check").stdout.startswith("OK  api: ")
    desk.repository.git("update-index", "--skip-worktree", "app.py")
    refused = desk.run("git.check", code=2)
    assert "git was told not to look at 1 files (app.py)" in refused.stdout
    assert "not ready to be released: api" in refused.stderr
