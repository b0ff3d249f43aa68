"""What happened, told as values to whoever listens: the audit log, the analytics, the state monitor's evidence.

One journey is told in this order: ``decided`` (admitted, or refused and why), ``attempted`` for each exchange with the
venue, ``answered`` with what the bot was told, and perhaps ``settled`` much later, when an unknown order is proved.
States, modes and operators' actions are events: ``happened`` (the agent's own event sink).

The agent itself always listens (state evidence, errors), so each of these is on the hot path of every request; a hook
that a listener does not override costs nothing. Secrets do not get here: headers are not handed on, and what a request
carried is read through `Asked`, which cuts signatures, keys and tokens out (core/wire_secrets).
A listener that fails is counted and told of; it never breaks the journey it was told about.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from jackstay_protocols.messages import Accepted, Post, Refusal, Request, Response
from jackstay_protocols.types import OrderClass

from .core.event_sink import EventSink
from .core.verdict import Verdict
from .core.wire_secrets import strip_body, strip_target
from .outbox import Intent, Settled
from .transport.http import HttpAnswer, HttpFailure
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest
from .venues.placing import PlacedOrder, given_by
from .venues.profile import Profile

if TYPE_CHECKING:
    from .upstreams import Way

KEEPS_ITS_BODY_BACK = frozenset({"other"})  # a listen key is a secret, and nothing else of this kind is evidence


class Asked:
    """One request, as it may be told. Facts are plain; what must be read out of the request is read when asked for.

    ``account`` is the alias of the key it was made with, ``own`` marks the agent's own questions, ``arrived_at`` is
    boot-time seconds. ``seqs`` are the outbox's
    numbers and ``classes`` what each order is for, once the request was journaled.
    """

    def __init__(
        self,
        request: Request | Post,
        way: Way | None,
        *,
        bot: str,
        request_id: int,
        arrived_at: float,
        account: str = "",
        operations: Operations | None = None,
        own: bool = False,
    ) -> None:
        self.bot = bot
        self.request_id = request_id
        self.arrived_at = arrived_at
        self.account = account
        self.own = own
        self.method = request.method
        self.admitted = False
        self.seqs: tuple[int, ...] = ()
        self.classes: tuple[OrderClass, ...] = ()
        self.operations = operations
        self.attempt: Attempt | None = None  # the last one, once there was one
        self._request = request
        self._way = way

    @property
    def venue(self) -> str:
        """The profile's name; "" where the request named nothing that is known."""
        return self._way.upstream.profile.name if self._way is not None else ""

    @property
    def profile(self) -> Profile | None:
        return self._way.upstream.profile if self._way is not None else None

    @property
    def host(self) -> str:
        return self._way.upstream.host if self._way is not None else ""

    @property
    def path(self) -> str:
        return self._way.path if self._way is not None else self._request.target.partition("?")[0][:200]

    @property
    def kind(self) -> str:
        """What the profile says of its route: place, cancel, order_query ... (venues/profile KINDS)."""
        return self._way.route.kind if self._way is not None else "unlisted"

    @property
    def lane(self) -> str:
        return str(self._way.route.lane) if self._way is not None else ""

    @cached_property
    def outgoing(self) -> OutgoingRequest:
        """The request without headers and secrets: what a profile's readers take."""
        raw = self._way.target if self._way is not None else self._request.target.encode("ascii", "replace")
        target = strip_target(raw).decode("ascii", "replace")
        return OutgoingRequest(self.method, target, [], strip_body(self._request.body))

    @cached_property
    def orders(self) -> list[PlacedOrder]:
        """The orders it would place; empty where there are none or they cannot be read."""
        if self.operations is None:
            return []
        found = self.operations.read_place(self.outgoing)
        return found if isinstance(found, list) else []

    @cached_property
    def given(self) -> dict[str, str]:
        """Its parameters by the venue's names."""
        return given_by(self.outgoing) or {}


class Attempt(NamedTuple):
    """One exchange with the venue. ``status`` 0: no answer came. Times are boot-time seconds."""

    verdict: Verdict
    status: int
    body: bytes
    sent: bool
    started_at: float
    ended_at: float


class Answered(NamedTuple):
    """What the bot was told, without headers. ``outcome`` "accepted": queued, its outcome comes later."""

    outcome: str
    cause: str
    severity: str
    status: int
    sent: bool
    attempts: int
    elapsed_s: float
    intent: str
    detail: str


class Listener:
    """What may be heard; a listener overrides what it wants. Called on the agent's loop: be quick, never wait."""

    def decided(self, asked: Asked, refusal: Refusal | None) -> None:
        """Admitted (None; the next thing is its first byte), or refused."""

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        """The venue answered, or did not; the agent's own questions are told too (``asked.own``)."""

    def answered(self, asked: Asked, answer: Answered) -> None:
        """The bot has its answer. A refusal was ``decided`` and is not told again."""

    def settled(self, intent: Intent | None, settled: Settled) -> None:
        """An order the bot had no last word about has one; ``intent`` None: no longer known.

        The intent's ``target`` and ``body`` may hold signatures: show its fields.
        """

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        """An event: a state, a mode, an operator's action, a finding."""


HOOKS = ("decided", "attempted", "answered", "settled", "happened")
Hears = tuple[Callable[..., None], ...]


class Telling:
    """The one hook. ``listen`` adds a listener; `on_broken` is told of one that failed, at most once a minute each."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.anybody = False  # listens
        self._hear: dict[str, Hears] = dict.fromkeys(HOOKS, ())
        self.broken = 0
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self.on_broken: EventSink = lambda _name, _fields: None

    def listen(self, listener: Listener) -> None:
        self.anybody = True
        for hook in HOOKS:
            if getattr(type(listener), hook) is not getattr(Listener, hook):
                self._hear[hook] = (*self._hear[hook], getattr(listener, hook))

    def asked(
        self, request: Request | Post, way: Way | None, bot: str, request_id: int, arrived_at: float, **more: Any
    ) -> Asked | None:
        """The request as it will be told; None while nobody listens, and then nothing is told of it."""
        if not self.anybody:
            return None
        return Asked(request, way, bot=bot, request_id=request_id, arrived_at=arrived_at, **more)

    def admitted(self, asked: Asked | None, seqs: tuple[int, ...] = (), intents: tuple[Intent, ...] = ()) -> None:
        """Once per request: a second attempt is no second decision."""
        if asked is None or asked.admitted:
            return
        asked.admitted, asked.seqs = True, seqs
        asked.classes = tuple(each.order_class for each in intents)
        for each in self._hear["decided"]:
            self._tell(each, asked, None)

    def refused(self, asked: Asked | None, refusal: Refusal) -> None:
        if asked is not None:
            for each in self._hear["decided"]:
                self._tell(each, asked, refusal)

    def attempted(
        self,
        asked: Asked | None,
        verdict: Verdict,
        result: HttpAnswer | HttpFailure,
        started_at: float,
        ended_at: float,
    ) -> None:
        if asked is None:
            return
        if isinstance(result, HttpAnswer):
            body = b"" if asked.kind in KEEPS_ITS_BODY_BACK else result.body
            attempt = Attempt(verdict, result.status, body, True, started_at, ended_at)
        else:
            attempt = Attempt(verdict, 0, b"", result.sent, started_at, ended_at)
        asked.attempt = attempt
        for each in self._hear["attempted"]:
            self._tell(each, asked, attempt)

    def replied(self, asked: Asked, reply: Response | Refusal | Accepted, now: float) -> None:
        """The end of a call: a refusal is a decision, anything else an answer."""
        if isinstance(reply, Refusal):
            self.refused(asked, reply)
            return
        if isinstance(reply, Accepted):
            answer = Answered("accepted", "", "", 0, False, 0, now - asked.arrived_at, reply.intent, "")
        else:
            answer = Answered(
                str(reply.outcome),
                reply.cause,
                reply.severity,
                reply.status,
                reply.sent,
                reply.attempts,
                now - asked.arrived_at,
                reply.intent,
                reply.detail,
            )
        for each in self._hear["answered"]:
            self._tell(each, asked, answer)

    def settled(self, intent: Intent | None, settled: Settled) -> None:
        for each in self._hear["settled"]:
            self._tell(each, intent, settled)

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        for each in self._hear["happened"]:
            self._tell(each, name, fields, wall_us)

    def _tell(self, hear: Callable[..., None], *facts: Any) -> None:
        try:
            hear(*facts)
        except Exception as error:
            self.broken += 1
            who = type(getattr(hear, "__self__", hear)).__name__
            now = self._clock()
            if now - self._told_at.get(who, -60.0) >= 60.0:
                self._told_at[who] = now
                self.on_broken("telling.broken", {"listener": who, "error": f"{type(error).__name__}: {error}"[:200]})
