"""Step 11 for what nobody knows: ask the venue, with patience and within its budgets; never resend (DESIGN §3 rule 1).

One question at a time per intent, on a schedule: soon after it became unknown (so that the bot's own call can often
still return the truth), then with growing pauses, and again when a "not found" starts to count (core/evidence), or a
recovery finds the venue back: who waits behind an unknown order need not wait for the end of a pause. What an answer
proves is `core/evidence`'s to say; what settles is written down by the outbox.

Refuses to know sockets: ``ask`` carries a signed question to the venue under its limits and breaker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from jackstay_protocols.errors import Outcome, ValidationError

from .core.classify import Cause, Verdict
from .core.evidence import Evidence, Finding, Source, countable_at
from .core.intent import State
from .core.verdict import unknown_of
from .flight import Flight
from .list_search import ListSearch, context_of, has_fields_of
from .outbox import Intent, Outbox, Unknown
from .telling import Listener
from .transport.http import HttpAnswer, HttpFailure
from .venues.answers import NotFound, OrderState
from .venues.operations import Lookup, Operations
from .venues.outgoing import OutgoingRequest

Told = tuple[Evidence, "OrderState | None"]
Ask = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]

FIRST_S = 0.15  # after it became unknown: most replies that were lost belong to orders that are there already
GROWTH = 2.0
PAUSE_MAX_S = 30.0
ANSWER_WITHIN_S = 5.0
AT_ONCE_MAX = 8  # questions under way at once, so that a storm of unknowns does not spend the budget


class Resolver(Listener):
    """Asks about every unknown intent the outbox has, where the venue can be asked and a key is here."""

    def __init__(
        self,
        outbox: Callable[[], Outbox],
        *,
        operations: Callable[[str], Operations | None],
        ask: Ask,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_answer: Callable[[str, object], None],
        on_event: Callable[[str, dict[str, Any]], None],
        look_back: Callable[[str, str], None] = lambda _venue, _client_id: None,
    ) -> None:
        """``look_back``: whoever hears the venue's stream is told that an order became unknown."""
        self._outbox = outbox
        self._operations = operations
        self._ask = ask
        self._clock = clock
        self._on_answer = on_answer
        self._on_event = on_event
        self._look_back = look_back
        self._lists = ListSearch(outbox, ask=ask, clock=clock, wall=wall, on_answer=on_answer)
        self._next: dict[int, tuple[float, float]] = {}  # seq -> (when to ask next, the pause after that)
        self._asking: set[int] = set()
        self.asked = 0

    def can_ask(self, intent: Intent) -> bool:
        """Whether the venue can be asked about this one: a key is here, and the profile says how it is found."""
        operations = self._operations(intent.venue)
        if operations is None:
            return False
        lookup = operations.lookup(intent.family)
        return by_id(intent, lookup) or by_lists(intent, lookup)

    def doubted(
        self, intent: Intent, verdict: Verdict, result: HttpAnswer | HttpFailure, operations: Operations | None
    ) -> Verdict:
        """An answer that may be about another request settles nothing: the venue is asked (DESIGN §3 rules 1, 8).

        A yes that does not name the order's own id (a proxy sent an answer twice: all that follow on its connection are
        another request's), and "this id is taken" for an id that was never used here before (it delivered the request
        twice, and this is what the second one heard).
        """
        client_id = intent.client_order_id
        if not client_id or not isinstance(result, HttpAnswer):
            return verdict
        if verdict.outcome is Outcome.OK:
            rule = operations.families[intent.family].client_id if operations is not None else None
            if rule is None or not rule.echoed or client_id.encode() in result.body:
                return verdict
            self._on_event("answer.strange", {"venue": intent.venue, "client_order_id": client_id})
            return unknown_of(verdict, Cause.NO_ANSWER, "the answer names another order")
        if verdict.cause == Cause.ORDER_NOT_FOUND:  # no answer to a place: it is about a query or a cancel
            self._on_event("answer.strange", {"venue": intent.venue, "client_order_id": client_id})
            return unknown_of(verdict, Cause.NO_ANSWER, "the answer belongs to another request")
        taken = verdict.cause == Cause.DUPLICATE_ID and self.can_ask(intent)
        if taken and len(self._outbox().search(client_id, limit=2)) < 2:
            return unknown_of(verdict, Cause.DUPLICATE_ID, verdict.detail)
        return verdict

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name == "recovery.step" and fields.get("step") == "look_at_account":
            self.ask_soon(str(fields.get("what", "")))

    def ask_soon(self, venue: str) -> None:
        """The venue is back: what is unknown there is asked about at the next tick, and with short pauses again."""
        now = self._clock()
        for unknown in self._outbox().unknowns():
            if unknown.intent.venue == venue and unknown.seq in self._next:
                self._next[unknown.seq] = (now, 2 * FIRST_S)

    def tick(self) -> None:
        """Call it often (each 50 ms while something is unknown): start the questions that are due."""
        unknowns = self._outbox().unknowns()
        if len(self._next) > len(unknowns):
            still = {each.seq for each in unknowns}
            self._next = {seq: due for seq, due in self._next.items() if seq in still}
        now = self._clock()
        for unknown in unknowns:
            if len(self._asking) >= AT_ONCE_MAX:
                return
            if unknown.seq not in self._next:
                self._look_back(unknown.intent.venue, unknown.intent.client_order_id)
                if self._outbox().state(unknown.seq) is not State.UNKNOWN:
                    continue
            due = self._next.setdefault(unknown.seq, (now - unknown.since_s + FIRST_S, 2 * FIRST_S))
            if unknown.seq in self._asking or due[0] > now:
                continue
            operations = self._operations(unknown.intent.venue)
            if operations is None or not self.can_ask(unknown.intent):
                self._next[unknown.seq] = (now + PAUSE_MAX_S, PAUSE_MAX_S)
                continue
            lookup = operations.lookup(unknown.intent.family)
            self._asking.add(unknown.seq)
            Flight(self._question(unknown, operations, lookup), partial(self._broken, unknown.seq)).step()

    async def _question(self, unknown: Unknown, operations: Operations, lookup: Lookup) -> None:
        try:
            if by_id(unknown.intent, lookup):
                evidence, order = await self._asked_all(unknown, operations, lookup.ask)
            else:
                evidence, order = await self._lists.search(unknown, operations, lookup)
            status, reply = (200, operations.as_placed(order)) if order is not None else (None, b"")
            settled = self._outbox().resolve(unknown.seq, evidence, lookup.patience, status=status, reply=reply)
            if settled is None or settled.final:
                self._next.pop(unknown.seq, None)
            else:
                self._again(unknown, lookup)
        finally:
            self._asking.discard(unknown.seq)

    async def _asked_all(self, unknown: Unknown, operations: Operations, names: tuple[str, ...]) -> Told:
        """One round: it exists if any place has it, and is not found only if every place says so."""
        told: list[Evidence] = []
        for name in names:
            evidence, order = await self._asked(unknown, operations, name)
            if evidence.finding is Finding.EXISTS:
                return evidence, order
            told.append(evidence)
        return next((each for each in told if each.finding is Finding.NO_ANSWER), told[0]), None

    async def _asked(self, unknown: Unknown, operations: Operations, name: str) -> Told:
        intent, asked_at = unknown.intent, self._clock()
        nothing = Evidence(Source.QUERY, Finding.NO_ANSWER, asked_at, intent.family)
        wanted = {**context_of(intent), "symbol": intent.symbol, "client_id": intent.client_order_id}
        try:
            question = operations.request(name, family=intent.family, **wanted)
        except ValidationError as error:
            self._on_event("resolver.cannot_ask", {"seq": unknown.seq, "venue": intent.venue, "why": str(error)})
            return nothing, None
        self.asked += 1
        result = await self._ask(intent.connection_id, question, asked_at + ANSWER_WITHIN_S)
        if not isinstance(result, HttpAnswer):
            return nothing, None
        answer = operations.read(
            name, result.status, result.body, family=intent.family, asked={"client_id": intent.client_order_id}
        )
        if isinstance(answer, OrderState):
            created_at = answer.time_ms / 1000 if answer.time_ms is not None else None
            evidence = Evidence(
                Source.QUERY,
                Finding.EXISTS,
                asked_at,
                intent.family,
                venue_order_id=answer.venue_id,
                status=str(answer.status),
                created_at=created_at,
                alike=has_fields_of(unknown, answer),
            )
            return evidence, answer
        if isinstance(answer, NotFound):
            return Evidence(Source.QUERY, Finding.NOT_FOUND, asked_at, intent.family), None
        self._on_answer(intent.venue, answer)
        return nothing, None

    def _again(self, unknown: Unknown, lookup: Lookup) -> None:
        now = self._clock()
        _at, pause_s = self._next.get(unknown.seq, (now, FIRST_S))
        counts_at = countable_at(unknown.search, lookup.patience)
        next_at = now + pause_s
        if now < counts_at < next_at or next_at < counts_at <= next_at + pause_s:
            next_at = counts_at  # not a moment before it counts, and no pause longer than needed
        self._next[unknown.seq] = (next_at, min(pause_s * GROWTH, PAUSE_MAX_S))

    def _broken(self, seq: int, error: BaseException) -> None:
        self._asking.discard(seq)
        self._next[seq] = (self._clock() + PAUSE_MAX_S, PAUSE_MAX_S)
        self._on_event("resolver.broken", {"seq": seq, "error": f"{type(error).__name__}: {error}"})


def by_id(intent: Intent, lookup: Lookup) -> bool:
    """It is found by the id it was sent with."""
    return bool(intent.client_order_id) and lookup.how == "by_client_id"


def by_lists(intent: Intent, lookup: Lookup) -> bool:
    """It can only be recognised among those the venue lists: it has no id, or the venue is not asked by one."""
    return bool(intent.fields) and bool(lookup.lists) and lookup.how != "none"
