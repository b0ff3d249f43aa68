"""DEALER sockets to the agent, and the blocking shell over one of them.

The traps closed here were all measured (DESIGN §4):

* IMMEDIATE: without it ZeroMQ keeps what is sent while the agent is down and delivers it, stale, to the next agent.
* LINGER 0: closing never waits for a stopped agent.
* A socket belongs to one thread of one process: a forked child's sends on an inherited socket "succeed" and vanish.
* The socket monitor tells an agent's death within milliseconds; a stopped agent tells nothing, so the deadline is the
  last word and every wait has one.

Nothing here knows what a request means. A frame past its deadline is not sent.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import zmq

from jackstay_protocols.clock import boot_us
from jackstay_protocols.codec import Header, decode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, Outcome, ProtocolError, Reason
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import (
    TO_CLIENT,
    Abandon,
    Ack,
    Beat,
    Directive,
    Message,
    OutcomeNews,
    Refusal,
    Welcome,
)
from jackstay_protocols.session import LAST_WORD_READ

from .answer import refusal_error, unexpected
from .call import frame_of

if TYPE_CHECKING:
    from .membership import Membership

Socket = zmq.Socket[bytes]

QUEUE_FRAMES_MAX = 1_000  # both directions; requests in flight are bounded more tightly above
FEED_QUEUE_FRAMES_MAX = 64  # batches; what a slow reader does not take waits in the agent, which counts its drops
SLICE_MS = 20  # how often a waiting thread looks whether the agent died
# Past the deadline, for the agent's own word on what became of the request: a fifth of the time given, in bounds.
GRACE_US_MIN = 20_000
GRACE_US_MAX = 150_000
FRESH_US = 5_000
GREET_AGAIN_S = 0.02  # between greetings while an agent is being replaced by the next
RECONNECT_MS = 50
RECONNECT_MS_MAX = 500
SOCKETS_MAX = 8_192  # libzmq stops at 1,023 by default: about 300 threads

# Plain numbers: an operation on pyzmq's enums costs more than the look at a socket that it is for.
NOBLOCK = int(zmq.NOBLOCK)
POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)
_EVENTS = int(zmq.EVENTS)
_WATCHED = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED

_contexts: dict[int, zmq.Context[Socket]] = {}
_open_wires: WeakSet[Wire] = WeakSet()
next_id = itertools.count(1).__next__


def context() -> zmq.Context[Socket]:
    """One context per process; a forked child must not touch its parent's."""
    pid = os.getpid()
    found = _contexts.get(pid)
    if found is None or found.closed:
        fresh: zmq.Context[Socket] = zmq.Context()
        fresh.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        if found is not None:
            _contexts.pop(pid, None)
        found = _contexts.setdefault(pid, fresh)
    return found


def dealer(queue_frames_max: int = QUEUE_FRAMES_MAX) -> Socket:
    """An unconnected DEALER with every option that the traps above ask for."""
    socket = context().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.SNDHWM, QUEUE_FRAMES_MAX)
    socket.setsockopt(zmq.RCVHWM, queue_frames_max)
    socket.setsockopt(zmq.MAXMSGSIZE, TO_CLIENT_FRAME_BYTES_MAX)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
    return socket


def readable(socket: Socket) -> bool:
    """Something is there to receive; asking also makes libzmq look at its own wake-ups."""
    events: Any = socket.getsockopt(_EVENTS)
    return bool(int(events) & POLLIN)


def writable(socket: Socket) -> bool:
    """With IMMEDIATE: connected, and the queue has room."""
    events: Any = socket.getsockopt(_EVENTS)
    return bool(int(events) & _POLLOUT)


def fd_of(socket: Socket) -> int:
    """The edge-triggered descriptor for an event loop."""
    fd: Any = socket.getsockopt(zmq.FD)
    return int(fd)


class Wire:
    """A connected DEALER and its monitor, without any waiting: what the blocking and the asyncio shell share."""

    def __init__(self, membership: Membership, *, feed: bool = False) -> None:
        paths = membership.where.paths()
        self.path = paths.feed if feed else paths.bot
        self.pid = os.getpid()
        self.thread_id = threading.get_ident()
        self.broke = False  # since the last greeting
        self.socket = dealer(FEED_QUEUE_FRAMES_MAX if feed else QUEUE_FRAMES_MAX)
        self.monitor: Socket = self.socket.get_monitor_socket(_WATCHED)
        self.monitor.setsockopt(zmq.LINGER, 0)
        _open_wires.add(self)
        try:
            self.socket.connect(ipc(self.path))
        except zmq.ZMQError:
            self.close()
            raise

    def lost(self) -> bool:
        """True when the connection broke since the last look (it may be up again: to a stranger)."""
        broke = False
        monitor = self.monitor
        while readable(monitor):
            event = monitor.recv_multipart(zmq.NOBLOCK)
            broke = broke or int.from_bytes(event[0][:2], "little") == zmq.EVENT_DISCONNECTED
        self.broke = self.broke or broke
        return broke

    def close(self) -> None:
        """Never waits. In a forked child the parent's socket is only forgotten."""
        if self.pid != os.getpid() or self.socket.closed:
            return
        _open_wires.discard(self)
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


def read(frame: bytes) -> tuple[Header, Message]:
    """A frame from the agent. Raises ProtocolError."""
    return decode(frame, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)


def take_unsolicited(membership: Membership, message: Message) -> bool:
    """Keep late outcomes and directives for the bot's code; True when it was one of them."""
    if type(message) is OutcomeNews:
        membership.outcomes.arrived(message)
        return True
    if type(message) is Directive:
        membership.directives.arrived(message)
        return True
    return False


class NotTaken(Exception):
    """The agent left and had not taken the request: the next one may have it, nothing is sent twice by that."""


def departure(message: Message) -> frozenset[int] | None:
    """An agent's last word on a socket before it stops: which of its requests are still seen through; None: another.

    It takes nothing more from that moment on, so what is neither named there nor answered was never accepted.
    """
    if type(message) is not Refusal or message.reason != Reason.DRAINING or "accepted" not in message.details:
        return None
    return frozenset(message.details["accepted"])


def wants_confirmation(message: Message) -> bool:
    """The agent closes when it knows that we have read everything."""
    return type(message) is Refusal and bool(message.details.get("confirm"))


def turned_away(message: Message) -> bool:
    """Refused only because the agent is stopping."""
    return type(message) is Refusal and message.reason == Reason.DRAINING


def close_own_wires() -> None:
    """At the end of the process: what this thread opened and nobody closed. Other threads may still be using theirs."""
    for wire in list(_open_wires):
        if wire.thread_id == threading.get_ident():
            wire.close()


def grace_us(left_us: int) -> int:
    """How long past its deadline a call that has ``left_us`` left still listens."""
    return min(GRACE_US_MAX, max(GRACE_US_MIN, left_us // 5))


def nothing_sent(what: str) -> AgentGone:
    return AgentGone(f"{what}; nothing was sent", reason=Reason.REFUSED, outcome=Outcome.FAILED)


def lost_in_flight() -> AgentGone:
    return AgentGone(
        "the agent went away with the request; whether it reached the venue is unknown: ask the venue, do not resend",
        reason=Reason.RESET,
        outcome=Outcome.UNKNOWN,
    )


def over_unsent() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the deadline ended before the request was handed to the agent; nothing was sent",
        reason=Reason.EXPIRED,
        outcome=Outcome.FAILED,
    )


def over_in_flight() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the deadline ended without an answer from the agent; whether the request reached the venue is unknown:"
        " ask the venue, do not resend",
        reason=Reason.TIMEOUT,
        outcome=Outcome.UNKNOWN,
    )


class Line:
    """The blocking shell: one thread's socket. One call at a time; the lock is for `close` from another thread."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.wire = Wire(membership)
        self.wire.socket.setsockopt(zmq.RCVTIMEO, SLICE_MS)
        self.lock = threading.Lock()
        self.greeted = False
        self.closed = False
        self._sent_us = 0
        self._last_word: frozenset[int] | None = None

    def ask(self, message: Message, deadline_us: int) -> Message:
        """Send ``message`` and wait for its answer, at most until ``deadline_us`` (boot time) and the grace.

        Raises AgentGone (FAILED: not handed over; UNKNOWN: lost with the agent), DeadlineExceeded, ValidationError
        (too large), SecurityError (session taken) and what else a refused HELLO means.
        """
        membership = self.membership
        strangers = 0
        while strangers < 2:
            now_us = boot_us()
            # Just after an answer nobody has died yet; if so, the next life refuses this frame as a stranger's.
            if self.greeted and now_us - self._sent_us > FRESH_US:
                self._read_news()
            if not self.greeted:
                self._greet(deadline_us)
                now_us = boot_us()
            if membership.outcomes.acks:
                self.tell(Ack(membership.outcomes.acks_due()))
            if now_us >= deadline_us:
                raise over_unsent()
            request_id = next_id()
            frame = frame_of(message, request_id, deadline_us, membership.take_beat_ds(), membership.frame_bytes_max)
            try:
                self.wire.socket.send(frame, NOBLOCK)
            except zmq.Again:
                # not connected any more, or a full queue before a stopped agent: greet again, or say that it is gone
                self.greeted = False
                strangers += 1
                continue
            self._sent_us = now_us
            membership.plan.spoke_at = now_us / 1e6
            try:
                answer = self._wait(request_id, deadline_us + grace_us(deadline_us - now_us))
            except NotTaken:
                strangers = 0  # the next agent, as often as there is one: the deadline is the bound
                continue
            except AgentGone:
                raise
            except BaseException:
                # deadline, Ctrl-C, a signal handler that raised: the agent need not go on for us
                self.tell(Abandon(), request_id)
                raise
            if type(answer) is Refusal and answer.reason == Reason.UNKNOWN_PEER:
                self.greeted = False
                strangers += 1
                continue
            if turned_away(answer):
                strangers = 0
                self._agent_leaves()
                continue
            return answer
        raise nothing_sent(f"the agent at {self.wire.path} takes no message, tried twice")

    def tell(self, message: Message, request_id: int = 0) -> bool:
        """Send without waiting for anything; False when it could not be handed over now."""
        membership = self.membership
        try:
            self.wire.socket.send(
                frame_of(message, request_id, 0, membership.take_beat_ds(), membership.frame_bytes_max), zmq.NOBLOCK
            )
        except zmq.Again:
            return False
        membership.plan.spoke(boot_us() / 1e6)
        return True

    def listen(self, until_us: int, wanted: Callable[[], bool]) -> bool:
        """Take in what comes unasked until ``wanted()`` or the time is over; beats on the way."""
        while not wanted():
            if boot_us() >= until_us:
                return False
            if not self.greeted or self.wire.lost():
                try:
                    self._greet(until_us)
                except AgentGone:
                    continue
            if self.membership.outcomes.acks:
                self.tell(Ack(self.membership.outcomes.acks_due()))
            self.beat_if_due()
            self._take_one()
        return True

    def beat_if_due(self) -> None:
        """While this very thread waits in a call, it speaks for the bot: a long call is no silence."""
        if self.greeted and boot_us() / 1e6 >= self.membership.plan.due_at():
            self.tell(Beat())

    def close(self) -> None:
        self.closed = True
        self.wire.close()

    # ------------------------------------------------------------------ inside

    def _greet(self, deadline_us: int) -> None:
        membership = self.membership
        self.greeted = False
        while True:
            until_us = membership.greet_until_us(deadline_us)
            self._until_connected(until_us)
            self.wire.lost()
            if self.wire.broke:
                self.wire.broke = False
                membership.next_one_listens()
                until_us = membership.greet_until_us(deadline_us)
            request_id = next_id()
            hello = frame_of(membership.hello(), request_id, 0, 0, membership.frame_bytes_max)
            answer: Message | None = None
            try:
                self.wire.socket.send(hello, zmq.NOBLOCK)
                answer = self._wait(request_id, until_us)
            except (DeadlineExceeded, AgentGone, NotTaken, zmq.Again) as error:
                if not membership.returning() or boot_us() >= until_us:
                    raise nothing_sent(f"the agent at {self.wire.path} does not answer a hello") from error
            if answer is not None:
                if not turned_away(answer):
                    break
                membership.agent_leaves()  # it is still there, on its way out
                if boot_us() >= deadline_us:
                    break
            time.sleep(GREET_AGAIN_S)
        if type(answer) is not Welcome:
            unexpected(answer, "Welcome")
        membership.welcomed(answer)
        self._last_word = None
        self.greeted = True

    def _agent_leaves(self) -> None:
        self.greeted = False
        self.membership.agent_leaves()

    def _until_connected(self, until_us: int) -> None:
        socket = self.wire.socket
        while not socket.poll(SLICE_MS, zmq.POLLOUT):
            if boot_us() >= until_us:
                raise nothing_sent(f"no agent answers at {self.wire.path}")

    def _wait(self, request_id: int, give_up_us: int) -> Message:
        receive = self.wire.socket.recv
        while True:
            try:
                frame = receive()
            except zmq.Again:
                if self.wire.lost():
                    return self._last_look(request_id)
                self.beat_if_due()
            else:
                message = self._match(frame, request_id)
                if message is not None:
                    return message
            if boot_us() >= give_up_us:
                raise over_in_flight()

    def _last_look(self, request_id: int) -> Message:
        """The connection broke; an answer that came before is still in the queue."""
        self.greeted = False
        while True:
            try:
                frame = self.wire.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                if self._last_word is not None and request_id not in self._last_word:
                    raise NotTaken from None
                raise lost_in_flight() from None
            message = self._match(frame, request_id)
            if message is not None:
                return message

    def _match(self, frame: bytes, request_id: int) -> Message | None:
        """The answer with that id; anything else is kept for the bot or skipped."""
        try:
            header, message = read(frame)
        except ProtocolError as error:
            if error.details.get("id") in (request_id, None) or error.reason == Reason.VERSION:
                error.outcome = Outcome.UNKNOWN
                raise
            return None
        if header.id == request_id:
            return message
        if not take_unsolicited(self.membership, message) and type(message) is Refusal:
            if message.reason == Reason.UNKNOWN_PEER:
                self.greeted = False
            elif header.id == 0 and (taken := departure(message)) is not None:
                self._last_word = taken
                self._agent_leaves()
                if wants_confirmation(message):
                    self.tell(Ack([LAST_WORD_READ]))
            elif header.id == 0 and message.reason == Reason.VERSION:
                raise refusal_error(message)
        return None

    def _read_news(self) -> None:
        """After a pause: is the connection whole, and did the agent say that it leaves?"""
        broke = self.wire.lost()
        while readable(self.wire.socket):
            self._match(self.wire.socket.recv(NOBLOCK), -1)
        if broke:
            self.greeted = False

    def _take_one(self) -> None:
        try:
            frame = self.wire.socket.recv()
        except zmq.Again:
            return
        self._match(frame, -1)
