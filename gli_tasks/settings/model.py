"""What a project's settings hold. Plain frozen dataclasses, so that importing them costs nothing.

A string that names something in AWS may be empty where that thing does not exist yet (``Named``): the settings load,
and a release says what is missing before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the greatest value that a number may have."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Matches:
    """The regular expression that a string must match whole, and what to call it when it does not.

    Where ``shown`` is off, no message holds the string itself, since it may be a secret.
    """

    pattern: str
    expected: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class MayBeAbsent:
    """An empty string says: this does not exist yet, and a release cannot do without it."""


Percent = Annotated[int, Between(0, 100)]
Seconds = Annotated[float, Between(0, 86_400)]
Pace = Annotated[float, Between(0.05, 300)]
Port = Annotated[int, Between(1, 65_535)]
Named = Annotated[str, MayBeAbsent()]
Host = Annotated[str, Matches(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a host name such as api.example.com")]
AccountId = Annotated[str, MayBeAbsent(), Matches(r"|[0-9]{12}", "the 12 digits of an AWS account")]
Region = Annotated[str, Matches(r"[a-z]{2}(-[a-z]+)+-[0-9]", "a region such as ap-northeast-2")]
SecretReference = Annotated[
    str,
    Matches(
        r"|aws-sm:[^#\s]+(#[^#\s]+)?|env:[A-Z_][A-Z0-9_]*",
        "a reference, aws-sm:<name>#<field> or env:<NAME>",
        shown=False,
    ),
]
Computed = Annotated[str, Matches("version|time|commit|branch", "one of version, time, commit, branch")]
HttpUrl = Annotated[str, Matches(r"https?://[^\s/]+\S*", "an http:// or https:// address")]

#: Every step that a pipeline may name. ``release/steps`` binds each of them to a function, and a test holds the
#: two together.
STEP_NAMES = frozenset(
    {
        "git.check",
        "git.tag",
        "build.check",
        "build.env",
        "image.build",
        "image.push",
        "ecs.register",
        "ecs.update",
        "ecs.verify",
        "ecs.wait",
        "health.check",
        "notify",
    }
)


#: What must have been done, in an earlier group, before a step can do anything.
STEP_NEEDS: Mapping[str, str] = {
    "image.push": "image.build",
    "ecs.verify": "image.push",
    "ecs.register": "image.push",
    "ecs.update": "ecs.register",
    "ecs.wait": "ecs.update",
}


@dataclass(frozen=True, slots=True)
class Aws:
    """The account and region that a release may touch."""

    account: AccountId
    region: Region


@dataclass(frozen=True, slots=True)
class State:
    """Where records are kept."""

    bucket: Named


@dataclass(frozen=True, slots=True)
class Git:
    """What a commit must be before it may be released. An empty ``tag_prefix`` means that no tag is made."""

    branch: str
    remote: str = "origin"
    tag_prefix: str = ""
    subject_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """The host that images are pushed to."""

    host: Annotated[str, MayBeAbsent(), Matches(r"[^\s/]*", "a registry host")]
    timeout_s: Seconds = 1_200


@dataclass(frozen=True, slots=True)
class Ecs:
    """The cluster that the services run on."""

    cluster: Named


@dataclass(frozen=True, slots=True)
class Build:
    """A source folder's own checks, each an argv, and what they leave behind.

    ``bundle_limit_kb`` is the gzip size in kB (1,000 bytes) of all scripts and styles that ``index.html`` loads;
    0 means no limit.
    """

    checks: tuple[tuple[str, ...], ...] = ()
    timeout_s: Seconds = 1_800
    output: str = ""
    bundle_limit_kb: Annotated[float, Between(0, 1_000_000)] = 0
    environment_file: str = ".env.production"
    environment: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, Computed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EcsService:
    """A container service on ECS."""

    kind: str
    source: Path
    repository: Named
    service: Named
    task_definition: str
    container: str
    port: Port
    target_group: Named
    host: Host
    health_path: str = "/health"
    dockerfile: str = "Dockerfile"
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    build: Build = field(default_factory=Build)


@dataclass(frozen=True, slots=True)
class S3Site:
    """A front end on S3 behind CloudFront."""

    kind: str
    source: Path
    bucket: Named
    distribution: Named
    host: Host
    build: Build = field(default_factory=Build)


@dataclass(frozen=True, slots=True)
class VercelSite:
    """A front end on Vercel."""

    kind: str
    source: Path
    vercel_project: str
    host: Host
    build: Build = field(default_factory=Build)


Service = EcsService | S3Site | VercelSite
SERVICE_KINDS: Mapping[str, type[EcsService] | type[S3Site] | type[VercelSite]] = {
    "ecs": EcsService,
    "s3-site": S3Site,
    "vercel": VercelSite,
}


@dataclass(frozen=True, slots=True)
class Database:
    """The PostgreSQL database behind the services; its credentials are in the secret."""

    instance: Named
    secret: Named
    name: str


@dataclass(frozen=True, slots=True)
class Cache:
    """The Redis replication group behind the services, and the address that they reach it by."""

    replication_group: Named
    url: Annotated[str, Matches(r"rediss?://[^\s/]+\S*", "a redis:// or rediss:// address")]
    transit_encryption: bool = True


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """The load balancer in front of the services. ``default_service`` is what its default rule forwards to, if not a
    host rule."""

    name: Named
    default_service: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a rolling deployment goes, and how long it may take."""

    minimum_healthy_percent: Annotated[int, Between(0, 200)] = 100
    maximum_percent: Annotated[int, Between(100, 200)] = 200
    timeout_s: Seconds = 1_200
    poll_s: Pace = 1.0
    restore_timeout_s: Seconds = 600


@dataclass(frozen=True, slots=True)
class Check:
    """One health check: the address, the status, and for JSON answers the value at each ``.path``."""

    name: str
    url: HttpUrl
    status: Annotated[int, Between(100, 599)] = 200
    expect: Mapping[str, str] = field(default_factory=dict)
    latency_limit_ms: Annotated[float, Between(1, 600_000)] = 5_000


@dataclass(frozen=True, slots=True)
class Health:
    """All health checks, asked side by side until every one passes or ``timeout_s`` is over.

    ``connect_to`` (``host:port``) takes the place of DNS for every check; the Host header and the name in TLS stay.
    """

    checks: tuple[Check, ...] = ()
    timeout_s: Seconds = 120
    interval_s: Pace = 2.0
    request_timeout_s: Annotated[float, Between(0.1, 300)] = 10
    certificate_days: Annotated[int, Between(0, 3_650)] = 30
    connect_to: Annotated[str, Matches(r"|[^\s:]+:[0-9]{1,5}", "host:port, or nothing")] = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Notify:
    """Where news of a release goes. Empty means nowhere. A failure here never decides anything."""

    slack_webhook: SecretReference = ""
    channel: str = ""


Pipeline = tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one environment of one project says about itself."""

    project: str
    environment: str
    folder: Path
    aws: Aws
    state: State
    git: Git
    registry: Registry
    ecs: Ecs
    load_balancer: LoadBalancer
    rollout: Rollout
    health: Health
    notify: Notify
    services: Mapping[str, Service]
    pipelines: Mapping[str, Pipeline]
    database: Database | None = None
    cache: Cache | None = None
    #: The values that ``${KEY}`` stands for in task definitions.
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def ecs_services(self) -> dict[str, EcsService]:
        """Return the services that run on ECS, by name."""
        return {name: service for name, service in self.services.items() if isinstance(service, EcsService)}

    @property
    def sites(self) -> dict[str, S3Site | VercelSite]:
        """Return the front ends, by name."""
        return {name: service for name, service in self.services.items() if not isinstance(service, EcsService)}

    @property
    def pipeline(self) -> Pipeline:
        """Return this environment's pipeline; empty where it has none."""
        return self.pipelines.get(self.environment, ())
