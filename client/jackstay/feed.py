"""Market data and events from feed.sock: a reader's own socket, its subscription, and the blocking iterator over it.

What is worth knowing about a feed is what is *missing*, so a gap is an item like any other: `Lagged` with the agent's
count, or -1 for every topic when the agent itself was away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING

import zmq

from jackstay_protocols.clock import boot_s, boot_us
from jackstay_protocols.codec import decode_feed, feed_turn_reader
from jackstay_protocols.errors import AgentGone, ProtocolError, Reason
from jackstay_protocols.limits import BEAT_WITHIN_S_DEFAULT
from jackstay_protocols.messages import Beat, Done, Event, Message, Refusal, Subscribe, Welcome
from jackstay_protocols.messages import Lagged as LaggedNews
from jackstay_protocols.session import BeatPlan, clamp_beat_s

from .answer import AgentEvent, FeedMessage, Lagged, unexpected
from .call import check_topics, frame_of, hold_of
from .channel import NOBLOCK, POLLIN, Wire, next_id, nothing_sent, read
from .membership import Membership

if TYPE_CHECKING:
    from .client import Client

Item = FeedMessage | Lagged | AgentEvent

POLL_MS_MAX = 1_000  # how long an idle reader sleeps before it looks at its beat and its time-out
SUBSCRIBED_S = 2.0  # the agent answers a subscription from memory
UNCOUNTED = -1

_made = partial(tuple.__new__, FeedMessage)
_turn = feed_turn_reader(FeedMessage)


class FeedState:
    """What a subscription knows, whichever shell reads it: its topics, its greeting, its own beat."""

    def __init__(
        self, membership: Membership, feed: str, topics: Iterable[str], *, events: bool, hold_s: float
    ) -> None:
        self.membership = membership
        self.subscription = Subscribe(feed, check_topics(topics), events, turns=True, hold_s=hold_of(hold_s))
        self.wire = Wire(membership, feed=True)
        self.plan = BeatPlan(BEAT_WITHIN_S_DEFAULT, boot_s())
        self.greeted = False
        self.subscribed_once = False
        self.awaited_id = 0
        self.ready: deque[Item] = deque()

    def hello(self) -> bytes:
        """A reader: it never competes for the bot's session."""
        return self._frame(self.membership.hello("reader"))

    def subscribe(self) -> bytes:
        return self._frame(self.subscription)

    def beat(self) -> bytes:
        return frame_of(Beat(), 0, 0, 0, self.membership.frame_bytes_max)

    def take(self, frame: bytes) -> Message | None:
        """Items go to ``ready``; the answer that is awaited comes back. Other frames are skipped."""
        items = _turn(frame)
        if items is not None:
            self.ready.extend(items)
            return None
        found = decode_feed(frame)
        if found is not None:
            # Without a Python frame per message: half the cost of FeedMessage(topic, sequence, payload).
            first, batch = found
            self.ready.extend(map(_made, zip(repeat(batch.topic), count(first), batch.payloads)))
            return None
        try:
            header, message = read(frame)
        except ProtocolError as error:
            if error.reason == Reason.VERSION or error.details.get("id") == self.awaited_id:
                raise
            return None
        if type(message) is LaggedNews:
            self.ready.append(Lagged(message.topic, message.missed))
        elif type(message) is Event:
            self.ready.append(AgentEvent(message.name, message.at_us, message.fields))
        elif type(message) is Refusal and message.reason == Reason.UNKNOWN_PEER and header.id != self.awaited_id:
            self.greeted = False
        elif header.id == self.awaited_id:
            return message
        return None

    def welcomed(self, answer: Message) -> None:
        if type(answer) is not Welcome:
            unexpected(answer, "Welcome")
        self.plan = BeatPlan(clamp_beat_s(answer.beat_within_s, BEAT_WITHIN_S_DEFAULT), boot_s())

    def subscribed(self, answer: Message) -> None:
        """Raises what a refusal means; a second time, says that nobody counted what went by in between."""
        if type(answer) is not Done:
            unexpected(answer, "Done")
        self.greeted = True
        if self.subscribed_once:
            # the agent's names for the topics are the ones that messages carry
            names = answer.data.get("topics") or self.subscription.topics
            self.ready.extend(Lagged(str(name), UNCOUNTED) for name in names)
        self.subscribed_once = True

    def _frame(self, message: Message) -> bytes:
        self.awaited_id = next_id()
        return frame_of(message, self.awaited_id, 0, 0, self.membership.frame_bytes_max)


class FeedLine:
    """The blocking shell: read by the thread that iterates, which also keeps the bot's lease while it waits."""

    def __init__(self, client: Client, feed: str, topics: Iterable[str], *, events: bool, hold_s: float) -> None:
        self._client = client
        self._state = FeedState(client._membership_here(), feed, topics, events=events, hold_s=hold_s)
        self._watched = [(self._state.wire.socket, POLLIN), (self._state.wire.monitor, POLLIN)]
        try:
            self._greet()  # a refused subscription is told at once, not when the first message is asked for
        except BaseException:
            self._state.wire.close()
            raise

    def items(self, timeout_s: float | None) -> Iterator[Item]:
        state = self._state
        ready = state.ready
        try:
            while self._until_ready(timeout_s):
                while ready:
                    yield ready.popleft()
        finally:
            state.wire.close()

    def _until_ready(self, timeout_s: float | None) -> bool:
        state = self._state
        until_us = boot_us() + int((1e9 if timeout_s is None else timeout_s) * 1e6)
        while not state.ready:
            if not state.greeted:
                try:
                    self._greet()
                except AgentGone:
                    pass  # it comes back, or the caller's time ends first
            self._take_some(max(0, min(POLL_MS_MAX, (until_us - boot_us()) // 1000)))
            self._beat_if_due()
            if not state.ready and boot_us() >= until_us:
                return False
        return True

    def _take_some(self, wait_ms: int) -> None:
        """What the agent sent together, once it is there; a line that broke is noticed as soon."""
        state, wire = self._state, self._state.wire
        due_ms = int(max(0.0, state.plan.due_at() - boot_s()) * 1000) + 1
        for socket, _events in zmq.zmq_poll(self._watched, min(wait_ms, due_ms)):
            if socket is wire.monitor:
                if wire.lost():
                    state.greeted = False
                continue
            # Asked first, a receive never runs into EAGAIN, which is an exception and costs more than all else here.
            for frame in wire.socket.recv_multipart(NOBLOCK):
                state.take(frame)

    def _beat_if_due(self) -> None:
        state = self._state
        now = boot_s()
        if state.greeted and now >= state.plan.due_at():
            state.plan.spoke(now)
            try:
                state.wire.socket.send(state.beat(), zmq.NOBLOCK)
            except zmq.Again:
                pass
        self._client._beat_in_passing()

    def _greet(self) -> None:
        state = self._state
        until_us = boot_us() + int(state.membership.connect_timeout_s * 1e6)
        while not state.wire.socket.poll(POLL_MS_MAX // 50, zmq.POLLOUT):
            if boot_us() >= until_us:
                raise nothing_sent(f"no agent answers at {state.wire.path}")
            self._client._beat_in_passing()
        state.wire.lost()
        state.welcomed(self._exchange(state.hello(), until_us))
        state.subscribed(self._exchange(state.subscribe(), boot_us() + int(SUBSCRIBED_S * 1e6)))

    def _exchange(self, frame: bytes, until_us: int) -> Message:
        state = self._state
        try:
            state.wire.socket.send(frame, zmq.NOBLOCK)
            while boot_us() < until_us and not state.wire.lost():
                if state.wire.socket.poll(20, zmq.POLLIN):
                    answer = state.take(state.wire.socket.recv(zmq.NOBLOCK))
                    if answer is not None:
                        return answer
        except zmq.Again:
            pass
        raise nothing_sent(f"the agent at {state.wire.path} does not answer a reader")
