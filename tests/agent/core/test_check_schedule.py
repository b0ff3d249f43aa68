"""When which part of an account is looked at."""

from __future__ import annotations

from jackstay_agent.core.check_schedule import CheckSchedule


def made() -> CheckSchedule:
    schedule = CheckSchedule(1.0)
    schedule.add("orders", 0.0, 30.0, 120.0, 0.5)
    schedule.add("fills", 0.0, 10.0, 60.0, 0.9)
    return schedule


def test_parts_are_spread_out_and_come_back_after_their_period() -> None:
    """Each has its own phase; while a stream tells, it is asked less often."""
    schedule = made()
    assert schedule.due(8.9) == []
    assert schedule.due(20.0) == [("fills", "schedule"), ("orders", "schedule")]
    schedule.begun("fills", 20.0, streamed=False)
    schedule.begun("orders", 20.0, streamed=True)
    assert schedule.next_at() == 30.0
    schedule.begun("fills", 30.0, streamed=True)
    assert schedule.next_at() == 90.0


def test_a_trigger_brings_a_part_forward_but_never_into_its_gap() -> None:
    """With its reason, until it was looked at."""
    schedule = made()
    schedule.begun("orders", 5.0, streamed=False)
    schedule.trigger("orders", 5.2, "reconnect")
    assert schedule.due(5.9) == []
    assert schedule.due(6.0) == [("orders", "reconnect")]
    schedule.begun("orders", 6.0, streamed=False)
    schedule.trigger("orders", 100.0, "too late to matter")
    assert schedule.due(36.0)[-1] == ("orders", "schedule")


def test_a_part_that_is_not_there_is_no_error() -> None:
    """A venue without positions has none to look at."""
    schedule = CheckSchedule(1.0)
    schedule.trigger("positions", 0.0, "operator")
    assert schedule.next_at() is None
