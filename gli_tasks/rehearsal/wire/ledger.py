"""Who asked for what: each operation with the names in it that an IAM policy can be about.

Values are kept for a few parameters alone, all of them names of resources: a secret's value never gets here.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from gli_tasks.rehearsal.wire.messages import HttpRequest

Named = tuple[tuple[str, tuple[str, ...]], ...]

#: The parameters, as the services' models spell them.
_NAMES = frozenset(
    {"cluster", "clusters", "service", "services", "serviceName", "serviceRevisionArns", "serviceDeploymentArns"}
    | {"taskDefinition", "taskDefinitions", "family", "familyPrefix", "executionRoleArn", "taskRoleArn"}
    | {"repositoryName", "logGroupName", "logGroupIdentifier", "SecretId", "RoleName", "PolicySourceArn", "ResourceId"}
    | {"ServiceCode"}
)
#: Of these only whether they are given, since what is tagged needs a permission more.
_GIVEN = frozenset({"tags", "propagateTags", "enableECSManagedTags"})

# What a sub-resource in the query, or its absence, makes of a method (S3 API reference, "Actions").
_S3_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_S3_BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_S3_PARTS = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("POST", "delete"): "DeleteObjects",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "versions"): "ListObjectVersions",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One kind of call: the access key that signed it, the service as it is signed for, the operation, and names."""

    caller: str
    service: str
    operation: str
    named: Named = ()


class Ledger:
    """How often each kind of call was made. Threads may share it."""

    def __init__(self) -> None:
        self._asked: Counter[Asked] = Counter()
        self._lock = threading.Lock()

    def note(self, asked: Iterable[Asked]) -> None:
        """Write calls down."""
        with self._lock:
            self._asked.update(asked)

    def rows(self) -> list[dict[str, Any]]:
        """Return every kind of call with its count, as plain values and in order."""
        with self._lock:
            counted = sorted(
                self._asked.items(), key=lambda one: (one[0].caller, one[0].service, one[0].operation, one[0].named)
            )
        return [
            {
                "caller": one.caller,
                "service": one.service,
                "operation": one.operation,
                "named": {key: list(values) for key, values in one.named},
                "count": count,
            }
            for one, count in counted
        ]


def asked_of(caller: str, service: str, operation: str, request: HttpRequest, body: bytes) -> Asked:
    """Return what a request asks for; S3's operation is told by its method, path and query."""
    if service == "s3":
        return _asked_of_s3(caller, request)
    return Asked(caller, service, operation, _named(_parameters(request, body)))


def _asked_of_s3(caller: str, request: HttpRequest) -> Asked:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    parameters = dict(request.query)
    parts = (name for (method, part), name in _S3_PARTS.items() if method == request.method and part in parameters)
    plain = (_S3_OBJECT if key else _S3_BUCKET).get(request.method, request.method)
    operation = next(parts, "CopyObject" if "x-amz-copy-source" in request.headers else plain)
    prefix = parameters.get("prefix", "")
    named = {"Bucket": bucket, "Key": key, "Prefix": prefix}
    return Asked(caller, "s3", operation, tuple((name, (value,)) for name, value in named.items() if value))


def _parameters(request: HttpRequest, body: bytes) -> Mapping[str, Any]:
    if "x-www-form-urlencoded" in request.headers.get("content-type", ""):
        return parse_qs(body.decode("utf-8", "replace"))
    try:
        tree = json.loads(body) if body else {}
    except ValueError:
        # Another protocol's body, or one cut short; the service itself answers that.
        return {}
    return tree if isinstance(tree, dict) else {}


def _named(parameters: Mapping[str, Any]) -> Named:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in parameters.items():
        if name in _NAMES:
            values = value if isinstance(value, list) else [value]
            found[name] = tuple(sorted({one for one in values if isinstance(one, str)}))
        elif name in _GIVEN and value:
            found[name] = ()
    return tuple(sorted(found.items()))
