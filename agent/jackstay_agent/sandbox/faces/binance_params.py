"""A Binance spot order request, checked field by field the way Binance does, into the engine's `OrderRequest`."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from ..engine.model import STOP_TYPES, ZERO, OrderRequest
from .binance_errors import Refusal, mandatory

_NUMBER = re.compile(r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
_CLIENT_ID = re.compile(r"^[a-zA-Z0-9\-_.:/]{1,36}$")
_STP = frozenset({"NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"})
_TIFS = frozenset({"GTC", "IOC", "FOK"})
_NEEDS: dict[str, tuple[str, ...]] = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "MARKET": (),
    "LIMIT_MAKER": ("quantity", "price"),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
_UNWANTED: dict[str, tuple[str, ...]] = {
    "MARKET": ("price", "timeInForce", "stopPrice"),
    "LIMIT": ("stopPrice", "quoteOrderQty"),
    "LIMIT_MAKER": ("timeInForce", "stopPrice", "quoteOrderQty"),
    "STOP_LOSS": ("price", "quoteOrderQty"),
    "TAKE_PROFIT": ("price", "quoteOrderQty"),
}


def number(params: dict[str, str], name: str) -> Decimal:
    """A decimal parameter, zero when absent. -1100 for illegal characters, -1111 beyond eight decimals."""
    text = params.get(name)
    if not text:
        return ZERO
    value = _decimal(text)
    if isinstance(value, Decimal):
        return value
    if value == -1111:
        raise Refusal(-1111, f"Parameter '{name}' has too much precision.")
    raise Refusal(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'."
    )


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal | int:
    """The number, or Binance's code for what is wrong with it. Bots repeat prices and sizes: worth caching."""
    if not _NUMBER.match(text):
        return -1100
    _, _, decimals = text.partition(".")
    return -1111 if len(decimals.rstrip("0")) > 8 else Decimal(text)


def symbol_of(params: dict[str, str]) -> str:
    symbol = params.get("symbol", "")
    if not symbol:
        raise mandatory("symbol")
    if not symbol.isalnum() or symbol != symbol.upper():
        raise Refusal(-1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.")
    return symbol


def client_id_of(params: dict[str, str], name: str = "newClientOrderId") -> str:
    text = params.get(name, "")
    if text and not _CLIENT_ID.match(text):
        raise Refusal(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'."
        )
    return text


def order_request(params: dict[str, str], account: str, owner: str) -> OrderRequest:
    """The request to place. Refusal with Binance's code for the first thing that is wrong."""
    symbol, side, kind = symbol_of(params), params.get("side", ""), params.get("type", "")
    if not side:
        raise mandatory("side")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    if not kind:
        raise mandatory("type")
    if kind not in _NEEDS:
        raise Refusal(-1116, "Invalid orderType.")
    _check_fields(params, kind)
    tif = params.get("timeInForce") or "GTC"
    if tif not in _TIFS:
        raise Refusal(-1115, "Invalid timeInForce.")
    stp = params.get("selfTradePreventionMode") or "NONE"
    if stp not in _STP:
        raise Refusal(-1100, "Illegal characters found in parameter 'selfTradePreventionMode'.")
    return OrderRequest(
        account=account,
        symbol=symbol,
        side=side,
        type=kind,
        quantity=number(params, "quantity"),
        price=number(params, "price"),
        tif=tif,
        client_id=client_id_of(params),
        quote_quantity=number(params, "quoteOrderQty"),
        stop_price=number(params, "stopPrice") if kind in STOP_TYPES else ZERO,
        stp=stp,
        owner=owner,
    )


def _check_fields(params: dict[str, str], kind: str) -> None:
    for name in _NEEDS[kind]:
        if not params.get(name):
            raise mandatory(name)
    for name in _UNWANTED.get(kind, ()):
        if params.get(name):
            raise Refusal(-1106, f"Parameter '{name}' sent when not required.")
    if kind == "MARKET" and bool(params.get("quantity")) == bool(params.get("quoteOrderQty")):
        raise (
            mandatory("quantity")
            if not params.get("quantity")
            else Refusal(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        )
    if any(params.get(name) and number(params, name) == ZERO for name in ("quantity", "price", "stopPrice")):
        raise Refusal(-1013, "Invalid quantity." if number(params, "quantity") == ZERO else "Invalid price.")
