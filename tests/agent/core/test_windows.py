"""Maintenance windows: weekly and dated lines in the venue's zone, and every slip of the pen named."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from jackstay_agent.core.windows import Windows
from jackstay_protocols.errors import ValidationError


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_dated_window_begins_and_ends_when_it_says() -> None:
    """Begin included, end not; the next one is known beforehand, none after the last."""
    windows = Windows(["2026-12-01 06:00-08:00", "2026-12-03 23:00-24:00"], UTC)
    assert windows.ends_at(at("2026-12-01 05:59")) is None
    assert windows.ends_at(at("2026-12-01 06:00")) == at("2026-12-01 08:00")
    assert windows.ends_at(at("2026-12-01 08:00")) is None
    assert windows.next_start(at("2026-11-30 00:00")) == at("2026-12-01 06:00")
    assert windows.next_start(at("2026-12-01 06:00")) == at("2026-12-03 23:00")
    assert windows.ends_at(at("2026-12-03 23:59")) == at("2026-12-04 00:00")
    assert windows.next_start(at("2026-12-04 00:00")) is None


def test_a_window_may_go_past_midnight_and_overlap_another() -> None:
    """Both days are written; of two the later end counts."""
    windows = Windows(["2026-12-01 22:00 - 2026-12-02 02:00", "2026-12-02 01:00-03:00"], UTC)
    assert windows.ends_at(at("2026-12-01 23:00")) == at("2026-12-02 02:00")
    assert windows.ends_at(at("2026-12-02 01:30")) == at("2026-12-02 03:00")


def test_a_weekly_window_is_in_the_venues_zone() -> None:
    """Wednesday 02:00 in Tokyo is Tuesday 17:00 UTC."""
    windows = Windows(["wed 02:00-02:30"], ZoneInfo("Asia/Tokyo"))
    assert windows.ends_at(at("2026-12-01 17:15")) == at("2026-12-01 17:30")
    assert windows.ends_at(at("2026-12-01 17:30")) is None
    assert windows.next_start(at("2026-12-01 17:15")) == at("2026-12-08 17:00")
    assert windows.next_start(at("2026-12-01 00:00")) == at("2026-12-01 17:00")


def test_without_lines_there_is_none() -> None:
    """Nothing is ever planned."""
    windows = Windows([], UTC)
    assert windows.ends_at(0.0) is None
    assert windows.next_start(0.0) is None


@pytest.mark.parametrize("lines", [["mon-sun 00:00-24:00"], ["mon-fri 00:00-24:00", "sat 00:00-mon 00:00"]])
def test_a_week_without_an_open_minute_is_a_slip_of_the_pen(lines: list[str]) -> None:
    """A window that never ends would hold the venue for ever."""
    with pytest.raises(ValidationError, match="no time to be open"):
        Windows(lines, UTC)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("2026-12-01", "is expected"),
        ("2026-12-01 6:00-8:00", "HH:MM"),
        ("2026-02-30 06:00-08:00", "there is no day"),
        ("2026-12-01 08:00-06:00", "before it begins"),
        ("2026-12-01 08:00 - 2026-12-30 06:00", "more than a week"),
        ("wedn 02:00-03:00", "is expected"),
        ("sometimes", "is expected"),
        ("24/7", "is expected"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, word: str) -> None:
    """What was found, what was expected."""
    with pytest.raises(ValidationError, match=word) as caught:
        Windows([line], UTC)
    assert repr(line) in str(caught.value)
