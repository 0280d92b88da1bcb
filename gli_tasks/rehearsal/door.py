"""The twin's second door: the same AWS as behind the first one, with faults that only a wire can have.

A release under a fault that `microburst` cannot make comes in here: an S3 PUT whose reply is lost or cut in its head,
credentials that run out from one call on, a store that is away. The twin's own parts use the first door, so that a
fault never meets anything but the release.
"""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from xml.sax.saxutils import escape

from gli_tasks.rehearsal.wire.messages import (
    Environ,
    HttpAnswer,
    HttpRequest,
    StartResponse,
    WsgiApp,
    read_body,
    read_request,
)
from gli_tasks.rehearsal.wire.service import credential_scope

#: How far a signature's time may be off: S3, then every other service (AWS General Reference, Signature Version 4).
_S3_SKEW, _SKEW = timedelta(minutes=15), timedelta(minutes=5)
_TIME = "%Y%m%dT%H%M%SZ"


class DoorFault(StrEnum):
    """What happens to the calls that a rule names."""

    #: The call is carried out and its first reply never arrives; the same call again is answered.
    LOST_REPLY = "lost-reply"
    #: The call is carried out and its answer ends inside the head, which HTTP clients take for a whole one.
    CUT_HEAD = "cut-head"
    #: From the first such call on, every call of every service is refused: the session has ended.
    EXPIRED = "expired"
    #: Every such call is answered with 503.
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class DoorRule:
    """A fault and the calls that it meets; ``*`` stands for all. S3's operations are named by method: PutObject.

    ``path``: only calls whose path ends so.
    """

    fault: DoorFault
    service: str
    operation: str = "*"
    path: str = ""


class Door:
    """A WSGI application in front of another; without rules it lets everything through."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._rules: tuple[DoorRule, ...] = ()
        self._expired = False
        self._lost: set[str] = set()
        self._fired: Counter[str] = Counter()

    def set_rules(self, rules: Sequence[DoorRule]) -> None:
        """Replace the rules, and forget what earlier ones did."""
        with self._lock:
            self._rules, self._expired = tuple(rules), False
            self._lost.clear()
            self._fired.clear()

    def fired(self) -> int:
        """Return how many calls met a fault since the rules were set."""
        with self._lock:
            return self._fired.total()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or do to it what a rule says."""
        if not self._rules:
            return self._app(environ, start_response)
        body = read_body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("wsgi.input_terminated", None)
        request = read_request(environ, body)
        service, operation = _named(request)
        fault = self._fault_of(service, operation, request)
        if fault is None:
            return self._app(environ, start_response)
        if fault is DoorFault.EXPIRED:
            code = "ExpiredToken" if service == "s3" else "ExpiredTokenException"
            text = "The security token included in the request is expired"
            return _send(refusal(service, request, code, text, HTTPStatus.BAD_REQUEST), start_response)
        if fault is DoorFault.UNAVAILABLE:
            text = "Service is unable to handle request."
            return _send(
                refusal(service, request, "ServiceUnavailable", text, HTTPStatus.SERVICE_UNAVAILABLE), start_response
            )
        for _ in self._app(environ, lambda *_: None):
            pass
        connection: socket.socket = environ["werkzeug.socket"]
        if fault is DoorFault.CUT_HEAD:
            connection.sendall(b"HTTP/1.1 200 OK\r\nx-amz-request-id: REHEARSAL\r\n")
        connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError("a fault closed this connection")

    def _fault_of(self, service: str, operation: str, request: HttpRequest) -> DoorFault | None:
        with self._lock:
            for rule in self._rules:
                meets = rule.service in ("*", service) and rule.operation in ("*", operation)
                meets = meets and request.path.endswith(rule.path)
                if rule.fault is DoorFault.EXPIRED:
                    self._expired = self._expired or meets
                    meets = self._expired
                if meets and rule.fault is DoorFault.LOST_REPLY:
                    once = hashlib.sha256(f"{request.method} {request.path} ".encode() + request.body).hexdigest()
                    meets = once not in self._lost
                    self._lost.add(once)
                if meets:
                    self._fired[rule.fault] += 1
                    return rule.fault
        return None


class SignedInTime:
    """A WSGI application in front of another that refuses, as AWS does, what a clock that is wrong has signed."""

    def __init__(self, app: WsgiApp, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._app, self._clock = app, clock

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        signed = str(environ.get("HTTP_X_AMZ_DATE") or "")
        try:
            moment = datetime.strptime(signed, _TIME).replace(tzinfo=UTC)
        except ValueError:
            return self._app(environ, start_response)
        request = read_request(environ, b"")
        answer = _refused_for_its_time(request, moment, self._clock())
        return self._app(environ, start_response) if answer is None else _send(answer, start_response)


def _refused_for_its_time(request: HttpRequest, signed: datetime, now: datetime) -> HttpAnswer | None:
    scope = credential_scope(request)
    service = scope.service if scope else ""
    if abs(now - signed) <= (_S3_SKEW if service == "s3" else _SKEW):
        return None
    if service == "s3":
        text = "The difference between the request time and the current time is too large."
        return refusal(service, request, "RequestTimeTooSkewed", text, HTTPStatus.FORBIDDEN)
    if signed < now:
        edge = f"is now earlier than {now - _SKEW:{_TIME}} ({now:{_TIME}} - 5 min.)"
        text = f"Signature expired: {signed:{_TIME}} {edge}"
    else:
        edge = f"is still later than {now + _SKEW:{_TIME}} ({now:{_TIME}} + 5 min.)"
        text = f"Signature not yet current: {signed:{_TIME}} {edge}"
    if "x-amz-target" in request.headers:
        return refusal(service, request, "InvalidSignatureException", text, HTTPStatus.BAD_REQUEST)
    return refusal(service, request, "SignatureDoesNotMatch", text, HTTPStatus.FORBIDDEN)


def refusal(service: str, request: HttpRequest, code: str, message: str, status: HTTPStatus) -> HttpAnswer:
    """Return an error in the form of the protocol that the request came in: S3's XML, JSON, or the query protocol's."""
    if service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        return HttpAnswer(status, text.encode(), {"Content-Type": "application/xml"})
    if "x-amz-target" in request.headers:
        answer = HttpAnswer.json({"__type": code, "message": message}, status)
        return HttpAnswer(status, answer.body, {"Content-Type": "application/x-amz-json-1.1"})
    inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    text = f"<ErrorResponse>{inner}<RequestId>rehearsal</RequestId></ErrorResponse>"
    return HttpAnswer(status, text.encode(), {"Content-Type": "text/xml"})


def _named(request: HttpRequest) -> tuple[str, str]:
    """Return the service and the operation that a request names."""
    scope = credential_scope(request)
    target = request.headers.get("x-amz-target", "").rpartition(".")[2]
    return scope.service if scope else "", target or f"{request.method.title()}Object"


def _send(answer: HttpAnswer, start_response: StartResponse) -> Iterable[bytes]:
    status = HTTPStatus(answer.status)
    headers = {**answer.headers, "x-amzn-RequestId": "rehearsal", "Content-Length": str(len(answer.body))}
    start_response(f"{status.value} {status.phrase}", list(headers.items()))
    return [answer.body]
