"""The shipped tables are sound as data, and every row of the venues' documented signals means what it should.

`SIGNALS` are the documented rate-limit signals, `VERDICTS` the documented "unknown or failed" cases; one entry per row.
"""

import json
import re
from typing import NamedTuple

import pytest

from jackstay_agent.core.classify import classify_answer, classify_failure
from jackstay_agent.core.outcome_tables import TABLES
from jackstay_agent.core.verdict import Cause, GateScope
from jackstay_protocols.errors import Outcome, Reason

OK, REJECTED, FAILED, UNKNOWN = Outcome.OK, Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN
IP, KEY, ENDPOINT, ORDER_COUNT = GateScope.IP, GateScope.KEY, GateScope.ENDPOINT, GateScope.ORDER_COUNT
WALL_S = 1_500_000_000.0
PAGE = b"<html><body>blocked</body></html>"


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_tables_are_sound(table):
    """Texts are lower case, umbrella rules end with a general one, patterns compile with one group, names match."""
    assert TABLES[table.name] is table
    for rules in [*table.codes.values(), *table.statuses.values(), *[(rule,) for _, rule in table.families]]:
        assert all(rule.text == rule.text.lower() for rule in rules)
        assert all(isinstance(rule.cause, Cause) for rule in rules)
    for code, rules in table.codes.items():
        assert code not in table.ok_codes
        assert rules[-1].text == "", f"code {code} has no general meaning"
    if table.retry_text:
        assert re.compile(table.retry_text).groups == 1
    assert all(name == name.lower() for name, _ in table.retry_headers)
    assert not table.code_required or table.ok_start


class Case(NamedTuple):
    """An answer to an order, and what it means."""

    table: str
    status: int
    body: object
    outcome: Outcome
    cause: str
    gate: GateScope | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_after_s: float | None = None


def msg(code, text=""):
    return {"code": code, "msg": text}


def rpc(code, text=""):
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": text}}


def bitmex(text, name="HTTPError"):
    return {"error": {"message": text, "name": name}}


def okx(code, s_code="", text=""):
    return {"code": code, "msg": "", "data": [{"sCode": s_code, "sMsg": text}] if s_code else []}


def hyper(*errors):
    items = [{"error": error} if error else {"resting": {"oid": 1}} for error in errors]
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": items}}}


SIGNALS = {
    "Binance spot: 429, 418 and 403 stop the address until Retry-After; -1015 only the order count": [
        Case("binance", 429, msg(-1003), FAILED, "rate_limited", IP, ((b"Retry-After", b"35"),), 35.0),
        Case("binance", 418, msg(-1003), FAILED, "banned", IP, ((b"Retry-After", b"259200"),), 259_200.0),
        Case("binance", 418, msg(-1003, "banned until 1500000120000."), FAILED, "banned", IP, (), 120.0),
        Case("binance", 403, PAGE, FAILED, "waf", IP),
        Case("binance", 429, msg(-1015), FAILED, "order_rate", ORDER_COUNT, ((b"retry-after", b"3"),), 3.0),
    ],
    "Binance futures: -1008 is a failure that gates nothing; 408 is the backend's time-out": [
        Case("binance-usdm", 503, msg(-1008, "Request throttled"), FAILED, "overload"),
        Case("binance-usdm", 400, msg(-1008), FAILED, "overload"),
        Case("binance-usdm", 408, msg(-1007), UNKNOWN, "venue_timeout"),
    ],
    "Bybit: 10006 per endpoint until the reset instant; 403 'access too frequent' ten minutes for the address": [
        Case(
            "bybit",
            200,
            {"retCode": 10006, "retMsg": "Too many visits!"},
            FAILED,
            "rate_limited",
            ENDPOINT,
            ((b"X-Bapi-Limit-Reset-Timestamp", b"1500000000750"), (b"X-Bapi-Limit-Status", b"0")),
            0.75,
        ),
        Case("bybit", 403, b"access too frequent", FAILED, "banned", IP, (), 600.0),
        Case("bybit", 403, PAGE, FAILED, "waf", IP),
    ],
    "OKX: 50011 as 200 or 429 gates its endpoint, 50061 the order count, 50013 is busy": [
        Case("okx", 200, okx("50011"), FAILED, "rate_limited", ENDPOINT),
        Case("okx", 429, okx("50011"), FAILED, "rate_limited", ENDPOINT),
        Case("okx", 200, okx("50061"), FAILED, "order_rate", ORDER_COUNT),
        Case("okx", 429, okx("50013"), FAILED, "overload"),
    ],
    "Kraken REST: the counter is the key's; Throttled names its instant": [
        Case("kraken", 200, {"error": ["EAPI:Rate limit exceeded"]}, FAILED, "rate_limited", KEY),
        Case("kraken", 200, {"error": ["EService:Throttled:1500000009"]}, FAILED, "rate_limited", KEY, (), 9.0),
    ],
    "Kraken engine: its counter gates places, not cancels": [
        Case("kraken", 200, {"error": ["EOrder:Rate limit exceeded"]}, FAILED, "order_rate", ORDER_COUNT),
    ],
    "Deribit: 10028 says the key's credits are spent": [
        Case("deribit", 400, rpc(10028, "too_many_requests"), FAILED, "rate_limited", KEY),
        Case("deribit", 200, rpc(10028, "too_many_requests"), FAILED, "rate_limited", KEY),
        Case("deribit", 429, rpc(10028), FAILED, "rate_limited", KEY),
        Case("deribit", 200, {"jsonrpc": "2.0", "id": 1, "result": {"order": {"order_id": "1"}}}, OK, "ok"),
    ],
    "BitMEX: 429 with Retry-After": [
        Case(
            "bitmex",
            429,
            bitmex("Rate limit exceeded, retry in 1 seconds.", "RateLimitError"),
            FAILED,
            "rate_limited",
            IP,
            ((b"Retry-After", b"1"), (b"X-RateLimit-Remaining", b"0")),
            1.0,
        ),
    ],
    "Hyperliquid: 429 for the address, 'too many cumulative requests' for the key": [
        Case("hyperliquid", 429, b"", FAILED, "rate_limited", IP),
        Case(
            "hyperliquid",
            200,
            {"status": "err", "response": "Too many cumulative requests sent (10 > 9) for cumulative volume traded"},
            FAILED,
            "rate_limited",
            KEY,
        ),
    ],
    "Coinbase Exchange: 429": [
        Case("coinbase-exchange", 429, {"message": "Private rate limit exceeded"}, FAILED, "rate_limited", IP),
    ],
}

VERDICTS = {
    "Binance spot 5XX: unknown, whatever the code says": [
        Case("binance", status, body, UNKNOWN, "server_error" if status != 504 else "venue_timeout")
        for status in (500, 502, 503, 504, 520)
        for body in (b"", PAGE, msg(-2010, "Account has insufficient balance"))
    ],
    "Binance -1006 and -1007: unknown": [
        Case("binance", status, msg(code), UNKNOWN, "venue_timeout") for status in (200, 400) for code in (-1006, -1007)
    ],
    "Binance futures 503 'Unknown error, please check': unknown": [
        Case("binance-usdm", 503, body, UNKNOWN, "venue_timeout")
        for body in (
            msg(-1007, "Unknown error, please check your request or try again later."),
            b"Unknown error, please check your request or try again later.",
        )
    ],
    "Binance futures 503 'Service Unavailable.': failed": [
        Case("binance-usdm", 503, msg(0, "Service Unavailable."), FAILED, "overload"),
    ],
    "Binance futures 503 'Internal error; unable to process': failed": [
        Case("binance-usdm", 503, msg(-1001, "Internal error; unable to process your request."), FAILED, "overload"),
    ],
    "Binance futures -1008: failed": [
        Case("binance-usdm", 503, msg(-1008, "Server is currently overloaded"), FAILED, "overload"),
    ],
    "OKX 50004 and 51149: unknown": [
        Case("okx", 200, okx("50004"), UNKNOWN, "venue_timeout"),
        Case("okx", 400, okx("50004"), UNKNOWN, "venue_timeout"),
        Case("okx", 200, okx("1", "51149"), UNKNOWN, "venue_timeout"),
    ],
    "Bybit 10000, 170007, 170146, 170147: unknown": [
        Case("bybit", 200, {"retCode": code, "retMsg": "timeout"}, UNKNOWN, "venue_timeout")
        for code in (10000, 170007, 170146, 170147)
    ],
    "BitMEX 503 overloaded: failed, half a second at least; any other 503 is unknown": [
        Case(
            "bitmex",
            503,
            bitmex("The system is currently overloaded. Please try again later."),
            FAILED,
            "overload",
            None,
            (),
            0.5,
        ),
        Case("bitmex", 503, bitmex("Service unavailable"), UNKNOWN, "server_error"),
        Case("bitmex", 503, PAGE, UNKNOWN, "server_error"),
    ],
    "any transport error after bytes were sent: unknown": [],  # no answer: judged by classify_failure, below
}


def judge(case, *, is_order=True):
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    headers = [(b"content-type", b"application/json"), *case.headers]
    return classify_answer(case.status, headers, body, table=case.table, is_order=is_order, wall_now_s=WALL_S)


def test_no_documented_row_is_left_out():
    """Ten signals, ten verdicts."""
    assert (len(SIGNALS), len(VERDICTS)) == (10, 10)
    assert {case.table for cases in SIGNALS.values() for case in cases} == set(TABLES) - {"generic"}


@pytest.mark.parametrize("row", SIGNALS)
def test_a_documented_rate_limit_signal(row):
    """Its outcome, its scope and no more, its instant; a read is told the same."""
    assert SIGNALS[row]
    for case in SIGNALS[row]:
        v = judge(case)
        assert (v.outcome, v.cause, v.gate, v.retry_after_s) == case[3:6] + (case.retry_after_s,), case
        read = judge(case, is_order=False)
        assert (read.cause, read.gate, read.retry_after_s) == (v.cause, v.gate, v.retry_after_s)
        assert read.outcome is (FAILED if v.outcome is UNKNOWN else v.outcome)


@pytest.mark.parametrize("row", VERDICTS)
def test_a_documented_verdict(row):
    """What an order's answer says of the order: unknown is never called a failure, nor the reverse."""
    for case in VERDICTS[row]:
        v = judge(case)
        assert (v.outcome, v.cause, v.gate, v.retry_after_s) == case[3:6] + (case.retry_after_s,), case
    if not VERDICTS[row]:
        for reason in (Reason.RESET, Reason.TIMEOUT, Reason.PROTOCOL, Reason.TLS, Reason.RESPONSE_TOO_LARGE):
            assert classify_failure(reason, sent=True, is_order=True).outcome is UNKNOWN
            assert classify_failure(reason, sent=False, is_order=True).outcome is FAILED


SMALLER = [
    Case("deribit", 400, rpc(10009, "not_enough_funds"), REJECTED, "insufficient_funds"),
    Case("deribit", 400, rpc(10009, "invalid_argument"), REJECTED, "invalid_order"),
    Case("deribit", 200, rpc(13888, "timed_out"), UNKNOWN, "venue_timeout"),
    Case("deribit", 200, rpc(11051, "system_maintenance"), FAILED, "maintenance"),
    Case("deribit", 200, rpc(10041, "settlement_in_progress"), FAILED, "overload"),
    Case("deribit", 200, rpc(10002, "qty_too_low"), REJECTED, "invalid_order"),
    Case("deribit", 200, rpc(99999, "new"), UNKNOWN, "unlisted"),
    Case("deribit", 200, {"jsonrpc": "2.0", "error": {"message": "no number"}}, UNKNOWN, "unlisted"),
    Case("deribit", 200, {"jsonrpc": "2.0", "error": {"code": True}}, UNKNOWN, "unlisted"),
    Case("bitmex", 400, bitmex("Account has insufficient Available Balance"), REJECTED, "insufficient_funds"),
    Case("bitmex", 400, bitmex("Duplicate clOrdID"), REJECTED, "duplicate_id"),
    Case("bitmex", 400, bitmex("Invalid price tickSize", "ValidationError"), REJECTED, "invalid_order"),
    Case("bitmex", 400, bitmex("something new"), REJECTED, "bad_request"),
    Case("bitmex", 401, bitmex("Signature not valid."), REJECTED, "auth"),
    Case("bitmex", 200, {"orderID": "1", "ordStatus": "New"}, OK, "ok"),
    Case("hyperliquid", 200, hyper(None), OK, "ok"),
    Case("hyperliquid", 200, hyper("Insufficient margin to place order. asset=0"), REJECTED, "insufficient_funds"),
    Case("hyperliquid", 200, hyper("Post only order would have immediately matched"), REJECTED, "would_match"),
    Case("hyperliquid", 200, hyper("Order must have minimum value of $10."), REJECTED, "invalid_order"),
    Case(
        "hyperliquid", 200, hyper("Order was never placed, already canceled, or filled."), REJECTED, "order_not_found"
    ),
    Case("hyperliquid", 200, hyper("Too many cumulative requests sent"), FAILED, "rate_limited", KEY),
    Case("hyperliquid", 200, hyper("Something new"), UNKNOWN, "unlisted"),
    Case("hyperliquid", 200, hyper(None, "Insufficient margin"), UNKNOWN, "partial_batch"),
    Case("hyperliquid", 200, {"status": "err", "response": "something new"}, UNKNOWN, "unlisted"),
    Case("coinbase-exchange", 400, {"message": "Insufficient funds"}, REJECTED, "insufficient_funds"),
    Case("coinbase-exchange", 404, {"message": "order not found"}, REJECTED, "order_not_found"),
    Case("coinbase-exchange", 500, {"message": "Internal server error"}, UNKNOWN, "server_error"),
    Case("coinbase-exchange", 200, {"id": "1", "status": "pending"}, OK, "ok"),
]


@pytest.mark.parametrize("case", SMALLER, ids=lambda c: f"{c.table}-{c.status}-{c.body!r:.60}")
def test_the_smaller_tables(case):
    """Each documented answer to an order gets its meaning; what no row knows is doubted."""
    v = judge(case)
    assert (v.outcome, v.cause, v.gate) == (case.outcome, case.cause, case.gate)
