"""The nouns of an account that three parties have a picture of: orders, fills, balances, positions.

One shape for all three views (the bot's, the agent's, the venue's), so that they can be compared (core/reconcile).
Money is Decimal; None means that this view does not say, which never counts as a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class Stage(StrEnum):
    """How an order fares. The words are those of the profiles' readers (venues/answers)."""

    REQUESTED = "requested"  # its request is under way or its outcome unknown: the venue may or may not have it
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OTHER = "other"  # a word nobody here knows: it exists, how it fares cannot be said
    ABSENT = "absent"  # the venue says that it never had it


#: Over for good; the venue has nothing on its book for it any more.
OVER = frozenset({Stage.FILLED, Stage.CANCELLED, Stage.REJECTED, Stage.EXPIRED, Stage.ABSENT})
#: It may be on the venue's book.
LIVE = frozenset({Stage.OPEN, Stage.REQUESTED, Stage.OTHER})


class Heard(StrEnum):
    """Where a picture of an order came from."""

    REQUEST = "request"
    REPLY = "reply"
    STREAM = "stream"
    QUERY = "query"
    LIST = "list"
    FILE = "file"
    BOT = "bot"


@dataclass(frozen=True, slots=True)
class Order:
    """One order in one view. ``bot_id`` is "" for whoever is not this agent's bot.

    ``at_ms``: the venue's time of this state where it says one, Unix ms. ``seen_at``: boot-clock seconds at which
    this was heard (a stream, a reply) or asked (a query, a list: the picture may be that old); ``changed_at``: at which
    the agent last learned something new of it.
    """

    venue: str
    symbol: str
    client_id: str = ""
    venue_id: str = ""
    family: str = ""
    side: str = ""
    stage: Stage = Stage.OPEN
    quantity: Decimal | None = None
    filled: Decimal | None = None
    price: Decimal | None = None
    at_ms: int | None = None
    seen_at: float = 0.0
    heard: Heard = Heard.REPLY
    bot_id: str = ""
    changed_at: float = 0.0
    context: Mapping[str, str] = field(default_factory=dict)
    order_class: str = ""  # what it is for (core/order_class), by its request; "": not known

    @property
    def live(self) -> bool:
        return self.stage in LIVE

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.client_id or self.venue_id

    def with_what(self, older: Order) -> Order:
        """This picture, with what only the older one says."""
        return replace(
            self,
            client_id=self.client_id or older.client_id,
            venue_id=self.venue_id or older.venue_id,
            family=self.family or older.family,
            side=self.side or older.side,
            quantity=older.quantity if self.quantity is None else self.quantity,
            filled=older.filled if self.filled is None else self.filled,
            price=older.price if self.price is None else self.price,
            at_ms=older.at_ms if self.at_ms is None else self.at_ms,
            bot_id=self.bot_id or older.bot_id,
            context={**older.context, **self.context},
            order_class=self.order_class or older.order_class,
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of one order. ``trade_id`` is the venue's and unique within venue and symbol, for each of its orders:
    an account that trades with itself has one trade twice."""

    venue: str
    symbol: str
    trade_id: str
    venue_id: str
    side: str
    price: Decimal
    quantity: Decimal
    client_id: str = ""
    fee: Decimal | None = None
    fee_asset: str = ""
    at_ms: int | None = None
    maker: bool | None = None
    bot_id: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.venue, self.symbol, self.trade_id, self.venue_id


@dataclass(frozen=True, slots=True)
class Holding:
    """How much of an asset there is (``kind`` balance), or of a contract is held (position: signed, below 0 short).

    ``part`` tells two positions of one symbol apart (hedge mode: long and short).
    """

    kind: str
    venue: str
    name: str
    total: Decimal
    free: Decimal | None = None
    part: str = ""
    seen_at: float = 0.0
    at: int | None = None  # the venue's own order of its messages, where this came from one

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.part
