"""Look at what a task definition refers to: images, roles, secrets, parameters, log groups. One read each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gli_tasks.aws import Aws, error_code
from gli_tasks.ecs.asking import asked
from gli_tasks.ecs.facts import Decision, Denied, ImagePlace, ImageState, RoleState, SecretState
from gli_tasks.ecs.references import ImageReference, Permission, SecretId, parameter_names, role_name

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_CONFIG_TIMEOUT_S = 10.0
_DECISIONS = {
    "allowed": Decision.ALLOWED,
    "implicitDeny": Decision.NOT_ALLOWED,
    "explicitDeny": Decision.DENIED,
}
# Errors of GetSecretValue (API reference): a malformed ARN names no secret either.
_NO_SECRET = frozenset({"ResourceNotFoundException", "InvalidParameterException", "ValidationException"})
_UNREADABLE = {
    "InvalidRequestException": "is marked for deletion",
    "DecryptionFailure": "cannot be decrypted with its key",
}


def read_image_state(aws: Aws, image: ImageReference) -> ImageState | Denied:
    """Return whether ECR holds an image, and the platforms that it is for."""
    ecr = aws.client("ecr")

    def ask() -> ImageState:
        wanted = {"imageDigest": image.digest} if image.digest else {"imageTag": image.tag or "latest"}
        try:
            details = ecr.describe_images(repositoryName=image.repository, imageIds=[wanted])["imageDetails"]
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.InvalidParameterException):
            # No image can have a malformed digest or tag.
            return ImageState(ImagePlace.NO_IMAGE)
        except ecr.exceptions.RepositoryNotFoundException:
            return ImageState(ImagePlace.NO_REPOSITORY)
        digest = str(details[0]["imageDigest"])
        platforms = asked(ecr, lambda: _platforms(ecr, image.repository, digest))
        return ImageState(ImagePlace.PRESENT, digest, platforms)

    return asked(ecr, ask)


def _platforms(ecr: Any, repository: str, digest: str) -> tuple[str, ...]:
    """Return the platforms of an image: an index lists them, and a single image's configuration names its own."""
    answer = ecr.batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageDigest": digest}],
        acceptedMediaTypes=[*_INDEXES, *_MANIFESTS],
    )
    if not answer["images"]:
        return ()
    manifest = json.loads(answer["images"][0]["imageManifest"])
    if "manifests" in manifest:
        return _named_platforms(one.get("platform") or {} for one in manifest["manifests"])
    config = str((manifest.get("config") or {}).get("digest", ""))
    if not config:
        return ()
    url = str(ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=config)["downloadUrl"])
    return _named_platforms([_fetch_json(url)])


def _fetch_json(url: str) -> Mapping[str, Any]:
    """Return the JSON at a signed address; empty where it cannot be had, since nothing depends on it alone."""
    import httpx

    from gli_tasks.web import http_client

    try:
        with http_client(timeout=_CONFIG_TIMEOUT_S, follow_redirects=True) as client:
            answer = client.get(url).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _named_platforms(platforms: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    # Attestations stand in an index as images for unknown/unknown.
    named = (f"{one['os']}/{one['architecture']}" for one in platforms if one.get("os") and one.get("architecture"))
    return tuple(dict.fromkeys(name for name in named if name != "unknown/unknown"))


def read_role(aws: Aws, role: str) -> RoleState | Denied | None:
    """Return a role, by ARN or name, with its trust policy."""
    iam = aws.client("iam")

    def ask() -> RoleState | None:
        try:
            found = iam.get_role(RoleName=role_name(role))["Role"]
        except iam.exceptions.NoSuchEntityException:
            return None
        trust = found.get("AssumeRolePolicyDocument") or {}
        return RoleState(str(found["Arn"]), trust if isinstance(trust, dict) else json.loads(trust))

    return asked(iam, ask)


def read_permissions(
    aws: Aws, role: str, needed: Sequence[Permission]
) -> Mapping[Permission, Decision] | Denied | None:
    """Return what IAM decides on each permission of a role (an ARN), one call for the actions on the same resources;
    None where there is no such role."""
    iam = aws.client("iam")

    def ask() -> Mapping[Permission, Decision] | None:
        decided = dict.fromkeys(needed, Decision.UNDECIDED)
        for actions, resources in _together(needed):
            try:
                pages = iam.get_paginator("simulate_principal_policy").paginate(
                    PolicySourceArn=role, ActionNames=actions, ResourceArns=resources
                )
                results = [result for page in pages for result in page["EvaluationResults"]]
            except iam.exceptions.NoSuchEntityException:
                return None
            decided |= {
                permission: decision
                for result in results
                for permission, decision in decisions(result, str(result["EvalActionName"]))
            }
        return decided

    decided = asked(iam, ask)
    if decided is None or isinstance(decided, Denied):
        return decided
    return {one: _with_own_policy(aws, one, decision) for one, decision in decided.items()}


def _together(needed: Sequence[Permission]) -> list[tuple[list[str], list[str]]]:
    """Return the actions, and the resources that all of them are needed on."""
    resources: dict[str, list[str]] = {}
    for one in needed:
        resources.setdefault(one.action, []).append(one.resource)
    actions: dict[tuple[str, ...], list[str]] = {}
    for action, places in resources.items():
        actions.setdefault(tuple(sorted(places)), []).append(action)
    return [(names, list(places)) for places, names in actions.items()]


def decisions(result: Mapping[str, Any], action: str) -> list[tuple[Permission, Decision]]:
    """Return what one result of the policy simulator says of each resource.

    Each resource's decision stands below the action's one result (API reference, EvaluationResult); there used to be
    one result a resource, with nothing below.
    """
    said = [
        (str(one["EvalResourceName"]), str(one["EvalResourceDecision"]), one.get("MissingContextValues"))
        for one in result.get("ResourceSpecificResults") or ()
    ] or [(str(result.get("EvalResourceName", "")), str(result["EvalDecision"]), result.get("MissingContextValues"))]
    found = []
    for resource, decision, missing in said:
        known = _DECISIONS.get(decision, Decision.UNDECIDED)
        if known is Decision.NOT_ALLOWED and missing:
            # A condition on what only a real request has, such as where it comes from.
            known = Decision.UNDECIDED
        found.append((Permission(action, resource), known))
    return found


def _with_own_policy(aws: Aws, permission: Permission, decision: Decision) -> Decision:
    """Leave open what the role's policies do not allow where the secret or the repository has a policy of its own: that
    may allow it."""
    if decision is not Decision.NOT_ALLOWED:
        return decision
    own: bool | Denied = False
    if permission.action.startswith("secretsmanager:"):
        own = _secret_has_policy(aws, permission.resource)
    elif ":repository/" in permission.resource:
        own = _repository_has_policy(aws, permission.resource)
    return Decision.UNDECIDED if own is True else decision


def _secret_has_policy(aws: Aws, secret: str) -> bool | Denied:
    manager = aws.client("secretsmanager")

    def ask() -> bool:
        try:
            answer = _whole(manager.get_resource_policy(SecretId=secret))
            return bool(answer.get("ResourcePolicy"))
        except manager.exceptions.ResourceNotFoundException:
            return False

    return asked(manager, ask)


def _repository_has_policy(aws: Aws, arn: str) -> bool | Denied:
    ecr = aws.client("ecr")
    owner, _, name = arn.split(":", 4)[4].partition(":repository/")

    def ask() -> bool:
        try:
            return bool(ecr.get_repository_policy(registryId=owner, repositoryName=name)["policyText"])
        except (ecr.exceptions.RepositoryPolicyNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return False

    return asked(ecr, ask)


def read_secret(aws: Aws, secret: SecretId) -> SecretState | Denied | None:
    """Return whether a secret is there and which JSON keys it holds; its values are dropped here and now.

    Where its value may not be read, whether it is there is asked all the same.
    """
    from botocore.exceptions import ClientError

    manager = aws.client("secretsmanager")
    version = {"VersionStage": secret.stage, "VersionId": secret.version}
    given = {key: value for key, value in version.items() if value}

    def ask() -> SecretState | None:
        try:
            answer = _whole(manager.get_secret_value(SecretId=secret.id, **given))
        except ClientError as error:
            code = error_code(error)
            if code in _NO_SECRET:
                return None
            if code not in _UNREADABLE:
                raise
            return SecretState(None, _UNREADABLE[code])
        return SecretState(_keys(answer.get("SecretString")))

    def ask_without_value() -> SecretState | None:
        try:
            answer = _whole(manager.describe_secret(SecretId=secret.id))
        except ClientError as error:
            if error_code(error) not in _NO_SECRET:
                raise
            return None
        return SecretState(denied, "is marked for deletion" if answer.get("DeletedDate") else "")

    state = asked(manager, ask)
    if not isinstance(state, Denied):
        return state
    denied = state
    described = asked(manager, ask_without_value)
    return denied if isinstance(described, Denied) else described


def _whole(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer of Secrets Manager that names its secret. Raises KeyError for one that was cut off."""
    return {**answer, "ARN": answer["ARN"]}


def _keys(text: str | None) -> frozenset[str] | None:
    try:
        tree = json.loads(text or "")
    except ValueError:
        # The parser's own error would quote the secret.
        return None
    return frozenset(map(str, tree)) if isinstance(tree, dict) else None


def read_parameters(aws: Aws, parameters: Sequence[str]) -> Mapping[str, bool] | Denied:
    """Return whether each parameter, by name or ARN, is there; no value is asked for."""
    ssm = aws.client("ssm")

    def ask() -> Mapping[str, bool]:
        names = sorted({name for one in parameters for name in parameter_names(one)})
        pages = ssm.get_paginator("describe_parameters").paginate(
            ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": names}]
        )
        there = {str(one["Name"]) for page in pages for one in page["Parameters"]}
        return {one: not there.isdisjoint(parameter_names(one)) for one in parameters}

    return asked(ssm, ask)


def read_log_group(aws: Aws, name: str) -> bool | Denied:
    """Return whether a log group of this very name is there."""
    logs = aws.client("logs")

    def ask() -> bool:
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        return any(one["logGroupName"] == name for page in pages for one in page["logGroups"])

    return asked(logs, ask)
