"""Partial fill: cancel the remainder, prove the order terminal, pull its fills, hand the rest to the bot.

Evidence: the venue shows the order in a terminal state, asked after the cancel. A cancel's answer proves nothing: the
order may have been filled meanwhile (passivbot#514), or live on. Not for protective orders: a stop that is half filled
still protects the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from jackstay_protocols.errors import ValidationError

from .actions import TERMINAL, Bound, money
from .base import Key, PlannedRecovery
from .plan import Run, Step

LOOKS_PER_CANCEL = 8  # an order that stays open is cancelled again


class PartialFillRecovery(PlannedRecovery):
    """Context: ``symbol``, ``order_id`` (the venue's or the client's); ``order_class`` (entry, exit) where known.

    Needs query, cancel; uses fills, directive, notify. Directive ``re_evaluate``: symbol, order_id, status, filled,
    remaining, average_price.
    """

    NAME: ClassVar[str] = "partial_fill"
    KEYS: ClassVar = {
        "symbol": Key((str,), "the venue's symbol", required=True),
        "order_id": Key((str, int), "the order's id", required=True),
        "order_class": Key((str,), "entry or exit"),
    }

    def check(self, context: dict[str, Any]) -> None:
        found = context.get("order_class")
        if found is not None and found not in ("entry", "exit"):
            raise ValidationError(
                f"partial_fill: context['order_class'] is {found!r}; entry or exit is expected: protective orders,"
                " hedges and orders of unknown class are left alone"
            )

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        order = _Order(self, bound, str(context["symbol"]), str(context["order_id"]))
        return [
            ("cancel_remainder", order.cancel),
            ("prove_terminal", order.prove),
            ("pull_fills", order.fills),
            ("hand_over", order.hand_over),
        ]


class _Order:
    """The steps over one order."""

    def __init__(self, scenario: PlannedRecovery, bound: Bound, symbol: str, order_id: str) -> None:
        self._scenario = scenario
        self._bound = bound
        self._symbol = symbol
        self._id = order_id

    async def _is_terminal(self, run: Run) -> bool:
        order = await self._bound.call("query", self._symbol, self._id)
        if order is None:
            raise ValidationError(f"the venue knows no order {self._id}: nothing can be said of it")
        run.facts["status"] = str(order["status"])
        for name in ("filled", "quantity"):
            run.facts[name] = str(money(run.scenario, name, order.get(name) or 0))
        return run.facts["status"] in TERMINAL

    async def cancel(self, run: Run) -> bool | None:
        if not self._bound.has("query", "cancel"):
            run.why = "needs query and cancel"
            return False
        if not await self._is_terminal(run):
            await self._bound.call("cancel", self._symbol, self._id)
        return None

    async def prove(self, run: Run) -> bool:
        looks = 0

        async def ended() -> bool:
            nonlocal looks
            if await self._is_terminal(run):
                return True
            looks += 1
            if looks % LOOKS_PER_CANCEL == 0:
                await self._bound.call("cancel", self._symbol, self._id)  # by id: may be repeated
            return False

        if await self._scenario.until(run, ended, self._scenario.settings.poll_s):
            return True
        run.why = f"the order is still {run.facts.get('status', 'unseen')} after the cancel"
        return False

    async def fills(self, run: Run) -> bool | None:
        if self._bound.has("fills"):
            total = worth = Decimal(0)
            for each in await self._bound.call("fills", self._symbol, self._id):
                quantity = money(run.scenario, "a fill's quantity", each["quantity"])
                total += quantity
                worth += quantity * money(run.scenario, "a fill's price", each["price"])
            run.facts["fills"] = str(total)
            run.facts["average_price"] = str(worth / total) if total else ""
        return None

    async def hand_over(self, run: Run) -> bool:
        filled, quantity = Decimal(run.facts["filled"]), Decimal(run.facts["quantity"])
        fields = {
            "symbol": self._symbol,
            "order_id": self._id,
            "status": run.facts["status"],
            "filled": str(filled),
            "remaining": str(max(Decimal(0), quantity - filled)),
            "average_price": run.facts.get("average_price", ""),
        }
        for word in ("directive", "notify"):
            if self._bound.has(word):
                await self._bound.call(word, "re_evaluate", fields)
        # fills that do not add up to what the order shows are a difference for the state monitor, not a recovery
        return "fills" not in run.facts or Decimal(run.facts["fills"]) == filled
