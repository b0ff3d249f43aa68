"""ccxt.pro, unmodified but for the one line: books, trades, orders and order placing through the agent, for each venue.

The sockets are killed under it, and it goes on as it would without an agent; what it places over a socket is in the
journal, and what the agent refuses there is said in the venue's own form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import ccxt.pro
import pytest

import jackstay
from e2e.http_clients import routed_all
from e2e_bot import KEY, SECRET, release
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from kraken_client import SECRET as KRAKEN_SECRET

SPOT_ONLY = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
KEYS = {"apiKey": KEY, "secret": SECRET}
VENUES: dict[str, tuple[str, dict[str, Any]]] = {
    "binance": ("BTC/USDT", KEYS | {"options": SPOT_ONLY}),
    "binanceusdm": ("BTC/USDT:USDT", KEYS | {"options": {"fetchCurrencies": False, "fetchMargins": False}}),
    "bybit": ("BTC/USDT", KEYS),
    "okx": ("BTC/USDT", KEYS | {"password": "sandbox-passphrase"}),
    "kraken": ("BTC/USD", {"apiKey": KEY, "secret": KRAKEN_SECRET, "enableRateLimit": False}),
}
if ccxt.pro.__version__.startswith("4.4."):
    del VENUES["kraken"]  # its ccxt.pro of then speaks Kraken's WebSocket v1, which the sandbox does not
LIMIT_S = 15.0


@pytest.fixture(scope="module")
def moving() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=3) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def agent(moving: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed_all(moving.url)) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(moving: SandboxProcess, agent: AgentProcess) -> None:
    moving.admin.reset()
    release(agent)


def trade(agent: AgentProcess, venue: str, scene: Callable[[Any, str], Awaitable[Any]]) -> Any:
    """An attached ccxt.pro exchange object through a scene."""
    symbol, settings = VENUES[venue]

    async def run() -> Any:
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id=f"pro-{venue}") as client:
            exchange = jackstay.attach(getattr(ccxt.pro, venue)(dict(settings)), client)
            try:
                await exchange.load_markets()
                return await asyncio.wait_for(scene(exchange, symbol), 60)
            finally:
                await exchange.close()

    return asyncio.run(run())


async def soon(waiting: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(waiting, LIMIT_S)


async def follow(exchange: Any, symbol: str, seen: dict[str, str]) -> None:
    """Own orders, for as long as the scene lasts; a bot asks again after a broken line."""
    while True:
        try:
            for each in await exchange.watch_orders(symbol):
                seen[each["id"]] = each["status"]
        except ccxt.NetworkError:
            await asyncio.sleep(0.05)


async def place_and_hear(exchange: Any, symbol: str, seen: dict[str, str], first: int) -> str:
    """An order over the socket, and the stream's word of it. A subscription takes its time: try a few."""
    for n in range(first, first + 8):
        price = float(exchange.price_to_precision(symbol, 48000 + n))
        order = await soon(exchange.create_order_ws(symbol, "limit", "buy", 0.01, price))
        for _ in range(100):
            if order["id"] in seen:
                return seen[order["id"]]
            await asyncio.sleep(0.02)
    raise AssertionError("the stream never told of an order")


async def until_it_breaks(watch: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await soon(watch())


@pytest.mark.parametrize("venue", list(VENUES))
def test_market_data_and_orders_over_sockets_that_die(moving: SandboxProcess, agent: AgentProcess, venue: str) -> None:
    """Book, trades, own orders and an order placed over the socket; the lines are cut, and all of it comes again."""

    async def scene(exchange: Any, symbol: str) -> list[Any]:
        told: list[Any] = []
        seen: dict[str, str] = {}
        follower = asyncio.create_task(follow(exchange, symbol, seen))
        for turn in range(2):
            book = await soon(exchange.watch_order_book(symbol))
            trades = await soon(exchange.watch_trades(symbol))
            status = await place_and_hear(exchange, symbol, seen, 100 * turn)
            told.append((bool(book["bids"]), bool(trades), status))
            if not turn:
                breaking = asyncio.create_task(until_it_breaks(lambda: exchange.watch_order_book(symbol)))
                while not breaking.done():  # a fault cuts one line, and ccxt may have several: until it was the book's
                    await asyncio.to_thread(moving.admin.fault, "stream_reset")
                    await asyncio.wait({breaking}, timeout=2.0)
                with pytest.raises(ccxt.NetworkError):
                    await breaking
        follower.cancel()
        return told

    assert trade(agent, venue, scene) == [(True, True, "open")] * 2
    status = agent.status()
    assert status["queue"]["open"] == {"in_flight": 0, "recorded": 0, "unknown": 0}
    assert status["queue"]["uncollected"].get(f"pro-{venue}", 0) == 0
    assert moving.admin.checks()["sent_twice"] == []


REFUSED = {
    # the venue's own words that lead ccxt there; Binance and Bybit have none for "not now" but "too many"
    "binance": (ccxt.InvalidOrder, ccxt.RateLimitExceeded),
    "binanceusdm": (ccxt.InvalidOrder, ccxt.RateLimitExceeded),
    "bybit": (ccxt.InvalidOrder, ccxt.RateLimitExceeded),
    "okx": (ccxt.InvalidOrder, ccxt.ExchangeNotAvailable),
    "kraken": (ccxt.InvalidOrder, ccxt.ExchangeNotAvailable),
}


@pytest.mark.parametrize("venue", list(VENUES))
def test_orders_on_a_socket_are_journaled_and_refused_like_any_other(
    moving: SandboxProcess, agent: AgentProcess, venue: str
) -> None:
    """An order whose answer dies with the socket is unknown; its equal is refused in the venue's words."""

    async def scene(exchange: Any, symbol: str) -> list[str]:
        price = float(exchange.price_to_precision(symbol, 47000))
        placed = await soon(exchange.create_order_ws(symbol, "limit", "buy", 0.01, price))
        assert placed["id"]
        told = []
        await asyncio.to_thread(moving.admin.fault, "stall", count=1, route="WS *")
        waiting = asyncio.create_task(exchange.create_order_ws(symbol, "limit", "buy", 0.02, price))
        while agent.status()["queue"]["open"]["in_flight"] == 0:  # it has left
            await asyncio.sleep(0)
        await asyncio.to_thread(moving.admin.fault, "stream_reset")
        with pytest.raises(ccxt.NetworkError):
            await soon(waiting)
        told.append("broken")
        try:
            await soon(exchange.create_order_ws(symbol, "limit", "buy", 0.02, price))
        except ccxt.BaseError as error:
            told.append(type(error).__name__)
        return told

    # "not now": no socket has a word for an unknown equal, and "nobody knows" would end Kraken's with its other orders
    assert trade(agent, venue, scene) == ["broken", REFUSED[venue][1].__name__]
    assert agent.status()["queue"]["open"]["unknown"] == 1
    assert len(release(agent)) == 1
