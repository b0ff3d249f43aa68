"""jackstay.answer: what came back, as a value or as the error that says what to do about it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import jackstay
from jackstay.answer import LateOutcome, data_of, posted_of, response_of
from jackstay_protocols import messages as m
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
    ValidationError,
)


def answer(status: int = 200, **more: Any) -> m.Response:
    fields: dict[str, Any] = {
        "reason": b"OK",
        "headers": [(b"Content-Type", b"text/x"), (b"set-cookie", b"a"), (b"Set-Cookie", b"b\xe9")],
        "body": b'{"p": 1.10}',
        "outcome": Outcome.OK,
    }
    return m.Response(status=status, **(fields | more))


def test_a_response_shows_the_answer_verbatim() -> None:
    """Pairs in their order and capitals, bytes untouched."""
    response = response_of(answer())
    assert (response.status, response.reason, response.ok) == (200, "OK", True)
    assert response.headers == [("Content-Type", "text/x"), ("set-cookie", "a"), ("Set-Cookie", "bé")]
    assert response.header("SET-COOKIE") == "a"
    assert response.header("x", "y") == "y"
    assert response.body == b'{"p": 1.10}'
    assert response.json(parse_float=Decimal) == {"p": Decimal("1.10")}
    assert response_of(answer(body=b"\xff")).text == "�"


def test_a_verdict_shows_the_agents_judgement() -> None:
    """All facts of the wire, times in seconds."""
    verdict = response_of(
        answer(
            400,
            outcome=Outcome.REJECTED,
            cause="funds",
            severity="high",
            retryable=True,
            attempts=2,
            retry_after_s=1.0,
            elapsed_us=1500,
            detail="d",
            intent="i",
        )
    ).verdict
    assert verdict == jackstay.Verdict(Outcome.REJECTED, "funds", "high", True, True, 2, 1.0, 0.0015, "d", "i")


@pytest.mark.parametrize(
    ("cause", "outcome", "kind"),
    [
        ("timeout", Outcome.UNKNOWN, DeadlineExceeded),
        ("timeout", Outcome.FAILED, DeadlineExceeded),
        ("reset", Outcome.UNKNOWN, OutcomeUnknown),
        ("refused", Outcome.FAILED, ExchangeError),
        ("tls", Outcome.FAILED, ExchangeError),
    ],
)
def test_no_http_answer_is_an_error_that_carries_the_outcome(
    cause: str, outcome: Outcome, kind: type[ExchangeError]
) -> None:
    """Time-outs, unknowns and plain failures are three classes."""
    with pytest.raises(ExchangeError) as caught:
        response_of(answer(0, cause=cause, outcome=outcome, detail="what happened", attempts=3, intent="i"))
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.outcome) == (cause, outcome)
    assert (caught.value.details["attempts"], caught.value.details["intent"]) == (3, "i")
    assert "what happened" in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.BAD_REQUEST, ValidationError),
        (Reason.BAD_FRAME, ProtocolError),
        (Reason.VERSION, ProtocolError),
        (Reason.TOO_LARGE, ProtocolError),
        (Reason.NOT_PERMITTED, SecurityError),
        (Reason.SESSION_TAKEN, SecurityError),
        (Reason.NOT_YET, NotYet),
        (Reason.EXPIRED, DeadlineExceeded),
        (Reason.UNKNOWN_PEER, AgentGone),
        (Reason.RATE_LIMITED, Refused),
        (Reason.BREAKER_OPEN, Refused),
        (Reason.EQUAL_PENDING, Refused),
        ("a reason of a newer agent", Refused),
    ],
)
def test_a_refusal_is_the_error_that_its_reason_means(reason: str, kind: type[Exception]) -> None:
    """Reason, retry_after, outcome and details survive."""
    refusal = m.Refusal(reason, "no", 2.5, Outcome.UNKNOWN, {"pending": "i-1"})
    for read in (response_of, posted_of, data_of):
        with pytest.raises(jackstay.TradingBotError) as caught:
            read(refusal)
        error = caught.value
        assert type(error) is kind
        assert (str(error), error.reason, error.retry_after_s, error.outcome, error.details) == (
            "no",
            reason,
            2.5,
            Outcome.UNKNOWN,
            {"pending": "i-1"},
        )


def test_an_answer_of_another_kind_is_a_protocol_error() -> None:
    """Two releases that do not fit; what the venue did is unknown."""
    with pytest.raises(ProtocolError, match="Done") as caught:
        response_of(m.Done())
    assert caught.value.outcome is Outcome.UNKNOWN


def test_posts_and_words_have_their_own_answers() -> None:
    """Accepted gives the id, Done its data."""
    assert posted_of(m.Accepted("i-1")) == jackstay.Posted("i-1")
    assert data_of(m.Done({"a": 1})) == {"a": 1}


def test_a_late_outcome_reads_like_a_response() -> None:
    """Status, headers, body and the verdict's words."""
    late = LateOutcome(m.OutcomeNews("i-1", "k", Outcome.REJECTED, 400, [(b"A", b"b")], b"[1]", "funds", "d"))
    assert (late.id, late.idempotency_key, late.outcome, late.status, late.cause, late.detail) == (
        "i-1",
        "k",
        Outcome.REJECTED,
        400,
        "funds",
        "d",
    )
    assert late.json() == [1]
    assert late.header("a") == "b"
