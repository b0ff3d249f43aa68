"""Unmodified ccxt without the agent: every call bots make, spot and USDⓈ-M, synchronous, asynchronous and pro; and
the requests it makes of them, which are those of the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_async, redirect_sync

KEYS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False}
SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT"}
SPOT_CALLS = {
    "GET /sapi/v1/capital/config/getall", "GET /sapi/v1/margin/allPairs", "GET /sapi/v1/margin/isolated/allPairs",
    "GET /api/v3/exchangeInfo", "GET /fapi/v1/exchangeInfo", "GET /dapi/v1/exchangeInfo", "GET /api/v3/time",
    "GET /api/v3/account", "POST /api/v3/order", "GET /api/v3/order", "DELETE /api/v3/order",
    "GET /api/v3/openOrders", "DELETE /api/v3/openOrders", "GET /api/v3/allOrders", "GET /api/v3/myTrades",
    "POST /api/v3/order/cancelReplace", "GET /api/v3/depth", "GET /api/v3/ticker/24hr", "GET /api/v3/aggTrades",
    "GET /api/v3/klines",
}  # fmt: skip
USDM_CALLS = {
    "GET /sapi/v1/capital/config/getall", "GET /sapi/v1/margin/allPairs", "GET /fapi/v1/exchangeInfo",
    "GET /fapi/v1/time", "POST /fapi/v1/order", "GET /fapi/v1/order", "PUT /fapi/v1/order", "DELETE /fapi/v1/order",
    "GET /fapi/v1/openOrders", "DELETE /fapi/v1/allOpenOrders", "GET /fapi/v1/allOrders", "GET /fapi/v1/userTrades",
    "GET /fapi/v1/depth", "GET /fapi/v1/ticker/24hr", "POST /fapi/v1/leverage", "GET /fapi/v1/leverageBracket",
    "GET /fapi/v3/account", "GET /fapi/v3/positionRisk", "GET /fapi/v1/aggTrades", "GET /fapi/v1/klines",
}  # fmt: skip
CALLS = {"binance": SPOT_CALLS, "binanceusdm": USDM_CALLS}

Call = Callable[..., Awaitable[Any]]


async def session(name: str, call: Call) -> None:
    """A bot's day; `call` makes one unified call, whichever flavour the exchange is of."""
    symbol = SYMBOLS[name]
    await call("load_markets")
    assert await call("fetch_time") > 1_600_000_000_000
    placed = await call("create_order", symbol, "limit", "buy", 0.01, 40000)
    assert (placed["status"], placed["price"], placed["amount"]) == ("open", 40000.0, 0.01)
    assert placed["clientOrderId"].startswith("x-")
    assert (await call("fetch_order", placed["id"], symbol))["id"] == placed["id"]
    assert [order["id"] for order in await call("fetch_open_orders", symbol)] == [placed["id"]]
    edited = await call("edit_order", placed["id"], symbol, "limit", "buy", 0.02, 41000)
    assert (await call("fetch_order", edited["id"], symbol))["amount"] == 0.02
    assert (await call("cancel_order", edited["id"], symbol))["status"] == "canceled"
    filled = await call("create_order", symbol, "market", "buy", 0.01)
    assert (filled["status"], filled["filled"]) == ("closed", 0.01)
    await call("create_order", symbol, "limit", "buy", 0.01, 40000)
    await call("cancel_all_orders", symbol)
    assert {order["status"] for order in await call("fetch_orders", symbol)} == {"canceled", "closed"}
    (trade,) = await call("fetch_my_trades", symbol)
    assert (trade["order"], trade["amount"], trade["takerOrMaker"]) == (filled["id"], 0.01, "taker")
    assert (await call("fetch_balance"))["USDT"]["total"] == pytest.approx(100_000, abs=600)
    book = await call("fetch_order_book", symbol)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await call("fetch_ticker", symbol))["last"] == (await call("fetch_trades", symbol))[-1]["price"]
    assert (await call("fetch_ohlcv", symbol, "1m"))[-1][5] == pytest.approx(0.01)
    if name == "binanceusdm":
        await call("set_leverage", 5, symbol)
        (position,) = await call("fetch_positions", [symbol])
        assert (position["side"], position["contracts"]) == ("long", 0.01)
        await call("create_order", symbol, "market", "sell", 0.01, None, {"reduceOnly": True})
        with pytest.raises(ccxt.InvalidOrder):
            await call("create_order", symbol, "market", "sell", 0.01, None, {"reduceOnly": True})
    with pytest.raises(ccxt.OrderNotFound):
        await call("cancel_order", edited["id"], symbol)
    with pytest.raises(ccxt.InsufficientFunds):
        await call("create_order", symbol, "limit", "buy", 100, 40000)
    with pytest.raises(ccxt.BadSymbol):
        await call("create_order", "NOPE/USDT", "limit", "buy", 1, 1)


def check_requests(sandbox: SandboxProcess, name: str) -> None:
    """Each request that is listed for the exchange was made and understood."""
    rows = [row for row in sandbox.admin.ledger() if row["method"] != "WS"]
    assert CALLS[name] - {f"{row['method']} {row['path']}" for row in rows} == set()
    assert {row["status"] for row in rows} == {200, 400}


@pytest.mark.parametrize("name", SYMBOLS)
def test_sync(sandbox: SandboxProcess, name: str) -> None:
    """The synchronous exchange makes every call, and the venue saw every request of the list."""
    exchange = redirect_sync(getattr(ccxt, name)(KEYS), sandbox.url)

    async def call(verb: str, *args: Any) -> Any:
        return getattr(exchange, verb)(*args)

    asyncio.run(session(name, call))
    check_requests(sandbox, name)


@pytest.mark.parametrize("flavour", ["async_support", "pro"])
@pytest.mark.parametrize("name", SYMBOLS)
def test_async_and_pro(sandbox: SandboxProcess, name: str, flavour: str) -> None:
    """So do the asynchronous one and ccxt.pro's."""

    async def scene() -> None:
        exchange = redirect_async(getattr(getattr(ccxt, flavour), name)(KEYS), sandbox.url)
        try:
            await session(name, lambda verb, *args: getattr(exchange, verb)(*args))
        finally:
            await exchange.close()

    asyncio.run(asyncio.wait_for(scene(), 60))
    check_requests(sandbox, name)


@pytest.mark.parametrize("name", SYMBOLS)
def test_pro_streams(name: str) -> None:
    """ccxt.pro follows market, orders, fills and money of both markets, and trades over the WebSocket API."""
    symbol = SYMBOLS[name]

    async def scene(url: str) -> None:
        exchange = redirect_async(getattr(ccxt.pro, name)(KEYS), url)
        try:
            assert (await exchange.watch_trades(symbol))[0]["price"] > 0
            for _ in range(3):
                book = await exchange.watch_order_book(symbol)
            assert book["bids"][0][0] < book["asks"][0][0]
            ticker, bars, best = await asyncio.gather(
                exchange.watch_ticker(symbol), exchange.watch_ohlcv(symbol, "1m"), exchange.watch_bids_asks([symbol])
            )
            assert min(ticker["last"], bars[-1][4], best[symbol]["bid"]) > 0
            if name == "binanceusdm":
                assert (await exchange.watch_mark_price(symbol))["markPrice"] > 0
            orders = asyncio.create_task(exchange.watch_orders(symbol))
            trades = asyncio.create_task(exchange.watch_my_trades(symbol))
            balance = asyncio.create_task(exchange.watch_balance())
            while not any("account:" in each or "@" not in each for each in await private_streams(exchange)):
                await asyncio.sleep(0.01)
            placed = await exchange.create_order_ws(symbol, "limit", "buy", 0.01, 40000)
            assert (await orders)[-1]["id"] == placed["id"]
            assert (await exchange.fetch_order_ws(placed["id"], symbol))["status"] == "open"
            assert (await exchange.cancel_order_ws(placed["id"], symbol))["id"] == placed["id"]
            filled = await exchange.create_order_ws(symbol, "market", "buy", 0.01)
            assert (await trades)[-1]["order"] == filled["id"]
            assert "USDT" in await balance
        finally:
            await exchange.close()

    with SandboxProcess() as moving:

        async def private_streams(exchange: Any) -> list[str]:
            status = await asyncio.to_thread(moving.admin.request, "GET", "/admin/status")
            return [stream for each in status["streams"] for stream in each["streams"]]

        asyncio.run(asyncio.wait_for(scene(moving.url), 60))
