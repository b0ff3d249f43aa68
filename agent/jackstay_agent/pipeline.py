"""The journey of a request, steps 4 to 12 (DESIGN §2). Read `_journey` from top to bottom: that is the order.

Every request is one coroutine, resumed by callbacks (flight.py). Decisions are the core's; bytes are the transport's;
this file only puts them in order. What it promises: each call is answered exactly once; a request that may have had an
effect is sent at most once; an expired one is not sent at all.
"""

from __future__ import annotations

import random as chance
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from jackstay_protocols.errors import Lane, Outcome, Reason, ValidationError
from jackstay_protocols.messages import Post, Refusal, Request, Response

from .admission import CALLER_LEFT, Admission, CallLater, Leave
from .core.classify import Cause, Verdict, classify_answer, classify_failure
from .core.event_sink import EventSink
from .core.intent import State
from .core.nonce import LeftNonces, nonce_of
from .core.retry import RetryAt, RetryPolicy, RetryState, Would, may_retry, would_retry
from .dispatch import Carried, Mark
from .flight import Flight, Reply
from .gateway.bot_door import Call
from .intents import Begun, Intents, wire_refusal
from .judgement import Door, Judgement
from .load_guard import LoadGuard
from .news import OUTCOMES
from .nonce_turns import NonceTurns
from .outbox import Intent
from .outbox import Refusal as OutboxRefusal
from .outbox import Wait as StandBehind
from .replies import found_response, repeated_response, response_of
from .resolver import Resolver
from .telling import Asked, Telling
from .transport.http import HttpAnswer, HttpFailure
from .transport.http_ticket import Sealed, Ticket
from .upstreams import Upstreams, Way
from .venue_access import VenueAccess
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest
from .venues.signing import NONCE_SCHEMES
from .witness import Witness

_loads: Callable[[bytes], Any] = msgspec.json.decode  # several times faster than the standard library's

ANSWER_SHARE = 0.6  # of the bot's deadline, where the rest can be used to ask
ANSWER_MARGIN_S = 0.02  # the answer has to travel back

# "Not now" is obeyed, not retried (Envoy's rule for overload and rate limits): the gate and the bot decide.
OBEYED = frozenset({Cause.RATE_LIMITED, Cause.ORDER_RATE, Cause.BANNED, Cause.OVERLOAD, Cause.WAF, Cause.MAINTENANCE})


class Own:
    """A question of the agent's own, where the pipeline's steps expect a bot's call."""

    __slots__ = ("abandoned", "asked", "cancel", "deadline_at", "message")

    carrier: Any = None

    def __init__(self, message: Request, deadline_at: float) -> None:
        self.message = message
        self.deadline_at = deadline_at
        self.abandoned = False
        self.cancel: Callable[[], None] | None = None
        self.asked: Asked | None = None


class Pipeline:
    """Takes calls from the gateway and sees each one through."""

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: chance.Random,
        call_later: CallLater,
        retry: RetryPolicy,
        intents: Intents,
        resolver: Resolver,
        witness: Witness,
        access: VenueAccess,
        accept: Callable[[Call, Way], Awaitable[None]],
        on_event: EventSink,
        telling: Telling,
        load: LoadGuard,
    ) -> None:
        """``accept`` takes what is to be queued (dispatch.py), which comes back through `carry`."""
        self._upstreams = upstreams
        self._clock = clock
        self._wall = wall
        self._random = random
        self._call_later = call_later
        self._retry = retry
        self._intents = intents
        self._resolver = resolver
        self._witness = witness
        self._access = access
        self._accept = accept
        self._on_event = on_event
        self._telling = telling
        self._load = load
        self.counters = dict.fromkeys(
            ("requests", "ok", "rejected", "failed", "unknown", "refused", "retries", "waited", "broken"), 0
        )
        self._left = LeftNonces()
        self._turns = NonceTurns(call_later)
        self._admission = Admission(clock=clock, call_later=call_later, intents=intents, counters=self.counters)

    def take(self, call: Call) -> None:
        """Steps 4 to 12 for one call; returns at its first wait."""
        self.counters["requests"] += 1
        Flight(self._journey(call), lambda error: self._broken(call, error)).step()

    async def _journey(self, call: Call) -> None:
        request = call.message
        try:
            way = self._upstreams.way(request.method, request.target, request.venue)
            signer = self._access.signing(way.upstream.profile.name) if request.sign else None
            if signer is not None:
                way = self._named(call, way, signer)
                request = call.message
        except ValidationError as error:
            self._refuse(call, Reason(error.reason or Reason.BAD_REQUEST), str(error))
            return
        judgement = way.upstream.judgement
        key = judgement.key_alias(request.headers if signer is None else signer.key_headers())
        reading = self._access.reading(way.upstream.profile.name)
        call.asked = self._telling.asked(
            request, way, call.peer.session.bot_id, call.id, call.arrived_at, account=key, operations=reading
        )
        if isinstance(request, Post):
            await self._posted(call, way)
            return
        intents = self._intents.read(call, way, reading)
        way = _lane_by_evidence(way, intents)
        if (intents and await self._was_told(call, way, intents)) or self._was_shed(call, way):
            return
        judgement.retry_budget.called(call.arrived_at)
        door = judgement.door(request.method, way.path, way.route, key)
        loop_key = (lambda: _order_key(judgement, way, call)) if way.route.is_order else None
        begun: Begun | None = None
        state = RetryState.begin(self._retry, call.arrived_at, call.deadline_at)
        result: HttpAnswer | HttpFailure | None = None
        while True:
            leave = await self._admission.admit(call, way, judgement, door, intents, loop_key)  # 4
            if result is not None and isinstance(leave, Refusal):
                break  # a second try is not to be had: the first one's answer stands
            if self._stays(call, way, intents, judgement, door, leave) or isinstance(leave, Refusal):
                return
            if intents:
                written = await self._written(call, way, intents)  # 5
                if not isinstance(written, Begun):
                    judgement.give_back(door, leave.permit, leave.room)
                    if isinstance(written, StandBehind):
                        continue  # another one became unknown meanwhile: stand in line behind it
                    self._answer_refusal(call, written)
                    return
                begun = written
            self._telling.admitted(call.asked, () if begun is None else begun.seqs, intents)
            started_at = self._clock()
            result = await self._send(call, way, self._answer_by(call, begun), signer)  # 6, 7, 8
            verdict = self._classify(way, result)  # 9
            if begun is not None:
                verdict = self._finished(begun, verdict, result, way)
            self._record(judgement, door, leave, way, call, key, verdict, started_at, result)  # 10
            self._witnessed(way, request, result, started_at)
            again = self._again(judgement, way, state, verdict)  # 11
            if again is None or call.abandoned:
                break
            self.counters["retries"] += 1
            state = again.state
            if not await self._admission.until(again.at):
                break  # the agent stops: the answer there is stands
        self._learn(judgement, door, way, call, verdict)
        response = response_of(result, verdict, self._clock() - call.arrived_at, state.attempts)
        if begun is not None:
            if verdict.outcome is Outcome.UNKNOWN:
                response = await self._resolved(call, begun, response)
            response = msgspec.structs.replace(response, intent=begun.name)
            self._intents.told(begun, heard=not call.abandoned)
        self.counters[response.outcome] += 1
        call.reply(response)  # 12

    def leave(self) -> None:
        """The agent stops: what waits and has not left is turned away, for the next one."""
        self._admission.leave()

    # ---- 1 to 3 again: what was asked before

    async def _was_told(self, call: Call, way: Way, intents: tuple[Intent, ...]) -> bool:
        """The same key again gets the outcome of the first, in any mode; answered here if so."""
        first = intents[0]
        outbox = self._intents.outbox
        found = outbox.find_duplicate(first.bot_id, first.key, first) if first.key else None
        if found is None:
            return self._was_told_late(call, way, intents)
        if not found.same_body:
            self._refuse(
                call,
                Reason.DUPLICATE,
                f"key {first.key!r} belongs to another request (intent {found.seq}); one key belongs to one request:"
                " use a new key",
            )
            return True
        if found.ending is None:
            await self._admission.until_settled((found.seq,), call.deadline_at)
            found = outbox.find_duplicate(first.bot_id, first.key, first) or found
        call.reply(repeated_response(found))
        return True

    def _was_told_late(self, call: Call, way: Way, intents: tuple[Intent, ...]) -> bool:
        """An equal order of a bot that never heard that the first one exists: the first one's outcome is the answer."""
        found = self._intents.late_truths(intents)
        if not found:
            return False
        late = found[0]
        # neither a batch nor a trade socket has words for another request's answer
        if late.ending.reply and len(intents) == 1 and call.carrier is None:
            call.reply(found_response(Response(0, b"", [], b"", Outcome.OK), late.seq, late.ending))
        else:
            each = ", ".join(f"{one.seq} {one.client_order_id}".rstrip() for one in found)
            words = (
                f"{way.upstream.host}: an equal order of this bot was unknown and exists (intent {each}): collect its"
                " outcome; place it again if a second one is wanted; nothing of this request was sent"
            )
            self._answer_refusal(call, Refusal(Reason.DUPLICATE, words, None, Outcome.FAILED))
        return True

    def _stays(
        self,
        call: Call,
        way: Way,
        intents: tuple[Intent, ...],
        judgement: Judgement,
        door: Door,
        leave: Leave | Refusal,
    ) -> bool:
        """After its waits: an equal it waited for exists by now, or it may not leave; answered here if so."""
        if intents and not call.abandoned and self._was_told_late(call, way, intents):
            if isinstance(leave, Leave):
                judgement.give_back(door, leave.permit, leave.room)
            return True
        if isinstance(leave, Refusal):
            self._answer_refusal(call, leave)
            return True
        return False

    async def _written(self, call: Call, way: Way, intents: tuple[Intent, ...]) -> Begun | Refusal | StandBehind:
        """In the journal, to leave now; from here on a caller that leaves does so with its orders under way."""
        begun = await self._intents.begin(intents)
        if isinstance(begun, StandBehind):
            return begun
        if not isinstance(begun, Begun):
            return wire_refusal(begun, way.upstream.host)
        if not call.abandoned:
            call.cancel = lambda: self._intents.left(begun)
        elif way.route.lane is Lane.ORDER:  # it left while the disk was waited for: its bot may have asked for an equal
            self._intents.unsent(begun, CALLER_LEFT)
            return Refusal(Reason.EXPIRED, f"{way.upstream.host}: {CALLER_LEFT}")
        else:  # what reduces risk goes on
            self._intents.left(begun)
        return begun

    def _was_shed(self, call: Call, way: Way) -> bool:
        """The agent itself is at its limits, and this lane is one it turns away; answered here if so."""
        if not self._load.sheds(way.route.lane):
            return False
        self._answer_refusal(call, self._load.refusal(way.route.lane))
        return True

    async def _posted(self, call: Call, way: Way) -> None:
        """To be queued. Orders are not shed here: the queue has bounds of its own, and knows what reduces risk."""
        if way.route.is_order or not self._was_shed(call, way):
            await self._accept(call, way)

    def _named(self, call: Call, way: Way, signer: Operations) -> Way:
        """An order that the agent signs gets a client order id if it has none: it can be asked for by it."""
        asked = _outgoing(way, call.message)
        placed = signer.read_place(asked)
        if not isinstance(placed, list) or all(each.client_id for each in placed):
            return way
        ids = [self._intents.mint(signer, each) for each in placed]
        try:
            named = signer.with_client_ids(asked, ids)
        except ValidationError:
            return way  # a family that takes none
        call.message = msgspec.structs.replace(call.message, body=named.body)
        return way._replace(target=named.target.encode("ascii"))

    # ---- what was queued

    async def carry(
        self, request: Request, way: Way, intent: Intent, mark: Mark, room_by: float, answer_within_s: float
    ) -> Carried | Refusal | OutboxRefusal | StandBehind:
        """Steps 4 to 10 for what waited in the queue; ``mark`` writes down that it leaves, before it does.

        Raises ValidationError where the agent cannot sign it (any more).
        """
        way = _lane_by_evidence(way, (intent,))
        own, judgement = Own(request, room_by), way.upstream.judgement
        signer = self._access.signing(way.upstream.profile.name) if request.sign else None
        key = judgement.key_alias(request.headers if signer is None else signer.key_headers())
        door = judgement.door(request.method, way.path, way.route, key)
        loop_key = (lambda: _order_key(judgement, way, own)) if way.route.is_order else None
        leave = await self._admission.admit(own, way, judgement, door, (intent,), loop_key)
        if isinstance(leave, Refusal):
            return leave
        if signer is None and (number := _nonce(way, request)) is not None and self._left.overtaken(key, number):
            judgement.give_back(door, leave.permit, leave.room)
            words = f"{way.upstream.host}: never sent: a request of the same key with a later nonce left before it"
            return Refusal(Reason.OVERTAKEN, words)
        begun = await mark()
        if not isinstance(begun, Begun):
            judgement.give_back(door, leave.permit, leave.room)
            return begun
        started_at = self._clock()
        reading = self._access.reading(way.upstream.profile.name)
        own.asked = self._telling.asked(
            request, way, intent.bot_id, int(intent.request_id or 0), started_at, account=key, operations=reading
        )
        self._telling.admitted(own.asked, begun.seqs, begun.intents)
        result = await self._send(own, way, started_at + answer_within_s, signer)
        verdict = self._classify(way, result)
        self._record(judgement, door, leave, way, own, key, verdict, started_at, result)
        self._witnessed(way, request, result, started_at)
        self._learn(judgement, door, way, own, verdict)
        return Carried(verdict, result, begun)

    # ---- the agent's own questions

    async def ask(
        self, origin: str, question: OutgoingRequest, deadline_at: float, breaker: str = ""
    ) -> HttpAnswer | HttpFailure | None:
        """Carry a question to a venue under its own limits and the breaker of its class, or the one that is named.
        None: it may not be asked now.
        """
        message = Request(question.method, origin + question.target, question.headers, question.body)
        way = self._upstreams.way(message.method, message.target, "")
        own = Own(message, deadline_at)
        judgement = way.upstream.judgement
        key = judgement.key_alias(message.headers)
        door = judgement.door(message.method, way.path, way.route, key, breaker)
        leave = await self._admission.admit(own, way, judgement, door)
        if isinstance(leave, Refusal):
            return None
        started_at = self._clock()
        # signed again as it leaves: it may have waited, and where numbers rise others may have left before it
        signer = self._access.asking(way.upstream.profile.name) if question.signed else None
        own.asked = self._telling.asked(
            message,
            way,
            "",
            0,
            started_at,
            account=key,
            operations=self._access.reading(way.upstream.profile.name),
            own=True,
        )
        result = await self._send(own, way, deadline_at, signer)
        self._record(judgement, door, leave, way, own, key, self._classify(way, result), started_at, result)
        return result

    # ---- 6, 7, 8

    def _answer_by(self, call: Call, begun: Begun | None) -> float:
        """Where the venue can be asked, 0.6 of the bot's time is for the answer and the rest for asking."""
        if begun is None or len(begun.intents) > 1 or not self._resolver.can_ask(begun.intents[0]):
            return call.deadline_at
        return call.arrived_at + ANSWER_SHARE * (call.deadline_at - call.arrived_at)

    async def _resolved(self, call: Call, begun: Begun, unknown: Response) -> Response:
        """The truth, if it can be had before the bot's deadline; otherwise it comes later as news."""
        if len(begun.intents) > 1 or not self._resolver.can_ask(begun.intents[0]):
            return unknown
        settled = await self._admission.until_settled(begun.seqs, call.deadline_at - ANSWER_MARGIN_S)
        if settled is None:
            return unknown
        ending = settled.ending
        if settled.state is State.DONE:
            return unknown if ending is None or not ending.reply else found_response(unknown, settled.seq, ending)
        return msgspec.structs.replace(
            unknown,
            status=0,
            headers=[],
            body=b"",
            outcome=OUTCOMES[settled.state],
            cause=str(settled.state),
            detail=f"not executed: {settled.why}",
        )

    async def _send(
        self, call: Call | Own, way: Way, deadline_at: float, signer: Operations | None = None
    ) -> HttpAnswer | HttpFailure:
        if signer is None or not signer.needs_nonce:
            return await self._sent(call, way, deadline_at, signer)
        venue = way.upstream.profile.name
        await self._turns.mine(venue, derisk=way.route.lane is Lane.DERISK)
        try:
            return await self._sent(call, way, deadline_at, signer)
        finally:
            self._turns.over(venue)

    async def _sent(
        self, call: Call | Own, way: Way, deadline_at: float, signer: Operations | None
    ) -> HttpAnswer | HttpFailure:
        request = call.message
        reply: Reply[HttpAnswer | HttpFailure] = Reply()
        changes = way.route.changes
        target, headers, body = way.target, request.headers, request.body
        sealed: Sealed | None = None
        number = None if signer is not None else _nonce(way, request)
        if number is not None:
            key = way.upstream.judgement.key_alias(headers)
            before = self._left.leaves(key, number)
        try:
            if signer is not None:  # now and not before, and again after a wait: its timestamp should be young
                sealed = partial(_signed, signer, way, request)
                target, headers, body = sealed()
            ticket = (call.carrier or way.upstream.pool).submit(
                request.method.encode("ascii", "replace"),
                target,
                headers,
                body,
                deadline_at=deadline_at,
                done=reply.set,
                idempotent=not changes,
                lane=way.route.lane,
                sealed=sealed,
            )
        except ValidationError as error:
            return HttpFailure(Reason.BAD_REQUEST, sent=False, detail=str(error), connection_id=None, elapsed_s=0.0)
        if not changes:
            # A question nobody waits for is dropped; what may have an effect is seen through for the record.
            call.cancel = lambda: _drop(ticket, reply)
        result = await reply
        if number is not None and isinstance(result, HttpFailure) and not result.sent:
            self._left.returned(key, number, before)
        return result

    # ---- 9

    def _classify(self, way: Way, result: HttpAnswer | HttpFailure) -> Verdict:
        route, profile = way.route, way.upstream.profile
        if isinstance(result, HttpFailure):
            return classify_failure(result.cause, sent=result.sent, is_order=route.changes, detail=result.detail)
        return classify_answer(
            result.status,
            result.headers,
            result.body,
            table=profile.table,
            expects_json=profile.expects_json(route),
            is_order=route.changes,
            wall_now_s=self._wall(),
            loads=_loads,
        )

    def _doubted(self, way: Way, intent: Intent, verdict: Verdict, result: HttpAnswer | HttpFailure) -> Verdict:
        doubted = self._resolver.doubted(intent, verdict, result, self._access.reading(intent.venue))
        if doubted is not verdict and doubted.cause != verdict.cause and isinstance(result, HttpAnswer):
            way.upstream.pool.distrust(result.connection_id)
        return doubted

    def _finished(self, begun: Begun, verdict: Verdict, result: HttpAnswer | HttpFailure, way: Way) -> Verdict:
        """Written down. A batch of which every order is known is answered: each order's own answer stands in it."""
        if len(begun.intents) == 1:
            verdict = self._doubted(way, begun.intents[0], verdict, result)
        known = self._intents.finish(begun, verdict, result, way.upstream.profile.table)
        return replace(verdict, outcome=Outcome.OK) if known and verdict.cause == Cause.PARTIAL_BATCH else verdict

    # ---- 10

    def _record(
        self,
        judgement: Judgement,
        door: Door,
        leave: Leave,
        way: Way,
        call: Call | Own,
        key: str,
        verdict: Verdict,
        started_at: float,
        result: HttpAnswer | HttpFailure,
    ) -> None:
        answered = isinstance(result, HttpAnswer)
        ended_at = self._clock()
        endpoint = f"{call.message.method} {way.path}" if verdict.gate is not None else ""
        judgement.record(
            door,
            leave.permit,
            endpoint,
            key,
            verdict,
            ended_at - started_at,
            result.headers if isinstance(result, HttpAnswer) else None,
            sent=answered or (isinstance(result, HttpFailure) and result.sent),
        )
        self._telling.attempted(call.asked, verdict, result, started_at, ended_at)

    def _witnessed(self, way: Way, request: Request | Post, result: HttpAnswer | HttpFailure, asked_at: float) -> None:
        """A bot's own question about orders is asked of the venue too: what it proves is believed."""
        if way.route.kind != "order_query" or not isinstance(result, HttpAnswer):
            return
        venue = way.upstream.profile.name
        asked = _outgoing(way, request)
        self._witness.heard(self._access.reading(venue), venue, asked, result, asked_at)

    def _learn(self, judgement: Judgement, door: Door, way: Way, call: Call | Own, verdict: Verdict) -> None:
        """Equal business rejects in a row are a loop (DESIGN §3 rule 9)."""
        if way.route.is_order and verdict.outcome in (Outcome.REJECTED, Outcome.OK):
            rejected = verdict.outcome is Outcome.REJECTED
            order = _order_key(judgement, way, call) if rejected else ()
            judgement.order_answered(door.account, order, verdict, rejected=rejected)

    # ---- 11

    def _again(self, judgement: Judgement, way: Way, state: RetryState, verdict: Verdict) -> RetryAt | None:
        """Would it help, and may it be? Only questions are asked again; what may have had an effect never is."""
        if verdict.outcome is Outcome.OK or way.route.changes or verdict.cause in OBEYED:
            return None
        if would_retry(verdict, idempotent=True) is not Would.YES:
            return None
        may = may_retry(
            state,
            self._retry,
            judgement.retry_budget,
            self._clock(),
            chance=self._random.random(),
            retry_after_s=verdict.retry_after_s,
        )
        return may if isinstance(may, RetryAt) else None

    # ---- 12

    def _answer_refusal(self, call: Call, refusal: Refusal) -> None:
        self.counters["refused"] += 1
        call.reply(refusal)

    def _refuse(self, call: Call, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        self.counters["refused"] += 1
        call.refuse(reason, message, retry_after_s=retry_after_s)

    def _broken(self, call: Call, error: BaseException) -> None:
        self.counters["broken"] += 1
        self._on_event(
            "request.broken",
            {
                "bot": call.peer.session.bot_id,
                "error": f"{type(error).__name__}: {error}",
                "url": call.message.target.partition("?")[0][:80],
            },
        )
        call.refuse(Reason.INTERNAL, f"a fault of the agent: {type(error).__name__}; its log has the details")


def _lane_by_evidence(way: Way, intents: tuple[Intent, ...]) -> Way:
    """The de-risking lane for orders which the venue itself keeps from enlarging anything (DESIGN §3 rule 4)."""
    if intents and intents[0].lane is not way.route.lane:
        return way._replace(route=msgspec.structs.replace(way.route, lane=intents[0].lane))
    return way


def _nonce(way: Way, request: Request | Post) -> int | None:
    """The number in what a bot signed, where its venue counts them per key."""
    if way.upstream.profile.data.signing.scheme not in NONCE_SCHEMES or not request.body:
        return None
    return nonce_of(request.body)


def _outgoing(way: Way, request: Request | Post) -> OutgoingRequest:
    return OutgoingRequest(request.method, way.target.decode("ascii"), request.headers, request.body)


def _signed(signer: Operations, way: Way, request: Request | Post) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    made = signer.sign(_outgoing(way, request))
    return made.target.encode("ascii"), made.headers, made.body


def _order_key(judgement: Judgement, way: Way, call: Call | Own) -> tuple[str, ...]:
    _path, _, query = way.target.partition(b"?")
    return judgement.order_key(f"{call.message.method} {way.path}", query.decode("ascii"), call.message.body)


def _drop(ticket: Ticket, reply: Reply[HttpAnswer | HttpFailure]) -> None:
    """The caller of a question left: free its connection's place and end its flight."""
    ticket.abandon()
    reply.set(
        HttpFailure(Cause.CANCELLED, sent=ticket.written, detail="the caller left", connection_id=None, elapsed_s=0.0)
    )


assert set(Outcome) == {"ok", "rejected", "failed", "unknown"}  # the counters above have a place for each
