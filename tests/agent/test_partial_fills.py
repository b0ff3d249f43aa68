"""Partial fills that are stuck, and a market maker whose partial fills never are the agent's business."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent.core.account import Order, Stage
from jackstay_agent.core.order_class import ClassRules
from jackstay_agent.partial_fills import PartialFills
from jackstay_agent.recovery_settings import PartialFillSettings

ON = PartialFillSettings(enabled=True, age_s=10.0, fraction=0.5)


class World:
    """A clock and a book."""

    def __init__(self, settings: PartialFillSettings = ON) -> None:
        self.now = 0.0
        self.orders: dict[str, Order] = {}
        self.found: list[dict[str, Any]] = []
        self.busy = False
        self.watch = PartialFills(
            settings,
            live=lambda: list(self.orders.values()),
            class_rules=lambda _venue: ClassRules(),
            detected=self.detected,
            clock=lambda: self.now,
        )

    def detected(self, name: str, context: dict[str, Any]) -> bool:
        assert name == "partial_fill"
        if not self.busy:
            self.found.append(context)
        return not self.busy

    def put(self, name: str, filled: str, kind: str = "entry", stage: Stage = Stage.OPEN) -> None:
        order = Order("v", "BTCUSDT", name, "7", stage=stage, quantity=Decimal(10), filled=Decimal(filled))
        self.orders[name] = Order(**{**{f: getattr(order, f) for f in order.__dataclass_fields__}, "order_class": kind})

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            self.watch.tick()


def test_only_old_and_large_enough_partial_fills_of_the_armed_classes_count_each_once() -> None:
    """Not one below the fraction, not a stop, a hedge or one of unknown purpose, not one that is filled or unfilled."""
    world = World()
    world.put("stuck", "5")
    for name, filled, kind in (
        *(("small", "4.99", "entry"), ("stop", "9", "protective"), ("hedge", "9", "hedge"), ("what", "9", "unknown")),
        *(("nobody", "9", ""), ("exit", "9", "exit"), ("none", "0", "entry"), ("all", "10", "entry")),
    ):
        world.put(name, filled, kind)
    world.put("asked", "9", stage=Stage.REQUESTED)
    world.run(9.0)
    assert world.found == []
    world.run(60.0)
    assert world.found == [{"venue": "v", "symbol": "BTCUSDT", "order_id": "stuck", "order_class": "entry"}]


def test_an_order_that_goes_on_filling_is_not_stuck() -> None:
    """Its age is that of the latest fill."""
    world = World()
    for number in range(9):
        world.put("moving", str(1 + number))
        world.run(8.0)
    assert world.found == []
    world.run(10.0)
    assert len(world.found) == 1


def test_one_that_could_not_begin_is_tried_again() -> None:
    """Another of that venue was under way."""
    world = World()
    world.put("stuck", "5")
    world.busy = True
    world.run(20.0)
    world.busy = False
    world.run(1.0)
    assert [each["order_id"] for each in world.found] == ["stuck"]


@pytest.mark.parametrize("settings", [PartialFillSettings(), PartialFillSettings(age_s=1.0, fraction=0.1)])
def test_by_default_nothing_is_ever_found(settings: PartialFillSettings) -> None:
    """A thousand partial fills of a market maker."""
    world = World(settings)
    for number in range(1000):
        world.put(f"quote{number}", "5", "entry" if number % 2 else "exit")
    world.run(3600.0)
    assert world.found == []
