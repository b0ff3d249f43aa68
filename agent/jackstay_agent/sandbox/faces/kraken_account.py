"""What a Kraken account may ask about itself: balances, open and closed orders, trades (docs.kraken.com, "Account
Data")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from ..answers import Call
from ..engine.model import Fill, Order, Reject
from ..venue import Venue
from . import kraken_views as views
from .kraken_errors import Refusal, invalid
from .kraken_names import ASSETS, PAIRS, order_number, order_txid, pair_of, trade_number, trade_txid
from .kraken_params import client_id_of, is_true, params_of, tag_of, userref_of

PAGE = 50
QUERY_MAX = 50
Row = TypeVar("Row", Order, Fill)


#: What a key may do, by the sandbox's word for it.
PERMISSIONS = {
    "read": ["query-funds", "query-open-orders-trades", "query-closed-orders-trades"],
    "cancel": ["cancel-close-orders"],
    "trade": ["create-modify-orders"],
    "withdraw": ["withdraw-funds"],
}


def key_info(venue: Venue, call: Call) -> dict[str, Any]:
    """ "Get API Key Info", of the fields that a client of permissions reads; the page asks for no permission."""
    key = venue.keys.get(call.key)
    granted = key.permissions if key else frozenset[str]()
    told = [word for name, words in PERMISSIONS.items() if name in granted for word in words]
    return {"api_key": call.key, "permissions": told}


def balance(venue: Venue, call: Call) -> dict[str, Any]:
    return {ASSETS[name].id: _money(name, held.total) for name, held in _held(venue, call)}


def balance_ex(venue: Venue, call: Call) -> dict[str, Any]:
    return {
        ASSETS[name].id: {"balance": _money(name, held.total), "hold_trade": _money(name, held.locked)}
        for name, held in _held(venue, call)
    }


def _held(venue: Venue, call: Call) -> list[tuple[str, Any]]:
    return sorted(venue.exchange.wallets.assets(call.account).items())


def _money(name: str, amount: Decimal) -> str:
    return f"{amount:.{ASSETS[name].decimals}f}"


def trade_balance(venue: Venue, call: Call) -> dict[str, Any]:
    dollars = venue.exchange.wallets.of(call.account, "USD")
    total = f"{dollars.total:.4f}"
    return {"eb": total, "tb": total, "m": "0.0000", "n": "0.0000", "c": "0.0000", "v": "0.0000", "e": total,
            "mf": f"{dollars.free:.4f}"}  # fmt: skip


def trade_volume(venue: Venue, call: Call) -> dict[str, Any]:
    wanted = str(params_of(call).get("pair") or "")
    pairs = [pair_of(name) for name in wanted.split(",")] if wanted else []
    percent = f"{venue.exchange.settlement.fee_rate * 100:.4f}"
    fee = {"fee": percent, "minfee": percent, "maxfee": percent, "nextfee": None, "nextvolume": None, "tiervolume": "0"}
    told: dict[str, Any] = {"currency": "ZUSD", "volume": "0.0000"}
    if pairs:
        told |= {"fees": {pair.id: fee for pair in pairs}, "fees_maker": {pair.id: fee for pair in pairs}}
    return told


def open_positions(venue: Venue, call: Call) -> dict[str, Any]:
    return {}


# orders ------------------------------------------------------------------------------------------------------------


def open_orders(venue: Venue, call: Call) -> dict[str, Any]:
    orders = venue.exchange.orders.open_of(call.account)
    return {"open": _told(venue, call, _named(call, list(reversed(orders))))}


def closed_orders(venue: Venue, call: Call) -> dict[str, Any]:
    params = params_of(call)
    by_close = str(params.get("closetime") or "both") != "open"
    orders = [
        order
        for order in venue.exchange.orders.all_of(call.account)
        if not order.is_open
    ]  # fmt: skip
    orders.sort(key=lambda order: (order.updated_at if by_close else order.created_at, order.id), reverse=True)
    found = _between(params, _named(call, orders), lambda o: o.updated_at if by_close else o.created_at, order_number)
    told: dict[str, Any] = {"closed": _told(venue, call, _page(params, found))}
    if not is_true(params, "without_count"):
        told["count"] = len(found)
    return told


def query_orders(venue: Venue, call: Call) -> dict[str, Any]:
    """The orders of these txids, open or closed; the venue is silent about ids it does not know."""
    names = str(params_of(call).get("txid") or "").split(",")
    if names == [""]:
        raise invalid("txid")
    if len(names) > QUERY_MAX:
        raise invalid("txid")
    found = []
    for name in names:
        number = order_number(name.strip())
        if number is None:
            raise Refusal("EOrder:Invalid order")
        order = venue.exchange.orders.get(number)
        if order is not None and order.account == call.account:
            found.append(order)
    if len(found) == 1:
        call.order_id = order_txid(found[0].id)
    return _told(venue, call, _named(call, found, by_client_id=False))


def _named(call: Call, orders: list[Order], *, by_client_id: bool = True) -> list[Order]:
    """Those of the userref or cl_ord_id that was asked for; all when none was."""
    params = params_of(call)
    userref, client_id = userref_of(params), client_id_of(params) if by_client_id else ""
    return [
        order
        for order in orders
        if (userref is None or tag_of(order).userref == userref) and (not client_id or order.client_id == client_id)
    ]


def _told(venue: Venue, call: Call, orders: list[Order]) -> dict[str, Any]:
    with_trades = is_true(params_of(call), "trades")
    fills = _fills_by_order(venue, call.account) if any(order.filled for order in orders) else {}
    return {
        order_txid(order.id): views.order_json(PAIRS[order.symbol], order, fills.get(order.id, ()), trades=with_trades)
        for order in orders
    }


def _fills_by_order(venue: Venue, account: str) -> dict[int, list[Fill]]:
    found: dict[int, list[Fill]] = defaultdict(list)
    for fill in venue.exchange.orders.fills_of(account):
        found[fill.order_id].append(fill)
    return found


# trades ------------------------------------------------------------------------------------------------------------


def trades_history(venue: Venue, call: Call) -> dict[str, Any]:
    params = params_of(call)
    fills = list(reversed(venue.exchange.orders.fills_of(call.account)))
    found = _between(params, fills, lambda fill: fill.at, trade_number)
    told: dict[str, Any] = {"trades": _trades(venue, _page(params, found))}
    if not is_true(params, "without_count"):
        told["count"] = len(found)
    return told


def query_trades(venue: Venue, call: Call) -> dict[str, Any]:
    names = str(params_of(call).get("txid") or "").split(",")
    wanted = {trade_number(name.strip()) for name in names}
    if None in wanted:
        raise Refusal("EGeneral:Invalid arguments")
    found = [fill for fill in venue.exchange.orders.fills_of(call.account) if fill.trade_id in wanted]
    if not found:
        raise Reject("unknown_order")
    return _trades(venue, found)


def _trades(venue: Venue, fills: list[Fill]) -> dict[str, Any]:
    return {
        trade_txid(fill.trade_id): views.fill_json(
            PAIRS[fill.symbol], fill, venue.exchange.orders.get(fill.order_id)
        )
        for fill in fills
    }  # fmt: skip


# pages -------------------------------------------------------------------------------------------------------------


def _page(params: dict[str, Any], rows: list[Row]) -> list[Row]:
    text = str(params.get("ofs") or "0")
    if not text.isascii() or not text.isdigit():
        raise invalid("ofs")
    return rows[int(text) : int(text) + PAGE]


def _between(
    params: dict[str, Any],
    rows: list[Row],
    at_ms: Callable[[Row], int],
    number_of: Callable[[str], int | None],
) -> list[Row]:
    """Rows after `start` (which is not among them) up to `end` (which is): Unix seconds or an id of the list."""
    start, end = (_bound(params, name, rows, at_ms, number_of) for name in ("start", "end"))
    return [
        row
        for row in rows
        if (start is None or _key(row, at_ms) > start) and (end is None or _key(row, at_ms) <= end)
    ]  # fmt: skip


def _key(row: Order | Fill, at_ms: Callable[[Any], int]) -> tuple[int, int]:
    return at_ms(row), row.id if isinstance(row, Order) else row.trade_id


def _bound(
    params: dict[str, Any],
    name: str,
    rows: list[Row],
    at_ms: Callable[[Row], int],
    number_of: Callable[[str], int | None],
) -> tuple[int, int] | None:
    text = str(params.get(name) or "")
    if not text:
        return None
    number = number_of(text)
    if number is not None:
        there = next((row for row in rows if _key(row, at_ms)[1] == number), None)
        if there is None:
            raise invalid(name)
        return _key(there, at_ms)
    try:
        return int(Decimal(text) * 1000), 2**63
    except (ArithmeticError, ValueError):
        raise invalid(name) from None
