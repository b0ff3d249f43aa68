"""Step 11 for a venue nobody else may ask: what the bot's own questions say about orders that are unknown.

Without a key of the agent's own (grade carry) the only questions that leave are the bot's. Their answers are the
venue's word all the same, so they settle unknown orders by the same rules as the agent's own questions would
(core/evidence): an order that is shown exists; "no such order" counts only for the id that was asked for, repeated,
after the delay.

Refuses to ask anything, and to read anything while nothing is unknown.
"""

from __future__ import annotations

from collections.abc import Callable

from .core.evidence import Evidence, Finding, Source
from .core.intent import State
from .outbox import Outbox, Settled
from .transport.http import HttpAnswer
from .venues.answers import NotFound, OrderState
from .venues.operation_data import OPERATIONS
from .venues.operations import Operations, Question
from .venues.outgoing import OutgoingRequest

SOURCES = {"order": Source.QUERY, "orders": Source.OPEN_ORDERS}


class Witness:
    """Reads answers to a bot's questions about orders. ``outbox``: where what they prove is written down."""

    def __init__(self, outbox: Callable[[], Outbox]) -> None:
        self._outbox = outbox
        self.settled = 0

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
        evidence = Evidence(
            SOURCES[OPERATIONS[question.name]],
            Finding.EXISTS,
            asked_at,
            question.family,
            venue_order_id=order.venue_id,
            status=str(order.status),
            created_at=order.time_ms / 1000 if order.time_ms is not None else None,
        )
        self._note(self._outbox().saw(venue, order.client_id, evidence, operations.lookup(question.family).patience))

    def _note(self, settled: Settled | None) -> None:
        self.settled += settled is not None and settled.final
