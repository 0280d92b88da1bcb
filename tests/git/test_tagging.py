"""Tags: made once, pushed, read back, and never moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from gli_tasks.errors import CommandFailed
from gli_tasks.git.repository import remote_tag, tag_commit, untag_commit
from gli_tasks.source import read_source
from tests.git.git_parts import Repository


def tag(repository: Repository, commit: str, name: str = "deploy-1") -> None:
    tag_commit(repository.folder, "origin", name, commit, "release 1")


def test_a_tag_is_annotated_and_on_the_remote(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    tag(repository, commit)
    assert repository.on_remote("deploy-1^{commit}") == commit
    assert repository.git("cat-file", "-t", "deploy-1") == "tag"
    assert repository.git("for-each-ref", "--format=%(taggername) %(subject)", "refs/tags") == "gli-tasks release 1"
    assert remote_tag(repository.folder, "origin", "deploy-1") == commit


def test_the_tagger_is_who_git_knows(repository: Repository) -> None:
    repository.git("config", "user.email", "lee@example.com")
    repository.git("config", "user.name", "Lee")
    tag(repository, repository.git("rev-parse", "HEAD"))
    assert repository.git("for-each-ref", "--format=%(taggername)", "refs/tags") == "Lee"


def test_the_same_tag_again_changes_nothing(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    tag(repository, commit)
    object_before = repository.on_remote("deploy-1")
    tag(repository, commit)
    assert repository.on_remote("deploy-1") == object_before


def test_a_tag_that_only_the_checkout_has_is_pushed_as_it_should_be(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "deploy-1", first)
    second = repository.commit("more.py")
    tag(repository, second)
    assert repository.on_remote("deploy-1^{commit}") == second


@pytest.mark.parametrize("kind", [[], ["--annotate", "--message", "theirs"]], ids=["light", "annotated"])
def test_a_tag_at_another_commit_is_never_moved(repository: Repository, kind: list[str]) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", *kind, "deploy-1", first)
    repository.git("push", "--quiet", "origin", "deploy-1")
    second = repository.commit("more.py")
    with pytest.raises(CommandFailed, match=f"is at {first[:12]} on origin already, and this release is {second[:12]}"):
        tag(repository, second)
    assert repository.on_remote("deploy-1^{commit}") == first


def test_a_tag_whose_name_only_ends_the_same_is_another(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("push", "--quiet", "origin", f"{first}:refs/tags/old/refs/tags/deploy-1")
    assert remote_tag(repository.folder, "origin", "deploy-1") == ""
    second = repository.commit("more.py")
    tag(repository, second)
    assert remote_tag(repository.folder, "origin", "deploy-1") == second


def test_a_push_that_the_remote_declines_fails_with_its_words(repository: Repository) -> None:
    hook = repository.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho tags are frozen today\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(CommandFailed, match="tags are frozen today"):
        tag(repository, repository.git("rev-parse", "HEAD"))


def test_a_remote_that_takes_the_push_and_drops_the_tag_is_not_believed(repository: Repository) -> None:
    hook = repository.remote / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\ngit update-ref -d refs/tags/deploy-1\n")
    hook.chmod(0o755)
    with pytest.raises(CommandFailed, match="does not show the tag deploy-1 after the push"):
        tag(repository, repository.git("rev-parse", "HEAD"))


def test_a_commit_that_is_not_there_is_refused_by_git(repository: Repository) -> None:
    with pytest.raises(CommandFailed):
        tag(repository, "0" * 40)
    assert remote_tag(repository.folder, "origin", "deploy-1") == ""


def test_a_tag_is_taken_away_again(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    tag(repository, commit)
    assert untag_commit(repository.folder, "origin", "deploy-1", commit) is True
    assert remote_tag(repository.folder, "origin", "deploy-1") == ""
    assert repository.git("tag", "--list") == ""
    assert untag_commit(repository.folder, "origin", "deploy-1", commit) is False


def test_the_tag_of_another_commit_stays(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    tag(repository, first)
    second = repository.commit("other")
    assert untag_commit(repository.folder, "origin", "deploy-1", second) is False
    assert remote_tag(repository.folder, "origin", "deploy-1") == first


def test_a_foreign_repository_in_the_environment_is_not_ours(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "foreign"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert read_source(repository.folder).root == str(repository.folder)


def test_a_tag_is_taken_away_from_a_checkout_that_never_had_it(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    tag(repository, commit)
    repository.git("tag", "--delete", "deploy-1")
    assert untag_commit(repository.folder, "origin", "deploy-1", commit) is True
    assert remote_tag(repository.folder, "origin", "deploy-1") == ""
