"""Settings and arguments that are no sensible numbers never get in: negative, NaN, infinite, huge, or contradictory."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

import pytest

from jackstay_agent import CircuitBreaker, ErrorHandler, retry
from jackstay_agent.core.backoff import Backoff
from jackstay_agent.core.breaker import BreakerSettings, BreakerState
from jackstay_agent.core.classify import TABLES, classify_answer
from jackstay_agent.core.loop_stop import LoopSettings
from jackstay_agent.core.rate_ask import LimitSettings
from jackstay_agent.core.rate_gate import RampSettings
from jackstay_agent.core.rate_limit import BudgetRule, GateScope, Limiter
from jackstay_agent.core.retry import RetryBudget, RetryPolicy, RetrySettings
from jackstay_agent.core.retry_after import RETRY_AFTER_CAP_S
from jackstay_agent.error_settings import ErrorSettings, Escalation
from jackstay_protocols.errors import ExchangeError, Outcome, ValidationError

OWNERS: list[tuple[type, dict[str, Any]]] = [
    (BreakerSettings, {"failure_rate": 0.5}),
    (RetryPolicy, {}),
    (RetrySettings, {}),
    (Backoff, {}),
    (BudgetRule, {"name": "b", "limit": 10, "per_s": 1.0}),
    (LimitSettings, {}),
    (RampSettings, {}),
    (Escalation, {}),
    (ErrorSettings, {}),
    (LoopSettings, {}),
]
NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, -1e-9, 1e300, 10**30, "5", True, b"1", [1]]


def numbers_of(kind: type) -> Iterator[tuple[str, bool]]:
    """Each numeric field and whether None is a value of it."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        parts = set(get_args(hints[each.name])) or {hints[each.name]}
        if parts & {int, float}:
            yield each.name, type(None) in parts


CASES = [(kind, name, optional) for kind, _ in OWNERS for name, optional in numbers_of(kind)]


def test_every_settings_value_of_the_decisions_is_swept() -> None:
    """The list below is not shorter than it was."""
    assert len(CASES) >= 41


@pytest.mark.parametrize(("kind", "name", "optional"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_no_number_of_a_setting_may_be_nonsense(kind: type, name: str, optional: bool) -> None:
    """Each field of each settings value refuses each nonsense by name; its default is fine."""
    needed = dict(OWNERS)[kind]
    kind(**needed)
    for value in NO_NUMBERS + ([] if optional else [None]):
        with pytest.raises(ValidationError, match=name):
            kind(**needed | {name: value})
    assert all(
        each.default is not MISSING or each.default_factory is not MISSING or each.name in needed
        for each in fields(kind)
    )


@pytest.mark.parametrize(
    "values",
    [
        {"failure_rate": 0.5, "window_size": 10, "min_calls": 11},
        {"slow_rate": 0.5, "window_size": 1},
        {"failure_rate": 1.0000001},
        {"slow_rate": 2},
        {"half_open_rule": "rates"},
        {"open_s": 61.0, "open_cap_s": 60.0},
    ],
    ids=str,
)
def test_thresholds_over_their_windows_are_refused(values: dict[str, Any]) -> None:
    """A rule that could never speak is a mistake, not a setting."""
    with pytest.raises(ValidationError, match="BreakerSettings"):
        BreakerSettings(**values)
    with pytest.raises(ValidationError, match="BreakerSettings"):
        CircuitBreaker(**({"recovery_timeout": values.pop("open_s")} if "open_s" in values else {}), **values)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_odd_durations_and_instants_do_no_harm(odd: float) -> None:
    """What a caller tells a breaker at run time: it is refused, or the breaker still opens, closes and ends."""
    now = [1000.0]
    breaker = CircuitBreaker(2, 30, clock=lambda: now[0])
    breaker.acquire().success(duration_s=odd)
    breaker.acquire().failure(duration_s=odd)
    try:
        breaker.acquire().failure(retry_after_s=odd)
        breaker.open_for(odd)
        breaker.force(BreakerState.FORCED_OPEN, why="test", for_s=odd)
    except ValidationError:
        pass
    breaker.force(BreakerState.CLOSED, why="an operator's word ends everything")
    assert breaker.call(lambda: 7) == 7
    restored = CircuitBreaker(2, 30, clock=lambda: now[0])
    restored.restore(breaker.snapshot())
    assert restored.state is BreakerState.CLOSED


# -- Retry-After, absurd ----------------------------------------------------------------------------------------------

ABSURD: list[tuple[bytes, float | None]] = [
    (b"-1", None),
    (b"-999999999999", None),
    (b"", None),
    (b" ", None),
    (b"soon", None),
    (b"NaN", None),
    (b"Infinity", None),
    (b"0x10", None),
    (b"1e400", None),
    (b"\xff\xfe\x00", None),
    (b"9" * 500, None),
    (b"1; DROP TABLE", None),
    (b"Fri, 01 Jan 3000 00:00:00 GMT", RETRY_AFTER_CAP_S),
    (b"Fri, 14 Jul 2017 02:40:30 GMT", 30.0),
    (b"Thu, 01 Jan 1970 00:00:00 GMT", None),
    (b"99999999999", RETRY_AFTER_CAP_S),
    (b"0", 0.0),
]


@pytest.mark.parametrize(("said", "expected"), ABSURD, ids=lambda v: repr(v)[:30])
@pytest.mark.parametrize("table", sorted(TABLES))
def test_an_absurd_retry_after_is_no_word_and_a_far_one_is_cut(table: str, said: bytes, expected: float | None) -> None:
    """The verdict stands without it; a gate made of it ends within the cap."""
    v = classify_answer(429, [(b"Retry-After", said)], b"", table=table, wall_now_s=1_500_000_000.0)
    assert (v.outcome, v.retry_after_s) == (Outcome.FAILED, expected)
    limiter = Limiter()
    until = limiter.gate(0.0, GateScope.IP, "x", retry_after_s=v.retry_after_s, why="429")
    assert 0.0 <= until <= RETRY_AFTER_CAP_S


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -5, 1e300, "soon", True, None, b"7"])
def test_an_errors_odd_retry_after_delays_no_retry_for_ever(odd: Any) -> None:
    """The decorator waits its own backoff, or gives up; it never sleeps a nonsense."""
    slept: list[float] = []
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        error = ExchangeError("busy")
        error.retry_after_s = odd
        raise error

    with pytest.raises(ExchangeError):
        retry(work, on=(ExchangeError,), attempts_max=3, sleep=slept.append, budget=RetryBudget(), chance=lambda: 0.5)()
    assert calls <= 3
    assert all(0.0 <= seconds <= 30.0 for seconds in slept)


# -- answers that are none --------------------------------------------------------------------------------------------

WHOLE = {"orderId": 1, "symbol": "BTCUSDT", "note": "größer"}
BODIES: dict[str, bytes] = {
    "HTML": b"<!DOCTYPE html><html><body>OK</body></html>",
    "HTML after a byte order mark": b"\xef\xbb\xbf<html></html>",
    "XML": b'<?xml version="1.0"?><error/>',
    "empty": b"",
    "blank": b"\r\n\t ",
    "truncated": json.dumps(WHOLE).encode()[:-9],
    "truncated inside a character": json.dumps(WHOLE, ensure_ascii=False).encode()[:-4],
    "latin-1": json.dumps(WHOLE, ensure_ascii=False).encode("latin-1"),
    "shift-jis": json.dumps({"orderId": 1, "note": "注文"}, ensure_ascii=False).encode("shift-jis"),
    "two documents": b'{"orderId":1}{"orderId":2}',
    "NUL": b"\x00" * 20,
    "a scalar": b"true",
    "a text": b'"accepted"',
    "deep": b'{"a":' * 50_000,
    "a page inside JSON's place": b"502 Bad Gateway",
}


LOOKS_WHOLE = {"latin-1", "shift-jis", "two documents"}


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("name", BODIES)
def test_an_answer_that_is_none_leaves_an_order_unknown_and_a_question_failed(table: str, name: str) -> None:
    """A 200 around it changes nothing: never ok, never rejected. A question's answer is read by its ends only, for its
    bot parses it anyway and may ask again.
    """
    headers = [(b"Content-Type", b"application/json")]
    assert classify_answer(200, headers, BODIES[name], table=table, is_order=True).outcome is Outcome.UNKNOWN
    read = classify_answer(200, headers, BODIES[name], table=table).outcome
    assert read is Outcome.FAILED or (name in LOOKS_WHOLE and read is Outcome.OK)


@pytest.mark.parametrize(
    ("table", "body"),
    [
        ("binance", {"code": -2010, "msg": "Account has insufficient balance for requested action."}),
        ("binance-usdm", {"code": -2019, "msg": "Margin is insufficient."}),
        ("bybit", {"retCode": 110007, "retMsg": "insufficient"}),
        ("okx", {"code": "1", "data": [{"sCode": "51008", "sMsg": "Insufficient balance"}]}),
        ("kraken", {"error": ["EOrder:Insufficient funds"]}),
        ("deribit", {"jsonrpc": "2.0", "error": {"code": 10009, "message": "not_enough_funds"}}),
        ("bitmex", {"error": {"name": "HTTPError", "message": "Account has insufficient Available Balance"}}),
        ("hyperliquid", {"status": "ok", "response": {"data": {"statuses": [{"error": "Insufficient margin"}]}}}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_200_with_an_error_inside_is_no_order(table: str, body: dict[str, Any]) -> None:
    """It is a refusal, with the venue's reason."""
    v = classify_answer(200, [], json.dumps(body).encode(), table=table, is_order=True)
    assert (v.outcome, v.cause) == (Outcome.REJECTED, "insufficient_funds")


@pytest.mark.parametrize("odd", [None, "boom", 5, BaseException("x"), asyncio.CancelledError()])
def test_what_is_no_exception_makes_no_context(odd: Any) -> None:
    """A word, a number, a cancellation: refused, and nothing recorded."""
    handler = ErrorHandler(None, log=False)
    with pytest.raises(ValidationError, match="an Exception is expected"):
        handler.create_error_context(odd, "c", "o")
    assert handler.recent_errors() == []
