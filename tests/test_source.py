"""Real git repositories, in the states that operators leave them in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gli_tasks.errors import CommandFailed, UsageError
from gli_tasks.shell import run
from gli_tasks.source import git, read_source

IDENTITY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def do(folder: Path, *words: str) -> str:
    return run(["git", *words], folder=folder, environment=IDENTITY).output.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "a repository"
    folder.mkdir()
    do(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "a.txt").write_text("a\n")
    (folder / "api").mkdir()
    (folder / "api" / "b.txt").write_text("b\n" * 20)
    do(folder, "add", ".")
    do(folder, "commit", "--quiet", "--message", "feat: 첫 커밋\n\nbody")
    return folder


def test_a_clean_checkout(repository: Path) -> None:
    source = read_source(repository)
    assert source.root == str(repository.resolve())
    assert source.commit == do(repository, "rev-parse", "HEAD")
    assert (source.branch, source.subject, source.changed_files) == ("main", "feat: 첫 커밋", ())
    assert not source.dirty
    assert source.image_tag == source.commit
    assert source.version == source.commit[:12]


def test_changed_new_deleted_and_renamed_files_count_once(repository: Path) -> None:
    (repository / "ab cd.txt").write_text("to be renamed\n" * 20)
    do(repository, "add", ".")
    do(repository, "commit", "--quiet", "--message", "more")
    do(repository, "mv", "ab cd.txt", "new name.txt")
    (repository / "a.txt").write_text("changed\n")
    (repository / "api" / "b.txt").unlink()
    (repository / "한글\nnewline.txt").touch()
    source = read_source(repository)
    assert sorted(source.changed_files) == ["a.txt", "api/b.txt", "new name.txt", "한글\nnewline.txt"]
    assert source.dirty
    assert source.image_tag == f"{source.commit}-dirty"


def test_only_files_below_the_folder_count(repository: Path) -> None:
    (repository / "a.txt").write_text("changed\n")
    assert read_source(repository / "api").changed_files == ()
    (repository / "api" / "b.txt").write_text("changed\n")
    assert read_source(repository / "api").changed_files == ("api/b.txt",)
    assert read_source(repository / "api").root == str(repository.resolve())


def test_ignored_files_do_not_count(repository: Path) -> None:
    (repository / ".gitignore").write_text("dist/\n")
    do(repository, "add", ".")
    do(repository, "commit", "--quiet", "--message", "ignore")
    (repository / "dist").mkdir()
    (repository / "dist" / "x.js").touch()
    assert read_source(repository).changed_files == ()


def test_a_commit_checked_out_without_a_branch(repository: Path) -> None:
    do(repository, "checkout", "--quiet", "--detach")
    assert read_source(repository).branch == ""


def test_warnings_are_no_part_of_the_answer(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TRACE", "1")  # as any warning of git or ssh, this comes on standard error
    source = read_source(repository)
    assert len(source.commit) == 40
    assert source.changed_files == ()


def test_a_folder_that_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="is not a git repository with a commit") as caught:
        read_source(tmp_path)
    assert caught.value.where == str(tmp_path)


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    do(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="is not a git repository with a commit"):
        read_source(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_source(tmp_path / "none")


def test_git_s_failure_shows_its_reason(repository: Path) -> None:
    with pytest.raises(CommandFailed, match="fatal"):
        git(repository, "rev-parse", "--verify", "no-such-branch")
