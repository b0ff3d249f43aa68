"""Requests as ccxt really makes them, caught before they leave."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest

from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles

ORDER_TYPES = [
    *("LIMIT", "MARKET", "LIMIT_MAKER", "STOP_MARKET", "STOP", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"),
    *("STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"),
]
KEYS = {"apiKey": "key", "secret": "c2VjcmV0", "password": "phrase"}


def operations(profile: str) -> Operations:
    return Operations(shipped_profiles()[profile], None, wall_ms=lambda: 0)


class Sent(Exception):
    """Carries the request instead of sending it."""


def exchange(name: str, market_id: str, *, swap: bool = False) -> Any:
    """A ccxt exchange that knows one market and sends nothing."""
    made = getattr(ccxt, name)(KEYS)
    symbol = "BTC/USDT:USDT" if swap else "BTC/USDT"
    settle = "USDT" if swap else None
    market = made.safe_market_structure(
        {
            "id": market_id, "symbol": symbol, "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT",
            "settle": settle, "settleId": settle, "type": "swap" if swap else "spot", "spot": not swap, "swap": swap,
            "contract": swap, "linear": swap or None, "contractSize": 1 if swap else None, "active": True,
            "precision": {"price": 0.01, "amount": 0.0001},
            "info": {"orderTypes": ORDER_TYPES, "triggerProtect": "0"},
        }
    )  # fmt: skip
    made.set_markets([market])

    def fetch(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        raise Sent(url, method, headers, body)

    made.fetch = fetch
    if name == "bybit":
        made.is_unified_enabled = lambda *_: [True, True]
    return made


def sent(call: Any) -> OutgoingRequest:
    with pytest.raises(Sent) as caught:
        call()
    url, method, headers, body = caught.value.args
    pairs = [(name.encode(), str(value).encode()) for name, value in (headers or {}).items()]
    return OutgoingRequest(method, url, pairs, (body or "").encode())
