"""When was an unknown order sent, in the venue's time? An order of its id that is older than that is another one."""

from __future__ import annotations

import pytest

from jackstay_agent.core.evidence import Evidence, Finding, Source
from jackstay_agent.core.intent import State
from jackstay_protocols.errors import Outcome
from outbox_world import World, order, seq_of

HOUR_S = 3_600.0


class Ahead:
    """A machine whose wall clock is an hour ahead of the venue's when an order is sent, and nobody knows it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.true_s = world.wall
        world.wall += HOUR_S
        self.seq = seq_of(world.box.begin(order(1, recv_window_s=5.0)))
        self.created_at = self.true_s + 0.1
        world.pass_time(1.0)

    def measured(self) -> None:
        """The agent learns the venue's time."""
        true_s, then_s = self.true_s, 1_000.0
        if self.world.boot_id != "boot-1":
            true_s, then_s = self.true_s + 60.0, self.world.now
        self.world.box.venue_at = lambda _venue, boot_s: true_s + boot_s - then_s

    def shown(self, *, alike: bool = True, age_s: float = 0.0) -> State:
        """The venue shows an order of this id."""
        found = Evidence(Source.QUERY, Finding.EXISTS, created_at=self.created_at - age_s, alike=alike)
        settled = self.world.box.resolve(self.seq, found)
        assert settled is not None
        return settled.state

    def reboot(self) -> None:
        """The power goes, and the wall clock is right afterwards."""
        self.world.kill()
        self.world.boot_id, self.world.now, self.world.wall = "boot-2", 7.0, self.true_s + 60.0
        self.world.open()


@pytest.fixture
def ahead(world: World) -> Ahead:
    return Ahead(world)


def test_a_clock_measured_after_the_order_left_tells_when_it_left(world: World, ahead: Ahead) -> None:
    """While nobody knows better the order looks older than itself; it is not, once the venue's time is known."""
    world.box.finish(ahead.seq, Outcome.UNKNOWN)
    assert ahead.shown() is State.UNKNOWN
    ahead.measured()
    assert ahead.shown(age_s=10.0) is State.UNKNOWN  # and an older one still is another order
    assert ahead.shown() is State.DONE


def test_a_restart_in_the_same_boot_tells_it_too(world: World, ahead: Ahead) -> None:
    """The boot-time clock goes on."""
    world.kill()
    world.pass_time(3.0)
    world.open()
    ahead.measured()
    assert ahead.shown(age_s=10.0) is State.UNKNOWN
    assert ahead.shown() is State.DONE


def test_after_a_reboot_a_clock_that_told_the_future_was_wrong(world: World, ahead: Ahead) -> None:
    """By it the order was sent later than now: when it was is not known, so what has its id has to look like it."""
    ahead.reboot()
    assert ahead.shown() is State.UNKNOWN  # our wall clock may be the wrong one now
    ahead.measured()
    assert ahead.shown(alike=False) is State.UNKNOWN
    assert ahead.shown() is State.DONE


def test_after_a_reboot_a_clock_that_may_have_been_right_is_believed(world: World, ahead: Ahead) -> None:
    """Nothing speaks against it: an older order of that id, alike or not, is another one."""
    ahead.reboot()
    world.box.venue_at = lambda _venue, boot_s: ahead.true_s + HOUR_S + boot_s
    assert ahead.shown() is State.UNKNOWN


def test_what_a_stream_says_is_about_the_order_it_can_be_about(world: World, ahead: Ahead) -> None:
    """Found by its client order id: an event of before it was sent belongs to an older order of that id."""
    world.box.finish(ahead.seq, Outcome.UNKNOWN)
    event = Evidence(Source.STREAM, Finding.EXISTS, created_at=ahead.created_at)
    assert world.box.saw("sandbox", "js-1", event) is None
    ahead.measured()
    settled = world.box.saw("sandbox", "js-1", event)
    assert settled is not None
    assert settled.state is State.DONE
