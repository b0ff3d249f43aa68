"""Which order at the venue is ours, when it carries no id of ours? (issue: bots on venues without default client ids)

An unknown order without a client id can only be recognised by what it is: symbol, side, type, quantity, price, and a
creation time between sending and giving up, widened by the clock offset. Exactly one candidate that is not already
known as another order settles it. None, or two, settle nothing: it stays unknown (DESIGN §3 rule 8).

Money is Decimal. Refuses to know where the list came from or whether it was complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Sought:
    """The order as it was sent. Wall-clock seconds: ``sent_at`` first byte, ``given_up_at`` when it became unknown."""

    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    price: Decimal | None
    sent_at: float
    given_up_at: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """An order as the venue lists it. ``created_at`` in the venue's wall-clock seconds."""

    venue_order_id: str
    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    price: Decimal | None
    created_at: float
    client_order_id: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    found: Candidate | None
    count: int
    why: str


def match_lists(
    sought: Sought,
    candidates: Iterable[Candidate],
    known: Collection[str],
    *,
    clock_offset_s: float = 2.0,
    late_s: float = 10.0,
) -> Match:
    """The one order in ``candidates`` that can only be ours, or none with the reason.

    ``known``: venue ids and client ids of orders already told apart. ``late_s``: how long after giving up the venue may
    still have taken it (its recvWindow, or the time it takes to process). Lists may repeat an order.
    """
    first, last = sought.sent_at - clock_offset_s, sought.given_up_at + late_s + clock_offset_s
    fits = {
        c.venue_order_id: c
        for c in candidates
        if c.venue_order_id not in known
        and (not c.client_order_id or c.client_order_id not in known)
        and first <= c.created_at <= last
        and looks_alike(sought, c)
    }
    if len(fits) == 1:
        return Match(next(iter(fits.values())), 1, "exactly one order fits and is nobody else's")
    if not fits:
        return Match(None, 0, "no order fits; a list proves no absence")
    return Match(None, len(fits), f"{len(fits)} orders fit: which is ours cannot be told")


def looks_alike(sought: Sought, c: Candidate) -> bool:
    """Whether the venue's order has the fields of ours."""
    return (
        c.symbol.lower() == sought.symbol.lower()
        and c.side.lower() == sought.side.lower()
        and c.order_type.lower() == sought.order_type.lower()
        and c.quantity == sought.quantity
        # without a price of its own (market) venues list 0 or the average: that says nothing
        and (sought.price is None or c.price == sought.price)
    )
