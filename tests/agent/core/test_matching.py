"""Recognising an order without an id in the venue's lists."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from jackstay_agent.core.matching import Candidate, Sought, match_lists

SOUGHT = Sought("BTCUSDT", "BUY", "LIMIT", Decimal("0.01"), Decimal(50000), sent_at=1_000.0, given_up_at=1_010.0)
FIT = Candidate("v1", "btcusdt", "buy", "limit", Decimal("0.010"), Decimal("50000.0"), created_at=1_005.0)


def test_exactly_one_fitting_order_is_ours() -> None:
    """Same in every respect, case and trailing zeros apart, and the list may name it twice."""
    match = match_lists(SOUGHT, [FIT, FIT], ())
    assert (match.found, match.count) == (FIT, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"symbol": "ETHUSDT"},
        {"side": "sell"},
        {"order_type": "market"},
        {"quantity": Decimal("0.011")},
        {"price": Decimal(50001)},
        {"price": None},
        {"created_at": 997.9},
        {"created_at": 1_022.1},
    ],
)
def test_an_order_that_differs_is_not_ours(other: dict[str, object]) -> None:
    """One field or the time window differs: nothing is found, and that proves nothing."""
    match = match_lists(SOUGHT, [replace(FIT, **other)], ())  # type: ignore[arg-type]
    assert (match.found, match.count) == (None, 0)
    assert "proves no absence" in match.why


@pytest.mark.parametrize("created_at", [998.0, 1_022.0])
def test_the_window_is_widened_by_the_clock_offset_and_lateness(created_at: float) -> None:
    """At both edges it still fits."""
    assert match_lists(SOUGHT, [replace(FIT, created_at=created_at)], ()).found is not None


def test_two_fitting_orders_settle_nothing() -> None:
    """Which is ours cannot be told: it stays unknown."""
    match = match_lists(SOUGHT, [FIT, replace(FIT, venue_order_id="v2")], ())
    assert (match.found, match.count) == (None, 2)


@pytest.mark.parametrize("known", [{"v1"}, {"mine-1"}])
def test_what_is_already_told_apart_is_not_a_candidate(known: set[str]) -> None:
    """An order known by its venue id or its client id leaves the other one as the only candidate."""
    other = replace(FIT, venue_order_id="v2", client_order_id="")
    match = match_lists(SOUGHT, [replace(FIT, client_order_id="mine-1"), other], known)
    assert match.found is other


def test_an_order_without_a_price_matches_whatever_price_the_venue_lists() -> None:
    """Market orders are listed with 0 or their average."""
    market = replace(SOUGHT, order_type="MARKET", price=None)
    assert match_lists(market, [replace(FIT, order_type="market", price=Decimal(0))], ()).found is not None
