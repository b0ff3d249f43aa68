"""The nouns of an account."""

from __future__ import annotations

from decimal import Decimal

from jackstay_agent.core.account import LIVE, OVER, Fill, Holding, Order, Stage


def test_every_stage_is_live_or_over() -> None:
    """No order is neither."""
    assert LIVE | OVER == set(Stage)
    assert not LIVE & OVER


def test_names_and_keys() -> None:
    """A fill is unique within venue, symbol and order, a holding within its name and part."""
    assert Order("v", "BTC", "", "7").name == "7"
    assert Fill("v", "BTC", "1", "7", "buy", Decimal(1), Decimal(1)).key == ("v", "BTC", "1", "7")
    assert Holding("position", "v", "BTC", Decimal(1), part="long").key == ("BTC", "long")
