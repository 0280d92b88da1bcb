"""Walks over botocore's shapes: wire trees to plain values and back, and the checks that botocore leaves out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import cbor2
from botocore.utils import parse_to_aware_datetime


def iso8601(moment: datetime) -> str:
    """Return a moment as AWS's XML writes it, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(moment: datetime) -> float:
    """Return epoch seconds cut to the millisecond, as AWS's JSON and CBOR carry them."""
    return int(moment.timestamp() * 1000) / 1000


def read_timestamp(value: Any) -> Any:
    """Read a timestamp in any of AWS's formats; what is none is handed on for the validator to name."""
    if isinstance(value, bool):
        return value
    try:
        return parse_to_aware_datetime(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        return value


def read_blob(value: Any) -> Any:
    """Read a base64 blob; what is none is handed on for the validator to name."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value


class JsonTree:
    """JSON's way: members by their location name, timestamps as numbers, blobs in base64."""

    def name(self, member: str, shape: Any) -> str:
        """Return the name that a structure's member has on the wire."""
        return str(shape.serialization.get("name", member))

    def blob_out(self, value: bytes) -> Any:
        """Encode a blob."""
        return base64.b64encode(value).decode()

    def timestamp_out(self, value: datetime, shape: Any) -> Any:
        """Encode a timestamp."""
        return iso8601(value) if shape.serialization.get("timestampFormat") == "iso8601" else epoch(value)

    def blob_in(self, value: Any) -> Any:
        """Decode a blob."""
        return read_blob(value)

    def decode(self, shape: Any, node: Any) -> Any:
        """Turn a wire tree into plain values. Nulls and unknown members are dropped, as AWS does."""
        kind = shape.type_name
        if kind == "structure" and isinstance(node, dict) and not getattr(shape, "is_document_type", False):
            named = ((member, child, self.name(member, child)) for member, child in shape.members.items())
            return {
                member: self.decode(child, node[name]) for member, child, name in named if node.get(name) is not None
            }
        if kind == "list" and isinstance(node, list):
            return [self.decode(shape.member, item) for item in node]
        if kind == "map" and isinstance(node, dict):
            return {key: self.decode(shape.value, value) for key, value in node.items()}
        if kind == "timestamp":
            return read_timestamp(node)
        return self.blob_in(node) if kind == "blob" else node

    def encode(self, shape: Any, value: Any) -> Any:
        """Turn plain values into a wire tree; members that are None are left out."""
        kind = shape.type_name
        if kind == "structure" and not getattr(shape, "is_document_type", False):
            return {
                self.name(member, shape.members[member]): self.encode(shape.members[member], item)
                for member, item in value.items()
                if item is not None
            }
        if kind == "list":
            return [self.encode(shape.member, item) for item in value]
        if kind == "map":
            return {key: self.encode(shape.value, item) for key, item in value.items()}
        if kind == "timestamp":
            return self.timestamp_out(parse_to_aware_datetime(value), shape)
        if kind == "blob":
            return self.blob_out(value.encode() if isinstance(value, str) else bytes(value))
        return float(value) if kind in ("double", "float") else value


class CborTree(JsonTree):
    """RPC v2 CBOR's way: members by their own name, timestamps as tag 1, blobs as bytes.

    https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
    """

    def name(self, member: str, shape: Any) -> str:  # noqa: ARG002
        """Return the member's own name: this protocol ignores location names."""
        return member

    def blob_out(self, value: bytes) -> Any:
        """Keep bytes."""
        return value

    def blob_in(self, value: Any) -> Any:
        """Keep bytes."""
        return value

    def timestamp_out(self, value: datetime, shape: Any) -> Any:  # noqa: ARG002
        """Encode as tag 1, epoch seconds."""
        return cbor2.CBORTag(1, epoch(value))


def without_nones(value: Any) -> Any:
    """Return the tree without members that are None, so that handlers may write optional members plainly."""
    if isinstance(value, dict):
        return {key: without_nones(item) for key, item in value.items() if item is not None}
    return [without_nones(item) for item in value] if isinstance(value, list | tuple) else value


def enum_problems(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yield each value outside its enumeration in AWS's words; botocore's validator does not look at them."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for member, item in value.items():
            if member in shape.members:
                yield from enum_problems(shape.members[member], item, f"{path}.{member}" if path else member)
    elif kind == "list" and isinstance(value, list):
        for index, item in enumerate(value, start=1):
            yield from enum_problems(shape.member, item, f"{path}.{index}.member")
    elif kind == "map" and isinstance(value, dict):
        for key, item in value.items():
            yield from enum_problems(shape.value, item, f"{path}.{key}")
    elif kind == "string" and isinstance(value, str) and shape.enum and value not in shape.enum:
        allowed = ", ".join(shape.enum)
        constraint = f"Member must satisfy enum value set: [{allowed}]"
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
