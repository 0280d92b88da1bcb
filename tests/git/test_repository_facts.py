"""What is known of a checkout and its remote, and what keeps it from being released."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gli_tasks.errors import CommandFailed, UsageError
from gli_tasks.git.plan import RepositoryFacts, findings, tag_name
from gli_tasks.git.repository import read_repository
from gli_tasks.source import Source, read_source
from tests.git.git_parts import Repository


def found(repository: Repository, branch: str = "main", *prefixes: str) -> tuple[str, ...]:
    return findings(read_repository(repository.folder, "origin", branch), branch, "origin", prefixes)


def test_a_clean_pushed_checkout_may_be_released(repository: Repository) -> None:
    facts = read_repository(repository.folder, "origin", "main")
    assert facts.remote_commit == facts.source.commit == repository.git("rev-parse", "HEAD")
    assert facts.source.branch == "main"
    assert found(repository) == ()


@pytest.mark.parametrize("name", ["app.py", "new.py", "a name with spaces.py", "한글.py"])
def test_a_changed_or_new_file_is_named(repository: Repository, name: str) -> None:
    (repository.folder / name).write_text("changed")
    (sentence,) = found(repository)
    assert name in sentence
    assert "commit or stash" in sentence


def test_many_changed_files_are_counted_and_not_all_named(repository: Repository) -> None:
    for number in range(8):
        (repository.folder / f"file{number}.py").write_text("new")
    (sentence,) = found(repository)
    assert sentence.startswith("8 files differ")
    assert "file4.py, ..." in sentence
    assert "file5.py" not in sentence


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
def test_a_file_that_git_was_told_not_to_look_at_is_named(repository: Repository, flag: str) -> None:
    repository.git("update-index", flag, "app.py")
    (repository.folder / "app.py").write_text("not in the commit")
    (sentence,) = found(repository)
    assert sentence.startswith("git was told not to look at 1 files (app.py); undo it: `git update-index --no-")
    assert read_repository(repository.folder, "origin", "main").source.image_tag.endswith("-dirty")
    repository.git("update-index", flag.replace("--", "--no-"), "app.py")
    (sentence,) = found(repository)
    assert "1 files differ from the commit (app.py)" in sentence


def test_a_sparse_checkout_is_found_where_it_leaves_files_of_the_service_out(repository: Repository) -> None:
    for name in ("api/app.py", "api/deep/app.py", "web/app.py"):
        repository.commit(name)
    repository.git("push", "--quiet", "origin", "main")
    repository.git("sparse-checkout", "set", "--no-cone", "/*", "!web")
    assert read_source(repository.folder).unwatched_files == ("web/app.py",)
    assert read_source(repository.folder / "api").unwatched_files == ()
    repository.git("sparse-checkout", "set", "--no-cone", "/*", "!deep")
    assert read_source(repository.folder / "api").unwatched_files == ("api/deep/app.py",)
    (sentence,) = found(repository)
    assert "(api/deep/app.py)" in sentence


def test_what_git_ignores_is_no_change(repository: Repository) -> None:
    repository.commit(".gitignore")
    (repository.folder / ".gitignore").write_text(".env.production\n")
    repository.git("commit", "--quiet", "--all", "--message", "chore: ignore")
    repository.git("push", "--quiet", "origin", "main")
    (repository.folder / ".env.production").write_text("VITE_URL=x")
    assert found(repository) == ()


def test_a_commit_that_was_not_pushed_is_found(repository: Repository) -> None:
    before = repository.on_remote("main")
    now = repository.commit("more.py")
    (sentence,) = found(repository)
    assert now[:12] in sentence
    assert before[:12] in sentence


def test_a_checkout_behind_its_remote_is_found(repository: Repository) -> None:
    repository.commit("more.py")
    repository.git("push", "--quiet", "origin", "main")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    (sentence,) = found(repository)
    assert "pull or push" in sentence


def test_another_branch_is_found_though_its_commit_is_the_same(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "try")
    (sentence,) = found(repository)
    assert "'try'" in sentence
    assert "'main'" in sentence


def test_a_commit_without_a_branch_is_what_ci_checks_out(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--detach")
    assert read_repository(repository.folder, "origin", "main").source.branch == ""
    assert found(repository) == ()
    repository.commit("more.py")
    assert len(found(repository)) == 1


def test_a_remote_without_the_branch_says_so(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "release")
    (sentence,) = found(repository, "release")
    assert sentence == "origin has no branch 'release'; push it"


def test_only_the_branch_of_exactly_that_name_counts(repository: Repository) -> None:
    """``ls-remote`` matches a pattern at the end of names, and these sort before the branch that is meant."""
    old = repository.git("rev-parse", "HEAD")
    repository.git("push", "--quiet", "origin", f"{old}:refs/heads/archive/refs/heads/main")
    new = repository.commit("more.py")
    repository.git("push", "--quiet", "origin", "main")
    assert read_repository(repository.folder, "origin", "main").remote_commit == new
    assert found(repository) == ()


def test_what_the_transport_prints_is_not_taken_for_a_commit(repository: Repository, tmp_path: Path) -> None:
    """ssh says on standard error that it met a new host, and both streams come as one."""
    program = tmp_path / "upload-pack"
    program.write_text(
        "#!/bin/sh\necho \"Warning: Permanently added 'git.example.com' (ED25519) to the list of known hosts.\" >&2\n"
        'exec git-upload-pack "$@"\n'
    )
    program.chmod(0o755)
    repository.git("config", "remote.origin.uploadpack", str(program))
    assert found(repository) == ()
    assert read_repository(repository.folder, "origin", "absent").remote_commit == ""


def test_the_subject_must_begin_with_one_of_the_prefixes(repository: Repository) -> None:
    assert found(repository, "main", "fix:", "feat:") == ()
    (sentence,) = found(repository, "main", "fix:", "release:")
    assert "fix:, release:" in sentence
    assert "'feat: begin'" in sentence


def test_everything_wrong_is_said_at_once() -> None:
    source = Source("/r", "a" * 40, "try", "wip", ("x.py",), ("y.py",))
    assert len(findings(RepositoryFacts(source, "b" * 40), "main", "origin", ("feat:",))) == 5


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository") as caught:
        read_repository(tmp_path, "origin", "main")
    assert caught.value.where == str(tmp_path)


def test_a_repository_without_a_commit_is_refused(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--orphan", "empty")
    with pytest.raises(UsageError, match="with a commit"):
        read_repository(repository.folder, "origin", "main")


def test_a_remote_that_is_not_there_fails_with_what_git_says(repository: Repository) -> None:
    repository.git("remote", "set-url", "origin", str(repository.remote) + "-gone")
    with pytest.raises(CommandFailed, match="does not appear to be a git repository"):
        read_repository(repository.folder, "origin", "main")
    with pytest.raises(CommandFailed):
        read_repository(repository.folder, "upstream", "main")


def test_a_folder_below_the_root_is_judged_alone(repository: Repository) -> None:
    repository.commit("api/app.py")
    repository.git("push", "--quiet", "origin", "main")
    (repository.folder / "web.py").write_text("of another service")
    facts = read_repository(repository.folder / "api", "origin", "main")
    assert findings(facts, "main", "origin") == ()
    assert facts.source.root == str(repository.folder)


def test_tags_are_named_by_the_moment_in_utc() -> None:
    assert tag_name("deploy-", datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)) == "deploy-20260301-040506"
