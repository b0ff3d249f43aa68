"""Unmodified ccxt.kraken, synchronous, asynchronous and pro, trades against the Kraken face and sees its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import KEY, SECRET
from redirect import redirect_async, redirect_sync

# its own pacing would make each of these calls wait a second
KEYS = {"apiKey": KEY, "secret": SECRET, "enableRateLimit": False}
PREFIX = "/0/"
#: What ccxt asks the exchange for these; each test sees that it did, and that the face understood.
CALLS: dict[str, set[str]] = {
    "test_trading": {
        "POST private/AddOrder",
        "POST private/AmendOrder",
        "POST private/CancelAll",
        "POST private/CancelOrder",
        "POST private/ClosedOrders",
        "POST private/OpenOrders",
        "POST private/QueryOrders",
    },
    "test_trades_and_balance": {
        "POST private/AddOrder",
        "POST private/BalanceEx",
        "POST private/QueryOrders",
        "POST private/QueryTrades",
        "POST private/TradeVolume",
        "POST private/TradesHistory",
    },
    "test_market_data": {
        "GET public/Depth",
        "GET public/OHLC",
        "GET public/SystemStatus",
        "GET public/Ticker",
        "GET public/Time",
        "GET public/Trades",
        "POST private/AddOrder",
    },
    "test_batches_and_the_switch": {
        "POST private/AddOrderBatch",
        "POST private/CancelAllOrdersAfter",
        "POST private/CancelOrderBatch",
    },
}


def made(sandbox: SandboxProcess) -> set[str]:
    """The requests that ccxt made of the venue, all of which it understood."""
    rows = [row for row in sandbox.admin.ledger() if row["method"] not in ("WS", "FAULT")]
    assert {row["status"] for row in rows} <= {200}
    return {f"{row['method']} {row['path'].removeprefix(PREFIX)}" for row in rows}


@pytest.fixture(scope="module")
def exchange(process: SandboxProcess) -> Any:
    return redirect_sync(ccxt.kraken(KEYS), process.url)


def test_trading(sandbox: SandboxProcess, exchange: Any) -> None:
    """Each unified call a bot makes is understood, both ways."""
    placed = exchange.create_order("BTC/USD", "limit", "buy", 0.01, 40000, {"clientOrderId": "bot-1"})
    assert (placed["amount"], placed["price"], placed["side"]) == (0.01, 40000.0, "buy")
    found = exchange.fetch_order(placed["id"])
    assert (found["status"], found["clientOrderId"], found["symbol"]) == ("open", "bot-1", "BTC/USD")
    assert [order["id"] for order in exchange.fetch_open_orders("BTC/USD")] == [placed["id"]]
    exchange.edit_order(placed["id"], "BTC/USD", "limit", "buy", 0.02, 41000)
    changed = exchange.fetch_order(placed["id"])
    assert (changed["amount"], changed["price"]) == (0.02, 41000.0)
    assert exchange.cancel_order(placed["id"])["info"]["result"] == {"count": 1}
    assert exchange.fetch_order(placed["id"])["status"] == "canceled"
    exchange.create_order("ETH/USD", "limit", "buy", 0.01, 2000)
    exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 40000, {"clientOrderId": "bot-2"})
    assert exchange.cancel_order("", None, {"clientOrderId": "bot-2"})["info"]["result"] == {"count": 1}
    assert exchange.cancel_all_orders()[0]["info"]["result"] == {"count": 1}
    assert exchange.fetch_open_orders() == []
    assert [order["status"] for order in exchange.fetch_closed_orders()] == ["canceled"] * 3
    assert made(sandbox) >= CALLS["test_trading"]


def test_trades_and_balance(sandbox: SandboxProcess, exchange: Any) -> None:
    """A market order is filled, found among the trades with its fee, and the balance agrees."""
    bought = exchange.create_order("BTC/USD", "market", "buy", 0.1)
    order = exchange.fetch_order(bought["id"])
    (trade,) = exchange.fetch_my_trades("BTC/USD")
    assert (order["status"], order["filled"], trade["order"]) == ("closed", 0.1, bought["id"])
    assert (trade["takerOrMaker"], trade["fee"]["currency"]) == ("taker", "USD")
    assert exchange.fetch_order_trades(bought["id"], "BTC/USD", None, None, {"trades": [trade["id"]]})
    exchange.create_order("BTC/USD", "limit", "buy", 0.01, 40000)
    balance = exchange.fetch_balance()
    assert balance["BTC"]["total"] == pytest.approx(10.1)
    assert balance["USD"]["total"] == pytest.approx(100_000 - order["cost"] - trade["fee"]["cost"], abs=0.01)
    assert balance["USD"]["used"] == pytest.approx(401.04)
    assert exchange.fetch_trading_fee("BTC/USD")["taker"] == pytest.approx(0.0026)
    assert made(sandbox) >= CALLS["test_trades_and_balance"]


def test_market_data(sandbox: SandboxProcess, exchange: Any) -> None:
    """Markets, time, status, book, tickers, trades and candles parse."""
    market = exchange.load_markets()["BTC/USD"]
    assert (market["id"], market["precision"]["price"], market["limits"]["cost"]["min"]) == ("XXBTZUSD", 0.1, 0.5)
    exchange.create_order("BTC/USD", "market", "buy", 0.1)
    book = exchange.fetch_order_book("BTC/USD", 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert exchange.fetch_time() > 1_600_000_000_000
    assert exchange.fetch_status()["status"] == "ok"
    assert exchange.fetch_ticker("BTC/USD")["last"] == exchange.fetch_trades("BTC/USD")[-1]["price"]
    assert set(exchange.fetch_tickers(["BTC/USD", "ETH/USDT"])) == {"BTC/USD", "ETH/USDT"}
    assert exchange.fetch_ohlcv("BTC/USD", "1m")[-1][5] == pytest.approx(0.1)
    assert made(sandbox) >= CALLS["test_market_data"]


def test_batches_and_the_switch(sandbox: SandboxProcess, exchange: Any) -> None:
    """Several orders at once, several cancels at once, and the dead-man switch."""
    orders = [
        {"symbol": "BTC/USD", "type": "limit", "side": "buy", "amount": 0.01, "price": price}
        for price in (40000, 39000)
    ]
    placed = exchange.create_orders(orders)
    assert len({order["id"] for order in placed}) == 2
    assert exchange.cancel_orders([order["id"] for order in placed])[0]["info"]["result"] == {"count": 2}
    assert exchange.cancel_all_orders_after(60_000)["result"]["triggerTime"]
    assert exchange.cancel_all_orders_after(0)["result"]["triggerTime"] == "0"
    assert made(sandbox) >= CALLS["test_batches_and_the_switch"]


WRONG: list[tuple[str, Callable[[Any], Any]]] = [
    ("InsufficientFunds", lambda k: k.create_order("BTC/USD", "limit", "buy", 9, 40000)),
    ("InvalidOrder", lambda k: k.create_order("BTC/USD", "limit", "buy", 0.00001, 40000)),
    ("OrderNotFound", lambda k: k.cancel_order("OAAAAA-AAAAA-AAAAAA")),
    ("OrderNotFound", lambda k: k.fetch_order("OAAAAA-AAAAA-AAAAAA")),
]


@pytest.mark.parametrize(("expected", "ask"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_errors(sandbox: SandboxProcess, exchange: Any, expected: str, ask: Callable[[Any], Any]) -> None:
    """A refusal raises the exception a bot expects."""
    exchange.load_markets()
    with pytest.raises(ccxt.BaseError) as caught:
        ask(exchange)
    assert type(caught.value).__name__ == expected


TROUBLES = [
    ("EService:Unavailable", "ExchangeNotAvailable"),
    ("EService:Busy", "ExchangeNotAvailable"),
    ("EService:Timeout", "ExchangeError"),
    ("EService:Deadline elapsed", "ExchangeError"),
    ("EService:Market in cancel_only mode", "OnMaintenance"),
    ("EService:Market in post_only mode", "OnMaintenance"),
    ("EGeneral:Internal error", "ExchangeNotAvailable"),
    ("EGeneral:Temporary lockout", "DDoSProtection"),
    ("EAPI:Rate limit exceeded", "DDoSProtection"),
    ("EAPI:Invalid nonce", "InvalidNonce"),
    ("EOrder:Rate limit exceeded", "DDoSProtection"),
    ("EOrder:Insufficient funds", "InsufficientFunds"),
    ("520", "ExchangeNotAvailable"),
]


@pytest.mark.parametrize(("name", "expected"), TROUBLES, ids=[name for name, _ in TROUBLES])
def test_troubled_answers(sandbox: SandboxProcess, exchange: Any, name: str, expected: str) -> None:
    """Each troubled answer raises what ccxt makes of it."""
    exchange.load_markets()
    sandbox.admin.fault("venue_error", route="POST /0/private/AddOrder", name=name, count=1)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order("BTC/USD", "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 200, "body": '{"error":["EGeneral:Too many requests"]}'}, "DDoSProtection"),
        ({"status": 429, "body": "Too Many Requests"}, "RateLimitExceeded"),
        ({"status": 429, "body": '{"error":["EGeneral:Too many requests"]}'}, "DDoSProtection"),
    ],
)
def test_each_further_answer_is_raised(
    sandbox: SandboxProcess, exchange: Any, answer: dict[str, Any], expected: str
) -> None:
    """Answers of the venue's front, too, raise the ccxt exception they should."""
    exchange.load_markets()
    sandbox.admin.fault("answer", route="POST /0/private/AddOrder", count=1, **answer)
    with pytest.raises(ccxt.BaseError) as caught:
        exchange.create_order("BTC/USD", "limit", "buy", 0.01, 40000)
    assert type(caught.value).__name__ == expected


def run(
    url: str, kind: Callable[[dict[str, Any]], Any], scene: Callable[[Any], Awaitable[None]], within_s: float = 30
) -> None:
    async def played() -> None:
        exchange = redirect_async(kind(KEYS), url)
        try:
            await asyncio.wait_for(scene(exchange), within_s)
        finally:
            await exchange.close()

    asyncio.run(played())


def test_async(sandbox: SandboxProcess) -> None:
    """The asynchronous exchange trades the same way and raises the same errors."""

    async def scene(exchange: Any) -> None:
        order = await exchange.create_order("BTC/USD", "limit", "buy", 0.01, 40000)
        assert [each["id"] for each in await exchange.fetch_open_orders()] == [order["id"]]
        await exchange.cancel_order(order["id"])
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(order["id"])
        with pytest.raises(ccxt.InsufficientFunds):
            await exchange.create_order("BTC/USD", "limit", "buy", 9, 40000)
        assert (await exchange.fetch_balance())["USD"]["total"] == 100_000

    run(sandbox.url, ccxt.async_support.kraken, scene)


def test_pro_market_data() -> None:
    """ccxt.pro keeps an order book, follows trades, tickers and candles."""

    async def scene(exchange: Any) -> None:
        for _ in range(5):
            book = await exchange.watch_order_book("BTC/USD")
        assert book["bids"][0][0] < book["asks"][0][0]
        assert len(book["bids"]) == len(book["asks"]) == 10
        assert (await exchange.watch_trades("BTC/USD"))[0]["price"] > 0
        assert (await exchange.watch_ticker("BTC/USD"))["last"] > 0
        assert (await exchange.watch_ohlcv("BTC/USD"))[-1][4] > 0

    with SandboxProcess(extra_args=("--tick-ms", "10")) as moving:
        run(moving.url, ccxt.pro.kraken, scene)


def test_pro_orders(sandbox: SandboxProcess) -> None:
    """ccxt.pro places, changes and cancels over the socket, and hears what becomes of its orders and its money."""

    async def scene(exchange: Any) -> None:
        watching = asyncio.create_task(exchange.watch_orders())
        placed = await exchange.create_order_ws("BTC/USD", "limit", "buy", 0.01, 40000, {"clientOrderId": "bot-1"})
        assert (await watching)[-1]["id"] == placed["id"]
        edited = await exchange.edit_order_ws(placed["id"], "BTC/USD", "limit", "buy", 0.02, 41000)
        assert edited["id"] == placed["id"]
        await exchange.cancel_order_ws(placed["id"])
        while exchange.orders[-1]["status"] != "canceled":
            await exchange.watch_orders()
        with pytest.raises(ccxt.BaseError, match="EOrder:Unknown order"):
            await exchange.cancel_order_ws(placed["id"])
        trading = asyncio.create_task(exchange.watch_my_trades())
        await exchange.create_order("BTC/USD", "market", "buy", 0.01)
        assert (await trading)[-1]["amount"] == 0.01
        assert (await exchange.watch_balance())["BTC"]["total"] == pytest.approx(10.01)
        assert (await exchange.cancel_all_orders_ws())["result"] == {"count": 0}

    run(sandbox.url, ccxt.pro.kraken, scene)
    assert sandbox.admin.ledger(client_order_id="bot-1")[0]["executed"]
