"""Unmodified ccxt.kraken trades against the sandbox's Kraken face, and the face says no in Kraken's words."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_sync

# the sandbox's secret is a word; a Kraken client is given its Base64
KEYS = {"apiKey": "sandbox-key", "secret": "c2FuZGJveC1zZWNyZXQ="}


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
    for price in (40000, 39000):
        exchange.create_order("ETH/USD", "limit", "buy", 0.01, price / 20)
    assert exchange.cancel_all_orders()[0]["info"]["result"] == {"count": 2}
    assert exchange.fetch_open_orders() == []
    assert [order["status"] for order in exchange.fetch_closed_orders()] == ["canceled"] * 3
