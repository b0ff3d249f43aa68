"""A posted request: accepted into the durable queue now, sent when its venue is there, told when it is known.

The shell around the outbox's queue (journey steps 4 to 12 for what nobody waits for). It accepts; it finds out whether
a venue is there before anything leaves (core/flush); it takes what is due out of the queue, cancels first, and has the
pipeline carry it through the same steps as any call. What provably did not leave goes back to its place until its time
is over; what may have left is never sent again. Headers of queued requests live here, in memory only: those signed by
the bot end with this process, those the agent signs are signed anew when they leave.

Refuses to know sockets, what an answer means, and who may hold what (``allow`` says).
"""

from __future__ import annotations

import random as chance
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from jackstay_protocols.errors import Lane, Outcome, Reason, ValidationError
from jackstay_protocols.limits import DEADLINE_S_DEFAULT
from jackstay_protocols.messages import Accepted, Headers, Refusal, Request

from .core.event_sink import EventSink
from .core.flush import Line, Phase
from .core.intent import State
from .core.verdict import Verdict
from .flight import Flight, Reply
from .gateway.bot_door import Call
from .intents import Begun, Intents, wire_refusal
from .outbox import Due, Intent
from .outbox import Refusal as OutboxRefusal
from .outbox import Wait as StandBehind
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Upstreams, Way
from .venue_access import VenueAccess
from .venues.outgoing import FORM, JSON, OutgoingRequest

ROOM_WITHIN_S = 1.0  # so long a queued one may wait for room in a budget; then others of the queue get their turn
PROOF_WITHIN_S = 3.0
FRESH_ANSWER_S = 5.0  # an answer this young is proof enough that the venue is there
REFUSED_PAUSE_S = 0.5  # where a refusal names no instant
#: The transport could not take it just now; nothing is wrong with the request.
NOT_NOW = frozenset({Reason.DRAINING, Reason.QUEUE_FULL})
#: It will not be taken later either.
HOPELESS = frozenset({Reason.LOOP_STOPPED, Reason.DUPLICATE, Reason.BAD_REQUEST, Reason.TOO_LARGE})
#: Why this one stays; others may leave meanwhile.
ITS_OWN = frozenset({Reason.EXPIRED, Reason.EQUAL_PENDING, Reason.MODE})


class Carried(NamedTuple):
    """It left, or was tried: what came of it."""

    verdict: Verdict
    result: HttpAnswer | HttpFailure
    begun: Begun


Mark = Callable[[], Awaitable["Begun | OutboxRefusal | StandBehind"]]
Carry = Callable[
    [Request, Way, Intent, Mark, float, float], Awaitable["Carried | Refusal | OutboxRefusal | StandBehind"]
]
Ask = Callable[[str, OutgoingRequest, float], Awaitable["HttpAnswer | HttpFailure | None"]]


class Dispatch:
    """The queue's way in and out. ``carry``: steps 4 to 10 of the pipeline, with ``Mark`` before the first byte."""

    def __init__(
        self,
        intents: Intents,
        upstreams: Upstreams,
        access: VenueAccess,
        *,
        carry: Carry,
        ask: Ask,
        clock: Callable[[], float],
        random: chance.Random,
        call_soon: Callable[[Callable[[], None]], Any],
        on_event: EventSink,
        flush_per_s: float,
        header_bytes_max: int,
        allow: Callable[[Intent], bool] = lambda _intent: True,
    ) -> None:
        self._intents = intents
        self._upstreams = upstreams
        self._access = access
        self._carry = carry
        self._ask = ask
        self._clock = clock
        self._random = random
        self._call_soon = call_soon
        self._on_event = on_event
        self._pace_s = 1 / flush_per_s
        self._header_bytes_max = header_bytes_max
        self._allow = allow
        self._lines: dict[str, Line] = {}
        self._taken: set[int] = set()
        self._headers: dict[int, Headers] = {}
        self._header_bytes = 0
        self._kicked = False
        self._draining = False
        self._when_idle: Callable[[], None] | None = None
        self.counters = dict.fromkeys(("accepted", "left", "put_back", "broken"), 0)

    # ---- in

    async def accept(self, call: Call, way: Way) -> None:
        """Into the journal, and on the disk where that was asked for, before the bot hears `Accepted`."""
        host = way.upstream.host
        intents = self._intents.read(call, way, self._access.reading(way.upstream.profile.name))
        intent = intents[0]  # a batch waits as its first order; the others get their own intents when it leaves
        if self._was_told(call, intent):
            return
        no = self._intents.stand(intents)
        if isinstance(no, OutboxRefusal):
            call.reply(wire_refusal(no, host))
            return
        size = sum(len(name) + len(value) for name, value in call.message.headers)
        if self._header_bytes + size > self._header_bytes_max:
            words = f"{host}: the headers of what is queued take {self._header_bytes} bytes; nothing was queued"
            call.reply(Refusal(Reason.QUEUE_FULL, words, 1.0))
            return
        durable: Reply[BaseException | None] = Reply()
        accepted = self._intents.outbox.enqueue(intent, durable.set)
        if isinstance(accepted, StandBehind):
            raise RuntimeError("the queue itself never waits: a bug of ours")
        if isinstance(accepted, OutboxRefusal):
            call.reply(wire_refusal(accepted, host))
            return
        self._keep_headers(accepted.seq, call.message.headers, size)
        fault = None if accepted.durable else await durable
        if fault is not None:
            self._forget_headers(accepted.seq)
            call.reply(Refusal(Reason.DISK, f"{host}: the outbox cannot write ({fault}); nothing was queued", 2.0))
            return
        self.counters["accepted"] += 1
        call.reply(Accepted(str(accepted.seq)))
        self.kick()

    def _was_told(self, call: Call, intent: Intent) -> bool:
        """The same key again is the same request; an equal order of one that exists is that one (late_truth.py)."""
        outbox = self._intents.outbox
        found = outbox.find_duplicate(intent.bot_id, intent.key, intent) if intent.key else None
        if found is not None and not found.same_body:
            words = f"key {intent.key!r} belongs to another request (intent {found.seq}); use a new key"
            call.refuse(Reason.DUPLICATE, words, pending=str(found.seq))
            return True
        late = None if found is not None else self._intents.late_truth(intent)
        seq = found.seq if found is not None else late.seq if late is not None else None
        if seq is None:
            return False
        call.reply(Accepted(str(seq)))
        if late is not None or (found is not None and found.ending is not None):
            self._intents.tell_again(intent.bot_id, seq)
        return True

    def _keep_headers(self, seq: int, headers: Headers, size: int) -> None:
        self._headers[seq] = headers
        self._header_bytes += size

    def _forget_headers(self, seq: int) -> None:
        headers = self._headers.pop(seq, ())
        self._header_bytes -= sum(len(name) + len(value) for name, value in headers)

    def ended(self, seq: int) -> None:
        """The outbox: it expired, was dropped or was settled; nothing of it is needed here."""
        self._forget_headers(seq)

    # ---- out

    def kick(self) -> None:
        """Something changed: look at the queue, once, when the loop has a moment."""
        if not self._kicked:
            self._kicked = True
            self._call_soon(self._kicked_now)

    def _kicked_now(self) -> None:
        self._kicked = False
        self.pump()

    def pump(self) -> None:
        """Call it often (each 20 ms): prove lines, and let leave what is due."""
        outbox = self._intents.outbox
        if self._draining or not outbox.count(State.RECORDED):
            self._emptied()
            return
        for origin in outbox.queued():
            self._line(origin)
        now = self._clock()
        for origin, line in self._lines.items():
            if line.proof_due(now):
                self._prove(origin, line)
        while (due := outbox.next_due(allow=self._may_leave, skip=self._taken, stopped=self._is_stopped)) is not None:
            self._taken.add(due.seq)
            line = self._line(due.intent.connection_id)
            if line.left(self._clock(), due.seq, derisk=due.intent.lane is Lane.DERISK):
                self._on_event("queue.flushed", {"upstream": due.intent.connection_id})
            Flight(self._send(due, line), partial(self._broken, due, line)).step()
        self._emptied()

    def _line(self, origin: str) -> Line:
        line = self._lines.get(origin)
        if line is None:
            line = self._lines[origin] = Line(self._pace_s)
        return line

    def _may_leave(self, intent: Intent) -> bool:
        line = self._line(intent.connection_id)
        if not line.may_leave(self._clock(), derisk=intent.lane is Lane.DERISK) or not self._allow(intent):
            return False
        met = self._upstreams.met(intent.connection_id)
        if met is not None and met.pool.is_live:
            return not self._is_stopped(intent)
        if line.lost():
            self._tell_held(intent.connection_id, "its connections are gone")
            self.kick()
        return False

    def _is_stopped(self, intent: Intent) -> bool:
        """A mode does not let it pass now."""
        met = self._upstreams.met(intent.connection_id)
        if met is None or intent.lane is not Lane.ORDER:
            return False
        return met.judgement.held([(intent.order_class, intent.post_only)]) is not None

    def _emptied(self) -> None:
        depths = self._intents.outbox.queued() if self._lines else {}
        for origin, line in self._lines.items():
            if not depths.get(origin) and not line.under_way and line.emptied():
                self._on_event("queue.flushed", {"upstream": origin})
        if self._when_idle is not None and not self._taken:
            self._when_idle()

    # ---- is the venue there?

    def _prove(self, origin: str, line: Line) -> None:
        try:
            upstream = self._upstreams.meet(origin)
        except ValidationError as error:  # the configuration changed since it was queued
            line.failed(self._clock(), 1.0)
            self._on_event("queue.no_way", {"upstream": origin, "why": str(error)})
            return
        if not upstream.pool.reach():
            return  # being dialled, under the pool's own backoff
        now = self._clock()
        if now - upstream.pool.answered_at < FRESH_ANSWER_S:
            line.proved(now, self._intents.outbox.youngest)
            return
        line.proving()
        Flight(self._proof(origin, upstream.profile.name, line), partial(self._proof_broken, origin, line)).step()

    async def _proof(self, origin: str, venue: str, line: Line) -> None:
        operations = self._access.reading(venue)
        question = None
        if operations is not None and operations.is_open("server_time"):
            question = operations.request("server_time")
        if question is not None:
            answer = await self._ask(origin, question, self._clock() + PROOF_WITHIN_S)
            if not isinstance(answer, HttpAnswer) or answer.status >= 500:
                line.failed(self._clock(), self._random.random())
                return
        line.proved(self._clock(), self._intents.outbox.youngest)
        self.kick()

    def _proof_broken(self, origin: str, line: Line, error: BaseException) -> None:
        line.failed(self._clock(), 1.0)
        self._on_event("queue.broken", {"upstream": origin, "error": f"{type(error).__name__}: {error}"})

    # ---- one of them

    async def _send(self, due: Due, line: Line) -> None:
        intent, derisk = due.intent, due.intent.lane is Lane.DERISK
        try:
            way = self._upstreams.way(intent.method, intent.connection_id + intent.target, "")
            request = Request(
                intent.method,
                intent.connection_id + intent.target,
                self._headers.get(due.seq) or [(b"Content-Type", JSON if intent.body[:1] in (b"{", b"[") else FORM)],
                intent.body,
                sign=intent.signed == "agent",
            )
            mark = partial(self._intents.mark, due, self._access.reading(way.upstream.profile.name))
            now = self._clock()
            told = await self._carry(request, way, intent, mark, now + ROOM_WITHIN_S, DEADLINE_S_DEFAULT)
        except ValidationError as error:  # no key any more, no such upstream any more
            self._intents.give_up(due.seq, intent.bot_id, str(error.reason or Reason.BAD_REQUEST), str(error))
            self._landed(due, line, over=True)
            return
        if isinstance(told, Carried):
            self._came_back(due, line, told, way)
        elif not isinstance(told, StandBehind) and told.reason == Reason.OVERTAKEN:
            self._intents.outbox.drop(due.seq, who="agent", why=told.message, cause=Reason.OVERTAKEN)
            self._on_event("queue.overtaken", {"id": str(due.seq), "bot": intent.bot_id, "symbol": intent.symbol})
            self._landed(due, line, over=True)
        elif not isinstance(told, StandBehind) and told.reason in HOPELESS:
            self._intents.give_up(due.seq, intent.bot_id, told.reason, told.message)
            self._landed(due, line, over=True)
        else:
            if not isinstance(told, StandBehind) and told.reason not in ITS_OWN:
                pause_s = told.retry_after_s if told.retry_after_s is not None else REFUSED_PAUSE_S
                line.refused(self._clock() + pause_s, derisk=derisk)
            self._landed(due, line, over=False)

    def _came_back(self, due: Due, line: Line, told: Carried, way: Way) -> None:
        result = told.result
        if isinstance(result, HttpFailure):
            if line.failed(self._clock(), self._random.random()):
                self._tell_held(way.upstream.origin, f"{result.cause}: {result.detail}")
            unsent = not result.sent and (told.verdict.retryable or result.cause in NOT_NOW)
            if unsent and len(told.begun.seqs) == 1 and self._intents.outbox.put_back(due.seq):
                self.counters["put_back"] += 1
                self._landed(due, line, over=False)
                return
        self.counters["left"] += 1
        self._intents.finish_queued(told.begun, told.verdict, result, way.upstream.profile.table)
        if told.verdict.outcome is Outcome.UNKNOWN:
            self._on_event("queue.unknown", {"ids": [str(seq) for seq in told.begun.seqs], "cause": told.verdict.cause})
        self._landed(due, line, over=True)

    def _landed(self, due: Due, line: Line, *, over: bool) -> None:
        self._taken.discard(due.seq)
        line.landed(derisk=due.intent.lane is Lane.DERISK)
        if over:
            self._forget_headers(due.seq)
        self.kick()

    def _broken(self, due: Due, line: Line, error: BaseException) -> None:
        """A bug of ours in mid-flight: what became of it is the journal's to say (in flight becomes unknown)."""
        self.counters["broken"] += 1
        self._on_event("queue.broken", {"seq": due.seq, "error": f"{type(error).__name__}: {error}"})
        self._intents.lost_sight(due.seq)
        self._landed(due, line, over=True)

    def _tell_held(self, origin: str, why: str) -> None:
        self._on_event(
            "queue.held", {"upstream": origin, "why": why, "queued": self._intents.outbox.queued().get(origin, 0)}
        )

    # ---- end and facts

    def drain(self, when_idle: Callable[[], None]) -> None:
        """Let nothing more leave; call back when what is under way has come back."""
        self._draining = True
        self._when_idle = when_idle
        self._emptied()

    def status(self) -> dict[str, Any]:
        return {
            "lines": {
                origin: {"phase": str(line.phase), "under_way": line.under_way}
                for origin, line in self._lines.items()
                if line.phase is not Phase.STEADY or line.under_way
            },
            **self.counters,
        }
