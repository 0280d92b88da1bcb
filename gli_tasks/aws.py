"""AWS: one session, clients made on first use and shared by threads, a journal of calls, and errors as sentences."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gli_tasks import guard
from gli_tasks.errors import AwsCallFailed, GliError, Refused

_READS = re.compile(r"(Get|List|Describe|Head|BatchGet|Filter|Lookup|Search|Scan|Query|Simulate|Validate)[A-Z]")
_READ_EXCEPTIONS = frozenset(
    {"BatchCheckLayerAvailability"}
    # What gives credentials for a while, and changes nothing else: botocore itself asks so for a profile's role.
    | {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "CreateToken", "CreateOAuth2Token"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changes something: what was asked, its request id, and the HTTP status of the answer.

    Status 0 says that no answer came: whether the call was carried out is not known.
    """

    service: str
    operation: str
    request_id: str
    status: int
    attempts: int


def is_read(operation: str) -> bool:
    """Tell whether an operation, by AWS's naming, only reads."""
    return bool(_READS.match(operation)) or operation in _READ_EXCEPTIONS


class Aws:
    """A session for one account and region.

    Threads share the clients: eight sessions take four times as long to make as one session's eight clients, and
    twice the memory.
    """

    def __init__(self, region: str, account: str) -> None:
        self.region = region
        self.account = account
        self._on_change: Callable[[Call], None] | None = None
        self._guard: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def tell_changes(self, on_change: Callable[[Call], None]) -> None:
        """Tell ``on_change`` of every call that changes something from now on, once its answer came or was lost."""
        self._on_change = on_change

    def guard_changes(self, guard: Callable[[], None]) -> None:
        """Ask ``guard`` before every call that changes something from now on; what it raises keeps the call from being
        made.

        Not asked for S3, where a release writes its own record and lock, each by a conditional put.
        """
        self._guard = guard

    def client(self, service: str) -> Any:
        """Return the client of a service, made on first use."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make_client(service)
            return self._clients[service]

    def _make_client(self, service: str) -> Any:
        from botocore.config import Config
        from botocore.exceptions import ProfileNotFound
        from botocore.session import Session

        if self._session is None:
            self._session = Session()
            self._session.register("before-call", self._ask_guard)
            # A call that failed in passing is made again, and by then the lease may be lost.
            self._session.register("request-created", self._ask_guard_again)
            self._session.register("after-call", self._record)
            self._session.register("after-call-error", self._record_lost)
        config = Config(
            region_name=self.region,
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 5},
            user_agent_appid="gli-tasks",
            max_pool_connections=32,
        )
        try:
            return self._session.create_client(service, region_name=self.region, config=config)
        except ProfileNotFound as error:
            raise Refused(str(error), remedy="check AWS_PROFILE and ~/.aws/config") from None

    def _ask_guard(self, model: Any, **_: Any) -> None:
        self._ask(str(model.service_model.service_name), str(model.name))

    def _ask_guard_again(self, event_name: str, operation_name: str, **_: Any) -> None:
        # botocore names the event request-created.<service id>.<operation>.
        self._ask(event_name.split(".")[1], operation_name)

    def _ask(self, service: str, operation: str) -> None:
        if is_read(operation):
            return
        guard.require_write(f"{service} {operation}")
        if self._guard is not None and service != "s3":
            self._guard()

    def _record(self, http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        if self._on_change is None or is_read(model.name):
            return
        metadata = parsed.get("ResponseMetadata", {}) if isinstance(parsed, dict) else {}
        self._on_change(
            Call(
                service=str(model.service_model.service_name),
                operation=str(model.name),
                request_id=str(metadata.get("RequestId", "")),
                status=int(http_response.status_code),
                attempts=int(metadata.get("RetryAttempts", 0)) + 1,
            )
        )

    def _record_lost(self, event_name: str, **_: Any) -> None:
        # botocore names the event after-call-error.<service id>.<operation>.
        service, operation = event_name.split(".")[1:3]
        if self._on_change is not None and not is_read(operation):
            self._on_change(Call(service, operation, request_id="", status=0, attempts=1))

    def require_account(self) -> str:
        """Return who we are, having made sure that the credentials belong to the settings' account. Raises Refused."""
        identity = self.client("sts").get_caller_identity()
        found = str(identity["Account"])
        if found != self.account:
            raise Refused(
                f"the credentials belong to account {found}, and the settings name {self.account}",
                remedy="check AWS_PROFILE, or AWS_ACCOUNT_ID in the .env file",
            )
        return str(identity["Arn"])


def error_code(error: Exception) -> str:
    """Return the code of an error that AWS answered with, or an empty string."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_cut_off(error: Exception) -> bool:
    """Tell whether an answer came that cannot be read to its end: botocore has an error of another kind for that."""
    from botocore.parsers import ResponseParserError

    return isinstance(error, ResponseParserError)


def as_gli_error(error: Exception) -> GliError | None:
    """Return an error of botocore as one of ours, with what to do next; None for anything else."""
    import sys

    if isinstance(error, GliError):
        return error
    # Without botocore loaded, the error cannot be one of its own, and there is no need to pay for its import.
    if "botocore" not in sys.modules:
        return None
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _from_client_error(error)
    if is_cut_off(error):
        return AwsCallFailed(
            # What follows is the answer itself, which may be long and hold what is nobody's business.
            f"AWS's answer was cut off, or is none of AWS's: {str(error).partition(', invalid XML')[0]}",
            remedy="ask again; if it stays so, see what stands between here and AWS (a proxy, AWS_ENDPOINT_URL)",
        )
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return Refused("there are no AWS credentials", remedy="run `aws sso login`, or set AWS_PROFILE")
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.SSOError | exceptions.CredentialRetrievalError):
        return Refused(f"the AWS credentials cannot be had: {error}", remedy="run `aws sso login` again")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectionError | exceptions.HTTPClientError):
        return AwsCallFailed(f"AWS cannot be reached: {error}", remedy="check the network, and AWS_ENDPOINT_URL if set")
    if isinstance(error, exceptions.BotoCoreError):
        return AwsCallFailed(f"{type(error).__name__}: {error}")
    return None


def _from_client_error(error: Any) -> GliError:
    code = error_code(error)
    # An answer that did not come from AWS, as a proxy's page, may say nothing in its way.
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    message = str(error.response.get("Error", {}).get("Message", "")) or f"status {status}"
    request_id = str(error.response.get("ResponseMetadata", {}).get("RequestId", ""))
    text = f"AWS refused {error.operation_name} with {code or 'no code'}: {message}"
    where = f"request {request_id}" if request_id else ""
    if code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return AwsCallFailed(text, where=where, remedy="log in again (`aws sso login`), then start again")
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return AwsCallFailed(text, where=where, remedy=f"allow {error.operation_name} to the role that releases")
    if code in ("UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch"):
        return AwsCallFailed(text, where=where, remedy="check the credentials and the clock of this machine")
    if "Throttl" in code or code in ("TooManyRequestsException", "RequestLimitExceeded", "SlowDown"):
        return AwsCallFailed(text, where=where, remedy="AWS asks for fewer calls; wait a minute and start again")
    return AwsCallFailed(text, where=where)
