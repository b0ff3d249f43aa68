"""A ccxt-style bot's picture of its account, as `client.report_state` takes it.

ccxt's unified orders, balances and positions (of `fetch_open_orders`, `fetch_balance`, `fetch_positions`, of ccxt.pro's
caches, or of the bot's own lists) become reports: the venue's own symbol, amounts as text. ccxt keeps amounts as
floats; their shortest text is what the venue wrote, so nothing is computed from them here.

    from jackstay.adapters import ccxt_view
    ccxt_view.report(client, exchange, "binance", orders=open_orders)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from jackstay_protocols.errors import Reason, ValidationError

FLAT = frozenset({"info", "free", "used", "total", "debt", "timestamp", "datetime"})


def orders_view(exchange: Any, orders: Iterable[Mapping[str, Any]], *, complete: bool = True) -> dict[str, Any]:
    """Open orders in ccxt's shape. ``complete``: the bot knows of no other open orders."""
    found = []
    for each in orders:
        fields = {
            "client_order_id": each.get("clientOrderId"),
            "order_id": each.get("id"),
            "symbol": _symbol(exchange, each),
            "side": each.get("side"),
            "status": each.get("status") or "open",
            "quantity": _amount(each.get("amount")),
            "filled": _amount(each.get("filled")),
            "price": _amount(each.get("price")),
        }
        found.append({name: value for name, value in fields.items() if value is not None})
    return {"orders": found, "complete": complete}


def balances_view(balance: Mapping[str, Any]) -> dict[str, Any]:
    """A balance in ccxt's shape: by asset, with free, used and total."""
    found = {}
    for asset, each in balance.items():
        if asset in FLAT or not isinstance(each, Mapping) or each.get("total") is None:
            continue
        fields = {"total": _amount(each.get("total")), "free": _amount(each.get("free"))}
        found[asset] = {name: value for name, value in fields.items() if value is not None}
    return {"balances": found}


def positions_view(exchange: Any, positions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Positions in ccxt's shape: contracts above zero and a side; short is below zero here."""
    found = []
    for each in positions:
        contracts = _amount(each.get("contracts"))
        if contracts is None:
            continue
        amount = Decimal(contracts)
        found.append(
            {
                "symbol": _symbol(exchange, each),
                "quantity": str(-amount if each.get("side") == "short" and amount > 0 else amount),
                "part": str(each["side"]) if each.get("hedged") else "",
            }
        )
    return {"positions": found}


def report(
    client: Any,
    exchange: Any,
    venue: str,
    *,
    orders: Iterable[Mapping[str, Any]] | None = None,
    balance: Mapping[str, Any] | None = None,
    positions: Iterable[Mapping[str, Any]] | None = None,
    sequence: int | None = None,
) -> dict[str, Any]:
    """Report what is given, or what the exchange object has cached (ccxt.pro's orders, balance and positions).

    ``sequence`` rises with each report of a component, so that one that was overtaken is not taken. Returns the
    agent's answers by component (awaitables of an `AsyncClient`). Raises ValidationError where there is nothing.
    """
    views: dict[str, dict[str, Any]] = {}
    orders, complete = (orders, True) if orders is not None else (_cached_orders(exchange), False)
    if orders is not None:
        views["orders"] = orders_view(exchange, orders, complete=complete)
    balance = balance if balance is not None else getattr(exchange, "balance", None)
    if balance:
        views["balances"] = balances_view(balance)
    positions = positions if positions is not None else _cached_positions(exchange)
    if positions is not None:
        views["positions"] = positions_view(exchange, positions)
    if not views:
        raise ValidationError(
            f"{getattr(exchange, 'id', 'the exchange object')} has cached nothing and nothing was given: give orders=,"
            " balance= or positions=",
            reason=Reason.BAD_REQUEST,
        )
    more = {"venue": venue} if sequence is None else {"venue": venue, "sequence": sequence}
    return {component: client.report_state(component, {**view, **more}) for component, view in views.items()}


def _cached_orders(exchange: Any) -> list[Mapping[str, Any]] | None:
    """ccxt.pro's cache holds ended ones too; it is a window, so it is never complete."""
    cached = getattr(exchange, "orders", None)
    if not cached:
        return None
    return list(cached.values()) if isinstance(cached, Mapping) else list(cached)


def _cached_positions(exchange: Any) -> list[Mapping[str, Any]] | None:
    cached = getattr(exchange, "positions", None)
    if not cached:
        return None
    return list(cached.values()) if isinstance(cached, Mapping) else list(cached)


def _symbol(exchange: Any, item: Mapping[str, Any]) -> str:
    """The venue's own name of a market."""
    info = item.get("info")
    raw = info if isinstance(info, dict) else {}
    own = next((raw[name] for name in ("symbol", "instId") if raw.get(name)), None)
    if own is not None:
        return str(own)
    symbol = str(item.get("symbol") or "")
    markets = getattr(exchange, "markets", None) or {}
    return str(markets[symbol]["id"]) if symbol in markets else symbol.partition(":")[0].replace("/", "")


def _amount(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value)
