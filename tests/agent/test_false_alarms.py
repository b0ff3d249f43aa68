"""A false alarm costs nothing: living bots of every rhythm under the real watchdog and desk, on virtual time."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.core.liveness import Process
from jackstay_agent.core.protection import NEVER_CANCELLED, Preset
from jackstay_agent.watch_desk import WatchDesk
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Goodbye
from jackstay_protocols.session import SilenceLease
from jackstay_protocols.types import OrderClass
from watch_world import World

ENTRY, EXIT, STOP = OrderClass.ENTRY, OrderClass.EXIT, OrderClass.PROTECTIVE
RHYTHMS, BEATS = 10_000, 8
EDGE_S = 1e-4  # a look so long after an edge, or before a word: the harshest moments there are
ACTING = (Preset.DIRECTIONAL, Preset.MARKET_MAKER)

#: Seconds between two words of a living bot.
RECORDED: dict[str, list[float]] = json.loads((Path(__file__).parents[1] / "rhythms.json").read_text(encoding="utf-8"))


def recorded(draw: random.Random) -> Callable[[], float]:
    """A real ccxt loop between its calls, from some moment on (measured by tests/e2e/test_false_alarms.py)."""
    told = RECORDED[draw.choice(sorted(RECORDED))]
    going = itertools.cycle(told[(at := draw.randrange(len(told))) :] + told[:at])
    return lambda: next(going)


SHAPES: dict[str, Callable[[random.Random], Callable[[], float]]] = {
    "loop": lambda draw: lambda s=draw.choice((5.0, 30.0, 300.0)): s,  # type: ignore[misc]
    "jitter": lambda draw: lambda: draw.uniform(0.2, 60.0),
    "poisson": lambda draw: lambda: min(draw.expovariate(1 / 10), 400.0),
    "lognormal": lambda draw: lambda: min(draw.lognormvariate(1.0, 1.5), 900.0),
    "bursts": lambda draw: lambda: draw.choice((0.3, 0.3, 0.3, 120.0)) * draw.uniform(0.9, 1.1),
    "heavy": lambda draw: lambda: min(draw.paretovariate(1.1), 3000.0),
    "recorded": recorded,
    "error wait": lambda draw: lambda: 30.0 + draw.random() if draw.random() < 0.2 else 5.0,
}


class Living(World):
    """A bot that is never ill; what is cancelled is gone."""

    def __init__(self, **settings: float) -> None:
        super().__init__(**settings)
        self.desk = WatchDesk(
            self.dog, sessions=lambda: self.sessions, wall=lambda: 1_800_000_000.0 + self.now, on_event=lambda *_: None
        )

    def cancel(self, bot_id: str, classes: frozenset[OrderClass], why: str, *, act: bool) -> None:
        super().cancel(bot_id, classes, why, act=act)
        if act:
            assert not classes & NEVER_CANCELLED
            for kind in classes:
                self.open.pop(kind, None)

    def cost(self) -> int:
        """Cancels of a living bot's orders that were there to be cancelled."""
        return sum(done[0] == "cancel" for done in self.done)

    def live(self, life: list[tuple[float, float, dict[OrderClass, int]]], lease_s: float) -> int:
        """Silences of these lengths, each ended by a word that announces a lease; how often orders were lost."""
        session, lost = self.bot(), 0
        session.lease.heard(self.now, lease_s)
        self.dog.tick()
        for length_s, announces_s, orders in life:
            self.open = dict(orders)
            began, lease = self.now, session.lease
            limit_s = self.dog.armed.silence_s
            stalled_s = 2 * lease.within_s if limit_s is None else max(limit_s, lease.within_s)
            for at in sorted({lease.within_s + EDGE_S, stalled_s + EDGE_S, length_s - EDGE_S}):
                if 0 < at < length_s:
                    self.now = began + at
                    self.dog.tick()
            lost += any(self.open.get(kind, 0) < count for kind, count in orders.items())
            self.now = began + length_s
            session.lease.heard(self.now, announces_s)
            self.dog.tick()
        return lost

    def arm(self, preset: Preset, silence_s: float | None, **more: Any) -> bool:
        """False where the evidence is against it."""
        try:
            self.desk.verbs()["arm"]({"preset": str(preset), "silence_s": silence_s, **more}, None)
        except ValidationError:
            return False
        return True


def a_life(draw: random.Random) -> list[tuple[float, float, dict[OrderClass, int]]]:
    length = SHAPES[draw.choice(list(SHAPES))](draw)
    lease = draw.choice((3.0, 3.0, 10.0, 60.0))
    changes = draw.random() < 0.3
    return [
        (
            length(),
            draw.choice((1.0, 3.0, 60.0, 600.0)) if changes else lease,
            {kind: n for kind in (ENTRY, EXIT, STOP) if (n := draw.choice((0, 0, 1, 3)))},
        )
        for _ in range(BEATS)
    ]


def test_what_arming_accepts_would_have_cost_none_of_ten_thousand_rhythms_an_order() -> None:
    """Each is watched, then lived again armed: an order is lost exactly where arming had been refused, and a length
    above the longest silence is accepted and costs nothing; what was lost while armed is evidence as well.
    """
    draw = random.Random(9)
    refused = accepted = 0
    for number in range(RHYTHMS):
        life, lease_s = a_life(draw), draw.choice((3.0, 10.0))
        preset, silence_s = draw.choice(ACTING), draw.choice((None, 1.0, 5.0, 29.9, 31.0, 100.0))
        watched, again = Living(), Living()
        assert watched.live(life, lease_s) == 0
        assert watched.cost() == 0  # observe
        allowed = watched.arm(preset, silence_s)
        assert again.arm(preset, silence_s)  # nothing is known of it: an hour later it may be
        lost = again.live(life, lease_s)
        assert allowed is (lost == 0), f"rhythm {number}: {preset} {silence_s} {lost=} {life}"
        assert again.arm(preset, silence_s) is allowed, f"rhythm {number}: armed evidence differs"
        if allowed:
            accepted += 1
            continue
        refused += 1
        longest_s = max(length_s for length_s, _lease, _orders in life)
        assert watched.arm(preset, longest_s + 0.01)
        assert watched.live(life, lease_s) == 0
    assert min(refused, accepted) > RHYTHMS / 10, (refused, accepted)


@pytest.mark.parametrize("sleep_s", [5.0, 30.0, 300.0])
def test_a_sleeping_loop_is_never_hit_by_what_arming_lets_through(sleep_s: float) -> None:
    """Unmodified loops announce nothing: twice their lease is refused with the evidence, above their sleep none."""
    life = [(sleep_s, 0.0, {ENTRY: 2, STOP: 1})] * 100
    world = Living()
    world.live(life, 1.0)
    assert not world.arm(Preset.DIRECTIONAL, None)
    assert world.dog.armed.preset is Preset.OBSERVE
    assert world.arm(Preset.DIRECTIONAL, 1.5 * sleep_s)
    assert world.live(life, 1.0) == world.cost() == 0


def test_eight_hours_without_a_signal_cost_nothing() -> None:
    """A bot that says it waits an hour at a time, armed with the shortest length there is."""
    world = Living()
    world.arm(Preset.MARKET_MAKER, 0.5)
    assert world.live([(3599.0, 3600.0, {ENTRY: 3, EXIT: 3, STOP: 3})] * 8, 3600.0) == 0
    assert world.done == []


@pytest.mark.parametrize("heard_first", [False, True])
@pytest.mark.parametrize("seconds", [60.0, 8 * 3600.0])
def test_frozen_together_or_suspended_nobody_is_late(seconds: float, heard_first: bool) -> None:
    """The bot's first word after it may be read before or after the agent notices; neither makes a silence of it."""
    world = Living()
    world.arm(Preset.DIRECTIONAL, None)
    session = world.bot()
    world.open = {ENTRY: 2}
    world.step(2.5)
    world.frozen(seconds, heard_first=heard_first)
    session.lease.heard(world.now)
    world.step(1)
    assert world.done == world.told() == []
    assert world.arm(Preset.DIRECTIONAL, 4.0)
    assert session.lease.silent_s(world.now) == pytest.approx(1.0), "no gift either: a stall afterwards is noticed"


@pytest.mark.parametrize("how", ["no goodbye", "goodbye", "expected", "hold"])
def test_a_suspend_in_the_middle_of_a_deploy_or_a_breakpoint_costs_nothing(how: str) -> None:
    """The supervisor was suspended too: grace, promise, expected restart and hold last as much longer, then count."""
    world = Living(restart_grace_s=1.0 if how == "expected" else 30.0)
    world.arm(Preset.DIRECTIONAL, None)
    session = world.bot()
    if how == "hold":
        world.dog.hold("b", 30, by="uid 0", why="a breakpoint")
    else:
        world.processes[42] = Process.GONE
        if how == "goodbye":
            session.goodbye, session.said_goodbye_at = Goodbye("deploy", "keep", 30.0), world.now
        if how == "expected":
            world.dog.expect_restart("b", 30, by="uid 0")
    world.step(10)
    world.frozen(3600.0)
    world.step(19)
    assert world.cost() == 0
    world.step(30)
    assert world.cost() == 1


def test_fifty_deploys_cost_nothing() -> None:
    """With a goodbye, or without one inside the restart's grace: each new process finds its orders."""
    world = Living()
    world.arm(Preset.DIRECTIONAL, None)
    for number in range(50):
        session = world.bot(pid=100 + number)
        session.lease.heard(world.now)
        if number % 2:
            session.goodbye, session.said_goodbye_at = Goodbye("deploy", "keep", 60.0), world.now
        world.processes[100 + number] = Process.GONE
        world.step(25)
    assert world.cost() == 0


def test_arming_says_how_long_it_has_watched() -> None:
    """A short watch is told, not refused; it survives the agent, and forgets what is older than a day."""
    world = Living()
    ask = {"preset": "directional", "silence_s": 400.0}
    world.live([(300.0, 0.0, {ENTRY: 1})] * 6, 3.0)
    told = world.desk.verbs()["arm"](ask | {"dry_run": True}, None)
    assert told["bots"]["b"]["watched_s"] == 1800.0
    assert world.dog.status()["bots"]["b"]["watched_s"] == 1800.0
    later = World()
    later.now = world.now
    later.dog.restore(world.dog.snapshot(), same_boot=True)
    assert later.dog.silences("b").watched_s(1_800_000_000.0 + world.now) == 1800.0
    world.live([(300.0, 0.0, {})] * 400, 3.0)
    watched_s = world.dog.silences("b").watched_s(1_800_000_000.0 + world.now)
    assert 23 * 3600 <= watched_s <= 24 * 3600


def test_another_programs_pid_and_a_zombie_are_an_end() -> None:
    """Whatever runs under the pid now does not speak for the bot: grace, then dead, then exactly the entries."""
    for process in (Process.REUSED, Process.ZOMBIE):
        world = Living()
        world.arm(Preset.DIRECTIONAL, 600.0)
        world.bot()
        world.open = {ENTRY: 1, EXIT: 1, STOP: 1}
        world.processes[42] = process
        world.step(29)
        assert world.cost() == 0
        world.step(2)
        assert world.open == {EXIT: 1, STOP: 1}
        assert world.told() == ["bot.gone", "bot.late", "bot.dead"]


def test_a_word_that_announces_a_longer_lease_excuses_no_silence_before_it() -> None:
    """50 s of silence under a lease of 3 s stay evidence, though the bot then says 600 s."""
    world = Living()
    world.live([(50.0, 600.0, {ENTRY: 1})], 3.0)
    assert not world.arm(Preset.DIRECTIONAL, 10.0)
    assert SilenceLease(3.0, 0.0).state(50.0, stalled_after_s=10.0) == "stalled"
