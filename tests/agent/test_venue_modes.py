"""Modes over venues: one place each and one for all, events, memory."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.core.modes import Mode
from jackstay_agent.venue_modes import EVERYWHERE, VENUES_MAX, VenueModes
from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.modes = VenueModes(clock=lambda: self.now, on_event=lambda name, facts: self.events.append((name, facts)))

    def stopped(self, venue: str, order_class: OrderClass = OrderClass.ENTRY) -> bool:
        return self.modes.refusal(venue, Lane.ORDER, order_class, post_only=False) is not None


def test_a_hold_over_all_venues_is_over_each() -> None:
    """Also over one that nobody has named before."""
    world = World()
    world.modes.hold("a", Mode.CONSERVATIVE, holder="x", why="y")
    assert (world.stopped("a"), world.stopped("b")) == (True, False)
    assert not world.stopped("a", OrderClass.EXIT)
    world.modes.hold(EVERYWHERE, Mode.HALTED, holder="x", why="y")
    assert (world.stopped("a", OrderClass.EXIT), world.stopped("b")) == (True, True)
    assert (world.modes.mode("a"), world.modes.mode("b"), world.modes.mode(EVERYWHERE)) == (Mode.HALTED,) * 3
    assert world.modes.release(EVERYWHERE, "x")
    assert (world.modes.mode("a"), world.modes.mode("b")) == (Mode.CONSERVATIVE, Mode.NORMAL)


def test_each_change_is_an_event_and_time_alone_ends_a_hold() -> None:
    """Who, what, why and for how long."""
    world = World()
    world.modes.hold("a", Mode.MAINTENANCE, holder="venue", why="upgrade", for_s=10)
    world.now += 10
    world.modes.tell()
    assert not world.stopped("a")
    assert not world.modes.release("a", "venue")
    assert not world.modes.release("nowhere", "venue")
    facts = {"venue": "a", "mode": "maintenance", "by": "venue", "why": "upgrade"}
    assert world.events == [("mode.held", {**facts, "for_s": 10.0}), ("mode.expired", {**facts, "for_s": 0.0})]


def test_a_restart_keeps_what_is_held() -> None:
    """With the time that is left; what ended meanwhile is gone."""
    world, later = World(), World()
    world.modes.hold("a", Mode.HALTED, holder="x", why="y")
    world.modes.hold("b", Mode.HALTED, holder="x", why="y", for_s=5)
    world.modes.hold(EVERYWHERE, Mode.CONSERVATIVE, holder="x", why="y", for_s=50)
    later.modes.restore(world.modes.snapshot(), elapsed_s=6)
    shown = {each["venue"]: (each["mode"], each["left_s"]) for each in later.modes.status()}
    assert shown == {"a": ("halted", None), EVERYWHERE: ("conservative", 44.0)}


@pytest.mark.parametrize("damaged", [[], "x", {"a": 3}, {"a": [["h", "odd", "w", None]]}])
def test_a_damaged_snapshot_is_refused(damaged: Any) -> None:
    """It is a file's content by then."""
    with pytest.raises(ValidationError, match="start without it"):
        World().modes.restore(damaged, elapsed_s=0)


def test_venues_are_bounded() -> None:
    """An operator's script that invents names fills no memory."""
    world = World()
    for number in range(VENUES_MAX):
        world.modes.hold(f"v{number}", Mode.HALTED, holder="x", why="y")
    with pytest.raises(ValidationError, match="that is the bound"):
        world.modes.hold("one more", Mode.HALTED, holder="x", why="y")
