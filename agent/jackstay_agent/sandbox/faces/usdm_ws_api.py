"""The USDⓈ-M WebSocket API (`/ws-fapi/v1`): what it calls its requests; the rest is the spot API's. In the ledger and
for faults their names begin with `usdm/`."""

from __future__ import annotations

from . import binance_public as public
from . import usdm_algo as algo
from . import usdm_trade as trade
from .binance_route import Route

PREFIX = "usdm/"


METHODS: dict[str, Route] = {
    "ping": Route(public.ping),
    "time": Route(public.server_time),
    "depth": Route(trade.depth, 10),
    "ticker.price": Route(public.ticker_price, public.one_weight(1, 2)),
    "ticker.book": Route(public.book_ticker, public.one_weight(2, 5)),
    "order.place": Route(trade.place, 0, "trade"),
    "order.modify": Route(trade.amend, 1, "trade"),
    "order.cancel": Route(trade.cancel, 1, "cancel"),
    "order.status": Route(trade.query, 1, "read"),
    "algoOrder.place": Route(algo.place, 0, "trade"),
    "algoOrder.cancel": Route(algo.cancel, 1, "cancel"),
    "v2/account.balance": Route(trade.balance, 5, "read"),
    "account.balance": Route(trade.balance, 5, "read"),
    "v2/account.status": Route(trade.account_v2, 5, "read"),
    "account.status": Route(trade.account_v2, 5, "read"),
    "v2/account.position": Route(trade.position_risk, 5, "read"),
    "account.position": Route(trade.position_risk, 5, "read"),
}
