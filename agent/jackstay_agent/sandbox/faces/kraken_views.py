"""Engine nouns as Kraken's JSON: plain functions from a noun to a dict. Amounts are strings, times seconds."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from ..engine.exchange import Market
from ..engine.model import ZERO, Fill, Order, OrderRequest
from .kraken_names import Asset, Pair, order_txid, trade_txid
from .kraken_params import Tag, has_client_id, tag_of

KINDS = {
    "MARKET": "market",
    "LIMIT": "limit",
    "LIMIT_MAKER": "limit",
    "STOP_LOSS": "stop-loss",
    "STOP_LOSS_LIMIT": "stop-loss-limit",
    "TAKE_PROFIT": "take-profit",
    "TAKE_PROFIT_LIMIT": "take-profit-limit",
}


def asset_json(asset: Asset) -> dict[str, Any]:
    return {"aclass": "currency", "altname": asset.alt, "decimals": asset.decimals,
            "display_decimals": asset.display_decimals, "status": "enabled"}  # fmt: skip


def pair_json(pair: Pair, fee_rate: Decimal, status: str = "online") -> dict[str, Any]:
    percent = float(fee_rate * 100)
    return {
        "altname": pair.altname, "wsname": pair.wsname, "aclass_base": "currency", "base": pair.base.id,
        "aclass_quote": "currency", "quote": pair.quote.id, "lot": "unit", "cost_decimals": pair.cost_decimals,
        "pair_decimals": pair.price_decimals, "lot_decimals": pair.lot_decimals, "lot_multiplier": 1,
        "leverage_buy": [], "leverage_sell": [], "fees": [[0, percent]], "fees_maker": [[0, percent]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
        "ordermin": f"{pair.symbol.quantity_min.normalize():f}", "costmin": f"{pair.symbol.notional_min:f}",
        "tick_size": f"{pair.symbol.tick:f}", "status": status,
    }  # fmt: skip


def order_words(pair: Pair, request: OrderRequest | Order) -> str:
    """`buy 0.01000000 XBTUSD @ limit 40000.0`, as Kraken describes an order."""
    kind = KINDS[request.type]
    quantity = request.quantity or request.quote_quantity
    words = f"{request.side.lower()} {pair.volume(quantity)} {pair.altname} @ {kind.removesuffix('-limit')}"
    words = words.replace("-", " ")
    if request.stop_price:
        words += f" {pair.price(request.stop_price)}"
        return f"{words} -> limit {pair.price(request.price)}" if request.price else words
    return f"{words} {pair.price(request.price)}" if request.price else words


def status_of(order: Order, tag: Tag) -> str:
    if order.is_open:
        return "open"
    if order.status == "FILLED":
        return "closed"
    return "expired" if tag.expires_at and order.status == "EXPIRED" else "canceled"


def average(order: Order) -> Decimal:
    return order.cost / order.filled if order.filled else ZERO


def order_json(pair: Pair, order: Order, fills: Iterable[Fill], *, trades: bool = False) -> dict[str, Any]:
    tag, mine = tag_of(order), list(fills)
    limit = order.price if order.stop_price and order.price else ZERO
    told: dict[str, Any] = {"refid": None, "userref": tag.userref}
    if has_client_id(order):
        told["cl_ord_id"] = order.client_id
    told |= {
        "status": status_of(order, tag),
        "opentm": order.created_at / 1000,
        "starttm": 0,
        "expiretm": tag.expires_at / 1000 if tag.expires_at else 0,
        "descr": {
            "pair": pair.altname,
            "type": order.side.lower(),
            "ordertype": KINDS[order.type],
            "price": pair.price(order.stop_price or order.price) if order.stop_price or order.price else "0",
            "price2": pair.price(limit) if limit else "0",
            "leverage": "none",
            "order": order_words(pair, order),
            "close": "",
        },
        "vol": pair.volume(order.quantity),
        "vol_exec": pair.volume(order.filled),
        "cost": pair.cost(order.cost),
        "fee": pair.cost(sum((fill.fee for fill in mine), ZERO)),
        "price": pair.cost(average(order)),
        "stopprice": pair.cost(order.stop_price if order.working else ZERO),
        "limitprice": pair.cost(limit),
        "misc": "",
        "oflags": tag.flags,
    }
    if order.stop_price:
        told["trigger"] = "last"
    if not order.is_open:
        told["reason"] = tag.reason or None
        told["closetm"] = order.updated_at / 1000
    if trades and mine:
        told["trades"] = [trade_txid(fill.trade_id) for fill in mine]
    return told


def fill_json(pair: Pair, fill: Fill, order: Order | None) -> dict[str, Any]:
    return {
        "ordertxid": order_txid(fill.order_id),
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": pair.id,
        "time": fill.at / 1000,
        "type": fill.side.lower(),
        "ordertype": KINDS[order.type] if order else "limit",
        "price": pair.cost(fill.price),
        "cost": pair.cost(fill.price * fill.quantity),
        "fee": pair.cost(fill.fee),
        "vol": pair.volume(fill.quantity),
        "margin": pair.cost(ZERO),
        "leverage": "0",
        "misc": "",
        "trade_id": fill.trade_id,
        "maker": fill.is_maker,
    }


def levels_json(pair: Pair, levels: list[tuple[Decimal, Decimal]], at_s: int) -> list[list[Any]]:
    return [[f"{pair.price(price)}", f"{pair.volume(quantity)}", at_s] for price, quantity in levels]


def book_json(pair: Pair, market: Market, count: int, at_s: int) -> dict[str, Any]:
    return {
        "asks": levels_json(pair, market.book.asks.depth(count), at_s),
        "bids": levels_json(pair, market.book.bids.depth(count), at_s),
    }
