"""The asyncio shell over one DEALER: a plain dict of futures, no task per request.

The ZeroMQ file descriptor is edge-triggered, which costs three habits, each measured (DESIGN §4): look at the socket
again after every send (without it 50 of 119 pipelined requests hung), bound the drain per loop turn, and go on with
``call_soon`` when the bound was reached.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop, Future

import zmq

from jackstay_protocols.clock import boot_s, boot_us
from jackstay_protocols.errors import AgentGone, Outcome, ProtocolError, Reason, Refused, TradingBotError
from jackstay_protocols.limits import REQUESTS_IN_FLIGHT_PER_PEER_MAX
from jackstay_protocols.messages import Abandon, Ack, Beat, Message, Refusal, Welcome
from jackstay_protocols.session import LAST_WORD_READ

from .answer import unexpected
from .call import frame_of
from .channel import (
    GREET_AGAIN_S,
    NotTaken,
    Wire,
    departure,
    fd_of,
    grace_us,
    lost_in_flight,
    next_id,
    nothing_sent,
    over_in_flight,
    over_unsent,
    read,
    readable,
    take_unsolicited,
    turned_away,
    wants_confirmation,
    writable,
)
from .membership import Membership
from .pending import Pending

DRAIN_MAX = 64  # frames per loop turn
GREET_US_MAX = 60_000_000  # one greeting serves calls with any deadline
RETRY_S = 1.0  # between attempts to greet an agent that is not there, when nobody asks for anything


class AsyncLine:
    """One loop's socket, its waiters and its beat."""

    def __init__(self, membership: Membership, loop: AbstractEventLoop) -> None:
        self.membership = membership
        self.loop = loop
        self.wire = Wire(membership)
        self.greeted = False
        self.closed = False
        self._last_word: frozenset[int] | None = None
        self._pending: Pending[Future[Message]] = Pending(REQUESTS_IN_FLIGHT_PER_PEER_MAX)
        self._socket = self.wire.socket
        self._fd: int = fd_of(self._socket)
        self._monitor_fd: int = fd_of(self.wire.monitor)
        loop.add_reader(self._fd, self._pump)
        loop.add_reader(self._monitor_fd, self._on_monitor)
        self._pump_scheduled = False
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_at_us = 0
        self._greeter: asyncio.Task[None] | None = None
        self._writable: list[Future[None]] = []
        self._news: list[Future[None]] = []
        self._beater: asyncio.Task[None] | None = None

    def usable(self) -> bool:
        """False when this line belongs to another process or to a loop that is not the running one."""
        return not self.closed and self.wire.pid == os.getpid() and self.loop is asyncio.get_running_loop()

    def lives_in_another_loop(self) -> bool:
        """True while a loop of another thread runs this line: it is not ours to close."""
        return not self.closed and self.wire.pid == os.getpid() and self.loop.is_running() and not self.usable()

    async def ask(self, message: Message, deadline_us: int) -> Message:
        """As `Line.ask`; cancelling it abandons the request."""
        membership = self.membership
        strangers = 0
        while strangers < 2:
            if not self.greeted or self._lost():
                await self._until_greeted(deadline_us)
            if membership.outcomes.acks:
                self._acknowledge()
            if self._pending.full:
                raise Refused(
                    f"{self._pending.size_max} requests are in flight already; wait for answers first",
                    reason=Reason.QUEUE_FULL,
                    outcome=Outcome.FAILED,
                )
            request_id = next_id()
            frame = frame_of(message, request_id, deadline_us, membership.take_beat_ds(), membership.frame_bytes_max)
            if not self._hand_over(frame, deadline_us):
                self.greeted = False
                strangers += 1
                continue
            try:
                answer = await self._answer(request_id, deadline_us + grace_us(deadline_us - boot_us()))
            except NotTaken:
                strangers = 0  # the next agent, as often as there is one: the deadline is the bound
                continue
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
        """As `Line.tell`."""
        membership = self.membership
        frame = frame_of(message, request_id, 0, membership.take_beat_ds(), membership.frame_bytes_max)
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        membership.plan.spoke(boot_s())
        self._look_again()
        return True

    def acknowledge_soon(self) -> None:
        """After the caller's own code has run on with what it was handed."""
        self.loop.call_soon(self._acknowledge)

    async def news(self) -> None:
        """Until something came unasked (it may be anything: look whether it is what you want)."""
        woken: Future[None] = self.loop.create_future()
        self._news.append(woken)
        try:
            await woken
        finally:
            if woken in self._news:
                self._news.remove(woken)

    def close(self) -> None:
        """Never waits; whoever waits here is told that nobody knows."""
        if self.closed:
            return
        self.closed = True
        if self.wire.pid != os.getpid():
            return
        if not self.loop.is_closed():
            for task in (self._beater, self._greeter):
                if task is not None:
                    task.cancel()
            self.loop.remove_reader(self._fd)
            self.loop.remove_reader(self._monitor_fd)
            if self._expiry is not None:
                self._expiry.cancel()
            self._fail_all(
                AgentGone("the client was closed while it waited", reason=Reason.RESET, outcome=Outcome.UNKNOWN)
            )
            for woken in (*self._writable, *self._news):
                _wake(woken)
        self.wire.close()

    # ------------------------------------------------------------------ sending

    def _hand_over(self, frame: bytes, deadline_us: int) -> bool:
        now_us = boot_us()
        if now_us >= deadline_us:
            raise over_unsent()
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.membership.plan.spoke_at = now_us / 1e6
        self._look_again()
        return True

    async def _answer(self, request_id: int, give_up_us: int) -> Message:
        future: Future[Message] = self.loop.create_future()
        self._pending.add(request_id, future, give_up_us)
        if self._expiry is None or give_up_us < self._expiry_at_us:
            self._set_expiry(give_up_us)
        try:
            return await future
        except asyncio.CancelledError:
            # neither success nor failure: the agent's journal keeps the truth (rule 12)
            if self._pending.settle(request_id) is not None and not self.closed:
                self.tell(Abandon(), request_id)
            raise

    def _acknowledge(self) -> None:
        box = self.membership.outcomes
        while box.acks and not self.closed and self.greeted:
            if not self.tell(Ack(box.acks_due())):
                return  # the agent brings them again

    # ------------------------------------------------------------------ receiving

    def _look_again(self) -> None:
        """A send may have swallowed the wake-up of what came meanwhile."""
        if not self._pump_scheduled and readable(self._socket):
            self._pump_scheduled = True
            self.loop.call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._pump_scheduled = False
        self._pump()

    def _pump(self) -> None:
        if self.closed:
            return
        receive = self._socket.recv
        for _ in range(DRAIN_MAX):
            try:
                frame = receive(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._take(frame)
            if self.closed:
                return
        else:
            self._look_again()
        if self._writable and writable(self._socket):
            waiting, self._writable = self._writable, []
            for woken in waiting:
                _wake(woken)

    def _take(self, frame: bytes) -> None:
        try:
            header, message = read(frame)
        except ProtocolError as error:
            future = self._pending.settle(error.details.get("id", 0))
            if future is not None and not future.done():
                error.outcome = Outcome.UNKNOWN
                future.set_exception(error)
            return
        future = self._pending.settle(header.id)
        if future is not None:
            if not future.done():
                future.set_result(message)
        elif take_unsolicited(self.membership, message):
            waiting, self._news = self._news, []
            for woken in waiting:
                _wake(woken)
        elif type(message) is Refusal and message.reason == Reason.UNKNOWN_PEER:
            self.greeted = False
        elif header.id == 0 and (taken := departure(message)) is not None:
            self._last_word = taken
            self._agent_leaves()
            if wants_confirmation(message):
                self.tell(Ack([LAST_WORD_READ]))

    def _agent_leaves(self) -> None:
        self.greeted = False
        self.membership.agent_leaves()

    # ------------------------------------------------------------------ deadlines

    def _set_expiry(self, at_us: int) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_at_us = at_us
        self._expiry = self.loop.call_later(max(0, at_us - boot_us()) / 1e6 + 0.001, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._pump()  # what is already here was in time, however late this loop comes to it
        for request_id, future in self._pending.expired(boot_us()):
            if not future.done():
                future.set_exception(over_in_flight())
                self.tell(Abandon(), request_id)
        following = self._pending.next_deadline_us()
        if following is not None:
            self._set_expiry(following)

    # ------------------------------------------------------------------ the agent's comings and goings

    def _on_monitor(self) -> None:
        if not self.closed:
            self._lost()
            self._pump()

    def _lost(self) -> bool:
        """Look at the monitor; when the connection broke, everyone who waits on it is told."""
        if not self.wire.lost():
            return False
        self._pump()  # answers that came before the break still count
        self.greeted = False
        self._fail_all(lost_in_flight())
        return True

    def _fail_all(self, error: TradingBotError) -> None:
        taken = None if self.closed else self._last_word
        for request_id, future in self._pending.take_all():
            if future.done():
                continue
            if taken is not None and request_id not in taken:
                future.set_exception(NotTaken())
            else:
                future.set_exception(type(error)(str(error), reason=error.reason, outcome=error.outcome))

    async def _until_greeted(self, deadline_us: int) -> None:
        """All who need it share one greeting; each waits only as long as its own deadline allows."""
        while not self.greeted:
            greeter = self._greeter
            if greeter is None or greeter.done():
                greeter = self._greeter = self.loop.create_task(self._greet(), name="jackstay-hello")
                greeter.add_done_callback(_looked_at)
            left_s = (deadline_us - boot_us()) / 1e6
            done, _ = await asyncio.wait({greeter}, timeout=max(0.0, left_s))
            if self.closed:
                raise nothing_sent("the client was closed")
            if not done:
                raise nothing_sent(f"no agent answers at {self.wire.path}")
            greeter.result()

    async def _greet(self) -> None:
        membership = self.membership
        self.greeted = False
        while True:
            until_us = membership.greet_until_us(boot_us() + GREET_US_MAX)
            await self._until_connected(until_us)
            self._lost()
            if self.wire.broke:
                self.wire.broke = False
                membership.next_one_listens()
                until_us = membership.greet_until_us(boot_us() + GREET_US_MAX)
            request_id = next_id()
            hello = frame_of(membership.hello(), request_id, 0, 0, membership.frame_bytes_max)
            answer: Message | None = None
            try:
                if not self._hand_over(hello, until_us):
                    raise nothing_sent(f"the agent at {self.wire.path} takes no message")
                answer = await self._answer(request_id, until_us)
            except (TimeoutError, AgentGone, NotTaken) as error:
                if self.closed or not membership.returning() or boot_us() >= until_us:
                    raise nothing_sent(f"the agent at {self.wire.path} does not answer a hello") from error
            if answer is not None:
                if not turned_away(answer):
                    break
                membership.agent_leaves()  # it is still there, on its way out; each caller has a deadline of its own
            await asyncio.sleep(GREET_AGAIN_S)
        if type(answer) is not Welcome:
            unexpected(answer, "Welcome")
        membership.welcomed(answer)
        self._last_word = None
        self.greeted = True
        if self._beater is None:
            self._beater = self.loop.create_task(self._beat_for_ever(), name="jackstay-beat")

    async def _until_connected(self, until_us: int) -> None:
        while not writable(self._socket):
            woken: Future[None] = self.loop.create_future()
            self._writable.append(woken)
            left_s = (until_us - boot_us()) / 1e6
            timer = self.loop.call_later(max(0.0, left_s), _wake, woken)
            try:
                await woken
            finally:
                timer.cancel()
                if woken in self._writable:
                    self._writable.remove(woken)
            if boot_us() >= until_us or self.closed:
                raise nothing_sent(f"no agent answers at {self.wire.path}")

    async def _beat_for_ever(self) -> None:
        """A third of the lease after the last word, the next one; greets again when the agent came back."""
        try:
            while not self.closed:
                await asyncio.sleep(max(0.01, self.membership.plan.due_at() - boot_s()))
                await self._beat_once()
        finally:
            self.close()  # cancelled with its loop: the descriptors must not outlive it

    async def _beat_once(self) -> None:
        if self.greeted and not self._lost():
            if boot_s() >= self.membership.plan.due_at() and not self.tell(Beat(), next_id()):
                await asyncio.sleep(RETRY_S)  # a full queue: the agent is stopped
        elif not self.membership.left:
            try:
                await self._until_greeted(boot_us() + int(self.membership.connect_timeout_s * 1e6))
            except TradingBotError:
                await asyncio.sleep(RETRY_S)


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _looked_at(task: asyncio.Task[None]) -> None:
    """Whoever waits for the greeting hears its failure; when nobody does any more, that is no news either."""
    if not task.cancelled():
        task.exception()
