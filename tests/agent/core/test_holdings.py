"""Balances and positions of two views."""

from __future__ import annotations

from decimal import Decimal

from jackstay_agent.core.account import Holding
from jackstay_agent.core.discrepancy import Kind
from jackstay_agent.core.holdings import described, differing


def held(**amounts: str) -> dict[tuple[str, str], Holding]:
    found = (Holding("balance", "v", name, Decimal(amount)) for name, amount in amounts.items())
    return {each.key: each for each in found}


def test_names_that_differ() -> None:
    """What one view does not name is nothing, unless it only names a part."""
    mine, theirs = held(BTC="1", ETH="2"), held(BTC="1", USDT="5", ETH="3")
    assert differing(mine, theirs, Decimal(0)) == {("ETH", ""), ("USDT", "")}
    assert differing(mine, theirs, Decimal(0), complete=False) == {("ETH", "")}
    assert differing(mine, theirs, Decimal("0.4"), complete=False) == set()


def test_a_difference_is_described_with_both_amounts() -> None:
    """And its size as a share of the larger one."""
    found = described("balance", ("ETH", ""), held(ETH="2"), held(ETH="4"), whose="bot", bot_id="b")
    assert (found.kind, found.subject, found.share, found.bot_id) == (Kind.BALANCE, "ETH", 0.5, "b")
    assert found.views == {"bot": {"total": "2"}, "venue": {"total": "4"}}


def test_the_two_sides_of_a_hedged_position_are_told_apart() -> None:
    """One symbol, two parts."""
    long = Holding("position", "v", "BTC", Decimal(1), part="long")
    found = described("position", long.key, {}, {long.key: long}, whose="agent", bot_id="")
    assert (found.kind, found.component, found.subject, found.symbol) == (Kind.POSITION, "positions", "BTC long", "BTC")
    assert described("balance", ("X", ""), held(X="0"), held(X="0"), whose="bot", bot_id="").share == 0.0
