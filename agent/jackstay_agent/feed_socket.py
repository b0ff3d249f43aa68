"""One upstream market data socket: dial, subscribe, prove alive or replace (DESIGN §5 Connections).

It knows topics only as words and hands every message to its feed; which socket carries which topic is the feed's
decision. Its life follows the table in `core/feed_state.py`, its silences `core/heartbeat.py`, its waits
`core/redial.py`. One task owns the socket; timers only look at clocks and end the connection, the task does the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from jackstay_protocols.errors import ExchangeError, Reason

from .core.dialect import Dialect
from .core.feed_rules import SocketRules
from .core.feed_state import FeedMove, FeedState, move
from .core.health import Health
from .core.heartbeat import NEVER, Cadence, Due, FirstMessages, SocketClocks
from .core.redial import Pace, Redial
from .feed_reach import Reach
from .transport.ws_types import WsClosed, WsSettings

LATE_S = 0.25  # a timer this late means that we did not run: not the venue's silence (DESIGN §3 rule 13)
CONTROL_BYTES_MAX = 64 * 1024
_EVENT_TOPICS_MAX = 8
# Failures that every socket to the same host would have; a refused path or a bad certificate is one feed's own.
UNREACHED = frozenset(
    {Reason.DNS, Reason.REFUSED, Reason.RESET, Reason.TIMEOUT, Reason.RATE_LIMITED, Reason.BREAKER_OPEN}
)
HOURS_LOOK_S = 60.0  # the wall clock may be set: market hours are looked at this often at least
_CROWD_S = 0.1  # sockets that waited for the same moment spread over this much


class WsLike(Protocol):
    """What a feed needs of an open WebSocket; the simulation brings its own."""

    heard_at: float
    latency_s: float | None

    @property
    def is_open(self) -> bool: ...
    def send(self, payload: bytes | str, kind: int = 1) -> bool: ...
    def close(self, code: int = 1000, detail: str = "", *, reason: str = "") -> None: ...
    def abort(self, detail: str = "", *, reason: str = "") -> None: ...
    async def wait_closed(self) -> WsClosed: ...


class WsDial(Protocol):
    """`transport.ws_dial.ws_dial`, or the simulation's stand-in."""

    def __call__(
        self,
        url: str,
        *,
        on_messages: Callable[[list[bytes]], None],
        on_close: Callable[[WsClosed], None],
        headers: Mapping[str, str] | None,
        timeout_s: float,
        settings: WsSettings,
    ) -> Awaitable[WsLike]: ...


class Dial(Protocol):
    """Open one socket of the feed; raises ExchangeError with a reason (see transport/websocket.py)."""

    async def __call__(self, on_messages: Callable[[list[bytes]], None]) -> WsLike: ...


class MarketLike(Protocol):
    """The trading hours of the topics (trading_hours.py)."""

    def open(self, topic: str) -> bool: ...
    def changes_in_s(self, topics: Iterable[str]) -> float: ...


class SocketOwner(Protocol):
    """The feed behind the socket."""

    def socket_event(self, socket: FeedSocket, name: str, fields: dict[str, Any]) -> None: ...
    def socket_overdue(self, socket: FeedSocket, topics: list[str]) -> None: ...
    def socket_old(self, socket: FeedSocket, why: str) -> None: ...
    def socket_ended(self, socket: FeedSocket) -> None: ...


class FeedSocket:
    """``topics`` are the wanted ones, in the order they were asked for."""

    def __init__(
        self,
        label: str,
        *,
        owner: SocketOwner,
        dialect: Dialect,
        rules: SocketRules,
        dial: Dial,
        reader: Callable[[FeedSocket], Callable[[list[bytes]], None]],
        reach: Reach,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        random: Callable[[], float],
        market: MarketLike | None = None,
    ) -> None:
        self.label = label
        self.state = FeedState.IDLE
        self.topics: dict[str, None] = {}
        self.connects = 0
        self.failures = 0
        self.last_error = ""
        self.connected_at: float | None = None
        self.lost_at: float | None = None
        self.retiring = False  # a successor takes over: it is not dialled again
        self.fresh = False  # data arrived in this loop turn; the batcher reads and clears it
        self._owner = owner
        self._dialect = dialect
        self._rules = rules
        self._dial = dial
        self._on_messages = reader(self)  # the hot path: straight from the frame to the feed
        self._reach = reach
        self._loop = loop
        self._clock = clock
        self._random = random
        self._market = market  # None: always open
        self._open: set[str] = set()  # asked topics whose market is open
        self._told_open = True
        self._hours_timer: asyncio.TimerHandle | None = None
        self._redial = Redial(rules.redial)
        self._pace = Pace(rules.subscribes_per_s)
        self._first = FirstMessages(rules.first_message_s)
        self._cadence = Cadence(rules.heartbeat.cadence_factor, rules.heartbeat.cadence_min_s)
        self.health = Health(rules.ping_interval_s)
        self._heard_at = 0.0
        self._clocks: SocketClocks | None = None
        self._asked_at: float | None = None  # when the last wanted topic was asked for on this connection
        self._ws: WsLike | None = None
        self._in_url: set[str] = set()  # what the last dial asked for, where the URL asks
        self._asked: dict[str, None] = {}
        self._asking: dict[int, list[str]] = {}
        self._renewing: dict[str, None] = {}  # to be left, and then asked for again
        self._next_id = 0
        self._pump_timer: asyncio.Handle | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        self._check_at = NEVER
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ what the feed calls

    def start(self) -> None:
        self._task = self._loop.create_task(self._live(), name=f"feed {self.label}")

    def add(self, topics: Iterable[str]) -> None:
        self.topics.update(dict.fromkeys(topics))
        self._topics_changed()

    def remove(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self.topics.pop(topic, None)
            self._first.forget(topic)
        self._cadence.forget()
        self._topics_changed()

    def renew(self, topics: Iterable[str]) -> None:
        """Leave and subscribe these again on this connection: the venue begins with a snapshot."""
        self._renewing.update(dict.fromkeys(topic for topic in topics if topic in self._asked))
        self._topics_changed()

    def settled_s(self, now: float) -> float:
        """For how long everything wanted has been subscribed; 0 while it is not."""
        if self._asked_at is None or self._ws is None or any(topic not in self._asked for topic in self.topics):
            return 0.0
        return max(0.0, now - self._asked_at)

    def replace(self, why: str, *, reason: str = Reason.TIMEOUT) -> None:
        """Give the connection up now; the task dials a new one and subscribes everything again."""
        if self._ws is not None and self._ws.is_open:
            if self.state in (FeedState.SUBSCRIBING, FeedState.LIVE):
                self._move(FeedMove.SILENT)
            self._ws.abort(why, reason=reason)

    def heard_data(self, now: float) -> None:
        """The batcher tells once per loop turn in which data came; the pong of a dead feed never leads here."""
        self.fresh = False
        if self._clocks is not None:
            self._clocks.heard_data(now)
        if self.state is FeedState.SUBSCRIBING:
            self._move(FeedMove.DATA)
            if self.lost_at is not None and self.connected_at is not None:
                fields = {"down_s": now - self.lost_at, "first_message_s": now - self.connected_at}
                self._event("feed.resumed", fields)
                self.lost_at = None

    def heard_topic(self, topic: str) -> None:
        self._first.heard(topic)

    def asks(self, topic: str) -> bool:
        """Was this topic asked for on this connection?"""
        return topic in self._asked

    def awaits(self, topic: str) -> bool:
        return self._first.waiting(topic)

    async def close(self) -> None:
        """End for good; returns when the socket is gone, within the close wait."""
        task, self._task = self._task, None
        self.retiring = True
        self._reach.left(self)
        if self._ws is not None:
            self._ws.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._ws.wait_closed()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._stop_timers()
        if self.state is not FeedState.CLOSED:
            self._move(FeedMove.CLOSE)

    def snapshot(self, now: float) -> dict[str, Any]:
        ws, clocks = self._ws, self._clocks
        if ws is not None:
            self.health.heard(max(ws.heard_at, clocks.data_at if clocks is not None else 0.0))
        return {
            "socket": self.label,
            "state": str(self.state),
            "topics": len(self.topics),
            "connects": self.connects,
            "failures": self.failures,
            "up_s": now - self.connected_at if ws is not None and self.connected_at is not None else 0.0,
            "data_age_s": now - clocks.data_at if clocks is not None else None,
            "transport_age_s": now - max(clocks.transport_at, ws.heard_at) if clocks and ws else None,
            "latency_ms": ws.latency_s * 1e3 if ws is not None and ws.latency_s is not None else None,
            "last_error": self.last_error,
            "closed": self.closed,
            "loss": self.health.loss,
            "quality": self.health.quality(now, connected=ws is not None and ws.is_open),
        }

    # ------------------------------------------------------------ the task

    async def _live(self) -> None:
        while True:
            await self._until_wanted()
            await self._reach.turn(self)
            while (wait_s := self._reach.budget.wait_s(self._clock())) > 0:  # others wait for the same: look again
                await self._pause(wait_s + self._random() * _CROWD_S)
            if not self.topics:
                self._reach.left(self)
                continue
            delay_s = await self._one_connection()
            if self.retiring:
                self._move(FeedMove.CLOSE)
                self._owner.socket_ended(self)
                return
            if self.state is FeedState.BACKOFF:
                await (self._rest(delay_s) if self.closed else self._pause(delay_s))
                if not self.topics:
                    self._reach.left(self)
                    self._move(FeedMove.UNWANTED)

    async def _until_wanted(self) -> None:
        while not self.topics:
            self._changed.clear()
            await self._changed.wait()

    async def _pause(self, delay_s: float) -> None:
        """Wait, and look at the clock again: timers of the loop may fire up to 1 ms early."""
        until = self._clock() + delay_s
        await asyncio.sleep(0)  # even no wait is a turn for everybody else
        while (left_s := until - self._clock()) > 0:  # noqa: ASYNC110 - waiting for an instant, not for a condition
            await asyncio.sleep(left_s)

    @property
    def closed(self) -> bool:
        """Are the markets of all wanted topics outside their hours?"""
        return self._market is not None and not any(self._market.open(topic) for topic in self.topics)

    def _slowly(self, delay_s: float) -> float:
        """Outside trading hours nobody waits for a redial; it comes in time for the opening."""
        if self._market is None or not self.closed:
            return delay_s
        slow_s = max(delay_s, self._rules.closed_dial_s * (0.5 + self._random()))
        return min(slow_s, max(delay_s, self._market.changes_in_s(self.topics)))

    async def _rest(self, delay_s: float) -> None:
        """Wait outside trading hours; an opening, or a topic of an open market, ends it."""
        until = self._clock() + delay_s
        while self.topics and self.closed and (left_s := until - self._clock()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, HOURS_LOOK_S)):
                    await self._changed.wait()

    async def _one_connection(self) -> float:
        """Dial, serve until it ends; seconds to wait before the next dial."""
        self._move(FeedMove.DIAL)
        self._in_url = set(self.topics)
        self._reach.budget.take(self._clock())
        self._reach.attempts += 1
        try:
            ws = await self._dial(self._on_messages)
        except ExchangeError as error:
            if error.reason in UNREACHED:
                self._reach.failed(self)
            self.failures += 1
            self.last_error = str(error)
            self._move(FeedMove.LOST)
            delay_s = self._slowly(self._redial.failed(self._random(), retry_after_s=error.retry_after_s))
            fields = {"error": str(error), "reason": str(error.reason), "retry_in_s": delay_s}
            self._event("feed.dial_failed", fields)
            return delay_s
        self._reach.succeeded()
        self._opened(ws)
        try:
            closed = await ws.wait_closed()
        finally:
            self._stop_timers()
            self._ws = self._clocks = None
            self._first.forget_all()
        return self._lost(closed)

    def _opened(self, ws: WsLike) -> None:
        now = self._clock()
        self._ws = ws
        self.connects += 1
        self.connected_at = now
        self._asked.clear()
        self._asking.clear()
        self._renewing.clear()
        self._asked_at = None
        self._pace = Pace(self._rules.subscribes_per_s)  # the venue counts per connection
        self._open.clear()
        self._clocks = SocketClocks(self._rules.heartbeat, now, cadence=self._cadence)
        self._move(FeedMove.CONNECTED)
        self._event("feed.connected", {"connects": self.connects, "topics": len(self.topics)})
        self._pump()

    def _lost(self, closed: WsClosed) -> float:
        now = self._clock()
        up_s = now - (self.connected_at or now)
        self._asked.clear()
        if not self.topics:
            self._move(FeedMove.UNWANTED)
            self.lost_at = None
            return 0.0
        if self.lost_at is None:
            self.lost_at = now
        self.last_error = closed.detail or closed.reason or f"closed with {closed.code}"
        if closed.reason == Reason.TIMEOUT:
            self.health.missed()
        self._move(FeedMove.LOST)
        if self.retiring and closed.by == "us":
            return 0.0
        delay_s = self._slowly(self._redial.lost(up_s, self._random()))
        fields = {"by": closed.by, "code": closed.code, "reason": closed.reason, "detail": closed.detail}
        self._event("feed.lost", {**fields, "up_s": up_s, "retry_in_s": delay_s, "topics": len(self.topics)})
        return delay_s

    # ------------------------------------------------------------ subscriptions, paced

    def _topics_changed(self) -> None:
        self._changed.set()
        if self._ws is not None and self._pump_timer is None:
            self._pump_timer = self._loop.call_soon(self._pump)  # what changes in one turn travels together

    def _pump(self) -> None:
        """Send as many subscribe and unsubscribe messages as the pace allows; come back for the rest."""
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        ws = self._ws
        if ws is None or not ws.is_open:
            return
        if not self.topics:
            ws.close(detail="no topic is wanted any more")
            return
        now = self._clock()
        if self._rules.topics_in_url:
            self._mark_asked([topic for topic in self.topics if topic in self._in_url], now)
            self._plan_check()
            if len(self._asked) < len(self.topics):
                self._owner.socket_old(self, "its topics changed")
            return
        if self._dialect.one_topic or not self._dialect.subscribe:
            self._mark_asked(list(self.topics), now)
            self._plan_check()
            return
        while (work := self._next_work()) is not None:
            wait_s = self._pace.wait_s(now)
            if wait_s > 0:
                self._pump_timer = self._loop.call_later(wait_s + 0.001, self._pump)
                break
            topics, leave = work
            if not self._ask(ws, topics, leave=leave, now=now):
                return
        self._plan_check()

    def _next_work(self) -> tuple[list[str], bool] | None:
        """The next group: new topics first, then those to renew, then those nobody wants."""
        most = self._dialect.items_max
        wanted = [topic for topic in self.topics if topic not in self._asked]
        if wanted:
            return wanted[:most], False
        if self._renewing:
            return list(self._renewing)[:most], True
        unwanted = [topic for topic in self._asked if topic not in self.topics]
        return (unwanted[:most], True) if unwanted else None

    def _ask(self, ws: WsLike, topics: list[str], *, leave: bool, now: float) -> bool:
        self._next_id += 1
        messages = self._dialect.asks(topics, [self._next_id], leave=leave)
        self._pace.take(now)
        for number, text in messages:
            if not ws.send(text):
                ws.abort("the venue does not read our subscriptions", reason=Reason.TIMEOUT)
                return False
            if not leave:
                self._asking[number] = topics
        if leave:
            for topic in topics:
                self._asked.pop(topic, None)
                self._renewing.pop(topic, None)
        else:
            self._mark_asked(topics, now)
        return True

    def _mark_asked(self, topics: list[str], now: float) -> None:
        new = [topic for topic in topics if topic not in self._asked]
        self._asked.update(dict.fromkeys(new))
        if new:
            self._asked_at = now
        if self._market is None:
            self._first.expect(new, now)
        elif new:
            self._look_at_hours()
        if self._clocks is not None:
            self._clocks.expect(now, bool(self._asked) and (self._market is None or bool(self._open)))

    def _look_at_hours(self) -> None:
        """Which asked topics are to be heard now? Outside its hours a topic has no first-message deadline, and a socket
        without any open topic no data clock."""
        market, clocks, now = self._market, self._clocks, self._clock()
        if self._hours_timer is not None:
            self._hours_timer.cancel()
            self._hours_timer = None
        if market is None or clocks is None:
            return
        before, self._open = self._open, {topic for topic in self._asked if market.open(topic)}
        self._first.expect(self._open - before, now)
        for topic in before - self._open:
            self._first.forget(topic)
        clocks.expect(now, bool(self._open))
        if self._told_open is not bool(self._open):
            self._told_open = bool(self._open)
            self._event("feed.hours", {"open": self._told_open, "topics": len(self._asked)})
        delay_s = min(market.changes_in_s(self._asked) + 0.001, HOURS_LOOK_S)
        self._hours_timer = self._loop.call_later(delay_s, self._hours_due)

    def _hours_due(self) -> None:
        self._hours_timer = None
        self._look_at_hours()
        self._plan_check()

    # ------------------------------------------------------------ messages

    def on_control(self, payload: bytes) -> None:
        """A message that is no market data: an acknowledgement, a refusal, the answer to a heartbeat."""
        if self._clocks is not None:
            self._clocks.heard_transport(self._clock())
        if not self._dialect.is_error(payload):
            self._asking.pop(_id_of(payload) or 0, None)
            return
        topics = self._asking.pop(_id_of(payload) or 0, [])
        for topic in topics:
            self._first.forget(topic)
        answer = payload[:200].decode(errors="replace")
        self._event("feed.subscribe_failed", {**_some(topics), "answer": answer})

    # ------------------------------------------------------------ clocks

    def _plan_check(self) -> None:
        if self._clocks is None:
            return
        at = min(self._clocks.next_at(), self._first.next_at())
        if self._cadence.factor > 0:  # the learned limit moves with what is heard: look again
            at = min(at, self._clock() + self._cadence.min_s)
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None
        self._check_at = at
        if at < NEVER:
            self._check_timer = self._loop.call_later(max(0.001, at - self._clock()), self._check)

    def _check(self) -> None:
        self._check_timer = None
        clocks, now = self._clocks, self._clock()
        if clocks is None or self._ws is None or not self._ws.is_open:
            return
        if self._ws.heard_at > self._heard_at and self._ws.latency_s is not None:
            self._heard_at = self._ws.heard_at
            self.health.answered(now, self._ws.latency_s)  # a pong came since the last look
        late_s = now - self._check_at
        if late_s > LATE_S:
            clocks.excuse(late_s)  # first let the loop read what waits in the socket
        else:
            self._act(clocks, now)
        self._plan_check()

    def _act(self, clocks: SocketClocks, now: float) -> None:
        due = clocks.due(now)
        if due is Due.SILENT:
            silent_s = now - clocks.data_at
            self._event("feed.stale", {"what": "socket", "silent_s": silent_s, **_some(list(self.topics))})
            self.replace(f"no data for {silent_s:.3g} s")
            return
        if due is Due.HEARTBEAT and self._rules.heartbeat_text and self._ws is not None:
            self._pace.take(now)
            self._ws.send(self._rules.heartbeat_text)
        elif due is Due.OLD:
            self._owner.socket_old(self, "its lifetime ends")
        overdue = [topic for topic in self._first.overdue(now) if topic in self.topics]
        if overdue:
            self._event("feed.stale", {"what": "subscription", **_some(overdue)})
            self._owner.socket_overdue(self, overdue)

    def _stop_timers(self) -> None:
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        if self._hours_timer is not None:
            self._hours_timer.cancel()
            self._hours_timer = None

    # ------------------------------------------------------------ words

    def _move(self, by: FeedMove) -> None:
        self.state = move(self.label, self.state, by)

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        self._owner.socket_event(self, name, fields)


def _some(topics: list[str]) -> dict[str, Any]:
    """An event names a few topics and counts all."""
    return {"topics": topics[:_EVENT_TOPICS_MAX], "count": len(topics)}


def _id_of(payload: bytes) -> int | None:
    """The request id in a small JSON control message, where there is one."""
    if len(payload) > CONTROL_BYTES_MAX:
        return None
    try:
        answer = msgspec.json.decode(payload)
    except (msgspec.DecodeError, ValueError):
        return None
    if not isinstance(answer, dict):
        return None
    number = answer.get("id", answer.get("req_id"))
    if isinstance(number, str) and number.isdigit():
        return int(number)
    return number if isinstance(number, int) else None
