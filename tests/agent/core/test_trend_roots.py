"""Who began: onsets that come together, ranked; pairs that keep coming together, correlated."""

import pytest

from jackstay_agent.core.trend_roots import (
    DEPENDENCY_ORDER,
    GROUP_S,
    KINDS_MAX,
    ONSETS_KEPT,
    Incidents,
    Onset,
    rank,
)

ORDER = {name: place for place, name in enumerate(DEPENDENCY_ORDER)}


def onset(component, at, kind="E"):
    return Onset((component, kind), at, 10)


def first(onsets):
    return rank(onsets, ORDER)[0].key[0]


def test_the_earlier_one_is_the_root():
    """Clearly earlier outweighs what is known of dependencies."""
    assert first([onset("orders", 0.0), onset("network", 30.0), onset("bot", 31.0)]) == "orders"
    assert first([onset("x", 5.0), onset("y", 0.0)]) == "y"


def test_at_the_same_time_what_others_depend_on_is_the_root():
    """Network before venue before orders; of unknown ones the time alone speaks."""
    assert first([onset("orders", 0.0), onset("venue", 0.0), onset("network", 0.5)]) == "network"
    assert [each.score for each in rank([onset("x", 0.0), onset("y", 0.0)], ORDER)] == [0.5, 0.5]
    assert rank([onset("venue", 0.0, "a"), onset("venue", 0.0, "b")], ORDER)[0].score == 0.5
    assert rank([onset("venue", 0.0)], ORDER)[0].score == 0.0


def test_onsets_within_a_minute_are_one_incident():
    """The second makes it one; the same burst again is no onset; later begins another incident."""
    incidents = Incidents()
    assert incidents.add(onset("network", 0.0)) is None
    group, ranked = incidents.add(onset("orders", 2.0))
    assert (group.number, ranked[0].key[0], len(group.onsets)) == (1, "network", 2)
    assert incidents.add(onset("orders", 20.0)) is None
    assert incidents.add(onset("orders", 2.0 + 2 * GROUP_S)) is None
    group, _ranked = incidents.add(onset("bot", 3.0 + 2 * GROUP_S))
    assert group.number == 2
    assert incidents.gaps(("orders", "E")) == [2 * GROUP_S]
    assert incidents.gaps(("nobody", "E")) == []


def incidents_of(times):
    """Network, then orders two seconds later, at each of these; an unrelated kind in between."""
    incidents = Incidents()
    for number, at in enumerate(times):
        incidents.add(onset("network", at))
        incidents.add(onset("orders", at + 2.0))
        if number % 3 == 0:
            incidents.add(onset("feed", at + 900.0))
    return incidents


def test_pairs_that_keep_coming_together_are_correlated_with_their_lag():
    """The leader is named, and not the other way round; chance is neither."""
    times = [n * 3600.0 for n in range(12)]
    found = incidents_of(times).correlations(12 * 3600.0)
    assert [(each.leader[0], each.follower[0]) for each in found] == [("network", "orders")]
    assert (found[0].lag_s, found[0].hits, found[0].of) == (2.0, 12, 12)
    assert found[0].q < 0.01
    assert incidents_of(times[:2]).correlations(7200.0) == []


@pytest.mark.parametrize("what", ["kinds", "onsets"])
def test_memory_is_bounded(what):
    """In kinds, and in the onsets of each."""
    incidents = Incidents()
    if what == "kinds":
        for number in range(KINDS_MAX + 5):
            incidents.add(onset(f"c{number}", number * 2 * GROUP_S))
        incidents.add(onset("c0", 1e6))
        assert incidents.gaps(("c0", "E")) == []
    else:
        for number in range(ONSETS_KEPT + 5):
            incidents.add(onset("c", number * 2 * GROUP_S))
        assert len(incidents.gaps(("c", "E"))) == ONSETS_KEPT - 1
