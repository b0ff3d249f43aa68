"""Faults inside the venue: the request reaches the engine, and the engine is not quite itself while it is served.

A query may look at the orders of a moment ago (`lag`) or not see young ones (`hidden`); a placement may be refused
(`reject`) or find the book thin and be filled in part (`partial_fill`). Any face, over HTTP or a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from .engine.exchange import Exchange
from .engine.futures import FuturesExchange
from .engine.model import MARKET_ACCOUNT
from .engine.past import PastAlgos, PastOrders
from .faults import Fault

BENDING_KINDS = frozenset({"lag", "hidden", "reject", "partial_fill"})
LOOKING = frozenset({"query", "public"})
FOR_EVER = 2**62


@dataclass(slots=True, frozen=True)
class Bend:
    """The fault that bends the engine for one request, which is of this lane and served now (ms)."""

    fault: Fault
    lane: str
    now: int


@contextmanager
def bent(exchanges: list[Exchange], bend: Bend | None) -> Iterator[None]:
    """The engines as the fault wants them, for as long as it takes to serve the request."""
    if bend is None:
        yield
    elif bend.fault.kind in ("lag", "hidden"):
        if bend.lane not in LOOKING:
            yield  # only looking back is possible, not trading there
            return
        with _looking_back(exchanges, bend):
            yield
    elif bend.fault.kind == "reject":
        with _refusing(exchanges, str(bend.fault.params["reason"])):
            yield
    else:
        with _thin(exchanges, Decimal(str(bend.fault.params["fraction"]))):
            yield


@contextmanager
def _looking_back(exchanges: list[Exchange], bend: Bend) -> Iterator[None]:
    since = bend.now - int(bend.fault.params["ms"])
    at, hidden_since = (since, FOR_EVER) if bend.fault.kind == "lag" else (FOR_EVER, since)
    true = [(each, each.orders) for each in exchanges]
    algos = [(each, each.algos) for each in exchanges if isinstance(each, FuturesExchange)]
    for each, table in true:
        each.orders = PastOrders(table, at, hidden_since)
    for venue, family in algos:
        venue.algos = PastAlgos(family, at, hidden_since)
    try:
        yield
    finally:
        for each, table in true:
            each.orders = table
        for venue, family in algos:
            venue.algos = family


@contextmanager
def _refusing(exchanges: list[Exchange], reason: str) -> Iterator[None]:
    for each in exchanges:
        each.trading.refuse = reason
    try:
        yield
    finally:
        for each in exchanges:
            each.trading.refuse = ""


@contextmanager
def _thin(exchanges: list[Exchange], fraction: Decimal) -> Iterator[None]:
    """Whatever is placed is filled in part: what meets the book finds only so much, what rests is met at once."""
    first = [each.next_order_id for each in exchanges]
    for each in exchanges:
        each.trading.thin = fraction
    try:
        yield
    finally:
        for each in exchanges:
            each.trading.thin = None
    for each, number in zip(exchanges, first, strict=True):
        for order_id in range(number, each.next_order_id):
            order = each.orders.get(order_id)
            if order is None or order.account == MARKET_ACCOUNT or not (order.is_open and order.working):
                continue
            part = each.market(order.symbol).symbol.in_steps(order.quantity * fraction)
            if part > order.filled:
                each.fill(order, part - order.filled)
