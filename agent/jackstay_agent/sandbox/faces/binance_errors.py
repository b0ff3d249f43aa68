"""Binance error codes: `Refusal` carries one, and the engine's reasons are mapped to them. Source: errors.md."""

from __future__ import annotations

from ..answers import Answer, json_answer
from ..engine.model import Reject

REJECTS: dict[str, tuple[int, str]] = {
    "unknown_symbol": (-1121, "Invalid symbol."),
    "insufficient_balance": (-2010, "Account has insufficient balance for requested action."),
    "duplicate_client_id": (-2010, "Duplicate order sent."),
    "would_match": (-2010, "Order would immediately match and take."),
    "would_trigger": (-2010, "Stop price would trigger immediately."),
    "market_closed": (-2010, "Market is closed."),
    "cancel_only": (-2010, "Market is closed."),
    "post_only": (-1014, "Unsupported order combination."),
    "limit_only": (-1014, "Unsupported order combination."),
    "bad_list": (-1013, "The relationship of the prices for the orders is not correct."),
    "unknown_list": (-2011, "Unknown order list sent."),
    "no_liquidity": (-2010, "Market orders are not supported for this symbol."),
}


class Refusal(Exception):
    """The venue says no: Binance's code and message, and the HTTP status they travel with."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def answer(self) -> Answer:
        return json_answer({"code": self.code, "msg": self.message}, self.status)


# a refusal of the front, not of the engine: ccxt knows these words as OnMaintenance
MAINTENANCE = Refusal(1, "System is under maintenance.", 503)


def mandatory(name: str) -> Refusal:
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def from_reject(reject: Reject, *, looking_up: bool = False, cancelling: bool = False) -> Refusal:
    """The Binance refusal for an engine refusal; unknown orders answer differently to a query and to a cancel."""
    if reject.reason == "filter":
        return Refusal(-1013, f"Filter failure: {reject.detail}")
    if reject.reason in ("unknown_order", "not_open"):
        if looking_up and not cancelling:
            return Refusal(-2013, "Order does not exist.")
        return Refusal(-2011, "Unknown order sent.")
    if reject.reason == "maintenance":
        return MAINTENANCE
    code, message = REJECTS.get(reject.reason, (-2010, reject.reason))
    return Refusal(code, message)
