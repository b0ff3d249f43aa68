"""Items of Kraken's executions channel: what just happened to an order, in as few fields as the venue spends on it.

Source: docs.kraken.com, "Executions". An order is told as `pending_new` with all it has, then as `new` with next to
nothing; a trade says `partially_filled` even when it is the last, and a `filled` of its own follows.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from ..engine.model import ZERO, Fill, Order, OrderChange
from .kraken_names import PAIRS, Pair, order_txid, trade_txid
from .kraken_params import has_client_id, tag_of
from .kraken_public import rfc3339
from .kraken_views import KINDS, status_of


def _number(text: str) -> Any:
    return orjson.Fragment(text.encode())


def items(change: OrderChange) -> list[dict[str, Any]]:
    """What the channel says of one change of an order, in order."""
    order = change.order
    if change.kind == "NEW":
        return [_whole(order, "pending_new", change.at), _named(order, "new", "new", change.at)]
    if change.kind == "TRADE" and change.fill is not None:
        told = [trade_json(order, change.fill)]
        if change.status == "FILLED":
            told.append(_named(order, "filled", "filled", change.at) | _sums(order, change.filled, change.cost))
        return told
    if change.kind == "TRIGGERED":
        return [_named(order, "status", "new", change.at) | _triggers(PAIRS[order.symbol], order)]
    if change.kind == "AMENDMENT":
        pair = PAIRS[order.symbol]
        changed = {"order_qty": _number(pair.volume(order.quantity)), "limit_price": _number(pair.price(order.price)),
                   "amended": True, "reason": "User requested"}  # fmt: skip
        status = "partially_filled" if change.filled else "new"
        return [_named(order, "amended", status, change.at) | changed]
    word = "expired" if status_of(order, tag_of(order)) == "expired" else "canceled"
    told_end = _named(order, word, word, change.at) | _sums(order, change.filled, change.cost)
    if reason := tag_of(order).reason:
        told_end |= {"cancel_reason": reason, "reason": reason}
    return [told_end]


def open_json(order: Order) -> dict[str, Any]:
    """An open order in a snapshot."""
    told = _whole(order, "new", order.updated_at) | _sums(order, order.filled, order.cost)
    return told | {"order_status": "partially_filled" if order.filled else "new"}


def trade_json(order: Order, fill: Fill) -> dict[str, Any]:
    pair = PAIRS[order.symbol]
    return _named(order, "trade", "partially_filled", fill.at) | {
        "exec_id": trade_txid(fill.trade_id),
        "trade_id": fill.trade_id,
        "symbol": pair.name,
        "side": order.side.lower(),
        "order_type": KINDS[order.type],
        "last_qty": _number(pair.volume(fill.quantity)),
        "last_price": _number(pair.price(fill.price)),
        "liquidity_ind": "m" if fill.is_maker else "t",
        "cost": _number(pair.cost(fill.price * fill.quantity)),
        "fee_usd_equiv": _number(f"{fill.fee:.8f}"),
        "fees": [{"asset": fill.fee_asset, "qty": _number(f"{fill.fee:.8f}")}],
    }


def _named(order: Order, exec_type: str, status: str, at: int) -> dict[str, Any]:
    told: dict[str, Any] = {"order_id": order_txid(order.id)}
    if has_client_id(order):
        told["cl_ord_id"] = order.client_id
    return told | {
        "order_userref": tag_of(order).userref or 0, "exec_type": exec_type, "order_status": status,
        "timestamp": rfc3339(at),
    }  # fmt: skip


def _sums(order: Order, filled: Decimal, cost: Decimal) -> dict[str, Any]:
    pair = PAIRS[order.symbol]
    return {
        "cum_qty": _number(pair.volume(filled)), "cum_cost": _number(pair.cost(cost)),
        "avg_price": _number(pair.price(cost / filled if filled else ZERO)),
    }  # fmt: skip


def _whole(order: Order, exec_type: str, at: int) -> dict[str, Any]:
    pair, tag = PAIRS[order.symbol], tag_of(order)
    told = _named(order, exec_type, exec_type, at) | {
        "symbol": pair.name, "side": order.side.lower(), "order_type": KINDS[order.type],
        "order_qty": _number(pair.volume(order.quantity)), "cum_qty": 0, "cum_cost": 0,
        "time_in_force": "GTD" if tag.expires_at else order.tif, "fee_usd_equiv": 0, "fee_ccy_pref": "fciq",
    }  # fmt: skip
    if order.price:
        told |= {"limit_price": _number(pair.price(order.price)), "limit_price_type": "static"}
    if order.type == "LIMIT_MAKER":
        told["post_only"] = True
    if tag.expires_at:
        told["expire_time"] = rfc3339(tag.expires_at)
    return told | _triggers(pair, order)


def _triggers(pair: Pair, order: Order) -> dict[str, Any]:
    if not order.stop_price:
        return {}
    price = _number(pair.price(order.stop_price))
    status = "triggered" if order.working else "untriggered"
    return {"stop_price": price, "triggers": {"reference": "last", "price": price, "price_type": "static",
                                              "status": status}}  # fmt: skip
