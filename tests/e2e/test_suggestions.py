"""What a venue refuses for its ticks, steps and least amounts is suggested so that it takes it, at each venue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from e2e.http_clients import routed_all
from e2e_bot import client_for
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from venue_shapes import AGENTS_KEY

KEYS = {"binance": "SANDBOX", "binance-usdm": "SANDBOX", "bybit": "SANDBOX", "okx": "SANDBOX", "kraken": "KRAKEN"}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Market:
    """How a bid looks there. ``tick``, ``step``: a wrong price or quantity, and the right one; ``least``: a price, too
    little at it, and enough.
    """

    url: str
    order: Callable[[str, str], dict[str, str]]
    tick: tuple[str, str]
    step: tuple[str, str]
    least: tuple[str, str, str]
    kind: str = FORM


def binance(price: str, quantity: str) -> dict[str, str]:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    return order | {"price": price, "quantity": quantity}


def bybit(category: str) -> Callable[[str, str], dict[str, str]]:
    order = {"category": category, "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
    return lambda price, quantity: order | {"price": price, "qty": quantity}


def okx(symbol: str, mode: str) -> Callable[[str, str], dict[str, str]]:
    order = {"instId": symbol, "tdMode": mode, "side": "buy", "ordType": "limit"}
    return lambda price, quantity: order | {"px": price, "sz": quantity}


def kraken(price: str, quantity: str) -> dict[str, str]:
    return {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": price, "volume": quantity}


FINE, COARSE = ("40000.005", "40000.00"), ("40000.05", "40000.0")
MARKETS = {
    "binance": Market(
        "https://api.binance.com/api/v3/order",
        binance,
        FINE,
        ("0.0010000123", "0.00100"),
        ("40000.00", "0.0001", "0.00013"),
    ),
    "binance-usdm": Market(
        "https://fapi.binance.com/fapi/v1/order",
        binance,
        COARSE,
        ("0.0012345", "0.001"),
        ("41000.0", "0.0001", "0.001"),
    ),
    "bybit spot": Market(
        "https://api.bybit.com/v5/order/create",
        bybit("spot"),
        FINE,
        ("0.0010000123", "0.00100"),
        ("40000.00", "0.0001", "0.00013"),
        JSON,
    ),
    "bybit linear": Market(
        "https://api.bybit.com/v5/order/create",
        bybit("linear"),
        COARSE,
        ("0.0012345", "0.001"),
        ("41000.0", "0.0001", "0.001"),
        JSON,
    ),
    "okx spot": Market(
        "https://www.okx.com/api/v5/trade/order",
        okx("BTC-USDT", "cash"),
        FINE,
        ("0.0012345678", "0.00123"),
        ("40000.00", "0.0001", "0.001"),
        JSON,
    ),
    "okx swap": Market(
        "https://www.okx.com/api/v5/trade/order",
        okx("BTC-USDT-SWAP", "cross"),
        COARSE,
        ("1.05", "1.0"),
        ("41000.0", "0.05", "0.1"),
        JSON,
    ),
    "kraken": Market(
        "https://api.kraken.com/0/private/AddOrder",
        kraken,
        COARSE,
        ("0.0010000123", "0.00100001"),
        ("5000.0", "0.00005", "0.0001"),
    ),
}


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    keys = "".join(
        f'[venues.{name}]\nlive = false\n[venues.{name}.keys]\nenv = "{env}"\n' for name, env in KEYS.items()
    )
    with SandboxProcess(seed=1, quiet=True, extra_args=AGENTS_KEY) as venue:
        with AgentProcess(routed_all(venue.url, keys)) as running:
            yield running


def bid(client: jackstay.Client, market: Market, price: str, quantity: str) -> str:
    """ok, or rejected."""
    given = market.order(price, quantity)
    body = json.dumps(given) if market.kind == JSON else urlencode(given)
    headers = [("Content-Type", market.kind)]
    answer = client.request("POST", market.url, headers=headers, body=body.encode(), sign=True, deadline_s=10.0)
    return str(answer.verdict.outcome)


def adjusted(client: jackstay.Client) -> dict[str, Any]:
    for each in client.directives(timeout_s=20.0):
        if each.name == "adjust_parameters":
            return each.fields
    raise AssertionError("nothing was suggested")


@pytest.mark.parametrize("name", MARKETS)
def test_what_is_suggested_is_exact_and_then_taken(agent: AgentProcess, name: str) -> None:
    """A price off the tick, a quantity off the step; what may not be enlarged is named with the exact amount."""
    market = MARKETS[name]
    with client_for(agent, bot_id=name.replace(" ", "-")) as client:
        (wrong, right), (_, quantity) = market.tick, market.step
        assert bid(client, market, wrong, quantity) == "rejected"
        found = adjusted(client)
        assert (found["remedy"], found["suggested"], found["needs"]) == ("round", {"price": right}, {}), found
        assert bid(client, market, found["suggested"]["price"], quantity) == "ok"

        price, wrong, right = market.least[0], *market.step
        assert bid(client, market, price, wrong) == "rejected"
        found = adjusted(client)
        assert (found["suggested"], found["needs"]) == ({"quantity": right}, {}), found
        assert bid(client, market, price, found["suggested"]["quantity"]) == "ok"

        price, wrong, right = market.least
        assert bid(client, market, price, wrong) == "rejected"
        found = adjusted(client)
        assert (found["suggested"], found["needs"]) == ({}, {"quantity": right}), found
        assert bid(client, market, price, found["needs"]["quantity"]) == "ok"
