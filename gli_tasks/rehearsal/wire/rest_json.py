"""The REST JSON protocol: operations by method and path, members in path, query, headers and a JSON body.

https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from gli_tasks.rehearsal.wire.messages import HttpAnswer, HttpRequest
from gli_tasks.rehearsal.wire.protocols import ErrorFacts, error_body, load_json, parameters
from gli_tasks.rehearsal.wire.query import read_scalar, write_scalar
from gli_tasks.rehearsal.wire.shapes import JsonTree

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


def _path_pattern(uri: str) -> re.Pattern[str]:
    pattern, end = "", 0
    path = uri.split("?", 1)[0]
    for label in _LABEL.finditer(path):
        pattern += re.escape(path[end : label.start()])
        pattern += f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})"
        end = label.end()
    return re.compile(pattern + re.escape(path[end:]).rstrip("/") + "/?")


class RestJsonProtocol:
    """Operations by method and path."""

    def __init__(self, service_model: Any) -> None:
        self._tree = JsonTree()
        self._routes: list[tuple[str, re.Pattern[str], str]] = []
        for name in service_model.operation_names:
            http = service_model.operation_model(name).http
            self._routes.append((http["method"], _path_pattern(http["requestUri"]), name))
        # The route with the fewest labels is the most exact one.
        self._routes.sort(key=lambda route: route[1].groups)

    def operation_name(self, request: HttpRequest, service_model: Any) -> str:  # noqa: ARG002
        """Return the operation whose method and path fit, or an empty name."""
        for method, pattern, name in self._routes:
            if method == request.method and pattern.fullmatch(request.path):
                return name
        return ""

    def parse(self, request: HttpRequest, operation: Any) -> dict[str, Any]:
        """Collect the members from wherever the model puts them."""
        shape = operation.input_shape
        if shape is None:
            return {}
        payload = shape.serialization.get("payload")
        in_body = payload is None and any("location" not in child.serialization for child in shape.members.values())
        found = parameters(self._tree, operation, load_json(request.body)) if in_body else {}
        found = {key: value for key, value in found.items() if "location" not in shape.members[key].serialization}
        if payload is not None and request.body:
            child = shape.members[payload]
            found[payload] = request.body if child.type_name == "blob" else self._payload(child, request.body)
        match = _path_pattern(operation.http["requestUri"]).fullmatch(request.path)
        labels = match.groupdict() if match else {}
        for member, child in shape.members.items():
            value = self._located(member, child, labels, request)
            if value is not None:
                found[member] = value
        return found

    def _payload(self, shape: Any, body: bytes) -> Any:
        return body.decode() if shape.type_name == "string" else self._tree.decode(shape, load_json(body))

    @staticmethod
    def _located(member: str, shape: Any, labels: dict[str, str], request: HttpRequest) -> Any:
        location, name = shape.serialization.get("location"), shape.serialization.get("name", member)
        if location == "uri":
            return read_scalar(shape, unquote(labels[name])) if name in labels else None
        if location == "querystring":
            values = [value for key, value in request.query if key == name]
            if shape.type_name == "list":
                return [read_scalar(shape.member, value) for value in values] or None
            if shape.type_name == "map":
                return dict(request.query)
            return read_scalar(shape, values[0]) if values else None
        if location == "header":
            text = request.headers.get(name.lower())
            return read_scalar(shape, text) if text is not None else None
        if location == "headers":
            prefix = name.lower()
            return {k[len(prefix) :]: v for k, v in request.headers.items() if k.startswith(prefix)} or None
        return None

    def answer(self, operation: Any, result: dict[str, Any], request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise members to headers, status and body."""
        headers = {"Content-Type": "application/json"}
        status, shape = int(operation.http.get("responseCode", 200)), operation.output_shape
        if shape is None:
            return HttpAnswer(status, b"", headers)
        body: dict[str, Any] = {}
        for member, value in result.items():
            child = shape.members[member]
            location = child.serialization.get("location")
            if location == "header":
                headers[child.serialization.get("name", member)] = write_scalar(child, value)
            elif location == "statusCode":
                status = int(value)
            else:
                body[member] = value
        payload = shape.serialization.get("payload")
        if payload is None:
            return HttpAnswer(status, json.dumps(self._tree.encode(shape, body)).encode(), headers)
        if payload not in body:
            return HttpAnswer(status, b"", headers)
        child = shape.members[payload]
        if child.type_name in ("blob", "string"):
            content = body[payload]
            return HttpAnswer(status, content if isinstance(content, bytes) else str(content).encode(), headers)
        return HttpAnswer(status, json.dumps(self._tree.encode(child, body[payload])).encode(), headers)

    def error(self, facts: ErrorFacts, service_model: Any, request_id: str) -> HttpAnswer:  # noqa: ARG002
        """Serialise with the name in ``x-amzn-ErrorType``."""
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": facts.name}
        return HttpAnswer(facts.status, json.dumps(error_body(facts)).encode(), headers)
