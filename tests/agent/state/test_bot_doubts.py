"""A difference to a bot's picture counts when it lasts, and not while the bot's cancel of that order is under way."""

from __future__ import annotations

from jackstay_agent.account.bot_doubts import LEAVING_MAX, LEAVING_S_MAX, BotDoubts
from jackstay_agent.core.discrepancy import Discrepancy, Kind


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def unknown(name: str, symbol: str = "BTC", kind: Kind = Kind.UNKNOWN_TO_BOT) -> Discrepancy:
    return Discrepancy(kind, "orders", "v", name, "why", "bot", symbol, "b", 0.0, {"venue": {"venue_id": f"#{name}"}})


def test_a_difference_counts_once_it_has_lasted() -> None:
    """One that goes away and comes back begins anew."""
    clock = Clock()
    doubts = BotDoubts(clock=clock, settle_s=2.0)
    assert doubts.lasting("v", [unknown("a"), unknown("b")]) == []
    assert doubts.fresh("v")
    clock.now += 1.0
    assert doubts.lasting("v", [unknown("a")]) == []
    clock.now += 1.0
    assert [each.subject for each in doubts.lasting("v", [unknown("a"), unknown("b")])] == ["a"]
    assert doubts.fresh("v"), "b is new again"
    clock.now += 2.0
    assert len(doubts.lasting("v", [unknown("a"), unknown("b")])) == 2
    assert not doubts.fresh("v")
    assert not doubts.fresh("w")


def test_an_order_whose_cancel_is_under_way_is_not_unknown_to_its_bot() -> None:
    """By either id, or by its symbol where all of it are cancelled; until the answer, or for so long at most."""
    clock = Clock()
    doubts = BotDoubts(clock=clock, settle_s=0.0)
    for name, symbol in (("a", ""), ("#a", ""), ("", "BTC"), ("", "")):
        doubts.leaving("v", name, symbol)
        assert doubts.lasting("v", [unknown("a")]) == [], (name, symbol)
        assert doubts.lasting("v", [unknown("a", kind=Kind.QUANTITY)]), "only that it is gone is explained"
        assert bool(doubts.lasting("v", [unknown("c", "ETH")])) is bool(name or symbol)
        doubts.answered("v", name, symbol)
        assert doubts.lasting("v", [unknown("a")])
    doubts.leaving("v", "a")
    clock.now += LEAVING_S_MAX + 1
    assert doubts.lasting("v", [unknown("a")]), "an answer that never comes is no excuse for ever"


def test_cancels_under_way_are_bounded() -> None:
    """The oldest are forgotten."""
    doubts = BotDoubts(clock=Clock(), settle_s=0.0)
    for number in range(LEAVING_MAX + 1):
        doubts.leaving("v", f"o-{number}")
    assert doubts.lasting("v", [unknown("o-0")])
    assert doubts.lasting("v", [unknown("o-1")]) == []
