"""A wall clock that steps takes no outcome away before its time, nor keeps any for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstay_agent.outbox import Outbox
from jackstay_protocols.errors import Outcome
from outbox_world import World, order, seq_of


def kept(box: Outbox) -> list[int]:
    box.checkpoint()
    box.tick()
    return [story["seq"] for story in box.export()]


def finished(world: World, number: int) -> int:
    seq = seq_of(world.box.begin(order(number)))
    world.box.finish(seq, Outcome.OK)
    world.box.ack("bot", [seq])
    world.box.tick()
    return seq


@pytest.mark.parametrize("restarts", [False, True], ids=["one life", "restarted in between"])
def test_an_outcome_of_a_clock_that_was_behind_stays_for_its_window(tmp_path: Path, restarts: bool) -> None:
    """Written down while the clock was an hour behind: once the clock is right it is not an hour old, and its key is
    still in use, so the same order is not sent again; when its window is over by the boot clock, it goes.
    """
    world = World(tmp_path)
    world.open()
    world.wall -= 3_600.0
    seq = finished(world, 1)
    world.wall += 3_600.0
    if restarts:
        world.reopen()
    assert kept(world.box) == [seq]
    assert world.box.find_duplicate("bot", "key-1") is not None
    world.pass_time(599.0)
    assert kept(world.box) == [seq]
    for _ in range(3):
        world.pass_time(601.0)
        found = kept(world.box)
    assert found == []


def test_an_ending_of_a_clock_that_was_behind_is_known_as_such_after_a_restart(tmp_path: Path) -> None:
    """Recorded by the right clock, ended by one that was behind, asked about by another life of the agent."""
    world = World(tmp_path)
    box = world.open()
    seq = seq_of(box.begin(order()))
    world.wall -= 3_600.0
    box.finish(seq, Outcome.OK)
    box.ack("bot", [seq])
    world.wall += 3_600.0
    assert kept(world.reopen()) == [seq]


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0, 40 * 365 * 86_400.0])
def test_nobodys_uncollected_outcome_is_lost_to_a_step_of_the_clock(tmp_path: Path, step_s: float) -> None:
    """A machine that boots in 1970 and learns the time later does not take its outcomes for decades old."""
    world = World(tmp_path)
    box = world.open()
    seq = seq_of(box.begin(order()))
    box.finish(seq, Outcome.OK)
    world.pass_time(10.0)
    box.tick()
    world.wall += step_s
    assert kept(box) == [seq]
    world.pass_time(6 * 86_400.0)
    assert kept(box) == [seq]
    for _ in range(3):
        world.pass_time(7 * 86_400.0)
        found = kept(box)
    assert found == []


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0])
def test_a_key_is_good_for_its_window_whatever_the_clock_does(tmp_path: Path, step_s: float) -> None:
    """Over a restart within one boot the boot clock says how long ago it was."""
    world = World(tmp_path)
    world.open()
    finished(world, 1)
    world.wall += step_s
    assert world.reopen().find_duplicate("bot", "key-1") is not None
    world.pass_time(599.0)
    assert world.reopen().find_duplicate("bot", "key-1") is not None
    world.pass_time(1.0)
    assert world.reopen().find_duplicate("bot", "key-1") is None
