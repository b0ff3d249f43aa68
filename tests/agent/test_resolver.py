"""When the venue is asked about an unknown order: with growing pauses, and at once when a recovery finds it back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jackstay_agent.core.evidence import Search
from jackstay_agent.core.intent import State
from jackstay_agent.resolver import PAUSE_MAX_S, Resolver
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles

ORDER = {"symbol": "BTCUSDT", "client_order_id": "a", "family": "plain", "connection_id": "x", "fields": {}}


class World:
    """Unknown orders at two venues that give no answer; when each was asked about."""

    def __init__(self) -> None:
        self.now, self.events = 1000.0, list[str]()
        self.unknown = [self.one(1, "binance"), self.one(2, "binance-usdm")]
        self.asked: dict[str, list[float]] = {"binance": [], "binance-usdm": []}
        self.made = {
            name: Operations(shipped_profiles()[name], Credentials("k", "s"), wall_ms=lambda: 1) for name in self.asked
        }
        self.resolver = Resolver(
            lambda: self,  # type: ignore[arg-type,return-value]
            operations=self.made.get,
            ask=self.ask,
            clock=lambda: self.now,
            wall=lambda: self.now,
            on_answer=lambda *_: None,
            on_event=lambda name, _fields: self.events.append(name),
        )

    @staticmethod
    def one(seq: int, venue: str) -> Any:
        intent = SimpleNamespace(venue=venue, **ORDER)
        return SimpleNamespace(seq=seq, intent=intent, since_s=0.0, search=Search(1000.0, 1.8e9))

    def unknowns(self) -> list[Any]:
        return self.unknown

    def state(self, _seq: int) -> State:
        return State.UNKNOWN

    def resolve(self, seq: int, *_: object, **__: object) -> Any:
        return SimpleNamespace(final=False)

    async def ask(self, _origin: str, question: OutgoingRequest, _deadline_at: float) -> None:
        self.asked["binance-usdm" if question.path.startswith("/fapi") else "binance"].append(self.now)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.05
            self.resolver.tick()


def test_pauses_grow_while_nobody_answers() -> None:
    """Soon at first; after minutes of silence twice a minute."""
    world = World()
    world.run(300.0)
    assert world.events == []
    for asked in world.asked.values():
        assert asked[0] <= 1000.3
        assert asked[-1] - asked[-2] == pytest.approx(PAUSE_MAX_S, abs=0.1)


def test_a_recovery_that_finds_the_venue_back_ends_the_pause_there_and_nowhere_else() -> None:
    """What waits behind the order need not wait half a minute more, also where the first question fails again."""
    world = World()
    world.run(300.0)
    before = {venue: len(asked) for venue, asked in world.asked.items()}
    for step in ("reconnect", "look_at_account"):
        world.resolver.happened("recovery.step", {"what": "binance", "step": step}, 0)
    world.run(3.0)
    assert len(world.asked["binance"]) >= before["binance"] + 3
    assert len(world.asked["binance-usdm"]) <= before["binance-usdm"] + 1
