"""A breaker before the dials of each stream host."""

from __future__ import annotations

import asyncio

import pytest

from jackstay_agent.core.breaker import BreakerSettings, BreakerState
from jackstay_agent.dial_breakers import HOSTS_MAX, DialBreakers
from jackstay_protocols.errors import ExchangeError, ValidationError


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.dials = 0
        self.events: list[str] = []
        self.fault: BaseException | None = ExchangeError("refused")
        self.breakers = DialBreakers(
            BreakerSettings(failure_threshold=3, open_s=2.0),
            clock=lambda: self.now,
            random=lambda: 0.0,
            on_event=lambda name, facts: self.events.append(f"{name} {facts['upstream']} {facts['class']}"),
        )

    async def dial(self) -> str:
        self.dials += 1
        if self.fault is not None:
            raise self.fault
        return "socket"

    async def knock(self, host: str = "stream.test") -> str:
        return await self.breakers.guarded(host, self.dial)


@pytest.mark.asyncio
async def test_a_dead_host_is_dialled_by_one_feed_at_a_time_after_its_pause() -> None:
    """Ten feeds knock three times together, then one each two seconds; the first success lets all of them in."""
    world = World()
    for _ in range(10):
        with pytest.raises(ExchangeError) as caught:
            await world.knock()
    assert world.dials == 3
    assert (caught.value.reason, caught.value.retry_after_s) == ("breaker_open", 2.0)
    world.now += 2.0
    for _ in range(10):
        with pytest.raises(ExchangeError):
            await world.knock()
    assert world.dials == 4
    world.now += 2.0
    world.fault = None
    assert [await world.knock() for _ in range(10)] == ["socket"] * 10
    assert world.events == [
        f"breaker.{to} stream.test stream_dials" for to in ("open", "half_open", "open", "half_open", "closed")
    ]


@pytest.mark.asyncio
async def test_hosts_stand_alone() -> None:
    """What is dead there is alive here."""
    world = World()
    for _ in range(5):
        with pytest.raises(ExchangeError):
            await world.knock("dead.test")
    world.fault = None
    assert await world.knock("alive.test") == "socket"


@pytest.mark.asyncio
async def test_a_cancelled_dial_is_no_news_of_the_host() -> None:
    """Neither for nor against it, and its place is free again."""
    world = World()
    world.fault = asyncio.CancelledError()
    for _ in range(10):
        with pytest.raises(asyncio.CancelledError):
            await world.knock()
    assert world.breakers.of("stream.test").state is BreakerState.CLOSED


@pytest.mark.asyncio
async def test_a_restart_forgets_nothing() -> None:
    """The rest of the pause stands; damage is refused."""
    world, later = World(), World()
    for _ in range(3):
        with pytest.raises(ExchangeError):
            await world.knock()
    later.breakers.restore(world.breakers.snapshot(), 0.5)
    with pytest.raises(ExchangeError) as caught:
        await later.knock()
    assert (later.dials, caught.value.retry_after_s) == (0, 1.5)
    for damaged in ([], {"h": {}}, {str(number): {} for number in range(HOSTS_MAX + 1)}):
        with pytest.raises(ValidationError, match="start without it"):
            World().breakers.restore(damaged, 0.0)


def test_hosts_are_bounded() -> None:
    """The first made is forgotten first."""
    world = World()
    for number in range(HOSTS_MAX + 1):
        world.breakers.of(f"h{number}")
    assert len(world.breakers.breakers) == HOSTS_MAX
    assert "h0" not in world.breakers.breakers


def test_what_is_told_is_told_once() -> None:
    """A look without news is silent."""
    world = World()
    world.breakers.of("h").force(BreakerState.FORCED_OPEN, 1.0, why="x")
    world.breakers.tell()
    world.breakers.tell()
    assert world.events == ["breaker.forced_open h stream_dials"]
