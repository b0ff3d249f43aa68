"""An unmodified ccxt.binance trades on the sandbox, once directly and once through the agent: the same day, twice.

Both ways ccxt sees its own URLs; only the way below them is led to the sandbox. What differs by nature (ids the venue
counts up, clocks, ccxt's own random client ids) is left out of the comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt
import ccxt.async_support
import pytest
import requests
from requests.adapters import HTTPAdapter

import jackstay
from e2e_bot import KEY, SECRET, release, routed
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess

SYMBOL = "BTC/USDT"
BY_NATURE = {"timestamp", "datetime", "lastTradeTimestamp", "lastUpdateTimestamp", "id", "order", "clientOrderId"}
BY_NATURE |= {"info", "nonce", "trades", "fees"}


class Led(HTTPAdapter):
    """requests dials the sandbox; ccxt sees the exchange's URL."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        true_url = request.url or ""
        parts = urlsplit(true_url)
        request.url = self.base + parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            response = super().send(request, *args, **options)
        finally:
            request.url = true_url
        response.url = true_url
        return response


@pytest.fixture(scope="module")
def unix_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("u") / "s"


@pytest.fixture(scope="module")
def sandbox(unix_path: Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True, extra_args=("--unix", str(unix_path))) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    patient = "[errors.breakers.api_calls]\nfailure_threshold = 100000\n"
    hosts = "".join(f'"{host}" = "{sandbox.url}"\n' for host in ("fapi.binance.com", "dapi.binance.com"))
    with AgentProcess(routed(sandbox.url, hosts + patient)) as running:
        yield running


SETTINGS: dict[str, Any] = {"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "timeout": 5000}

# One day: (verb, arguments); "$n" stands for the id of the n-th order placed.
DAY: list[tuple[str, list[Any]]] = [
    ("fetch_time", []),
    ("fetch_balance", []),
    ("create_order", [SYMBOL, "limit", "buy", 0.001, 40000]),
    ("create_order", [SYMBOL, "market", "buy", 0.002]),
    ("create_order", [SYMBOL, "limit", "sell", 0.001, 60000]),
    ("create_order", [SYMBOL, "limit", "buy", 5, 40000]),  # more than there is
    ("create_order", [SYMBOL, "limit", "buy", 0.00001, 40000]),  # below the minimum
    ("create_order", ["NO/SUCH", "limit", "buy", 1, 1]),
    ("fetch_order", ["$0", SYMBOL]),
    ("fetch_open_orders", [SYMBOL]),
    ("edit_order", ["$0", SYMBOL, "limit", "buy", 0.002, 41000]),
    ("cancel_order", ["$2", SYMBOL]),
    ("cancel_order", ["$2", SYMBOL]),  # a second time
    ("fetch_order", ["999999", SYMBOL]),
    ("fetch_my_trades", [SYMBOL]),
    ("fetch_order_book", [SYMBOL, 5]),
    ("fetch_ticker", [SYMBOL]),
    ("fetch_orders", [SYMBOL]),
    ("cancel_all_orders", [SYMBOL]),
    ("fetch_balance", []),
]


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key not in BY_NATURE}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value


def live(verb: str, value: Any) -> Any:
    return "a number" if verb == "fetch_time" else comparable(value)


SPOT_ONLY = {"options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}}


def with_ids(arguments: list[Any], placed: list[str]) -> list[Any]:
    """ "$n" becomes the id of the n-th order placed."""
    return [placed[int(each[1:])] if isinstance(each, str) and each.startswith("$") else each for each in arguments]


def sync_day(prepare: Callable[[Any], None]) -> list[Any]:
    exchange = ccxt.binance(dict(SETTINGS))
    prepare(exchange)
    exchange.load_markets()
    told, placed = [("markets", sorted(exchange.markets))], []
    for verb, arguments in DAY:
        filled = [
            placed[int(each[1:])] if isinstance(each, str) and each.startswith("$") else each for each in arguments
        ]
        try:
            value = getattr(exchange, verb)(*filled)
        except Exception as error:
            told.append((verb, type(error).__name__))
            continue
        if verb == "create_order":
            placed.append(value["id"])
        told.append((verb, live(verb, value)))
    return told


async def async_day(session: aiohttp.ClientSession | None, client: jackstay.AsyncClient | None) -> list[Any]:
    exchange = ccxt.async_support.binance(dict(SETTINGS) | ({"session": session} if session else {}))
    if client is not None:
        jackstay.attach(exchange, client)
    try:
        await exchange.load_markets()
        told, placed = [("markets", sorted(exchange.markets))], []
        for verb, arguments in DAY:
            try:
                value = await getattr(exchange, verb)(*with_ids(arguments, placed))
            except Exception as error:
                told.append((verb, type(error).__name__))
                continue
            if verb == "create_order":
                placed.append(value["id"])
            told.append((verb, live(verb, value)))
        return told
    finally:
        await exchange.close()


def test_a_day_of_sync_ccxt_is_the_same_both_ways(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """load_markets with keys, orders, queries, cancels, rejects: same values, same exceptions, same ledger."""
    direct = sync_day(lambda exchange: exchange.session.mount("https://", Led(sandbox.url)))
    direct_rows = [(row["method"], row["path"], row["status"]) for row in sandbox.admin.ledger()]
    sandbox.admin.reset()
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="ccxt") as client:
        through = sync_day(lambda exchange: jackstay.attach(exchange, client))
    through_rows = [(row["method"], row["path"], row["status"]) for row in sandbox.admin.ledger()]
    assert [line for line in direct if line not in through] == []
    assert through == direct
    assert through_rows == direct_rows
    failed = {name for _verb, name in direct if isinstance(name, str) and name[0].isupper()}
    assert failed >= {"InsufficientFunds", "OrderNotFound", "BadSymbol"}, "the day has its failures"


def test_a_day_of_async_ccxt_is_the_same_both_ways(
    sandbox: SandboxProcess, agent: AgentProcess, unix_path: Path
) -> None:
    """The same with ccxt.async_support."""

    async def both() -> tuple[list[Any], list[Any]]:
        # an https URL over a unix socket: aiohttp speaks plain HTTP there and keeps the URL
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(unix_path))) as session:
            direct = await async_day(session, None)
        await asyncio.to_thread(sandbox.admin.reset)
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="ccxt") as client:
            return direct, await async_day(None, client)

    direct, through = asyncio.run(both())
    assert through == direct


ANSWERS = [
    (429, '{"code":-1003,"msg":"Too many requests."}', "application/json"),
    (418, '{"code":-1003,"msg":"banned"}', "application/json"),
    (400, '{"code":-2010,"msg":"Account has insufficient balance for requested action."}', "application/json"),
    (400, '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}', "application/json"),
    (400, '{"code":-1013,"msg":"Filter failure: LOT_SIZE"}', "application/json"),
    (503, "<html>Service Unavailable</html>", "text/html"),
    (504, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}', "application/json"),
    (403, "<html>WAF</html>", "text/html"),
    (200, '{"code":-2010,"msg":"Account has insufficient balance for requested action."}', "application/json"),
]


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS, ids=[f"{row[0]} {row[1][:24]}" for row in ANSWERS])
def test_an_error_of_the_sandbox_is_the_same_exception_both_ways(
    sandbox: SandboxProcess, agent: AgentProcess, status: int, body: str, kind: str
) -> None:
    """The sandbox's own `answer` fault gives the same ccxt exception directly and through the agent."""
    told = []
    for through in (False, True):
        sandbox.admin.reset()
        exchange = ccxt.binance(
            dict(SETTINGS)
            | {"options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}}
        )
        client = jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="ccxt") if through else None
        if client is None:
            exchange.session.mount("https://", Led(sandbox.url))
        else:
            jackstay.attach(exchange, client)
        exchange.load_markets()
        headers = [["Content-Type", kind], ["Retry-After", "1"]]
        sandbox.admin.fault("answer", route="POST /api/v3/order", count=1, status=status, body=body, headers=headers)
        with pytest.raises(ccxt.BaseError) as caught:
            exchange.create_order(SYMBOL, "limit", "buy", 0.001, 40000)
        told.append(type(caught.value).__name__)
        if client is not None:
            client.close()
            ask(agent.runtime_dir / agent.name / "control.sock", "reset")
            release(agent)
    assert told[0] == told[1]


@pytest.mark.parametrize("body", ["<html>maintenance</html>", "", '{"symbol":"BTCUSDT","orderId":2'])
def test_the_intended_difference_an_order_without_an_answer_is_a_timeout(
    sandbox: SandboxProcess, agent: AgentProcess, body: str
) -> None:
    """A 2xx that is not the promised JSON: plain ccxt makes an order without an id of it; here it is unknown."""
    sandbox.admin.reset()
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="ccxt") as client:
        exchange = ccxt.binance(
            dict(SETTINGS)
            | {"options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}}
        )
        jackstay.attach(exchange, client)
        exchange.load_markets()
        sandbox.admin.fault(
            "answer", route="POST /api/v3/order", count=1, body=body, headers=[["Content-Type", "text/html"]]
        )
        with pytest.raises(ccxt.RequestTimeout):
            exchange.create_order(SYMBOL, "limit", "buy", 0.001, 40000)
