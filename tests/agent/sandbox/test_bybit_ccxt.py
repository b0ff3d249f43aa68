"""Unmodified ccxt.bybit, synchronous, asynchronous and pro, trades against the Bybit face."""

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

KEYS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "options": {"fetchOrder": {"acknowledged": True}}}
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
PREFIX = "/v5/"
#: What ccxt asks the exchange for these; each test sees that it did, and that the face understood.
CALLS: dict[str, set[str]] = {
    "test_trading": {
        "GET account/info",
        "GET account/wallet-balance",
        "GET execution/list",
        "GET order/history",
        "GET order/realtime",
        "POST order/amend",
        "POST order/cancel",
        "POST order/cancel-all",
        "POST order/create",
        "POST order/create-batch",
    },
    "test_swaps_and_stops": {
        "GET order/realtime",
        "GET position/list",
        "POST order/cancel",
        "POST order/create",
        "POST position/set-leverage",
    },
    "test_market_data": {
        "GET market/kline",
        "GET market/orderbook",
        "GET market/recent-trade",
        "GET market/tickers",
        "GET market/time",
        "POST order/create",
    },
}


def made(sandbox: SandboxProcess) -> set[str]:
    """The requests that ccxt made of the venue, all of which it understood."""
    rows = [row for row in sandbox.admin.ledger() if row["method"] not in ("WS", "FAULT")]
    assert {row["status"] for row in rows} <= {200}
    return {f"{row['method']} {row['path'].removeprefix(PREFIX)}" for row in rows}


@pytest.fixture(scope="module")
def exchange(process: SandboxProcess) -> Any:
    return redirect_sync(ccxt.bybit(KEYS), process.url)


def test_markets_keyed_and_not(sandbox: SandboxProcess) -> None:
    """load_markets works with and without a key and finds spot and linear markets."""
    for keys in ({}, KEYS):
        markets = redirect_sync(ccxt.bybit(keys), sandbox.url).load_markets()
        assert sorted(markets) == [SPOT, SWAP, "ETH/USDT", "ETH/USDT:USDT"]
        assert (markets[SPOT]["precision"]["price"], markets[SWAP]["precision"]["amount"]) == (0.01, 0.001)
    assert {row["status"] for row in sandbox.admin.ledger()} == {200}


def test_trading(sandbox: SandboxProcess, exchange: Any) -> None:
    """Each unified call a bot makes is understood, both ways."""
    placed = exchange.create_order(SPOT, "limit", "buy", 0.01, 40000, {"clientOrderId": "c1"})
    found = exchange.fetch_order(placed["id"], SPOT)
    assert (found["clientOrderId"], found["status"], found["price"]) == ("c1", "open", 40000.0)
    assert [order["id"] for order in exchange.fetch_open_orders(SPOT)] == [placed["id"]]
    assert exchange.edit_order(placed["id"], SPOT, "limit", "buy", 0.02, 41000)["id"] == placed["id"]
    assert exchange.fetch_order(placed["id"], SPOT)["amount"] == 0.02
    exchange.cancel_order(placed["id"], SPOT)
    assert exchange.fetch_order(placed["id"], SPOT)["status"] == "canceled"
    two = [{"symbol": SPOT, "type": "limit", "side": "buy", "amount": amount, "price": 40000} for amount in (0.01, 9)]
    assert [order["status"] for order in exchange.create_orders(two)] == [None, "rejected"]
    assert len(exchange.cancel_all_orders(SPOT)) == 1
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
    """A position is opened, seen, protected by a conditional order, and closed."""
    exchange.set_leverage(10, SWAP)
    exchange.create_order(SWAP, "market", "sell", 0.2)
    position = exchange.fetch_positions([SWAP])[0]
    assert (position["side"], position["contracts"], position["leverage"]) == ("short", 0.2, 10.0)
    stop = exchange.create_order(SWAP, "market", "buy", 0.2, None, {"stopLossPrice": 60000})
    listed = exchange.fetch_open_orders(SWAP, params={"trigger": True})
    assert [(order["id"], order["stopLossPrice"]) for order in listed] == [(stop["id"], 60000.0)]
    exchange.cancel_order(stop["id"], SWAP)
    exchange.create_order(SWAP, "market", "buy", 0.2, None, {"reduceOnly": True})
    assert [each["contracts"] for each in exchange.fetch_positions([SWAP]) if each["contracts"]] == []
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
        ("bybit-10000", "ExchangeError"),  # this and 10016 look final to ccxt although they are not
        ("bybit-10006", "RateLimitExceeded"),
        ("bybit-10016", "ExchangeError"),
        ("bybit-170007", "RequestTimeout"),
        ("bybit-403", "RateLimitExceeded"),
        ("502", "ExchangeNotAvailable"),
    ],
)
def test_each_trouble_is_raised(sandbox: SandboxProcess, exchange: Any, name: str, expected: str) -> None:
    """The venue's troubled answers raise the ccxt exception they should."""
    exchange.load_markets()
    sandbox.admin.fault("venue_error", name=name, route="POST /v5/order/create", count=1)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 200, "body": '{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit."}'}, "RateLimitExceeded"),
        (
            {"status": 200, "body": '{"retCode":10002,"retMsg":"invalid request, please check your timestamp"}'},
            "InvalidNonce",
        ),
        ({"status": 429, "body": "Too Many Requests"}, "RateLimitExceeded"),
    ],
)
def test_each_further_answer_is_raised(
    sandbox: SandboxProcess, exchange: Any, answer: dict[str, Any], expected: str
) -> None:
    """Answers of the venue's front, too, raise the ccxt exception they should."""
    exchange.load_markets()
    sandbox.admin.fault("answer", route="POST /v5/order/create", count=1, **answer)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order(SPOT, "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


def test_async(sandbox: SandboxProcess) -> None:
    """The asynchronous exchange trades the same way and raises the same errors."""

    async def scene() -> None:
        exchange = redirect_async(ccxt.async_support.bybit(KEYS), sandbox.url)
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
    """ccxt.pro keeps books and trades, hears of its orders, fills and money, and trades over the socket."""

    async def scene(sandbox: SandboxProcess) -> None:
        exchange = redirect_async(ccxt.pro.bybit(KEYS), sandbox.url)
        try:
            for symbol in (SPOT, SWAP):
                for _ in range(3):
                    book = await exchange.watch_order_book(symbol)
                assert book["bids"][0][0] < book["asks"][0][0]
                assert (await exchange.watch_ticker(symbol))["last"] > 0
            assert (await exchange.watch_trades(SPOT))[0]["price"] > 0
            assert (await exchange.watch_ohlcv(SPOT, "1m"))[-1][4] > 0
            seen: list[tuple[str, str]] = []
            follower = asyncio.create_task(_follow(exchange, seen))
            await _listening(sandbox, "bybit/order/")
            order = await exchange.create_order_ws(SPOT, "limit", "buy", 0.01, 40000)
            await _until(lambda: (order["id"], "open") in seen)
            await exchange.cancel_order_ws(order["id"], SPOT)
            await _until(lambda: (order["id"], "canceled") in seen)
            follower.cancel()
            money, fills = (
                asyncio.create_task(exchange.watch_balance()),
                asyncio.create_task(exchange.watch_my_trades()),
            )
            await _listening(sandbox, "bybit/wallet/")
            await _listening(sandbox, "bybit/execution")
            await exchange.create_order(SPOT, "market", "buy", 0.01)
            assert (await fills)[0]["amount"] == 0.01
            assert (await money)["BTC"]["total"] == pytest.approx(10.00999)
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


async def _listening(sandbox: SandboxProcess, stream: str) -> None:
    """Wait until somebody listens to a stream that begins so."""

    def listens() -> bool:
        return any(name.startswith(stream) for each in sandbox.admin.status()["streams"] for name in each["streams"])

    while not await asyncio.to_thread(listens):
        await asyncio.sleep(0.01)
