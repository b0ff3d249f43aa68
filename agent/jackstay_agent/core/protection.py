"""What may be done to a bot's orders without the bot: one table (DESIGN §3 rules 5 to 7, §5 Protection).

`TABLE` is the whole decision; docs/ARCHITECTURE.md shows it as generated from here, and tests judge every cell by the
venue's ledger. Protective orders, hedges and orders of unknown class are in no cell: the agent never cancels them on
its own. Under `observe` nothing is done; what `directional` would have done is told as ``would.*``.

Refuses to know which orders are this bot's (ownership is evidence, found elsewhere) and how an order is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    """``act`` False: only told, as ``would.hold`` and ``would.cancel``. ``drop``: what is queued of those classes ends
    unsent.
    """

    hold: HoldScope = HoldScope.NONE
    cancel: frozenset[OrderClass] = frozenset()
    act: bool = True
    drop: bool = False


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
    return Measures(cancel=ON_GOODBYE_CANCEL[preset], drop=True) if orders == "cancel" else _NOTHING


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order of this bot at the venue, proved by journal or client-id prefix. ``price`` None: it has none, or none
    is known. ``context``: what questions about it need (account/pulling).
    """

    venue: str
    family: str
    symbol: str
    side: str
    client_id: str
    venue_id: str
    order_class: OrderClass
    price: Decimal | None = None
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.client_id or self.venue_id

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same order again, whatever the list it was found in."""
        return self.venue, self.family, self.symbol, self.venue_id or self.client_id


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which orders go, in order, and which stay and are listed."""

    cancel: tuple[OpenOrder, ...]
    listed: tuple[OpenOrder, ...]


def choose(orders: Iterable[OpenOrder], classes: frozenset[OrderClass]) -> Chosen:
    """Those of the classes, the most likely to be filled first."""
    going = classes - NEVER_CANCELLED
    found = list(orders)
    cancel = [each for each in found if each.order_class in going]
    listed = [each for each in found if each.order_class not in going]
    return Chosen(tuple(nearest_first(cancel)), tuple(listed))


def nearest_first(orders: Iterable[OpenOrder]) -> list[OpenOrder]:
    """Nearest the market first, without asking for its price: of one side of one book the highest bid and the lowest
    offer are nearest; between books, rank by rank. What has no price may be nearest of all.
    """
    sides: dict[tuple[str, str, str], list[OpenOrder]] = {}
    for each in orders:
        sides.setdefault((each.venue, each.symbol, each.side), []).append(each)
    ranked: list[tuple[int, str, OpenOrder]] = []
    for (_venue, _symbol, side), book in sides.items():
        sign = -1 if side == "buy" else 1
        book.sort(key=lambda each: (each.price is not None, sign * (each.price or Decimal(0)), each.name))
        ranked += [(rank, each.name, each) for rank, each in enumerate(book)]
    ranked.sort(key=lambda row: row[:2])
    return [each for _rank, _name, each in ranked]
