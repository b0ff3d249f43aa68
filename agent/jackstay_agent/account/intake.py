"""Requests, replies and user streams become pictures of orders, fills and holdings.

It listens to what the pipeline tells (telling.py) and to the raw messages of user streams. Reading costs more than a
reply may wait for, so everything is put into a line and read when the loop is free; the line is bounded, and what does
not fit is counted: evidence that was missed is found by the next check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from jackstay_protocols.errors import Outcome

from ..core.account import Heard, Order, Stage
from ..core.answer_body import told_by_items
from ..core.intent import State
from ..core.outcome_tables import TABLES
from ..outbox import Intent, Settled
from ..telling import Answered, Asked, Attempt, Listener
from ..venues.answers import Fill as ToldFill
from ..venues.answers import OrderState, Unreadable
from ..venues.operations import Operations
from ..venues.outgoing import json_document
from ..venues.placing import PlacedOrder
from ..venues.user_events import UserEvents
from .books import Books
from .bot_doubts import BotDoubts
from .fills import Fills
from .pulling import balance_of, fill_of, order_of, position_of

LINE_MAX = 4_096
BEHIND_LATELY_S = 1.0
TURN_MAX = 16  # read per turn of the loop, so that orders never wait behind evidence
READ_BYTES_MAX = 64 * 1024  # of an answer to a bot's own question: a longer one is not read for evidence
PLACES = frozenset({"place", "replace"})
SHOWS = frozenset({"order_query", "query", "cancel"})
CANCELS = frozenset({"cancel", "cancel_all"})

Job = Callable[[], "Awaitable[None] | None"]


class StreamState:
    """One venue's user stream. ``complete``: a full look at the venue was taken since it came up."""

    __slots__ = ("complete", "heard_at", "lag_s", "least_s", "messages", "unreadable", "up_since", "why")

    def __init__(self) -> None:
        self.up_since: float | None = None
        self.why = ""
        self.heard_at = 0.0  # the last event that says when it happened, and how much later than that it was read
        self.lag_s = 0.0
        self.least_s = float("inf")
        self.complete = False
        self.messages = 0
        self.unreadable = 0

    @property
    def told(self) -> bool:
        """Every change should have been heard."""
        return self.up_since is not None and self.complete


class Intake(Listener):
    """``reading(venue)`` gives the profile's operations; ``spawn`` runs what has to wait; ``soon`` calls back later."""

    def __init__(
        self,
        books: Books,
        fills: Fills,
        doubts: BotDoubts,
        *,
        reading: Callable[[str], Operations | None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        soon: Callable[[Callable[[], None]], Any],
        spawn: Callable[[Awaitable[None]], Any],
        on_trigger: Callable[[str, str, Order | None], None],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._books = books
        self._fills = fills
        self._doubts = doubts
        self._reading = reading
        self._clock = clock
        self._wall = wall
        self._soon = soon
        self._spawn = spawn
        self._on_trigger = on_trigger
        self._on_event = on_event
        self._line: deque[Job] = deque()
        self._called = False
        self._open = False
        self._events: dict[str, UserEvents | None] = {}
        self.streams: dict[str, StreamState] = {}
        self.dropped = 0

    # ---- from the pipeline

    def decided(self, asked: Asked, refusal: Any) -> None:
        if asked.own:
            return
        if asked.kind in CANCELS:
            note = self._doubts.leaving if refusal is None else self._doubts.answered
            self._later(lambda: self._leave(asked, note))
        elif refusal is None and asked.kind in PLACES:
            self._later(lambda: self._requested(asked))

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        if asked.own or not attempt.status or (asked.kind not in PLACES and asked.kind not in SHOWS):
            return
        if len(attempt.body) <= READ_BYTES_MAX or asked.kind in PLACES:
            self._later(lambda: self._read(asked, attempt))

    def answered(self, asked: Asked, answer: Answered) -> None:
        if asked.kind in CANCELS and not asked.own:
            self._later(lambda: self._leave(asked, self._doubts.answered))  # after what the answer says was read
        if asked.kind in PLACES and answer.outcome != Outcome.UNKNOWN:
            self._later(lambda: self._ended(asked, answer.outcome))

    def settled(self, intent: Intent | None, settled: Settled) -> None:
        if intent is not None and intent.client_order_id:
            self._later(lambda: self._resolved(intent, settled))

    # ---- from user streams (user_streams.StreamListener)

    def stream_connected(self, venue: str, missed_s: float | None) -> None:
        """Events come from now on; what was missed is asked for."""
        state = self.streams.setdefault(venue, StreamState())
        state.up_since, state.complete, state.unreadable = self._clock(), False, 0
        lost = "" if missed_s is None else f" after {missed_s:.1f} s"
        self._on_trigger(venue, f"user stream connected{lost}", None)

    def stream_lost(self, venue: str, why: str) -> None:
        state = self.streams.setdefault(venue, StreamState())
        state.up_since, state.complete, state.why = None, False, why

    def stream_message(self, venue: str, payload: bytes) -> None:
        """One message, as it came."""
        heard_at = self._clock()
        self.streams.setdefault(venue, StreamState()).messages += 1
        self._later(lambda: self._streamed(venue, payload, heard_at))

    def behind(self, venue: str, allowed_s: float) -> bool:
        """Events are waiting, or the latest ones came later than usual by more than ``allowed_s``."""
        state = self.streams.get(venue)
        if state is None or state.up_since is None:
            return False
        lags = state.heard_at > self._clock() - BEHIND_LATELY_S and state.lag_s - state.least_s > allowed_s
        return bool(self._line) or lags

    def told(self, venue: str) -> bool:
        state = self.streams.get(venue)
        return state is not None and state.told

    # ---- the line

    def _later(self, job: Job) -> None:
        if len(self._line) >= LINE_MAX:
            self.dropped += 1
            for state in self.streams.values():
                state.complete = False  # something was not read: nobody may say "I should have heard"
            return
        self._line.append(job)
        self._ring()

    def go(self) -> None:
        """What an earlier life knew is in the books: from now on what is heard is read."""
        self._open = True
        self._ring()

    def expected(self, order: Order, bot_id: str) -> Order:
        """An order that the journal has open."""
        return replace(order, stage=Stage.REQUESTED, seen_at=self._clock(), heard=Heard.REQUEST, bot_id=bot_id)

    def _ring(self) -> None:
        if self._line and self._open and not self._called:
            self._called = True
            self._soon(self._turn)

    def _turn(self) -> None:
        self._called = False
        for _ in range(min(TURN_MAX, len(self._line))):
            waiting = self._line.popleft()()
            if waiting is not None:
                self._spawn(waiting)
        self._ring()

    def _leave(self, asked: Asked, note: Callable[[str, str, str], None]) -> None:
        """The orders that a bot's cancel names, or the symbol of which it cancels all."""
        operations = asked.operations or self._reading(asked.venue)
        for question in () if operations is None else operations.cancels(asked.outgoing):
            ids = [question.asked[name] for name in ("client_id", "venue_id") if question.asked.get(name)]
            for each in ids:
                note(asked.venue, each, "")
            if not ids and question.name == "cancel_all" and operations is not None:
                symbol = question.asked.get("symbol", "")
                note(asked.venue, "", operations.profile.symbol(symbol) if symbol else "")

    # ---- reading

    def _requested(self, asked: Asked) -> None:
        for item, placed in enumerate(asked.orders):
            if placed.client_id:
                self._books.request(_asked_for(asked, item, placed, self._clock()))

    def _read(self, asked: Asked, attempt: Attempt) -> Awaitable[None] | None:
        operations = asked.operations or self._reading(asked.venue)
        if operations is None or not attempt.body:
            return None
        if asked.kind in PLACES:
            self._read_reply(asked, attempt, operations)
        elif asked.kind == "cancel":
            self._read_cancel(attempt, operations)
        else:
            self._read_question(asked, attempt, operations)
        return None

    def _read_reply(self, asked: Asked, attempt: Attempt, operations: Operations) -> None:
        placed = asked.orders
        if len(placed) == 1 and attempt.verdict.outcome is Outcome.OK:
            told = operations.read("query_order", attempt.status, attempt.body, family=placed[0].family)
            if isinstance(told, OrderState):
                order = order_of(operations, told, attempt.ended_at, Heard.REPLY, placed[0].family, {})
                if self._books.entry(order) is None:  # the bot gave it no id of its own
                    self._books.adopt(replace(order, bot_id=asked.bot, order_class=_class_of(asked, 0)))
                self._show(order)
        elif len(placed) > 1 and attempt.verdict.outcome is Outcome.OK:
            self._read_batch(placed, attempt, operations)

    def _read_batch(self, placed: list[PlacedOrder], attempt: Attempt, operations: Operations) -> None:
        table = TABLES[operations.profile.table]
        try:
            items = told_by_items(json_document(attempt.body), table)
        except ValueError:
            return
        if len(items) != len(placed):
            return  # which item is whose cannot be said: the next list will
        for order, item in zip(placed, items, strict=True):
            taken = item.code in ("", "0", *table.ok_codes)
            self._books.answered(order.client_id, operations.profile.name, Stage.OPEN if taken else Stage.REJECTED)

    def _read_cancel(self, attempt: Attempt, operations: Operations) -> None:
        for family in operations.families:
            told = operations.read("query_order", attempt.status, attempt.body, family=family)
            if isinstance(told, OrderState) and told.symbol:
                order = order_of(operations, told, attempt.ended_at, Heard.REPLY, family, {})
                if self._books.find(order) is not None:
                    self._show(order)
                    return

    def _read_question(self, asked: Asked, attempt: Attempt, operations: Operations) -> None:
        for question in operations.questions(asked.outgoing):
            told = operations.read(
                question.name, attempt.status, attempt.body, family=question.family, asked=question.asked
            )
            heard = Heard.LIST if isinstance(told, list) else Heard.QUERY
            for each in told if isinstance(told, list) else [told]:
                if isinstance(each, OrderState):
                    self._show(order_of(operations, each, attempt.started_at, heard, question.family, {}))
        if operations.asks(asked.outgoing, "fills_since"):
            fills = operations.read("fills_since", attempt.status, attempt.body)
            if isinstance(fills, list):
                self._fills.shown([fill_of(operations, each) for each in fills if isinstance(each, ToldFill)])

    def _show(self, order: Order) -> None:
        """A picture that the bot got to see as well."""
        self._books.hear(order)
        self._fills.shown_filled(order.venue, order.symbol, order.venue_id, order.filled)

    def _ended(self, asked: Asked, outcome: str) -> None:
        stage = Stage.OPEN if outcome == Outcome.OK else Stage.REJECTED
        orders = asked.orders
        if len(orders) > 1 and stage is Stage.OPEN:
            return  # item by item, as it was read
        for placed in orders:
            self._books.answered(placed.client_id, asked.venue, stage)

    def _resolved(self, intent: Intent, settled: Settled) -> None:
        stage = {State.DONE: Stage.OPEN, State.ABSENT: Stage.ABSENT}.get(settled.state, Stage.REJECTED)
        self._books.answered(intent.client_order_id, intent.venue, stage)
        order = self._books.find(Order(intent.venue, intent.symbol, intent.client_order_id, family=intent.family))
        self._on_trigger(intent.venue, "an unknown order was settled", order)

    def _streamed(self, venue: str, raw: bytes, heard_at: float) -> Awaitable[None] | None:
        operations = self._reading(venue)
        if operations is None:
            return None
        if venue not in self._events:
            events = UserEvents(operations.profile)
            self._events[venue] = events or None
        reader = self._events[venue]
        if reader is None:
            return None
        found = reader.read(raw)
        if isinstance(found, Unreadable):
            state = self.streams[venue]
            state.unreadable += 1
            state.complete = False
            self._on_event("state.stream_unreadable", {"venue": venue, "why": found.reason})
            return None
        fills = []
        for event in found:
            for item in event.items:
                if event.gives == "order":
                    order = order_of(operations, item, heard_at, Heard.STREAM, item.family, {})  # type: ignore[arg-type,union-attr]
                    self._books.hear(order)
                    self._note_orphan(venue, order)
                    self._note_lag(venue, order)
                elif event.gives == "fill":
                    fills.append(fill_of(operations, item))  # type: ignore[arg-type]
            self._hold(operations, event, heard_at)
        return self._tell_fills(fills) if fills else None

    def _note_lag(self, venue: str, order: Order) -> None:
        """How late events come. The venue's clock is another one: only more than the least there was means anything."""
        if order.at_ms is not None:
            state = self.streams[venue]
            state.heard_at, state.lag_s = self._clock(), self._wall() - order.at_ms / 1000
            state.least_s = min(state.least_s, state.lag_s)

    def _note_orphan(self, venue: str, order: Order) -> None:
        if order.live and self._books.entry(order) is None:
            self._on_trigger(venue, "the stream shows an order of nobody", order)

    def _hold(self, operations: Operations, event: Any, heard_at: float) -> None:
        venue = operations.profile.name
        if event.gives == "balance":
            told = [balance_of(operations, item, heard_at) for item in event.items]
        elif event.gives == "position":
            told = [position_of(operations, item, heard_at) for item in event.items]
        else:
            return
        held = [replace(each, at=event.at) for each in told if each is not None]
        self._books.hold(event.gives, venue, held, whole=event.whole)

    async def _tell_fills(self, fills: list[Any]) -> None:
        for each in fills:
            await self._fills.streamed(each)


def _class_of(asked: Asked, item: int) -> str:
    return str(asked.classes[item]) if item < len(asked.classes) else ""


def _asked_for(asked: Asked, item: int, placed: PlacedOrder, at: float) -> Order:
    return Order(
        asked.venue,
        placed.symbol,
        placed.client_id,
        "",
        placed.family,
        placed.side,
        Stage.REQUESTED,
        placed.quantity,
        None,
        placed.price,
        None,
        at,
        Heard.REQUEST,
        asked.bot,
        context=placed.context,
        order_class=_class_of(asked, item),
    )
