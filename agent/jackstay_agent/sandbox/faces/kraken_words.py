"""The WebSocket's names for an order's fields, turned into those of REST, so that one desk understands both
(docs.kraken.com, "Add Order" of both APIs)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_NAMES = {
    "order_type": "ordertype",
    "side": "type",
    "symbol": "pair",
    "order_qty": "volume",
    "time_in_force": "timeinforce",
    "expire_time": "expiretm",
    "order_userref": "userref",
    "stp_type": "stptype",
    "display_qty": "displayvol",
    "effective_time": "starttm",
}
_STP = {"cancel_newest": "cancel-newest", "cancel_oldest": "cancel-oldest", "cancel_both": "cancel-both"}


def word(value: Any) -> str:
    """A JSON value as a form would carry it; digits stay digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "" if value is None else str(value)


def asked_words(method: str, params: dict[str, Any]) -> dict[str, str]:
    """The request's parameters as REST would have sent them. Lists, which only cancels have, give their first item."""
    plain = {name: value[0] if isinstance(value, list) and value else value for name, value in params.items()}
    if method in ("add_order", "batch_add"):
        return _order_words(plain)
    if method == "edit_order":
        return _order_words(plain) | {"txid": word(plain.get("order_id"))}
    words = {name: word(value) for name, value in plain.items() if not isinstance(value, dict)}
    words["txid"] = words.pop("order_id", "")
    return words


def batch_words(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The orders a batch is made of, each in the words of REST."""
    orders = params.get("orders")
    if not isinstance(orders, list):
        orders = []
    if method == "batch_add":
        return {"orders": [_order_words(each) for each in orders if isinstance(each, dict)]}
    if method == "batch_cancel":
        clients = params.get("cl_ord_id")
        return {
            "orders": [word(each) for each in orders],
            "cl_ord_ids": [word(each) for each in clients] if isinstance(clients, list) else [],
        }
    return {}


def _order_words(params: dict[str, Any]) -> dict[str, str]:
    words = {_NAMES.get(name, name): word(value) for name, value in params.items() if not isinstance(value, dict)}
    limit, flags = words.pop("limit_price", ""), []
    triggers = params.get("triggers")
    if isinstance(triggers, dict):
        static = triggers.get("price_type", "static") == "static"
        words["price"] = word(triggers.get("price")) if static else f"{word(triggers.get('price'))}%"
        words["price2"] = limit
    elif limit:
        words["price"] = limit
    if words.pop("post_only", "") == "true":
        flags.append("post")
    if cash := words.pop("cash_order_qty", ""):
        words["volume"] = cash
        flags.append("viqc")
    if flags:
        words["oflags"] = ",".join(flags)
    if isinstance(params.get("conditional"), dict):
        words["close"] = "asked for"
    if words.pop("margin", "") == "true":
        words["leverage"] = "2"
    if "stptype" in words:
        words["stptype"] = _STP.get(words["stptype"], words["stptype"])
    words.pop("order_id", None)
    return words
