"""The outbox's nouns: what is handed in, what comes back, what is kept in memory about one intent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from jackstay_agent.core.equality import Canon
from jackstay_agent.core.evidence import Search
from jackstay_agent.core.intent import State
from jackstay_agent.core.ttl import Stamp
from jackstay_protocols.errors import Lane, Reason
from jackstay_protocols.types import OrderClass


class Signed(StrEnum):
    """Who signs. A bot's signature lives in memory only, so its queued requests end with the process."""

    NONE = "none"
    BOT = "bot"
    AGENT = "agent"


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing a bot wants done at a venue. A batch is one intent per item (`Outbox.begin_batch`).

    ``deadline_at``: boot-clock seconds; ``ttl_s``: how long it may wait in the queue (None: has none of its own).
    ``fields``: the order's fields, for rule 1; empty for what places nothing. ``is_entry``: it may increase a
    position, so it waits while another of its symbol and side is unknown. ``repeatable``: sending it twice is harmless
    (a cancel by id). ``client_order_id`` is that of the order this places (a cancel places none), ``family`` the order
    family it belongs to (evidence of another family is none). ``target`` is path and query. There is no place for
    headers: they are never written down. ``venue_s``: the venue's own time (Unix seconds) when it was about to be sent,
    where the venue's clock is known: our wall clock may be an hour off then, and what the venue shows would look older
    than what was sent. It holds plain values alone, so the collector need not see it.
    """

    bot_id: str
    connection_id: str
    lane: Lane
    method: str
    target: str
    body: bytes = b""
    key: str = ""
    request_id: str = ""
    venue: str = ""
    operation: str = ""
    symbol: str = ""
    side: str = ""
    client_order_id: str = ""
    family: str = ""
    fields: Mapping[str, Any] = {}
    order_class: OrderClass = OrderClass.UNKNOWN
    is_entry: bool = False
    repeatable: bool = False
    signed: Signed = Signed.NONE
    deadline_at: float | None = None
    ttl_s: float | None = None
    recv_window_s: float | None = None
    item: int = 0
    post_only: bool = False
    venue_s: float | None = None

    def sent_wall(self, wall_s: float) -> float:
        """When it was sent, at the earliest, in the venue's time.

        Where that was not known: by our own wall clock ``wall_s``, less the recvWindow. A bot's timestamp that is ahead
        of the venue's clock is still accepted if it has waited here meanwhile.  (`Ledger._dated` knows it better where
        the clock was measured later.)
        """
        return wall_s - (self.recv_window_s or 0.0) if self.venue_s is None else self.venue_s


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go. ``durable`` False: with durability "disk" wait for ``on_durable``; ``journaled`` False: in memory only."""

    seq: int
    durable: bool = True
    journaled: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """Queued. Its outcome will be kept until the bot has acknowledged it."""

    seq: int
    durable: bool = True
    journaled: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, and nothing was recorded. ``pending`` names the intent that stands in the way, if one does."""

    reason: Reason
    message: str
    retry_after_s: float | None = None
    pending: int | None = None
    pending_id: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: ``behind`` are unknown intents of the same symbol and side.

    Ask again when one of them is settled, within the request's own deadline.
    """

    behind: tuple[int, ...]


class Ending(msgspec.Struct, array_like=True):
    """What became of it, as the bot is told. ``finished_wall`` seconds; ``said_by``/``why`` of an operator's word."""

    state: str
    status: int | None = None
    reply: bytes = b""
    reply_cut: bool = False
    cause: str = ""
    source: str = ""
    venue_order_id: str = ""
    said_by: str = ""
    why: str = ""
    finished_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """A move that happened: the new state, and whether it ends the matter or contradicts what was known."""

    seq: int
    bot_id: str
    state: State
    ending: Ending | None
    why: str = ""
    final: bool = False
    contradiction: bool = False
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Uncollected:
    """An outcome the bot has not acknowledged."""

    seq: int
    key: str
    request_id: str
    client_order_id: str
    queued: bool
    ending: Ending


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same key again. ``same_body`` False: it belongs to another request; ``ending`` None: not settled yet."""

    seq: int
    state: State
    same_body: bool
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class Due:
    seq: int
    intent: Intent
    attempts: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something the venue has to be asked about. ``since_s`` seconds ago by the boot clock of this process."""

    seq: int
    intent: Intent
    search: Search
    since_s: float


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """One line of the queue and order listings."""

    seq: int
    state: State
    intent: Intent
    queued: bool
    held: bool
    attempts: int
    age_s: float


@dataclass(slots=True)
class Entry:
    """One intent in memory. ``payload_crc`` belongs to the row as written and never changes."""

    seq: int
    intent: Intent
    state: State
    recorded: Stamp
    queued: bool
    payload_crc: int
    payload_bytes: int = 0
    digest: bytes = b""
    attempts: int = 0
    held: bool = False
    sent: Stamp | None = None  # this process's own first byte; None after a restart
    ending: Ending | None = None
    search: Search | None = None
    unknown_at: float = 0.0
    print: Canon | None = None
