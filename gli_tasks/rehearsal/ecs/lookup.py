"""Finds what a request names, in each of the forms that ECS takes, or raises ECS's error for it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from gli_tasks.rehearsal.ecs.model import Cluster, RegisteredDefinition, Service, Store
from gli_tasks.rehearsal.wire.errors import AwsError

Item = TypeVar("Item")


def short_name(name_or_arn: str) -> str:
    """Return the last part of an ARN, or the name itself."""
    return name_or_arn.rpartition("/")[2]


def find_cluster(store: Store, name_or_arn: str | None) -> Cluster:
    """Return an active cluster; none named is ``default``. Raises AwsError (ClusterNotFoundException)."""
    cluster = store.clusters.get(short_name(name_or_arn or "default"))
    if cluster is None or cluster.status != "ACTIVE":
        raise AwsError("ClusterNotFoundException", "Cluster not found.")
    return cluster


def find_service(store: Store, cluster: Cluster, name_or_arn: str) -> Service | None:
    """Return a service of a cluster, or None."""
    return store.services.get(store.arn(f"service/{cluster.name}/{short_name(name_or_arn)}"))


def need_service(store: Store, cluster: Cluster, name_or_arn: str) -> Service:
    """Return a service that is not gone. Raises AwsError (ServiceNotFoundException, ServiceNotActiveException)."""
    service = find_service(store, cluster, name_or_arn)
    if service is None:
        raise AwsError("ServiceNotFoundException", "Service not found.")
    if service.status != "ACTIVE":
        raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
    return service


def find_definition(store: Store, name: str) -> RegisteredDefinition | None:
    """Return a task definition by ARN, family:revision, or family (its newest active revision)."""
    family, colon, revision = short_name(name).partition(":")
    revisions = store.definitions.get(family, [])
    if colon:
        number = int(revision) if revision.isdigit() else 0
        return revisions[number - 1] if 0 < number <= len(revisions) else None
    return next((item for item in reversed(revisions) if item.status == "ACTIVE"), None)


def usable_definition(store: Store, name: str) -> RegisteredDefinition:
    """Return a task definition that may run. Raises AwsError (ClientException)."""
    definition = find_definition(store, name)
    if definition is None or definition.status == "DELETE_IN_PROGRESS":
        raise AwsError("ClientException", "TaskDefinition not found.")
    if definition.status != "ACTIVE":
        raise AwsError("ClientException", "TaskDefinition is inactive")
    return definition


def page(items: Sequence[Item], limit: int | None, token: str | None) -> tuple[list[Item], str | None]:
    """Return one page and the token of the next. Raises AwsError (InvalidParameterException) for a strange token."""
    size = limit if limit is not None else 100
    if not 1 <= size <= 100:
        raise AwsError("InvalidParameterException", "maxResults must be between 1 and 100.")
    try:
        start = int(base64.urlsafe_b64decode(token.encode()).decode()) if token else 0
    except (ValueError, binascii.Error) as error:
        raise AwsError("InvalidParameterException", "Invalid token.") from error
    end = start + size
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return list(items[start:end]), following
