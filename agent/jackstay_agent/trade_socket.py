"""Orders in the messages of a WebSocket: read, journaled and judged as if they had come as requests (DESIGN §6).

A guard stands in a relay of http.sock. A message that places, changes or cancels an order becomes a `Call` that takes
the journey of every other, with one difference: it is carried to the venue by its own bytes on its own socket, and the
venue's answer reaches the bot as it came. What the agent refuses is answered in the venue's own form. Where a profile
does not say how orders stand in the messages, whatever sounds like one is refused rather than let through unread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.limits import DEADLINE_S_DEFAULT
from jackstay_protocols.messages import Accepted, Refusal, Request, Response
from jackstay_protocols.session import BotSession

from .core.event_sink import EventSink
from .core.ws_frames import TEXT, WsMessage
from .gateway.call import Call, Peer
from .gateway.http_answers import status_of
from .gateway.http_door import HttpDoor
from .gateway.http_relay import Relay
from .transport.http import Done, HttpAnswer, HttpFailure
from .transport.http_ticket import Sealed
from .venues.outgoing import JSON, json_document
from .venues.profile import Profile
from .venues.sockets import SocketData, answer_of, refusal_text, request_of, sounds_like_an_order

POLICY = 1008  # RFC 6455 7.4.1: what was sent violates the policy
INTERNAL = 1011
PENDING_MAX = 1024


class TradeSockets:
    """Which guard a WebSocket gets."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
        take: Callable[[Call], None],
        unread: str,
        on_event: EventSink,
    ) -> None:
        self._profiles = profiles
        self.clock = clock
        self.call_later = call_later
        self.take = take
        self._unread = unread
        self.on_event = on_event

    def guard_for(self, door: HttpDoor, relay: Relay, bot: BotSession, url: str) -> TradeGuard | CarefulGuard | None:
        """None: nothing on this socket can be an order, or the operator lets it pass unread."""
        path = "/" + url.partition("://")[2].partition("?")[0].partition("/")[2]
        for profile in self._profiles.values():
            socket = profile.socket(relay.endpoint.host, path)
            if socket is None:
                continue
            if socket.carries == "data":
                return None
            if socket.methods:
                return TradeGuard(self, door, relay, bot, profile, socket)
            break
        if self._unread == "pass":
            self.on_event("http.socket_unread", {"url": relay.place, "bot": bot.bot_id})
            return None
        return CarefulGuard(relay, bot, self.on_event)


class CarefulGuard:
    """On a socket nobody named: what may be an order ends it, before a byte of it leaves."""

    def __init__(self, relay: Relay, bot: BotSession, on_event: EventSink) -> None:
        self._relay = relay
        self._bot = bot
        self._on_event = on_event

    def from_client(self, message: WsMessage) -> bool:
        if message.kind == TEXT and not sounds_like_an_order(message.payload):
            return True
        _refuse_unread(self._relay, self._bot, self._on_event)
        return False

    def from_venue(self, message: WsMessage) -> None:
        pass

    def ended(self) -> None:
        pass


def _refuse_unread(relay: Relay, bot: BotSession, on_event: EventSink) -> None:
    on_event("http.order_refused", {"url": relay.place, "bot": bot.bot_id, "why": "no profile reads it"})
    relay.stop(POLICY, "jackstay: this may be an order, and no profile says how to read it on this socket; use REST")


class SocketCall(Call):
    """One order message, as the pipeline sees it. It is also the way to the venue: `submit`."""

    __slots__ = ("answered", "done", "guard", "number", "raw", "verb", "written")

    def __init__(
        self, guard: TradeGuard, number: Any, verb: str, raw: bytes, message: Request, now: float, deadline_at: float
    ) -> None:
        super().__init__(guard.door, Peer(b"", guard.bot, None), 0, message, now, deadline_at)
        self.guard = guard
        self.number = number
        self.verb = verb
        self.raw = raw
        self.done: Done | None = None
        self.written = False
        self.answered = False  # the venue's own words have passed to the bot

    @property
    def carrier(self) -> SocketCall:
        return self

    def submit(
        self,
        _method: bytes,
        _target: bytes,
        _headers: Any,
        _body: bytes,
        *,
        deadline_at: float,
        done: Done,
        idempotent: bool,
        lane: Lane = Lane.OTHER,
        sealed: Sealed | None = None,
    ) -> SocketCall:
        """The bot's own bytes leave; the answer is found by its number (``idempotent`` or not: sent once; of any
        ``lane``: in the bot's order; never ``sealed``: the bot has signed).
        """
        self.done = done
        self.guard.send(self, deadline_at)
        return self

    def abandon(self) -> None:
        self.done = None

    def finish(self, result: HttpAnswer | HttpFailure) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(result)

    def reply(self, answer: Response | Refusal | Accepted) -> None:
        if not self.replied:
            self.guard.over(self)
            super().reply(answer)

    def deliver(self, answer: Response | Refusal | Accepted) -> None:
        self.guard.deliver(self, answer)


class TradeGuard:
    """On a socket whose orders the profile can read."""

    def __init__(
        self, house: TradeSockets, door: HttpDoor, relay: Relay, bot: BotSession, profile: Profile, socket: SocketData
    ) -> None:
        self.bot = bot
        self._house = house
        self.door = door
        self._relay = relay
        self._profile = profile
        self._socket = socket
        self._pending: dict[Any, SocketCall] = {}

    # ------------------------------------------------------------ from the bot

    def from_client(self, message: WsMessage) -> bool:
        if message.kind != TEXT:
            self._relay.stop(POLICY, "jackstay: a binary message cannot be read here")
            return False
        try:
            document = json_document(message.payload)
        except ValueError:
            document = None
        verb = document.get(self._socket.verb) if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(verb, str) or verb not in self._socket.methods:
            if not sounds_like_an_order(message.payload):
                return True
            _refuse_unread(self._relay, self.bot, self._house.on_event)
            return False
        self._order(document, verb, message.raw)
        return False

    def _order(self, document: dict[str, Any], verb: str, raw: bytes) -> None:
        number = document.get(self._socket.id)
        if number is None or isinstance(number, dict | list) or number in self._pending:
            self._say("final", number, verb, f"{self._socket.id} is missing or in use: its answer could not be told")
            return
        if len(self._pending) >= PENDING_MAX:
            self._say("now", number, verb, f"{PENDING_MAX} orders wait for their answers on this socket")
            return
        try:
            method, path, body, key = request_of(self._socket, verb, document)
        except ValueError as error:
            self._say("final", number, verb, str(error))
            return
        kind = b"application/x-www-form-urlencoded" if self._socket.form else JSON
        headers = [(b"Content-Type", kind)]
        if key:
            headers.append((self._profile.data.key_header.encode("ascii"), key.encode("ascii", "replace")))
        now = self._house.clock()
        call = SocketCall(
            self,
            number,
            verb,
            raw,
            Request(method, self._profile.base_url + path, headers, body),
            now,
            now + DEADLINE_S_DEFAULT,
        )
        if self.door.draining:
            self._say("now", number, verb, "the agent is stopping")
            return
        self._pending[number] = call
        self.door.took_off()
        self._house.take(call)

    # ------------------------------------------------------------ to the venue

    def send(self, call: SocketCall, deadline_at: float) -> None:
        call.written = self._relay.to_venue(call.raw)
        if not call.written:
            self._failed(call, Reason.RESET, "the socket ended before the order left", sent=False)
            return
        left_s = max(0.0, deadline_at - self._house.clock()) + 0.001
        self._house.call_later(left_s, lambda: self._failed(call, Reason.TIMEOUT, "no answer in time", sent=True))

    def from_venue(self, message: WsMessage) -> None:
        if not self._pending or message.kind != TEXT:
            return
        try:
            document = json_document(message.payload)
        except ValueError:
            return
        if not isinstance(document, dict):
            return
        number = document.get(self._socket.id)
        call = self._pending.get(number) if isinstance(number, str | int) else None
        if call is None or call.done is None:
            return
        call.answered = True
        status, body = answer_of(self._socket, document)
        took_s = self._house.clock() - call.arrived_at
        call.finish(HttpAnswer(status, b"", [(b"Content-Type", JSON)], body, 0, took_s, took_s))

    def ended(self) -> None:
        for call in list(self._pending.values()):
            call.abandoned = True
            self._failed(call, Reason.RESET, "the socket ended before the answer came", sent=call.written)

    def _failed(self, call: SocketCall, cause: Reason, detail: str, *, sent: bool) -> None:
        took_s = self._house.clock() - call.arrived_at
        call.finish(HttpFailure(cause, sent=sent, detail=detail, connection_id=None, elapsed_s=took_s))

    # ------------------------------------------------------------ back to the bot

    def over(self, call: SocketCall) -> None:
        self._pending.pop(call.number, None)

    def deliver(self, call: SocketCall, answer: Response | Refusal | Accepted) -> None:
        """What the venue did not say itself is said in its form."""
        if call.answered:
            if isinstance(answer, Response):
                self.door.told(call, answer)
            return
        if isinstance(answer, Refusal):
            kind = {422: "final", 429: "wait", 504: "unknown"}.get(status_of(answer), "now")
            if answer.reason == Reason.EQUAL_PENDING:  # "unknown" ends the socket at some venues, with others' orders
                kind = "now"
            self._say(kind, call.number, call.verb, answer.message)
        elif isinstance(answer, Response) and answer.outcome is Outcome.FAILED:
            self._say("now", call.number, call.verb, answer.detail or answer.cause)
        else:  # also where the agent has found it meanwhile: its own words are not the venue's
            words = "no answer came; whether it was executed is unknown: ask the venue, do not send it again"
            self._say("unknown", call.number, call.verb, words)

    def _say(self, kind: str, number: Any, verb: str, words: str) -> None:
        text = refusal_text(self._socket, kind, number, verb, f"jackstay: {words}")
        if text:
            self._relay.to_client(text)
        else:
            self._relay.stop(INTERNAL, f"jackstay: {words}")
