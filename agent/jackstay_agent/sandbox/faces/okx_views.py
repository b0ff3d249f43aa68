"""Engine nouns as OKX v5 JSON: plain functions from a noun to a dict. All amounts are strings, contracts in contracts.

Conditional orders are the algo family: while one waits only that family knows it; once triggered it is an ordinary
order too, with the same number and a name of OKX's choice.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..engine.model import ZERO, Fill, Order, Trade
from ..engine.positions import Position
from .instruments import Instrument

STATES = {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled", "REJECTED": "canceled"}
ORDER_TYPES = {"LIMIT_MAKER": "post_only", "MARKET": "market", "STOP_LOSS": "market", "TAKE_PROFIT": "market"}
STP = {"EXPIRE_MAKER": "cancel_maker", "EXPIRE_TAKER": "cancel_taker", "EXPIRE_BOTH": "cancel_both"}
POSITION_SIDES = {"BOTH": "net", "LONG": "long", "SHORT": "short"}


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def plain_or_empty(value: Decimal) -> str:
    return plain(value) if value else ""


def least_size(each: Instrument) -> Decimal:
    """OKX knows no least value of an order, only a least size; this one is worth more than the engine's."""
    return 100 * each.symbol.step if each.is_spot else each.size(each.symbol.quantity_min)


def instrument_json(each: Instrument) -> dict[str, Any]:
    """A row of public/instruments."""
    symbol = each.symbol
    spot = each.is_spot
    return {
        "instType": each.kind, "instId": each.id, "instIdCode": code_of(each),
        "instFamily": "" if spot else each.id[:-5],
        "uly": "" if spot else each.id[:-5], "category": "1", "alias": "",
        "baseCcy": symbol.base if spot else "",
        "quoteCcy": symbol.quote if spot else "", "settleCcy": "" if spot else symbol.quote,
        "ctVal": "" if spot else plain(each.contract), "ctMult": "" if spot else "1",
        "ctValCcy": "" if spot else symbol.base, "ctType": "" if spot else "linear", "optType": "", "stk": "",
        "listTime": "1600000000000", "expTime": "", "lever": "" if spot else "100", "tickSz": plain(symbol.tick),
        "lotSz": plain(each.size(symbol.step)), "minSz": plain(least_size(each)), "ruleType": "normal",
        "maxLmtSz": plain(each.size(symbol.quantity_max)), "maxMktSz": plain(each.size(symbol.market_quantity_max)),
        "maxLmtAmt": "20000000", "maxMktAmt": "1000000", "maxTwapSz": "", "maxIcebergSz": "", "maxTriggerSz": "",
        "maxStopSz": "", "state": "live" if each.takes_orders else "suspend",
    }  # fmt: skip


def code_of(each: Instrument) -> int:
    """OKX's numeric name of an instrument, which WebSocket orders may use instead of instId."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(each.id))


def levels(each: Instrument, rows: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    """[price, size, "0", orders]: how many orders make a level is not told here, so one."""
    return [[plain(price), plain(each.size(quantity)) if quantity else "0", "0", "1"] for price, quantity in rows]


def ticker_json(each: Instrument, now: int) -> dict[str, Any]:
    market = each.market
    day = each.venue.candles[each.name].day(now, market.last_price)
    bid, ask = market.book.bids.depth(1), market.book.asks.depth(1)
    last_size = market.trades[-1].quantity if market.trades else ZERO
    return {
        "instType": each.kind, "instId": each.id, "last": plain(market.last_price),
        "lastSz": plain(each.size(last_size)), "askPx": plain(ask[0][0]) if ask else "",
        "askSz": plain(each.size(ask[0][1])) if ask else "", "bidPx": plain(bid[0][0]) if bid else "",
        "bidSz": plain(each.size(bid[0][1])) if bid else "", "open24h": plain(day.open), "high24h": plain(day.high),
        "low24h": plain(day.low), "volCcy24h": plain(day.quote_volume if each.is_spot else day.volume),
        "vol24h": plain(each.size(day.volume)), "ts": str(now), "sodUtc0": plain(day.open), "sodUtc8": plain(day.open),
    }  # fmt: skip


def trade_json(each: Instrument, trade: Trade) -> dict[str, Any]:
    """A public trade; `side` is the taker's."""
    return {"instId": each.id, "tradeId": str(trade.id), "px": plain(trade.price),
            "sz": plain(each.size(trade.quantity)), "side": "sell" if trade.buyer_is_maker else "buy",
            "ts": str(trade.at), "count": "1", "source": "0"}  # fmt: skip


def order_type(order: Order) -> str:
    if order.type in ORDER_TYPES:
        return ORDER_TYPES[order.type]
    return {"IOC": "ioc", "FOK": "fok"}.get(order.tif, "limit")


def order_json(
    each: Instrument,
    order: Order,
    *,
    status: str = "",
    filled: Decimal | None = None,
    cost: Decimal | None = None,
    fees: Decimal = ZERO,
    fill: Fill | None = None,
) -> dict[str, Any]:
    """An order of the plain family, as it stands or (``status``, ``filled``, ``cost``) as an event found it."""
    filled, cost = order.filled if filled is None else filled, order.cost if cost is None else cost
    triggered, by_quote = bool(order.stop_price), bool(order.quote_quantity)
    symbol = each.symbol
    buys_base = order.side == "BUY" and each.is_spot
    return {
        "instType": each.kind, "instId": each.id, "tgtCcy": _target(each, order), "ccy": "",
        "ordId": each.shown_id(order.id), "clOrdId": "" if triggered else shown_name(order), "tag": shown_tag(order),
        "px": plain_or_empty(order.price), "sz": plain(order.quote_quantity if by_quote else each.size(order.quantity)),
        "pnl": "0", "ordType": order_type(order), "side": order.side.lower(),
        "posSide": POSITION_SIDES[order.position_side], "tdMode": "cash" if each.is_spot else "cross",
        "accFillSz": plain(each.size(filled)) if filled else "0", "avgPx": plain(cost / filled) if filled else "",
        "fillPx": plain(fill.price) if fill else "", "fillSz": plain(each.size(fill.quantity)) if fill else "0",
        "fillTime": str(fill.at) if fill else "", "tradeId": str(fill.trade_id) if fill else "",
        "fillFee": plain(-fill.fee) if fill and fill.fee else "0", "fillFeeCcy": fill.fee_asset if fill else "",
        "execType": ("M" if fill.is_maker else "T") if fill else "",
        "state": STATES.get(status or order.status, "canceled"),
        "lever": "" if each.is_spot else str(each.venue.futures.positions.leverage(order.account, each.name)),
        "fee": plain(-fees) if fees else "0", "feeCcy": symbol.base if buys_base else symbol.quote, "rebate": "0",
        "rebateCcy": symbol.quote if buys_base else symbol.base, "source": "", "category": "normal",
        "reduceOnly": "true" if order.reduce_only else "false", "cancelSource": "", "cancelSourceReason": "",
        "stpId": "", "stpMode": STP.get(order.stp, "cancel_maker"), "quickMgnType": "", "attachAlgoOrds": [],
        "algoId": each.shown_id(order.id) if triggered else "", "algoClOrdId": shown_name(order) if triggered else "",
        "tpTriggerPx": "", "tpOrdPx": "", "slTriggerPx": "", "slOrdPx": "", "isTpLimit": "false", "linkedAlgoOrd": {},
        "cTime": str(order.created_at), "uTime": str(order.updated_at),
    }  # fmt: skip


def _target(each: Instrument, order: Order) -> str:
    if not each.is_spot or not order.is_market:
        return ""
    return "quote_ccy" if order.quote_quantity else "base_ccy"


def shown_name(order: Order) -> str:
    """The engine gives every order a name; what the client did not give is empty on OKX."""
    return "" if order.client_id.startswith("auto") else order.client_id


def algo_json(each: Instrument, order: Order) -> dict[str, Any]:
    """The same order as the algo family knows it."""
    waiting = not order.working_at
    state = "live" if order.is_open and waiting else "canceled" if waiting else "effective"
    price = plain(order.price) if order.price else "-1"
    stop, kind = plain(order.stop_price), order_kind(order)
    loss = order.type.startswith("STOP_LOSS")
    return {
        "instType": each.kind, "instId": each.id, "algoId": each.shown_id(order.id), "algoClOrdId": shown_name(order),
        "ordId": "" if waiting else each.shown_id(order.id), "clOrdId": "", "ordType": kind, "side": order.side.lower(),
        "posSide": POSITION_SIDES[order.position_side], "sz": plain(each.size(order.quantity)), "ccy": "",
        "tag": shown_tag(order),
        "tdMode": "cash" if each.is_spot else "cross", "tgtCcy": "", "state": state, "lever": "",
        "triggerPx": stop if kind == "trigger" else "", "ordPx": price if kind == "trigger" else "",
        "triggerPxType": "last" if kind == "trigger" else "",
        "slTriggerPx": stop if kind != "trigger" and loss else "",
        "slOrdPx": price if kind != "trigger" and loss else "",
        "slTriggerPxType": "last" if kind != "trigger" and loss else "",
        "tpTriggerPx": stop if kind != "trigger" and not loss else "",
        "tpOrdPx": price if kind != "trigger" and not loss else "",
        "tpTriggerPxType": "last" if kind != "trigger" and not loss else "",
        "reduceOnly": "true" if order.reduce_only else "false", "actualSz": "", "actualPx": "", "actualSide": "",
        "triggerTime": str(order.working_at) if order.working_at else "", "failCode": "", "last": "",
        "amendPxOnTriggerType": "0",
        "cTime": str(order.created_at), "uTime": str(order.updated_at),
    }  # fmt: skip


def remembered(kind: str, tag: str) -> str:
    """What the engine keeps of an order for this face: which algo type it is (if any), and the client's tag."""
    return f"{kind}/{tag}"


def order_kind(order: Order) -> str:
    """`trigger` or `conditional`; a conditional order of another face looks like the first."""
    return order.tag.partition("/")[0] or "trigger"


def shown_tag(order: Order) -> str:
    return order.tag.partition("/")[2]


def fill_json(each: Instrument, fill: Fill, client_id: str) -> dict[str, Any]:
    return {
        "instType": each.kind, "instId": each.id, "tradeId": str(fill.trade_id), "ordId": each.shown_id(fill.order_id),
        "clOrdId": client_id, "billId": bill_id(each, fill), "subType": "", "tag": "", "fillPx": plain(fill.price),
        "fillSz": plain(each.size(fill.quantity)), "fillIdxPx": plain(fill.price), "fillPnl": "0", "fillPxVol": "",
        "fillPxUsd": "", "fillMarkVol": "", "fillFwdPx": "", "fillMarkPx": "", "side": fill.side.lower(),
        "posSide": "net", "execType": "M" if fill.is_maker else "T", "feeCcy": fill.fee_asset,
        "fee": plain(-fill.fee) if fill.fee else "0", "ts": str(fill.at), "fillTime": str(fill.at), "feeRate": "",
    }  # fmt: skip


def bill_id(each: Instrument, fill: Fill) -> str:
    """Each side of a trade has a bill of its own, in time's order over all instruments."""
    return f"{fill.at}{fill.trade_id * 2 + (fill.side == 'SELL'):08d}{'1' if each.is_spot else '2'}"


def position_json(each: Instrument, position: Position) -> dict[str, Any]:
    futures, price = each.venue.futures, each.market.last_price
    leverage = futures.positions.leverage(position.account, each.name)
    notional = abs(position.quantity) * price
    profit = position.profit(price)
    shown = each.size(position.quantity)
    return {
        "instType": each.kind, "instId": each.id, "mgnMode": "cross", "posId": f"{each.name}{position.side}",
        "posSide": POSITION_SIDES[position.side], "pos": plain(shown if position.side == "BOTH" else abs(shown)),
        "availPos": "", "avgPx": plain_or_empty(position.entry), "markPx": plain(price), "upl": plain(profit),
        "uplRatio": "0", "upllastPx": plain(profit), "lever": str(leverage), "liqPx": "",
        "imr": plain(notional / leverage),
        "margin": "", "mgnRatio": "", "mmr": plain(notional / 250), "liab": "", "liabCcy": "", "interest": "",
        "tradeId": "", "notionalUsd": plain(notional), "optVal": "", "adl": "1", "ccy": each.symbol.quote,
        "last": plain(price), "idxPx": plain(price), "usdPx": "1", "bePx": plain_or_empty(position.entry),
        "realizedPnl": "0", "pnl": "0", "fee": "0", "fundingFee": "0", "liqPenalty": "0", "closeOrderAlgo": [],
        "cTime": str(position.updated_at), "uTime": str(position.updated_at),
    }  # fmt: skip
