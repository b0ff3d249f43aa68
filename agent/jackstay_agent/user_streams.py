"""User streams: what the venues tell of our account as it happens, kept up for whoever listens.

    listener = ...                       # see StreamListener
    streams.listen(listener)             # opens the stream of every venue that has a key and a [user_stream]
    streams.replace("binance", "why")    # evidence of a missed event: a new connection, make before break

An event is handed on as the venue sent it, once and in its order. `stream_connected` says for how long nothing was
heard before, so that the listener can ask the venue for what it missed; a planned replacement (lifetime, an announced
end) is invisible: both connections are heard for a moment, and what comes twice is dropped.

Silence proves nothing here, since an account may rest for hours. The transport is proved by pings and by the venue's
own heartbeat; whether events are missing is for the listener to find, who also sees the account in other ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jackstay_protocols.errors import ExchangeError, Reason, ValidationError

from .core.overlap import Overlap
from .core.redial import DialBudget, Redial, RedialRules
from .core.user_stream import StreamMove, StreamState, move
from .feed_socket import WsDial
from .user_stream_line import Ask, StreamLine, status_of
from .venues.operations import Operations
from .venues.user_stream_data import UserStreamData

OPEN_WITHIN_S = 15.0
SETTLE_S = 2.0  # how long both connections are heard when one takes over
CAUGHT_UP_S = 10.0  # the new connection may still bring what the old one brought
LOOK_S = 1.0  # heartbeats, token, lifetime: none of them is finer
KEEP_AGAIN_S = 60.0  # a token that could not be kept is tried again; Binance's lives half an hour longer
REPLACE_AGAIN_S = 10.0
SPREAD = 0.1  # of a lifetime, so that streams which began together do not end together


class StreamListener(Protocol):
    """Called on the loop, in order; must not block."""

    def stream_message(self, venue: str, payload: bytes) -> None:
        """One event, as the venue sent it."""

    def stream_connected(self, venue: str, missed_s: float | None) -> None:
        """Events come from now on; none were heard for ``missed_s`` before (None: never yet)."""

    def stream_lost(self, venue: str, why: str) -> None:
        """No events come until the next `stream_connected`."""


class UserStream:
    """One venue's. Owned by `UserStreams`."""

    def __init__(self, venue: str, data: UserStreamData, operations: Operations, owner: UserStreams) -> None:
        self.venue = venue
        self.state = StreamState.IDLE
        self.connects = self.failures = self.replaced = self.events = 0
        self.last_error = ""
        self.lost_at: float | None = None
        self._data = data
        self._operations = operations
        self._owner = owner
        self._clock = owner.clock
        self._redial = Redial(RedialRules(min_s=0.25, max_s=30.0, healthy_s=10.0))
        self._budget = DialBudget(30, 300.0)  # Binance allows 300 connections per 5 min and address, for everybody
        self._overlap: Overlap | None = None  # while, and shortly after, two connections are heard
        self._doubles = 0
        keys = "|".join(map(re.escape, data.own_numbers))
        self._own = re.compile(f'"(?:{keys})":\\d+'.encode()) if keys else None
        self._line: StreamLine | None = None
        self._made = 0
        self._replace_why = ""
        self._replace_not_before = 0.0
        self._keep_not_before = 0.0
        self._lifetime_s = data.lifetime_s
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ what the owner calls

    def start(self) -> None:
        if self._task is None:
            self._task = self._owner.loop.create_task(self._live(), name=f"user stream {self.venue}")

    def replace(self, why: str) -> None:
        """A new connection takes over; the old one is heard until then."""
        self._replace_why = self._replace_why or why
        self._wake.set()

    async def stop(self, by: StreamMove) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        if self.state not in (StreamState.IDLE, StreamState.CLOSED) or by is StreamMove.CLOSE:
            self._move(by)

    def snapshot(self, now: float) -> dict[str, Any]:
        return {
            "state": str(self.state),
            "connects": self.connects,
            "failures": self.failures,
            "replaced": self.replaced,
            "events": self.events,
            "doubles": self._doubles,
            "last_error": self.last_error,
            **status_of(self._line, now),
        }

    # ------------------------------------------------------------ the task

    async def _live(self) -> None:
        while True:
            while (wait_s := self._budget.wait_s(self._clock())) > 0:  # noqa: ASYNC110 - waiting for an instant
                await asyncio.sleep(wait_s)
            self._move(StreamMove.OPEN)
            self._line = await self._opened()
            if self._line is None:
                delay_s = self._redial.failed(self._owner.random())
            else:
                self._move(StreamMove.READY)
                self._up()
                delay_s = await self._serve()
            self._move(StreamMove.LOST)
            await asyncio.sleep(delay_s)

    async def _opened(self) -> StreamLine | None:
        """One attempt, in its window of the budget; None when it failed, which is told."""
        self._made += 1
        self._budget.take(self._clock())
        line = StreamLine(
            f"user stream of {self.venue}",
            self._data,
            self._operations,
            clock=self._clock,
            ws_dial=self._owner.ws_dial,
            ask=self._owner.ask,
            open_within_s=OPEN_WITHIN_S,
            on_event=self._on_event,
            on_word=self._on_word,
        )
        try:
            await line.open()
        except ExchangeError as error:
            self.failures += 1
            self.last_error = str(error)
            self._event("user_stream.failed", {"error": str(error), "reason": str(error.reason)})
            return None
        except ValidationError as error:  # a key that cannot sign: told again and again, for only a person can mend it
            self.failures += 1
            self.last_error = str(error)
            self._event("user_stream.failed", {"error": str(error), "reason": str(error.reason or Reason.NO_SIGNER)})
            return None
        self.connects += 1
        self._lifetime_s = self._data.lifetime_s * (1.0 - SPREAD * self._owner.random())
        return line

    def _up(self) -> None:
        missed_s = None if self.lost_at is None else self._clock() - self.lost_at
        self._event("user_stream.connected", {"missed_s": missed_s, "connects": self.connects})
        for listener in self._owner.listeners:
            listener.stream_connected(self.venue, missed_s)
        if self._line is not None:
            self._line.release()

    async def _serve(self) -> float:
        """Until no connection is left; seconds to wait before the next attempt."""
        while True:
            line = self._line
            assert line is not None, "served while one is open"
            await self._look(line)
            if not line.is_open and self._line is line:
                return await self._ended(line)
            self._wake.clear()
            ended = asyncio.ensure_future(line.wait_closed())
            woken = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({ended, woken}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                woken.cancel()

    async def _look(self, line: StreamLine) -> None:
        now = self._clock()
        line.beat(now)
        if line.keep_due(now) and now >= self._keep_not_before:
            await self._keep(line)
        if now - line.opened_at >= self._lifetime_s:
            self.replace("its lifetime ends")
        if line.word == "notice":
            self.replace("the venue announced its end")
        if self._replace_why and now >= self._replace_not_before and line.is_open:
            await self._take_over(line, self._replace_why)

    async def _keep(self, line: StreamLine) -> None:
        try:
            await line.keep()
        except ExchangeError as error:
            self._keep_not_before = self._clock() + KEEP_AGAIN_S
            self.last_error = str(error)
            self._event("user_stream.keep_failed", {"error": str(error)})
            if error.reason is Reason.PROTOCOL:  # the venue answered, and no: a token it no longer knows
                self.replace("its token could not be kept")

    async def _take_over(self, old: StreamLine, why: str) -> None:
        """Make before break. If no new one can be had, the old one is kept and it is tried again."""
        self._overlap = Overlap()
        new = await self._opened()
        if new is None:
            self._replace_not_before = self._clock() + REPLACE_AGAIN_S
            return
        self._replace_why = ""
        self._line = new
        new.release()
        if old.is_open:
            await asyncio.sleep(SETTLE_S)
        await old.close()
        self._owner.loop.call_later(CAUGHT_UP_S, self._alone, self._overlap)
        self.replaced += 1
        self._event("user_stream.replaced", {"why": why})

    async def _ended(self, line: StreamLine) -> float:
        closed = await line.wait_closed()
        self._line = None
        self._replace_why = ""
        why = closed.detail or closed.reason or f"closed with {closed.code}"
        self._down(why)
        return self._redial.lost(self._clock() - line.opened_at, self._owner.random())

    def _down(self, why: str) -> None:
        self.last_error = why
        self.lost_at = self._clock()
        self._event("user_stream.lost", {"why": why})
        for listener in self._owner.listeners:
            listener.stream_lost(self.venue, why)

    # ------------------------------------------------------------ what lines tell

    def _alone(self, overlap: Overlap) -> None:
        """The old connection is gone, and the new one has brought what was on its way."""
        if self._overlap is overlap:
            self._overlap = None

    def _on_event(self, line: StreamLine, payload: bytes) -> None:
        if self._overlap is not None:
            same = self._own.sub(b"", payload) if self._own is not None else payload
            if not self._overlap.take(line, same):
                self._doubles += 1
                return
        self.events += 1
        for listener in self._owner.listeners:
            listener.stream_message(self.venue, payload)

    def _on_word(self, line: StreamLine) -> None:
        self._event("user_stream.notice", {"what": line.word})
        self._wake.set()

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        self._owner.on_event(name, {"venue": self.venue, **fields})

    def _move(self, by: StreamMove) -> None:
        self.state = move(self.venue, self.state, by)


class UserStreams:
    """Those of all venues where the agent has a key.

    ``operations(venue)`` gives the venue's operations with the key, or None (venue_access.asking); ``ask`` sends a
    request through the pipeline.
    """

    def __init__(
        self,
        venues: Mapping[str, UserStreamData],
        *,
        operations: Callable[[str], Operations | None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        random: Callable[[], float],
        ws_dial: WsDial,
        ask: Ask,
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.random = random
        self.ws_dial = ws_dial
        self.ask = ask
        self.on_event = on_event
        self.listeners: list[StreamListener] = []
        self._venues = dict(venues)
        self._operations = operations
        self._streams: dict[str, UserStream] = {}
        self._started = False

    def listen(self, listener: StreamListener) -> None:
        """Hear all streams, now or from `start` on. One that is up already is told at once."""
        self.listeners.append(listener)
        self._open_all()
        for venue, stream in self._streams.items():
            if stream.state is StreamState.LIVE:
                listener.stream_connected(venue, None)

    def connected(self, venue: str) -> bool:
        """Are this venue's events being heard?"""
        stream = self._streams.get(venue)
        return stream is not None and stream.state is StreamState.LIVE

    def venues(self) -> list[str]:
        """Those whose stream is kept up."""
        return list(self._streams)

    def replace(self, venue: str, why: str) -> bool:
        """Have a fresh connection take over; False when there is no stream of that venue."""
        stream = self._streams.get(venue)
        if stream is None or stream.state is not StreamState.LIVE:
            return False
        stream.replace(why)
        return True

    async def start(self) -> None:
        """Open what is listened to; nothing is opened before somebody listens."""
        self._started = True
        self._open_all()

    def _open_all(self) -> None:
        if not self._started or not self.listeners:
            return
        for venue, data in self._venues.items():
            operations = self._operations(venue)
            if operations is not None and venue not in self._streams:
                self._streams[venue] = stream = UserStream(venue, data, operations, self)
                stream.start()

    def status(self) -> dict[str, Any]:
        """Venue -> its stream, in plain values."""
        now = self.clock()
        return {venue: stream.snapshot(now) for venue, stream in self._streams.items()}

    async def stop(self) -> None:
        """End all streams, in bounded time."""
        self._started = False
        await asyncio.gather(*(stream.stop(StreamMove.CLOSE) for stream in self._streams.values()))
