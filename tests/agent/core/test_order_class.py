"""What an order is for: the tag, the client id, then what the venue enforces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.order_class import MARKS, ClassRules, OrderFacts, classify_order, reduces
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass as C

RULES = ClassRules()


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("exit", C.EXIT),
        ("HEDGE", C.HEDGE),
        ("protective: stop 1", C.PROTECTIVE),
        ("unknown", C.UNKNOWN),
        ("mine", C.ENTRY),
    ],
)
def test_the_bots_tag_comes_first_and_another_word_says_nothing(tag, expected):
    """Up to the first colon, in any case; else the order is judged by the rest."""
    rules = ClassRules(prefixes={"x-": C.HEDGE})
    facts = OrderFacts("sell", tag, "x-1" if expected is not C.ENTRY else "", None, frozenset({"short"}))
    assert classify_order(facts, rules) is expected


def test_the_longest_prefix_of_the_client_id_counts():
    """Before anything the venue shows."""
    rules = ClassRules(prefixes={"bot-": C.ENTRY, "bot-x-": C.EXIT})
    for client_id, expected in (("bot-1", C.ENTRY), ("bot-x-1", C.EXIT), ("other", C.PROTECTIVE)):
        facts = OrderFacts("sell", "", client_id, True, frozenset({"trigger"}))
        assert classify_order(facts, rules) is expected


@pytest.mark.parametrize(
    ("side", "reduce_only", "marks", "expected"),
    [
        ("buy", None, {"spot"}, C.ENTRY),
        ("sell", None, {"spot"}, C.EXIT),
        ("sell", None, {"spot", "margin"}, C.UNKNOWN),  # may open a short position
        ("buy", None, set(), C.UNKNOWN),
        ("buy", False, set(), C.UNKNOWN),
        ("sell", True, set(), C.EXIT),
        ("sell", True, {"spot", "margin"}, C.EXIT),
        ("buy", True, {"spot"}, C.ENTRY),  # a spot market passes reduce-only over
        ("buy", None, {"close_position"}, C.EXIT),
        ("buy", None, {"long"}, C.ENTRY),
        ("sell", None, {"long"}, C.EXIT),
        ("sell", None, {"short"}, C.ENTRY),
        ("buy", None, {"short"}, C.EXIT),
        ("buy", True, {"long"}, C.ENTRY),  # the named side decides
        ("sell", None, {"spot", "trigger"}, C.PROTECTIVE),
        ("buy", None, {"spot", "trigger"}, C.ENTRY),
        ("sell", None, {"spot", "list"}, C.PROTECTIVE),
        ("sell", True, {"trigger"}, C.PROTECTIVE),
        ("sell", None, {"close_position", "trigger"}, C.PROTECTIVE),
        ("sell", None, {"trigger"}, C.UNKNOWN),  # a stop to sell: for a long position, or into a short one
        ("sell", None, {"short", "trigger"}, C.ENTRY),
    ],
)
def test_what_the_venue_shows(side, reduce_only, marks, expected):
    """Reduce-only, closing, the named side of a hedge, triggers and lists; on spot the side; the rest is unknown."""
    assert classify_order(OrderFacts(side, "", "", reduce_only, frozenset(marks)), RULES) is expected


def test_an_operator_says_what_untagged_orders_are():
    """Spot by side, others as a whole."""
    rules = ClassRules(buy=C.HEDGE, sell=C.ENTRY, otherwise=C.ENTRY)
    assert classify_order(OrderFacts("buy", marks=frozenset({"spot"})), rules) is C.HEDGE
    assert classify_order(OrderFacts("buy", marks=frozenset({"spot", "trigger"})), rules) is C.HEDGE
    assert classify_order(OrderFacts("sell", marks=frozenset({"spot"})), rules) is C.ENTRY
    assert classify_order(OrderFacts("sell"), rules) is C.ENTRY


@given(
    side=st.sampled_from(["buy", "sell"]),
    reduce_only=st.sampled_from([None, True, False]),
    marks=st.frozensets(st.sampled_from(sorted(MARKS))),
    tag=st.sampled_from(["", "exit", "protective", "entry"]),
)
def test_only_what_the_venue_enforces_reduces(side, reduce_only, marks, tag):
    """A tag never does, nor reduce-only on a spot market or on the opening side of a hedge."""
    facts = OrderFacts(side, tag, "", reduce_only, marks)
    opening = "long" if side == "buy" else "short"
    expected = (reduce_only is True or "close_position" in marks) and not marks & {"spot", opening}
    assert reduces(facts) is expected
    if expected:
        assert classify_order(OrderFacts(side, "", "", reduce_only, marks), RULES) in (C.EXIT, C.PROTECTIVE)


@pytest.mark.parametrize(
    "wrong", [{"buy": "in"}, {"sell": 1}, {"otherwise": None}, {"prefixes": {"a": "b"}}, {"prefixes": {"": C.EXIT}}]
)
def test_nonsense_is_refused(wrong):
    """A class that is none, a prefix that everything begins with."""
    with pytest.raises(ValidationError, match="is expected|remove it"):
        ClassRules(**wrong)


def test_every_combination_has_an_answer():
    """No request makes it fail."""
    for side, reduce_only, trigger, spot in itertools.product(("buy", "sell", ""), (None, True), (0, 1), (0, 1)):
        marks = frozenset(["trigger"] * trigger + ["spot"] * spot)
        assert classify_order(OrderFacts(side, reduce_only=reduce_only, marks=marks), RULES) in C
