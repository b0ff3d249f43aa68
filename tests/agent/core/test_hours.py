"""jackstay_agent.core.hours: when a market is open."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.hours import Hours
from jackstay_protocols.errors import ValidationError

NEW_YORK = ZoneInfo("America/New_York")
STOCKS = Hours(
    ["mon-fri 09:30-16:00"],
    NEW_YORK,
    holidays=["2026-12-25"],
    special=["2026-11-27 09:30-13:00", "2026-12-25 10:00-11:00"],
)
FX = Hours(["sun 17:00-fri 17:00"], NEW_YORK, holidays=["2026-12-25"])


def at(text: str, zone: ZoneInfo | None = NEW_YORK) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


@pytest.mark.parametrize(
    ("hours", "when", "is_open"),
    [
        (STOCKS, "2026-11-25 09:29:59", False),
        (STOCKS, "2026-11-25 09:30:00", True),
        (STOCKS, "2026-11-25 15:59:59", True),
        (STOCKS, "2026-11-25 16:00:00", False),
        (STOCKS, "2026-11-28 12:00:00", False),  # a Saturday
        (STOCKS, "2026-11-27 12:59:59", True),  # the short day
        (STOCKS, "2026-11-27 13:00:00", False),
        (STOCKS, "2026-12-25 10:30:00", True),  # a special session wins over the holiday
        (STOCKS, "2026-12-25 12:00:00", False),
        (FX, "2026-11-29 16:59:59", False),  # a Sunday
        (FX, "2026-11-29 17:00:00", True),
        (FX, "2026-12-02 03:00:00", True),
        (FX, "2026-12-04 16:59:59", True),
        (FX, "2026-12-04 17:00:00", False),
        (FX, "2026-12-25 12:00:00", False),
        (Hours(["mon-fri 22:00-05:00"], NEW_YORK), "2026-11-28 04:59:00", True),  # Friday's session, on Saturday
        (Hours(["mon-fri 22:00-05:00"], NEW_YORK), "2026-11-28 05:00:00", False),
        (Hours(["sun 22:00-05:00"], NEW_YORK), "2026-11-30 01:00:00", True),  # over the week's end
        (Hours(["sat-sun 10:00-12:00"], NEW_YORK), "2026-11-29 11:00:00", True),
        (Hours(["fri-mon 10:00-12:00"], NEW_YORK), "2026-11-30 11:00:00", True),
        (Hours(["fri-mon 10:00-12:00"], NEW_YORK), "2026-12-01 11:00:00", False),
        (Hours(["24/7"], NEW_YORK), "2026-12-01 11:00:00", True),
        (Hours(["mon-sun 00:00-24:00"], NEW_YORK), "2026-12-01 23:59:59", True),
    ],
)
def test_a_market_is_open_in_its_own_time(hours: Hours, when: str, is_open: bool) -> None:
    """Sessions, spans over midnight and over the week, holidays and special days, to the minute."""
    assert hours.open_at(at(when)) is is_open


@pytest.mark.parametrize(
    ("hours", "now", "change"),
    [
        (STOCKS, "2026-11-25 12:00", "2026-11-25 16:00"),
        (STOCKS, "2026-11-25 16:00", "2026-11-26 09:30"),
        (STOCKS, "2026-11-27 10:00", "2026-11-27 13:00"),
        (STOCKS, "2026-11-27 13:00", "2026-11-30 09:30"),
        (STOCKS, "2026-12-24 20:00", "2026-12-25 10:00"),
        (STOCKS, "2026-12-25 10:15", "2026-12-25 11:00"),
        (FX, "2026-12-02 03:00", "2026-12-04 17:00"),
        (FX, "2026-12-24 20:00", "2026-12-25 00:00"),
        (FX, "2026-12-25 20:00", "2026-12-27 17:00"),  # closed over the holiday, and Saturday follows
    ],
)
def test_the_next_change_is_told(hours: Hours, now: str, change: str) -> None:
    """When it opens or closes next, holidays and short days counted in."""
    assert hours.next_change(at(now)) == at(change)


def test_summer_time_is_the_zones_knowledge() -> None:
    """The same local opening is another instant in winter; the clock's change in between is seen."""
    opening = STOCKS.next_change(at("2026-10-30 20:00"))  # a Friday; clocks go back on Sunday
    assert opening == at("2026-11-02 14:30", None)
    assert STOCKS.next_change(at("2026-10-29 20:00")) == at("2026-10-30 13:30", None)


def test_a_market_that_never_closes_never_changes() -> None:
    """No change within the look-ahead is None, and costs no endless search."""
    assert Hours(["24/7"], NEW_YORK).next_change(at("2026-12-01 11:00")) is None


@given(
    st.floats(at("2026-01-01"), at("2027-12-31")),
    st.sampled_from([STOCKS, FX, Hours(["mon-fri 22:00-05:00"], NEW_YORK)]),
)
def test_nothing_changes_before_the_change_and_everything_at_it(now_s: float, hours: Hours) -> None:
    """Between now and the told change the answer stays; at the change it is the other one."""
    change = hours.next_change(now_s)
    assert change is not None
    assert change > now_s
    is_open = hours.open_at(now_s)
    for share in (0.0, 0.25, 0.5, 0.75, 0.999):
        assert hours.open_at(now_s + (change - now_s) * share) is is_open
    assert hours.open_at(change) is not is_open


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sessions": []}, "at least one line"),
        ({"sessions": ["9 to 5"]}, "'mon-fri 09:30-16:00'"),
        ({"sessions": ["mon-fry 09:30-16:00"]}, "'fry'"),
        ({"sessions": ["foo 17:00-fri 17:00"]}, "'foo'"),
        ({"sessions": ["mon 25:00-26:00"]}, "HH:MM"),
        ({"holidays": ["25.12.2026"]}, "YYYY-MM-DD"),
        ({"special": ["2026-11-27"]}, "special day"),
        ({"special": ["2026-11-27 13:00-09:30"]}, "closes before it opens"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, list[str]], words: str) -> None:
    """A line that is none is told with what is expected."""
    with pytest.raises(ValidationError, match=words):
        Hours(fields.pop("sessions", ["24/7"]), NEW_YORK, **fields)
