"""Bybit v5 return codes: spot has codes of its own (1701xx), contracts others (110xxx). Errors travel as HTTP 200.

Source: Bybit v5 documentation, "Error Codes", as of 2026-07.
"""

from __future__ import annotations

from typing import Any

from ..answers import Answer, json_answer
from ..engine.model import Reject
from .instruments import Instrument

Code = tuple[int, str]
SPOT: dict[str, Code] = {
    "insufficient_balance": (170131, "Insufficient balance."),
    "duplicate_client_id": (170141, "Duplicate clientOrderId"),
    "market_closed": (170210, "New order rejected."),
    "cancel_only": (170210, "New order rejected."),
    "post_only": (170217, "Only LIMIT-MAKER order is supported for the current pair."),
    "limit_only": (170210, "New order rejected."),
    "maintenance": (10019, "The trading service is restarting"),
    "would_trigger": (170130, "Data sent for parameter 'triggerPrice' is not valid."),
    "PRICE_FILTER": (170134, "Order price has too many decimals."),
    "LOT_SIZE": (170137, "Order quantity has too many decimals."),
    "MARKET_LOT_SIZE": (170135, "Order quantity exceeded upper limit."),
    "NOTIONAL": (170140, "Order value exceeded lower limit."),
    "PERCENT_PRICE_BY_SIDE": (170193, "Buy order price cannot be higher than the price limit."),
    "MAX_NUM_ORDERS": (170810, "Cannot exceed maximum number of conditional, TP/SL and active orders."),
    "unknown_order": (170213, "Order does not exist."),
    "not_open": (170213, "Order does not exist."),
}
LINEAR: dict[str, Code] = {
    "market_closed": (110074, "This contract is not live"),
    "cancel_only": (110074, "This contract is not live"),
    "post_only": (110074, "This contract is not live"),
    "limit_only": (110074, "This contract is not live"),
    "maintenance": (10019, "The trading service is restarting"),
    "insufficient_margin": (110007, "ab not enough for new order"),
    "duplicate_client_id": (110072, "OrderLinkedID is duplicate"),
    "reduce_only": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "would_trigger": (110092, "expect Rising, but trigger_price is at or below the current price"),
    "PRICE_FILTER": (10001, "The price does not fit the tick size."),
    "LOT_SIZE": (10001, "Qty invalid"),
    "MARKET_LOT_SIZE": (10001, "Qty invalid"),
    "NOTIONAL": (110094, "Order does not meet minimum order value 5USDT"),
    "PERCENT_PRICE_BY_SIDE": (110003, "Order price exceeds the allowable range."),
    "MAX_NUM_ORDERS": (110009, "The number of active orders greater than the maximum allowable number."),
    "unknown_order": (110001, "order not exists or too late to cancel"),
    "not_open": (110001, "order not exists or too late to cancel"),
}


class Refusal(Exception):
    """The request, or one order of a batch, is refused."""

    def __init__(self, code: int, message: str, status: int = 200) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def wrong(name: str) -> Refusal:
    return Refusal(10001, f"params error: {name} invalid")


def from_reject(reject: Reject, each: Instrument) -> Refusal:
    """Bybit's words for an engine refusal, by category."""
    table = SPOT if each.is_spot else LINEAR
    name = reject.detail if reject.reason == "filter" else reject.reason
    return Refusal(*table.get(name, (10001, f"params error ({name})")))


def envelope(result: Any, now: int, code: int = 0, message: str = "OK", more: Any = None) -> dict[str, Any]:
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": more or {}, "time": now}


def refused(refusal: Refusal, now: int) -> Answer:
    return json_answer(envelope({}, now, refusal.code, refusal.message), refusal.status)
