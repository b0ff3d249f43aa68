"""Queries that lag behind the engine: the order table (and the algo family) as a reader sees them from a moment ago.

Real venues answer queries from copies that trail their matching engine: a fresh order is "not found", a filled one
still open (freqtrade#3649 tells of 20 s). The views here have the methods faces ask with and change nothing.
"""

from __future__ import annotations

from dataclasses import replace

from .algos import AlgoTable
from .orders import OrderTable


class PastOrders(OrderTable):
    """`table` as of `at` (ms): what changed later is shown as it was, what came later is not there.

    `hidden_since`: orders that young or younger are not there either, while older ones are shown as they are now.
    """

    def __init__(self, table: OrderTable, at: int, hidden_since: int) -> None:
        super().__init__()
        self._by_id = {}
        earlier = table.before(at)
        for order in table.all_of():
            if order.created_at > min(at, hidden_since):
                continue
            was = earlier.get(order.id)
            shown = order
            if was is not None:
                shown = replace(
                    order, status=was.status, filled=was.filled, cost=was.cost, updated_at=was.at, price=was.price,
                    quantity=was.quantity, stop_price=was.stop_price, prevented=was.prevented, working=was.working,
                    working_at=was.working_at,
                )  # fmt: skip
            self._by_id[order.id] = shown
            self._by_client[order.account, order.symbol, order.client_id] = shown
            if shown.is_open:
                self._open.setdefault(order.account, {})[order.id] = shown
        for owner, fill in table.fills:
            if fill.at <= at and fill.order_id in self._by_id:
                self.fills.append((owner, fill))


class PastAlgos(AlgoTable):
    """The algo family as of `at`; an algo that changed later is shown as waiting, since that is what it was."""

    def __init__(self, table: AlgoTable, at: int, hidden_since: int) -> None:
        super().__init__(next_id=table.next_id)
        for number, algo in table.algos.items():
            if algo.created_at > min(at, hidden_since):
                continue
            later = algo.updated_at > at and algo.updated_at != algo.created_at
            self.algos[number] = replace(algo, status="NEW", order_id=0, triggered_at=0) if later else algo
