"""Unmodified ccxt against the sandbox directly: markets with and without a key, and a network that fails."""

from __future__ import annotations

import ccxt
import pytest

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_sync

KEYS = {"apiKey": "sandbox-key", "secret": "sandbox-secret"}


def test_markets_keyed_and_not(sandbox: SandboxProcess) -> None:
    """load_markets works with and without a key and finds the filters."""
    for keys in ({}, KEYS):
        exchange = redirect_sync(ccxt.binance(keys), sandbox.url)
        market = exchange.load_markets()["BTC/USDT"]
        assert (market["precision"]["price"], market["limits"]["cost"]["min"]) == (0.01, 5.0)
    assert {row["status"] for row in sandbox.admin.ledger()} == {200}


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
