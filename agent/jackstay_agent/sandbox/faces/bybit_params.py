"""A Bybit order, checked field by field the way Bybit does, into the engine's words."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ..answers import Call
from ..engine.model import ZERO, OrderRequest
from .bybit_errors import Refusal, wrong
from .instruments import Instrument

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
CATEGORIES = ("spot", "linear", "inverse", "option")
SIDES = {"Buy": "BUY", "Sell": "SELL"}
SMP = {"CancelMaker": "EXPIRE_MAKER", "CancelTaker": "EXPIRE_TAKER", "CancelBoth": "EXPIRE_BOTH"}
# positionIdx in hedge mode -> the engine's side of the position
POSITIONS = {"1": "LONG", "2": "SHORT"}
# what would silently not happen here is refused instead
ATTACHED = ("takeProfit", "stopLoss", "tpLimitPrice", "slLimitPrice")


def number(params: dict[str, str], name: str, *, needed: bool = False) -> Decimal:
    """A decimal parameter; zero when absent, empty or zero. 10001 when it is needed or no number."""
    text = params.get(name, "")
    if not text or not _NUMBER.fullmatch(text) or (needed and not Decimal(text)):
        if needed or text:
            raise wrong(name)
        return ZERO
    return Decimal(text)


def order_request(each: Instrument, item: Call) -> OrderRequest:
    """The order to place, conditional if it has a trigger price. Refusal for the first thing that is wrong."""
    params = item.params
    side = SIDES.get(params.get("side", ""))
    if side is None:
        raise Refusal(10001, "Side invalid")
    kind = params.get("orderType", "")
    if kind not in ("Limit", "Market"):
        raise Refusal(10001, "OrderType invalid")
    if any(params.get(name) not in (None, "", "0") for name in ATTACHED):
        raise Refusal(10001, "The sandbox has no attached take profits and stop losses: place a conditional order.")
    name = params.get("orderLinkId", "")
    if name and not _CLIENT_ID.fullmatch(name):
        raise wrong("orderLinkId")
    price = number(params, "price", needed=True) if kind == "Limit" else ZERO
    stop = number(params, "triggerPrice")
    tif = params.get("timeInForce") or "GTC"
    if tif not in ("GTC", "IOC", "FOK", "PostOnly"):
        raise wrong("timeInForce")
    size = number(params, "qty", needed=True)
    by_quote = each.is_spot and kind == "Market" and not stop and _is_by_quote(params)
    return OrderRequest(
        account=item.account,
        owner=item.key,
        symbol=each.name,
        side=side,
        type=_engine_type(each, params, kind, side, stop),
        tif="GTC" if tif == "PostOnly" else tif,
        quantity=ZERO if by_quote else size,
        quote_quantity=size if by_quote else ZERO,
        price=price,
        stop_price=stop,
        client_id=name,
        stp=SMP.get(params.get("smpType", ""), "EXPIRE_MAKER"),
        **_position(each, item, side),
    )


def _is_by_quote(params: dict[str, str]) -> bool:
    """A spot market buy is counted in quote currency unless it says otherwise, a sell in base."""
    unit = params.get("marketUnit") or ("quoteCoin" if params["side"] == "Buy" else "baseCoin")
    return unit == "quoteCoin"


def _engine_type(each: Instrument, params: dict[str, str], kind: str, side: str, stop: Decimal) -> str:
    """Which way a conditional order waits is said (contracts) or seen from the last price (spot)."""
    if not stop:
        if kind == "Market":
            return "MARKET"
        return "LIMIT_MAKER" if params.get("timeInForce") == "PostOnly" else "LIMIT"
    direction = params.get("triggerDirection", "")
    if each.is_spot:
        rising = stop > each.market.last_price
    elif direction in ("1", "2"):
        rising = direction == "1"
    else:
        raise Refusal(10001, "TriggerDirection invalid")
    family = "STOP_LOSS" if rising == (side == "BUY") else "TAKE_PROFIT"
    return family if kind == "Market" else f"{family}_LIMIT"


def _position(each: Instrument, item: Call, side: str) -> dict[str, Any]:
    if each.is_spot:
        return {}
    index = item.params.get("positionIdx") or "0"
    if item.account in each.venue.futures.positions.hedged:
        if index not in POSITIONS:
            raise Refusal(10001, "position idx not match position mode")
        held = POSITIONS[index]
        return {"position_side": held, "reduce_only": (side, held) in (("SELL", "LONG"), ("BUY", "SHORT"))}
    if index != "0":
        raise Refusal(10001, "position idx not match position mode")
    closing = "true" in (item.params.get("reduceOnly"), item.params.get("closeOnTrigger"))
    return {"position_side": "BOTH", "reduce_only": closing}
