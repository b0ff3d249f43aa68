"""Binance's rules over plain HTTP: codes for what is wrong, keys and signatures, weights, history."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.sandbox.weights import Limits
from sandbox_client import Plain, limit_order, signed


@pytest.fixture
def plain(sandbox: SandboxProcess) -> Plain:
    return Plain(sandbox)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"symbol": ""}, -1102, "symbol"),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "WISH"}, -1116, "Invalid orderType."),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": ""}, -1102, "timeInForce"),
        ({"price": ""}, -1102, "price"),
        ({"price": "-1"}, -1100, "price"),
        ({"quantity": "1e5"}, -1100, "quantity"),
        ({"quantity": "0.123456789"}, -1111, "quantity"),
        ({"quantity": "0.000001"}, -1013, "LOT_SIZE"),
        ({"price": "40000.001"}, -1013, "PRICE_FILTER"),
        ({"price": "9999"}, -1013, "PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0.0001"}, -1013, "NOTIONAL"),
        ({"quantity": "9"}, -2010, "insufficient balance"),
        ({"newClientOrderId": "no spaces"}, -1100, "newClientOrderId"),
        ({"type": "LIMIT_MAKER", "timeInForce": "", "price": "60000"}, -2010, "immediately match"),
        ({"type": "MARKET"}, -1106, "price"),
        ({"timestamp": int(time.time() * 1000) - 20_000}, -1021, "outside of the recvWindow"),
        ({"timestamp": int(time.time() * 1000) + 600_000}, -1021, "ahead"),
        ({"recvWindow": 70_000}, -1131, "recvWindow"),
    ],
)
def test_order_refusals(plain: Plain, change: dict[str, Any], code: int, text: str) -> None:
    """A wrong order is refused with Binance's code, as a 400."""
    status, told, _ = plain.call("POST", "/api/v3/order", limit_order() | change)
    assert (status, told["code"]) == (400, code)
    assert text in told["msg"]


def test_keys_and_signatures(sandbox: SandboxProcess, plain: Plain) -> None:
    """No key, an unknown key, no signature and a false signature have codes of their own."""
    assert Plain(sandbox, key="").call("GET", "/api/v3/account")[:2] == (
        401,
        {"code": -2014, "msg": "API-key format invalid."},
    )
    assert Plain(sandbox, key="unknown").call("GET", "/api/v3/account")[1]["code"] == -2015
    assert Plain(sandbox, secret="false").call("GET", "/api/v3/account")[1]["code"] == -1022
    assert plain.send("GET", "/api/v3/account?timestamp=1")[1]["code"] == -1102
    assert {row["api_key"] for row in sandbox.admin.ledger()} == {"", "unknown:unkn…", "sandbox-key"}


def test_signature_over_query_and_body(plain: Plain) -> None:
    """Parameters may be split between query and body; the signature covers both, one after the other."""
    whole = signed(limit_order("split"))
    query, body = whole[:40].rsplit("&", 1)[0], whole[len(whole[:40].rsplit("&", 1)[0]) :]
    status, told, _ = plain.send("POST", f"/api/v3/order?{query}", body)
    assert (status, told.get("clientOrderId")) == (200, "split")


def test_unknown_orders(plain: Plain) -> None:
    """Asking for an unknown order and cancelling one have different codes; so has a cancelled one."""
    named = {"symbol": "BTCUSDT", "origClientOrderId": "nobody"}
    assert plain.call("GET", "/api/v3/order", named)[1] == {"code": -2013, "msg": "Order does not exist."}
    assert plain.call("DELETE", "/api/v3/order", named)[1] == {"code": -2011, "msg": "Unknown order sent."}
    assert plain.call("DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"})[1]["code"] == -2011


def test_an_orders_life(plain: Plain) -> None:
    """Placed, found by both names, listed, cancelled, and still in history."""
    placed = plain.place("life")
    by_id = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    by_name = {"symbol": "BTCUSDT", "origClientOrderId": "life"}
    assert plain.call("GET", "/api/v3/order", by_id)[1] == plain.call("GET", "/api/v3/order", by_name)[1]
    assert [o["clientOrderId"] for o in plain.call("GET", "/api/v3/openOrders")[1]] == ["life"]
    gone = plain.call("DELETE", "/api/v3/order", by_name)[1]
    assert (gone["origClientOrderId"], gone["status"]) == ("life", "CANCELED")
    assert plain.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"})[1] == []
    assert [o["status"] for o in plain.call("GET", "/api/v3/allOrders", {"symbol": "BTCUSDT"})[1]] == ["CANCELED"]


def test_a_market_order_fills(plain: Plain) -> None:
    """A market order is filled from the book; the fills are in its answer, in myTrades and in the balances."""
    told = plain.call(
        "POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.5"}
    )[1]
    assert (told["status"], told["executedQty"]) == ("FILLED", "0.50000000")
    trades = plain.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"})[1]
    assert [t["id"] for t in trades] == [fill["tradeId"] for fill in told["fills"]]
    balances = {b["asset"]: b["free"] for b in plain.call("GET", "/api/v3/account")[1]["balances"]}
    assert (balances["BTC"], balances["USDT"]) == ("10.49950000", f"{100_000 - float(told['cummulativeQuoteQty']):.8f}")


def test_cancel_replace(plain: Plain) -> None:
    """Replacing cancels and places; when the cancel fails, STOP_ON_FAILURE places nothing and says -2022."""
    old = plain.place("old")
    order = limit_order("new", price="41000") | {"cancelReplaceMode": "STOP_ON_FAILURE"}
    told = plain.call("POST", "/api/v3/order/cancelReplace", order | {"cancelOrderId": old["orderId"]})[1]
    assert (told["cancelResult"], told["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    status, told, _ = plain.call("POST", "/api/v3/order/cancelReplace", order | {"cancelOrderId": old["orderId"]})
    assert (status, told["code"], told["data"]["newOrderResult"]) == (400, -2022, "NOT_ATTEMPTED")
    order |= {"cancelReplaceMode": "ALLOW_FAILURE", "newClientOrderId": "newer"}
    status, told, _ = plain.call("POST", "/api/v3/order/cancelReplace", order | {"cancelOrderId": old["orderId"]})
    assert (status, told["code"], told["data"]["newOrderResult"]) == (409, -2021, "SUCCESS")


def test_test_orders_leave_nothing(plain: Plain) -> None:
    """A test order is checked like any other and not placed."""
    assert plain.call("POST", "/api/v3/order/test", limit_order())[:2] == (200, {})
    assert plain.call("POST", "/api/v3/order/test", limit_order(price="1.001"))[1]["code"] == -1013
    assert plain.call("GET", "/api/v3/openOrders")[1] == []


def test_unserved_paths(plain: Plain) -> None:
    """A path nobody serves is a 404, a wrong method a 405."""
    assert plain.send("GET", "/api/v3/nothing")[0] == 404
    assert plain.send("PUT", "/api/v3/time")[0] == 405


def test_limits_are_enforced() -> None:
    """Weights and order counts are in the headers; over a limit comes 429, with Retry-After or with -1015."""
    with SandboxProcess(quiet=True, weights=True) as sandbox:
        plain = Plain(sandbox)
        orders = [plain.call("POST", "/api/v3/order", limit_order()) for _ in range(202)]
        assert {told["code"] for status, told, _ in orders if status == 429} == {-1015}
        assert max(int(headers["X-MBX-ORDER-COUNT-10S"]) for _, _, headers in orders) > 100
        answers = (plain.send("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000") for _ in range(60))
        status, told, headers = next(answer for answer in answers if answer[0] != 200)
        assert (status, told["code"]) == (429, -1003)
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 6000


def test_weight_windows_and_bans() -> None:
    """A window's weight is forgotten at its end; who goes on after a 429 is banned, and longer the next time."""
    limits = Limits(enforced=True, weight_max=100)
    assert limits.spend(0, 100) is None
    verdict = limits.spend(1_000, 1)
    assert verdict is not None
    assert (verdict.status, verdict.retry_after_s) == (429, 59)
    assert limits.spend(60_000, 100) is None
    bans = [
        verdict for now in range(61_000, 72_000, 1000) if (verdict := limits.spend(now, 1)) and verdict.status == 418
    ]
    assert [ban.retry_after_s for ban in bans] == [120]
    assert limits.spend(100_000, 1).status == 418  # type: ignore[union-attr]
    assert limits.spend(bans[0].banned_until, 1) is None
    limits.spend(bans[0].banned_until, 100)
    again = [limits.spend(bans[0].banned_until + 1, 1) for _ in range(11)]
    assert max(verdict.retry_after_s for verdict in again if verdict) == 240
