"""The query protocol: form fields in, XML out.

https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from botocore.utils import parse_to_aware_datetime

from gli_tasks.rehearsal.wire.errors import SerializationError
from gli_tasks.rehearsal.wire.messages import HttpAnswer, HttpRequest
from gli_tasks.rehearsal.wire.protocols import ErrorFacts
from gli_tasks.rehearsal.wire.shapes import iso8601, read_blob, read_timestamp

Fields = dict[str, str]


def form_fields(request: HttpRequest) -> Fields:
    """Return the fields of a form, wherever the request carries them. Raises SerializationError."""
    try:
        text = request.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SerializationError(f"The request body is not a form: {error}") from error
    return dict(request.query) | dict(parse_qsl(text, keep_blank_values=True))


class QueryProtocol:
    """Form fields such as ``Tags.member.1.Key`` in, XML out."""

    def operation_name(self, request: HttpRequest, service_model: Any) -> str:  # noqa: ARG002
        """Return the field ``Action``."""
        return form_fields(request).get("Action", "")

    def parse(self, request: HttpRequest, operation: Any) -> dict[str, Any]:
        """Return the fields as a tree."""
        if operation.input_shape is None:
            return {}
        tree = _structure(operation.input_shape, form_fields(request), "")
        return tree

    def answer(self, operation: Any, result: dict[str, Any], request_id: str) -> HttpAnswer:
        """Serialise as ``<OperationResponse><OperationResult>...``."""
        root = ElementTree.Element(f"{operation.name}Response", _namespace(operation.service_model))
        shape = operation.output_shape
        if shape is not None:
            wrapper = shape.serialization.get("resultWrapper", f"{operation.name}Result")
            _write(ElementTree.SubElement(root, wrapper), shape, result)
        metadata = ElementTree.SubElement(root, "ResponseMetadata")
        ElementTree.SubElement(metadata, "RequestId").text = request_id
        return _xml(root, 200)

    def error(self, facts: ErrorFacts, service_model: Any, request_id: str) -> HttpAnswer:
        """Serialise as ``<ErrorResponse>`` with the query code."""
        root = ElementTree.Element("ErrorResponse", _namespace(service_model))
        error = ElementTree.SubElement(root, "Error")
        for name, text in (("Type", facts.fault), ("Code", facts.code), ("Message", facts.message)):
            ElementTree.SubElement(error, name).text = text
        ElementTree.SubElement(root, "RequestId").text = request_id
        return _xml(root, facts.status)


def _namespace(service_model: Any) -> dict[str, str]:
    uri = service_model.metadata.get("xmlNamespace")
    return {"xmlns": str(uri)} if uri else {}


def _xml(root: ElementTree.Element, status: int) -> HttpAnswer:
    return HttpAnswer(status, ElementTree.tostring(root, encoding="utf-8"), {"Content-Type": "text/xml"})


def _below(fields: Fields, prefix: str) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for key in fields)


def _structure(shape: Any, fields: Fields, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member, child in shape.members.items():
        name = _member_name(member, child)
        path = f"{prefix}.{name}" if prefix else name
        if _below(fields, path):
            found[member] = _value(child, fields, path)
    return found


def _member_name(member: str, child: Any) -> str:
    # A flattened list takes the name of its member shape: botocore writes it so.
    if child.type_name == "list" and child.serialization.get("flattened"):
        return str(child.member.serialization.get("name", child.serialization.get("name", member)))
    return str(child.serialization.get("name", member))


def _indices(fields: Fields, prefix: str) -> list[str]:
    start = len(prefix) + 1
    found = {key[start:].split(".", 1)[0] for key in fields if key.startswith(f"{prefix}.")}
    return sorted((index for index in found if index.isdigit()), key=int)


def _value(shape: Any, fields: Fields, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, fields, path)
    flattened = shape.serialization.get("flattened")
    if kind == "list":
        items = path if flattened else f"{path}.{shape.member.serialization.get('name', 'member')}"
        return [_value(shape.member, fields, f"{items}.{index}") for index in _indices(fields, items)]
    if kind == "map":
        entries = path if flattened else f"{path}.entry"
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        numbered = [f"{entries}.{index}" for index in _indices(fields, entries)]
        return {
            fields.get(f"{entry}.{key_name}", ""): _value(shape.value, fields, f"{entry}.{value_name}")
            for entry in numbered
        }
    return read_scalar(shape, fields.get(path, ""))


def read_scalar(shape: Any, text: str) -> Any:
    """Read one value out of text; what does not fit stays text, for the validator to name."""
    kind = shape.type_name
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "timestamp":
        return read_timestamp(text)
    if kind == "blob":
        return read_blob(text)
    try:
        if kind in ("integer", "long"):
            return int(text)
        return float(text) if kind in ("double", "float") else text
    except ValueError:
        return text


def write_scalar(shape: Any, value: Any) -> str:
    """Write one value as text."""
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return iso8601(parse_to_aware_datetime(value))
    if kind == "blob":
        return base64.b64encode(value).decode()
    return str(value)


def _write(element: ElementTree.Element, shape: Any, value: Any) -> None:
    kind = shape.type_name
    if kind == "structure":
        for member, item in value.items():
            if item is not None:
                _write_member(element, member, shape.members[member], item)
    elif kind == "list":
        name = shape.member.serialization.get("name", "member")
        for item in value:
            _write(ElementTree.SubElement(element, name), shape.member, item)
    elif kind == "map":
        for key, item in value.items():
            _write_entry(ElementTree.SubElement(element, "entry"), shape, key, item)
    else:
        element.text = write_scalar(shape, value)


def _write_member(element: ElementTree.Element, member: str, shape: Any, value: Any) -> None:
    name = _member_name(member, shape)
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        for item in value:
            _write(ElementTree.SubElement(element, name), shape.member, item)
    elif shape.type_name == "map" and shape.serialization.get("flattened"):
        for key, item in value.items():
            _write_entry(ElementTree.SubElement(element, name), shape, key, item)
    else:
        _write(ElementTree.SubElement(element, name), shape, value)


def _write_entry(element: ElementTree.Element, shape: Any, key: str, value: Any) -> None:
    ElementTree.SubElement(element, shape.key.serialization.get("name", "key")).text = key
    _write(ElementTree.SubElement(element, shape.value.serialization.get("name", "value")), shape.value, value)
