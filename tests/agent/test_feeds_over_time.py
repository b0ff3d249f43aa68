"""jackstay_agent.feeds over minutes, in virtual time: quiet markets, silent sockets, an exchange that is away."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jackstay_agent.feeds import Batch, FeedManager, FeedSettings
from jackstay_agent.transport.websocket import WsClosed
from jackstay_protocols.errors import ExchangeError, Reason
from scripted_exchange import trade
from virtual_time import run_virtual


class Line:
    """An open socket of the simulated venue; it answers pings as long as it is not cut."""

    latency_s = 0.01

    def __init__(self, venue: Venue, on_messages: Callable[[list[bytes]], None]) -> None:
        self._venue = venue
        self._loop = asyncio.get_running_loop()
        self.on_messages = on_messages
        self.topics: set[str] = set()
        self.ended: asyncio.Future[WsClosed] = self._loop.create_future()

    @property
    def heard_at(self) -> float:
        return self._loop.time()  # pongs

    @property
    def is_open(self) -> bool:
        return not self.ended.done()

    def send(self, payload: bytes | str, kind: int = 1) -> bool:
        ask = json.loads(payload)
        self.topics.update(ask["params"])
        answer = json.dumps({"result": None, "id": ask["id"]}, separators=(",", ":")).encode()
        self._loop.call_later(0.01, self.on_messages, [answer])
        return True

    def end(self, closed: WsClosed) -> None:
        self._venue.lines.discard(self)
        if not self.ended.done():
            self.ended.set_result(closed)

    def close(self, code: int = 1000, detail: str = "", *, reason: str = "") -> None:
        self.end(WsClosed("us", code, reason, detail))

    def abort(self, detail: str = "", *, reason: str = "") -> None:
        self.end(WsClosed("us", 1006, reason, detail))

    async def wait_closed(self) -> WsClosed:
        return await asyncio.shield(self.ended)


class Venue:
    """Dials succeed unless it is away or has no room; it counts every one, and refuses more than it allows."""

    def __init__(self, *, dials_max: int = 10_000, window_s: float = 300.0) -> None:
        self.away = False
        self.lines: set[Line] = set()
        self.dials: list[float] = []
        self.refused = 0
        self.number = 0
        self._dials_max = dials_max
        self._window_s = window_s

    async def dial(self, _url: str, *, on_messages: Callable[[list[bytes]], None], **_options: Any) -> Line:
        now = asyncio.get_running_loop().time()
        self.dials.append(now)
        if sum(now - at < self._window_s for at in self.dials) > self._dials_max:
            self.refused += 1
            raise ExchangeError("429", reason=Reason.RATE_LIMITED)
        await asyncio.sleep(0.02)
        if self.away:
            raise ExchangeError("refused", reason=Reason.REFUSED)
        line = Line(self, on_messages)
        self.lines.add(line)
        return line

    def vanish(self) -> None:
        self.away = True
        for line in list(self.lines):
            line.end(WsClosed("network", 1006, Reason.RESET, "gone"))

    def trade(self, topic: str) -> None:
        self.number += 1
        for line in list(self.lines):
            if topic in line.topics:
                line.on_messages([trade(topic, self.number)])


class World:
    """A feed of a venue with everything it told."""

    def __init__(self, venue: Venue, seed: int, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.messages: Counter[str] = Counter()
        self.manager = FeedManager(
            {"sim": FeedSettings(url="wss://venue.test/stream", dialect="binance", **settings)},
            loop=loop,
            clock=loop.time,
            random=random.Random(seed).random,
            ws_dial=venue.dial,
            publish=self.publish,
            on_event=lambda name, fields: self.events.append((loop.time(), name, fields)),
        )

    def publish(self, batches: list[Batch]) -> None:
        self.messages.update({topic: len(payloads) for topic, _seq, payloads in batches})

    def named(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, fields) for at, each, fields in self.events if each == name]


def in_virtual_time(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(scene())


@pytest.mark.parametrize("seed", range(5))
def test_a_symbol_that_trades_once_a_minute_is_no_alarm(seed: int) -> None:
    """An hour of one quiet symbol, with the default settings: no replacement after its first minute, nothing missed."""

    async def scene() -> None:
        venue, chance = Venue(), random.Random(seed)
        world = World(venue, seed, lifetime_s=0)
        world.manager.demand("sim", ["quiet@trade"])
        told = 0
        await asyncio.sleep(5)
        for _ in range(60):
            venue.trade("quiet@trade")
            told += 1
            await asyncio.sleep(60 * (0.5 + chance.random()))
        assert world.messages["sim/quiet@trade"] == told
        assert world.named("feed.stale") == []
        assert world.named("feed.lost") == []
        await world.manager.stop()

    in_virtual_time(scene)


@pytest.mark.parametrize("deadline_s", [2.0, 30.0, 300.0])
def test_a_silent_socket_with_pongs_is_found_in_time(deadline_s: float) -> None:
    """Whatever the profile's deadline is, silence is found within it and a tenth; the successor is subscribed alike."""

    async def scene() -> None:
        venue = Venue()
        world = World(venue, 1, silence_s=deadline_s, cadence_factor=0, first_message_s=0, lifetime_s=0)
        world.manager.demand("sim", ["a@trade"])
        await asyncio.sleep(1)
        venue.trade("a@trade")
        since = asyncio.get_running_loop().time()
        while not world.named("feed.stale"):
            await asyncio.sleep(deadline_s / 100)
        assert deadline_s <= world.named("feed.stale")[0][0] - since <= 1.1 * deadline_s
        await asyncio.sleep(1)
        venue.trade("a@trade")
        await asyncio.sleep(0.1)
        assert world.messages["sim/a@trade"] == 2
        await world.manager.stop()

    in_virtual_time(scene)


def test_an_acknowledged_subscription_that_never_delivers_is_found_in_time() -> None:
    """Beside a busy topic one that was acknowledged stays mute: it moves within its deadline and a tenth."""

    async def scene() -> None:
        venue = Venue()
        world = World(venue, 1, first_message_s=30.0, lifetime_s=0)
        world.manager.demand("sim", ["busy@trade"])
        world.manager.demand("sim", ["mute@trade"])
        since = asyncio.get_running_loop().time()
        while not world.named("feed.stale"):
            venue.trade("busy@trade")
            await asyncio.sleep(0.5)
        at, fields = world.named("feed.stale")[0]
        assert fields["topics"] == ["mute@trade"]
        assert at - since <= 30.0 * 1.1
        await asyncio.sleep(1)
        assert any(line.topics == {"mute@trade"} for line in venue.lines)
        venue.trade("mute@trade")
        await asyncio.sleep(0.1)
        assert world.messages["sim/mute@trade"] == 1
        await world.manager.stop()

    in_virtual_time(scene)


@pytest.mark.parametrize("seed", range(5))
def test_an_exchange_that_is_away_for_a_minute_is_not_stormed(seed: int) -> None:
    """Fifty connections, 60 s without the venue: attempts stay inside its allowance of 300 in 5 min, jittered, and no
    429; all fifty are back within one step of the backoff."""

    async def scene() -> None:
        loop, venue = asyncio.get_running_loop(), Venue(dials_max=300)
        world = World(venue, seed, streams_max=1, sockets_max=50, dials_max=300, lifetime_s=0)
        topics = [f"s{n}@trade" for n in range(50)]
        world.manager.demand("sim", topics)
        await asyncio.sleep(5)
        assert len(venue.lines) == 50
        venue.vanish()
        gone_at, began = loop.time(), len(venue.dials)
        await asyncio.sleep(60)
        attempts = [at - gone_at for at in venue.dials[began:]]
        venue.away, back_at = False, loop.time()
        while len(venue.lines) < 50:
            await asyncio.sleep(0.05)
        took_s = loop.time() - back_at
        histogram = Counter(int(at // 5) * 5 for at in attempts)
        print(
            f"\nseed {seed}: {len(attempts)} attempts in 60 s, by 5 s {dict(sorted(histogram.items()))};"
            f" back after {took_s:.1f} s"
        )
        assert venue.refused == 0
        assert 50 <= len(attempts) <= 100  # each of the fifty tries once at once, then one of them knocks
        later = [at for at in attempts if at > 1.0]
        steps = [b - a for a, b in zip(later, later[1:], strict=False)]
        assert len({round(step, 3) for step in steps}) == len(steps)  # no rhythm
        assert took_s <= FeedSettings(url="wss://venue.test").backoff_max_s + 2.0
        await world.manager.stop()

    in_virtual_time(scene)
