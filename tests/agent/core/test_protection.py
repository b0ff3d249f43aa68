"""The protection table says what DESIGN §5 says, cell by cell, and reaches no protective order."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.liveness import BotState
from jackstay_agent.core.protection import (
    NEVER_CANCELLED,
    TABLE,
    HoldScope,
    OpenOrder,
    Preset,
    choose,
    measures,
    on_goodbye,
)
from jackstay_protocols.types import OrderClass

# DESIGN §5 Protection, written again by hand: (state, preset) -> what is done; "?" marks what is only told.
DESIGNED = {
    "well": {"observe": "", "directional": "", "market_maker": "", "hedged": ""},
    "late": {"observe": "?hold", "directional": "hold", "market_maker": "hold", "hedged": "hold group"},
    "stalled": {
        "observe": "?hold entry",
        "directional": "hold entry",
        "market_maker": "hold entry exit",
        "hedged": "hold group",
    },
    "dead": {
        "observe": "?hold entry",
        "directional": "hold entry",
        "market_maker": "hold entry exit",
        "hedged": "hold group",
    },
    "left": {"observe": "", "directional": "", "market_maker": "", "hedged": ""},
    "held": {"observe": "", "directional": "hold", "market_maker": "hold", "hedged": "hold"},
}


@pytest.mark.parametrize(("state", "preset"), list(product(BotState, Preset)))
def test_each_cell_is_as_designed(state: BotState, preset: Preset) -> None:
    """Six states, four presets: holds and cancelled classes, and whether anything is done at all."""
    cell = measures(state, preset)
    words = []
    if cell.hold is not HoldScope.NONE:
        words.append("hold")
    if cell.hold is HoldScope.GROUP:
        words.append("group")
    words += [each.value for each in (OrderClass.ENTRY, OrderClass.EXIT) if each in cell.cancel]
    assert ("" if cell.act else "?") + " ".join(words) == DESIGNED[state.value][preset.value]


def test_the_table_is_complete_and_reaches_nothing_protective() -> None:
    """Every state has every preset; no cell holds a class that is never cancelled."""
    assert set(TABLE) == set(product(BotState, Preset))
    assert not any(each.cancel & NEVER_CANCELLED for each in TABLE.values())


@pytest.mark.parametrize("preset", Preset)
def test_a_goodbye_is_done_as_asked(preset: Preset) -> None:
    """Keep keeps; cancel takes entries, and exits where the preset says so, under observe too."""
    assert on_goodbye("keep", preset).cancel == frozenset()
    asked = on_goodbye("cancel", preset)
    assert asked.act
    assert OrderClass.ENTRY in asked.cancel
    assert (OrderClass.EXIT in asked.cancel) is (preset is Preset.MARKET_MAKER)
    assert not asked.cancel & NEVER_CANCELLED


def order(name: str, kind: OrderClass, price: str | None = None, side: str = "buy", symbol: str = "B") -> OpenOrder:
    return OpenOrder("v", "plain", symbol, side, name, "", kind, None if price is None else Decimal(price))


def test_the_nearest_to_the_market_goes_first() -> None:
    """Highest bid and lowest offer first, books in turn; what has no price may be the nearest of all."""
    entry = OrderClass.ENTRY
    orders = [order("b1", entry, "90"), order("b2", entry, "99"), order("b3", entry), order("b4", entry, "95")]
    orders += [
        order("s1", entry, "120", "sell"),
        order("s2", entry, "101", "sell"),
        order("o1", entry, "1", symbol="C"),
    ]
    orders += [order("stop", OrderClass.PROTECTIVE, "1")]
    chosen = choose(orders, frozenset({entry}))
    assert [each.name for each in chosen.cancel] == ["b3", "o1", "s2", "b2", "s1", "b4", "b1"]
    assert [each.name for each in chosen.listed] == ["stop"]


@given(
    st.lists(st.sampled_from(OrderClass), max_size=12),
    st.frozensets(st.sampled_from(OrderClass)),
)
def test_whatever_is_asked_protective_hedge_and_unknown_orders_are_listed(
    kinds: list[OrderClass], classes: frozenset[OrderClass]
) -> None:
    """Each order is either cancelled or listed, and rule 7 holds against any caller."""
    orders = [order(f"o{i}", kind) for i, kind in enumerate(kinds)]
    chosen = choose(orders, classes)
    assert sorted(each.name for each in chosen.cancel + chosen.listed) == sorted(each.name for each in orders)
    assert not [each for each in chosen.cancel if each.order_class in NEVER_CANCELLED]
    assert {each.order_class for each in chosen.cancel} <= classes
    unnamed = OpenOrder("v", "f", "s", "buy", "", "77", OrderClass.EXIT)
    assert (unnamed.name, unnamed.key) == ("77", ("v", "f", "s", "77"))
