"""An OKX order, amendment or algo order, checked field by field the way OKX does, into the engine's words."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ..answers import Call
from ..engine.model import ZERO, OrderRequest
from .instruments import Instrument
from .okx_errors import FILTERS, ItemRefusal, wrong
from .okx_views import least_size, remembered

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_TAG = re.compile(r"[A-Za-z0-9]{1,16}")
# ordType -> the engine's type and time in force
ORDER_TYPES: dict[str, tuple[str, str]] = {
    "limit": ("LIMIT", "GTC"),
    "market": ("MARKET", "GTC"),
    "post_only": ("LIMIT_MAKER", "GTC"),
    "ioc": ("LIMIT", "IOC"),
    "fok": ("LIMIT", "FOK"),
    "optimal_limit_ioc": ("MARKET", "GTC"),
}
STP = {"cancel_maker": "EXPIRE_MAKER", "cancel_taker": "EXPIRE_TAKER", "cancel_both": "EXPIRE_BOTH"}
SIDES = {"buy": "BUY", "sell": "SELL"}
POSITION_SIDES = {"long": "LONG", "short": "SHORT"}
UNAVAILABLE = ItemRefusal("50062", "This feature is currently unavailable.")


def number(params: dict[str, str], name: str, *, needed: bool = False) -> Decimal:
    """A positive decimal parameter, zero when absent. 50014 when it is needed, 51000 when it is no number."""
    text = params.get(name, "")
    if not text:
        if needed:
            raise ItemRefusal("50014", f"Parameter {name} can not be empty")
        return ZERO
    if not _NUMBER.fullmatch(text) or Decimal(text) == ZERO:
        raise wrong(name)
    return Decimal(text)


def client_id(params: dict[str, str], name: str) -> str:
    text = params.get(name, "")
    if text and not _CLIENT_ID.fullmatch(text):
        raise wrong(name)
    return text


def tag_of(params: dict[str, str]) -> str:
    """Letters and digits, up to 16."""
    text = params.get("tag", "")
    if text and not _TAG.fullmatch(text):
        raise wrong("tag")
    return text


def order_request(each: Instrument, item: Call) -> OrderRequest:
    """The plain order to place. ItemRefusal with OKX's code for the first thing that is wrong."""
    params = item.params
    if item.structures.get("attachAlgoOrds"):
        # an attached stop that never comes would be a lie: the sandbox says that it has none
        raise UNAVAILABLE
    kind = ORDER_TYPES.get(params.get("ordType", ""))
    if kind is None:
        raise wrong("ordType")
    price = number(params, "px", needed=kind[0] != "MARKET")
    by_quote = each.is_spot and kind[0] == "MARKET" and _is_by_quote(params)
    size = number(params, "sz", needed=True)
    if not by_quote and not each.quantity(size) % each.symbol.step and size < least_size(each):
        raise ItemRefusal(*FILTERS["NOTIONAL"])
    return OrderRequest(
        type=kind[0],
        tif=kind[1],
        quantity=ZERO if by_quote else each.quantity(size),
        quote_quantity=size if by_quote else ZERO,
        price=ZERO if kind[0] == "MARKET" else price,
        client_id=client_id(params, "clOrdId"),
        stp=STP.get(params.get("stpMode", ""), "EXPIRE_MAKER"),
        tag=remembered("", tag_of(params)),
        **_common(each, item),
    )


def _is_by_quote(params: dict[str, str]) -> bool:
    """A spot market buy is counted in quote currency unless it says otherwise, a sell in base."""
    target = params.get("tgtCcy") or ("quote_ccy" if params.get("side") == "buy" else "base_ccy")
    return target == "quote_ccy"


def _common(each: Instrument, item: Call) -> dict[str, Any]:
    params = item.params
    side = SIDES.get(params.get("side", ""))
    if side is None:
        raise wrong("side")
    if params.get("tdMode") not in (("cash", "cross", "isolated") if each.is_spot else ("cross", "isolated")):
        raise wrong("tdMode")
    position_side, reduce_only = "BOTH", params.get("reduceOnly") == "true" and not each.is_spot
    if not each.is_spot:
        asked = params.get("posSide") or "net"
        if item.account in each.venue.futures.positions.hedged:
            if asked not in POSITION_SIDES:
                raise wrong("posSide")
            position_side = POSITION_SIDES[asked]
            reduce_only = (side, position_side) in (("SELL", "LONG"), ("BUY", "SHORT"))
        elif asked != "net":
            raise wrong("posSide")
    return {"account": item.account, "owner": item.key, "symbol": each.name, "side": side,
            "position_side": position_side, "reduce_only": reduce_only}  # fmt: skip


def algo_request(each: Instrument, item: Call) -> OrderRequest:
    """A `trigger` order, or a `conditional` one with one stop loss or take profit. The rest OKX has is not here."""
    params, last = item.params, each.market.last_price
    kind, common = params.get("ordType", ""), _common(each, item)
    if item.structures.get("attachAlgoOrds") or kind in ("oco", "move_order_stop", "iceberg", "twap", "chase"):
        raise UNAVAILABLE
    if kind == "trigger":
        stop = number(params, "triggerPx", needed=True)
        price_text = params.get("orderPx") or params.get("ordPx", "")
        # it fires when the price comes there, from whichever side
        loss = (stop > last) == (common["side"] == "BUY")
    elif kind == "conditional":
        loss = bool(params.get("slTriggerPx"))
        if loss == bool(params.get("tpTriggerPx")):
            raise UNAVAILABLE if loss else wrong("slTriggerPx")
        name = "sl" if loss else "tp"
        stop, price_text = number(params, f"{name}TriggerPx", needed=True), params.get(f"{name}OrdPx", "")
        _check_side(common["side"], stop, last, loss=loss)
    else:
        raise wrong("ordType")
    if not price_text:
        raise wrong("ordPx")
    price = ZERO if price_text == "-1" else number({"ordPx": price_text}, "ordPx", needed=True)
    family = "STOP_LOSS" if loss else "TAKE_PROFIT"
    return OrderRequest(
        type=f"{family}_LIMIT" if price else family,
        quantity=each.quantity(number(params, "sz", needed=True)),
        price=price,
        stop_price=stop,
        client_id=client_id(params, "algoClOrdId"),
        tag=remembered(kind, tag_of(params)),
        **common,
    )


def _check_side(side: str, stop: Decimal, last: Decimal, *, loss: bool) -> None:
    """A stop loss lies on the losing side of the last price, a take profit on the winning one."""
    if side == "BUY":
        if loss and stop <= last:
            raise ItemRefusal("51278", "SL trigger price cannot be lower than the last price")
        if not loss and stop >= last:
            raise ItemRefusal("51277", "TP trigger price cannot be higher than the last price")
    elif loss and stop >= last:
        raise ItemRefusal("51280", "SL trigger price cannot be higher than the last price")
    elif not loss and stop <= last:
        raise ItemRefusal("51279", "TP trigger price cannot be lower than the last price")
