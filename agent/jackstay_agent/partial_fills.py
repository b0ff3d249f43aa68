"""Finds orders that were filled in part and rest for too long, where the operator switched that on (DESIGN §5).

Off by default: without both an age and a fraction every market maker's order would be cancelled. Only entries and exits
of this agent's bots count, never stops, OCO legs, hedges, or orders whose purpose nobody knows. The age is that of the
latest fill: an order that goes on filling is not stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from jackstay_protocols.types import OrderClass

from .core.account import Order, Stage
from .core.order_class import ClassRules, OrderFacts, classify_order
from .recovery_settings import PartialFillSettings

LOOK_EVERY_S = 0.5


class PartialFills:
    """``live()``: open orders of this agent's bots; ``detected(scenario, context)``: True when a recovery began."""

    def __init__(
        self,
        settings: PartialFillSettings,
        *,
        live: Callable[[], list[Order]],
        class_rules: Callable[[str], ClassRules],
        detected: Callable[[str, dict[str, Any]], bool],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._fraction = Decimal(str(settings.fraction))
        self._live = live
        self._class_rules = class_rules
        self._detected = detected
        self._clock = clock
        self._since: dict[tuple[str, str, str], tuple[Decimal, float, bool]] = {}  # filled, since when, handed over
        self._look_at = 0.0

    def tick(self) -> None:
        now = self._clock()
        if not self._settings.enabled or now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        seen: dict[tuple[str, str, str], tuple[Decimal, float, bool]] = {}
        for order in self._live():
            filled, quantity = order.filled, order.quantity
            if order.stage is not Stage.OPEN or not filled or not quantity or not filled < quantity:
                continue
            key = (order.venue, order.symbol, order.name)
            known = self._since.get(key)
            seen[key] = known = known if known is not None and known[0] == filled else (filled, now, False)
            if known[2] or now - known[1] < self._settings.age_s or filled < self._fraction * quantity:
                continue
            kind = self._class_of(order)
            if str(kind) in self._settings.classes and self._begin(order, kind):
                seen[key] = (filled, known[1], True)
        self._since = seen

    def _begin(self, order: Order, kind: OrderClass) -> bool:
        context = {"venue": order.venue, "symbol": order.symbol, "order_id": order.name, "order_class": str(kind)}
        return self._detected("partial_fill", context)

    def _class_of(self, order: Order) -> OrderClass:
        if order.order_class:
            return OrderClass(order.order_class)
        return classify_order(OrderFacts("", client_id=order.client_id), self._class_rules(order.venue))
