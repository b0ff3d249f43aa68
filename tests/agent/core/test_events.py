"""Events are kept until drained, within a bound."""

from jackstay_agent.core.events import EventLog


def test_events_come_out_once_and_in_order():
    """A drain takes everything, oldest first."""
    log = EventLog[int]()
    assert not log.pending
    log.add(1)
    log.add(2)
    assert log.pending
    assert log.drain() == [1, 2]
    assert log.drain() == []


def test_the_oldest_events_fall_out_at_the_bound_and_are_counted():
    """At the bound nothing is lost, one past it one is."""
    log = EventLog[int](3)
    for n in range(3):
        log.add(n)
    assert log.lost == 0
    log.add(3)
    assert (log.lost, log.drain()) == (1, [1, 2, 3])
