"""What may be done to a bot's orders without the bot: one table (DESIGN §3 rules 5 to 7, §5 Protection).

`TABLE` is the whole decision; docs/ARCHITECTURE.md shows it as generated from here, and tests judge every cell by the
venue's ledger. Protective orders, hedges and orders of unknown class are in no cell: the agent never cancels them on
its own. Under `observe` nothing is done; what `directional` would have done is told as ``would.*``.

Refuses to know which orders are this bot's (ownership is evidence, found elsewhere) and how an order is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from jackstay_protocols.types import OrderClass

from .liveness import BotState


class Preset(StrEnum):
    """What the operator armed."""

    OBSERVE = "observe"
    DIRECTIONAL = "directional"
    MARKET_MAKER = "market_maker"
    HEDGED = "hedged"


class HoldScope(StrEnum):
    """Whose queued entries wait: nobody's, the bot's, or those of every venue of its groups."""

    NONE = "none"
    BOT = "bot"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Measures:
    """``act`` False: only told, as ``would.hold`` and ``would.cancel``."""

    hold: HoldScope = HoldScope.NONE
    cancel: frozenset[OrderClass] = frozenset()
    act: bool = True


_NOTHING: Final = Measures()
_ENTRIES: Final = frozenset({OrderClass.ENTRY})
_QUOTES: Final = frozenset({OrderClass.ENTRY, OrderClass.EXIT})
_WOULD_HOLD: Final = Measures(HoldScope.BOT, act=False)
_WOULD_CANCEL: Final = Measures(HoldScope.BOT, _ENTRIES, act=False)
_HOLD: Final = Measures(HoldScope.BOT)
_HOLD_GROUP: Final = Measures(HoldScope.GROUP)

TABLE: Final[dict[tuple[BotState, Preset], Measures]] = {
    (BotState.WELL, Preset.OBSERVE): _NOTHING,
    (BotState.WELL, Preset.DIRECTIONAL): _NOTHING,
    (BotState.WELL, Preset.MARKET_MAKER): _NOTHING,
    (BotState.WELL, Preset.HEDGED): _NOTHING,
    (BotState.LATE, Preset.OBSERVE): _WOULD_HOLD,
    (BotState.LATE, Preset.DIRECTIONAL): _HOLD,
    (BotState.LATE, Preset.MARKET_MAKER): _HOLD,
    (BotState.LATE, Preset.HEDGED): _HOLD_GROUP,
    (BotState.STALLED, Preset.OBSERVE): _WOULD_CANCEL,
    (BotState.STALLED, Preset.DIRECTIONAL): Measures(HoldScope.BOT, _ENTRIES),
    (BotState.STALLED, Preset.MARKET_MAKER): Measures(HoldScope.BOT, _QUOTES),
    (BotState.STALLED, Preset.HEDGED): _HOLD_GROUP,
    (BotState.DEAD, Preset.OBSERVE): _WOULD_CANCEL,
    (BotState.DEAD, Preset.DIRECTIONAL): Measures(HoldScope.BOT, _ENTRIES),
    (BotState.DEAD, Preset.MARKET_MAKER): Measures(HoldScope.BOT, _QUOTES),
    (BotState.DEAD, Preset.HEDGED): _HOLD_GROUP,
    (BotState.LEFT, Preset.OBSERVE): _NOTHING,  # as it asked: see `on_goodbye`
    (BotState.LEFT, Preset.DIRECTIONAL): _NOTHING,
    (BotState.LEFT, Preset.MARKET_MAKER): _NOTHING,
    (BotState.LEFT, Preset.HEDGED): _NOTHING,
    (BotState.HELD, Preset.OBSERVE): _NOTHING,
    (BotState.HELD, Preset.DIRECTIONAL): _HOLD,
    (BotState.HELD, Preset.MARKET_MAKER): _HOLD,
    (BotState.HELD, Preset.HEDGED): _HOLD,
}

#: A goodbye with ``orders = "cancel"`` is the bot's own word: it holds under observe too. Never protective.
ON_GOODBYE_CANCEL: Final[dict[Preset, frozenset[OrderClass]]] = {
    Preset.OBSERVE: _ENTRIES,
    Preset.DIRECTIONAL: _ENTRIES,
    Preset.MARKET_MAKER: _QUOTES,
    Preset.HEDGED: _ENTRIES,
}

#: No cell, no word of a bot and no preset reaches these (DESIGN §3 rule 7).
NEVER_CANCELLED: Final = frozenset({OrderClass.PROTECTIVE, OrderClass.HEDGE, OrderClass.UNKNOWN})


def measures(state: BotState, preset: Preset) -> Measures:
    """What is done, or would be, about a bot in this state."""
    return TABLE[state, preset]


def on_goodbye(orders: str, preset: Preset) -> Measures:
    """What a bot's last word asks for: ``keep`` or ``cancel``."""
    return Measures(cancel=ON_GOODBYE_CANCEL[preset]) if orders == "cancel" else _NOTHING


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order of this bot at the venue, proved by journal or client-id prefix. ``distance``: of its price from the
    market, as a share of it; None where no market price is known.
    """

    venue: str
    family: str
    symbol: str
    client_id: str
    venue_id: str
    order_class: OrderClass
    distance: Decimal | None = None

    @property
    def name(self) -> str:
        return self.client_id or self.venue_id


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which orders go, in order, and which stay and are listed."""

    cancel: tuple[OpenOrder, ...]
    listed: tuple[OpenOrder, ...]


def choose(orders: Iterable[OpenOrder], classes: frozenset[OrderClass]) -> Chosen:
    """Those of the classes, the most likely to be filled first: nearest the market, unknown distance before all."""
    going = classes - NEVER_CANCELLED
    cancel = [each for each in orders if each.order_class in going]
    listed = [each for each in orders if each.order_class not in going]
    cancel.sort(key=lambda each: (each.distance is not None, each.distance or Decimal(0), each.name))
    return Chosen(tuple(cancel), tuple(listed))
