"""Age, doubt and staleness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.ttl import Stamp, age, age_at_least_s, is_stale, late_until_at, sendable_s, ttl_refusal
from jackstay_protocols.errors import Reason

THEN = Stamp("boot-1", 1_000.0, 1_700_000_000.0)


def later(boot_s: float, wall_s: float, boot_id: str = "boot-1") -> Stamp:
    return Stamp(boot_id, THEN.boot_s + boot_s, THEN.wall_s + wall_s)


@pytest.mark.parametrize(
    ("now", "seconds", "in_doubt"),
    [
        (later(5.0, 5.0), 5.0, False),
        (later(5.0, 6.9), 6.9, False),  # slew within the bound
        (later(6.9, 5.0), 6.9, False),
        (later(5.0, 3_605.0), 3_605.0, True),  # wall stepped an hour on
        (later(5.0, -3_595.0), 5.0, True),  # an hour back
        (later(5.0, 65.0), 65.0, True),  # a suspend the boot clock does not count
        (later(65.0, 65.0), 65.0, False),  # a suspend it counts
        (later(-990.0, 30.0, "boot-2"), 30.0, True),  # reboot
        (later(0.0, -30.0, "boot-2"), 0.0, True),
        (later(-1.0, 0.0), 0.0, True),  # a boot clock that runs back is broken
    ],
)
def test_age_is_the_larger_of_both_clocks_and_says_when_it_cannot_be_trusted(
    now: Stamp, seconds: float, in_doubt: bool
) -> None:
    """Jumps of an hour either way, suspend and reboot leave the age in doubt."""
    found = age(THEN, now)
    assert found.seconds == pytest.approx(seconds)
    assert found.in_doubt is in_doubt


@pytest.mark.parametrize(
    ("ttl_s", "reason"),
    [
        (None, None),
        (0.001, None),
        (60.0, None),
        (60.001, Reason.BAD_REQUEST),
        (0.0, Reason.EXPIRED),
        (-1.0, Reason.BAD_REQUEST),
        (float("nan"), Reason.BAD_REQUEST),
        (float("inf"), Reason.BAD_REQUEST),
    ],
)
def test_a_time_to_live_is_accepted_up_to_its_limit(ttl_s: float | None, reason: Reason | None) -> None:
    """At the limit accepted, past it refused naming it; zero is expired already."""
    refusal = ttl_refusal(ttl_s, 60.0)
    assert (refusal and refusal[0]) == reason


@pytest.mark.parametrize(
    ("ttl_s", "window_s", "by_bot", "expected"),
    [
        (30.0, 5.0, True, 5.0),
        (30.0, 5.0, False, 30.0),
        (3.0, 5.0, True, 3.0),
        (None, 5.0, True, 5.0),
        (None, 5.0, False, None),
        (None, None, True, None),
    ],
)
def test_a_bots_signature_bounds_how_long_it_may_wait(
    ttl_s: float | None, window_s: float | None, by_bot: bool, expected: float | None
) -> None:
    """The bot's recvWindow counts from its signing; the agent signs at sending, so its window does not."""
    assert sendable_s(ttl_s, window_s, by_bot) == expected


def test_stale_at_its_limit_and_not_before() -> None:
    """At exactly the time to live it is stale."""
    assert not is_stale(THEN, later(9.99, 9.99), 10.0)
    assert is_stale(THEN, later(10.0, 10.0), 10.0)
    assert is_stale(THEN, later(5.0, 5.0), 10.0, deadline_s=5.0)


def test_in_doubt_it_is_stale() -> None:
    """One second old by every clock, but after a reboot: not sent."""
    assert is_stale(THEN, later(1.0, 1.0, "boot-2"), 10.0)
    assert is_stale(THEN, later(1.0, -3_599.0), 10.0)


def test_without_any_limit_nothing_is_stale() -> None:
    """A cancel by id that the agent signs may leave after any jump."""
    assert not is_stale(THEN, later(0.0, 9e9, "boot-9"), None)


def test_a_request_may_arrive_until_its_window_ends() -> None:
    """The end of the recvWindow if that is later than the loss of hope, else that."""
    assert late_until_at(100.0, 99.0, None) == 100.0
    assert late_until_at(100.0, 99.0, 5.0) == 104.0
    assert late_until_at(120.0, 99.0, 5.0) == 120.0


@given(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.floats(0.1, 1e5))
def test_nothing_older_than_its_limit_by_any_clock_is_sent(boot_s: float, wall_s: float, ttl_s: float) -> None:
    """If either clock says it is too old, it is stale."""
    if boot_s >= ttl_s or wall_s >= ttl_s:
        now = later(boot_s, wall_s)
        if now.boot_s - THEN.boot_s >= ttl_s or now.wall_s - THEN.wall_s >= ttl_s:
            assert is_stale(THEN, now, ttl_s)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (later(5.0, 5.0), 5.0),
        (later(5.0, 3_605.0), 5.0),  # the wall clock stepped: the boot clock of the same boot knows
        (later(5.0, -3_595.0), 5.0),
        (later(-990.0, 30.0, "boot-2"), 30.0),
        (later(0.0, -30.0, "boot-2"), 0.0),
        (later(-1.0, 0.0), 0.0),
    ],
)
def test_the_least_age_is_the_boot_clocks_own(now: Stamp, seconds: float) -> None:
    """What is kept in doubt is no older than what certainly passed."""
    assert age_at_least_s(THEN, now) == pytest.approx(seconds)
