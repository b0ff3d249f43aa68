"""A bot's end of bot.sock: the client's rules (hello, deadlines, outcomes once) on the simulated line.

It uses the client's own `OutcomeBox`; its socket, its clock and its waiters are the simulation's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from jackstay.outcomes import OutcomeBox
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.errors import Outcome
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX, WIRE_VERSION
from jackstay_protocols.messages import (
    TO_CLIENT,
    Abandon,
    Accepted,
    Ack,
    Beat,
    Goodbye,
    Hello,
    Message,
    OutcomeNews,
    Refusal,
    Response,
    Welcome,
)

from .doors import Line
from .host import Host
from .loop import Process

BEAT_S = 1.0
RETRY_S = 0.3
GRACE_S = 0.05


@dataclass(slots=True)
class Told:
    """What a call came to, as the bot's code sees it. ``kind``: response, refusal, gone, unsent or late."""

    kind: str
    outcome: Outcome
    message: Any = None

    @property
    def reason(self) -> str:
        return str(getattr(self.message, "reason", "")) if self.kind == "refusal" else self.kind


class SimClient:
    """One life of a bot."""

    def __init__(self, host: Host, process: Process, bot_id: str, *, reads: bool) -> None:
        self.host = host
        self.reads = reads  # whether its code ever asks for outcomes; an unmodified ccxt bot does not
        self.process = process
        self.bot_id = bot_id
        self.box = OutcomeBox()
        self.greeted = False
        self.handed_over: list[OutcomeNews] = []
        self.answered_twice = 0
        self._resume = ""
        self._line = Line(host.switchboard, process, self._on_frame)
        self._line.on_gone = self._on_gone
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._done: set[int] = set()
        self._next_id = 1
        self._greet()
        self._beat()

    # ---- calls

    async def ask(self, request: Message, deadline_s: float, stays_s: float | None = None) -> Told:
        """One call; it ends by its deadline plus the client's grace, whatever happens, or when its caller leaves."""
        if not self.greeted:
            return Told("unsent", Outcome.FAILED)
        number = self._next_id
        self._next_id += 1
        loop = self.process.loop
        future = self._waiting[number] = loop.create_future()
        deadline_us = int((self.host.boot_s() + deadline_s) * 1e6)
        if not self._line.send(encode(request, id=number, when=deadline_us, beat_ds=int(BEAT_S * 30))):
            del self._waiting[number]
            return Told("unsent", Outcome.FAILED)
        timer = loop.call_later(deadline_s + GRACE_S if stays_s is None else stays_s, self._expire, number)
        told = await future
        timer.cancel()
        if told.kind == "response":
            self.box.heard(told.message)
            self._acknowledge()
        return told

    def _expire(self, number: int) -> None:
        self.process.loop.call_soon(self._late, number)  # what is already here was in time

    def _late(self, number: int) -> None:
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            self._done.add(number)
            future.set_result(Told("late", Outcome.UNKNOWN))
            self._line.send(encode(Abandon(), id=number))

    def goodbye(self) -> None:
        self._line.send(encode(Goodbye("deploy", "keep", 10.0)))

    # ---- the line

    def _greet(self) -> None:
        if self.greeted:
            return
        if self._line.door is None and not self._line.connect("bot.sock"):
            self.process.loop.call_later(RETRY_S, self._greet)
            return
        hello = Hello(
            bot_id=self.bot_id,
            kind="primary",
            pid=self.process.pid,
            client_version="sim",
            wire_min=WIRE_VERSION,
            wire_max=WIRE_VERSION,
            boot_id=self.host.boot_id,
            resume=self._resume,
            beat_within_s=3 * BEAT_S,
        )
        self._line.send(encode(hello))
        self.process.loop.call_later(1.0, self._greet)

    def _beat(self) -> None:
        if self.greeted:
            self._line.send(encode(Beat(-1), beat_ds=int(BEAT_S * 30)))
        self.process.loop.call_later(BEAT_S, self._beat)

    def _on_gone(self) -> None:
        self.greeted = False
        for number, future in list(self._waiting.items()):
            self._done.add(number)
            if not future.done():
                future.set_result(Told("gone", Outcome.UNKNOWN))
        self._waiting.clear()
        self.process.loop.call_later(0.01, self._greet)

    def _on_frame(self, frame: bytes) -> None:
        header, message = decode(frame, TO_CLIENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)
        if isinstance(message, Welcome):
            self.greeted, self._resume = True, message.resume
        elif isinstance(message, OutcomeNews):
            if self.box.arrived(message) and self.reads:
                self._collect()
            self._acknowledge()
        elif header.id:
            self._settle(header.id, message)
        elif isinstance(message, Refusal) and message.reason == "unknown_peer":
            self.greeted = False
            self._greet()

    def _settle(self, number: int, message: Message) -> None:
        future = self._waiting.pop(number, None)
        if future is None:
            self.answered_twice += number not in self._done
            return
        self._done.add(number)
        if future.done():
            return
        if isinstance(message, Response):
            future.set_result(Told("response", message.outcome, message))
        elif isinstance(message, Refusal):
            if message.reason == "unknown_peer":
                self.greeted = False
                self._greet()
            future.set_result(Told("refusal", message.outcome, message))
        elif isinstance(message, Accepted):
            future.set_result(Told("accepted", Outcome.UNKNOWN, message))
        else:
            future.set_result(Told("done", Outcome.OK, message))

    # ---- outcomes

    def _collect(self) -> None:
        """The bot's code takes what came, and says so."""
        while (news := self.box.take_next()) is not None:
            self.handed_over.append(news)
            self.host.observer.news(self.bot_id, news)

    def heard_of(self, client_id: str) -> OutcomeNews | None:
        """What the bot's code was told late of an order of this client id that exists."""
        word = f'"clientOrderId":"{client_id}"'.encode()
        return next((each for each in self.handed_over if word in each.body), None)

    def _acknowledge(self) -> None:
        while self.box.acks:
            if not self._line.send(encode(Ack(self.box.acks_due()))):
                return
