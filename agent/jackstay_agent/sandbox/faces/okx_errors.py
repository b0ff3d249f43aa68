"""OKX error codes: `Refusal` ends a request, `ItemRefusal` one order of it; engine reasons are mapped to them.

Source: OKX v5 documentation, "Error Code" (REST public and trade classes), as of 2026-07.
"""

from __future__ import annotations

from typing import Any

from ..answers import Answer, json_answer
from ..engine.model import Reject

REJECTS: dict[str, tuple[str, str]] = {
    "unknown_symbol": ("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist."),
    "insufficient_balance": ("51008", "Order failed. Insufficient {detail} balance in account."),
    "insufficient_margin": ("51008", "Order failed. Insufficient USDT margin in account."),
    "duplicate_client_id": ("51016", "Client order ID already exists."),
    "reduce_only": (
        "51169",
        "Order failed because you don't have any positions in this direction for this contract to reduce or close.",
    ),
    "market_closed": ("51022", "Contract suspended."),
    "cancel_only": ("51022", "Contract suspended."),
    # OKX has no such phase but its auction before a listing; these are its words for an order a market does not take
    "post_only": ("51022", "Contract suspended."),
    "limit_only": ("51022", "Contract suspended."),
    "maintenance": ("50001", "Service temporarily unavailable. Try again later"),
    "unknown_order": ("51603", "Order does not exist"),
}
FILTERS: dict[str, tuple[str, str]] = {
    "PRICE_FILTER": ("51000", "Parameter px error"),
    "LOT_SIZE": ("51121", "Order quantity must be a multiple of the lot size."),
    "MARKET_LOT_SIZE": ("51202", "Market order amount exceeds the maximum amount."),
    "NOTIONAL": ("51020", "Your order should meet or exceed the minimum order amount."),
    "PERCENT_PRICE_BY_SIDE": ("51006", "Order price is not within the price limit"),
    "MAX_NUM_ORDERS": ("51174", "Order failed. The number of pending orders reached the upper limit."),
}


class Refusal(Exception):
    """The whole request is refused, with an HTTP status of its own."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def answer(self) -> Answer:
        return json_answer({"code": self.code, "msg": self.message, "data": []}, self.status)


class ItemRefusal(Refusal):
    """One order of a request is refused: `sCode` and `sMsg` of its item."""


def missing(name: str) -> Refusal:
    return Refusal("50014", f"Parameter {name} can not be empty.", 400)


def wrong(name: str) -> ItemRefusal:
    return ItemRefusal("51000", f"Parameter {name} error")


def from_reject(reject: Reject) -> ItemRefusal:
    """The OKX words for an engine refusal."""
    if reject.reason == "filter":
        return ItemRefusal(*FILTERS[reject.detail])
    code, message = REJECTS.get(reject.reason, ("51000", f"Parameter error ({reject.reason})"))
    return ItemRefusal(code, message.format(detail=reject.detail))


def results(items: list[dict[str, Any]], came_at: int) -> dict[str, Any]:
    """The envelope of a trading answer: 0 when all went well, 2 when some did, 1 when none did."""
    bad = sum(item["sCode"] != "0" for item in items)
    code = "0" if not bad else "1" if bad == len(items) else "2"
    message = {"0": "", "1": "All operations failed", "2": "Bulk operation partially succeeded."}[code]
    return {"code": code, "msg": message, "data": items, "inTime": str(came_at * 1000), "outTime": str(came_at * 1000)}
