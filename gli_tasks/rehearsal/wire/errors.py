"""The one error that a service of the twin raises on purpose."""

from __future__ import annotations


class AwsError(Exception):
    """An error that the caller is told in AWS's form.

    ``code`` is the error's name in botocore's model, or its older query code. ``status`` is the HTTP status; None takes
    the model's, else 400. ``members`` are further members of a modelled error.
    """

    def __init__(
        self, code: str, message: str, status: int | None = None, members: dict[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


class SerializationError(AwsError):
    """The request cannot be read at all: truncated, or not in its protocol."""

    def __init__(self, message: str) -> None:
        super().__init__("SerializationException", message, 400)
