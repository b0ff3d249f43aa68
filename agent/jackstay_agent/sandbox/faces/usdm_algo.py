"""The algo family of Binance USDⓈ-M: conditional orders with their own ids, lists, cancels and events."""

from __future__ import annotations

from typing import Any

from ..answers import Call
from ..engine.algos import Algo, AlgoChange
from ..engine.model import Reject
from ..venue import Venue
from . import usdm_views as views
from .binance_auth import whole
from .binance_errors import Refusal
from .binance_params import symbol_of
from .binance_trade import count_order
from .usdm_params import algo_request


def place(venue: Venue, call: Call) -> dict[str, Any]:
    request = algo_request(venue.futures, call.params, call.account, call.key)
    count_order(venue, call)
    number = venue.futures.place_algo(request)
    call.executed, call.order_id = True, number
    return views.algo_json(venue.futures.algos.algos[number])


def _find(venue: Venue, call: Call) -> Algo:
    algo_id, client_id = whole(call.params, "algoId"), call.params.get("clientAlgoId")
    if algo_id is None and not client_id:
        raise Refusal(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    return venue.futures.algos.find(call.account, algo_id, client_id)


def query(venue: Venue, call: Call) -> dict[str, Any]:
    try:
        return views.algo_json(_find(venue, call))
    except Reject:
        raise Refusal(-2013, "Order does not exist.") from None


def cancel(venue: Venue, call: Call) -> dict[str, Any]:
    try:
        algo = _find(venue, call)
        venue.futures.algos.cancel(algo, call.now)
    except Reject:
        raise Refusal(-2011, "Unknown order sent.") from None
    call.executed, call.order_id = True, algo.id
    _note(call, algo)
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def _note(call: Call, algo: Algo) -> None:
    call.notes.append("protective")
    if algo.request.owner != call.key:
        call.notes.append("foreign")


def cancel_all(venue: Venue, call: Call) -> dict[str, Any]:
    for algo in venue.futures.algos.of(call.account, symbol_of(call.params), only_open=True):
        venue.futures.algos.cancel(algo, call.now)
        _note(call, algo)
    call.executed = True
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def open_algos(venue: Venue, call: Call) -> list[Any]:
    symbol = call.params.get("symbol") or None
    return [views.algo_json(algo) for algo in venue.futures.algos.of(call.account, symbol, only_open=True)]


def all_algos(venue: Venue, call: Call) -> list[Any]:
    return [views.algo_json(algo) for algo in venue.futures.algos.of(call.account, symbol_of(call.params))][-1000:]


def update_event(change: AlgoChange) -> dict[str, Any]:
    """ALGO_UPDATE of the user data stream."""
    algo, asked = change.algo, change.algo.request
    return {
        "e": "ALGO_UPDATE", "E": change.at, "T": change.at,
        "o": {"caid": algo.client_id, "aid": algo.id, "at": "CONDITIONAL", "o": asked.type, "s": asked.symbol,
              "S": asked.side, "ps": asked.position_side, "f": asked.tif, "q": views.plain_or_zero(asked.quantity),
              "X": change.status, "ai": str(algo.order_id) if algo.order_id else "",
              "tp": views.plain_or_zero(asked.stop_price), "p": views.plain_or_zero(asked.price), "V": asked.stp,
              "wt": "CONTRACT_PRICE", "pm": "NONE", "cp": asked.close_position, "pP": False, "R": asked.reduce_only,
              "tt": algo.triggered_at, "gtd": 0},
    }  # fmt: skip
