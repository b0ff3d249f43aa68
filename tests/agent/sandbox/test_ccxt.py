"""Unmodified ccxt, synchronous and asynchronous, trades against the sandbox directly and sees its errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_async, redirect_sync

KEYS = {"apiKey": "sandbox-key", "secret": "sandbox-secret"}


@pytest.fixture(scope="module")
def exchange(process: SandboxProcess) -> Any:
    return redirect_sync(ccxt.binance(KEYS), process.url)


def test_markets_keyed_and_not(sandbox: SandboxProcess) -> None:
    """load_markets works with and without a key and finds the filters."""
    for keys in ({}, KEYS):
        exchange = redirect_sync(ccxt.binance(keys), sandbox.url)
        market = exchange.load_markets()["BTC/USDT"]
        assert (market["precision"]["price"], market["limits"]["cost"]["min"]) == (0.01, 5.0)
    assert {row["status"] for row in sandbox.admin.ledger()} == {200}


def test_trading(sandbox: SandboxProcess, exchange: Any) -> None:
    """Each unified call a bot makes is understood, both ways."""
    placed = exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
    assert (placed["status"], placed["filled"], placed["price"]) == ("open", 0.0, 40000.0)
    assert exchange.fetch_order(placed["id"], "BTC/USDT")["clientOrderId"] == placed["clientOrderId"]
    assert [order["id"] for order in exchange.fetch_open_orders("BTC/USDT")] == [placed["id"]]
    edited = exchange.edit_order(placed["id"], "BTC/USDT", "limit", "buy", 0.01, 41000)
    assert exchange.cancel_order(edited["id"], "BTC/USDT")["status"] == "canceled"
    exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
    assert len(exchange.cancel_all_orders("BTC/USDT")) == 1
    filled = exchange.create_order("BTC/USDT", "market", "buy", 0.1)
    assert (filled["status"], filled["filled"]) == ("closed", 0.1)
    assert exchange.fetch_my_trades("BTC/USDT")[0]["order"] == filled["id"]
    assert [order["status"] for order in exchange.fetch_orders("BTC/USDT")] == ["canceled"] * 3 + ["closed"]
    balance = exchange.fetch_balance()
    assert balance["BTC"]["total"] == pytest.approx(10.0999)
    assert balance["USDT"]["total"] == pytest.approx(100_000 - filled["cost"])


def test_market_data(sandbox: SandboxProcess, exchange: Any) -> None:
    """Time, book, tickers, trades and candles parse."""
    exchange.create_order("BTC/USDT", "market", "buy", 0.1)
    book = exchange.fetch_order_book("BTC/USDT")
    assert book["bids"][0][0] < book["asks"][0][0]
    assert exchange.fetch_time() > 1_600_000_000_000
    assert exchange.fetch_ticker("BTC/USDT")["last"] == exchange.fetch_trades("BTC/USDT")[-1]["price"]
    assert exchange.fetch_ohlcv("BTC/USDT", "1m")[-1][5] == pytest.approx(0.1)
    assert exchange.fetch_bids_asks(["BTC/USDT"])["BTC/USDT"]["bid"] == book["bids"][0][0]


def json_error(status: int, code: int, text: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"code": code, "msg": text})}


def html(status: int) -> dict[str, Any]:
    return {"status": status, "body": "<html>sorry</html>", "headers": [["Content-Type", "text/html"]]}


ANSWERS: list[tuple[dict[str, Any], str]] = [
    (json_error(429, -1003, "Too much request weight used"), "DDoSProtection"),
    (json_error(418, -1003, "IP banned until 1"), "DDoSProtection"),
    (json_error(400, -1003, "Too much request weight used"), "RateLimitExceeded"),
    (html(429), "DDoSProtection"),
    (json_error(400, -1015, "Too many new orders."), "RateLimitExceeded"),
    (json_error(429, -1015, "Too many new orders."), "DDoSProtection"),
    (json_error(400, -1013, "Filter failure: LOT_SIZE"), "InvalidOrder"),
    (json_error(400, -1013, "Filter failure: PRICE_FILTER"), "InvalidOrder"),
    (json_error(400, -1013, "Filter failure: NOTIONAL"), "BadRequest"),
    (json_error(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"), "InvalidOrder"),
    (json_error(400, -1021, "Timestamp for this request is outside of the recvWindow."), "InvalidNonce"),
    (json_error(400, -1022, "Signature for this request is not valid."), "AuthenticationError"),
    (json_error(400, -2010, "Account has insufficient balance for requested action."), "InsufficientFunds"),
    (json_error(400, -2010, "Order would immediately match and take."), "OrderImmediatelyFillable"),
    (json_error(400, -2010, "Duplicate order sent."), "InvalidOrder"),
    (json_error(400, -2010, "Market is closed."), "MarketClosed"),
    (json_error(400, -2011, "Unknown order sent."), "OrderNotFound"),
    (json_error(400, -2013, "Order does not exist."), "OrderNotFound"),
    (json_error(400, -2014, "API-key format invalid."), "AuthenticationError"),
    (json_error(400, -1100, "Illegal characters found in parameter 'price'."), "BadRequest"),
    (json_error(400, -1121, "Invalid symbol."), "BadSymbol"),
    (json_error(500, -1001, "Internal error."), "OperationFailed"),
    (json_error(500, -1006, "An unexpected response was received from the message bus."), "OperationFailed"),
    (json_error(408, -1007, "Timeout waiting for response from backend server."), "RequestTimeout"),
    (json_error(504, -1007, "Timeout waiting for response from backend server."), "RequestTimeout"),
    (json_error(503, -1008, "Server is currently overloaded with other requests."), "OperationFailed"),
    (json_error(400, -9999, "nobody knows"), "ExchangeError"),
    (json_error(200, -2010, "Account has insufficient balance for requested action."), "InsufficientFunds"),
    (html(503), "ExchangeNotAvailable"),
    (html(502), "ExchangeNotAvailable"),
    (html(504), "RequestTimeout"),
    (html(403), "ExchangeNotAvailable"),
    (html(451), "ExchangeNotAvailable"),
    ({"status": 500, "body": ""}, "ExchangeNotAvailable"),
]


@pytest.mark.parametrize(
    ("answer", "expected"), ANSWERS, ids=[f"{a['status']}-{e}-{n}" for n, (a, e) in enumerate(ANSWERS)]
)
def test_each_error_is_raised(sandbox: SandboxProcess, exchange: Any, answer: dict[str, Any], expected: str) -> None:
    """An answer a venue may give to an order raises the ccxt exception it should."""
    exchange.load_markets()
    sandbox.admin.fault("answer", route="POST /api/v3/order", count=1, **answer)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


@pytest.mark.parametrize(("trouble", "expected"), [("reset_after", "NetworkError"), ("stall", "RequestTimeout")])
def test_transport_troubles(sandbox: SandboxProcess, trouble: str, expected: str) -> None:
    """A reset is a NetworkError and silence a RequestTimeout."""
    exchange = redirect_sync(ccxt.binance(KEYS | {"timeout": 300}), sandbox.url)
    exchange.load_markets()
    sandbox.admin.fault(trouble, route="POST /api/v3/order", count=1)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected
    assert len(sandbox.admin.orders()) == (trouble == "reset_after")


def test_async(sandbox: SandboxProcess) -> None:
    """The asynchronous exchange trades the same way and raises the same errors."""

    async def scene() -> None:
        exchange = redirect_async(ccxt.async_support.binance(KEYS), sandbox.url)
        try:
            await exchange.load_markets()
            order = await exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000)
            assert (await exchange.cancel_order(order["id"], "BTC/USDT"))["status"] == "canceled"
            with pytest.raises(ccxt.OrderNotFound):
                await exchange.cancel_order(order["id"], "BTC/USDT")
            with pytest.raises(ccxt.InsufficientFunds):
                await exchange.create_order("BTC/USDT", "limit", "buy", 9, 40000)
            assert (await exchange.fetch_balance())["USDT"]["total"] == 100_000
        finally:
            await exchange.close()

    asyncio.run(scene())


def test_pro() -> None:
    """ccxt.pro follows trades and keeps an order book from the streams."""

    async def scene(url: str) -> None:
        exchange = redirect_async(ccxt.pro.binance(KEYS), url)
        try:
            assert (await exchange.watch_trades("BTC/USDT"))[0]["price"] > 0
            for _ in range(5):
                book = await exchange.watch_order_book("BTC/USDT", params={"watchOrderBookRate": 100})
            assert book["bids"][0][0] < book["asks"][0][0]
            assert (await exchange.watch_bids_asks(["BTC/USDT"]))["BTC/USDT"]["bid"] > 0
        finally:
            await exchange.close()

    with SandboxProcess() as moving:
        asyncio.run(asyncio.wait_for(scene(moving.url), 30))
