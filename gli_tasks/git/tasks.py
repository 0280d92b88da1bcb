"""`git.check` and `git.tag`."""

from __future__ import annotations

from invoke import Context, task

from gli_tasks.edge import chosen, confirm, flags, operator, pick, planning, show_planned


@task(help=flags("env", "project", "service", "json"))
@operator
def check(
    context: Context, env: str | None = None, project: str | None = None, service: str | None = None, json: bool = False
) -> None:
    """Check that each service's checkout is clean, on its branch and equal to the remote."""
    from gli_tasks.console import Console
    from gli_tasks.errors import Refused
    from gli_tasks.git.plan import findings
    from gli_tasks.git.repository import read_repository

    console = Console()
    settings = chosen(env, project).settings
    rows = []
    for name, one in pick(dict(settings.services), service).items():
        facts = read_repository(one.source, settings.git.remote, settings.git.branch)
        found = findings(facts, settings.git.branch, settings.git.remote, settings.git.subject_prefixes)
        rows.append((name, facts, found))
    if json:
        console.answer_json({name: {"commit": facts.source.commit, "findings": found} for name, facts, found in rows})
    else:
        for name, facts, found in rows:
            console.answer(f"{'NG' if found else 'OK'}  {name}: {facts.source.commit[:12]} {facts.source.subject}")
            for sentence in found:
                console.answer(f"      {sentence}")
    bad = [name for name, _, found in rows if found]
    if bad:
        raise Refused(f"not ready to be released: {', '.join(bad)}")


@task(
    help=flags(
        "env", "project", "yes", "json", "plan", name="the tag (default: <prefix>YYYYMMDD-HHMMSS of now, in UTC)"
    )
)
@operator
def tag(
    context: Context,
    env: str | None = None,
    project: str | None = None,
    name: str | None = None,
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
) -> None:
    """Tag the commit of each service's repository, and push the tag."""
    planned = planning(plan)
    from datetime import UTC, datetime
    from pathlib import Path

    from gli_tasks.console import Console
    from gli_tasks.errors import Refused
    from gli_tasks.git.plan import tag_name
    from gli_tasks.git.repository import needs_tag, read_repository, tag_commit

    console = Console()
    loaded = chosen(env, project)
    settings = loaded.settings
    if not name and not settings.git.tag_prefix:
        raise Refused(f"{settings.environment} has no tag_prefix, so no tags are made here", remedy="give --name")
    chosen_name = name or tag_name(settings.git.tag_prefix, datetime.now(UTC))
    commits = {}
    for one in settings.services.values():
        facts = read_repository(one.source, settings.git.remote, settings.git.branch)
        if facts.remote_commit != facts.source.commit:
            branch = f"{settings.git.remote}/{settings.git.branch}"
            raise Refused(
                f"is at {facts.source.commit[:12]}, which is not the head of {branch}",
                where=str(one.source),
                remedy="push it first; a tag would publish it",
            )
        commits[facts.source.root] = facts.source.commit
    remote = settings.git.remote
    if planned:
        would = [
            f"{commit[:12]} of {root} would be tagged {chosen_name} on {remote}"
            for root, commit in commits.items()
            if needs_tag(Path(root), remote, chosen_name, commit)
        ]
        show_planned(console, would, json)
        return
    confirm(console, f"tagging {len(commits)} repositories as {chosen_name}", loaded, yes)
    for root, commit in commits.items():
        tag_commit(Path(root), remote, chosen_name, commit, f"{settings.project} {settings.environment}")
        if not json:
            console.answer(f"{chosen_name}  {commit[:12]}  {root}")
    if json:
        console.answer_json({"tag": chosen_name, "commits": commits})
