"""The agent's watch over itself: what is measured, said and refused."""

from __future__ import annotations

from typing import Any

from jackstay_agent.core.overload import OverloadSettings
from jackstay_agent.load_guard import LoadGuard
from jackstay_protocols.errors import Lane, Reason


class World:
    """A process of any size, and a clock that ticks four times a second."""

    def __init__(self, **settings: Any) -> None:
        self.now = 100.0
        self.resident_mb = 30.0
        self.under_way = 0
        self.trims = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.guard = LoadGuard(
            OverloadSettings(**({"memory_mb_max": 100.0} | settings)),
            clock=lambda: self.now,
            process=self,
            in_flight=lambda: self.under_way,
            on_event=lambda name, facts: self.events.append((name, facts)),
        )

    def resident_bytes(self) -> int:
        return int(self.resident_mb * 1e6)

    def trim(self) -> None:
        self.trims += 1

    def tick(self, late_s: float = 0.0, times: int = 1) -> None:
        for _ in range(times):
            self.now += 0.25
            self.guard.tick(late_s)


def test_a_change_is_told_once_and_stands_in_status() -> None:
    """Raised, lowered step by step, over; each an event with its reason, the level in status all the while."""
    world = World()
    world.tick(times=4)
    assert (world.events, world.guard.shedding) == ([], frozenset())
    world.under_way = 3_300
    world.tick(times=4)
    assert world.guard.shedding == {Lane.OTHER, Lane.QUERY}
    assert world.guard.status()["level"] == 2
    assert world.guard.status()["why"] == "in flight at 82% of 4000 requests"
    world.under_way = 0
    world.tick(times=60)
    assert [name for name, _ in world.events] == ["overload.raised", "overload.lowered", "overload.over"]
    assert world.events[0][1]["sheds"] == ["other", "query"]
    assert world.guard.status() | {"pressure": 0} == {
        "level": 0, "sheds": [], "why": "", "since_s": None, "pressure": 0, "lag_s": 0.0,
        "shed": {"order": 0, "query": 0, "other": 0},
    }  # fmt: skip


def test_a_refusal_says_why_and_when_to_come_back() -> None:
    """Typed, counted by lane, and it says that what reduces risk passes."""
    world = World()
    world.under_way = 4_000
    world.tick()
    refusal = world.guard.refusal(Lane.QUERY)
    assert (refusal.reason, refusal.retry_after_s) == (Reason.OVERLOADED, 1.0)
    assert "in flight at 100% of 4000 requests" in refusal.message
    assert "what reduces risk passes" in refusal.message
    assert world.guard.status()["shed"]["query"] == 1


def test_each_lane_has_its_share_of_the_room_at_once() -> None:
    """Between two ticks too: questions stop at eight tenths of the limit, orders at all of it, cancels never."""
    world = World(in_flight_max=1000)
    stops = {}
    for under_way in range(0, 3000, 50):
        world.under_way = under_way
        for lane in Lane:
            if world.guard.sheds(lane):
                stops.setdefault(str(lane), under_way)
    assert stops == {"other": 650, "query": 850, "order": 1050}
    assert world.guard.status()["level"] == 0


def test_one_long_pause_of_the_machine_sheds_nothing() -> None:
    """A suspend of an hour is one late tick; a loop that is late again and again is overload."""
    world = World()
    world.tick(3600.0)
    assert world.guard.status()["level"] == 0
    world.tick(times=20)
    world.tick(0.6, times=12)
    assert world.guard.status()["level"] >= 2


def test_tight_memory_is_given_back_before_anybody_is_refused_for_long() -> None:
    """Free memory goes back to the system, at most twice a minute."""
    world = World()
    world.resident_mb = 70.0
    world.tick(times=8)
    assert (world.trims, world.guard.status()["level"]) == (1, 1)
    world.tick(times=240)
    assert world.trims == 3
    world.resident_mb = 40.0
    world.tick(times=60)
    assert world.guard.status()["level"] == 0


def test_switched_off_it_measures_and_refuses_nothing() -> None:
    """`enabled = false`: whatever happens, no lane is shed."""
    world = World(enabled=False)
    world.resident_mb, world.under_way = 500.0, 100_000
    world.tick(5.0, times=20)
    assert (world.guard.shedding, world.events, world.trims) == (frozenset(), [], 0)
    assert not any(map(world.guard.sheds, Lane))
    assert world.guard.status()["lag_s"] > 0.5
