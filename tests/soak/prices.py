"""The soak's prices: an exchange that sends numbered trades over two lines, cuts one again and again, and the reader.

    python -m soak.prices PORT_FILE AGENT RUNTIME_DIR PER_S CUT_EVERY_S FILE

Its port is written to PORT_FILE before it reads a line from stdin: then the agent is there. Lines of FILE: ``wrong
WHAT`` (a gap, a repetition, a loss that was told), ``pace MESSAGES SENT P50_MS P99_MS`` (from the exchange's socket to
the bot's code).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import deque
from typing import Any

import jackstay
from jackstay import FeedMessage, Lagged
from scripted_exchange import TEXT, ScriptedExchange, Subscribers, frame, trade

TOPICS = [f"s{n}@trade" for n in range(5)]
TICK_S = 0.01
PACE_S = 5.0
SENT_KEPT = 4096


class Exchange(Subscribers):
    """Every subscriber gets the same numbered trades from the moment it subscribes."""

    def __init__(self, per_s: float) -> None:
        super().__init__()
        self.per_s = per_s
        self.number = 0
        self.rounds_at: deque[tuple[int, float]] = deque(maxlen=SENT_KEPT)

    async def pour(self) -> None:
        began, rounds = time.monotonic(), 0
        while True:
            await asyncio.sleep(TICK_S)
            due = int((time.monotonic() - began) * self.per_s / len(TOPICS)) - rounds
            rounds += due
            frames: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
            for _ in range(due):
                self.number += 1
                for topic in TOPICS:
                    frames[topic].append(frame(TEXT, trade(topic, self.number)))
            self.rounds_at.append((self.number, time.monotonic()))
            # one that was cut is closed before its own task hears of it
            for peer in [each for each in self.peers if not each.writer.transport.is_closing()]:
                peer.writer.write(b"".join(each for topic in TOPICS if topic in peer.topics for each in frames[topic]))

    async def cut(self, every_s: float, last: dict[str, int]) -> None:
        """One of two lines, and not the next before both carry: a message is lost only where no line brought it."""
        while True:
            await asyncio.sleep(every_s * (0.5 + random.random()))
            standing, sent = [peer for peer in self.peers if peer.topics == set(TOPICS)], self.number
            while len(last) < len(TOPICS) or min(last.values()) <= sent:
                await asyncio.sleep(TICK_S)
            if len(standing) >= 2 and all(
                peer in self.peers and not peer.writer.transport.is_closing() for peer in standing
            ):
                random.choice(standing).reset()


class Reader:
    """What a bot sees: the venue's own number of every message, per topic."""

    def __init__(self, exchange: Exchange, out: int) -> None:
        self.exchange = exchange
        self.last: dict[str, int] = {}
        self.count = 0
        self.late_ms: list[float] = []
        self._out = out

    def say(self, *words: object) -> None:
        os.write(self._out, (" ".join(map(str, words)) + "\n").encode())

    async def read(self, client: jackstay.AsyncClient) -> None:
        async for item in client.subscribe("sim", TOPICS, timeout_s=60):
            self.take(item)
        self.say("wrong", "no message for 60 s")

    def take(self, item: Any) -> None:
        if isinstance(item, Lagged):
            self.say("wrong", f"lagged {item.topic} {item.missed}")
        elif isinstance(item, FeedMessage):
            payload = bytes(item.payload)
            number = int(payload[payload.index(b'"t":') + 4 : payload.index(b',"p"')])
            last = self.last.get(item.topic)
            if last is not None and number != last + 1:
                self.say("wrong", f"{item.topic}: {number} after {last}")
            self.last[item.topic] = number
            self.count += 1
            if number % 100 == 0 and item.topic.endswith(TOPICS[0]):
                self._timed(number)

    def _timed(self, number: int) -> None:
        now = time.monotonic()
        sent_at = next((at for newest, at in self.exchange.rounds_at if newest >= number), None)
        if sent_at is not None:
            self.late_ms.append((now - sent_at) * 1000)

    async def pace(self) -> None:
        sent_before = 0
        while True:
            await asyncio.sleep(PACE_S)
            late, self.late_ms = sorted(self.late_ms), []
            marks = [late[int(len(late) * share)] if late else 0.0 for share in (0.5, 0.99)]
            sent = self.exchange.number * len(TOPICS)
            self.say("pace", self.count, sent - sent_before, *(f"{each:.2f}" for each in marks))
            sent_before, self.count = sent, 0


async def run(port_file: str, agent: str, runtime_dir: str, per_s: float, cut_every_s: float, path: str) -> None:
    exchange = Exchange(per_s)
    reader = Reader(exchange, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    async with ScriptedExchange(exchange) as server:
        with open(port_file, "w", encoding="ascii") as told:
            told.write(server.url)
        await asyncio.to_thread(sys.stdin.readline)
        async with jackstay.AsyncClient(agent, runtime_dir=runtime_dir, bot_id="prices", kind="reader") as client:
            await asyncio.gather(
                reader.read(client), reader.pace(), exchange.pour(), exchange.cut(cut_every_s, reader.last)
            )


if __name__ == "__main__":
    import uvloop

    port_file, agent, runtime_dir, per_s, cut_every_s, path = sys.argv[1:7]
    uvloop.run(run(port_file, agent, runtime_dir, float(per_s), float(cut_every_s), path))
