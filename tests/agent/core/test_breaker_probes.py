"""Places of a half-open breaker."""

from jackstay_agent.core.breaker_probes import Probes


def test_exactly_the_places_are_admitted():
    """Under way or done, a place is taken; given back, it is free."""
    probes = Probes(2, 10.0)
    one, two = probes.admit(1, 0.0), probes.admit(1, 1.0)
    assert one is not None
    assert two is not None
    assert probes.admit(1, 2.0) is None
    probes.give_back(one)
    probes.give_back(one)
    three = probes.admit(1, 3.0)
    assert three is not None
    probes.settle(two, 1, True)
    assert (probes.done, probes.failed, probes.slow) == (1, 1, 1)
    assert probes.admit(1, 4.0) is None
    assert three in probes
    assert two not in probes


def test_leases_end():
    """A probe past its lease is reclaimed, not a moment earlier."""
    probes = Probes(2, 10.0)
    assert probes.next_lease_end() is None
    probes.admit(1, 0.0)
    probes.admit(1, 5.0)
    assert probes.next_lease_end() == 10.0
    assert probes.reclaim(9.999) == 0
    assert probes.reclaim(10.0) == 1
    assert probes.next_lease_end() == 15.0
    probes.clear()
    assert probes.next_lease_end() is None
