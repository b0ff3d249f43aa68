"""The asyncio iterator over a feed subscription. Nothing is read ahead of the loop that consumes it."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Iterable

import zmq

from jackstay_protocols.clock import boot_s, boot_us
from jackstay_protocols.errors import AgentGone
from jackstay_protocols.messages import Message

from .aio_channel import AsyncLine
from .channel import NOBLOCK, fd_of, nothing_sent, readable, writable
from .feed import SUBSCRIBED_S, FeedState, Item

TURN_ITEMS_MAX = 256  # items handed out before other tasks of the loop get their turn
SLEEP_S_MAX = 1.0


async def feed_items(
    line_of: Callable[[], AsyncLine],
    feed: str,
    topics: Iterable[str],
    *,
    events: bool,
    hold_s: float,
    timeout_s: float | None,
) -> AsyncIterator[Item]:
    """The items of one subscription; ends after ``timeout_s`` silent seconds. Nothing is done before the first is asked
    for; that raises what a refused subscription means.

    The only generator between socket and bot: each one more costs every item 0.1 us.
    """
    reader = AsyncFeed(line_of(), feed, topics, events=events, hold_s=hold_s)
    ready = reader.ready
    handed_out = 0
    try:
        while await reader.until_ready(timeout_s):
            while ready:
                yield ready.popleft()
                handed_out += 1
                if handed_out >= TURN_ITEMS_MAX:
                    handed_out = 0
                    await asyncio.sleep(0)
    finally:
        reader.close()


class AsyncFeed:
    """One subscription read on the bot's loop."""

    def __init__(self, line: AsyncLine, feed: str, topics: Iterable[str], *, events: bool, hold_s: float) -> None:
        self._loop = line.loop
        self._state = FeedState(line.membership, feed, topics, events=events, hold_s=hold_s)
        self.ready = self._state.ready
        self._greeted_once = False
        self._woken: Future[None] | None = None
        self._broken = True  # perhaps: the monitor has something to say, or was never asked
        self._fds = [fd_of(self._state.wire.socket), fd_of(self._state.wire.monitor)]
        for fd, callback in zip(self._fds, (self._wake, self._wake_broken), strict=True):
            self._loop.add_reader(fd, callback)

    def close(self) -> None:
        if not self._loop.is_closed():
            for fd in self._fds:
                self._loop.remove_reader(fd)
        self._state.wire.close()

    async def until_ready(self, timeout_s: float | None) -> bool:
        """Wait for items; False after ``timeout_s`` silent seconds. Raises what a refused first subscription means."""
        state = self._state
        if not self._greeted_once:
            await self._greet()
            self._greeted_once = True
        until_us = boot_us() + int((1e9 if timeout_s is None else timeout_s) * 1e6)
        while not state.ready:
            if self._broken:
                self._broken = False
                if state.wire.lost():
                    state.greeted = False
            if not state.greeted:
                try:
                    await self._greet()
                except AgentGone:
                    pass  # it comes back, or the caller's time ends first
                if boot_us() >= until_us and not state.ready:
                    return False
                continue
            if self._take_some() or state.ready:
                continue
            if self._beat_if_due():
                continue  # a send may swallow a wake-up: look again
            left_s = (until_us - boot_us()) / 1e6
            if left_s <= 0:
                return False
            await self._wait(min(left_s, max(0.0, state.plan.due_at() - boot_s()) + 0.001, SLEEP_S_MAX))
        return True

    def _take_some(self) -> bool:
        """Take what the agent sent together, if there is something; items land in the state."""
        socket = self._state.wire.socket
        if not readable(socket):  # asking costs a third of running into EAGAIN, which is an exception
            return False
        for frame in socket.recv_multipart(NOBLOCK):
            self._state.take(frame)
        return True

    def _beat_if_due(self) -> bool:
        state = self._state
        now = boot_s()
        if now < state.plan.due_at():
            return False
        state.plan.spoke(now)
        return self._send(state.beat())

    def _send(self, frame: bytes) -> bool:
        socket = self._state.wire.socket
        try:
            socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _wake_broken(self) -> None:
        self._broken = True
        self._wake()

    async def _sleep(self, limit_s: float) -> None:
        """Until the socket has something (looked at after any send: the descriptor is edge-triggered)."""
        wire = self._state.wire
        if not readable(wire.socket) and not readable(wire.monitor):
            await self._wait(limit_s)

    async def _wait(self, limit_s: float) -> None:
        """Until a descriptor speaks; the caller has looked at the socket since it last sent or received."""
        self._woken = self._loop.create_future()
        timer = self._loop.call_later(limit_s, self._wake)
        try:
            await self._woken
        finally:
            timer.cancel()
            self._woken = None

    async def _greet(self) -> None:
        state = self._state
        until_us = boot_us() + int(state.membership.connect_timeout_s * 1e6)
        while not writable(state.wire.socket):
            if boot_us() >= until_us:
                raise nothing_sent(f"no agent answers at {state.wire.path}")
            await self._sleep((until_us - boot_us()) / 1e6)
        state.wire.lost()
        state.welcomed(await self._exchange(state.hello(), until_us))
        state.subscribed(await self._exchange(state.subscribe(), boot_us() + int(SUBSCRIBED_S * 1e6)))

    async def _exchange(self, frame: bytes, until_us: int) -> Message:
        state = self._state
        if self._send(frame):
            while boot_us() < until_us and not state.wire.lost():
                try:
                    answer = state.take(state.wire.socket.recv(zmq.NOBLOCK))
                except zmq.Again:
                    await self._sleep((until_us - boot_us()) / 1e6 + 0.001)
                    continue
                if answer is not None:
                    return answer
        raise nothing_sent(f"the agent at {state.wire.path} does not answer a reader")
