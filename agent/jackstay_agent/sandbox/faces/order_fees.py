"""What an order has paid up to an event: venues show it in every message of the order, the engine per fill only."""

from __future__ import annotations

from decimal import Decimal

from ..engine.model import ZERO, OrderChange
from .instruments import Instrument


class OrderFees:
    """Sums of open orders; an order's sum is dropped with the event that ends it."""

    def __init__(self) -> None:
        self._paid: dict[str, Decimal] = {}

    def clear(self) -> None:
        self._paid.clear()

    def up_to(self, each: Instrument, change: OrderChange) -> Decimal:
        """Ask once for each event, in order."""
        name = each.shown_id(change.order.id)
        if change.fill is not None:
            if name not in self._paid and change.filled != change.fill.quantity:
                # nobody listened to the earlier fills
                self._paid[name] = each.fees(change.order.account).get(change.order.id, ZERO)
            else:
                self._paid[name] = self._paid.get(name, ZERO) + change.fill.fee
        if change.status not in ("NEW", "PARTIALLY_FILLED"):
            return self._paid.pop(name, ZERO)
        return self._paid.get(name, ZERO)
