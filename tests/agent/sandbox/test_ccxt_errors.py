"""Unmodified ccxt against every answer a venue may give to an order: spot and USDⓈ-M, synchronous and asynchronous.

The sandbox's `answer` fault sends the bytes; ccxt raises what it raises on the exchange itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import ccxt.async_support
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_sync

HTML = "<html><body>We will be back soon</body></html>"
HALF_JSON = '{"symbol":"BTCUSDT","orderId":28,"clie'
NO_ORDER = "an order without id"


def coded(status: int, code: int, text: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"code": code, "msg": text})}


def said(status: int, text: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"msg": text})}


def page(status: int, name: str = "Content-Type") -> dict[str, Any]:
    return {"status": status, "body": HTML, "headers": [[name, "text/html"]]}


# (answer, what ccxt makes of it on spot, and on USDⓈ-M where that differs)
ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "429 -1003": (coded(429, -1003, "Too many requests"), "DDoSProtection", ""),
    "418 -1003": (coded(418, -1003, "Way too many requests; IP banned until 1."), "DDoSProtection", ""),
    "400 -1003": (coded(400, -1003, "Too much request weight used"), "RateLimitExceeded", ""),
    "429 HTML": (page(429), "DDoSProtection", ""),
    "400 -1015": (coded(400, -1015, "Too many new orders."), "RateLimitExceeded", ""),
    "429 -1015": (coded(429, -1015, "Too many new orders."), "DDoSProtection", ""),
    "-1013 LOT_SIZE": (coded(400, -1013, "Filter failure: LOT_SIZE"), "InvalidOrder", ""),
    "-1013 PRICE_FILTER": (coded(400, -1013, "Filter failure: PRICE_FILTER"), "InvalidOrder", ""),
    "-1013 NOTIONAL": (coded(400, -1013, "Filter failure: NOTIONAL"), "BadRequest", ""),
    "-1013 MARKET_LOT_SIZE": (coded(400, -1013, "Filter failure: MARKET_LOT_SIZE"), "InvalidOrder", ""),
    "-1013 MAX_POSITION": (coded(400, -1013, "Filter failure: MAX_POSITION"), "BadRequest", ""),
    "-1013 PERCENT": (coded(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"), "InvalidOrder", ""),
    "-1021": (coded(400, -1021, "Timestamp for this request is outside of the recvWindow."), "InvalidNonce", ""),
    "-1022": (coded(400, -1022, "Signature for this request is not valid."), "AuthenticationError", ""),
    "-2010 funds": (coded(400, -2010, "Account has insufficient balance for requested action."),
                    "InsufficientFunds", ""),
    "-2010 post-only": (coded(400, -2010, "Order would immediately match and take."), "OrderImmediatelyFillable", ""),
    "-2010 duplicate": (coded(400, -2010, "Duplicate order sent."), "InvalidOrder", ""),
    "-2010 closed": (coded(400, -2010, "Market is closed."), "MarketClosed", ""),
    "-2011": (coded(400, -2011, "Unknown order sent."), "OrderNotFound", ""),
    "-2013": (coded(400, -2013, "Order does not exist."), "OrderNotFound", ""),
    "-2014": (coded(400, -2014, "API-key format invalid."), "AuthenticationError", ""),
    "-2015": (coded(401, -2015, "Invalid API-key, IP, or permissions for action."), "AuthenticationError", ""),
    "-2018": (coded(400, -2018, "Balance is insufficient."), "ExchangeError", "InsufficientFunds"),
    "-2019": (coded(400, -2019, "Margin is insufficient."), "ExchangeError", "InsufficientFunds"),
    "-2021": (coded(400, -2021, "Order would immediately trigger."), "BadResponse", "OrderImmediatelyFillable"),
    "-2022": (coded(400, -2022, "ReduceOnly Order is rejected."), "BadResponse", "InvalidOrder"),
    "-4116": (coded(400, -4116, "ClientOrderId is duplicated."), "ExchangeError", "InvalidOrder"),
    "-4164": (coded(400, -4164, "Order's notional must be no smaller than 5.0"), "ExchangeError", "InvalidOrder"),
    "-5022": (coded(400, -5022, "Post Only order will be rejected."), "BadRequest", "OrderNotFillable"),
    "-1100": (coded(400, -1100, "Illegal characters found in parameter 'price'."), "BadRequest", ""),
    "-1102": (coded(400, -1102, "Mandatory parameter 'price' was not sent."), "BadRequest", ""),
    "-1111": (coded(400, -1111, "Precision is over the maximum defined for this asset."), "BadRequest", ""),
    "-1121": (coded(400, -1121, "Invalid symbol."), "BadSymbol", ""),
    "-1131": (coded(400, -1131, "recvWindow must be less than 60000"), "BadRequest", "ExchangeError"),
    "-1000": (coded(400, -1000, "An unknown error occurred while processing the request."), "OperationFailed", ""),
    "500 -1001": (coded(500, -1001, "Internal error; unable to process your request."), "OperationFailed", ""),
    "500 -1006": (coded(500, -1006, "An unexpected response was received from the message bus."),
                  "OperationFailed", ""),
    "408 -1007": (coded(408, -1007, "Timeout waiting for response from backend server."), "RequestTimeout", ""),
    "504 -1007": (coded(504, -1007, "Timeout waiting for response from backend server."), "RequestTimeout", ""),
    "503 -1008": (coded(503, -1008, "Request throttled by system-level protection."), "OperationFailed", ""),
    "503 unavailable": (coded(503, 503, "Service Unavailable."), "ExchangeError", ""),
    "503 unknown": (said(503, "Unknown error, please check your request or try again later."),
                    "ExchangeNotAvailable", ""),
    "-9999": (coded(400, -9999, "New in town."), "ExchangeError", ""),
    "200 -2010": (coded(200, -2010, "Account has insufficient balance for requested action."),
                  "InsufficientFunds", ""),
    "503 HTML": (page(503), "ExchangeNotAvailable", ""),
    "502 HTML": (page(502), "ExchangeNotAvailable", ""),
    "504 HTML": (page(504), "RequestTimeout", ""),
    "403 HTML": (page(403), "ExchangeNotAvailable", ""),
    "451 HTML": (page(451), "ExchangeNotAvailable", ""),
    "451 code 0": (coded(451, 0, "Service unavailable from a restricted location."), "ExchangeNotAvailable", ""),
    "500 empty": ({"status": 500, "body": ""}, "ExchangeNotAvailable", ""),
    "200 HTML": (page(200), NO_ORDER, ""),
    "200 empty": ({"status": 200, "body": ""}, NO_ORDER, ""),
    "200 HTML, lower-case header": (page(200, "content-type"), NO_ORDER, ""),
    "200 truncated": ({"status": 200, "body": HALF_JSON}, NO_ORDER, ""),
}  # fmt: skip
KINDS = {"spot": ("binance", "POST /api/v3/order"), "usdm": ("binanceusdm", "POST /fapi/v1/order")}
SYMBOLS = {"spot": "BTC/USDT", "usdm": "BTC/USDT:USDT"}
SETTINGS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "timeout": 5000, "enableRateLimit": False,
            "options": {"fetchCurrencies": False, "fetchMargins": False}}  # fmt: skip


def expected(kind: str, flavour: str) -> dict[str, str]:
    """What adapters.md lists."""
    found = {name: (usdm or spot) if kind == "usdm" else spot for name, (_, spot, usdm) in ROWS.items()}
    found |= {"302": NO_ORDER, "silence": "RequestTimeout"}
    # a reset is NetworkError to the one and its child to the other
    return found | {"reset": "ExchangeNotAvailable" if flavour == "async" else "NetworkError"}


def troubles(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, fault, its parameters) of every row."""
    for name, row in ROWS.items():
        yield name, "answer", row[0]
    host = {"spot": "api.binance.com", "usdm": "fapi.binance.com"}[kind]
    yield "302", "answer", {"status": 302, "headers": [["Location", f"https://{host}/maintenance"]]}
    yield "silence", "stall", {}
    yield "reset", "reset_before", {}


def named(result: Any) -> str:
    return NO_ORDER if isinstance(result, dict) and result["id"] is None else f"an order {result}"


@pytest.mark.parametrize("kind", KINDS)
def test_sync(sandbox: SandboxProcess, kind: str) -> None:
    """Each answer raises the listed exception, or gives an order without an id where ccxt raises nothing."""
    name, route = KINDS[kind]
    exchange = redirect_sync(getattr(ccxt, name)(SETTINGS), sandbox.url)
    exchange.load_markets()
    # a redirect is followed by a GET to a page of the venue's front
    sandbox.admin.fault("answer", route="/maintenance", **page(200))
    seen = {}
    for row, fault, params in troubles(kind):
        sandbox.admin.fault(fault, route=route, count=1, **params)
        exchange.timeout = 300 if fault == "stall" else 5000
        try:
            seen[row] = named(exchange.create_order(SYMBOLS[kind], "limit", "buy", 0.01, 40000))
        except Exception as error:
            seen[row] = type(error).__name__
    assert seen == expected(kind, "sync")
    assert sandbox.admin.orders(kind) == []


@pytest.mark.parametrize("kind", KINDS)
def test_async(tmp_path: Path, kind: str) -> None:
    """The same of the asynchronous exchange."""
    name, route = KINDS[kind]
    seen = {}

    async def scene() -> None:
        # a stock aiohttp session over a unix socket: it keeps its https URLs, redirects included
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(unix)))
        exchange = getattr(ccxt.async_support, name)(SETTINGS | {"session": session})
        try:
            await exchange.load_markets()
            for row, fault, params in troubles(kind):
                await asyncio.to_thread(sandbox.admin.fault, fault, route=route, count=1, **params)
                exchange.timeout = 300 if fault == "stall" else 5000
                try:
                    seen[row] = named(await exchange.create_order(SYMBOLS[kind], "limit", "buy", 0.01, 40000))
                except Exception as error:
                    seen[row] = type(error).__name__
        finally:
            await exchange.close()
            await session.close()

    unix = tmp_path / "venue.sock"
    with SandboxProcess(quiet=True, extra_args=("--unix", str(unix))) as sandbox:
        sandbox.admin.fault("answer", route="/maintenance", **page(200))
        asyncio.run(asyncio.wait_for(scene(), 60))
    assert seen == expected(kind, "async")


def test_a_key_refused_after_it_was_good(sandbox: SandboxProcess) -> None:
    """-2015 is a matter of the key before the first signed answer, and of protection after it, as ccxt has it."""
    exchange = redirect_sync(ccxt.binance(SETTINGS), sandbox.url)
    exchange.load_markets()
    sandbox.admin.fault("answer", route="/api/v3/account", **ROWS["-2015"][0])
    with pytest.raises(ccxt.AuthenticationError):
        exchange.fetch_balance()
    sandbox.admin.clear()
    exchange.fetch_balance()
    sandbox.admin.fault("answer", route="/api/v3/account", **ROWS["-2015"][0])
    with pytest.raises(ccxt.DDoSProtection):
        exchange.fetch_balance()
