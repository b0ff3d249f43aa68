"""What the agent does about patterns, by its switches: nothing of it unless an operator said so."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jackstay_agent.config import Config
from jackstay_agent.core.modes import Mode
from jackstay_agent.pattern_watch import PatternWatch
from jackstay_agent.venue_modes import VenueModes

BEGIN_S = 1_800_000_000.0
HOST = "api.venue.test"


class Budgets:
    """A venue whose used allowance is a number."""

    used = 0.0

    def status(self, _now: float) -> dict[str, Any]:
        return {"budgets": [{"budget": "weight_1m", "used": self.used, "limit": 100.0}, {"budget": "x", "limit": 0}]}


class Upstream:
    def __init__(self) -> None:
        self.host, self.drains = HOST, 0
        self.judgement = type("Judged", (), {"limiter": Budgets()})()
        self.pool = self

    def drain(self) -> int:
        self.drains += 1
        return 3


class Upstreams(list[Upstream]):
    def venue_of(self, _host: str) -> str:
        return "venue"


class World:
    def __init__(self, config: str) -> None:
        self.now = 0.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.upstream = Upstream()
        self.modes = VenueModes(clock=lambda: self.now, on_event=self.event)
        self.watch = PatternWatch(
            Config.from_toml(config),
            clock=lambda: self.now,
            wall=lambda: BEGIN_S + self.now,
            modes=self.modes,
            upstreams=Upstreams([self.upstream]),  # type: ignore[arg-type]
            on_event=self.event,
        )

    def event(self, name: str, fields: dict[str, Any]) -> None:
        self.events.append((name, fields))

    def creep(self, seconds: int) -> None:
        """Used weight and latency grow, with noise."""
        rng = random.Random(1)
        for at in range(0, seconds, 2):
            self.now = float(at)
            grown = max(0, at - 300) / 3000
            self.upstream.judgement.limiter.used = 30 + 120 * grown + rng.gauss(0, 2)
            self.watch.analytics.measure(HOST, "latency_ms", 20 + 80 * grown + rng.gauss(0, 3), at=BEGIN_S + at)
            self.watch.tick()

    def acted(self) -> set[str]:
        return {fields["act"] for name, fields in self.events if name == "pattern.acted"}


def test_by_default_creeping_is_told_and_nothing_is_done() -> None:
    """Precursors and the predicted crossing are events; no mode is held, no connection replaced."""
    world = World("")
    world.creep(2000)
    kinds = {(fields["kind"], fields["error_type"]) for name, fields in world.events if name == "pattern.found"}
    assert ("precursor", "latency_ms") in kinds
    assert ("prediction", "used_share:weight_1m") in kinds
    assert world.acted() == set()
    assert world.modes.mode("venue") is Mode.NORMAL
    assert world.upstream.drains == 0
    assert world.watch.verbs()["trends.list"]({}, None)["precursors"]


@pytest.mark.parametrize("switch", ["throttle_ahead", "rotate_connections"])
def test_each_switch_lets_one_thing_be_done(switch: str) -> None:
    """Entries are held back for a while before the allowance is used up; connections of the slow host are replaced."""
    world = World(f"[analytics.act]\n{switch} = true\n")
    world.creep(2000)
    assert world.acted() == {switch}
    if switch == "throttle_ahead":
        (held, *_rest) = [fields for name, fields in world.events if name == "mode.held"]
        assert (held["venue"], held["mode"], held["by"]) == ("venue", "conservative", "analytics")
        assert 0 < held["for_s"] <= 300
        assert world.upstream.drains == 0
    else:
        assert 1 <= world.upstream.drains <= 8
        assert world.modes.mode("venue") is Mode.NORMAL


def test_events_that_ask_for_attention_are_counted_as_errors() -> None:
    """By their own names; a bot's reports under the bot's words; findings and alerts are none."""
    world = World("")
    for name in ("feed.lost", "outbox.degraded", "pattern.found", "alert.given_up", "bot.hello", "error.escalated"):
        world.watch.happened(name, {}, 0)
    world.watch.happened("bot.error", {"component": "model", "error_type": "Slow", "severity": "low"}, 0)
    assert world.watch.status()["errors"] == 3
