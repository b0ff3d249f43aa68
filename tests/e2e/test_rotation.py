"""Sockets are replaced, or reset, under 5,000 messages a second: the bot sees each message once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from harness import AgentProcess
from jackstay import AgentEvent, AsyncClient, FeedMessage, Lagged
from scripted_exchange import TEXT, ScriptedExchange, Subscribers, frame, trade

TOPICS = [f"s{n}@trade" for n in range(5)]
PER_S = 5000
TICK_S = 0.005
LONGER_S = 30.0  # on a machine that is busy with other things


class Firehose(Subscribers):
    """Every subscriber gets the same numbered trades from the moment it subscribes; all topics at PER_S together."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    async def pour(self) -> None:
        loop = asyncio.get_running_loop()
        began, rounds = loop.time(), 0
        while True:
            await asyncio.sleep(TICK_S)
            due = int((loop.time() - began) * PER_S / len(TOPICS)) - rounds
            rounds += due
            frames: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
            for _ in range(due):
                self.number += 1
                for topic in TOPICS:
                    frames[topic].append(frame(TEXT, trade(topic, self.number)))
            for peer in list(self.peers):
                peer.writer.write(b"".join(each for topic in TOPICS if topic in peer.topics for each in frames[topic]))

    async def reset_now_and_then(self, every_s: float, reader: Reader) -> None:
        """Cut one of two lines, and not the next before both carry again.

        What is on its way on a line that is cut is lost on it, and a line that began after it was sent cannot bring it:
        so the bot must have everything that was sent before both stood.
        """
        while True:
            await asyncio.sleep(every_s * (0.5 + random.random()))
            standing, sent = [peer for peer in self.peers if peer.topics == set(TOPICS)], self.number
            while len(reader.last) < len(TOPICS) or min(reader.last.values()) <= sent:
                await asyncio.sleep(TICK_S)
            if len(standing) >= 2 and all(peer in self.peers for peer in standing):
                random.choice(standing).reset()


class Reader:
    """What a bot sees: the venue's own number of every message, per topic."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.count = 0
        self.wrong: list[str] = []
        self.done = self.gone = 0  # rotations done, sockets gone

    def take(self, item: Any) -> None:
        if isinstance(item, Lagged):
            self.wrong.append(f"lagged {item}")
        elif isinstance(item, AgentEvent):
            self.done += item.name == "feed.rotated"
            self.gone += item.name == "feed.lost"
        elif isinstance(item, FeedMessage):
            payload = bytes(item.payload)
            number = int(payload[payload.index(b'"t":') + 4 : payload.index(b',"p"')])
            last = self.last.get(item.topic)
            if last is not None and number != last + 1:
                self.wrong.append(f"{item.topic}: {number} after {last}")
            self.last[item.topic] = number
            self.count += 1


async def run_for(
    seconds: float, lifetime_s: float, *, redundant: bool, reset_every_s: float = 0.0, rotated: int = 0, lost: int = 0
) -> None:
    """At least so long, and until that many sockets were replaced or lost; then what the bot saw is judged."""
    hose, reader = Firehose(), Reader()
    async with ScriptedExchange(hose) as exchange:
        config = f"""
            [feeds.sim]
            url = "{exchange.url}"
            dialect = "binance"
            subscribes_per_s = 0
            lifetime_s = {lifetime_s}
            settle_s = {min(2.0, lifetime_s / 4)}
            redundant = {str(redundant).lower()}
            dials_max = 0
            backoff_min_s = 0.05
            healthy_s = 0.1
        """
        with AgentProcess(config) as agent:
            async with AsyncClient(agent.name, runtime_dir=agent.runtime_dir) as client:
                tasks = [asyncio.create_task(hose.pour())]
                if reset_every_s:
                    tasks.append(asyncio.create_task(hose.reset_now_and_then(reset_every_s, reader)))
                loop = asyncio.get_running_loop()
                began = loop.time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds + LONGER_S):
                        async for item in client.subscribe("sim", TOPICS, events=True):
                            reader.take(item)
                            if loop.time() - began >= seconds and reader.done >= rotated and reader.gone >= lost:
                                break
                took_s = loop.time() - began
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    judge(reader, took_s)
    assert reader.done >= rotated
    assert reader.gone >= lost


def judge(reader: Reader, took_s: float) -> None:
    print(
        f"\n{reader.count} messages in {took_s:.0f} s, {reader.done} rotations, {reader.gone} sockets lost,"
        f" wrong: {reader.wrong[:5]}"
    )
    assert reader.wrong == []
    assert set(reader.last) == {f"sim/{topic}" for topic in TOPICS}
    assert reader.count >= 0.8 * PER_S * (took_s - 2)


@pytest.mark.serial
@pytest.mark.asyncio
async def test_rotation_under_load_loses_and_doubles_nothing() -> None:
    """A lifetime of one second for eight: the bot's numbers have no gap and no repetition."""
    await run_for(8.0, 1.0, redundant=False, rotated=4)


@pytest.mark.serial
@pytest.mark.asyncio
async def test_a_redundant_pair_under_load_survives_resets() -> None:
    """One of the two lines is reset at random, again and again: nothing shows."""
    await run_for(8.0, 3600.0, redundant=True, reset_every_s=0.3, lost=3)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_five_minutes_of_rotation() -> None:
    """A lifetime of 30 s, five minutes, 5,000 messages a second: not one lost, not one doubled."""
    await run_for(300.0, 30.0, redundant=False, rotated=8)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_five_minutes_of_a_redundant_pair_under_resets() -> None:
    """The same with the redundant pair and random resets."""
    await run_for(300.0, 3600.0, redundant=True, reset_every_s=3.0, lost=50)
