"""What a task definition refers to: images, roles, secrets, log groups. Pure: it is read, and nobody is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# arn:<partition>:secretsmanager:<region>:<account>:secret:<name>; what follows is key, stage and version.
_SECRET_ARN_PARTS = 7
# <account>.dkr.ecr.<region>.amazonaws.com
_ECR_HOST = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com")
_DEFAULT_PLATFORM = ("LINUX", "X86_64")
_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One service as it is going to be.

    ``definition`` is rendered, its image by digest, or by tag where it is not pushed yet (``image_known`` is false
    then). ``name`` is the settings' name of the service, ``service`` that of ECS, ``target_group`` a name too.
    ``cache_encrypted`` says whether the cache takes TLS alone; None where there is no cache.
    """

    name: str
    service: str
    definition: Mapping[str, Any]
    container: str
    port: int
    health_path: str
    target_group: str
    repository: str
    image_known: bool
    cache_encrypted: bool | None = None

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """Return the definition's containers."""
        return tuple(self.definition.get("containerDefinitions") or ())

    @property
    def platform(self) -> str:
        """Return what the tasks run on, as images call it: ``linux/amd64``. ECS's default is LINUX on X86_64."""
        given = self.definition.get("runtimePlatform") or {}
        family = str(given.get("operatingSystemFamily") or _DEFAULT_PLATFORM[0])
        architecture = str(given.get("cpuArchitecture") or _DEFAULT_PLATFORM[1])
        system = "windows" if family.startswith("WINDOWS") else family.lower()
        return f"{system}/{_ARCHITECTURES.get(architecture, architecture.lower())}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name, taken apart; an empty ``registry`` is Docker Hub, an empty ``tag`` means ``latest``."""

    registry: str
    repository: str
    tag: str
    digest: str


def read_image(text: str) -> ImageReference:
    """Take an image's name apart: ``[registry/]repository[:tag][@digest]``."""
    name, _, digest = text.partition("@")
    first, slash, rest = name.partition("/")
    registry, path = (first, rest) if slash and (first == "localhost" or "." in first or ":" in first) else ("", name)
    repository, _, tag = path.partition(":")
    return ImageReference(registry, repository, tag, digest)


def own_image(wanted: Wanted) -> ImageReference | None:
    """Return the image of the service's own container; None where the definition has no such container."""
    found = [str(one.get("image", "")) for one in wanted.containers if one.get("name") == wanted.container]
    return read_image(found[0]) if found else None


@dataclass(frozen=True, slots=True)
class SecretId:
    """One value of Secrets Manager: the secret as it is named, and the version that is meant; both may be empty."""

    id: str
    stage: str
    version: str

    @property
    def short(self) -> str:
        """Return the secret's name without the ARN around it."""
        return self.id.split(":", _SECRET_ARN_PARTS - 1)[-1] if self.id.startswith("arn:") else self.id

    @property
    def region(self) -> str:
        """Return the region that the ARN names; empty for a mere name."""
        return region_of(self.id)


@dataclass(frozen=True, slots=True)
class SecretUse:
    """What takes a secret (a variable, a log option), and the JSON key that it takes; an empty key is the whole."""

    taker: str
    secret: SecretId
    key: str


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """What takes a parameter of SSM's Parameter Store; ``parameter`` is a name or an ARN."""

    taker: str
    parameter: str


def region_of(arn: str) -> str:
    """Return the region in an ARN; empty where the text is none."""
    parts = arn.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 5 else ""


def secret_uses(definition: Mapping[str, Any]) -> tuple[SecretUse | ParameterUse, ...]:
    """Return every secret and parameter that starting a task reads.

    A ``valueFrom`` that is no ARN of Secrets Manager names a parameter (developer guide, "Pass sensitive data to an
    Amazon ECS container"); ``repositoryCredentials`` take a secret's ARN or name, and the whole of it.
    """
    return tuple(_uses(definition))


def _uses(definition: Mapping[str, Any]) -> Iterator[SecretUse | ParameterUse]:
    for container in definition.get("containerDefinitions") or ():
        options = (container.get("logConfiguration") or {}).get("secretOptions") or ()
        for one in (*(container.get("secrets") or ()), *options):
            yield _read_value_from(str(one.get("name", "")), str(one.get("valueFrom", "")))
        credentials = (container.get("repositoryCredentials") or {}).get("credentialsParameter")
        if credentials:
            yield SecretUse("repositoryCredentials", SecretId(str(credentials), "", ""), "")


def _read_value_from(taker: str, value_from: str) -> SecretUse | ParameterUse:
    parts = value_from.split(":")
    if parts[0] != "arn" or len(parts) < _SECRET_ARN_PARTS or parts[2] != "secretsmanager":
        return ParameterUse(taker, value_from)
    key, stage, version = (*parts[_SECRET_ARN_PARTS:], "", "", "")[:3]
    return SecretUse(taker, SecretId(":".join(parts[:_SECRET_ARN_PARTS]), stage, version), key)


def malformed_references(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what takes a secret by an ARN that ECS refuses at the start: neither the mere ARN nor one with all of key,
    stage and version behind it (developer guide, "Pass Secrets Manager secrets through environment variables")."""
    return tuple(
        str(one.get("name", ""))
        for container in definition.get("containerDefinitions") or ()
        for one in (
            *(container.get("secrets") or ()),
            *((container.get("logConfiguration") or {}).get("secretOptions") or ()),
        )
        if (parts := str(one.get("valueFrom", "")).split(":"))[:1] == ["arn"]
        and parts[2:3] == ["secretsmanager"]
        and len(parts) not in (_SECRET_ARN_PARTS, _SECRET_ARN_PARTS + 3)
    )


def parameter_names(parameter: str) -> tuple[str, ...]:
    """Return the names that a parameter's name or ARN may stand for: the ARNs of ``x`` and ``/x`` are the same text."""
    if not parameter.startswith("arn:"):
        return (parameter,)
    bare = parameter.partition(":parameter/")[2]
    return (bare, f"/{bare}") if "/" not in bare else (f"/{bare}",)


@dataclass(frozen=True, slots=True)
class LogGroup:
    """Where a container's lines go; ``created`` says that the group is made when it is not there."""

    container: str
    name: str
    region: str
    created: bool
    stream_prefix: str = ""


def log_groups(definition: Mapping[str, Any]) -> tuple[LogGroup, ...]:
    """Return the CloudWatch log group of each container that has one."""
    found = []
    for container in definition.get("containerDefinitions") or ():
        configuration = container.get("logConfiguration") or {}
        options = configuration.get("options") or {}
        if configuration.get("logDriver") == "awslogs" and options.get("awslogs-group"):
            created = str(options.get("awslogs-create-group", "")).lower() == "true"
            name, region = str(options["awslogs-group"]), str(options.get("awslogs-region", ""))
            prefix = str(options.get("awslogs-stream-prefix", ""))
            found.append(LogGroup(str(container.get("name", "")), name, region, created, prefix))
    return tuple(found)


def execution_role(definition: Mapping[str, Any]) -> str:
    """Return the role that starts the tasks: an ARN or a name; empty where there is none."""
    return str(definition.get("executionRoleArn") or "")


def task_role(definition: Mapping[str, Any]) -> str:
    """Return the role that the containers have: an ARN or a name; empty where there is none."""
    return str(definition.get("taskRoleArn") or "")


def role_name(role: str) -> str:
    """Return the name in a role's ARN, without its path."""
    return role.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Permission:
    """An action on a resource (an ARN) that a role must be allowed."""

    action: str
    resource: str


def needed_to_start(definition: Mapping[str, Any], account: str, region: str, registry: str) -> tuple[Permission, ...]:
    """Return what the execution role must be allowed so that a task gets its images, secrets and parameters, and a log.

    ``registry`` is the host of the account's own images; nobody is asked about others. A secret is asked for by the ARN
    that stands in the definition, and IAM judges that text: a policy for the whole ARN does not cover one that lacks
    the six characters at its end. (Developer guide, "Task execution IAM role" and "Send Amazon ECS logs to CloudWatch";
    service authorization reference, "Amazon ECR" and "Amazon CloudWatch Logs".)
    """
    needed = [
        *_needed_for_images(definition, account, region, registry),
        *_needed_for_logs(definition, account, region),
        *(_needed(use, account, region) for use in secret_uses(definition) if _has_arn(use)),
    ]
    return tuple(dict.fromkeys(needed))


def _needed_for_images(definition: Mapping[str, Any], account: str, region: str, registry: str) -> Iterator[Permission]:
    for container in definition.get("containerDefinitions") or ():
        image = read_image(str(container.get("image", "")))
        if not image.registry or image.registry != registry:
            continue
        # It is for the account's whole registry, and knows no resource.
        yield Permission("ecr:GetAuthorizationToken", "*")
        place = _ECR_HOST.fullmatch(image.registry)
        owner, home = (place[1], place[2]) if place else (account, region)
        for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"):
            yield Permission(action, f"arn:aws:ecr:{home}:{owner}:repository/{image.repository}")


def _needed_for_logs(definition: Mapping[str, Any], account: str, region: str) -> Iterator[Permission]:
    for group in log_groups(definition):
        arn = f"arn:aws:logs:{group.region or region}:{account}:log-group:{group.name}:log-stream:"
        # A stream is named prefix/container/task; IAM is asked of one before any task has its id.
        stream = f"{arn}{group.stream_prefix}/{group.container}/task"
        yield Permission("logs:CreateLogStream", stream)
        yield Permission("logs:PutLogEvents", stream)
        if group.created:
            yield Permission("logs:CreateLogGroup", arn)


def _has_arn(use: SecretUse | ParameterUse) -> bool:
    """Tell whether a use has an ARN to judge; a secret by its mere name has not."""
    return isinstance(use, ParameterUse) or use.secret.id.startswith("arn:")


def _needed(use: SecretUse | ParameterUse, account: str, region: str) -> Permission:
    if isinstance(use, SecretUse):
        return Permission("secretsmanager:GetSecretValue", use.secret.id)
    if use.parameter.startswith("arn:"):
        return Permission("ssm:GetParameters", use.parameter)
    bare = use.parameter.removeprefix("/")
    return Permission("ssm:GetParameters", f"arn:aws:ssm:{region}:{account}:parameter/{bare}")
