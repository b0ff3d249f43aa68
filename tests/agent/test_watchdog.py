"""The watchdog over real sessions of the bot door: what it tells, what it has done, what it never does."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.core.liveness import BotState, Process
from jackstay_agent.core.protection import HoldScope, Preset
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Goodbye
from jackstay_protocols.session import BotSession, SilenceLease
from jackstay_protocols.types import OrderClass
from watch_world import World

ENTRY, EXIT = OrderClass.ENTRY, OrderClass.EXIT


@pytest.fixture
def world() -> World:
    return World()


def test_observe_tells_everything_and_does_nothing(world: World) -> None:
    """late, stalled and back are each told once, with what would have been done."""
    session = world.bot()
    world.step(20)
    session.lease.heard(world.now)
    world.step(1)
    assert world.told() == ["bot.late", "bot.stalled", "bot.back"]
    assert world.told("would.") == ["would.hold"]
    assert world.done == [("would cancel", "b", ENTRY)]


@pytest.mark.parametrize(
    ("preset", "stalled"),
    [
        (Preset.DIRECTIONAL, [("hold", "b", HoldScope.BOT), ("cancel", "b", ENTRY)]),
        (Preset.MARKET_MAKER, [("hold", "b", HoldScope.BOT), ("cancel", "b", ENTRY, EXIT)]),
        (Preset.HEDGED, [("hold", "b", HoldScope.GROUP)]),
    ],
)
def test_an_armed_preset_acts_and_is_undone_when_the_bot_is_back(
    world: World, preset: Preset, stalled: list[Any]
) -> None:
    """Held when late, cancelled when stalled, let go when it speaks again."""
    world.dog.arm(preset, None, by="uid 0")
    session = world.bot()
    assert world.step(3.5) == stalled[:1]
    assert world.step(10) == stalled[1:]
    session.lease.heard(world.now)
    undone = [("stop", "b")] if len(stalled) > 1 else []
    assert world.step(0.25) == [*undone, ("release", "b")]


def test_the_armed_silence_replaces_twice_the_lease(world: World) -> None:
    """A length above the lease is the operator's own."""
    world.dog.arm(Preset.DIRECTIONAL, 10.0, by="uid 0")
    world.bot()
    assert ("cancel", "b", ENTRY) not in world.step(10.0)
    assert ("cancel", "b", ENTRY) in world.step(0.5)


def test_arming_while_a_bot_is_stalled_acts_at_once_and_disarming_stops(world: World) -> None:
    """The operator's word is the table's other coordinate."""
    world.bot()
    world.step(10)
    world.dog.arm(Preset.MARKET_MAKER, None, by="uid 0")
    assert world.step(0.25) == [("hold", "b", HoldScope.BOT), ("cancel", "b", ENTRY, EXIT)]
    world.dog.arm(Preset.OBSERVE, None, by="uid 0")
    assert world.step(0.25) == [("stop", "b"), ("release", "b"), ("would cancel", "b", ENTRY)]


def test_a_process_that_ends_has_its_grace_and_then_is_dead(world: World) -> None:
    """No cancel while a supervisor may bring it back; the end itself is told once."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.bot()
    world.processes[42] = Process.GONE
    assert world.step(29) == [("hold", "b", HoldScope.BOT)]
    assert world.step(2) == [("cancel", "b", ENTRY)]
    assert world.told() == ["bot.gone", "bot.late", "bot.dead"]


def test_a_restart_within_the_grace_costs_nothing(world: World) -> None:
    """The new process's hello lets its queue go; nothing was cancelled."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.bot()
    world.processes[42] = Process.GONE
    world.step(5)
    world.bot(pid=43)
    assert world.done == [("hold", "b", HoldScope.BOT), ("release", "b")]
    assert world.told()[-1] == "bot.back"


def test_a_goodbye_keeps_orders_or_cancels_them_as_it_says(world: World) -> None:
    """A deploy is not a death; cancel is the bot's own word and holds under observe, once."""
    for word, done in (("keep", []), ("cancel", [("drop", "b", ENTRY), ("cancel", "b", ENTRY)])):
        session = world.bot()
        world.done.clear()
        session.goodbye, session.said_goodbye_at = Goodbye("deploy", word), world.now
        world.processes[42] = Process.GONE
        assert world.step(3600) == done
        world.processes.clear()
    world.bot(pid=44)
    assert world.done[-1] == ("stop", "b")


def test_a_bot_that_is_not_back_in_time_counts_as_dead(world: World) -> None:
    """back_within_s is a promise."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    session = world.bot()
    session.goodbye, session.said_goodbye_at = Goodbye("deploy", "keep", 60.0), world.now
    assert world.step(59) == []
    assert world.step(2) == [("hold", "b", HoldScope.BOT), ("cancel", "b", ENTRY)]


def test_a_hold_keeps_entries_back_and_cancels_nothing(world: World) -> None:
    """A breakpoint of half an hour under `bot hold`; when it is over, everything counts again."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.bot()
    world.step(4)
    world.dog.hold("b", 1800, by="uid 0", why="debugging")
    assert world.step(1799) == []
    assert world.step(2) == [("cancel", "b", ENTRY)]
    world.dog.hold("b", 60, by="uid 0", why="again")
    assert world.step(1) == [("stop", "b")]
    assert world.dog.end_hold("b")
    assert not world.dog.end_hold("b")


@pytest.mark.parametrize(("seconds", "why", "name"), [(7201, "x", "b"), (0, "x", "b"), (60, " ", "b"), (60, "x", "c")])
def test_a_hold_that_means_nothing_is_refused(world: World, seconds: float, why: str, name: str) -> None:
    """At most two hours, with a reason, for a bot that is here."""
    world.bot()
    with pytest.raises(ValidationError):
        world.dog.hold(name, seconds, by="uid 0", why=why)


def test_an_expected_restart_costs_nothing_until_it_is_overdue(world: World) -> None:
    """A deploy by hand of a bot that says no goodbye."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.bot()
    world.dog.expect_restart("b", 120, by="uid 0")
    world.processes[42] = Process.GONE
    assert world.step(119) == []
    assert world.step(2) == [("hold", "b", HoldScope.BOT), ("cancel", "b", ENTRY)]
    with pytest.raises(ValidationError):
        world.dog.expect_restart("nobody", 120, by="uid 0")


def test_beating_without_progress_is_a_stall_where_it_is_configured() -> None:
    """Alive and stuck."""
    world = World(progress_max_s=60)
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    session = world.bot()
    session.progress, session.progress_at = 1, world.now
    for _ in range(100):
        session.lease.heard(world.now)
        world.step(1)
    assert ("cancel", "b", ENTRY) in world.done
    assert "no progress" in dict(world.events)["bot.stalled"]["why"]


def test_time_in_which_the_agent_did_not_run_is_excused(world: World) -> None:
    """Both frozen for a minute and thawed: nobody is late, and no such silence is remembered."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    session = world.bot()
    world.now += 60
    session.lease.excuse(60)
    world.dog.excuse(60)
    assert world.step(1) == []
    assert world.told() == []
    session.lease.heard(world.now)
    world.step(0.25)
    longest = world.dog.silences("b").longest(1_800_000_000.0 + world.now)
    assert longest is None or longest.length_s < 3


def test_legitimate_silences_are_remembered_with_what_was_open(world: World) -> None:
    """The evidence for arming: a 50 s silence in which two entries were open."""
    session = world.bot()
    session.lease.heard(world.now, 60.0)
    world.open = {ENTRY: 2}
    world.step(50)
    session.lease.heard(world.now)
    world.step(0.25)
    longest = world.dog.silences("b").longest(1_800_000_000.0 + world.now)
    assert longest is not None
    assert longest.length_s == pytest.approx(50, abs=0.3)
    assert longest.open_orders == {ENTRY: 2}
    assert world.dog.status()["bots"]["b"]["longest_silence_s"] == pytest.approx(50, abs=0.3)


def test_a_restarted_agent_expects_the_bots_it_knew(world: World) -> None:
    """A bot that is stopped before and after the restart is noticed; what was armed stays armed."""
    world.dog.arm(Preset.DIRECTIONAL, 5.0, by="uid 0", why="tested")
    world.bot()
    world.step(1)
    world.dog.hold("b", 3, by="uid 0", why="short")
    world.dog.expect_restart("b", 1, by="uid 0")
    kept = world.dog.snapshot()
    world.now += 2
    world.dog = world.another()
    world.sessions = world.dog.restore(kept, same_boot=True)
    assert [each.bot_id for each in world.sessions] == ["b"]
    assert world.dog.armed.preset is Preset.DIRECTIONAL
    done = world.step(7)
    assert ("cancel", "b", ENTRY) in done


def test_what_an_earlier_agent_held_is_let_go_of_when_its_bot_is_well(world: World) -> None:
    """Whether it was away for longer than its lease or not; a bot of which nothing is held is not concerned."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.held_before = {"b", "late"}
    world.bot("b")
    world.bot("c")
    assert world.done == [("release", "b")]
    late = BotSession("late", 43, "primary", "t", SilenceLease(3.0, world.now - 4.0), seen_pid=43)
    world.sessions.append(late)
    assert world.step(1) == []
    late.lease.heard(world.now)
    assert world.step(1) == [("release", "late")]


def test_what_an_earlier_agent_held_waits_for_a_word_of_the_bot(world: World) -> None:
    """The lease a restarted agent gives it is none."""
    world.dog.arm(Preset.DIRECTIONAL, 600.0, by="uid 0")
    world.bot()
    kept = world.dog.snapshot()
    world.dog, world.held_before = world.another(), {"b"}
    world.sessions = world.dog.restore(kept, same_boot=True)
    assert world.step(60) == []
    world.sessions[0].lease.heard(world.now)
    assert world.step(1) == [("release", "b")]


def test_after_a_reboot_a_bot_has_the_restart_grace(world: World) -> None:
    """Its process cannot be there; it is not stalled after seconds, but dead after the grace."""
    world.dog.arm(Preset.DIRECTIONAL, None, by="uid 0")
    world.bot()
    kept = world.dog.snapshot()
    world.dog = world.another()
    world.sessions = world.dog.restore(kept, same_boot=False)
    assert world.step(29) == [("hold", "b", HoldScope.BOT)]
    assert world.step(2) == [("cancel", "b", ENTRY)]


@pytest.mark.parametrize(
    "damage", [{"armed": 1}, {"holds": 3}, {"silences": {"b": [[1]]}}, {"bots": [["b"]]}, {"expected": 1}]
)
def test_a_damaged_snapshot_is_an_error_and_changes_nothing(world: World, damage: dict[str, Any]) -> None:
    """Observe is what remains."""
    kept = world.dog.snapshot() | damage
    with pytest.raises(ValidationError, match="damaged"):
        world.dog.restore(kept, same_boot=True)
    assert world.dog.armed.preset is Preset.OBSERVE


def test_what_a_switch_is_renewed_for(world: World) -> None:
    """A dead-man switch is renewed in the name of a bot that is well, or held by a person."""
    assert world.dog.is_fresh("b") == (False, "the bot has no session")
    world.bot()
    assert world.dog.is_fresh("b")[0]
    assert world.dog.state("b") is BotState.WELL
    world.step(10)
    assert not world.dog.is_fresh("b")[0]
    world.dog.hold("b", 60, by="uid 0", why="look")
    world.step(0.25)
    assert world.dog.is_fresh("b")[0]
    assert world.dog.state("nobody") is None


def test_what_is_gone_for_good_is_forgotten(world: World) -> None:
    """Memory follows the sessions."""
    world.bot()
    world.sessions = []
    world.dog.tick()
    assert world.dog.status()["bots"] == {}
