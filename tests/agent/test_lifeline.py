"""The word to the service manager: pings only for rounds in which everything moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jackstay_agent.lifeline import SLOW_ROUNDS, Lifeline, watchdog_s


class Door:
    def __init__(self) -> None:
        self.deaf = False
        self.asked = False
        self.closed = False

    def knock(self) -> None:
        self.asked = not self.deaf

    def answered(self) -> bool:
        heard, self.asked = self.asked, False
        return heard

    def close(self) -> None:
        self.closed = True


class Timer:
    def __init__(self, at: float, work: Callable[[], None]) -> None:
        self.at, self.work, self.cancelled = at, work, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A clock of its own; everything moves unless told otherwise."""

    def __init__(self, watchdog: float = 4.0) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.said: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.doors = {"bot.sock": Door(), "control.sock": Door()}
        self.beats = True
        self.thread = True
        self.beat = 0
        self.text = "1 bots"
        self.line = Lifeline(
            say=lambda words: self.said.append(words) is None,
            call_later=self.later,
            summary=lambda: self.text,
            on_event=lambda name, fields: self.events.append((name, fields)),
            knocks=self.doors,
            pulses=self.pulses,
            hand_work=self.work,
            watchdog_s=watchdog,
        )

    def later(self, delay_s: float, work: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay_s, work)
        self.timers.append(timer)
        return timer

    def pulses(self) -> dict[str, object]:
        self.beat += self.beats
        return {"outbox pulse": self.beat}

    def work(self, done: Callable[[], None]) -> None:
        if self.thread:
            self.later(0.01, done)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [timer for timer in self.timers if not timer.cancelled and timer.at <= end]
            if not due:
                break
            timer = min(due, key=lambda each: each.at)
            self.timers.remove(timer)
            self.now = timer.at
            timer.work()
        self.now = end

    def pings(self) -> int:
        return sum("WATCHDOG=1" in words for words in self.said)


def test_a_quiet_night_is_pinged_through() -> None:
    """Eight hours without a bot: a ping each round, none withheld."""
    world = World()
    world.line.ready()
    assert world.said[0] == "READY=1\nSTATUS=1 bots"
    world.run(8 * 3600)
    assert world.pings() >= 8 * 3600 - 2
    assert world.events == []


@pytest.mark.parametrize("what", ["bot.sock", "control.sock", "outbox pulse", "outbox thread"])
def test_what_stands_still_withholds_the_ping_and_is_named(what: str) -> None:
    """A deaf door, a standing pulse, a stuck thread: no ping, one event with the name; it ends when it moves again."""
    world = World()
    world.line.ready()
    world.run(10)
    if what in world.doors:
        world.doors[what].deaf = True
    elif what == "outbox pulse":
        world.beats = False
    else:
        world.thread = False
    world.run(SLOW_ROUNDS + 3)
    before = world.pings()
    world.run(20)
    assert world.pings() == before
    assert [name for name, _ in world.events] == ["lifeline.withheld"]
    assert world.events[0][1]["silent"] == [what]
    if what == "outbox thread":
        world.line._work_done()
    for door in world.doors.values():
        door.deaf = False
    world.beats = world.thread = True
    world.run(5)
    assert world.pings() > before
    assert world.events[-1][0] == "lifeline.turning"


def test_a_slow_disk_is_no_reason() -> None:
    """The outbox thread may be silent for almost three watchdog times."""
    world = World()
    world.line.ready()
    world.run(10)
    world.thread = False
    world.run(SLOW_ROUNDS - 2)
    assert world.events == []


def test_a_suspended_machine_changes_nothing() -> None:
    """Rounds are counted, not seconds: after an hour in which no timer fired the next round pings."""
    world = World()
    world.line.ready()
    world.run(10)
    for timer in world.timers:
        timer.at += 3600
    world.now += 3600
    before = world.pings()
    world.run(4)
    assert world.pings() >= before + 3
    assert world.events == []


def test_a_stop_asks_for_time_as_long_as_it_goes_on() -> None:
    """STOPPING once, then more time again and again until it is closed; a handover is a reload and no stop."""
    world = World()
    world.line.ready()
    world.run(3)
    world.line.leaving("draining")
    world.run(5)
    extended = [words for words in world.said if words.startswith("EXTEND_TIMEOUT_USEC=")]
    assert sum("STOPPING=1" in words for words in world.said) == 1
    assert len(extended) == 6
    world.line.close()
    world.run(5)
    assert [words for words in world.said if words.startswith("EXTEND_TIMEOUT_USEC=")] == extended
    assert all(door.closed for door in world.doors.values())
    other = World()
    other.line.ready()
    other.line.leaving("handing over", stopping=False)
    assert not any("STOPPING=1" in words for words in other.said)
    assert any("RELOADING=1" in words for words in other.said)


def test_the_status_line_is_told_when_it_changes() -> None:
    """Once for each text, in one line."""
    world = World(watchdog=0.0)
    world.line.ready()
    world.run(5)
    world.text = "2 bots\nand more"
    world.run(5)
    assert world.said == ["READY=1\nSTATUS=1 bots", "STATUS=2 bots and more"]


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(env: dict[str, str], seconds: float) -> None:
    """WATCHDOG_USEC, for this process only."""
    assert watchdog_s(env, 7) == seconds
