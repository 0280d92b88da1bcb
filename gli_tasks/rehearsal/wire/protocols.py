"""AWS's protocols: which operation a request names, its parameters, and answers and errors in the caller's form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import cbor2

from gli_tasks.rehearsal.wire.errors import AwsError, SerializationError
from gli_tasks.rehearsal.wire.messages import HttpAnswer, HttpRequest
from gli_tasks.rehearsal.wire.shapes import CborTree, JsonTree


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """An error as the wire needs it: its modelled name, its query code, its status, and any modelled members."""

    name: str
    code: str
    message: str
    status: int
    members: dict[str, object]

    @property
    def fault(self) -> str:
        """Return whose fault it is, in the query protocol's words."""
        return "Sender" if self.status < 500 else "Receiver"


def error_facts(error: AwsError, service_model: Any) -> ErrorFacts:
    """Look an error up in the model, by its name or by its query code."""
    for shape in service_model.error_shapes:
        modelled = shape.metadata.get("error", {})
        if error.code in (shape.name, modelled.get("code")):
            status = error.status or modelled.get("httpStatusCode") or (500 if shape.metadata.get("fault") else 400)
            return ErrorFacts(shape.name, modelled.get("code", shape.name), error.message, status, error.members)
    return ErrorFacts(error.code, error.code, error.message, error.status or 400, error.members)


class WireProtocol(Protocol):
    """One way of speaking to a service."""

    def operation_name(self, request: HttpRequest, service_model: Any) -> str:
        """Return the operation that the request names. Raises SerializationError where it names none."""

    def parse(self, request: HttpRequest, operation: Any) -> dict[str, Any]:
        """Return the request's parameters, not yet validated. Raises SerializationError."""

    def answer(self, operation: Any, result: dict[str, Any], request_id: str) -> HttpAnswer:
        """Serialise a result that fits the operation's output shape."""

    def error(self, facts: ErrorFacts, service_model: Any, request_id: str) -> HttpAnswer:
        """Serialise an error."""


def error_body(facts: ErrorFacts) -> dict[str, object]:
    """Return the body of an error in the JSON protocols."""
    return {**facts.members, "__type": facts.name, "message": facts.message}


def load_json(body: bytes) -> Any:
    """Parse a JSON body; an empty one is an empty object. Raises SerializationError."""
    if not body:
        return {}
    try:
        return json.loads(body)
    except ValueError as error:
        raise SerializationError(f"The request body is not valid JSON: {error}") from error


def parameters(tree: JsonTree, operation: Any, node: Any) -> dict[str, Any]:
    """Decode a body that must be one structure. Raises SerializationError."""
    if not isinstance(node, dict):
        raise SerializationError("Start of structure or map found where not expected.")
    if operation.input_shape is None:
        return {}
    decoded: dict[str, Any] = tree.decode(operation.input_shape, node)
    return decoded


class JsonProtocol:
    """JSON 1.0 and 1.1: the operation is in ``X-Amz-Target``."""

    def __init__(self, version: str) -> None:
        self._content_type = f"application/x-amz-json-{version}"
        self._tree = JsonTree()

    def operation_name(self, request: HttpRequest, service_model: Any) -> str:  # noqa: ARG002
        """Return what follows the last dot of the target."""
        return request.headers.get("x-amz-target", "").rpartition(".")[2]

    def parse(self, request: HttpRequest, operation: Any) -> dict[str, Any]:
        """Return the body's members."""
        return parameters(self._tree, operation, load_json(request.body))

    def answer(self, operation: Any, result: dict[str, Any], request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise; an operation without an output shape answers with an empty body."""
        shape = operation.output_shape
        body = json.dumps(self._tree.encode(shape, result)).encode() if shape is not None else b""
        return HttpAnswer(200, body, {"Content-Type": self._content_type})

    def error(self, facts: ErrorFacts, service_model: Any, request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise with ``__type``, and the query code in its header where the service once spoke query."""
        headers = {"Content-Type": self._content_type, **query_error_header(facts, service_model)}
        return HttpAnswer(facts.status, json.dumps(error_body(facts)).encode(), headers)


def query_error_header(facts: ErrorFacts, service_model: Any) -> dict[str, str]:
    """Return the header that keeps a query service's old error codes alive in newer protocols.

    https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait
    """
    if "awsQueryCompatible" not in service_model.metadata:
        return {}
    return {"x-amzn-query-error": f"{facts.code};{facts.fault}"}


class CborProtocol:
    """Smithy RPC v2 CBOR: ``POST /service/NAME/operation/OPERATION``."""

    def __init__(self) -> None:
        self._tree = CborTree()
        self._headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}

    def operation_name(self, request: HttpRequest, service_model: Any) -> str:  # noqa: ARG002
        """Return the path's last part."""
        return request.path.rstrip("/").rpartition("/operation/")[2]

    def parse(self, request: HttpRequest, operation: Any) -> dict[str, Any]:
        """Return the body's members."""
        if not request.body:
            return {}
        try:
            node = cbor2.loads(request.body)
        except (cbor2.CBORDecodeError, ValueError) as error:
            raise SerializationError(f"The request body is not valid CBOR: {error}") from error
        return parameters(self._tree, operation, node)

    def answer(self, operation: Any, result: dict[str, Any], request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise; an operation without an output shape answers with an empty map."""
        shape = operation.output_shape
        node = self._tree.encode(shape, result) if shape is not None else {}
        return HttpAnswer(200, cbor2.dumps(node), self._headers)

    def error(self, facts: ErrorFacts, service_model: Any, request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise with ``__type`` and, for services that once spoke query, the old code in its header."""
        headers = {**self._headers, **query_error_header(facts, service_model)}
        return HttpAnswer(facts.status, cbor2.dumps(error_body(facts)), headers)
