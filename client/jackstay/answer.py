"""Step 12, seen from the bot: what came back, as values, or as the error that says what to do about it.

Decides which wire answer is a `Response` and which is an exception. Refuses to know sockets and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from jackstay_protocols import messages as wire
from jackstay_protocols.errors import (
    AgentGone,
    DeadlineExceeded,
    ExchangeError,
    NotYet,
    Outcome,
    OutcomeUnknown,
    ProtocolError,
    Reason,
    Refused,
    SecurityError,
    TradingBotError,
    ValidationError,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The agent's judgement of one exchange (DESIGN §2 step 9).

    ``outcome`` ok, rejected, failed or unknown; ``cause`` the classified reason ("" when fine); ``severity`` an
    `ErrorSeverity` value or ""; ``sent`` whether any byte may have left; ``attempts`` how many were made;
    ``retry_after_s`` seconds, or None; ``elapsed_s`` seconds in the agent; ``intent`` the journal's id, or "".
    """

    outcome: Outcome
    cause: str = ""
    severity: str = ""
    retryable: bool = False
    sent: bool = True
    attempts: int = 1
    retry_after_s: float | None = None
    elapsed_s: float = 0.0
    detail: str = ""
    intent: str = ""


class _Answered:
    """What an HTTP answer looks like, shared by immediate and late ones."""

    __slots__ = ("_headers", "_wire_headers", "body", "status")

    def __init__(self, status: int, headers: wire.Headers, body: bytes) -> None:
        self.status = status
        self.body = body
        self._wire_headers = headers
        self._headers: list[tuple[str, str]] | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header pairs as the venue sent them: order, repetition and capitalisation kept."""
        if self._headers is None:
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._wire_headers]
        return self._headers

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name, whatever its capitalisation."""
        wanted = name.lower()
        for each, value in self.headers:
            if each.lower() == wanted:
                return value
        return default

    @property
    def text(self) -> str:
        """The body as UTF-8, bad bytes replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self, **options: Any) -> Any:
        """The body parsed by `json.loads` with ``options`` (``parse_float=decimal.Decimal`` for money)."""
        import json

        return json.loads(self.body, **options)


class Response(_Answered):
    """A venue's answer, verbatim, and the agent's `Verdict` on it. ``status`` is never 0."""

    __slots__ = ("_verdict", "_wire")

    def __init__(self, answer: wire.Response) -> None:
        super().__init__(answer.status, answer.headers, answer.body)
        self._wire = answer
        self._verdict: Verdict | None = None

    @property
    def reason(self) -> str:
        """The status line's text, "" when there was none."""
        return self._wire.reason.decode("latin-1")

    @property
    def ok(self) -> bool:
        """True when the verdict is ok (a 2xx that is not the promised answer is not)."""
        return self._wire.outcome is Outcome.OK

    @property
    def verdict(self) -> Verdict:
        if self._verdict is None:
            self._verdict = verdict_of(self._wire)
        return self._verdict

    def __repr__(self) -> str:
        return f"<Response {self.status} {self._wire.outcome} {len(self.body)} bytes>"


class LateOutcome(_Answered):
    """How a posted request ended. ``id`` is `Posted.id`; ``status`` 0 when no HTTP answer came."""

    __slots__ = ("cause", "detail", "id", "idempotency_key", "outcome")

    def __init__(self, news: wire.OutcomeNews) -> None:
        super().__init__(news.status, news.headers, news.body)
        self.id = news.intent
        self.idempotency_key = news.idempotency_key
        self.outcome = news.outcome
        self.cause = news.cause
        self.detail = news.detail

    def __repr__(self) -> str:
        return f"<LateOutcome {self.id} {self.outcome} {self.cause}>"


class LateFill:
    """A trade of one of the bot's orders that the bot's own traffic did not show; the venue lists it.

    Amounts are Decimal, ``fee`` may be None, ``time_ms`` is the venue's Unix ms. ``id`` names it for good: the same
    trade is never handed over twice. A user stream of the bot's own may still tell of it late: compare ``trade_id``.
    """

    __slots__ = (
        *("client_order_id", "fee", "fee_asset", "id", "maker", "order_id", "price", "quantity", "side", "symbol"),
        *("time_ms", "trade_id", "venue"),
    )

    def __init__(self, news: wire.OutcomeNews) -> None:
        import json

        told: dict[str, Any] = json.loads(news.body)
        self.id = news.intent
        self.venue: str = told["venue"]
        self.symbol: str = told["symbol"]
        self.trade_id: str = told["trade_id"]
        self.order_id: str = told.get("order_id", "")
        self.client_order_id: str = told.get("client_order_id", "")
        self.side: str = told.get("side", "")
        self.price = Decimal(told["price"])
        self.quantity = Decimal(told["quantity"])
        self.fee = Decimal(told["fee"]) if "fee" in told else None
        self.fee_asset: str = told.get("fee_asset", "")
        self.time_ms: int | None = told.get("time_ms")
        self.maker: bool | None = told.get("maker")

    def __repr__(self) -> str:
        return f"<LateFill {self.symbol} {self.side} {self.quantity} at {self.price}, trade {self.trade_id}>"


@dataclass(frozen=True, slots=True)
class Posted:
    """A queued request is in the agent's journal; ``id`` names its outcome."""

    id: str


class FeedMessage(NamedTuple):
    """One market data payload as the venue sent it.

    ``topic`` is the agent's full name of it ("binance/btcusdt@trade"); ``sequence`` counts its messages in the agent.
    """

    topic: str
    sequence: int
    payload: bytes


class Lagged(NamedTuple):
    """``missed`` messages of ``topic`` never reached this reader; -1: the agent was away, nobody counted."""

    topic: str
    missed: int


class AgentEvent(NamedTuple):
    """A fact about the agent: dotted name, wall time in microseconds UTC, fields."""

    name: str
    at_us: int
    fields: dict[str, Any]


class Directive(NamedTuple):
    """What needs the bot's own trading judgement."""

    name: str
    fields: dict[str, Any]


def verdict_of(answer: wire.Response) -> Verdict:
    return Verdict(
        outcome=answer.outcome,
        cause=answer.cause,
        severity=answer.severity,
        retryable=answer.retryable,
        sent=answer.sent,
        attempts=answer.attempts,
        retry_after_s=answer.retry_after_s,
        elapsed_s=answer.elapsed_us / 1e6,
        detail=answer.detail,
        intent=answer.intent,
    )


def response_of(answer: wire.Message) -> Response:
    """The `Response`, or the exception that a refusal or a missing HTTP answer means."""
    if type(answer) is wire.Response:
        if answer.status:
            return Response(answer)
        raise no_answer(answer)
    return unexpected(answer, "Response")


def posted_of(answer: wire.Message) -> Posted:
    if type(answer) is wire.Accepted:
        return Posted(answer.intent)
    return unexpected(answer, "Accepted")


def data_of(answer: wire.Message) -> dict[str, Any]:
    if type(answer) is wire.Done:
        return answer.data
    return unexpected(answer, "Done")


def unexpected(answer: wire.Message, wanted: str) -> NoReturn:
    """Raise what an answer of another kind than ``wanted`` means; a Refusal becomes its own error."""
    if isinstance(answer, wire.Refusal):
        raise refusal_error(answer)
    raise ProtocolError(
        f"the agent answered with {type(answer).__name__}; {wanted} was expected:"
        " install the same jackstay release on both sides",
        reason=Reason.BAD_FRAME,
        outcome=Outcome.UNKNOWN,
    )


def no_answer(answer: wire.Response) -> ExchangeError:
    """The exception for a request that brought no HTTP answer (``status`` 0)."""
    kind: type[ExchangeError] = ExchangeError
    if answer.cause == Reason.TIMEOUT:
        kind = DeadlineExceeded
    elif answer.outcome is Outcome.UNKNOWN:
        kind = OutcomeUnknown
    advice = "ask the venue, do not resend" if answer.outcome is Outcome.UNKNOWN else "nothing happened at the venue"
    what = answer.detail or answer.cause or "no HTTP answer"
    return kind(
        f"{what}: outcome {answer.outcome}, {advice}",
        reason=answer.cause or None,
        retry_after_s=answer.retry_after_s,
        outcome=answer.outcome,
        details={
            "sent": answer.sent,
            "attempts": answer.attempts,
            "elapsed_s": answer.elapsed_us / 1e6,
            "retryable": answer.retryable,
            "severity": answer.severity,
            "intent": answer.intent,
        },
    )


_REFUSALS: dict[str, type[TradingBotError]] = {
    Reason.BAD_REQUEST: ValidationError,
    Reason.BAD_FRAME: ProtocolError,
    Reason.VERSION: ProtocolError,
    Reason.TOO_LARGE: ProtocolError,
    Reason.UNKNOWN_KIND: ProtocolError,
    Reason.NOT_PERMITTED: SecurityError,
    Reason.SESSION_TAKEN: SecurityError,
    Reason.NOT_YET: NotYet,
    Reason.EXPIRED: DeadlineExceeded,
    Reason.UNKNOWN_PEER: AgentGone,
}


def refusal_error(refusal: wire.Refusal) -> TradingBotError:
    """The exception a refusal means; an unlisted reason (a newer agent's too) is `Refused`."""
    kind = _REFUSALS.get(refusal.reason, Refused)
    return kind(
        refusal.message or f"the agent refused: {refusal.reason}",
        reason=refusal.reason,
        retry_after_s=refusal.retry_after_s,
        outcome=refusal.outcome,
        details=dict(refusal.details),
    )
