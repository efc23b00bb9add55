"""The error tree of the whole project, and nothing else.

::

    BackstayError
    ├── NotInstalled          the app was never given to add_tasks() or install()
    ├── AlreadyInstalled      it was given twice, with options that cannot both hold
    ├── MissingExtra          a door needs a package that is not there      (ImportError)
    ├── SettingMissing        a required setting has no value               (KeyError)
    ├── ContextClosed         the piece of work this context stood for is over
    ├── DataError             something about the app's own tables and view sets
    │   ├── NotInDevelopment  what destroys data was asked for outside DEV_STATUS
    │   ├── BadCursor         it was changed, or belongs to another question; 422 (ValueError)
    │   ├── BadViewSet        a view set declared in a way that could never work (ValueError)
    │   ├── DatabaseUnavailable the database cannot be reached or written just now; 503
    │   └── ItemError         one item, asked for through a view set
    │       ├── ItemNotFound  there is none, or not for whoever asks; 404   (LookupError)
    │       ├── ItemForbidden it may not be written like that; 403
    │       ├── ItemConflict  it contradicts another item; 409
    │       ├── ItemInvalid   something in the request will not do; 422
    │       ├── VersionMismatch     somebody else changed it first; 412
    │       └── VersionRequired     the request does not say which version it changes; 428
    ├── CacheError            something about the cache
    │   ├── BadCache          what is to be kept, or on which terms, cannot be   (ValueError)
    │   └── CacheUnavailable  a store's own: it is out of reach; a Cache does without it
    ├── WidgetError           something about widgets and tools
    │   ├── BadWidget         a declaration that could never work; at start-up   (ValueError)
    │   ├── UnknownWidget     no widget or tool has that name           (LookupError)
    │   ├── ValidationError   raised by widgets: inputs that will not do (ValueError)
    │   ├── WidgetFailed      call(): the widget answered with an error; see .result
    │   └── ClientCannot      the client cannot be asked for that
    ├── StateError            something about ctx.state
    │   ├── BadState          a value, key, scope or time that cannot be stored  (ValueError)
    │   ├── StateUnavailable  its store cannot be reached or written; 503
    │   └── StateMismatch     what is found in the store is not ours, or of another version
    ├── AuthError             something about who is asking
    │   ├── BadAuth           guarding that could never work, or not safely      (ValueError)
    │   │   └── WeakSecret    a secret that somebody could guess
    │   ├── NotAuthenticated  no credentials, or none that are good; 401
    │   ├── NotAllowed        whoever asks may not do that; 403
    │   ├── GrantRefused      a request for tokens that will not do (RFC 6749 §5.2); 400 or 401
    │   └── TokensUncheckable nobody can say whether a token is good; 503
    ├── LimitError            something about rate limits
    │   ├── BadLimit          a limit that could never work                      (ValueError)
    │   ├── RateLimited       too many requests; 429
    │   └── LimitsUnavailable the store of the counts is out of reach; 503
    ├── IntegrationError      something about a call to another service
    │   ├── BadIntegration    a pattern or call that could never work            (ValueError)
    │   ├── StabilityTimeoutError   the call took longer than it may; 504        (TimeoutError)
    │   ├── MaxRetriesExceededError it failed, and is not tried again; 502
    │   ├── UpstreamError     the other side answered with an error; 502
    │   │   └── UpstreamBusy  it answered that it has too much to do; 503
    │   ├── UpstreamUnreachable   no answer came, or not the whole of one; 502
    │   ├── BadAnswer         an answer that is not what its endpoint declares; 502
    │   ├── AddressRefused    an address that this service does not call; 422
    │   ├── UnmockedCall      a test would have called somebody         (NotImplementedError)
    │   ├── ContractBroken    recorded answers that the models do not fit   (AssertionError)
    │   └── CallRefused       it was not made at all; 503
    │       ├── CircuitBreakerError the other side fails, and is left alone for a while
    │       ├── ThrottlingError     more calls a second than there may be
    │       └── BulkheadFull        more calls at a time than there may be
    ├── BadPattern            wiring of an app that could never work, or not safely (ValueError)
    ├── BadEvents             events that cannot be kept like that              (ValueError)
    ├── BadTelemetry          metrics or spans that cannot be had like that     (ValueError)
    └── TaskError             something about one background task
        ├── TasksClosed       the app is stopping and takes no more tasks
        ├── TooManyTasks      max_pending is reached; the caller hears 503
        ├── TaskTimeout       the task ran longer than its timeout          (TimeoutError)
        ├── TaskCancelled     backstay cancelled the task: cancel() or shutdown
        ├── TaskCrashed       the task raised a BaseException; see __cause__
        ├── HeldTaskFailed    a task the answer waited for failed; 500
        └── JobError          something about durable tasks
            ├── BadJob        a job that cannot be written, and why          (ValueError)
            ├── UnknownJob    no job has that id                             (LookupError)
            ├── JobFailed     a job whose result was asked for has none; see .status
            ├── LedgerUnavailable   its database cannot be reached or written; 503
            └── LedgerMismatch      the tables found are not ours, or of another version

Messages say what happened, the value found and the remedy. Every class lives here so that
catching one never imports a door. ``status`` is the HTTP status a client hears if the error
reaches it; ``title``, ``public_detail``, ``public_members`` and ``public_headers`` are all that
client is told (RFC 9457, the members as its extension members, §3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

__all__ = [
    "AddressRefused",
    "AlreadyInstalled",
    "AuthError",
    "BackstayError",
    "BadAnswer",
    "BadAuth",
    "BadCache",
    "BadCursor",
    "BadEvents",
    "BadIntegration",
    "BadJob",
    "BadLimit",
    "BadPattern",
    "BadState",
    "BadTelemetry",
    "BadViewSet",
    "BadWidget",
    "BulkheadFull",
    "CacheError",
    "CacheUnavailable",
    "CallRefused",
    "CircuitBreakerError",
    "ClientCannot",
    "ContextClosed",
    "ContractBroken",
    "DataError",
    "DatabaseUnavailable",
    "GrantRefused",
    "HeldTaskFailed",
    "IntegrationError",
    "ItemConflict",
    "ItemError",
    "ItemForbidden",
    "ItemInvalid",
    "ItemNotFound",
    "JobError",
    "JobFailed",
    "LedgerMismatch",
    "LedgerUnavailable",
    "LimitError",
    "LimitsUnavailable",
    "MaxRetriesExceededError",
    "MissingExtra",
    "NotAllowed",
    "NotAuthenticated",
    "NotInDevelopment",
    "NotInstalled",
    "RateLimited",
    "SettingMissing",
    "StabilityTimeoutError",
    "StateError",
    "StateMismatch",
    "StateUnavailable",
    "TaskCancelled",
    "TaskCrashed",
    "TaskError",
    "TaskTimeout",
    "TasksClosed",
    "ThrottlingError",
    "TokensUncheckable",
    "TooManyTasks",
    "UnknownJob",
    "UnknownWidget",
    "UnmockedCall",
    "UpstreamBusy",
    "UpstreamError",
    "UpstreamUnreachable",
    "ValidationError",
    "VersionMismatch",
    "VersionRequired",
    "WeakSecret",
    "WidgetError",
    "WidgetFailed",
]


class BackstayError(Exception):
    """Anything backstay raises on purpose."""

    status: int = 500
    title: ClassVar[str] = "Internal Server Error"
    retry_after_s: int | None = None
    public_detail: str = "The server could not finish this request."
    public_members: Mapping[str, Any] = MappingProxyType({})
    public_headers: Mapping[str, str] = MappingProxyType({})


class NotInstalled(BackstayError):
    """A backstay parameter was used in an app that backstay does not know."""


class AlreadyInstalled(BackstayError):
    """The same part was switched on twice for one app."""


class MissingExtra(BackstayError, ImportError):
    """A door was opened whose third-party package is not installed.

    Args:
        extra: the extra that brings it, as in ``pip install "backstay[extra]"``.
        package: the import that failed.
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"backstay.{extra} needs the package {package!r}, which is not installed: "
            f'pip install "backstay[{extra}]"',
            name=package,
        )


class SettingMissing(BackstayError, KeyError):
    """A setting that was required is in none of the sources."""

    def __str__(self) -> str:
        # KeyError shows repr(args[0]), which would quote a whole sentence.
        return str(self.args[0]) if self.args else ""


class ContextClosed(BackstayError):
    """Something was asked of a context whose work is over."""


class DataError(BackstayError):
    """Something about the app's own tables, and the view sets in front of them."""


class NotInDevelopment(DataError):
    """An operation that destroys data was called on a manager without ``DEV_STATUS=True``."""


class BadCursor(DataError, ValueError):
    """A cursor of a list that is not one of ours, or belongs to another question."""

    status = 422
    title = "Unprocessable Content"
    public_detail = (
        "The cursor does not belong to this list with these filters and this order, or is too "
        "old. Begin again without it."
    )


class BadViewSet(DataError, ValueError):
    """A view set is declared in a way that could never work."""


class DatabaseUnavailable(DataError):
    """The database cannot be reached, or somebody else holds what was to be written."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 2
    public_detail = "The server cannot reach its data at the moment. Try again shortly."


class ItemError(DataError):
    """One item that a client asked for through a view set.

    Args:
        detail: what the client is told; never internals.
        errors: what is wrong with which field, as FastAPI says it: ``loc``, ``msg`` and ``type``.
    """

    def __init__(self, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.public_detail = detail
        self.public_members = {"errors": [dict(each) for each in errors]} if errors else {}


class ItemNotFound(ItemError, LookupError):
    """There is no such item, or whoever asks does not see it."""

    status = 404
    title = "Not Found"


class ItemForbidden(ItemError):
    """Whoever asks may not write the item like that."""

    status = 403
    title = "Forbidden"


class ItemConflict(ItemError):
    """The item contradicts another one: a value is taken, or something refers to it."""

    status = 409
    title = "Conflict"


class ItemInvalid(ItemError):
    """Something that was sent will not do."""

    status = 422
    title = "Unprocessable Content"


class VersionMismatch(ItemError):
    """The item is not the version that ``If-Match`` names (RFC 9110 §13.1.1)."""

    status = 412
    title = "Precondition Failed"


class VersionRequired(ItemError):
    """Changes of this item have to say which version they change (RFC 6585 §3)."""

    status = 428
    title = "Precondition Required"


class CacheError(BackstayError):
    """Something about the cache."""


class BadCache(CacheError, ValueError):
    """What was to be kept, or where, or for how long, cannot be; nothing was changed."""


class CacheUnavailable(CacheError):
    """The cache's store cannot be reached or used. Raised by stores; a ``Cache`` does without."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server cannot do this at the moment. Try again shortly."


class WidgetError(BackstayError):
    """Something about widgets and tools for AI clients."""


class BadWidget(WidgetError, ValueError):
    """A widget, tool, resource or prompt is declared in a way that could never work."""


class UnknownWidget(WidgetError, LookupError):
    """Nothing is registered under that name."""

    status = 404
    title = "Not Found"
    public_detail = "There is no such tool."


class ValidationError(WidgetError, ValueError):
    """Inputs that have the right form and will not do. Raised by a widget's own code.

    Uncaught, it reaches the model as ``message`` and ``field``.

    Args:
        message: what is wrong and what would do; the model reads it.
        field: the input that it is about, ``None`` if it is about several.
    """

    status = 422
    title = "Unprocessable Content"
    public_detail = "The inputs were not accepted."

    def __init__(self, message: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class WidgetFailed(WidgetError):
    """A widget that was called by the program answered with an error.

    Args:
        message: what the model would have read.
        result: the whole result, as it would have gone over the wire.
    """

    def __init__(self, message: str, *, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result


class ClientCannot(WidgetError):
    """The client of this call, or the way it is connected, does not allow that."""


class StateError(BackstayError):
    """Something about ``ctx.state``."""


class BadState(StateError, ValueError):
    """What was to be stored, or where, or for how long, cannot be; nothing was changed."""


class StateUnavailable(StateError):
    """The store of the state cannot be reached or written. A guess would be a lie."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server cannot remember this at the moment. Try again shortly."


class StateMismatch(StateError):
    """Something was found where the state should be that is not ours or of another version."""


class AuthError(BackstayError):
    """Something about who is asking."""


class BadAuth(AuthError, ValueError):
    """Guarding is declared in a way that could never work, or not safely."""


class WeakSecret(BadAuth):
    """A secret key that is short, well known or otherwise easy to guess."""


class NotAuthenticated(AuthError):
    """There are no credentials, or they are not good.

    Args:
        detail: what the client is told.
        challenge: the value of ``WWW-Authenticate`` (RFC 9110 §11.6.1).
    """

    status = 401
    title = "Unauthorized"

    def __init__(
        self, detail: str = "Credentials are required.", *, challenge: str = "Bearer"
    ) -> None:
        super().__init__(detail)
        self.public_detail = detail
        self.public_headers = {"WWW-Authenticate": challenge}


class NotAllowed(AuthError):
    """Whoever asks is known and may not do that.

    Args:
        detail: what the client is told.
        challenge: the value of ``WWW-Authenticate``, ``None`` if other credentials of the same
            kind would not help.
    """

    status = 403
    title = "Forbidden"

    def __init__(
        self, detail: str = "You may not do that.", *, challenge: str | None = None
    ) -> None:
        super().__init__(detail)
        self.public_detail = detail
        self.public_headers = {} if challenge is None else {"WWW-Authenticate": challenge}


class GrantRefused(AuthError):
    """A request for tokens is refused (RFC 6749 §5.2).

    Args:
        code: the RFC's: ``"invalid_grant"``, ``"invalid_request"``, ``"unsupported_grant_type"`` …
        detail: what the client is told.
        status: 400, or 401 where the client has to say who it is.
        challenge: the value of ``WWW-Authenticate``; for 401.
    """

    status = 400
    title = "Bad Request"

    def __init__(
        self, code: str, detail: str, *, status: int = 400, challenge: str | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = status
        self.public_detail = detail
        self.public_members = {"error": code, "error_description": detail}
        # RFC 6749 §5.1 says it of answers with tokens; a refusal is nobody's to keep either.
        self.public_headers = {
            "Cache-Control": "no-store",
            **({} if challenge is None else {"WWW-Authenticate": challenge}),
        }


class TokensUncheckable(AuthError):
    """The issuer's keys, or the verifier, cannot be reached: a token may be good or not."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server cannot check credentials at the moment. Try again shortly."


class LimitError(BackstayError):
    """Something about rate limits."""


class BadLimit(LimitError, ValueError):
    """A limit is declared in a way that could never work."""


class RateLimited(LimitError):
    """Too many requests (RFC 6585 §4).

    Args:
        detail: what the client is told.
        retry_after_s: seconds after which it may come again.
        headers: what else the answer carries, such as ``RateLimit``.
    """

    status = 429
    title = "Too Many Requests"

    def __init__(
        self,
        detail: str = "Too many requests. Try again later.",
        *,
        retry_after_s: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.public_detail = detail
        self.retry_after_s = retry_after_s
        self.public_headers = dict(headers or {})


class LimitsUnavailable(LimitError):
    """The store of the counts is out of reach, and the limit is one that then refuses."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server cannot take this request at the moment. Try again shortly."


class IntegrationError(BackstayError):
    """Something about a call to another service."""


class BadIntegration(IntegrationError, ValueError):
    """A pattern or a call is declared in a way that could never work."""


class StabilityTimeoutError(IntegrationError, TimeoutError):
    """A call took longer than its ``sp.Timeout`` allows."""

    status = 504
    title = "Gateway Timeout"
    public_detail = "Another service did not answer in time. Try again later."


class MaxRetriesExceededError(IntegrationError):
    """A call failed and is not tried again. The last failure is ``__cause__``.

    The status is 502 even where the other side said 429: it is this service that was too eager
    there, and not whoever asks here.

    Args:
        message: what happened.
        attempts: how often it was tried, the first time included.
    """

    status = 502
    title = "Bad Gateway"
    public_detail = "Another service could not be used. Try again later."

    def __init__(self, message: str = "", *, attempts: int = 1) -> None:
        super().__init__(message)
        self.attempts = attempts


class UpstreamError(IntegrationError):
    """Another service answered with an error that nobody declared, or that was to be raised.

    The status is 502, whatever the other side said: its 404 is not this service's.

    Args:
        message: what happened.
        endpoint: what was called, such as ``"Google Translate.translate"``.
        answered: the HTTP status it answered with.
        error: its body as the declared model, ``None`` if none is declared for that status.
        body: the beginning of its body. Not for clients.
        retry_after_s: whole seconds after which to try again, as it says; ``None`` if it does not.
    """

    status = 502
    title = "Bad Gateway"
    public_detail = "Another service could not do its part. Try again later."

    def __init__(
        self,
        message: str = "",
        *,
        endpoint: str = "",
        answered: int = 500,
        error: object = None,
        body: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.answered = answered
        self.error = error
        self.body = body
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class UpstreamBusy(UpstreamError):
    """It answered 429 or 503. Whoever asks here hears 503: the 429 was meant for this service."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5


class UpstreamUnreachable(IntegrationError):
    """Another service could not be reached, or the connection broke. See ``__cause__``."""

    status = 502
    title = "Bad Gateway"
    public_detail = "Another service could not be reached. Try again later."


class BadAnswer(IntegrationError):
    """Another service's answer is not what its endpoint declares.

    Args:
        message: what happened; without the values found, which may be secret.
        endpoint: what was called, such as ``"Google Translate.translate"``.
        answered: the HTTP status it answered with, ``None`` if that is unknown.
        fields: the places that are wrong, such as ``"items.0.price"``.
    """

    status = 502
    title = "Bad Gateway"
    public_detail = "Another service gave an answer that could not be read. Try again later."

    def __init__(
        self,
        message: str = "",
        *,
        endpoint: str = "",
        answered: int | None = None,
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.answered = answered
        self.fields = fields


class AddressRefused(IntegrationError):
    """An address that somebody else chose, and that this service does not call (SSRF)."""

    status = 422
    title = "Unprocessable Content"
    public_detail = "That address is not one that this service calls. Give a public one."


class UnmockedCall(IntegrationError, NotImplementedError):
    """A test stands in for integrations, and something was called that it says nothing about."""


class ContractBroken(IntegrationError, AssertionError):
    """Recorded answers do not fit the models that their endpoints declare.

    Args:
        message: all that is wrong, a line each.
        faults: the same lines.
    """

    def __init__(self, message: str = "", *, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class CallRefused(IntegrationError):
    """A call was not made, to spare the other side or this one.

    Args:
        message: what happened.
        retry_after_s: whole seconds after which it may be otherwise, ``None`` if unknown.
    """

    status = 503
    title = "Service Unavailable"
    retry_after_s = 1
    public_detail = "The server cannot use another service at the moment. Try again shortly."

    def __init__(self, message: str = "", *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class CircuitBreakerError(CallRefused):
    """The circuit is open: calls failed lately, and the other side is left alone."""


class ThrottlingError(CallRefused):
    """More calls a second are wanted than ``sp.Throttling`` lets through."""


class BulkheadFull(CallRefused):
    """As many calls run and wait as ``sp.Bulkhead`` allows."""


class BadPattern(BackstayError, ValueError):
    """An app is to be wired in a way that could never work, or not safely."""


class BadEvents(BackstayError, ValueError):
    """Events are to be kept in a way that could never work."""


class BadTelemetry(BackstayError, ValueError):
    """Metrics or spans are asked for in a way that could never work."""


class TaskError(BackstayError):
    """Something about one background task."""


class TasksClosed(TaskError):
    """The app is stopping; a task scheduled now could never run."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server is stopping and takes no new background work. Try again shortly."


class TooManyTasks(TaskError):
    """``max_pending`` tasks are waiting already, so this one was refused rather than lost."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server has too much background work waiting. Try again shortly."


class TaskTimeout(TaskError, TimeoutError):
    """A task ran longer than its ``timeout``."""


class TaskCancelled(TaskError):
    """backstay cancelled the task. An error handler receives this as its ``error``."""


class TaskCrashed(TaskError):
    """A task raised something that is no ``Exception`` (SystemExit, a leaked CancelledError).

    The original is ``__cause__``. Error handlers are typed to take an ``Exception``, so they
    get this one around it.
    """


class HeldTaskFailed(TaskError):
    """A task scheduled with ``wait=True`` failed, so the request it held fails with it.

    ``__cause__`` is the task's own error, ``None`` if it was cancelled. An exception handler for
    this class may turn it into an answer of your choice.
    """


class JobError(TaskError):
    """Something about durable tasks."""


class BadJob(JobError, ValueError):
    """A durable task was scheduled in a way that could never work; nothing was written."""


class UnknownJob(JobError, LookupError):
    """No job has that id: there never was one, or its history has been pruned."""

    status = 404
    title = "Not Found"
    public_detail = "There is no such job."


class JobFailed(JobError):
    """The result of a job was asked for that was discarded or cancelled.

    Args:
        message: what happened.
        state: the state it ended in.
        error: the last error as the ledger recorded it, ``None`` if there was none.
    """

    def __init__(
        self, message: str, *, state: str = "discarded", error: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.state = state
        self.error = error


class LedgerUnavailable(JobError):
    """The database of the durable tasks cannot be reached or written, so nothing was accepted."""

    status = 503
    title = "Service Unavailable"
    retry_after_s = 5
    public_detail = "The server cannot accept this work at the moment. Try again shortly."


class LedgerMismatch(JobError):
    """Tables were found where the ledger should be that are not ours or of another version."""
