"""jackstay_agent.core.addresses: when an address has left a name."""

from __future__ import annotations

from jackstay_agent.core.addresses import ADDRESSES_MAX, Addresses


def test_an_address_leaves_when_no_answer_had_it_for_long() -> None:
    """A venue that shows two of many addresses in turn has all of them; one that is missing for long is gone."""
    known = Addresses(forget_s=600.0)
    assert not known.left("10.0.0.1")  # nothing is known yet
    for minute in range(30):
        known.seen(["10.0.0.2", "10.0.0.3"] if minute % 2 else ["10.0.0.1", "10.0.0.2"], minute * 60.0)
        assert not known.left("10.0.0.1")
        assert not known.left("10.0.0.3") or minute == 0
    for minute in range(30, 41):
        known.seen(["10.0.0.2"], minute * 60.0)
    assert known.left("10.0.0.1")
    assert not known.left("10.0.0.2")


def test_a_resolver_that_fails_changes_nothing() -> None:
    """No answer, or an empty one, drives nobody off an address, however long it lasts."""
    known = Addresses(forget_s=10.0)
    known.seen(["10.0.0.1"], 0.0)
    known.seen([], 1000.0)
    assert not known.left("10.0.0.1")


def test_memory_is_bounded() -> None:
    """A name with very many addresses keeps the newest."""
    known = Addresses(forget_s=1e9)
    for number in range(ADDRESSES_MAX + 10):
        known.seen([str(number)], float(number))
    assert known.left("0")
    assert not known.left(str(ADDRESSES_MAX + 9))
