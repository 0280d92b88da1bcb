"""Judge what a task definition refers to: facts in, findings out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gli_tasks.ecs.facts import Decision, Denied, ImagePlace, ImageState, Inventory, RoleState, SecretState
from gli_tasks.ecs.findings import Finding, ng, ok, skip
from gli_tasks.ecs.references import (
    LogGroup,
    ParameterUse,
    SecretId,
    SecretUse,
    Wanted,
    execution_role,
    log_groups,
    malformed_references,
    needed_to_start,
    read_image,
    region_of,
    secret_uses,
    task_role,
)

_TASKS_PRINCIPAL = "ecs-tasks.amazonaws.com"
_REFUSED = (Decision.NOT_ALLOWED, Decision.DENIED)


def unseen(subject: str, denied: Denied) -> Finding:
    """Return the finding for what we may not look at."""
    return skip(subject, "could not be looked at: AWS denies it", f"allow {denied.permission} to whoever verifies")


def definition_findings(wanted: Wanted, registry: str, account: str, region: str, known: Inventory) -> list[Finding]:
    """Return a finding on each thing that a service's task definition refers to."""
    return [
        *_image_findings(wanted, registry, known),
        *_role_findings(wanted, account, known),
        *_permission_findings(wanted, account, region, registry, known),
        *_secret_findings(wanted, region, known),
        *_log_group_findings(wanted, region, known),
    ]


def _image_findings(wanted: Wanted, registry: str, known: Inventory) -> Iterator[Finding]:
    for container in wanted.containers:
        own = container.get("name") == wanted.container
        subject = f"{wanted.name} image" if own else f"{wanted.name} image of {container.get('name', '?')}"
        image = read_image(str(container.get("image", "")))
        if image.registry != registry:
            place = image.registry or "Docker Hub"
            if own:
                yield ng(subject, f"is in {place}, and the settings' registry is {registry}", "mend the definition")
            else:
                yield skip(subject, f"is in {place}, which is not asked")
            continue
        state = known.images[image]
        if isinstance(state, Denied):
            yield unseen(subject, state)
            continue
        short = image.digest[:19] or image.tag[:12]
        if state.place is ImagePlace.NO_REPOSITORY:
            yield ng(subject, f"ECR has no repository {image.repository}", "create it, or check the .env file")
        elif state.place is ImagePlace.PRESENT:
            yield ok(subject, f"{image.repository} holds {short}")
            yield _platform_finding(wanted, f"{subject} platform", state)
        elif own and not wanted.image_known:
            yield skip(subject, f"{image.repository} does not hold {short} yet", "`invoke image.push` puts it there")
        else:
            yield ng(subject, f"{image.repository} does not hold {short}", "run `invoke image.push`")


def _platform_finding(wanted: Wanted, subject: str, state: ImageState) -> Finding:
    if isinstance(state.platforms, Denied):
        return unseen(subject, state.platforms)
    if not state.platforms:
        return skip(subject, "the image does not say what it was built for")
    if wanted.platform in state.platforms:
        return ok(subject, f"built for {wanted.platform}, as the tasks run")
    return ng(
        subject,
        f"built for {', '.join(state.platforms)}, and the tasks run on {wanted.platform}",
        "build for the tasks' platform (`platform` of the service), or mend runtimePlatform",
    )


def _role_findings(wanted: Wanted, account: str, known: Inventory) -> Iterator[Finding]:
    for what, role in (
        ("execution role", execution_role(wanted.definition)),
        ("task role", task_role(wanted.definition)),
    ):
        subject = f"{wanted.name} {what}"
        if not role:
            yield ok(subject, "none is named")
            continue
        owner = role.split(":")[4] if role.startswith("arn:") and role.count(":") > 4 else account
        if owner != account:
            yield ng(subject, f"{role} is of another account than {account}", "name a role of this account")
            continue
        state = known.roles[role]
        if isinstance(state, Denied):
            yield unseen(subject, state)
        elif state is None:
            yield ng(subject, f"there is no role {role}", "create it, or mend the definition")
        else:
            yield _role_finding(subject, role, state)


def _role_finding(subject: str, role: str, state: RoleState) -> Finding:
    if role.startswith("arn:") and state.arn != role:
        return ng(subject, f"there is no role {role}; the role of that name is {state.arn}", f"write {state.arn}")
    if not trusts_tasks(state.trust):
        return ng(
            subject,
            f"{role.rsplit('/', 1)[-1]} does not trust {_TASKS_PRINCIPAL}: no task can take it",
            f"let {_TASKS_PRINCIPAL} do sts:AssumeRole in its trust policy",
        )
    return ok(subject, f"{role.rsplit('/', 1)[-1]} is there and trusts {_TASKS_PRINCIPAL}")


def trusts_tasks(trust: Mapping[str, Any]) -> bool:
    """Tell whether a trust policy lets ECS tasks take the role; its conditions are not judged."""
    statements = trust.get("Statement") or ()
    statements = [statements] if isinstance(statements, dict) else statements
    allowed = False
    for one in statements:
        principal = one.get("Principal") or {}
        services = "*" if principal == "*" else principal.get("Service") or ()
        actions = {action.lower() for action in _as_list(one.get("Action"))}
        if not {_TASKS_PRINCIPAL, "*"} & set(_as_list(services)) or not {"sts:assumerole", "sts:*", "*"} & actions:
            continue
        if one.get("Effect") == "Deny" and not one.get("Condition"):
            return False
        allowed = allowed or one.get("Effect") == "Allow"
    return allowed


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _permission_findings(
    wanted: Wanted, account: str, region: str, registry: str, known: Inventory
) -> Iterator[Finding]:
    role = execution_role(wanted.definition)
    needed = needed_to_start(wanted.definition, account, region, registry)
    if not role or not needed:
        return
    subject = f"{wanted.name} execution role permissions"
    decided = known.permissions.get(role)
    if isinstance(decided, Denied):
        yield unseen(subject, decided)
    elif decided is None:
        yield skip(subject, "cannot be judged while the role is not there")
    elif refused := [one for one in needed if decided[one] in _REFUSED]:
        places = "; ".join(f"{one.action} on {one.resource}" for one in refused)
        yield ng(subject, f"the role may not {places}", "allow it in the role's policy, for that very ARN")
    elif unsure := [one for one in needed if decided[one] is Decision.UNDECIDED]:
        places = "; ".join(f"{one.action} on {one.resource}" for one in unsure)
        yield skip(subject, f"the role's own policies do not say whether it may {places}")
    else:
        yield ok(subject, f"the role may do all {len(needed)} things that its tasks start with")


def _secret_findings(wanted: Wanted, region: str, known: Inventory) -> Iterator[Finding]:
    uses = secret_uses(wanted.definition)
    secrets: dict[SecretId, list[SecretUse]] = {}
    parameters: dict[str, list[ParameterUse]] = {}
    for use in uses:
        if isinstance(use, SecretUse):
            secrets.setdefault(use.secret, []).append(use)
        else:
            parameters.setdefault(use.parameter, []).append(use)
    for taker in malformed_references(wanted.definition):
        yield ng(
            f"{wanted.name} secret of {taker}",
            "its valueFrom has parts after the secret's name that ECS cannot read: no task could start",
            "end the ARN at the name, or with :key:stage:version, whose parts may be empty (as in :key::)",
        )
    for secret, takers in secrets.items():
        subject = f"{wanted.name} secret {secret.short}"
        if secret.region not in ("", region):
            yield skip(subject, f"is in {secret.region}, and only {region} is asked")
        else:
            yield _secret_finding(subject, known.secrets[secret], takers)
    for parameter, readers in parameters.items():
        yield _parameter_finding(wanted, region, parameter, readers, known.parameters)


def _secret_finding(subject: str, state: SecretState | Denied | None, takers: list[SecretUse]) -> Finding:
    if isinstance(state, Denied):
        return unseen(subject, state)
    secret = takers[0].secret
    version = " ".join(filter(None, (secret.stage, secret.version)))
    if state is None:
        what = f"there is no such secret, or none of version {version}" if version else "there is no such secret"
        return ng(subject, f"{what} (for {_names(takers)})", "create it, or mend the ARN")
    if state.fault:
        return ng(subject, f"{state.fault} (for {_names(takers)})", "restore it or its key, or name another")
    keyed = [one for one in takers if one.key]
    if not keyed:
        return ok(subject, "is there")
    if isinstance(state.keys, Denied):
        return skip(
            subject,
            f"is there; whether it holds {_keys(keyed)} could not be looked at",
            f"allow {state.keys.permission}, and kms:Decrypt on its key, to whoever verifies",
        )
    if state.keys is None:
        return ng(subject, f"holds no JSON object, so no key {_keys(keyed)}", "store it as a JSON object")
    absent = [one for one in keyed if one.key not in state.keys]
    if absent:
        held = ", ".join(sorted(state.keys)) or "none"
        return ng(subject, f"holds no key {_keys(absent)} (for {_names(absent)})", f"its keys: {held}")
    return ok(subject, f"holds {_keys(keyed)}")


def _names(takers: list[SecretUse]) -> str:
    return ", ".join(dict.fromkeys(one.taker for one in takers))


def _keys(takers: list[SecretUse]) -> str:
    return ", ".join(dict.fromkeys(one.key for one in takers))


def _parameter_finding(
    wanted: Wanted, region: str, parameter: str, readers: list[ParameterUse], there: Mapping[str, bool] | Denied
) -> Finding:
    subject = f"{wanted.name} parameter {parameter.partition(':parameter')[2] or parameter}"
    if region_of(parameter) not in ("", region):
        return skip(subject, f"is in {region_of(parameter)}, and only {region} is asked")
    if isinstance(there, Denied):
        return unseen(subject, there)
    if there[parameter]:
        return ok(subject, "is there")
    return ng(
        subject,
        f"Parameter Store has no such parameter (for {', '.join(one.taker for one in readers)})",
        "create it; a secret of Secrets Manager must be named by its ARN",
    )


def _log_group_findings(wanted: Wanted, region: str, known: Inventory) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for group in log_groups(wanted.definition):
        if (group.name, group.region) in seen:
            continue
        seen.add((group.name, group.region))
        yield _log_group_finding(f"{wanted.name} log group", group, region, known)


def _log_group_finding(subject: str, group: LogGroup, region: str, known: Inventory) -> Finding:
    if group.region not in ("", region):
        return skip(subject, f"{group.name} is in {group.region}, and only {region} is asked")
    there = known.log_groups[group.name]
    if isinstance(there, Denied):
        return unseen(subject, there)
    if there:
        return ok(subject, f"{group.name} is there")
    if group.created:
        return ok(subject, f"{group.name} is made when the first task starts (awslogs-create-group)")
    return ng(
        subject, f"there is no log group {group.name}: no task could start", "create it, or set awslogs-create-group"
    )
