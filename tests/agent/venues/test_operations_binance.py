"""Binance spot through the normalised operations: what is asked, and what an answer is worth."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from jackstay_agent.venues.answers import Denied, NotFound, NotOpen, OrderState, OrderStatus, Unreadable
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import FORM, OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.errors import Reason, ValidationError

NOW_MS = 1_700_000_000_123
ORDER: dict[str, Any] = {
    "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": "js-1", "price": "25000.10000000",
    "origQty": "0.50000000", "executedQty": "0.20000000", "cummulativeQuoteQty": "5000.00000000",
    "status": "PARTIALLY_FILLED", "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "stopPrice": "0.00000000",
    "time": 1507725176595, "updateTime": 1507725176600, "isWorking": True,
}  # fmt: skip


def operations(keys: Credentials | None = Credentials("k", "s", origin="a test")) -> Operations:
    return Operations(shipped_profiles()["binance"], keys, wall_ms=lambda: NOW_MS)


def read(body: Any, status: int = 200, name: str = "query_order", **asked: str) -> Any:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return operations().read(name, status, data, family="plain", asked=asked)


def test_an_order_is_asked_for_by_its_client_id() -> None:
    """Method, path, the venue's own names, signed at the venue's time."""
    asked = operations().request("query_order", family="plain", symbol="BTCUSDT", client_id="js-1")
    assert (asked.method, asked.path) == ("GET", "/api/v3/order")
    query = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert query.pop("signature")
    assert query == {
        "timestamp": str(NOW_MS), "symbol": "BTCUSDT", "origClientOrderId": "js-1", "recvWindow": "5000",
    }  # fmt: skip


def test_an_order_as_the_venue_describes_it() -> None:
    """Every value from the venue's text, money as Decimal."""
    order = read(ORDER, client_id="js-1")
    assert isinstance(order, OrderState)
    assert (order.client_id, order.venue_id, order.symbol, order.side, order.type) == (
        "js-1", "28", "BTCUSDT", "buy", "limit",
    )  # fmt: skip
    assert (order.price, order.quantity, order.filled) == (Decimal("25000.1"), Decimal("0.5"), Decimal("0.2"))
    assert order.average_price == Decimal(25000)
    assert (order.status, order.venue_status) == (OrderStatus.OPEN, "PARTIALLY_FILLED")
    assert order.time_ms == 1507725176595
    assert order.stop_price is None
    assert order.family == "plain"
    assert order.raw == ORDER


def test_only_the_venues_own_code_means_not_found() -> None:
    """-2013 in a client error; the same code under a server error or a gate means nothing."""
    body = {"code": -2013, "msg": "Order does not exist."}
    assert read(body, 400) == NotFound("-2013", "Order does not exist.")
    for status in (401, 403, 418, 429, 500, 503):
        assert isinstance(read(body, status), Denied)
    assert isinstance(read({"code": -1003, "msg": "Too much request weight used"}, 429), Denied)
    assert read({"code": -2011, "msg": "Unknown order sent."}, 400) == NotOpen("-2011", "Unknown order sent.")


def test_a_clock_that_is_off_is_told() -> None:
    """-1021 asks for a new measurement of the offset."""
    answer = read({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, 400)
    assert isinstance(answer, Denied)
    assert answer.clock


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>502</html>", b'{"symbol":"BTCUSDT"', b"null", b"[]", b"7", b'"text"', b"{}", b"\xff\xfe",
        b"[" * 10_000, *[{**ORDER, name: value} for name, value in [
            ("origQty", None), ("origQty", "NaN"), ("origQty", "Infinity"), ("origQty", True), ("origQty", []),
            ("origQty", "1e999999"), ("price", "1_000"), ("price", {}), ("side", "BOTH"), ("side", None),
            ("status", None), ("status", 7.5), ("type", []), ("symbol", ""), ("time", "yesterday"),
            ("executedQty", "\u0661"), ("clientOrderId", "x" * 300),
        ]],
        {**ORDER, "orderId": None, "clientOrderId": None},
        {name: value for name, value in ORDER.items() if name != "side"},
    ],
)  # fmt: skip
def test_what_is_not_the_promised_order_is_unreadable(body: Any) -> None:
    """HTML, cut JSON, missing fields, wrong types: never an order with invented values, never "not found"."""
    assert isinstance(read(body), Unreadable)


def test_another_order_than_the_one_asked_for_is_no_answer() -> None:
    """Existence is believed of the id that was asked for only."""
    assert isinstance(read(ORDER, client_id="js-2"), Unreadable)
    assert isinstance(read(ORDER, venue_id="29"), Unreadable)
    assert isinstance(read(ORDER, venue_id="28"), OrderState)


def test_a_word_the_profile_does_not_know_leaves_the_order_existing() -> None:
    """A new status of the venue's is passed on; it is neither filled nor gone."""
    order = read({**ORDER, "status": "PENDING_MOON"})
    assert isinstance(order, OrderState)
    assert (order.status, order.venue_status) == (OrderStatus.OTHER, "PENDING_MOON")


def test_open_orders_with_a_hole_prove_nothing() -> None:
    """One bad item makes the list unreadable; a good list is read whole."""
    good = read([ORDER, {**ORDER, "orderId": 29}], name="open_orders")
    assert [order.venue_id for order in good] == ["28", "29"]
    assert read([], name="open_orders") == []
    assert isinstance(read([ORDER, {}], name="open_orders"), Unreadable)
    assert isinstance(read({"orders": []}, name="open_orders"), Unreadable)


def test_what_a_bot_places_is_read_with_the_venues_words() -> None:
    """Form or query, the resolver learns what to ask for."""
    body = b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.5&price=25000.10&newClientOrderId=a-1&timeInForce=GTC"
    for request in (
        OutgoingRequest("POST", "/api/v3/order", [(b"Content-Type", FORM)], body),
        OutgoingRequest("POST", f"https://api.binance.com/api/v3/order?{body.decode()}"),
    ):
        orders = operations().read_place(request)
        assert isinstance(orders, list)
        assert [(each.symbol, each.side, each.type, each.client_id) for each in orders] == [
            ("BTCUSDT", "buy", "limit", "a-1")
        ]
        assert (orders[0].quantity, orders[0].price, orders[0].family) == (Decimal("0.5"), Decimal("25000.1"), "plain")
    assert operations().read_place(OutgoingRequest("GET", "/api/v3/order")) is None
    unclear = OutgoingRequest("POST", "/api/v3/order", [], body + b"&symbol=ETHUSDT")
    assert isinstance(operations().read_place(unclear), Unreadable)


def test_a_minted_id_goes_in_before_signing_and_never_over_the_bots_own() -> None:
    """Into the form or the query; a signed request is refused; an id the venue would not take too."""
    ours = operations()
    body = b"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1"
    plain = OutgoingRequest("POST", "/api/v3/order", [], body)
    assert ours.with_client_ids(plain, ["js-7"]).body == body + b"&newClientOrderId=js-7"
    in_query = ours.with_client_ids(OutgoingRequest("POST", "/api/v3/order?" + body.decode()), ["js-7"])
    assert in_query.target == f"/api/v3/order?{body.decode()}&newClientOrderId=js-7"
    own = OutgoingRequest("POST", "/api/v3/order", [], body + b"&newClientOrderId=mine")
    assert ours.with_client_ids(own, ["js-7"]) == own
    assert ours.with_client_ids(plain, [""]) == plain
    for request, ids in (
        (OutgoingRequest("POST", "/api/v3/order", [], body + b"&signature=00"), ["js-7"]),
        (plain, ["x" * 37]),
        (plain, ["blank space"]),
        (plain, ["js-1", "js-2"]),
        (OutgoingRequest("POST", "/api/v3/elsewhere", [], body), ["js-7"]),
    ):
        with pytest.raises(ValidationError):
            ours.with_client_ids(request, ids)


def test_what_is_missing_is_named_before_anything_is_sent() -> None:
    """No key, no symbol, no id or two ids, an unknown operation."""
    with pytest.raises(ValidationError, match="no key is configured") as error:
        operations(None).request("query_order", family="plain", symbol="A", client_id="b")
    assert error.value.reason == Reason.NO_SIGNER
    assert operations(None).request("server_time").target == "/api/v3/time"
    for given in ({"client_id": "b"}, {"symbol": "A"}, {"symbol": "A", "client_id": "b", "venue_id": "1"}):
        with pytest.raises(ValidationError):
            operations().request("query_order", family="plain", **given)
    with pytest.raises(ValidationError, match="did you mean 'query_order'"):
        operations().request("query_ordre")
    with pytest.raises(ValidationError, match="no order family"):
        operations().request("query_order", family="strange", symbol="A", client_id="b")


def test_the_lookup_of_a_family() -> None:
    """What the resolver needs to know before it asks."""
    lookup = operations().lookup("plain")
    assert (lookup.how, lookup.ask, lookup.late_s) == ("by_client_id", ("query_order",), 5)
    assert lookup.lists == ("open_orders", "order_history")
    assert (lookup.patience.visibility_delay_s, lookup.patience.not_found_needed) == (20, 3)
    assert operations().lookup("nothing").how == "none"
