"""The steps on the sources: `git.check`, `build.env`, `build.check` and `git.tag`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from gli_tasks.build.check import run_checks
from gli_tasks.build.environment import write_environment
from gli_tasks.errors import Refused
from gli_tasks.git.plan import findings, tag_name
from gli_tasks.git.repository import read_repository, tag_commit, untag_commit
from gli_tasks.release.run import Run
from gli_tasks.release.steps.step import Foreseen
from gli_tasks.settings.model import Service
from gli_tasks.source import Source, read_source


def git_check(run: Run) -> str:
    """Make sure that every source is clean and at the head of the released branch. Raises Refused."""
    found = _git_findings(run)
    if found:
        raise Refused(
            "the sources are not ready to be released:\n" + "\n".join(f"  - {sentence}" for sentence in found),
            remedy="mend what is named above",
        )
    return _commits(run)


def git_check_foreseen(run: Run) -> Foreseen:
    """Say which commits would be released, and what keeps them from it."""
    found = _git_findings(run)
    return Foreseen(_commits(run), obstacles=tuple(found))


def _git_findings(run: Run) -> list[str]:
    git = run.settings.git

    def check(name: str, service: Service) -> tuple[str, ...]:
        facts = read_repository(service.source, git.remote, git.branch)
        note_source(run, name, facts.source)
        found = findings(facts, git.branch, git.remote, git.subject_prefixes)
        return tuple(f"{name} ({service.source}) {sentence}" for sentence in found)

    return [sentence for sentences in run.each(run.settings.services, check).values() for sentence in sentences]


def _commits(run: Run) -> str:
    return ", ".join(f"{name} {run.service(name).commit[:12]}" for name in run.settings.services)


def build_env(run: Run) -> str:
    """Write the environment file of each front end."""
    written = []
    for name, service in _with_environment(run).items():
        build = service.build
        commit = commit_of(run, name, service)
        file = write_environment(
            service.source,
            build.environment_file,
            build.environment,
            build.computed,
            commit=commit,
            branch=run.service(name).branch,
            moment=run.started,
        )
        written.append(f"{name} {file.name}")
    return ", ".join(written) or "no front end asks for one"


def build_env_foreseen(run: Run) -> Foreseen:
    """Say which environment files would be written."""
    services = _with_environment(run)
    return Foreseen(
        would=tuple(f"write {one.source / one.build.environment_file}" for one in services.values()),
        stands="" if services else "no front end asks for one",
    )


def _with_environment(run: Run) -> dict[str, Service]:
    return {
        name: service
        for name, service in run.settings.services.items()
        if service.build.environment or service.build.computed
    }


def build_check(run: Run) -> str:
    """Run each service's own checks, side by side; not again what the serving release checked of the same commit."""

    def check(name: str, service: Service) -> str:
        build = service.build
        commit_of(run, name, service)
        if before := run.checked_before(name):
            return f"{name} was checked in {before}"
        result = run_checks(
            service.source,
            build.checks,
            output=build.output,
            bundle_limit_kb=build.bundle_limit_kb,
            timeout_s=build.timeout_s,
            on_line=lambda line: run.progress.says("build.check", f"{name} | {line}"),
            stop=run.stop.is_set,
        )
        sentence = f"{name} {result.commands} checks, {result.warnings} warnings"
        if result.bundle is not None:
            sentence += f", {result.bundle.loaded_gzip_size / 1000:.1f} kB gzip"
        return sentence

    return "; ".join(run.each(run.settings.services, check).values())


def build_check_foreseen(run: Run) -> Foreseen:
    """Say which commands would be run here."""
    services = run.settings.services
    before = {name: run.checked_before(name) for name, service in services.items() if commit_of(run, name, service)}
    return Foreseen(
        ", ".join(f"{name} was checked in {release}" for name, release in before.items() if release),
        tuple(
            f"run `{shlex.join(argv)}` in {service.source}"
            for name, service in services.items()
            if not before.get(name)
            for argv in service.build.checks
        ),
    )


def git_tag(run: Run) -> str:
    """Tag each repository's released commit, and push the tag."""
    git = run.settings.git
    if not git.tag_prefix:
        return "no tags are made here"
    if run.nothing_changed:
        return "no tag, because nothing changed"
    tag = tag_name(git.tag_prefix, run.started)
    commits = _commit_of_each_root(run)
    for root, commit in commits.items():
        tag_commit(Path(root), git.remote, tag, commit, f"release {run.record.id}")
    run.update(lambda record: replace(record, tag=tag))
    return f"{tag} in {len(commits)} repositories"


def git_tag_foreseen(run: Run) -> Foreseen:
    """Say which tag would be made, and where."""
    git = run.settings.git
    if not git.tag_prefix:
        return Foreseen("no tags are made here")
    if run.nothing_changed:
        return Foreseen("no tag, because nothing changed")
    return Foreseen(
        would=tuple(
            f"tag {commit[:12]} of {root} as {git.tag_prefix}<time>, and push the tag to {git.remote}"
            for root, commit in _commit_of_each_root(run).items()
        )
    )


def _commit_of_each_root(run: Run) -> dict[str, str]:
    """Return the released commit of each repository, by where it is checked out on this machine: the record may have
    been begun on another one."""
    commits: dict[str, str] = {}
    for name, service in run.settings.services.items():
        commit = commit_of(run, name, service)
        commits[read_source(service.source).root] = commit
    return commits


def git_tag_undo(run: Run) -> str:
    """Take the tag away again, where it is this release's."""
    git, tag = run.settings.git, tag_name(run.settings.git.tag_prefix, run.started)
    if not git.tag_prefix:
        return "no tags are made here"
    if not any(one.commit for one in run.record.services.values()):
        return "no tag was made"
    commits = _commit_of_each_root(run)
    removed = sum(untag_commit(Path(root), git.remote, tag, commit) for root, commit in commits.items())
    run.update(lambda record: replace(record, tag=""))
    return f"the tag {tag} is gone from {removed} repositories" if removed else "no tag was made"


def note_source(run: Run, name: str, source: Source) -> None:
    """Write to the record which commit a service is released from.

    Raises Refused where the record says another one, as when a release is resumed after the checkout moved on.
    """
    recorded = run.service(name)
    if recorded.commit and (recorded.commit, recorded.dirty) != (source.commit, source.dirty):
        raise Refused(
            f"{name} is at {source.image_tag[:12]} now, and this release is of {recorded.commit[:12]}",
            where=source.root,
            remedy=f"check {recorded.commit[:12]} out again, or give the release up with `invoke release.abort`",
        )
    branch = source.branch or run.settings.git.branch
    run.update(
        lambda record: record.with_service(
            name,
            commit=source.commit,
            branch=branch,
            root=source.root,
            dirty=source.dirty,
            image_tag=source.image_tag,
        )
    )


def commit_of(run: Run, name: str, service: Service) -> str:
    """Return the service's commit; read it where the pipeline has no git.check."""
    if not run.service(name).commit:
        note_source(run, name, read_source(service.source))
    return run.service(name).commit


def source_of(run: Run, name: str, service: Service) -> Source:
    """Return the service's source as it stands. Raises Refused where it is not the one that the release is of."""
    source = read_source(service.source)
    note_source(run, name, source)
    return source
