"""jackstay.pending: who waits for which answer, and until when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay.pending import Pending


def test_an_answer_finds_its_waiter_once() -> None:
    """A second answer of the same id is late and finds nobody."""
    pending: Pending[str] = Pending(10)
    pending.add(1, "a", 100)
    assert 1 in pending
    assert pending.settle(1) == "a"
    assert pending.settle(1) is None
    assert pending.settle(2) is None


def test_the_bound_is_told() -> None:
    """Full at the bound, not before."""
    pending: Pending[int] = Pending(2)
    pending.add(1, 1, 0)
    assert not pending.full
    pending.add(2, 2, 0)
    assert pending.full


def test_only_what_is_over_expires() -> None:
    """The deadline itself is over; what was answered does not expire."""
    pending: Pending[str] = Pending(10)
    for request_id, at in ((1, 300), (2, 100), (3, 200)):
        pending.add(request_id, str(request_id), at)
    pending.settle(2)
    assert pending.next_deadline_us() == 200
    assert pending.expired(199) == []
    assert pending.expired(200) == [(3, "3")]
    assert pending.next_deadline_us() == 300
    assert pending.take_all() == [(1, "1")]
    assert pending.next_deadline_us() is None
    assert len(pending) == 0


def test_answered_requests_do_not_pile_up() -> None:
    """A million answered calls with distant deadlines leave no heap behind."""
    pending: Pending[int] = Pending(10)
    for request_id in range(10_000):
        pending.add(request_id, request_id, 10**12)
        pending.settle(request_id)
    assert len(pending._by_deadline) < 200


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("asx"), st.integers(0, 20), st.integers(0, 50)), max_size=200))
def test_it_agrees_with_a_plain_dictionary(steps: list[tuple[str, int, int]]) -> None:
    """Any order of adding, settling and expiring, against the obvious model."""
    pending: Pending[int] = Pending(1000)
    model: dict[int, int] = {}
    fresh = 0
    for verb, number, at in steps:
        if verb == "a":
            fresh += 1
            pending.add(fresh, fresh, at)
            model[fresh] = at
        elif verb == "s":
            assert (pending.settle(number) is not None) == (model.pop(number, None) is not None)
        else:
            over = {each for each, until in model.items() if until <= at}
            assert {each for each, _ in pending.expired(at)} == over
            model = {each: until for each, until in model.items() if each not in over}
        assert pending.next_deadline_us() == (min(model.values()) if model else None)
