"""Maintenance seen before an order meets it: the calendar, and the venue's own word; with and without a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jackstay_agent.config import Config, ConfigError
from jackstay_agent.core.modes import Mode
from jackstay_agent.maintenance import MaintenanceWatch
from jackstay_agent.maintenance_settings import MaintenanceCalendar
from jackstay_agent.transport.http import HttpAnswer
from jackstay_agent.venue_modes import VenueModes
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles

BEGINS = datetime(2026, 12, 1, 6, 0, tzinfo=UTC).timestamp()


class World:
    """A venue that says how it is, a clock, and a place where detections are written down."""

    def __init__(self, calendar: MaintenanceCalendar, *, keyed: bool = True) -> None:
        self.now = BEGINS - 1000.0
        self.says: str | None = "online"
        self.asked = 0
        self.keyed = keyed
        self.begins = True  # whether a recovery can begin now
        self.detected: list[tuple[str, dict[str, Any]]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.modes = VenueModes(clock=lambda: self.now, on_event=lambda *_: None)
        operations = Operations(shipped_profiles()["kraken"], None, wall_ms=lambda: int(self.now * 1000))
        self.watch = MaintenanceWatch(
            {"kraken": calendar},
            reading=lambda _venue: operations,
            can_recover=lambda _venue: self.keyed,
            ask=self.ask,
            modes=self.modes,
            detected=self.take,
            clock=lambda: self.now,
            wall=lambda: self.now,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    async def ask(self, origin: str, question: OutgoingRequest, deadline_at: float) -> HttpAnswer | None:
        self.asked += 1
        if self.says is None:
            return None
        body = f'{{"error":[],"result":{{"status":"{self.says}","timestamp":"2026-12-01T06:00:00Z"}}}}'.encode()
        return HttpAnswer(200, b"OK", [], body, 1, 0.001, 0.001)

    def take(self, name: str, context: dict[str, Any]) -> bool:
        self.detected.append((name, context))
        return self.begins

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 1.0
            self.watch.tick()

    def held(self) -> Mode:
        return self.modes.mode("kraken")


CALENDAR = MaintenanceCalendar(windows=["2026-12-01 06:00-08:00"], lead_s=60.0)


def test_a_window_starts_the_scenario_a_lead_before_it_and_once() -> None:
    """With its end, so that a venue that is still online does not end it."""
    world = World(CALENDAR)
    world.run(900.0)
    assert world.detected == []
    world.run(100.0)
    assert world.detected == [
        ("exchange_maintenance", {"venue": "kraken", "announced": True, "ends_at": BEGINS + 7200.0})
    ]
    world.run(3600.0)
    assert len(world.detected) == 1
    assert world.watch.status()["kraken"]["window_until"] == BEGINS + 7200.0


def test_a_window_shorter_than_its_lead_is_seen_too() -> None:
    """Ten minutes before a minute of maintenance."""
    world = World(MaintenanceCalendar(windows=["2026-12-01 06:00-06:01"], lead_s=600.0))
    world.run(401.0)
    assert [context["ends_at"] for _name, context in world.detected] == [BEGINS + 60.0]


def test_a_window_that_finds_another_recovery_under_way_has_its_turn() -> None:
    """An unplanned maintenance before a planned one: the window is asked for again, now and then, until it is taken."""
    world = World(CALENDAR)
    world.begins = False
    world.run(1000.0)
    assert 5 < len(world.detected) < 20
    assert world.events == []
    world.begins = True
    world.run(10.0)
    taken = len(world.detected)
    world.run(3600.0)
    assert len(world.detected) == taken
    assert [name for name, _fields in world.events] == ["maintenance.window"]


def test_without_a_key_the_calendar_alone_holds_the_venue_from_lead_to_end() -> None:
    """Nobody could look at the account, so the window's end is the end."""
    world = World(CALENDAR, keyed=False)
    world.run(941.0)
    assert world.held() is Mode.MAINTENANCE
    assert world.detected == []
    world.run(59.0 + 7200.0)
    assert world.held() is Mode.NORMAL


def test_the_venues_own_word_starts_it_and_narrower_words_are_modes_until_taken_back() -> None:
    """cancel_only and post_only in the venue's name; maintenance is the scenario's; silence takes nothing back."""
    world = World(MaintenanceCalendar(watch_s=60.0))
    world.run(1.0)
    assert (world.held(), world.events) == (Mode.NORMAL, [])
    for word, mode in (("cancel_only", Mode.CANCEL_ONLY), ("post_only", Mode.POST_ONLY)):
        world.says = word
        world.run(60.0)
        assert world.held() is mode
    world.says = None
    world.run(120.0)
    assert world.held() is Mode.POST_ONLY
    world.says = "online"
    world.run(60.0)
    assert world.held() is Mode.NORMAL
    world.says = "maintenance"
    world.run(60.0)
    assert world.detected == [("exchange_maintenance", {"venue": "kraken", "announced": True})]
    assert [fields["status"] for name, fields in world.events if name == "venue.status"] == [
        *("cancel_only", "post_only", "online", "maintenance")
    ]


def test_it_is_asked_as_often_as_configured_or_never() -> None:
    """0 leaves it to what answers say."""
    often, never = World(MaintenanceCalendar(watch_s=30.0)), World(MaintenanceCalendar(watch_s=0.0))
    often.run(300.0)
    never.run(300.0)
    assert (often.asked, never.asked) == (10, 0)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('windows = ["wed 2-3"]', "line 4: [venues.kraken.maintenance] windows: window 'wed 2-3'"),
        ('timezone = "Mars"', "line 4: [venues.kraken.maintenance] timezone = 'Mars'"),
        (
            'windows = ["mon-sun 00:00-24:00"]',
            "line 4: [venues.kraken.maintenance] windows: mon-sun 00:00-24:00 leave no",
        ),
        ("lead_s = -1.0", "line 4: [venues.kraken.maintenance] lead_s"),
        ("watch_s = 1.0", "line 4: [venues.kraken.maintenance] watch_s"),
        ("watchs = 9.0", "line 4: unknown key 'venues.kraken.maintenance.watchs', did you mean 'watch_s'?"),
    ],
)
def test_a_mistake_in_the_calendar_is_named_with_its_line(line: str, word: str) -> None:
    """The key's own line, what was found, what is expected."""
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(f"[venues.kraken]\nlive = false\n[venues.kraken.maintenance]\n{line}\n")
    assert word in caught.value.problems[0]
