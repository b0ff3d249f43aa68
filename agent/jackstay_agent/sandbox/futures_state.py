"""What the futures market keeps beside orders and money when it has a state file: positions, leverage, modes, algo
orders, dead-man switches."""

from __future__ import annotations

from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

from .engine.algos import Algo
from .engine.futures import Countdown, FuturesExchange
from .engine.model import OrderRequest
from .engine.positions import Position
from .state import decimals, plain

ENDED_ALGOS_KEPT_MAX = 500
_DECIMALS = {each.name for each in fields(OrderRequest) if each.type == "Decimal"}


class FuturesNotes:
    """The notes of one engine as JSON, made anew only when something in them has changed."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._made: dict[str, Any] = {}

    def __call__(self, futures: FuturesExchange) -> dict[str, Any]:
        switches = {"|".join(name): [each.duration_ms, each.fires_at] for name, each in futures.countdowns.items()}
        of = (futures, futures.positions.version, futures.algos.version, tuple(switches.items()))
        if of != self._of:
            self._of, self._made = of, _notes(futures) | {"switches": switches}
        return self._made


def _notes(futures: FuturesExchange) -> dict[str, Any]:
    positions = futures.positions
    ended = [algo for algo in futures.algos.algos.values() if not algo.is_open][-ENDED_ALGOS_KEPT_MAX:]
    waiting = [algo for algo in futures.algos.algos.values() if algo.is_open]
    return {
        "positions": [
            [each.account, each.symbol, each.side, str(each.quantity), str(each.entry), each.updated_at]
            for each in positions.every()
        ],
        "leverage": [[*name, leverage] for name, leverage in positions.leverages()],
        "hedged": sorted(positions.hedged),
        "algos": [_algo_json(algo) for algo in sorted((*ended, *waiting), key=lambda each: each.id)],
        "next_algo_id": futures.algos.next_id,
    }


def _algo_json(algo: Algo) -> dict[str, Any]:
    return asdict(algo) | {"request": plain(algo.request)}


def restore(futures: FuturesExchange, noted: dict[str, Any]) -> None:
    """Bring a fresh engine, whose orders and money are there already, to what was noted."""
    positions = futures.positions
    for account, symbol, side, quantity, entry, updated_at in noted.get("positions", ()):
        positions.put(Position(account, symbol, side, Decimal(quantity), Decimal(entry), updated_at))
    for account, symbol, leverage in noted.get("leverage", ()):
        positions.set_leverage(account, symbol, leverage)
    positions.hedged |= set(noted.get("hedged", ()))
    positions.prices |= {name: market.last_price for name, market in futures.markets.items()}
    for order in futures.orders.all_of():
        if order.is_open:
            positions.hold(order.account, order.locked)
    for each in noted.get("algos", ()):
        asked = OrderRequest(**decimals(each["request"], _DECIMALS))
        futures.algos.algos[each["id"]] = Algo(**each | {"request": asked})
    futures.algos.next_id = noted.get("next_algo_id", futures.algos.next_id)
    for name, (duration_ms, fires_at) in noted.get("switches", {}).items():
        account, _, symbol = name.rpartition("|")
        futures.countdowns[account, symbol] = Countdown(duration_ms, fires_at)
