"""Step 4 of a request's journey: may it leave now, later, or not at all? (DESIGN §2)

In this order: mode, a loop of equal rejects, rule 1 (it stands behind unknown orders of its symbol and side), deadline,
breaker permit, room in the rate budgets. Whoever waits is asked everything again when the wait is over: a mode may be
held and a breaker open by then. Waiting ends with the deadline; whatever was taken is given back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jackstay_protocols.errors import Lane, Reason
from jackstay_protocols.messages import Post, Refusal, Request
from jackstay_protocols.types import OrderClass

from .core.breaker import Permit
from .core.rate_limit import Admit, Refuse, Wait
from .flight import Reply
from .intents import Intents, wire_refusal
from .judgement import REFUSAL_WORDS, Door, Judgement
from .outbox import Intent, Settled, Signed
from .outbox import Wait as StandBehind
from .upstreams import Way

CallLater = Callable[[float, Callable[[], None]], Any]
NOBODY: Any = object()
CALLER_LEFT = "the caller no longer waits"
MARGIN_S = 0.02  # the refusal has to travel back before the caller's own time is over


class Asking(Protocol):
    """A bot's call, or a question of the agent's own."""

    @property
    def message(self) -> Request | Post: ...
    @property
    def deadline_at(self) -> float: ...
    @property
    def abandoned(self) -> bool: ...


class Leave(NamedTuple):
    """It may go. Given back whole if it does not."""

    permit: Permit
    room: Admit


class Admission:
    """May a request leave? ``counters["waited"]`` counts its waits."""

    def __init__(
        self, *, clock: Callable[[], float], call_later: CallLater, intents: Intents, counters: dict[str, int]
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._intents = intents
        self._counters = counters
        self.left = False
        self._waiting: set[Reply[Any]] = set()

    def leave(self) -> None:
        """The agent stops: whoever waits here has not left, and is told so now."""
        self.left = True
        for rung in list(self._waiting):
            rung.set(NOBODY)

    async def admit(
        self,
        call: Asking,
        way: Way,
        judgement: Judgement,
        door: Door,
        intents: tuple[Intent, ...] = (),
        loop_key: Callable[[], tuple[str, ...]] | None = None,
    ) -> Leave | Refusal:
        """Leave, or why not. ``loop_key``: of an order, what makes it equal to others."""
        ticket: Wait | None = None
        while True:
            no = self._forbidden(way, judgement, door, intents, loop_key) or await self._stand(call, way, intents)
            if no is None and call.abandoned:  # an order whose caller has left while it waited is wanted by nobody
                no = Refusal(Reason.EXPIRED, f"{way.upstream.host}: {CALLER_LEFT}")
            if no is None and self._clock() >= call.deadline_at:
                no = Refusal(Reason.EXPIRED, f"{way.upstream.host}: its deadline was over before it could leave")
            if no is not None:
                return self._refused(judgement, ticket, no)
            permit = judgement.acquire(door, way.route)
            if not isinstance(permit, Permit):
                words = REFUSAL_WORDS[permit.reason].format(name=permit.breaker)
                return self._refused(judgement, ticket, Refusal(permit.reason, words, permit.retry_after_s))
            room = judgement.admit(door, call.deadline_at, ticket)
            if isinstance(room, Admit):
                return Leave(permit, room)
            door.breaker.unused(permit)
            if isinstance(room, Refuse):
                return Refusal(room.reason, f"{way.upstream.host}: {room.why}", room.retry_after_s)
            ticket = room
            self._counters["waited"] += 1
            await self.until(room.until)
            if self.left:
                return self._refused(judgement, ticket, _leaving(way))

    def _refused(self, judgement: Judgement, ticket: Wait | None, no: Refusal) -> Refusal:
        if ticket is not None:
            judgement.limiter.leave(ticket)
        return no

    def _forbidden(
        self,
        way: Way,
        judgement: Judgement,
        door: Door,
        intents: tuple[Intent, ...],
        loop_key: Callable[[], tuple[str, ...]] | None,
    ) -> Refusal | None:
        """Held modes and loops: what no waiting within the deadline is known to cure."""
        if way.route.lane is Lane.ORDER:
            held = judgement.held([(each.order_class, each.post_only) for each in intents] or NOTHING_KNOWN)
            if held is not None:
                return Refusal(Reason.MODE, held[0], held[1])
        if loop_key is not None:
            looping = judgement.loop_refusal(door.account, loop_key)
            if looping is not None:
                return Refusal(Reason.LOOP_STOPPED, looping[0], looping[1])
        return None

    async def _stand(self, call: Asking, way: Way, intents: tuple[Intent, ...]) -> Refusal | None:
        """DESIGN §3 rule 1: an order equal to an unknown one is refused, other entries of its side wait for it.

        A patient caller (an unmodified library, which knows no such refusal and would only ask again) waits for the
        equal one, too, before it hears of it: the pipeline then gives it that one's outcome, if it exists.
        """
        fresh_until = call.deadline_at
        if intents and intents[0].signed is Signed.BOT and intents[0].recv_window_s is not None:
            # a signature older than its window is refused by the venue: not sent
            fresh_until = min(fresh_until, self._clock() + intents[0].recv_window_s)
        while True:
            no = self._intents.stand(intents)
            if no is None:
                stale = self._clock() > fresh_until
                return Refusal(Reason.EXPIRED, "its signature is older than its window: not sent") if stale else None
            if isinstance(no, StandBehind):
                behind, words, until = no.behind, _behind(no), fresh_until
            elif no.pending is not None and _is_patient(call.message):  # what became of that one needs no signature
                behind, words, until = (no.pending,), wire_refusal(no, way.upstream.host), call.deadline_at - MARGIN_S
            else:
                return wire_refusal(no, way.upstream.host)
            self._counters["waited"] += 1
            if await self.until_settled(behind, until, not_sent=True) is None:
                return _leaving(way) if self.left else words
            if self._intents.has_late_truth(intents):
                # now, before it stands behind others: the bot may hear of its equal meanwhile, and this would be a twin
                return words

    # ---- waiting

    async def until_settled(self, seqs: tuple[int, ...], instant: float, *, not_sent: bool = False) -> Settled | None:
        """Until one of these is settled, or the instant is there, or (``not_sent``) the agent stops (None)."""
        left_s = instant - self._clock()
        if left_s <= 0 or (not_sent and self.left):
            return None
        rung = self._intents.when_settled(seqs)
        timer = self._call_later(left_s, lambda: rung.set(NOBODY))
        if not_sent:
            self._waiting.add(rung)
        settled = await rung
        self._waiting.discard(rung)
        timer.cancel()
        self._intents.stop_waiting(seqs, rung)
        return None if settled is NOBODY else settled

    async def until(self, instant: float) -> bool:
        """Wait for an instant of the clock, never a moment less (uvloop timers may fire 1 ms early). False: we stop."""
        while not self.left:
            left_s = instant - self._clock()
            if left_s <= 0:
                return True
            rung: Reply[Any] = Reply()
            self._call_later(left_s + 0.001, lambda rung=rung: rung.set(None))  # type: ignore[misc]
            self._waiting.add(rung)
            await rung
            self._waiting.discard(rung)
        return False


def _behind(no: StandBehind) -> Refusal:
    behind = ", ".join(map(str, no.behind[:3]))
    return Refusal(Reason.EXPIRED, f"it waited behind unknown orders of its symbol and side (intents {behind})")


def _is_patient(message: Request | Post) -> bool:
    return isinstance(message, Request) and message.patient


def _leaving(way: Way) -> Refusal:
    return Refusal(Reason.DRAINING, f"{way.upstream.host}: the agent stops and had not sent it", 2.0)


NOTHING_KNOWN = [(OrderClass.UNKNOWN, False)]
