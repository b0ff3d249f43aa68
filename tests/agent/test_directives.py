"""Directives until they are acknowledged: told again, kept over restarts, bounded, and visible."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent.directives import BOTS_MAX, KEEP_S, PER_BOT_MAX, WARN_AFTER_S, Directives
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Directive


class World:
    """A clock, and bots that are here or not."""

    def __init__(self) -> None:
        self.now = 100.0
        self.here = {"b"}
        self.heard: list[tuple[str, Directive]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.room = self.another()

    def another(self) -> Directives:
        return Directives(
            deliver=self.deliver,
            clock=lambda: self.now,
            wall=lambda: 1_800_000_000.0 + self.now,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    def deliver(self, bot_id: str, directive: Directive) -> bool:
        if bot_id in self.here:
            self.heard.append((bot_id, directive))
        return bot_id in self.here

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            self.room.tick()

    def told(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


def test_it_is_told_again_until_the_bots_code_has_it() -> None:
    """With growing pauses; the acknowledgement ends it and is told with how long it took."""
    world = World()
    assert world.room.tell("b", Directive("re_evaluate", {"symbol": "BTCUSDT"}))
    world.run(60.0)
    assert 3 <= len(world.heard) <= 5
    assert len({each.id for _bot, each in world.heard}) == 1
    (name,) = {each.id for _bot, each in world.heard}
    assert world.room.ack("b", [name, "something else", "17"]) == 1
    assert world.told("directive.acknowledged")[0]["after_s"] == 60.0
    world.run(600.0)
    assert len(world.heard) <= 5
    assert world.room.status() == {}
    assert world.room.ack("b", [name]) == 0


def test_a_bot_that_is_away_gets_it_at_its_next_hello() -> None:
    """Meanwhile it waits, and is told of once as unacknowledged."""
    world = World()
    world.here.clear()
    assert not world.room.tell("b", Directive("redistribute_capital", {"exposure": {"BTC": Decimal("1.50")}}))
    world.run(WARN_AFTER_S + 90.0)
    assert len(world.told("directive.unacknowledged")) == 1
    assert world.room.status()["b"][0]["told"] == 0
    world.here.add("b")
    world.room.replay("b")
    ((_bot, heard),) = world.heard
    assert heard.fields == {"exposure": {"BTC": "1.50"}}


def test_what_is_not_acknowledged_survives_the_agent() -> None:
    """Under the same id, so that the bot's side can tell it from a new one; new ids differ from old ones."""
    world = World()
    world.room.tell("b", Directive("re_evaluate", {}))
    world.room.tell("b", Directive("conservative", {"feed": "f"}))
    before = [each.id for _bot, each in world.heard]
    world.room.ack("b", before[:1])
    kept = world.room.snapshot()
    world.now += 1.0
    world.room = world.another()
    world.room.restore(kept)
    world.heard.clear()
    world.room.replay("b")
    assert [each.id for _bot, each in world.heard] == before[1:]
    world.room.tell("b", Directive("re_evaluate", {}))
    assert world.heard[-1][1].id not in before


@pytest.mark.parametrize(
    "damaged", [{}, {"bots": 3}, {"bots": {"b": [["x"]]}}, {"bots": {"b": [["x", {}, "i", "when"]]}}]
)
def test_a_damaged_file_is_refused_whole(damaged: dict[str, Any]) -> None:
    """Nothing of it is taken up."""
    world = World()
    with pytest.raises(ValidationError, match="damaged"):
        world.room.restore(damaged)
    assert world.room.status() == {}


def test_only_the_latest_snapshot_of_the_moment_counts() -> None:
    """What a bot should resume from is what is so now."""
    world = World()
    world.here.clear()
    for number in range(3):
        world.room.tell("b", Directive("resume", {"was": str(number)}))
    world.here.add("b")
    world.room.replay("b")
    assert [each.fields["was"] for _bot, each in world.heard] == ["2"]


def test_it_is_bounded_in_number_and_time_and_what_is_given_up_is_told() -> None:
    """The oldest goes; a day is the end; a thousand bots are kept."""
    world = World()
    for number in range(PER_BOT_MAX + 1):
        world.room.tell("b", Directive("re_evaluate", {"order_id": str(number)}))
    assert len(world.room.status()["b"]) == PER_BOT_MAX
    assert len(world.told("directive.given_up")) == 1
    world.now += KEEP_S + 1.0
    world.room.tick()
    assert world.room.status() == {}
    assert len(world.told("directive.given_up")) == 1 + PER_BOT_MAX
    for number in range(BOTS_MAX + 5):
        world.room.tell(f"bot{number}", Directive("re_evaluate", {}))
    assert len(world.room.status()) == BOTS_MAX


def test_the_same_word_while_it_waits_is_one() -> None:
    """A step that was done and not journaled when the agent died says it again; after the acknowledgement it is new."""
    world = World()
    world.here.clear()
    for _ in range(3):
        world.room.tell("b", Directive("re_evaluate", {"order_id": "1", "filled": Decimal("0.5")}))
    world.room.tell("b", Directive("re_evaluate", {"order_id": "1", "filled": Decimal("0.6")}))
    assert len(world.room.status()["b"]) == 2
    assert world.room.ack("b", [each["id"] for each in world.room.status()["b"]]) == 2
    world.room.tell("b", Directive("re_evaluate", {"order_id": "1", "filled": Decimal("0.6")}))
    assert len(world.room.status()["b"]) == 1
