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

    A cached balance is reported when it is one account's: several (spot and futures, say) hold the same asset twice.
    ``sequence`` rises with each report of a component, so that one that was overtaken is not taken. Returns the
    agent's answers by component (awaitables of an `AsyncClient`). Raises ValidationError where there is nothing.
    """
    views: dict[str, dict[str, Any]] = {}
    orders, complete = (orders, True) if orders is not None else (_cached(exchange, "orders"), False)
    if orders is not None:
        views["orders"] = orders_view(exchange, orders, complete=complete)
    balance = balance if balance is not None else _cached_balance(exchange)
    if balance:
        views["balances"] = balances_view(balance)
    positions = positions if positions is not None else _cached(exchange, "positions")
    if positions is not None:
        views["positions"] = positions_view(exchange, positions)
    if not views:
        raise ValidationError(
            f"{getattr(exchange, 'id', 'the exchange object')} has cached nothing that can be reported (a balance of"
            " several account types cannot) and nothing was given: give orders=, balance= or positions=",
            reason=Reason.BAD_REQUEST,
        )
    more = {"venue": venue} if sequence is None else {"venue": venue, "sequence": sequence}
    return {component: client.report_state(component, {**view, **more}) for component, view in views.items()}


def _cached(exchange: Any, name: str) -> list[Mapping[str, Any]] | None:
    """A ccxt.pro cache as one list: some venues keep one cache, some one for each account type, some items by id.

    Orders are a window that holds ended ones too, so they are never complete.
    """
    cached = getattr(exchange, name, None)
    if not cached:
        return None
    items: list[Mapping[str, Any]] = []
    for each in cached.values() if isinstance(cached, Mapping) else cached:
        if isinstance(each, Mapping):
            items.append(each)
        else:
            items.extend(each)
    return items or None


def _cached_balance(exchange: Any) -> Mapping[str, Any] | None:
    """By asset, as okx keeps it, or by account type first, as binance, bybit and kraken do."""
    cached = getattr(exchange, "balance", None)
    if not cached:
        return None
    types = [each for name, each in cached.items() if name not in FLAT and _is_account(each)]
    if not types:
        return cached  # type: ignore[no-any-return]
    return types[0] if len(types) == 1 else None


def _is_account(entry: object) -> bool:
    """An account's balance says its totals by asset; an asset's says one amount."""
    return isinstance(entry, Mapping) and (isinstance(entry.get("total"), Mapping) or "info" in entry)


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
