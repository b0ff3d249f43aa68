"""Kraken's way of saying no: HTTP 200 and words in `error` (docs.kraken.com, guides, "Spot Error Messages")."""

from __future__ import annotations

from typing import Any

from ..answers import Answer, json_answer
from ..engine.model import Reject

JSON_HEADERS = [("Content-Type", "application/json; charset=utf-8")]
REJECTS: dict[str, str] = {
    "unknown_symbol": "EQuery:Unknown asset pair",
    "insufficient_balance": "EOrder:Insufficient funds",
    # Kraken checks the id's uniqueness among open orders; the words of that refusal are not documented
    "duplicate_client_id": "EOrder:Duplicate cl_ord_id",
    "would_match": "EOrder:Post only order",
    "would_trigger": "EOrder:Invalid price",
    "market_closed": "EService:Market in cancel_only mode",
    "cancel_only": "EService:Market in cancel_only mode",
    "post_only": "EService:Market in post_only mode",
    "limit_only": "EService:Market in limit_only mode",
    "maintenance": "EService:Unavailable",
    "unknown_order": "EOrder:Unknown order",
    "not_open": "EOrder:Unknown order",
    "reduce_only": "EOrder:Reduce only:No position exists",
}
FILTERS: dict[str, str] = {
    "PRICE_FILTER": "EOrder:Tick size check failed",
    "PERCENT_PRICE_BY_SIDE": "EOrder:Invalid price",
    "LOT_SIZE": "EOrder:Order minimum not met",
    "MARKET_LOT_SIZE": "EGeneral:Invalid arguments:volume",
    "NOTIONAL": "EOrder:Cost minimum not met",
    "MAX_NUM_ORDERS": "EOrder:Orders limit exceeded",
}


class Refusal(Exception):
    """The venue says no, in these words."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def invalid(name: str) -> Refusal:
    """A parameter that is missing or makes no sense."""
    return Refusal(f"EGeneral:Invalid arguments:{name}")


def text_of(error: Refusal | Reject) -> str:
    if isinstance(error, Refusal):
        return error.text
    if error.reason == "filter":
        return FILTERS.get(error.detail, "EGeneral:Invalid arguments")
    return REJECTS.get(error.reason, "EGeneral:Invalid arguments")


def refused(text: str) -> Answer:
    answer = json_answer({"error": [text]})
    answer.headers = list(JSON_HEADERS)
    return answer


def done(result: Any) -> Answer:
    answer = json_answer({"error": [], "result": result})
    answer.headers = list(JSON_HEADERS)
    return answer
