"""What an answer (or its absence) means: the words of classification, and what follows from each cause.

A cause names what happened; `EFFECTS` is the one table that says what that means for the outcome, the breaker, the
retry, the gate and the scenario. Venue tables map codes to causes and so stay short lists of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from jackstay_protocols.errors import ErrorSeverity, Outcome


class Cause(StrEnum):
    OK = "ok"
    # the venue said no; nothing happened
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INVALID_ORDER = "invalid_order"  # tick, step, notional, price band
    WOULD_MATCH = "would_match"  # post-only that would take
    REDUCE_ONLY = "reduce_only"  # nothing to reduce
    DUPLICATE_ID = "duplicate_id"  # evidence that an order of this client id exists or existed
    ORDER_NOT_FOUND = "order_not_found"
    WRONG_ORDER_PATH = "wrong_order_path"  # the order family moved to another endpoint
    BAD_SYMBOL = "bad_symbol"
    BAD_REQUEST = "bad_request"
    MARKET_CLOSED = "market_closed"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    AUTH = "auth"
    PERMISSION = "permission"
    CLOCK = "clock"
    NONCE = "nonce"
    GEO_BLOCKED = "geo_blocked"
    # something broke and provably nothing happened
    RATE_LIMITED = "rate_limited"
    ORDER_RATE = "order_rate"
    BANNED = "banned"
    WAF = "waf"
    OVERLOAD = "overload"
    MAINTENANCE = "maintenance"
    NOT_SENT = "not_sent"
    # nobody knows
    SERVER_ERROR = "server_error"
    VENUE_TIMEOUT = "venue_timeout"
    NOT_JSON = "not_json"
    REDIRECT = "redirect"
    PARTIAL_BATCH = "partial_batch"  # some items of a batch worked: look at each
    UNLISTED = "unlisted"  # an error code inside a 2xx that no table knows: it may be a time-out's as well
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"  # we gave up waiting


class BreakerMark(StrEnum):
    """What the breaker hears. A business answer proves the venue works: success."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORE = "ignore"


class GateScope(StrEnum):
    """How much a venue's "not now" covers (DESIGN §3 rule 4: exactly what the venue said)."""

    IP = "ip"
    KEY = "key"
    ENDPOINT = "endpoint"
    ORDER_COUNT = "order_count"


@dataclass(frozen=True, slots=True)
class Effect:
    outcome: Outcome
    severity: ErrorSeverity
    breaker: BreakerMark
    retryable: bool = False
    scenario: str | None = None
    gate: GateScope | None = None
    ban: bool = False  # hard stop: a slow return afterwards


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one exchange. ``retry_after_s``: the server's word in seconds from now (None: it said nothing).

    ``code`` and ``detail`` are the venue's own, cut short; ``gate`` the scope that must wait, ``breaker`` what the
    breaker is told.
    """

    outcome: Outcome
    cause: str
    severity: ErrorSeverity
    retryable: bool
    scenario: str | None = None
    retry_after_s: float | None = None
    detail: str = ""
    code: str = ""
    breaker: BreakerMark = BreakerMark.SUCCESS
    gate: GateScope | None = None
    ban: bool = False


_LOW, _MEDIUM, _HIGH, _CRITICAL = ErrorSeverity.LOW, ErrorSeverity.MEDIUM, ErrorSeverity.HIGH, ErrorSeverity.CRITICAL
_REJECTED, _FAILED, _UNKNOWN = Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN
_FINE, _BAD, _NEITHER = BreakerMark.SUCCESS, BreakerMark.FAILURE, BreakerMark.IGNORE


def _reject(severity: ErrorSeverity = _LOW, scenario: str | None = "order_rejection") -> Effect:
    return Effect(_REJECTED, severity, _FINE, scenario=scenario)


EFFECTS: Final[dict[str, Effect]] = {
    Cause.OK: Effect(Outcome.OK, _LOW, _FINE),
    Cause.INSUFFICIENT_FUNDS: _reject(_MEDIUM),
    Cause.INVALID_ORDER: _reject(),
    Cause.WOULD_MATCH: _reject(),
    Cause.REDUCE_ONLY: _reject(),
    Cause.DUPLICATE_ID: _reject(_MEDIUM),
    Cause.ORDER_NOT_FOUND: _reject(_MEDIUM, None),
    Cause.WRONG_ORDER_PATH: _reject(_HIGH, None),
    Cause.BAD_SYMBOL: _reject(),
    Cause.BAD_REQUEST: _reject(_LOW, None),
    Cause.MARKET_CLOSED: _reject(_MEDIUM),
    Cause.CANCEL_ONLY: _reject(_HIGH, "exchange_maintenance"),
    Cause.POST_ONLY: _reject(_HIGH, "exchange_maintenance"),
    Cause.AUTH: _reject(_CRITICAL, None),
    Cause.PERMISSION: _reject(_CRITICAL, None),
    Cause.CLOCK: _reject(_HIGH),
    Cause.NONCE: _reject(_MEDIUM),
    Cause.GEO_BLOCKED: _reject(_CRITICAL, None),
    Cause.RATE_LIMITED: Effect(_FAILED, _MEDIUM, _NEITHER, True, "api_rate_limit", GateScope.IP),
    Cause.ORDER_RATE: Effect(_FAILED, _MEDIUM, _NEITHER, True, "api_rate_limit", GateScope.ORDER_COUNT),
    Cause.BANNED: Effect(_FAILED, _CRITICAL, _NEITHER, False, "api_rate_limit", GateScope.IP, True),
    Cause.WAF: Effect(_FAILED, _HIGH, _BAD, False, "api_rate_limit", GateScope.IP),
    Cause.OVERLOAD: Effect(_FAILED, _HIGH, _BAD, True),
    Cause.MAINTENANCE: Effect(_FAILED, _HIGH, _BAD, True, "exchange_maintenance"),
    Cause.NOT_SENT: Effect(_FAILED, _HIGH, _BAD, True, "network_disconnection"),
    Cause.SERVER_ERROR: Effect(_UNKNOWN, _HIGH, _BAD, True),
    Cause.VENUE_TIMEOUT: Effect(_UNKNOWN, _HIGH, _BAD, True),
    Cause.NOT_JSON: Effect(_UNKNOWN, _HIGH, _BAD, True),
    Cause.REDIRECT: Effect(_UNKNOWN, _HIGH, _BAD),
    Cause.PARTIAL_BATCH: Effect(_UNKNOWN, _MEDIUM, _FINE),
    Cause.UNLISTED: Effect(_UNKNOWN, _MEDIUM, _NEITHER),
    Cause.NO_ANSWER: Effect(_UNKNOWN, _HIGH, _BAD, True, "network_disconnection"),
    Cause.CANCELLED: Effect(_UNKNOWN, _LOW, _NEITHER, True),
}


def verdict(
    cause: Cause,
    *,
    code: str = "",
    detail: str = "",
    retry_after_s: float | None = None,
    gate: GateScope | None = None,
    named: str | None = None,
) -> Verdict:
    """The verdict of a cause. ``gate`` replaces the cause's own scope; ``named`` shows a finer word as cause."""
    e = EFFECTS[cause]
    return Verdict(
        e.outcome,
        named or cause.value,
        e.severity,
        e.retryable,
        e.scenario,
        retry_after_s,
        detail,
        code,
        e.breaker,
        e.gate if gate is None else gate,
        e.ban,
    )


def of_a_read(v: Verdict) -> Verdict:
    """The same for a call that changes nothing at the venue: what is unknown of an order has simply failed here."""
    return replace(v, outcome=Outcome.FAILED) if v.outcome is Outcome.UNKNOWN else v


def unknown_of(verdict: Verdict, cause: Cause, detail: str) -> Verdict:
    """The same exchange, in doubt: nobody knows what became of the request."""
    effect = EFFECTS[Cause.NO_ANSWER]
    return replace(
        verdict, outcome=_UNKNOWN, cause=cause, severity=effect.severity, retryable=False, scenario=None, detail=detail
    )
