"""Binance's WebSocket API: the REST requests as JSON over one connection, plus signature subscriptions.

Each request is checked, faulted and recorded in the ledger like an HTTP request, as method `WS` with its own name
(`order.place`) as path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from ..accounts import ApiKey
from ..answers import Call
from ..engine.model import Reject
from ..venue import Venue
from . import binance_public as public
from . import binance_trade as trade
from .binance_auth import check_nonce, check_window, require, verify
from .binance_errors import MAINTENANCE, Refusal, from_reject, mandatory
from .binance_route import Route

METHODS: dict[str, Route] = {
    "ping": Route(public.ping),
    "time": Route(public.server_time),
    "exchangeInfo": Route(public.exchange_info, 20),
    "depth": Route(public.depth, public.depth_weight),
    "trades.recent": Route(public.trades, 25),
    "trades.aggregate": Route(public.aggregate_trades, 4),
    "klines": Route(public.klines, 2),
    "ticker.24hr": Route(public.ticker_24h, public.one_weight(2, 80)),
    "ticker.price": Route(public.ticker_price, public.one_weight(2, 4)),
    "ticker.book": Route(public.book_ticker, public.one_weight(2, 4)),
    "order.place": Route(trade.place, 1, "trade"),
    "order.test": Route(trade.place_test, 1, "trade"),
    "order.status": Route(trade.query, 4, "read"),
    "order.cancel": Route(trade.cancel, 1, "cancel"),
    "order.cancelReplace": Route(trade.cancel_replace, 1, "trade"),
    "openOrders.status": Route(trade.open_orders, public.one_weight(6, 80), "read"),
    "openOrders.cancelAll": Route(trade.cancel_all, 1, "cancel"),
    "allOrders": Route(trade.all_orders, 20, "read"),
    "myTrades": Route(trade.my_trades, 20, "read"),
    "account.status": Route(trade.account, 20, "read"),
}


def parse(text: str | bytes, now: int) -> tuple[Any, Call] | None:
    """(id, call) of a request frame; None when it is no request at all."""
    try:
        asked = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
        return None
    params = asked.get("params") or {}
    if not isinstance(params, dict):
        return None
    return asked.get("id"), Call("WS", asked["method"], "", b"", {}, {k: _text(v) for k, v in params.items()}, now)


def _text(value: Any) -> str:
    """A JSON value the way it stands in the signed payload."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def known_key(venue: Venue, call: Call) -> ApiKey:
    key = venue.keys.get(call.params.get("apiKey", ""))
    if key is None:
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return key


def authenticate(venue: Venue, call: Call, permission: str) -> None:
    """A signed WebSocket request: parameters in alphabetical order, joined like a query, are what was signed."""
    key = known_key(venue, call)
    call.account, call.key = key.account, key.key
    signature = call.params.get("signature")
    if not signature:
        raise mandatory("signature")
    check_window(call.params, call.now)
    payload = "&".join(f"{name}={call.params[name]}" for name in sorted(call.params) if name != "signature")
    if not verify(key, payload, signature):
        raise Refusal(-1022, "Signature for this request is not valid.")
    check_nonce(call.params, key, venue.keys)
    require(key, permission)


@dataclass(slots=True, frozen=True)
class Api:
    """One market's WebSocket API: its methods, its words for refusals, and what its names begin with in the ledger."""

    methods: dict[str, Route]
    refusal_of: Callable[[Reject], Refusal] = from_reject
    prefix: str = ""


SPOT_API = Api(METHODS)


def answer(venue: Venue, number: Any, call: Call, api: Api = SPOT_API) -> dict[str, Any]:
    """Serve one request; never raises."""
    method = call.path.removeprefix(api.prefix)
    route = api.methods.get(method)
    verdict = venue.limits.spend(call.now, route.weigh(call) if route else 1)
    if verdict is not None:
        text = f"Too many requests; come back in {verdict.retry_after_s} seconds."
        return {"id": number, "status": verdict.status, "error": {"code": -1003, "msg": text}}
    if venue.exchange.trading.in_maintenance and method not in ("ping", "time"):
        return refused(number, MAINTENANCE)
    try:
        if route is None:
            raise Refusal(-1000, f"Unknown method '{method}'.")
        if route.permission:
            authenticate(venue, call, route.permission)
        result = route.handler(venue, call)
    except trade.CancelReplaceFailed as failed:
        error = {"code": failed.code, "msg": failed.message, "data": failed.data}
        return {"id": number, "status": failed.status, "error": error}
    except (Refusal, Reject) as error:
        return refused(number, error, api.refusal_of)
    return {"id": number, "status": 200, "result": result, "rateLimits": _limits(venue)}


def refused(
    number: Any, error: Refusal | Reject, refusal_of: Callable[[Reject], Refusal] = from_reject
) -> dict[str, Any]:
    refusal = refusal_of(error) if isinstance(error, Reject) else error
    return {"id": number, "status": refusal.status, "error": {"code": refusal.code, "msg": refusal.message}}


def _limits(venue: Venue) -> list[dict[str, Any]]:
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return [weight | {"limit": venue.limits.weight_max, "count": venue.limits.weight_used}]
