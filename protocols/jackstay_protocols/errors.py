"""The error taxonomy: what can go wrong, grouped by what the reader has to do about it.

Both sides of the wire use these words. Three outcomes of a request are told apart and never mixed: it worked
(``OK``), it provably did not (``REJECTED`` by the venue's rules, ``FAILED`` by something that broke), and nobody
knows yet (``UNKNOWN``). A timeout on an order is unknown; unknown is never retried blind (DESIGN §3 rule 1).

    TradingBotError
    ├── ExchangeError            the venue or the way to it
    │   ├── AgentGone            the agent did not take the call: nothing was sent
    │   ├── DeadlineExceeded     also a TimeoutError: the outcome says whether anything was sent
    │   └── OutcomeUnknown       ask the venue, do not resend
    ├── RiskManagementError      a limit of the bot's own
    ├── ValidationError          fix your call
    │   └── ProtocolError        the bytes on the socket are not what this version speaks
    ├── ExecutionError           an order could not be carried out
    │   └── Refused              the agent said no, with a reason and perhaps a retry_after
    ├── ModelError               the strategy's model
    ├── DataError                market data or stored data
    ├── StateConsistencyError    two pictures of the account differ
    ├── SecurityError            credentials, permissions, wrong peer
    └── NotYet                   this version does not do that
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorSeverity(StrEnum):
    """How loudly an error asks for a person (CONTRACT error_handler)."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Outcome(StrEnum):
    """What is known about a request's effect at the venue."""

    OK = "ok"
    REJECTED = "rejected"  # the venue understood and said no; nothing happened
    FAILED = "failed"  # something broke and provably nothing happened
    UNKNOWN = "unknown"  # it may or may not have happened: ask, never resend


class Lane(StrEnum):
    """The queue a request travels in, most urgent first (DESIGN §3 rule 4, §5 Outbox)."""

    DERISK = "derisk"  # cancels and reduce-only: never blocked by breaker, mode, full queue or local limiter
    ORDER = "order"
    QUERY = "query"
    OTHER = "other"


class Reason(StrEnum):
    """Why the agent refused or could not finish; each is a stable word that a program may compare."""

    # fix your call
    BAD_REQUEST = "bad_request"
    BAD_FRAME = "bad_frame"
    VERSION = "version"
    TOO_LARGE = "too_large"
    UNKNOWN_KIND = "unknown_kind"
    UPSTREAM_NOT_ALLOWED = "upstream_not_allowed"
    NO_SIGNER = "no_signer"
    # say hello (again)
    UNKNOWN_PEER = "unknown_peer"
    SESSION_TAKEN = "session_taken"
    NOT_PERMITTED = "not_permitted"
    # wait until
    BREAKER_OPEN = "breaker_open"
    HALF_OPEN_FULL = "half_open_full"
    RATE_LIMITED = "rate_limited"
    GATED = "gated"
    QUEUE_FULL = "queue_full"
    MODE = "mode"
    DISK = "disk"
    DRAINING = "draining"
    # too late, or the same again
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    EQUAL_PENDING = "equal_pending"
    LOOP_STOPPED = "loop_stopped"
    OVERTAKEN = "overtaken"  # a later number of the same key has left: the venue would take this one for a replay
    RETRIES_EXHAUSTED = "retries_exhausted"
    RETRY_BUDGET = "retry_budget"
    # the way to the venue
    DNS = "dns"
    REFUSED = "refused"
    TLS = "tls"
    RESET = "reset"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    RESPONSE_TOO_LARGE = "response_too_large"
    NOT_JSON = "not_json"
    # us
    NOT_YET = "not_yet"
    INTERNAL = "internal"


class TradingBotError(Exception):
    """Root of every error this project raises on purpose.

    ``reason`` is a stable word (`Reason`), ``retry_after_s`` seconds until a new attempt makes sense (None: unknown),
    ``outcome`` what is known about the venue's side, ``details`` further facts without secrets.
    """

    default_severity: ErrorSeverity = ErrorSeverity.MEDIUM

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        retry_after_s: float | None = None,
        outcome: Outcome | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.outcome = outcome
        self.details: dict[str, Any] = details or {}


class ExchangeError(TradingBotError):
    """The venue, or the way to it, failed."""

    default_severity = ErrorSeverity.HIGH


class RiskManagementError(TradingBotError):
    """A limit of the bot's own risk rules was hit."""

    default_severity = ErrorSeverity.HIGH


class ValidationError(TradingBotError):
    """The caller's input is wrong: the message says what was found, what was expected and what to do."""

    default_severity = ErrorSeverity.LOW


class ExecutionError(TradingBotError):
    """An order could not be carried out."""

    default_severity = ErrorSeverity.HIGH


class ModelError(TradingBotError):
    """The strategy's model failed."""

    default_severity = ErrorSeverity.MEDIUM


class DataError(TradingBotError):
    """Market data or stored data is wrong, missing or late."""

    default_severity = ErrorSeverity.MEDIUM


class StateConsistencyError(TradingBotError):
    """Bot, agent and venue disagree about orders, positions or balances."""

    default_severity = ErrorSeverity.CRITICAL


class SecurityError(TradingBotError):
    """Credentials, permissions or a peer that is not who it should be."""

    default_severity = ErrorSeverity.CRITICAL


class ProtocolError(ValidationError):
    """Bytes on a local socket are not what this wire version speaks."""


class AgentGone(ExchangeError, ConnectionError):
    """The agent is not there or stopped answering; ``outcome`` FAILED means nothing can have been sent."""


class DeadlineExceeded(ExchangeError, TimeoutError):
    """The deadline ended first; ``outcome`` says whether the venue may have acted (UNKNOWN) or not (FAILED)."""


class OutcomeUnknown(ExchangeError):
    """Bytes left for the venue and no trustworthy answer came back. Ask the venue; do not resend."""


class Refused(ExecutionError):
    """The agent refused before any byte left: ``reason`` says why, ``retry_after_s`` when to come back."""


class NotYet(TradingBotError):
    """This version of the agent does not do that yet; nothing was done."""

    default_severity = ErrorSeverity.LOW
