"""What a verification knows of AWS, as facts: what is there, what is not (None), and what may not be seen (Denied)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gli_tasks.ecs.references import ImageReference, Permission, SecretId


@dataclass(frozen=True, slots=True)
class Denied:
    """AWS does not let us look; ``permission`` is what to allow to whoever verifies."""

    permission: str


@dataclass(frozen=True, slots=True)
class Attached:
    """One entry of a service's load balancers: the target group's ARN, and the container and port behind it."""

    target_group: str
    container: str
    port: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service: its status, load balancers and network, and how many tasks a rollout may run at once."""

    status: str
    attached: tuple[Attached, ...]
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    most_tasks: int
    fargate: bool


class ImagePlace(StrEnum):
    """Where an image is, as ECR answers."""

    PRESENT = "present"
    NO_IMAGE = "no image"
    NO_REPOSITORY = "no repository"


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image in ECR, by its digest, and the platforms that it is for; none where they cannot be told."""

    place: ImagePlace
    digest: str = ""
    platforms: tuple[str, ...] | Denied = ()


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role, and its trust policy as a tree."""

    arn: str
    trust: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SecretState:
    """A secret that is there. ``keys`` are those of its JSON object; None where it holds no such object.

    ``fault`` says why nobody can read it, such as ``is marked for deletion``. No value is kept.
    """

    keys: frozenset[str] | Denied | None
    fault: str = ""


class Decision(StrEnum):
    """What IAM decides on an action by the role's policies: none allows it, or one denies it whatever else allows.

    UNDECIDED where these policies alone do not say it.
    """

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class TargetGroupState:
    """A target group. ``health_port`` is a number, or ``traffic-port``."""

    arn: str
    port: int
    protocol: str
    target_type: str
    health_path: str
    health_port: str
    vpc: str
    balancers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BalancerState:
    """A load balancer; ``weights`` are the greatest weight that any of its rules gives each target group's ARN."""

    name: str
    state: str
    security_groups: tuple[str, ...]
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SubnetState:
    """A subnet, and how many addresses it has left."""

    vpc: str
    free_addresses: int


@dataclass(frozen=True, slots=True)
class Ingress:
    """One rule that lets something in. ``protocol`` is tcp, udp or ``-1`` for all; ``addresses`` tells whether it lets
    in address ranges or prefix lists; ``groups`` are the security groups that it lets in."""

    protocol: str
    first_port: int
    last_port: int
    addresses: bool
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecurityGroupState:
    """A security group and what it lets in."""

    vpc: str
    ingress: tuple[Ingress, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that was looked at, by what it was asked by. None as a value says that the thing is not there."""

    cluster: str | Denied
    services: Mapping[str, ServiceState | None] | Denied
    images: Mapping[ImageReference, ImageState | Denied] = field(default_factory=dict)
    roles: Mapping[str, RoleState | Denied | None] = field(default_factory=dict)
    permissions: Mapping[str, Mapping[Permission, Decision] | Denied | None] = field(default_factory=dict)
    secrets: Mapping[SecretId, SecretState | Denied | None] = field(default_factory=dict)
    parameters: Mapping[str, bool] | Denied = field(default_factory=dict)
    log_groups: Mapping[str, bool | Denied] = field(default_factory=dict)
    target_groups: Mapping[str, TargetGroupState | Denied | None] = field(default_factory=dict)
    balancers: Mapping[str, BalancerState | Denied | None] = field(default_factory=dict)
    subnets: Mapping[str, SubnetState] | Denied = field(default_factory=dict)
    security_groups: Mapping[str, SecurityGroupState] | Denied = field(default_factory=dict)
    fargate_vcpus: float | Denied | None = None
