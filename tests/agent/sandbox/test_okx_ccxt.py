"""Unmodified ccxt.okx, synchronous, asynchronous and pro, trades against the OKX face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_async, redirect_sync

KEYS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "password": "sandbox-passphrase"}
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
PREFIX = "/api/v5/"
#: What ccxt asks the exchange for these; each test sees that it did, and that the face understood.
CALLS: dict[str, set[str]] = {
    "test_trading": {
        "GET account/balance",
        "GET trade/fills-history",
        "GET trade/order",
        "GET trade/orders-history",
        "GET trade/orders-pending",
        "POST trade/amend-order",
        "POST trade/batch-orders",
        "POST trade/cancel-batch-orders",
        "POST trade/cancel-order",
    },
    "test_swaps_and_stops": {
        "GET account/positions",
        "GET trade/orders-algo-pending",
        "GET trade/orders-pending",
        "POST account/set-leverage",
        "POST trade/batch-orders",
        "POST trade/cancel-algos",
        "POST trade/close-position",
        "POST trade/order-algo",
    },
    "test_market_data": {
        "GET market/books",
        "GET market/candles",
        "GET market/ticker",
        "GET market/trades",
        "GET public/time",
        "POST trade/batch-orders",
    },
}


def made(sandbox: SandboxProcess) -> set[str]:
    """The requests that ccxt made of the venue, all of which it understood."""
    rows = [row for row in sandbox.admin.ledger() if row["method"] not in ("WS", "FAULT")]
    assert {row["status"] for row in rows} <= {200}
    return {f"{row['method']} {row['path'].removeprefix(PREFIX)}" for row in rows}


@pytest.fixture(scope="module")
def exchange(process: SandboxProcess) -> Any:
    return redirect_sync(ccxt.okx(KEYS), process.url)


def test_markets_keyed_and_not(sandbox: SandboxProcess) -> None:
    """load_markets works with and without a key and finds spot markets and swaps."""
    for keys in ({}, KEYS):
        markets = redirect_sync(ccxt.okx(keys), sandbox.url).load_markets()
        assert sorted(markets) == [SPOT, SWAP, "ETH/USDT", "ETH/USDT:USDT"]
        assert (markets[SPOT]["precision"]["price"], markets[SWAP]["contractSize"]) == (0.01, 0.01)
    assert {row["status"] for row in sandbox.admin.ledger()} == {200}


def test_trading(sandbox: SandboxProcess, exchange: Any) -> None:
    """Each unified call a bot makes is understood, both ways."""
    placed = exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
    found = exchange.fetch_order(placed["id"], SPOT)
    assert (found["clientOrderId"], found["status"], found["price"]) == (placed["clientOrderId"], "open", 40000.0)
    assert [order["id"] for order in exchange.fetch_open_orders(SPOT)] == [placed["id"]]
    assert exchange.edit_order(placed["id"], SPOT, "limit", "buy", 0.02, 41000)["id"] == placed["id"]
    assert exchange.fetch_order(placed["id"], SPOT)["amount"] == 0.02
    exchange.cancel_order(placed["id"], SPOT)
    assert exchange.fetch_order(placed["id"], SPOT)["status"] == "canceled"
    two = [{"symbol": SPOT, "type": "limit", "side": "buy", "amount": amount, "price": 40000} for amount in (0.01, 9)]
    assert [order["status"] for order in exchange.create_orders(two)] == [None, "rejected"]
    open_ids = [order["id"] for order in exchange.fetch_open_orders()]
    assert [order["id"] for order in exchange.cancel_orders(open_ids, SPOT)] == open_ids
    filled = exchange.create_order(SPOT, "market", "buy", 0.1)
    order = exchange.fetch_order(filled["id"], SPOT)
    assert (order["status"], order["filled"], order["fee"]["cost"]) == ("closed", 0.1, pytest.approx(0.0001))
    assert exchange.fetch_my_trades(SPOT)[0]["order"] == filled["id"]
    assert [each["id"] for each in exchange.fetch_closed_orders(SPOT)] == [filled["id"]]
    balance = exchange.fetch_balance()
    assert balance["BTC"]["total"] == pytest.approx(10.0999)
    assert balance["USDT"]["total"] == pytest.approx(100_000 - order["cost"])
    assert made(sandbox) >= CALLS["test_trading"]


def test_swaps_and_stops(sandbox: SandboxProcess, exchange: Any) -> None:
    """A position is opened, seen, protected by a stop of the algo family, and closed."""
    exchange.set_leverage(10, SWAP, {"mgnMode": "cross"})
    exchange.create_order(SWAP, "market", "sell", 2)
    position = exchange.fetch_positions([SWAP])[0]
    assert (position["side"], position["contracts"], position["leverage"]) == ("short", 2.0, 10.0)
    stop = exchange.create_order(SWAP, "market", "buy", 2, None, {"stopLossPrice": 60000, "reduceOnly": True})
    listed = exchange.fetch_open_orders(SWAP, params={"trigger": True, "ordType": "conditional"})
    assert [(order["id"], order["stopLossPrice"]) for order in listed] == [(stop["id"], 60000.0)]
    assert exchange.fetch_open_orders(SWAP) == []
    exchange.cancel_order(stop["id"], SWAP, {"trigger": True})
    exchange.close_position(SWAP)
    assert exchange.fetch_positions([SWAP]) == []
    assert made(sandbox) >= CALLS["test_swaps_and_stops"]


def test_market_data(sandbox: SandboxProcess, exchange: Any) -> None:
    """Time, book, ticker, trades and candles parse."""
    exchange.create_order(SPOT, "market", "buy", 0.1)
    book = exchange.fetch_order_book(SPOT)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert exchange.fetch_time() > 1_600_000_000_000
    assert exchange.fetch_ticker(SPOT)["last"] == exchange.fetch_trades(SPOT)[-1]["price"]
    assert exchange.fetch_ohlcv(SPOT, "1m")[-1][5] == pytest.approx(0.1)
    assert made(sandbox) >= CALLS["test_market_data"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("okx-50001", "OnMaintenance"),
        ("okx-50004", "RequestTimeout"),
        ("okx-50011", "RateLimitExceeded"),
        ("okx-50011-200", "RateLimitExceeded"),
        ("okx-50013", "ExchangeNotAvailable"),
        ("okx-50026", "ExchangeNotAvailable"),
        ("okx-50061", "ExchangeError"),
        ("okx-51149", "ExchangeError"),  # looks final to ccxt although it is not
        ("502", "ExchangeNotAvailable"),
    ],
)
def test_each_trouble_is_raised(sandbox: SandboxProcess, exchange: Any, name: str, expected: str) -> None:
    """The venue's troubled answers raise the ccxt exception they should."""
    exchange.load_markets()
    sandbox.admin.fault("venue_error", name=name, route="POST /api/v5/trade/batch-orders", count=1)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 401, "body": '{"code":"50102","msg":"Timestamp request expired","data":[]}'}, "InvalidNonce"),
        ({"status": 200, "body": '{"code":"50102","msg":"Timestamp request expired","data":[]}'}, "InvalidNonce"),
        ({"status": 429, "body": "Too Many Requests"}, "ExchangeNotAvailable"),
    ],
)
def test_each_further_answer_is_raised(
    sandbox: SandboxProcess, exchange: Any, answer: dict[str, Any], expected: str
) -> None:
    """Answers of the venue's front, too, raise the ccxt exception they should."""
    exchange.load_markets()
    sandbox.admin.fault("answer", route="POST /api/v5/trade/batch-orders", count=1, **answer)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


def test_async(sandbox: SandboxProcess) -> None:
    """The asynchronous exchange trades the same way and raises the same errors."""

    async def scene() -> None:
        exchange = redirect_async(ccxt.async_support.okx(KEYS), sandbox.url)
        try:
            await exchange.load_markets()
            order = await exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
            assert (await exchange.cancel_order(order["id"], SPOT))["id"] == order["id"]
            with pytest.raises(ccxt.OrderNotFound):
                await exchange.cancel_order(order["id"], SPOT)
            with pytest.raises(ccxt.OrderNotFound):
                await exchange.fetch_order("1", SPOT)
            with pytest.raises(ccxt.InsufficientFunds):
                await exchange.create_order(SPOT, "limit", "buy", 9, 40000)
            assert (await exchange.fetch_balance())["USDT"]["total"] == 100_000
        finally:
            await exchange.close()

    asyncio.run(scene())


def test_pro() -> None:
    """ccxt.pro keeps books and trades, hears of its orders and money, and trades over the socket."""

    async def scene(sandbox: SandboxProcess) -> None:
        exchange = redirect_async(ccxt.pro.okx(KEYS), sandbox.url)
        try:
            for _ in range(5):
                book = await exchange.watch_order_book(SPOT)
            assert book["bids"][0][0] < book["asks"][0][0]
            assert (await exchange.watch_trades(SPOT))[0]["price"] > 0
            assert (await exchange.watch_ticker(SPOT))["last"] > 0
            assert (await exchange.watch_ohlcv(SPOT, "1m"))[-1][4] > 0
            assert (await exchange.watch_balance())["USDT"]["total"] == 100_000
            seen: list[tuple[str, str]] = []
            follower = asyncio.create_task(_follow(exchange, seen))
            while not await asyncio.to_thread(_listens, sandbox, "okx/orders/"):
                await asyncio.sleep(0.01)
            order = await exchange.create_order_ws(SPOT, "limit", "buy", 0.01, 40000)
            await _until(lambda: (order["id"], "open") in seen)
            await exchange.cancel_order_ws(order["id"], SPOT)
            await _until(lambda: (order["id"], "canceled") in seen)
            follower.cancel()
        finally:
            await exchange.close()

    with SandboxProcess() as moving:
        asyncio.run(asyncio.wait_for(scene(moving), 30))


async def _follow(exchange: Any, seen: list[tuple[str, str]]) -> None:
    while True:
        seen += [(each["id"], each["status"]) for each in await exchange.watch_orders(SPOT)]


async def _until(there: Callable[[], bool]) -> None:
    while not there():
        await asyncio.sleep(0.01)


def _listens(sandbox: SandboxProcess, stream: str) -> bool:
    return any(name.startswith(stream) for each in sandbox.admin.status()["streams"] for name in each["streams"])
