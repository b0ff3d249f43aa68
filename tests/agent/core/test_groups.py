"""Trouble at one venue of a group keeps entries away from the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.groups import TROUBLES_MAX, Group, Troubles
from jackstay_protocols.errors import ValidationError

BASIS = {"basis": Group(("a", "b"))}


def test_all_venues_of_the_group_are_held_until_the_trouble_is_over() -> None:
    """Both legs, with the reason; strangers are nobody's trouble."""
    troubles = Troubles(BASIS)
    troubles.note("c", "feed x", "lost")
    assert troubles.holds() == {}
    troubles.note("a", "feed x", "feed.lost reset")
    troubles.note("a", "breaker orders", "open")
    assert troubles.holds() == {("basis", "a"): "a: feed.lost reset", ("basis", "b"): "a: feed.lost reset"}
    troubles.over("a", "feed x")
    assert set(troubles.holds()) == {("basis", "a"), ("basis", "b")}
    troubles.over("a", "breaker orders")
    troubles.over("a", "never noted")
    assert troubles.holds() == {}
    assert troubles.wrong("a") == {}


def test_others_leaves_the_troubled_venue_to_itself() -> None:
    """And a venue may be in several groups."""
    troubles = Troubles({"x": Group(("a", "b"), "others"), "y": Group(("a", "c"))})
    troubles.note("a", "feed", "gone")
    assert set(troubles.holds()) == {("x", "b"), ("y", "a"), ("y", "c")}


@pytest.mark.parametrize(
    ("name", "group"),
    [("x", Group(("a",))), ("x", Group(("a", "a"))), ("x", Group(("a", "b"), "some")), ("", Group(("a", "b")))],
)
def test_a_group_that_means_nothing_is_refused(name: str, group: Group) -> None:
    """Two different venues, a known word, a name."""
    with pytest.raises(ValidationError):
        group.check(name)
    Group(("a", "b")).check("x")


def test_what_is_wrong_is_bounded() -> None:
    """A storm of different reasons costs no memory; a known one is still replaced."""
    troubles = Troubles(BASIS)
    for number in range(TROUBLES_MAX + 10):
        troubles.note("a", f"feed {number}", "lost")
    troubles.note("a", "feed 0", "again")
    assert len(troubles.wrong("a")) == TROUBLES_MAX
    assert troubles.wrong("a")["feed 0"] == "again"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(["f", "g"])), max_size=40))
def test_holds_stand_exactly_while_something_is_wrong(steps: list[tuple[bool, str, str]]) -> None:
    """Against a set of what is wrong."""
    troubles, wrong = Troubles(BASIS), set()
    for bad, venue, what in steps:
        if bad:
            troubles.note(venue, what, "w")
            wrong.add((venue, what))
        else:
            troubles.over(venue, what)
            wrong.discard((venue, what))
    assert bool(troubles.holds()) is any(venue in "ab" for venue, _what in wrong)
