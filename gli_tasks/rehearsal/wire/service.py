"""The face of one AWS service: checks what comes in, calls one method, checks what goes out."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import botocore.session
from botocore import xform_name
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from gli_tasks.rehearsal.wire.errors import AwsError, SerializationError
from gli_tasks.rehearsal.wire.messages import HttpAnswer, HttpRequest
from gli_tasks.rehearsal.wire.protocols import CborProtocol, JsonProtocol, WireProtocol, error_facts
from gli_tasks.rehearsal.wire.query import QueryProtocol
from gli_tasks.rehearsal.wire.rest_json import RestJsonProtocol
from gli_tasks.rehearsal.wire.shapes import enum_problems, without_nones

_CREDENTIAL = re.compile(r"(?P<key>[^/\s=]+)/(?P<date>\d{8})/(?P<region>[^/]*)/(?P<service>[^/]+)/aws4_request")
_log = logging.getLogger(__name__)

Handler = Callable[["RequestContext", dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class CredentialScope:
    """Who signed a request, and for which service."""

    access_key: str
    region: str
    service: str


def credential_scope(request: HttpRequest) -> CredentialScope | None:
    """Read the SigV4 credential scope from the header, or from the query of a presigned URL."""
    text = request.headers.get("authorization") or request.query_value("X-Amz-Credential") or ""
    match = _CREDENTIAL.search(text)
    return CredentialScope(match["key"], match["region"], match["service"].lower()) if match else None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a handler may know about the request beside its parameters."""

    operation: str
    request_id: str
    access_key: str
    region: str


def _uncompressed(request: HttpRequest) -> HttpRequest:
    """Return the request with its body unpacked; SDKs compress large PutMetricData requests."""
    try:
        return replace(request, body=gzip.decompress(request.body))
    except (OSError, EOFError, zlib.error) as error:
        raise SerializationError(f"The request body is not valid gzip: {error}") from error


class AwsService:
    """One service; a subclass writes a method an operation, named as boto3 names it.

    ``name`` is botocore's name of the service ("ecs", "elbv2"). With ``fall_through`` the gateway hands operations
    that have no method to the wrapped application; without it they are answered as not supported.
    """

    validation_error_code: ClassVar[str] = "ValidationException"

    def __init__(self, name: str, *, fall_through: bool = False) -> None:
        self.name = name
        self.fall_through = fall_through
        self.model = botocore.session.get_session().get_service_model(name)
        self._operations = frozenset(self.model.operation_names)
        self._validator = ParamValidator()
        self._cbor, self._query = CborProtocol(), QueryProtocol()
        self._rest = RestJsonProtocol(self.model) if self.model.metadata["protocol"] == "rest-json" else None

    @property
    def signing_name(self) -> str:
        """Return the service's name in SigV4 credential scopes."""
        return str(self.model.signing_name)

    def handles(self, operation: str) -> bool:
        """Say whether this service has a method for the operation."""
        return operation in self._operations and self._handler(operation) is not None

    def operation_of(self, request: HttpRequest) -> str:
        """Return the operation that a request names, or an empty name where it cannot be read."""
        try:
            return self._protocol(request).operation_name(request, self.model)
        except AwsError:
            return ""

    def answer(self, request: HttpRequest, request_id: str) -> HttpAnswer:
        """Answer one request; every failure becomes an error in the caller's protocol."""
        protocol = self._protocol(request)
        try:
            return self._answer(protocol, request, request_id)
        except AwsError as error:
            return protocol.error(error_facts(error, self.model), self.model, request_id)
        except Exception as error:  # noqa: BLE001 - outermost edge: a bug is answered and logged
            _log.exception("%s: a request failed inside the twin", self.name)
            fault = AwsError("InternalFailure", f"The twin failed inside: {type(error).__name__}: {error}", 500)
            return protocol.error(error_facts(fault, self.model), self.model, request_id)

    def _protocol(self, request: HttpRequest) -> WireProtocol:
        if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
            return self._cbor
        if "x-amz-target" in request.headers:
            return JsonProtocol("1.0" if "json-1.0" in request.headers.get("content-type", "") else "1.1")
        return self._rest or self._query

    def _handler(self, operation: str) -> Handler | None:
        handler: Handler | None = getattr(self, xform_name(operation), None)
        return handler

    def _answer(self, protocol: WireProtocol, request: HttpRequest, request_id: str) -> HttpAnswer:
        announced = request.headers.get("content-length")
        if announced and announced.isdigit() and int(announced) != len(request.body):
            raise SerializationError(f"The request announced {announced} bytes and brought {len(request.body)}.")
        if request.headers.get("content-encoding") == "gzip":
            request = _uncompressed(request)
        name = protocol.operation_name(request, self.model)
        if name not in self._operations:
            raise AwsError("UnknownOperationException", f"{self.name} has no operation {name!r}.", 400)
        handler = self._handler(name)
        if handler is None:
            raise AwsError("NotImplemented", f"The twin does not do {self.name}'s {name}.", 501)
        operation = self.model.operation_model(name)
        params = protocol.parse(request, operation)
        self._check_input(operation, params)
        scope = credential_scope(request) or CredentialScope("", "", self.signing_name)
        context = RequestContext(name, request_id, scope.access_key, scope.region)
        result = without_nones(handler(context, params) or {})
        self._check_output(operation, result)
        return protocol.answer(operation, result, request_id)

    def _check_input(self, operation: Any, params: dict[str, Any]) -> None:
        shape = operation.input_shape
        if shape is None:
            return
        report = self._validator.validate(params, shape)
        if report.has_errors():
            raise AwsError(self.validation_error_code, report.generate_report())
        problems = list(enum_problems(shape, params))
        if problems:
            plural = "error" if len(problems) == 1 else "errors"
            text = f"{len(problems)} validation {plural} detected: {'; '.join(problems)}"
            raise AwsError(self.validation_error_code, text)

    def _check_output(self, operation: Any, result: dict[str, Any]) -> None:
        shape = operation.output_shape
        if shape is None:
            if result:
                raise TypeError(f"{operation.name} has no output, and the twin answers {sorted(result)}")
            return
        report = self._validator.validate(result, shape)
        problems = [report.generate_report()] if report.has_errors() else list(enum_problems(shape, result))
        if problems:
            raise ParamValidationError(report=f"the answer of {operation.name} does not fit its model: {problems[0]}")
