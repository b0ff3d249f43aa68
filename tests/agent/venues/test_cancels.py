"""What ccxt really sends when it cancels, read back: which orders are leaving."""

from __future__ import annotations

from typing import Any

import pytest

from ccxt_requests import exchange, operations, sent
from jackstay_agent.venues.outgoing import OutgoingRequest

SYMBOL, SWAP = "BTC/USDT", "BTC/USDT:USDT"
VENUES = [
    ("binance", exchange("binance", "BTCUSDT"), SYMBOL),
    ("binance-usdm", exchange("binanceusdm", "BTCUSDT", swap=True), SWAP),
    ("bybit", exchange("bybit", "BTCUSDT"), SYMBOL),
    ("okx", exchange("okx", "BTC-USDT"), SYMBOL),
    ("kraken", exchange("kraken", "XXBTZUSD"), SYMBOL),
]
CLIENT_ID = {"bybit": "orderLinkId"}  # ccxt hands on the venue's own name


def bare(request: OutgoingRequest) -> OutgoingRequest:
    """As the agent sees it: a path on the venue's host."""
    _scheme, _sep, rest = request.target.partition("://")
    return OutgoingRequest(request.method, "/" + rest.partition("/")[2], request.headers, request.body)


@pytest.mark.parametrize(("profile", "bot", "symbol"), VENUES, ids=[each[0] for each in VENUES])
@pytest.mark.parametrize("by", ["venue_id", "client_id"])
def test_the_order_that_a_cancel_names_is_known(profile: str, bot: Any, symbol: str, by: str) -> None:
    """By the venue's id or by the bot's own, at every shipped venue."""
    params = {CLIENT_ID.get(profile, "clientOrderId"): "myid0001"} if by == "client_id" else {}
    given = "77" if by == "venue_id" else None
    request = bare(sent(lambda: bot.cancel_order(given, symbol, params)))
    found = operations(profile).cancels(request)
    assert found, request
    assert {each.asked.get(by) for each in found} == {"77" if by == "venue_id" else "myid0001"}, request


def test_other_requests_cancel_nothing() -> None:
    """A question and an order are no cancels."""
    ours = operations("binance")
    assert ours.cancels(OutgoingRequest("GET", "/api/v3/order?symbol=BTCUSDT&orderId=7")) == []
    assert ours.cancels(OutgoingRequest("POST", "/api/v3/order?symbol=BTCUSDT&side=BUY")) == []
