"""Step 11 without a question of ours: what the bot's own questions and the venue's user stream say of unknown orders.

Without a key of the agent's own (grade carry) the only questions that leave are the bot's. Their answers are the
venue's word all the same, so they settle unknown orders by the same rules as the agent's own questions would
(core/evidence): an order that is shown exists; "no such order" counts only for the id that was asked for, repeated,
after the delay.

A user stream says it first, where there is one: an event about an order settles that it exists, at once.

Refuses to ask anything, and to read anything while nothing is unknown.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from .core.evidence import Evidence, Finding, Source
from .core.intent import State
from .outbox import Outbox, Settled
from .transport.http import HttpAnswer
from .venues.answers import NotFound, OrderState, Unreadable
from .venues.operation_data import OPERATIONS
from .venues.operations import Operations, Question
from .venues.outgoing import OutgoingRequest
from .venues.user_events import UserEvents


def _nobody(_venue: str) -> Operations | None:
    """No profile is known."""
    return None


LATELY_MAX = 512  # events kept unread: more than come in the time of one lost reply
PLAIN = re.compile(r"[A-Za-z0-9_.:-]+")  # JSON has one way to write these
SOURCES = {"order": Source.QUERY, "orders": Source.OPEN_ORDERS}


class Witness:
    """Reads answers to a bot's questions about orders. ``outbox``: where what they prove is written down."""

    def __init__(self, outbox: Callable[[], Outbox], reading: Callable[[str], Operations | None] = _nobody) -> None:
        self._outbox = outbox
        self._reading = reading
        self._events: dict[str, UserEvents] = {}
        self._lately: deque[tuple[str, bytes]] = deque(maxlen=LATELY_MAX)
        self.settled = 0

    # ---- a user stream (user_streams.StreamListener)

    def stream_message(self, venue: str, payload: bytes) -> None:
        """One event of the account, as the venue sent it. It may come before anybody knows that its reply is lost."""
        self._lately.append((venue, payload))
        if self._outbox().count(State.UNKNOWN):
            self._read(venue, payload)

    def look_back(self, wanted: str, client_id: str) -> None:
        """An order of this venue became unknown: its event may have come already.

        Only events that hold its id are read: reading one costs 0.1 ms, and when a venue goes away hundreds of orders
        become unknown in one turn of the loop (all events for each of them stopped it for seconds).
        """
        if not client_id:
            return  # an event is matched by the id
        needle = client_id.encode() if PLAIN.fullmatch(client_id) else b""  # others may be written in several ways
        for venue, payload in list(self._lately):
            if venue == wanted and needle in payload:
                self._read(venue, payload)

    def _read(self, venue: str, payload: bytes) -> None:
        operations = self._reading(venue)
        if operations is None:
            return
        if venue not in self._events:
            self._events[venue] = UserEvents(operations.profile)
        told = self._events[venue].read(payload)
        for event in () if isinstance(told, Unreadable) else told:
            for item in event.items:
                if isinstance(item, OrderState) and self._outbox().is_unknown(venue, item.client_id):
                    self._found(operations, venue, Source.STREAM, item.family, item, 0.0)

    def stream_connected(self, _venue: str, _missed_s: float | None) -> None:
        """What was missed is asked for by the resolver anyway."""

    def stream_lost(self, _venue: str, _why: str) -> None:
        """Silence of a stream is no evidence."""

    # ---- the bot's own questions

    def heard(
        self, operations: Operations | None, venue: str, request: OutgoingRequest, answer: HttpAnswer, asked_at: float
    ) -> None:
        """Call it for every answered question about orders. ``asked_at``: when it left, by the agent's clock."""
        if operations is None or not self._outbox().count(State.UNKNOWN):
            return
        for question in operations.questions(request):
            told = operations.read(
                question.name, answer.status, answer.body, family=question.family, asked=question.asked
            )
            if isinstance(told, OrderState):
                self._exists(operations, venue, question, told, asked_at)
            elif isinstance(told, list):
                for each in told:
                    if isinstance(each, OrderState):
                        self._exists(operations, venue, question, each, asked_at)
            elif isinstance(told, NotFound) and operations.lookup(question.family).ask == (question.name,):
                client_id = question.asked.get("client_id", "")
                evidence = Evidence(Source.QUERY, Finding.NOT_FOUND, asked_at, question.family)
                self._note(self._outbox().saw(venue, client_id, evidence, operations.lookup(question.family).patience))

    def _exists(
        self, operations: Operations, venue: str, question: Question, order: OrderState, asked_at: float
    ) -> None:
        self._found(operations, venue, SOURCES[OPERATIONS[question.name]], question.family, order, asked_at)

    def _found(
        self, operations: Operations, venue: str, source: Source, family: str, order: OrderState, asked_at: float
    ) -> None:
        evidence = Evidence(
            source,
            Finding.EXISTS,
            asked_at,
            family,
            venue_order_id=order.venue_id,
            status=str(order.status),
            created_at=order.time_ms / 1000 if order.time_ms is not None else None,
        )
        patience = operations.lookup(family).patience
        reply = operations.as_placed(order, streamed=source is Source.STREAM)
        self._note(self._outbox().saw(venue, order.client_id, evidence, patience, status=200, reply=reply))

    def _note(self, settled: Settled | None) -> None:
        self.settled += settled is not None and settled.final
