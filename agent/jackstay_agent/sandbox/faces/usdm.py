"""The Binance USDⓈ-M face: paths, weights and permissions; the rest of serving is the spot face's."""

from __future__ import annotations

from ..answers import Answer, Call
from ..engine.model import Reject
from ..venue import Venue
from . import binance_public as public
from . import usdm_algo as algo
from . import usdm_trade as trade
from .binance_errors import Refusal, from_reject
from .binance_route import Route
from .binance_serve import serve
from .binance_user import close, keep_or_renew, start

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(public.ping),
    ("GET", "/fapi/v1/time"): Route(public.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Route(trade.exchange_info),
    ("GET", "/fapi/v1/depth"): Route(trade.depth, 10),
    ("GET", "/fapi/v1/trades"): Route(public.trades, 5),
    ("GET", "/fapi/v1/aggTrades"): Route(public.aggregate_trades, 20),
    ("GET", "/fapi/v1/klines"): Route(public.klines, 5),
    ("GET", "/fapi/v1/premiumIndex"): Route(trade.premium_index),
    ("GET", "/fapi/v1/ticker/24hr"): Route(public.ticker_24h, public.one_weight(1, 40)),
    ("GET", "/fapi/v1/ticker/price"): Route(public.ticker_price, public.one_weight(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(public.book_ticker, public.one_weight(2, 5)),
    ("POST", "/fapi/v1/order"): Route(trade.place, 0, "trade"),
    ("PUT", "/fapi/v1/order"): Route(trade.amend, 1, "trade"),
    ("GET", "/fapi/v1/order"): Route(trade.query, 1, "read"),
    ("DELETE", "/fapi/v1/order"): Route(trade.cancel, 1, "cancel"),
    ("GET", "/fapi/v1/openOrder"): Route(trade.open_order, 1, "read"),
    ("GET", "/fapi/v1/openOrders"): Route(trade.open_orders, public.one_weight(1, 40), "read"),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(trade.cancel_all, 1, "cancel"),
    ("GET", "/fapi/v1/allOrders"): Route(trade.all_orders, 5, "read"),
    ("GET", "/fapi/v1/userTrades"): Route(trade.user_trades, 5, "read"),
    ("POST", "/fapi/v1/algoOrder"): Route(algo.place, 0, "trade"),
    ("GET", "/fapi/v1/algoOrder"): Route(algo.query, 1, "read"),
    ("DELETE", "/fapi/v1/algoOrder"): Route(algo.cancel, 1, "cancel"),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(algo.open_algos, public.one_weight(1, 40), "read"),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(algo.all_algos, 5, "read"),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(algo.cancel_all, 1, "cancel"),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(trade.countdown, 10, "cancel"),
    ("POST", "/fapi/v1/leverage"): Route(trade.leverage, 1, "trade"),
    ("GET", "/fapi/v1/leverageBracket"): Route(trade.leverage_bracket, 1, "read"),
    ("GET", "/fapi/v1/positionSide/dual"): Route(trade.position_mode, 30, "read"),
    ("POST", "/fapi/v1/positionSide/dual"): Route(trade.set_position_mode, 1, "trade"),
    ("GET", "/fapi/v2/balance"): Route(trade.balance, 5, "read"),
    ("GET", "/fapi/v3/balance"): Route(trade.balance, 5, "read"),
    ("GET", "/fapi/v2/account"): Route(trade.account_v2, 5, "read"),
    ("GET", "/fapi/v3/account"): Route(trade.account, 5, "read"),
    ("GET", "/fapi/v2/positionRisk"): Route(trade.position_risk, 5, "read"),
    ("GET", "/fapi/v3/positionRisk"): Route(trade.position_risk, 5, "read"),
    ("POST", "/fapi/v1/listenKey"): Route(lambda venue, call: start(venue.users, call), 1, "key"),
    ("PUT", "/fapi/v1/listenKey"): Route(lambda venue, call: keep_or_renew(venue.users, call), 1, "key"),
    ("DELETE", "/fapi/v1/listenKey"): Route(lambda venue, call: close(venue.users, call), 1, "key"),
}
CODES: dict[str, tuple[int, str]] = {
    "insufficient_margin": (-2019, "Margin is insufficient."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    "would_trigger": (-2021, "Order would immediately trigger."),
    "would_match": (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
    "duplicate_client_id": (-4116, "ClientOrderId is duplicated."),
    "market_closed": (-4140, "Invalid symbol status for opening position."),
    "cancel_only": (-4140, "Invalid symbol status for opening position."),
    "duplicate_algo_id": (-20132, "The client algo id is duplicated"),
}
FILTERS: dict[str, tuple[int, str]] = {
    "PRICE_FILTER": (-4014, "Price not increased by tick size."),
    "LOT_SIZE": (-1111, "Precision is over the maximum defined for this asset."),
    "MARKET_LOT_SIZE": (-4005, "Quantity greater than max quantity."),
    "NOTIONAL": (-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only)."),
    "PERCENT_PRICE_BY_SIDE": (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    "MAX_NUM_ORDERS": (-2025, "Reach max open order limit."),
}


def refusal_of(reject: Reject) -> Refusal:
    """USDⓈ-M has codes of its own for most refusals."""
    if reject.reason == "filter":
        return Refusal(*FILTERS[reject.detail])
    return Refusal(*CODES[reject.reason]) if reject.reason in CODES else from_reject(reject)


def answer(venue: Venue, call: Call) -> Answer:
    """Serve one request; never raises."""
    return serve(venue, call, ROUTES, refusal_of)
