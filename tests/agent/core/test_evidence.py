"""What settles an unknown order, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.evidence import (
    Clock,
    Evidence,
    Finding,
    Patience,
    Search,
    Source,
    countable_at,
    weigh,
)
from jackstay_agent.core.intent import Event
from jackstay_protocols.errors import ValidationError

PATIENCE = Patience(visibility_delay_s=20.0, not_found_needed=3, spacing_s=2.0, clock_offset_s=1.0)
SEARCH = Search(late_until_at=100.0, sent_wall=5_000.0, family="order")


def missing(asked_at: float, source: Source = Source.QUERY, family: str = "order") -> Evidence:
    return Evidence(source, Finding.NOT_FOUND, asked_at, family)


@pytest.mark.parametrize("source", [s for s in Source if s is not Source.OPERATOR])
def test_existence_is_believed_from_any_source_at_once(source: Source) -> None:
    """One positive word is enough, however early it comes."""
    weighed = weigh(SEARCH, Evidence(source, Finding.EXISTS, 100.0, "other family"), PATIENCE)
    assert weighed.event is Event.FOUND
    assert weighed.search.seen


def test_an_order_older_than_ours_is_another_order() -> None:
    """Where ids are free again after a fill, the old order of that id is no evidence; within the clock offset it is."""
    old = Evidence(Source.STREAM, Finding.EXISTS, 100.0, created_at=4_998.9)
    assert weigh(SEARCH, old, PATIENCE).event is None
    assert weigh(SEARCH, replace(old, created_at=4_999.0), PATIENCE).event is Event.FOUND


def test_where_our_clock_was_wrong_an_order_has_to_look_like_ours() -> None:
    """When ours was sent is not known then: an older order of its id is believed if it has its fields, else not."""
    old = Evidence(Source.QUERY, Finding.EXISTS, 100.0, created_at=1_000.0, alike=True)
    wrong = replace(SEARCH, clock=Clock.WRONG)
    assert weigh(wrong, old, PATIENCE).event is Event.FOUND
    assert weigh(wrong, replace(old, alike=False), PATIENCE).event is None
    for clock in (Clock.OURS, Clock.VENUE):
        assert weigh(replace(SEARCH, clock=clock), old, PATIENCE).event is None


def test_not_found_needs_the_delay_the_number_and_the_spacing() -> None:
    """Absent only after three answers, the first asked after the delay, two seconds between them."""
    search = SEARCH
    for asked_at, counted in ((119.9, 0), (120.0, 1), (121.9, 1), (122.0, 2), (123.0, 2)):
        weighed = weigh(search, missing(asked_at), PATIENCE)
        search = weighed.search
        assert (weighed.event, search.not_found) == (None, counted), asked_at
    weighed = weigh(search, missing(124.0), PATIENCE)
    assert weighed.event is Event.NOT_FOUND
    assert "3 times" in weighed.why


def test_the_resolver_is_told_when_its_question_counts() -> None:
    """The earliest countable instant is the delay's end, then a spacing after the last counted one."""
    assert countable_at(SEARCH, PATIENCE) == 120.0
    assert countable_at(replace(SEARCH, counted_at=130.0), PATIENCE) == 132.0


def test_a_transport_error_counts_for_nothing() -> None:
    """A DNS outage is no not-found, however often it happens."""
    search = SEARCH
    for asked_at in range(200, 300):
        weighed = weigh(search, Evidence(Source.QUERY, Finding.NO_ANSWER, float(asked_at), "order"), PATIENCE)
        assert weighed.event is None
        search = weighed.search
    assert search == SEARCH


def test_the_wrong_family_counts_for_nothing() -> None:
    """A stop is not absent because the plain order path does not know it."""
    weighed = weigh(SEARCH, missing(500.0, family="algo"), PATIENCE)
    assert (weighed.event, weighed.search.not_found) == (None, 0)
    assert "algo" in weighed.why


@pytest.mark.parametrize("source", [Source.OPEN_ORDERS, Source.FILLS, Source.STREAM, Source.REPLY, Source.LISTS])
def test_absence_from_a_list_proves_nothing(source: Source) -> None:
    """A filled order is in no open-order list: only a query by id counts."""
    weighed = weigh(SEARCH, missing(500.0, source), PATIENCE)
    assert (weighed.event, weighed.search.not_found) == (None, 0)


def test_complete_lists_count_where_the_profile_vouches_for_them() -> None:
    """With lists_prove_absence, all lists together count like a query."""
    vouched = replace(PATIENCE, lists_prove_absence=True, not_found_needed=1)
    assert weigh(SEARCH, missing(500.0, Source.LISTS), vouched).event is Event.NOT_FOUND
    assert weigh(SEARCH, missing(500.0, Source.OPEN_ORDERS), vouched).event is None


def test_what_was_seen_is_never_absent() -> None:
    """After one positive word a not-found is lag or retention."""
    assert weigh(replace(SEARCH, seen=True, not_found=2), missing(500.0), PATIENCE).event is None


def test_a_persons_word_settles_and_names_the_person() -> None:
    """Done or absent at once, without delay, with who and why in the record."""
    word = Evidence(Source.OPERATOR, Finding.NOT_FOUND, who="uid 1000", why="asked support")
    weighed = weigh(SEARCH, word, PATIENCE)
    assert weighed.event is Event.SAID_ABSENT
    assert "uid 1000" in weighed.why
    assert "asked support" in weighed.why
    assert weigh(SEARCH, replace(word, finding=Finding.EXISTS), PATIENCE).event is Event.SAID_DONE
    assert weigh(SEARCH, replace(word, finding=Finding.NO_ANSWER), PATIENCE).event is None


@pytest.mark.parametrize(("who", "why"), [("", "because"), ("me", ""), ("", "")])
def test_a_persons_word_without_a_name_or_a_reason_is_refused(who: str, why: str) -> None:
    """An anonymous word is no word."""
    with pytest.raises(ValidationError, match="who and why"):
        Evidence(Source.OPERATOR, Finding.EXISTS, who=who, why=why)


@pytest.mark.parametrize(
    "wrong",
    [{"not_found_needed": 0}, {"visibility_delay_s": -1.0}, {"spacing_s": float("nan")}, {"clock_offset_s": 86_400.0}],
)
def test_impatience_is_refused(wrong: dict[str, float]) -> None:
    """A patience that would believe silence names its wrong field."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Patience(**wrong)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Source), st.sampled_from(Finding), st.floats(0, 119.9), st.sampled_from(["order", "algo"])
        ),
        max_size=30,
    )
)
def test_nothing_asked_before_the_delay_makes_an_order_absent(
    said: list[tuple[Source, Finding, float, str]],
) -> None:
    """Whatever is said how often, before the delay's end no venue evidence ends in absence."""
    search = SEARCH
    for source, finding, asked_at, family in said:
        if source is Source.OPERATOR:
            continue
        weighed = weigh(
            search, Evidence(source, finding, asked_at, family), replace(PATIENCE, lists_prove_absence=True)
        )
        assert weighed.event in (None, Event.FOUND)
        search = weighed.search
    assert search.not_found == 0
