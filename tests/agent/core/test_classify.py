"""Answers and failures, classified: the generic base, and each venue's documented cases as data."""

import gzip
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.classify import TABLES, classify_answer, classify_failure, classify_items
from jackstay_agent.core.outcome_table import OutcomeTable, Rule
from jackstay_agent.core.verdict import BreakerMark, Cause, GateScope
from jackstay_protocols.errors import ErrorSeverity, Outcome, Reason, ValidationError

JSON = [(b"Content-Type", b"application/json;charset=UTF-8")]
HTML = [(b"Content-Type", b"text/html; charset=utf-8")]
PAGE = b"<!DOCTYPE html><html><body>We are down for maintenance</body></html>"
ORDER = b'{"symbol":"BTCUSDT","orderId":28,"status":"NEW","fills":[{"price":"1"}]}'
OK, REJECTED, FAILED, UNKNOWN = Outcome.OK, Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN


def order(status, body, table="generic", headers=JSON, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_answer(status, headers, body, table=table, is_order=True, **more)


def binance(code, msg=""):
    return {"code": code, "msg": msg}


def okx(code, s_code="0", s_msg=""):
    return {"code": code, "msg": "", "data": [{"sCode": s_code, "sMsg": s_msg}]}


def bybit(code, msg=""):
    return {"retCode": code, "retMsg": msg, "result": {}, "retExtInfo": {}}


def kraken(*errors):
    return {"error": list(errors)}


# -- a 2xx is not yet an order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (HTML, PAGE),
        (JSON, PAGE),
        (JSON, b""),
        (JSON, b"  \n"),
        (JSON, gzip.compress(ORDER, mtime=0)),
        (JSON, ORDER[:-1]),
        (JSON, ORDER[:-3]),
        (JSON, b'{"symbol":"B","fills":[{"price":"1"}'),
        (JSON, b'"ok"'),
        (JSON, b"null"),
        (JSON, b"12"),
        (JSON, '{"a":"\udcff"}'.encode("utf-8", "surrogateescape")),
        (JSON, b"[" * 100_000),
        (HTML, ORDER),
        ([(b"content-type", b"application/octet-stream")], ORDER),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_a_2xx_that_is_not_the_promised_json_leaves_an_order_unknown(table, headers, body):
    """HTML, empty, compressed, cut off, scalar, wrong encoding or content type: nobody knows; the breaker hears it."""
    v = classify_answer(200, headers, body, table=table, is_order=True)
    assert (v.outcome, v.cause, v.breaker) == (UNKNOWN, "not_json", BreakerMark.FAILURE)


@pytest.mark.parametrize("cut", range(1, len(ORDER)))
def test_an_order_answer_cut_anywhere_is_unknown(cut):
    """No length of a truncated answer passes for a whole one."""
    assert order(200, ORDER[:cut], "binance").outcome is UNKNOWN


def test_the_same_for_a_question_has_failed_and_may_be_asked_again():
    """A read changes nothing, so it is never unknown."""
    v = classify_answer(200, HTML, PAGE)
    assert (v.outcome, v.cause, v.retryable) == (FAILED, "not_json", True)


@pytest.mark.parametrize("table", ["generic", "binance", "binance-usdm"])
@pytest.mark.parametrize("body", [ORDER, b"[]", b'{"a":1}\n', b'\xef\xbb\xbf{"a":1}'])
def test_whole_json_is_ok(table, body):
    """For an order and for a question."""
    assert order(200, body, table).outcome is OK
    assert classify_answer(200, JSON, body, table=table).outcome is OK


def test_a_route_that_promises_no_json_is_ok_with_anything():
    """A plain ping or a file is not judged by its body."""
    assert order(200, b"pong", expects_json=False).outcome is OK
    assert classify_answer(204, [], b"", expects_json=False).outcome is OK


def test_another_json_reader_may_be_used():
    """The caller's faster reader gives the same judgement."""
    assert order(200, ORDER, "binance", loads=msgspec.json.decode).outcome is OK
    assert order(200, ORDER[:-1], "binance", loads=msgspec.json.decode).outcome is UNKNOWN


def test_a_profile_may_bring_its_own_table():
    """A table is a value; its name is only a short way to a shipped one."""
    mine = OutcomeTable("mine", code_key="err", codes={"7": (Rule(Cause.OVERLOAD),)})
    assert order(400, {"err": 7}, mine).cause == "overload"


def test_an_unknown_table_is_an_error_of_ours():
    """It names the known ones."""
    with pytest.raises(ValidationError, match="'mtgox' is not known; one of binance"):
        classify_answer(200, [], b"{}", table="mtgox")


# -- the generic reading of statuses -----------------------------------------------------------------------------------

GENERIC = [
    (302, UNKNOWN, False, "redirect"),
    (400, REJECTED, False, "bad_request"),
    (401, REJECTED, False, "auth"),
    (403, REJECTED, False, "permission"),
    (404, REJECTED, False, "bad_request"),
    (408, UNKNOWN, True, "venue_timeout"),
    (418, FAILED, False, "banned"),
    (425, FAILED, True, "overload"),
    (429, FAILED, True, "rate_limited"),
    (451, REJECTED, False, "geo_blocked"),
    (499, UNKNOWN, True, "venue_timeout"),
    (500, UNKNOWN, True, "server_error"),
    (502, UNKNOWN, True, "server_error"),
    (503, UNKNOWN, True, "server_error"),
    (504, UNKNOWN, True, "venue_timeout"),
    (520, UNKNOWN, True, "server_error"),
    (524, UNKNOWN, True, "venue_timeout"),
    (101, UNKNOWN, True, "server_error"),
    (999, UNKNOWN, True, "server_error"),
]


@pytest.mark.parametrize(("status", "outcome", "retryable", "cause"), GENERIC)
def test_statuses_without_a_venues_word(status, outcome, retryable, cause):
    """A 4xx did nothing, a 5xx nobody knows, a redirect of an order neither; limits are failures that did nothing."""
    v = order(status, b"", headers=[])
    assert (v.outcome, v.retryable, v.cause, v.detail) == (outcome, retryable, cause, f"HTTP {status}")
    read = classify_answer(status, [], b"")
    assert read.outcome is (FAILED if outcome is UNKNOWN else outcome)


def test_a_page_of_a_firewall_is_no_permission_problem():
    """403 with markup never reached the venue's logic."""
    assert order(403, PAGE, headers=HTML).cause == "waf"
    assert order(403, {"error": "no"}).cause == "permission"


@pytest.mark.parametrize("table", TABLES)
def test_maintenance_in_a_5xx_is_named_and_the_order_stays_unknown(table):
    """Why it broke is known, what became of the request is not."""
    v = order(503, PAGE, table, headers=HTML)
    assert (v.outcome, v.cause, v.scenario) == (UNKNOWN, "maintenance", "exchange_maintenance")


def test_retry_after_is_read_doubted_and_bounded():
    """Seconds, dates, garbage, negatives and the year 3000; the latest of several words counts."""

    def told(*values, **more):
        headers = [(b"Retry-After", v) for v in values]
        return classify_answer(429, headers, b"", **more).retry_after_s

    assert told(b"35") == 35.0
    assert told(b"-1") is None
    assert told(b"soon") is None
    assert told() is None
    assert told(b"3", b"7", b"x") == 7.0
    assert told(b"Wed, 21 Oct 2015 07:28:00 GMT", wall_now_s=1_445_412_400.0) == 80.0
    assert told(b"Wed, 21 Oct 3000 07:28:00 GMT", wall_now_s=1_445_412_400.0) == 259_200.0


# -- what the venues document, row by row ----------------------------------------------------------------------------

SPOT, USDM = "binance", "binance-usdm"
ROWS = [
    # table, status, body, outcome, cause, gate
    (
        SPOT,
        400,
        binance(-2010, "Account has insufficient balance for requested action."),
        REJECTED,
        "insufficient_funds",
    ),
    (
        SPOT,
        200,
        binance(-2010, "Account has insufficient balance for requested action."),
        REJECTED,
        "insufficient_funds",
    ),
    (SPOT, 400, binance(-2010, "Order would immediately match and take."), REJECTED, "would_match"),
    (SPOT, 400, binance(-2010, "Duplicate order sent."), REJECTED, "duplicate_id"),
    (SPOT, 400, binance(-2010, "Market is closed."), REJECTED, "market_closed"),
    (SPOT, 400, binance(-2010, "This action is disabled on this account."), REJECTED, "permission"),
    (SPOT, 400, binance(-2010, "something new"), REJECTED, "invalid_order"),
    (SPOT, 400, binance(-2011, "Unknown order sent."), REJECTED, "order_not_found"),
    (SPOT, 400, binance(-2013, "Order does not exist."), REJECTED, "order_not_found"),
    (SPOT, 400, binance(-1013, "Filter failure: LOT_SIZE"), REJECTED, "invalid_order"),
    (SPOT, 400, binance(-1111), REJECTED, "invalid_order"),
    (SPOT, 400, binance(-1121, "Invalid symbol."), REJECTED, "bad_symbol"),
    (SPOT, 400, binance(-1100), REJECTED, "bad_request"),
    (SPOT, 400, binance(-1131), REJECTED, "bad_request"),
    (SPOT, 400, binance(-9999, "new one"), REJECTED, "bad_request"),
    (SPOT, 400, binance(-1021, "Timestamp for this request is outside of the recvWindow."), REJECTED, "clock"),
    (SPOT, 400, binance(-1022), REJECTED, "auth"),
    (SPOT, 400, binance(-2014), REJECTED, "auth"),
    (SPOT, 401, binance(-2015), REJECTED, "auth"),
    (SPOT, 409, binance(-2021), UNKNOWN, "partial_batch"),
    (SPOT, 400, binance(-2022), REJECTED, "invalid_order"),
    (SPOT, 429, binance(-1003, "Too much request weight used"), FAILED, "rate_limited", GateScope.IP),
    (SPOT, 400, binance(-1003), FAILED, "rate_limited", GateScope.IP),
    (SPOT, 429, PAGE, FAILED, "rate_limited", GateScope.IP),
    (SPOT, 429, binance(-1015, "Too many new orders"), FAILED, "order_rate", GateScope.ORDER_COUNT),
    (SPOT, 400, binance(-1015), FAILED, "order_rate", GateScope.ORDER_COUNT),
    (SPOT, 418, binance(-1003, "Way too many requests; IP banned"), FAILED, "banned", GateScope.IP),
    (SPOT, 403, PAGE, FAILED, "waf", GateScope.IP),
    (SPOT, 400, binance(-1000), UNKNOWN, "server_error"),
    (SPOT, 500, binance(-1001), UNKNOWN, "server_error"),
    (SPOT, 500, binance(-1006), UNKNOWN, "server_error"),
    (SPOT, 400, binance(-1006), UNKNOWN, "venue_timeout"),
    (SPOT, 408, binance(-1007), UNKNOWN, "venue_timeout"),
    (SPOT, 504, binance(-1007), UNKNOWN, "venue_timeout"),
    (SPOT, 503, binance(-1008), UNKNOWN, "server_error"),  # spot: a 5XX is never a failure
    (SPOT, 500, b"", UNKNOWN, "server_error"),
    (SPOT, 502, b"<html>502</html>", UNKNOWN, "server_error"),
    (SPOT, 451, binance(0, "Service unavailable from a restricted location"), REJECTED, "geo_blocked"),
    (SPOT, 200, [{"orderId": 1}, {"orderId": 2}], OK, "ok"),
    (SPOT, 200, [{"orderId": 1}, binance(-2011)], UNKNOWN, "partial_batch"),
    (SPOT, 200, [binance(-2011), binance(-2011)], REJECTED, "order_not_found"),
    (SPOT, 200, binance(200, "success"), OK, "ok"),
    (
        USDM,
        503,
        binance(-1007, "Unknown error, please check your request or try again later."),
        UNKNOWN,
        "venue_timeout",
    ),
    (USDM, 503, b"Unknown error, please check your request or try again later.", UNKNOWN, "venue_timeout"),
    (USDM, 503, binance(0, "Service Unavailable."), FAILED, "overload"),
    (
        USDM,
        503,
        binance(-1001, "Internal error; unable to process your request. Please try again."),
        FAILED,
        "overload",
    ),
    (USDM, 503, binance(-1008, "Request throttled by system-level protection."), FAILED, "overload"),
    (USDM, 503, b"<h1>503 Service Unavailable.</h1>", UNKNOWN, "server_error"),
    (USDM, 503, b"", UNKNOWN, "server_error"),
    (USDM, 400, binance(-1008), FAILED, "overload"),
    (USDM, 408, binance(-1007), UNKNOWN, "venue_timeout"),
    (USDM, 400, binance(-2018), REJECTED, "insufficient_funds"),
    (USDM, 400, binance(-2019, "Margin is insufficient."), REJECTED, "insufficient_funds"),
    (USDM, 400, binance(-2021, "Order would immediately trigger."), REJECTED, "invalid_order"),
    (USDM, 400, binance(-2022, "ReduceOnly Order is rejected."), REJECTED, "reduce_only"),
    (USDM, 400, binance(-4116, "ClientOrderId is duplicated"), REJECTED, "duplicate_id"),
    (USDM, 400, binance(-4120), REJECTED, "wrong_order_path"),
    (USDM, 400, binance(-4164), REJECTED, "invalid_order"),
    (USDM, 400, binance(-4999), REJECTED, "invalid_order"),
    (USDM, 400, binance(-5022), REJECTED, "would_match"),
    ("bybit", 200, bybit(0, "OK"), OK, "ok"),
    ("bybit", 200, bybit(10006), FAILED, "rate_limited", GateScope.ENDPOINT),
    ("bybit", 200, bybit(10018), FAILED, "rate_limited", GateScope.IP),
    ("bybit", 403, b"access too frequent", FAILED, "banned", GateScope.IP),
    ("bybit", 403, b"", FAILED, "waf", GateScope.IP),
    ("bybit", 200, bybit(10000, "Server Timeout"), UNKNOWN, "venue_timeout"),
    ("bybit", 200, bybit(170007), UNKNOWN, "venue_timeout"),
    ("bybit", 200, bybit(170146), UNKNOWN, "venue_timeout"),
    ("bybit", 200, bybit(170147), UNKNOWN, "venue_timeout"),
    ("bybit", 200, bybit(10016), UNKNOWN, "server_error"),
    ("bybit", 200, bybit(10002), REJECTED, "clock"),
    ("bybit", 200, bybit(110007), REJECTED, "insufficient_funds"),
    ("bybit", 200, bybit(170131), REJECTED, "insufficient_funds"),
    ("bybit", 200, bybit(110001), REJECTED, "order_not_found"),
    ("bybit", 200, bybit(10001, "Qty invalid"), REJECTED, "invalid_order"),
    ("bybit", 200, bybit(10001, "The price does not fit the tick size."), REJECTED, "invalid_order"),
    ("bybit", 200, bybit(10001, "params error: category is required"), REJECTED, "bad_request"),
    ("bybit", 200, bybit(170213), REJECTED, "order_not_found"),
    ("bybit", 200, bybit(110072), REJECTED, "duplicate_id"),
    ("bybit", 200, bybit(170141), REJECTED, "duplicate_id"),
    ("bybit", 200, bybit(110999), REJECTED, "invalid_order"),
    ("bybit", 200, bybit(77777), UNKNOWN, "unlisted"),
    ("bybit", 200, b"{}", UNKNOWN, "not_json"),
    ("bybit", 200, b"[]", UNKNOWN, "not_json"),
    ("okx", 200, okx("0"), OK, "ok"),
    ("okx", 200, okx("1", "51008", "Insufficient balance"), REJECTED, "insufficient_funds"),
    ("okx", 200, okx("1", "51603"), REJECTED, "order_not_found"),
    ("okx", 200, okx("1", "51149"), UNKNOWN, "venue_timeout"),
    ("okx", 200, okx("1", "99999"), UNKNOWN, "unlisted"),
    ("okx", 200, {"code": "1", "data": []}, UNKNOWN, "unlisted"),
    ("okx", 200, {"code": "2", "data": [{"sCode": "0"}, {"sCode": "51008"}]}, UNKNOWN, "partial_batch"),
    ("okx", 200, okx("50011"), FAILED, "rate_limited", GateScope.ENDPOINT),
    ("okx", 429, okx("50011"), FAILED, "rate_limited", GateScope.ENDPOINT),
    ("okx", 200, okx("50061"), FAILED, "order_rate", GateScope.ORDER_COUNT),
    ("okx", 429, okx("50013"), FAILED, "overload"),
    ("okx", 200, okx("50004"), UNKNOWN, "venue_timeout"),
    ("okx", 400, okx("1", "51008"), REJECTED, "insufficient_funds"),
    ("okx", 200, okx("50001"), FAILED, "maintenance"),
    ("okx", 200, okx("50102"), REJECTED, "clock"),
    ("kraken", 200, {"error": [], "result": {"txid": ["X"]}}, OK, "ok"),
    ("kraken", 200, {"error": ["WTrade:note"], "result": {}}, OK, "ok"),
    ("kraken", 200, kraken("EOrder:Insufficient funds"), REJECTED, "insufficient_funds"),
    ("kraken", 200, kraken("EOrder:Rate limit exceeded"), FAILED, "order_rate", GateScope.ORDER_COUNT),
    ("kraken", 200, kraken("EAPI:Rate limit exceeded"), FAILED, "rate_limited", GateScope.KEY),
    ("kraken", 200, kraken("EGeneral:Temporary lockout"), FAILED, "banned", GateScope.KEY),
    ("kraken", 200, kraken("EAPI:Invalid nonce"), REJECTED, "nonce"),
    ("kraken", 200, kraken("EService:Unavailable"), FAILED, "maintenance"),
    ("kraken", 200, kraken("EService:Busy"), FAILED, "overload"),
    ("kraken", 200, kraken("EService:Market in cancel_only mode"), REJECTED, "cancel_only"),
    ("kraken", 200, kraken("EService:Timeout"), UNKNOWN, "venue_timeout"),
    ("kraken", 200, kraken("EService:Deadline elapsed"), UNKNOWN, "venue_timeout"),
    ("kraken", 200, kraken("EOrder:Unknown order"), REJECTED, "order_not_found"),
    ("kraken", 200, kraken("EOrder:Something new"), REJECTED, "invalid_order"),
    ("kraken", 200, kraken("EGeneral:Invalid arguments:volume"), REJECTED, "invalid_order"),
    ("kraken", 200, kraken("EGeneral:Invalid arguments:pair"), REJECTED, "bad_request"),
    ("kraken", 200, kraken("ESomething:new"), UNKNOWN, "unlisted"),
    ("kraken", 520, b"", UNKNOWN, "server_error"),
    ("kraken", 429, b"", FAILED, "rate_limited", GateScope.IP),
    # BitMEX has no table: its 503 is unknown here, which is the careful side
    ("generic", 503, {"error": {"message": "The system is currently overloaded."}}, UNKNOWN, "server_error"),
    ("generic", 200, {"code": -2010}, OK, "ok"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r[0]}-{r[1]}-{r[2]!r:.40}-{r[4]}")
def test_venue_rows(row):
    """Each documented answer to an order gets its documented meaning."""
    table, status, body, outcome, cause, *gate = row
    v = order(status, body, table)
    assert (v.outcome, v.cause, v.gate) == (outcome, cause, gate[0] if gate else None)


@pytest.mark.parametrize(
    ("table", "status", "headers", "body", "expected"),
    [
        (SPOT, 418, [(b"retry-after", b"300")], binance(-1003, "IP banned until 1500000120000."), 300.0),
        (SPOT, 418, [], binance(-1003, "Way too much; IP banned until 1500000120000."), 120.0),
        (SPOT, 429, [], binance(-1003, "banned until 1400000000000"), None),
        ("bybit", 403, [], b"access too frequent", 600.0),
        ("bybit", 200, [(b"X-Bapi-Limit-Reset-Timestamp", b"1500000000750")], bybit(10006), 0.75),
        ("kraken", 200, [], kraken("EService:Throttled:1500000009"), 9.0),
        ("kraken", 200, [], kraken("EGeneral:Temporary lockout"), 900.0),
    ],
)
def test_a_venues_instants_are_understood(table, status, headers, body, expected):
    """Headers, timestamps in headers, instants in texts, and what is documented without being said."""
    v = order(status, body, table, headers=[*JSON, *headers], wall_now_s=1_500_000_000.0)
    assert v.retry_after_s == expected


def test_errors_inside_a_2xx_are_found_for_questions_too():
    """A read that answers 200 with an error code is no answer."""
    body = json.dumps(bybit(10006)).encode()
    assert classify_answer(200, JSON, body, table="bybit").cause == "rate_limited"
    body = json.dumps({"retCode": 0, "result": {}}).encode()  # spaced differently: parsed, and fine
    assert classify_answer(200, JSON, body, table="bybit").outcome is OK
    assert classify_answer(200, JSON, b'{"code":-1003,"msg":"x"}', table=SPOT).cause == "rate_limited"


def test_a_5xx_of_a_venue_with_codes_is_not_explained_away():
    """Whatever the body says, a 5xx leaves an order unknown at okx, bybit and kraken."""
    assert order(500, okx("51008"), "okx").outcome is UNKNOWN
    assert order(500, bybit(110007), "bybit").outcome is UNKNOWN
    assert order(502, kraken("EOrder:Insufficient funds"), "kraken").outcome is UNKNOWN


@given(
    st.integers(0, 999),
    st.one_of(
        st.binary(max_size=80),
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode),
    ),
    st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=3),
    st.sampled_from(sorted(TABLES)),
    st.booleans(),
)
def test_any_answer_gets_a_verdict(status, body, headers, table, is_order):
    """Nothing a server can send raises; a question is never unknown; only a 2xx can be ok."""
    v = classify_answer(status, headers, body, table=table, is_order=is_order, wall_now_s=1.5e9)
    assert v.outcome is not UNKNOWN or is_order
    assert v.outcome is not OK or 200 <= status < 300
    assert len(v.detail) <= 200


# -- no answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [Reason.DNS, Reason.REFUSED, Reason.TLS, Reason.TIMEOUT, Reason.RESET])
def test_transport_failures(cause):
    """Nothing sent: failed and safe to repeat. Possibly sent: unknown for an order, failed for a question."""
    v = classify_failure(cause, sent=False, is_order=True, detail="why\x00")
    assert (v.outcome, v.cause, v.retryable, v.breaker, v.detail) == (FAILED, cause, True, BreakerMark.FAILURE, "why ")
    assert v.scenario == "network_disconnection"
    v = classify_failure(cause, sent=True, is_order=True)
    assert (v.outcome, v.cause, v.breaker, v.severity) == (UNKNOWN, cause, BreakerMark.FAILURE, ErrorSeverity.HIGH)
    v = classify_failure(cause, sent=True, is_order=False)
    assert (v.outcome, v.retryable) == (FAILED, True)


def test_our_own_doing_is_no_failure_of_the_venue():
    """A deadline that ended before sending, a bad request, a full queue: the breaker hears nothing."""
    for cause in (Reason.EXPIRED, Reason.BAD_REQUEST, Reason.QUEUE_FULL, Reason.NO_SIGNER):
        v = classify_failure(cause, sent=False, is_order=True)
        assert (v.outcome, v.retryable, v.breaker, v.scenario) == (FAILED, False, BreakerMark.IGNORE, None)


def test_cancellation_is_neither():
    """Unknown for an order that may have left, failed otherwise; the breaker hears nothing."""
    v = classify_failure("cancelled", sent=True, is_order=True)
    assert (v.outcome, v.breaker) == (UNKNOWN, BreakerMark.IGNORE)
    assert classify_failure("cancelled", sent=False, is_order=True).outcome is FAILED
    assert classify_failure("cancelled", sent=True, is_order=False).outcome is FAILED


def test_a_failed_dial_may_say_when_to_return():
    """A Retry-After of a refused upgrade is kept."""
    assert classify_failure(Reason.REFUSED, sent=False, is_order=False, retry_after_s=5.0).retry_after_s == 5.0


def test_items_of_a_batch_have_a_verdict_each() -> None:
    """Taken, refused and in doubt side by side: one verdict per order, in their order."""
    body = b'{"code":"2","data":[{"sCode":"0"},{"sCode":"51008","sMsg":"no"},{"sCode":"50004"},{"sCode":"99999"}]}'
    items = classify_items(200, [], body, table="okx")
    assert [each.outcome for each in items] == [Outcome.OK, Outcome.REJECTED, Outcome.UNKNOWN, items[3].outcome]
    assert items[3].cause == Cause.UNLISTED


def test_an_answer_without_items_tells_of_none() -> None:
    """No list, no JSON, no success: nothing is said of any single order."""
    table = TABLES["okx"]
    assert classify_items(200, [], b'{"code":"0"}', table=table) == []
    assert classify_items(200, [], b"<html>", table=table) == []
    assert classify_items(500, [], b'{"code":"0","data":[{"sCode":"0"}]}', table=table) == []
    assert classify_items(200, [], b"[]", table="generic") == []
