"""One door for every AWS API: own services by credential scope, the twin's pages, all else to the wrapped one."""

from __future__ import annotations

import io
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

from gli_tasks.rehearsal.wire.ledger import Ledger, asked_of
from gli_tasks.rehearsal.wire.messages import (
    Environ,
    HttpAnswer,
    HttpRequest,
    Page,
    StartResponse,
    WsgiApp,
    read_body,
    read_request,
)
from gli_tasks.rehearsal.wire.service import AwsService, CredentialScope, credential_scope

CALLS_PATH = "/_twin/calls"
LEDGER_PATH = "/_twin/ledger"
_log = logging.getLogger(__name__)


class Gateway:
    """A WSGI application in front of another.

    ``pages`` answer paths of the twin's own; a path that ends with ``/`` answers everything below it. ``GET
    /_twin/calls`` tells how often each operation was called since the start: ``{"ecs": {"UpdateService": 1}}``.
    REST services that are not the gateway's own are counted by HTTP method. ``GET /_twin/ledger`` tells who called
    what, and the names of the resources in it (``Ledger.rows``).
    """

    def __init__(
        self,
        wsgi_app: WsgiApp,
        services: Sequence[AwsService] = (),
        pages: Mapping[str, Page] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._wsgi_app = wsgi_app
        self._services = {service.signing_name: service for service in services}
        self._pages: dict[str, Page] = {
            CALLS_PATH: self._calls_page,
            LEDGER_PATH: self._ledger_page,
            **(pages or {}),
        }
        self._calls: Counter[tuple[str, str]] = Counter()
        self._ledger = ledger or Ledger()
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request_id = str(uuid.uuid4())
        try:
            return self._dispatch(environ, start_response, request_id)
        except Exception:  # noqa: BLE001 - outermost edge: answered and logged, never a dropped connection
            _log.exception("a request failed at the gateway")
            return _send(HttpAnswer.text("the twin failed inside; see its log", 500), start_response, request_id)

    def calls(self) -> dict[str, dict[str, int]]:
        """Return how often each operation of each service was called."""
        with self._lock:
            counted = sorted(self._calls.items())
        found: dict[str, dict[str, int]] = {}
        for (service, operation), count in counted:
            found.setdefault(service, {})[operation] = count
        return found

    def _dispatch(self, environ: Environ, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        page = self._page(str(environ.get("PATH_INFO") or "/"))
        if page is not None:
            return _send(page(read_request(environ, read_body(environ))), start_response, request_id)
        request = read_request(environ, b"")
        scope = credential_scope(request)
        if scope is None:
            return self._fall_through(environ, start_response, request_id)
        service = self._services.get(scope.service)
        if service is None:
            # A file that S3 gets may be of any size, and nothing of it is wanted here.
            body = b"" if scope.service == "s3" else _keep_body(environ)
            self._count(scope, self._foreign_operation(request, body), request, body)
            return self._fall_through(environ, start_response, request_id)
        body = _keep_body(environ)
        request = read_request(environ, body)
        operation = service.operation_of(request)
        self._count(scope, operation or request.method, request, body)
        if service.fall_through and not service.handles(operation):
            return self._fall_through(environ, start_response, request_id)
        return _send(service.answer(request, request_id), start_response, request_id)

    def _page(self, path: str) -> Page | None:
        if path in self._pages:
            return self._pages[path]
        below = (prefix for prefix in self._pages if prefix.endswith("/") and path.startswith(prefix))
        longest = max(below, key=len, default=None)
        return self._pages[longest] if longest is not None else None

    def _calls_page(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "GET":
            return HttpAnswer.text("only GET", HTTPStatus.METHOD_NOT_ALLOWED)
        return HttpAnswer.json(self.calls())

    def _ledger_page(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "GET":
            return HttpAnswer.text("only GET", HTTPStatus.METHOD_NOT_ALLOWED)
        return HttpAnswer.json(self._ledger.rows())

    def _count(self, scope: CredentialScope, operation: str, request: HttpRequest, body: bytes) -> None:
        with self._lock:
            self._calls[scope.service, operation] += 1
        self._ledger.note([asked_of(scope.access_key, scope.service, operation, request, body)])

    @staticmethod
    def _foreign_operation(request: HttpRequest, body: bytes) -> str:
        target = request.headers.get("x-amz-target")
        if target:
            return target.rpartition(".")[2]
        if request.headers.get("smithy-protocol"):
            return request.path.rpartition("/")[2]
        if "x-www-form-urlencoded" in request.headers.get("content-type", ""):
            fields = parse_qs(body.decode("utf-8", "replace"))
            return fields.get("Action", [request.method])[0]
        return request.query_value("Action") or request.method

    def _fall_through(self, environ: Environ, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            if not any(name.lower() == "x-amzn-requestid" for name, _ in headers):
                headers = [*headers, ("x-amzn-RequestId", request_id)]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self._wsgi_app(environ, start)


def _keep_body(environ: Environ) -> bytes:
    """Read the body and put it back, so that the wrapped application can read it once more."""
    body = read_body(environ)
    environ["wsgi.input"] = io.BytesIO(body)
    if environ.get("wsgi.input_terminated") and "CONTENT_LENGTH" not in environ:
        environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _send(answer: HttpAnswer, start_response: StartResponse, request_id: str) -> Iterable[bytes]:
    headers = {**answer.headers, "x-amzn-RequestId": request_id, "Content-Length": str(len(answer.body))}
    start_response(f"{answer.status} {_phrase(answer.status)}", list(headers.items()))
    return [answer.body]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
