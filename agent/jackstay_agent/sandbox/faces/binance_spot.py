"""The Binance spot face: which path is served by what, at which weight, with which permission.

Weights are those of Binance's spot documentation (request weight per endpoint, 2025).
"""

from __future__ import annotations

from ..answers import Answer, Call
from ..venue import Venue
from . import binance_lists as lists
from . import binance_public as public
from . import binance_stubs as stubs
from . import binance_trade as trade
from .binance_errors import from_reject
from .binance_route import Route
from .binance_serve import serve
from .binance_user import close, keep, start

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/api/v3/ping"): Route(public.ping),
    ("GET", "/api/v3/time"): Route(public.server_time),
    ("GET", "/api/v3/exchangeInfo"): Route(public.exchange_info, 20),
    ("GET", "/api/v3/depth"): Route(public.depth, public.depth_weight),
    ("GET", "/api/v3/trades"): Route(public.trades, 25),
    ("GET", "/api/v3/historicalTrades"): Route(public.trades, 25),
    ("GET", "/api/v3/aggTrades"): Route(public.aggregate_trades, 4),
    ("GET", "/api/v3/klines"): Route(public.klines, 2),
    ("GET", "/api/v3/avgPrice"): Route(public.average_price, 2),
    ("GET", "/api/v3/ticker/24hr"): Route(public.ticker_24h, public.one_weight(2, 80)),
    ("GET", "/api/v3/ticker/price"): Route(public.ticker_price, public.one_weight(2, 4)),
    ("GET", "/api/v3/ticker/bookTicker"): Route(public.book_ticker, public.one_weight(2, 4)),
    ("GET", "/api/v3/account"): Route(trade.account, 20, "read"),
    ("POST", "/api/v3/order"): Route(trade.place, 1, "trade"),
    ("GET", "/api/v3/order"): Route(trade.query, 4, "read"),
    ("DELETE", "/api/v3/order"): Route(trade.cancel, 1, "cancel"),
    ("POST", "/api/v3/order/test"): Route(trade.place_test, 1, "trade"),
    ("POST", "/api/v3/order/cancelReplace"): Route(trade.cancel_replace, 1, "trade"),
    ("POST", "/api/v3/order/oco"): Route(lists.place_oco, 1, "trade"),
    ("POST", "/api/v3/orderList/oco"): Route(lists.place_oco_new, 1, "trade"),
    ("GET", "/api/v3/orderList"): Route(lists.query, 4, "read"),
    ("DELETE", "/api/v3/orderList"): Route(lists.cancel, 1, "cancel"),
    ("GET", "/api/v3/openOrderList"): Route(lists.open_lists, 6, "read"),
    ("GET", "/api/v3/allOrderList"): Route(lists.all_lists, 20, "read"),
    ("GET", "/api/v3/openOrders"): Route(trade.open_orders, public.one_weight(6, 80), "read"),
    ("DELETE", "/api/v3/openOrders"): Route(trade.cancel_all, 1, "cancel"),
    ("GET", "/api/v3/allOrders"): Route(trade.all_orders, 20, "read"),
    ("GET", "/api/v3/myTrades"): Route(trade.my_trades, 20, "read"),
    ("POST", "/api/v3/userDataStream"): Route(lambda venue, call: start(venue.users, call), 2, "key"),
    ("PUT", "/api/v3/userDataStream"): Route(lambda venue, call: keep(venue.users, call), 2, "key"),
    ("DELETE", "/api/v3/userDataStream"): Route(lambda venue, call: close(venue.users, call), 2, "key"),
    ("GET", "/sapi/v1/capital/config/getall"): Route(stubs.coins, 10, "read"),
    ("GET", "/sapi/v1/margin/allPairs"): Route(stubs.nothing, 1, "key"),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Route(stubs.nothing, 10, "key"),
    ("GET", "/sapi/v1/system/status"): Route(stubs.system_status),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(stubs.key_restrictions, 1, "read"),
    ("GET", "/dapi/v1/exchangeInfo"): Route(stubs.no_symbols),
    ("GET", "/eapi/v1/exchangeInfo"): Route(stubs.no_symbols),
}
PREFIXES = ("/api/", "/sapi/", "/dapi/", "/fapi/", "/eapi/")


def serves(path: str) -> bool:
    return path.startswith(PREFIXES)


def answer(venue: Venue, call: Call) -> Answer:
    """Serve one request; never raises."""
    return serve(venue, call, ROUTES, from_reject)
