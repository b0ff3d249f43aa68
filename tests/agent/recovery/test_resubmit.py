"""What a rejection's `resubmit` may place, whatever was ordered, whatever the venue wants: never more or much worse."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent import Config
from recovery_world import World

D = Decimal
amounts = st.decimals(min_value="0.00000001", max_value="1000000", places=8)
steps = st.sampled_from(["0", "0.00000001", "0.001", "0.25", "1", "5"])
worse = st.sampled_from(["0", "0.0001", "0.05"])
reasons = st.sampled_from(
    ["Filter failure: LOT_SIZE", "-1021 Timestamp", "EOrder:Tick size check failed", "51020", "no"]
)


@settings(deadline=None, max_examples=200)
@given(
    side=st.sampled_from(["buy", "sell"]),
    price=amounts,
    quantity=amounts,
    tick=steps,
    step=steps,
    least=steps,
    notional=st.sampled_from(["0", "10"]),
    bound=worse,
    reason=reasons,
    repeats=st.sampled_from([1, 9, 10]),
)
def test_nothing_is_placed_that_is_larger_or_worse_than_the_bound_allows(
    side: str,
    price: D,
    quantity: D,
    tick: str,
    step: str,
    least: str,
    notional: str,
    bound: str,
    reason: str,
    repeats: int,
) -> None:
    """At most one order, of the same side and kind; none after ten identical rejects; True only if it was shown."""
    config = Config.from_toml(f'[recovery.order_rejection]\nresubmit = true\nprice_worse_max = "{bound}"\n')
    world = World()
    order = {"side": side, "price": price, "quantity": quantity, "type": "limit"}
    filters = {"tick_size": tick, "step_size": step, "quantity_min": least, "notional_min": notional}
    context = {"symbol": "BTCUSDT", "reason": reason, "order": order, "filters": filters, "repeats": repeats}
    done = asyncio.run(world.scenario("order_rejection", config).execute_recovery(context))
    assert done is bool(world.placed)
    assert len(world.placed) <= 1
    for placed in world.placed:
        assert repeats < 10
        assert reason != "no"
        assert (placed["side"], placed["type"]) == (side, "limit")
        assert 0 < placed["quantity"] <= quantity
        dearer = placed["price"] - price if side == "buy" else price - placed["price"]
        assert dearer <= D(bound) * price
        assert placed["price"] > 0
