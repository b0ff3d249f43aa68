"""What of a rejected order may be changed: never more of it, never much worse."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.adjustment import Filters, Remedy, adjust, remedy_of

D = Decimal
amounts = st.decimals(min_value="0.00000001", max_value="1000000", places=8)
steps = st.sampled_from([D(0), D("0.00001"), D("0.001"), D("0.25"), D(1), D(5)])


@pytest.mark.parametrize(
    ("side", "price", "quantity", "filters", "changed", "needs"),
    [
        ("buy", "100.129", "1", Filters(tick_size=D("0.01")), {"price": "100.12"}, {}),
        ("sell", "100.121", "1", Filters(tick_size=D("0.01")), {"price": "100.13"}, {}),
        ("buy", "100.12", "1.2345", Filters(step_size=D("0.001")), {"quantity": "1.234"}, {}),
        ("buy", "100", "12", Filters(quantity_max=D(10)), {"quantity": "10"}, {}),
        ("buy", "100", "0.05", Filters(step_size=D("0.01"), notional_min=D(10)), {}, {"quantity": "0.10"}),
        ("buy", "100", "0.0001", Filters(step_size=D("0.001")), {}, {"quantity": "0.001"}),
        ("buy", "0.001", "1", Filters(tick_size=D("0.01")), {}, {"price": "0.01"}),
        ("buy", "100", "1", Filters(), {}, {}),
        ("sell", None, "1.5", Filters(step_size=D(1)), {"quantity": "1"}, {}),
    ],
)
def test_the_exact_values_a_venue_would_take(
    side: str, price: str | None, quantity: str, filters: Filters, changed: dict[str, str], needs: dict[str, str]
) -> None:
    """Tick, step, minimum and maximum; decimals, not floats."""
    found = adjust(side, None if price is None else D(price), D(quantity), filters)
    assert found.changed == {name: D(value) for name, value in changed.items()}
    assert found.needs == {name: D(value) for name, value in needs.items()}


@given(
    side=st.sampled_from(["buy", "sell"]),
    price=amounts,
    quantity=amounts,
    tick=steps,
    step=steps,
    least=steps,
    most=st.sampled_from([D(0), D(3), D(1000)]),
    notional=st.sampled_from([D(0), D(10)]),
    worse=st.sampled_from([D(0), D("0.0001"), D("0.05")]),
)
def test_it_never_enlarges_and_never_worsens_past_the_bound(
    side: str, price: D, quantity: D, tick: D, step: D, least: D, most: D, notional: D, worse: D
) -> None:
    """And what it changes fits the filters."""
    filters = Filters(tick, step, least, most, notional)
    found = adjust(side, price, quantity, filters, worse_max=worse)
    new_price, new_quantity = found.changed.get("price", price), found.changed.get("quantity", quantity)
    assert new_quantity <= quantity
    dearer = new_price - price if side == "buy" else price - new_price
    assert dearer <= worse * price
    assert new_price > 0
    assert new_quantity > 0
    if "price" in found.changed:
        assert new_price % tick == 0
    if "quantity" in found.changed:
        assert not step or new_quantity % step == 0
        assert not most or new_quantity <= most
        assert new_quantity >= least
        assert not notional or new_quantity * new_price >= notional


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("Filter failure: LOT_SIZE", Remedy.ROUND),
        ("-1021", Remedy.CLOCK),
        ("EAPI:Invalid nonce", Remedy.CLOCK),
        ("Account has insufficient balance for requested action.", Remedy.FUNDS),
        ("EOrder:Order minimum not met", Remedy.ROUND),
        ("EOrder:Cost minimum not met", Remedy.ROUND),
        ("EOrder:Invalid price:XBT/USD price can only be specified up to 1 decimals.", Remedy.ROUND),
        ("EGeneral:Invalid arguments:volume", Remedy.ROUND),
        ("51000 Parameter px error", Remedy.ROUND),
        ("51000 Parameter side error", Remedy.NONE),
        ("51020 Your order should meet or exceed the minimum order amount.", Remedy.ROUND),
        ("51121 Order quantity must be a multiple of the lot size.", Remedy.ROUND),
        ("51008 Order failed. Insufficient USDT balance in account.", Remedy.FUNDS),
        ("170140 Order value exceeded lower limit.", Remedy.ROUND),
        ("10001 Qty invalid", Remedy.ROUND),
        ("something else", Remedy.NONE),
    ],
)
def test_a_venues_words_say_what_helps(reason: str, remedy: Remedy) -> None:
    """Codes and words of several venues."""
    assert remedy_of(reason) is remedy


def test_what_is_not_given_is_not_adjusted() -> None:
    """An order without a quantity (all of a position), and a price that fits already."""
    filters = Filters(tick_size=D("0.01"), step_size=D(1))
    found = adjust("sell", D("100.01"), None, filters)
    assert (found.changed, found.needs) == ({}, {})
