"""Sockets are replaced, or reset, under 5,000 messages a second: the bot sees each message once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import Any

import pytest

from harness import AgentProcess
from jackstay import AgentEvent, AsyncClient, FeedMessage, Lagged
from scripted_exchange import CLOSE, PING, PONG, TEXT, Peer, ScriptedExchange, frame, trade

TOPICS = [f"s{n}@trade" for n in range(5)]
PER_S = 5000
TICK_S = 0.005
BOTH_CARRY_S = 0.1


class Firehose:
    """Every subscriber gets the same numbered trades from the moment it subscribes; all topics at PER_S together."""

    def __init__(self) -> None:
        self.number = 0
        self.peers: list[Peer] = []

    async def __call__(self, peer: Peer) -> None:
        try:
            while True:
                opcode, payload = await peer.read_frame()
                if opcode == PING:
                    await peer.send(frame(PONG, payload))
                elif opcode == CLOSE:
                    await peer.send(frame(CLOSE, payload))
                    return
                elif opcode == TEXT:
                    ask = json.loads(payload)
                    if ask["method"] == "SUBSCRIBE":
                        peer.topics.update(ask["params"])
                    await peer.text({"result": None, "id": ask["id"]})
                    if peer not in self.peers:
                        self.peers.append(peer)
        finally:
            if peer in self.peers:
                self.peers.remove(peer)

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

    async def reset_now_and_then(self, every_s: float) -> None:
        """Cut one of two lines, and not the next before both carry again: what is on its way on a line that is cut
        is lost on it, and a line that began after it was sent cannot bring it."""
        while True:
            await asyncio.sleep(every_s * (0.5 + random.random()))
            standing = [peer for peer in self.peers if peer.topics == set(TOPICS)]
            await asyncio.sleep(BOTH_CARRY_S)
            if len(standing) >= 2 and all(peer in self.peers for peer in standing):
                random.choice(standing).reset()


class Reader:
    """What a bot sees: the venue's own number of every message, per topic."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.count = 0
        self.wrong: list[str] = []
        self.events: list[str] = []

    def take(self, item: Any) -> None:
        if isinstance(item, Lagged):
            self.wrong.append(f"lagged {item}")
        elif isinstance(item, AgentEvent):
            self.events.append(item.name)
        elif isinstance(item, FeedMessage):
            payload = bytes(item.payload)
            number = int(payload[payload.index(b'"t":') + 4 : payload.index(b',"p"')])
            last = self.last.get(item.topic)
            if last is not None and number != last + 1:
                self.wrong.append(f"{item.topic}: {number} after {last}")
            self.last[item.topic] = number
            self.count += 1


async def run_for(seconds: float, lifetime_s: float, *, redundant: bool, reset_every_s: float = 0.0) -> Reader:
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
                    tasks.append(asyncio.create_task(hose.reset_now_and_then(reset_every_s)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        async for item in client.subscribe("sim", TOPICS, events=True):
                            reader.take(item)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return reader


def judge(reader: Reader, seconds: float, *, rotated: int = 0, lost: int = 0) -> None:
    done = reader.events.count("feed.rotated")
    gone = reader.events.count("feed.lost")
    print(
        f"\n{reader.count} messages in {seconds:g} s, {done} rotations, {gone} sockets lost, wrong: {reader.wrong[:5]}"
    )
    assert reader.wrong == []
    assert set(reader.last) == {f"sim/{topic}" for topic in TOPICS}
    assert reader.count >= 0.8 * PER_S * (seconds - 2)
    assert done >= rotated
    assert gone >= lost


@pytest.mark.serial
@pytest.mark.asyncio
async def test_rotation_under_load_loses_and_doubles_nothing() -> None:
    """A lifetime of one second for eight: the bot's numbers have no gap and no repetition."""
    judge(await run_for(8.0, 1.0, redundant=False), 8.0, rotated=4)


@pytest.mark.serial
@pytest.mark.asyncio
async def test_a_redundant_pair_under_load_survives_resets() -> None:
    """One of the two lines is reset at random, again and again, while both are also replaced by age: nothing shows."""
    judge(await run_for(8.0, 3.0, redundant=True, reset_every_s=0.6), 8.0, lost=5)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_five_minutes_of_rotation() -> None:
    """A lifetime of 30 s, five minutes, 5,000 messages a second: not one lost, not one doubled."""
    judge(await run_for(300.0, 30.0, redundant=False), 300.0, rotated=8)


@pytest.mark.soak
@pytest.mark.asyncio
@pytest.mark.timeout(400)
async def test_five_minutes_of_a_redundant_pair_under_resets() -> None:
    """The same with the redundant pair and random resets."""
    judge(await run_for(300.0, 30.0, redundant=True, reset_every_s=5.0), 300.0, lost=40)
