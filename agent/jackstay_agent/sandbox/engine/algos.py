"""Conditional orders of the futures venue: a family of their own, with their own ids, lists, cancels and events.

An algo order waits for the last price; when it fires it becomes an ordinary order with an id of the other family.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from .model import ZERO, Order, OrderRequest, Reject
from .triggers import WORKING_TYPE, reached

ALGOS_KEPT_MAX = 50_000


@dataclass(slots=True)
class Algo:
    """A waiting (NEW), fired (TRIGGERED, FINISHED), cancelled or rejected conditional order."""

    id: int
    client_id: str
    request: OrderRequest
    created_at: int
    updated_at: int
    status: str = "NEW"
    triggered_at: int = 0
    order_id: int = 0

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"


@dataclass(slots=True, frozen=True)
class AlgoChange:
    """An algo order's status changed."""

    algo: Algo
    status: str
    at: int


@dataclass(slots=True)
class AlgoTable:
    """All algo orders by id; the exchange fires them."""

    algos: dict[int, Algo] = field(default_factory=dict)
    next_id: int = 1
    changes: list[AlgoChange] = field(default_factory=list)
    # counts every change, so that who keeps a copy knows when it is old
    version: int = 0

    def place(self, request: OrderRequest, last_price: Decimal, now: int) -> Algo:
        """Reject("would_trigger") when the price is already there, ("duplicate_algo_id") for a client id in use."""
        if any(a.is_open and a.client_id == request.client_id and a.request.account == request.account
               for a in self.algos.values() if request.client_id):  # fmt: skip
            raise Reject("duplicate_algo_id")
        if reached(request.side, request.type, request.stop_price, last_price):
            raise Reject("would_trigger")
        algo = Algo(self.next_id, request.client_id or f"algo{self.next_id}", request, now, now)
        self.algos[algo.id] = algo
        self.next_id += 1
        if len(self.algos) > ALGOS_KEPT_MAX:
            del self.algos[next(iter(self.algos))]
        self.changed(algo, "NEW", now)
        return algo

    def find(self, account: str, algo_id: int | None, client_id: str | None) -> Algo:
        """Reject("unknown_order") when the account has none of that name."""
        if algo_id is not None:
            algo = self.algos.get(algo_id)
        else:
            algo = next((a for a in reversed(self.algos.values()) if a.client_id == client_id), None)
        if algo is None or algo.request.account != account:
            raise Reject("unknown_order")
        return algo

    def cancel(self, algo: Algo, now: int) -> None:
        if not algo.is_open:
            raise Reject("not_open", algo.status)
        self.changed(algo, "CANCELED", now)

    def of(self, account: str, symbol: str | None = None, *, only_open: bool = False) -> list[Algo]:
        return [
            algo
            for algo in self.algos.values()
            if algo.request.account == account
            and (symbol is None or algo.request.symbol == symbol)
            and (algo.is_open or not only_open)
        ]

    def due(self, symbol: str, last_price: Decimal) -> Algo | None:
        """The first algo order (by id) this price fires."""
        for algo in self.algos.values():
            asked = algo.request
            if not algo.is_open or asked.symbol != symbol:
                continue
            if reached(asked.side, asked.type, asked.stop_price, last_price):
                return algo
        return None

    def changed(self, algo: Algo, status: str, now: int) -> None:
        algo.status, algo.updated_at = status, now
        self.version += 1
        self.changes.append(AlgoChange(algo, status, now))


def fired_request(algo: Algo, closing: Decimal) -> OrderRequest:
    """The ordinary order a fired algo becomes; `closing` is the position's size, for closePosition."""
    asked = algo.request
    quantity = closing if asked.close_position else asked.quantity
    kind = WORKING_TYPE[asked.type]
    return replace(
        asked,
        type=kind,
        quantity=quantity,
        price=asked.price if kind == "LIMIT" else ZERO,
        stop_price=ZERO,
        reduce_only=asked.reduce_only or asked.close_position,
        client_id=algo.client_id,
    )


def order_of(algo: Algo, order: Order, now: int) -> None:
    algo.order_id, algo.triggered_at = order.id, now
