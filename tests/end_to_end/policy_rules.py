"""What calls of AWS's APIs need of IAM, and the policies that allow just that. Pure: calls in, documents out.

Actions, resource types and condition keys are those of the Service Authorization Reference (the page of each service,
"Actions, resources, and condition keys for ..."); where another page adds to it, the rule names it.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Context = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose resources they are, and the roles that tasks get (names, with their path)."""

    account: str
    region: str
    execution_roles: tuple[str, ...]
    task_roles: tuple[str, ...]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def role(self, name: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{name}"


#: The place of a policy that is yet to be filled in.
ANYWHERE = Place("${Account}", "${Region}", ("${ExecutionRole}",), ("${TaskRole}",))


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """An operation, signed for ``service``, with the names of what it touched, by kind: ``{"Cluster": ("a",)}``.

    A kind without a name says that a parameter was given at all.
    """

    service: str
    operation: str
    touched: tuple[tuple[str, tuple[str, ...]], ...]

    def names(self, kind: str) -> tuple[str, ...]:
        return dict(self.touched).get(kind, ())

    def has(self, kind: str) -> bool:
        return kind in dict(self.touched)


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """An action on a resource, and what the request says of itself under condition keys."""

    action: str
    resource: str
    context: Context = ()


# From a parameter to the kind of thing that it names, and the name in its ARN.
_LAST = re.compile(r"[^/:]+$")
_FAMILY = re.compile(r"(?:.*task-definition/)?([^:/]+)(?::\d+)?$")
_IN_CLUSTER = re.compile(r"(?:arn:aws:ecs:[^:]*:[^:]*:)?[a-z-]+/([^/]+)/([^/]+)(?:/.*)?$")
_ROLE = re.compile(r"(?:arn:aws:iam::[^:]*:role/)?(.+)$")
_SECRET = re.compile(r"(?:arn:aws:secretsmanager:[^:]*:[^:]*:secret:)?(.+?)(?:-[A-Za-z0-9]{6})?$")
_GROUP = re.compile(r"(?:arn:aws:logs:[^:]*:[^:]*:log-group:)?(.+?)(?::\*)?$")
_ALL = re.compile(r"(.+)$", re.DOTALL)
_KINDS: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "cluster": ("Cluster", _LAST),
    "clusters": ("Cluster", _LAST),
    "service": ("Service", _LAST),
    "services": ("Service", _LAST),
    "serviceName": ("Service", _LAST),
    "taskDefinition": ("TaskFamily", _FAMILY),
    "taskDefinitions": ("TaskFamily", _FAMILY),
    "family": ("TaskFamily", _FAMILY),
    "familyPrefix": ("TaskFamily", _FAMILY),
    "executionRoleArn": ("Role", _ROLE),
    "taskRoleArn": ("Role", _ROLE),
    "RoleName": ("Role", _ROLE),
    "PolicySourceArn": ("Role", _ROLE),
    "repositoryName": ("Repository", _ALL),
    "SecretId": ("Secret", _SECRET),
    "logGroupName": ("LogGroup", _GROUP),
    "logGroupIdentifier": ("LogGroup", _GROUP),
    "ServiceCode": ("QuotaService", _ALL),
    "Bucket": ("Bucket", _ALL),
    "Key": ("Key", _ALL),
}
_CLUSTER_AND_SERVICE = frozenset({"serviceRevisionArns", "serviceDeploymentArns", "ResourceId"})
_RELEASE_RECORD = re.compile(r"releases/.+")


def read_call(row: Mapping[str, Any]) -> Call:
    """Return a row of the twin's ledger with mere names in the place of ARNs."""
    touched: dict[str, set[str]] = defaultdict(set)
    for parameter, values in row["named"].items():
        if parameter in _CLUSTER_AND_SERVICE:
            for match in filter(None, map(_IN_CLUSTER.match, values)):
                touched["Cluster"].add(match[1])
                touched["Service"].add(match[2])
        elif parameter in _KINDS:
            kind, pattern = _KINDS[parameter]
            touched[kind] |= {_name(pattern, value) for value in values}
        elif not values:
            touched[parameter] = set()
    return Call(
        str(row["service"]),
        str(row["operation"]),
        tuple(sorted((kind, tuple(sorted(names))) for kind, names in touched.items())),
    )


def _name(pattern: re.Pattern[str], value: str) -> str:
    # A mere name may look as if it had the suffix that only ARNs have.
    if pattern is _SECRET and not value.startswith("arn:"):
        return value
    match = pattern.search(value) if pattern is _LAST else pattern.match(value)
    return match[match.lastindex or 0] if match else value


def secret_name(secret: str) -> str:
    """Return the name of a secret that is named by its ARN or by itself."""
    return _name(_SECRET, secret)


def general(call: Call, known: Mapping[str, Mapping[str, str]]) -> Call:
    """Return a call with placeholders in the place of names: ``known["Cluster"]["production"]`` is ``${Cluster}``.

    Raises LookupError for a name that the settings do not hold: the call touched what is not the project's own.
    """

    def placeholder(kind: str, name: str) -> str:
        if kind == "Key":
            return _RELEASE_RECORD.sub("releases/*", name)
        if kind == "QuotaService":
            return name
        if name not in known.get(kind, {}):
            raise LookupError(f"{call.service} {call.operation} touched the {kind} {name!r}, which no setting names")
        return known[kind][name]

    return Call(
        call.service,
        call.operation,
        tuple((kind, tuple(sorted({placeholder(kind, name) for name in names}))) for kind, names in call.touched),
    )


# Operations whose action has no resource types: only * can be said.
_ANY = {
    "application-autoscaling": ("DescribeScalableTargets",),
    "ec2": ("DescribeSecurityGroups", "DescribeSubnets"),
    "ecr": ("GetAuthorizationToken",),
    "ecs": ("DeregisterTaskDefinition", "DescribeTaskDefinition", "ListTaskDefinitions"),
    "elasticloadbalancing": (
        "DescribeListeners",
        "DescribeLoadBalancers",
        "DescribeRules",
        "DescribeTargetGroupAttributes",
        "DescribeTargetGroups",
        "DescribeTargetHealth",
    ),
    "logs": ("DescribeLogGroups",),
    "ssm": ("DescribeParameters",),
}
_ON_SERVICE = frozenset({"DescribeServices", "ListServiceDeployments", "UpdateService"})
_ON_TASKS = frozenset({"DescribeTasks", "StopTask"})
_ON_FAMILY = frozenset({"DeleteTaskDefinitions", "RegisterTaskDefinition"})
_ON_REPOSITORY = frozenset(
    {"BatchCheckLayerAvailability", "BatchDeleteImage", "BatchGetImage", "CompleteLayerUpload", "DescribeImages"}
    | {"GetDownloadUrlForLayer", "InitiateLayerUpload", "ListImages", "PutImage", "UploadLayerPart"}
)
# What Docker asks the registry before it sends a layer or a manifest (ECR user guide, "IAM permissions for pushing an
# image to an Amazon ECR private repository"); other clients may send at once.
_ASKED_BEFORE_UPLOAD = ("BatchCheckLayerAvailability", "BatchGetImage")
_S3_ACTIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
}


def needs_of(call: Call, place: Place) -> tuple[Need, ...]:
    """Return all that IAM must allow for a call. Raises LookupError for an operation that no rule is about."""
    if call.operation in _ANY.get(call.service, ()):
        return (Need(f"{call.service}:{call.operation}", "*"),)
    rule = _RULES.get(call.service)
    found = tuple(rule(call, place)) if rule else None
    if found is None or (not found and call.service != "sts"):
        raise LookupError(f"no rule says what {call.service} {call.operation} needs: look it up, and add one")
    return found


def _ecs(call: Call, place: Place) -> Iterable[Need]:
    action = f"ecs:{call.operation}"
    for cluster in call.names("Cluster"):
        here: Context = (("ecs:cluster", place.arn("ecs", f"cluster/{cluster}")),)
        services = [f"{cluster}/{service}" for service in call.names("Service")]
        if call.operation == "DescribeClusters":
            yield Need(action, place.arn("ecs", f"cluster/{cluster}"))
        elif call.operation in _ON_SERVICE:
            yield from (Need(action, place.arn("ecs", f"service/{one}"), here) for one in services)
        elif call.operation in ("DescribeServiceDeployments", "DescribeServiceRevisions"):
            part = "service-deployment" if call.operation == "DescribeServiceDeployments" else "service-revision"
            yield from (Need(action, place.arn("ecs", f"service/{one}"), here) for one in services)
            yield from (Need(action, place.arn("ecs", f"{part}/{one}/*"), here) for one in services)
        elif call.operation in _ON_TASKS:
            yield Need(action, place.arn("ecs", f"task/{cluster}/*"), here)
        elif call.operation in ("ListServices", "ListTasks"):
            # The one has no resource types, the other a container instance, of which Fargate has none; the condition
            # says where (developer guide, "Identity-based policy examples for Amazon ECS").
            yield Need(action, "*", here)
        elif call.operation == "ExecuteCommand":
            yield Need(action, place.arn("ecs", f"cluster/{cluster}"), here)
            yield Need(action, place.arn("ecs", f"task/{cluster}/*"), here)
        elif call.operation == "RunTask":
            yield from (Need(action, _family(place, one), here) for one in call.names("TaskFamily"))
    if call.operation in _ON_FAMILY:
        yield from (Need(action, _family(place, one)) for one in call.names("TaskFamily"))
    yield from _tagging(call, place)
    yield from _passing(call, place)


def _family(place: Place, family: str) -> str:
    return place.arn("ecs", f"task-definition/{family}:*")


def _tagging(call: Call, place: Place) -> Iterable[Need]:
    """Tags given while something is made (developer guide, "Grant permission to tag resources on creation")."""
    made: Context = (("ecs:CreateAction", call.operation),)
    if call.operation == "RegisterTaskDefinition" and call.has("tags"):
        yield from (Need("ecs:TagResource", _family(place, one), made) for one in call.names("TaskFamily"))
    elif call.operation == "RunTask" and any(map(call.has, ("tags", "propagateTags", "enableECSManagedTags"))):
        clusters = call.names("Cluster")
        yield from (Need("ecs:TagResource", place.arn("ecs", f"task/{one}/*"), made) for one in clusters)


def _passing(call: Call, place: Place) -> Iterable[Need]:
    """Roles handed to tasks (developer guide, "Amazon ECS task execution IAM role" and "Amazon ECS task IAM role").

    Who lets a service or a task have another task definition hands over the roles in it.
    """
    passed: Context = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    if call.operation == "RegisterTaskDefinition":
        roles: Sequence[str] = call.names("Role")
    elif call.operation == "RunTask" or (call.operation == "UpdateService" and call.names("TaskFamily")):
        roles = (*place.execution_roles, *place.task_roles)
    else:
        return
    yield from (Need("iam:PassRole", place.role(one), passed) for one in roles)


def _ecr(call: Call, place: Place) -> Iterable[Need]:
    if call.operation not in _ON_REPOSITORY:
        return
    more = _ASKED_BEFORE_UPLOAD if call.operation == "InitiateLayerUpload" else ()
    for operation, one in itertools.product((call.operation, *more), call.names("Repository")):
        yield Need(f"ecr:{operation}", place.arn("ecr", f"repository/{one}"))


def _s3(call: Call, _place: Place) -> Iterable[Need]:
    action = _S3_ACTIONS.get(call.operation)
    if action is None:
        return
    for bucket in call.names("Bucket"):
        arn = f"arn:aws:s3:::{bucket}"
        yield from (Need(action, f"{arn}/{key}") for key in call.names("Key"))
        if action in ("s3:ListBucket", "s3:GetObject"):
            # Without it, S3 answers 403 in the place of 404 for what is not there (API reference, GetObject).
            yield Need("s3:ListBucket", arn)


def _logs(call: Call, place: Place) -> Iterable[Need]:
    if call.operation in ("FilterLogEvents", "GetLogEvents"):
        for one in call.names("LogGroup"):
            yield Need(f"logs:{call.operation}", place.arn("logs", f"log-group:{one}:*"))


def _iam(call: Call, place: Place) -> Iterable[Need]:
    if call.operation in ("GetRole", "SimulatePrincipalPolicy"):
        yield from (Need(f"iam:{call.operation}", place.role(one)) for one in call.names("Role"))


def _secretsmanager(call: Call, place: Place) -> Iterable[Need]:
    if call.operation in ("DescribeSecret", "GetResourcePolicy", "GetSecretValue"):
        # With the six characters that Secrets Manager puts behind a name, and without: a task definition may have it
        # so, and IAM judges the ARN that stands in the request.
        for one, suffix in itertools.product(call.names("Secret"), ("", "-??????")):
            yield Need(f"secretsmanager:{call.operation}", place.arn("secretsmanager", f"secret:{one}{suffix}"))


def _autoscaling(call: Call, place: Place) -> Iterable[Need]:
    if call.operation != "RegisterScalableTarget":
        return
    about: Context = (
        ("application-autoscaling:scalable-dimension", "ecs:service:DesiredCount"),
        ("application-autoscaling:service-namespace", "ecs"),
    )
    # The target's ARN holds an id that AWS chose.
    yield Need(
        "application-autoscaling:RegisterScalableTarget",
        place.arn("application-autoscaling", "scalable-target/*"),
        about,
    )
    # It looks at the service and changes it in the caller's name (Application Auto Scaling user guide, "Permissions
    # required for Application Auto Scaling API calls").
    for operation in ("DescribeServices", "UpdateService"):
        yield from _ecs(Call("ecs", operation, call.touched), place)


def _quotas(call: Call, place: Place) -> Iterable[Need]:
    if call.operation == "GetServiceQuota":
        for one in call.names("QuotaService"):
            yield Need("servicequotas:GetServiceQuota", place.arn("servicequotas", f"{one}/*"))


def _sts(call: Call, _place: Place) -> Iterable[Need]:
    if call.operation != "GetCallerIdentity":
        raise LookupError(f"no rule says what sts {call.operation} needs: look it up, and add one")
    # "No permissions are required" (STS API reference, GetCallerIdentity).
    return ()


_RULES = {
    "application-autoscaling": _autoscaling,
    "ecr": _ecr,
    "ecs": _ecs,
    "iam": _iam,
    "logs": _logs,
    "s3": _s3,
    "secretsmanager": _secretsmanager,
    "servicequotas": _quotas,
    "sts": _sts,
}
