"""Acts on a bot's orders in its stead, within what the operator armed: the watchdog's hands (DESIGN §5 Protection).

Holds queued entries in the outbox and lets them go again. Refuses to know why; the watchdog says when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import Lane
from jackstay_protocols.types import OrderClass

from .core.intent import State
from .core.protection import HoldScope
from .outbox import Outbox

EventSink = Callable[[str, dict[str, Any]], None]


class Guardian:
    """`watchdog.Guard` over the outbox."""

    def __init__(self, outbox: Callable[[], Outbox], *, on_event: EventSink) -> None:
        self._outbox = outbox
        self._on_event = on_event
        self._held: dict[str, set[int]] = {}

    def hold(self, bot_id: str, scope: HoldScope, why: str) -> None:
        """Its queued entries stay where they are; what reduces risk goes on."""
        held = self._held.setdefault(bot_id, set())
        for each in self._outbox().open_intents():
            intent = each.intent
            waits = each.state is State.RECORDED and not each.held and intent.lane is Lane.ORDER and intent.is_entry
            if waits and intent.bot_id == bot_id and self._outbox().hold(each.seq, True):
                held.add(each.seq)
        self._on_event("protect.held", {"bot": bot_id, "entries": len(held), "scope": str(scope), "why": why})

    def release(self, bot_id: str) -> None:
        """Only what was held here: an operator's hold stays."""
        held = self._held.pop(bot_id, set())
        released = [seq for seq in held if self._outbox().hold(seq, False)]
        self._on_event("protect.released", {"bot": bot_id, "entries": len(released)})

    def cancel(self, bot_id: str, classes: frozenset[OrderClass], why: str, *, act: bool) -> None:
        """Not armed in this version: only told."""
        self._on_event("would.cancel", {"bot": bot_id, "classes": sorted(map(str, classes)), "why": why})

    def stop_cancelling(self, bot_id: str) -> None:
        """Nothing is under way."""

    def open_orders(self, bot_id: str) -> dict[OrderClass, int]:
        """Orders that are journaled and whose end is not known here."""
        return {}
