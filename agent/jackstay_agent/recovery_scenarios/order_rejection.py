"""Order rejection: why, what would be accepted, and (only where switched on) the adjusted order placed again.

Evidence: the venue shows the adjusted order. A suggestion alone recovers nothing and is False: the bot decides. An
adjustment never enlarges the quantity and worsens the price at most by `price_worse_max`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from jackstay_protocols.errors import ValidationError

from ..core.adjustment import Adjusted, Filters, Remedy, adjust, remedy_of
from .actions import Bound, money
from .base import Key, PlannedRecovery
from .plan import Run, Step

OPENED = ("open", "filled")
_MONEY = ("price", "quantity", "stop_price")


class OrderRejectionRecovery(PlannedRecovery):
    """Context: ``symbol``, ``reason`` (the venue's code or words), ``order`` {side, price, quantity, …}; ``filters``
    {tick_size, step_size, quantity_min, quantity_max, notional_min} (default: the venue's, where ``filters`` is bound);
    ``market``: what that question needs besides; ``repeats`` (identical rejects in a row).

    Uses filters, resync_clock, directive, notify; with `resubmit = true` needs resubmit and query.
    Directive ``adjust_parameters``: symbol, remedy, why, suggested {price, quantity} or needs {…}; ``stop_order`` when
    the same reject came too often.
    """

    NAME: ClassVar[str] = "order_rejection"
    KEYS: ClassVar = {
        "symbol": Key((str,), "the venue's symbol", required=True),
        "reason": Key((str, int), "the venue's code or words", required=True),
        "order": Key((dict,), "the order's side, price and quantity", required=True),
        "filters": Key((dict,), "tick_size, step_size, quantity_min, quantity_max, notional_min"),
        "market": Key((dict,), "what the venue wants besides a symbol: a category, an instrument type"),
        "repeats": Key((int,), "a number of identical rejects"),
    }

    def check(self, context: dict[str, Any]) -> None:
        order = context["order"]
        if order.get("side") not in ("buy", "sell"):
            raise ValidationError(
                f"order_rejection: context['order']['side'] is {order.get('side')!r}; buy or sell is expected"
            )
        for name in _MONEY:
            if order.get(name) is not None:
                money(self.NAME, f"context['order'][{name!r}]", order[name])
        _filters(self.NAME, context.get("filters") or {})

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        symbol, order = str(context["symbol"]), context["order"]
        reason, repeats = str(context["reason"]), int(context.get("repeats") or 1)

        async def analyse(run: Run) -> bool | None:
            remedy = Remedy.STOP if repeats >= self.settings.repeats_max else remedy_of(reason)
            run.facts["remedy"] = remedy.value
            if remedy is Remedy.CLOCK and bound.has("resync_clock"):
                run.facts["clock_measured"] = await bound.call("resync_clock", symbol) is True
            if remedy is Remedy.ROUND and not context.get("filters") and bound.has("filters"):
                found = await bound.call("filters", symbol, context.get("market") or {})
                run.facts["filters"] = {name: str(value) for name, value in (found or {}).items()}
            return None

        async def suggest(run: Run) -> bool | None:
            remedy = Remedy(run.facts["remedy"])
            found = self._adjusted(order, context.get("filters") or run.facts.get("filters") or {})
            if found.changed:
                run.facts["suggested"] = {name: _text(value) for name, value in found.changed.items()}
            if found.needs:
                run.facts["needs"] = {name: _text(value) for name, value in found.needs.items()}
            fields = {
                "symbol": symbol,
                "remedy": remedy.value,
                "why": reason,
                "suggested": run.facts.get("suggested", {}),
                "needs": run.facts.get("needs", {}),
                "order": {name: _text(value) for name, value in order.items()},
            }
            word = "stop_order" if remedy is Remedy.STOP else "adjust_parameters"
            for action in ("directive", "notify"):
                if bound.has(action):
                    await bound.call(action, word, fields)
            return None

        async def resubmit(run: Run) -> bool:
            remedy = Remedy(run.facts["remedy"])
            if not self.settings.resubmit or not bound.has("resubmit", "query"):
                run.why = "suggested only: [recovery.order_rejection] resubmit is off, or nothing to place it with"
                return False
            changed = run.facts.get("suggested", {})
            mendable = remedy is Remedy.ROUND and changed and "needs" not in run.facts
            if not mendable and not (remedy is Remedy.CLOCK and run.facts.get("clock_measured")):
                run.why = f"{remedy.value}: nothing that may be changed would be accepted"
                return False
            params = {**order, **{name: Decimal(value) for name, value in changed.items()}}
            if "order_id" not in run.facts:  # asked once: a run that was cut off in here asks the venue, not again
                run.facts["order_id"] = ""
                await self._keep(run)
                placed = await bound.call("resubmit", symbol, params)
                run.facts["order_id"] = str((placed or {}).get("order_id", ""))
            return bool(run.facts["order_id"])

        async def prove(run: Run) -> bool:
            shown = await bound.call("query", symbol, run.facts["order_id"])
            run.facts["status"] = "absent" if shown is None else str(shown["status"])
            return run.facts["status"] in OPENED

        return [("analyse", analyse), ("suggest", suggest), ("resubmit", resubmit), ("prove", prove)]

    def _adjusted(self, order: Mapping[str, Any], filters: Mapping[str, Any]) -> Adjusted:
        def value(name: str) -> Decimal | None:
            return None if order.get(name) is None else money(self.NAME, name, order[name])

        return adjust(
            str(order["side"]),
            value("price"),
            value("quantity"),
            _filters(self.NAME, filters),
            worse_max=self.settings.worse,
        )


def _text(value: Any) -> str:
    """As an order has it: no venue takes 1E-7."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _filters(owner: str, given: Mapping[str, Any]) -> Filters:
    known = set(Filters.__dataclass_fields__)
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValidationError(
            f"{owner}: context['filters'] has {', '.join(unknown)}; {', '.join(sorted(known))} are known"
        )
    values = {name: money(owner, f"context['filters'][{name!r}]", each) for name, each in given.items()}
    for name, each in values.items():
        if each < 0:
            raise ValidationError(f"{owner}: context['filters'][{name!r}] is {each}; 0 or more is expected")
    return Filters(**values)
