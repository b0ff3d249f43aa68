"""One bot's socket and one of its requests, as the rooms behind bot.sock know them.

A `Call` is answered exactly once: the first answer counts, later ones go nowhere. Whoever listens (telling.py) hears of
each one's end here, because every answer and every refusal passes here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from jackstay_protocols.codec import encode
from jackstay_protocols.errors import Outcome, Reason
from jackstay_protocols.messages import Accepted, Post, Refusal, Request, Response
from jackstay_protocols.session import BotSession

from ..telling import Asked, Telling
from .door import PeerCredentials

ANSWERED_KEPT = 64  # more calls than this do not end between a client's giving up and our hearing of it


class Home(Protocol):
    """What a call needs of the door it came through."""

    telling: Telling

    def landed(self) -> None: ...
    def send(self, peer: Peer, frame: bytes) -> None: ...
    def now(self) -> float: ...


@dataclass(slots=True)
class Peer:
    """One DEALER of a client."""

    identity: bytes
    session: BotSession
    credentials: PeerCredentials | None
    in_flight: dict[int, Call] = field(default_factory=dict)
    waiting: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0
    answered: OrderedDict[int, str] = field(
        default_factory=OrderedDict
    )  # the latest calls with an intent, and its name


class Call:
    """One request on its way; the pipeline's view of a bot's frame. Times are boot-time seconds."""

    __slots__ = (
        "abandoned", "arrived_at", "asked", "cancel", "deadline_at", "door", "id", "message", "peer", "replied",
    )  # fmt: skip

    carrier: Any = None  # what takes it to the venue instead of the upstream's pool (a trade socket)

    def __init__(
        self,
        door: Home,
        peer: Peer,
        request_id: int,
        message: Request | Post,
        arrived_at: float,
        deadline_at: float,
    ) -> None:
        self.door = door
        self.peer = peer
        self.id = request_id
        self.message = message
        self.arrived_at = arrived_at
        self.deadline_at = deadline_at
        self.abandoned = False
        self.replied = False
        self.asked: Asked | None = None  # set by the pipeline once it knows the way, if anybody listens
        # Set by the pipeline: what to do when the caller no longer waits.
        self.cancel: Callable[[], None] | None = None

    def reply(self, answer: Response | Refusal | Accepted) -> None:
        """Step 12. The first answer counts; an abandoned call's answer goes nowhere."""
        if self.replied:
            return
        self.replied = True
        self.peer.in_flight.pop(self.id, None)
        self.door.landed()
        if not self.abandoned:
            self.deliver(answer)
        telling = self.door.telling
        if telling.anybody:
            asked = self.asked or Asked(
                self.message, None, bot=self.peer.session.bot_id, request_id=self.id, arrived_at=self.arrived_at
            )
            telling.replied(asked, answer, self.door.now())

    def deliver(self, answer: Response | Refusal | Accepted) -> None:
        """The answer on its way to whoever waits for it."""
        if type(answer) is Response and answer.intent:
            answered = self.peer.answered
            answered[self.id] = answer.intent
            if len(answered) > ANSWERED_KEPT:
                answered.popitem(last=False)
        self.door.send(self.peer, encode(answer, id=self.id))

    def refuse(self, reason: Reason, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        self.reply(Refusal(reason, message, retry_after_s, Outcome.FAILED, details))
