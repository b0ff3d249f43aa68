"""When a venue said that it will be closed for maintenance: known windows, in the zone in which they were announced.

A window is written as people do:

    wed 02:00-02:30                       every week
    2026-12-01 06:00-08:00                that day
    2026-12-01 22:00 - 2026-12-02 02:00   from one day into another

Pure: instants are Unix seconds and the zone is an argument. Weekly lines are those of trading hours (hours.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo

from jackstay_protocols.errors import ValidationError

from .hours import Hours

SPAN_S_MAX = 7 * 86_400.0  # a longer one is a slip of the pen

_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_DAY = r"\d{4}-\d\d-\d\d"
_ONE_DAY = re.compile(rf"(?P<day>{_DAY})\s+(?P<start>{_TIME})\s*-\s*(?P<end>{_TIME}|24:00)\Z")
_DAYS = re.compile(rf"(?P<day>{_DAY})\s+(?P<start>{_TIME})\s*-\s*(?P<last>{_DAY})\s+(?P<end>{_TIME})\Z")


class Windows:
    """A venue's maintenance calendar. Raises ValidationError for a line that cannot be read, naming it."""

    __slots__ = ("_dated", "_weekly")

    def __init__(self, lines: Iterable[str], zone: tzinfo) -> None:
        dated, weekly = [], []
        for line in lines:
            text = " ".join(line.lower().split())
            if text[:1].isdigit():
                dated.append(_dated(line, text, zone))
            else:
                weekly.append(_weekly(line, text, zone))
        self._dated = sorted(dated)
        self._weekly = Hours(weekly, zone) if weekly else None
        if self._weekly is not None and self._weekly.next_change(0.0) is None:
            raise ValidationError(f"{', '.join(weekly)} leave no time to be open; when the venue is closed is expected")

    def ends_at(self, now_s: float) -> float | None:
        """The end of the window that this instant is in; None: in none."""
        ends = [end for start, end in self._dated if start <= now_s < end]
        if self._weekly is not None and self._weekly.open_at(now_s):
            ends.append(self._weekly.next_change(now_s) or now_s + SPAN_S_MAX)
        return max(ends, default=None)

    def next_start(self, now_s: float) -> float | None:
        """The beginning of the next window; None: no more is known."""
        starts = [start for start, _end in self._dated if start > now_s]
        if self._weekly is not None:
            at_s = self._weekly.next_change(now_s)
            if at_s is not None and not self._weekly.open_at(at_s):
                at_s = self._weekly.next_change(at_s)
            starts += [] if at_s is None else [at_s]
        return min(starts, default=None)


def _weekly(line: str, text: str, zone: tzinfo) -> str:
    try:
        Hours([text], zone)
    except ValidationError:
        raise _unreadable(line) from None
    return text


def _unreadable(line: str) -> ValidationError:
    return ValidationError(
        f"window {line!r}; 'wed 02:00-02:30', '2026-12-01 06:00-08:00' or '2026-12-01 22:00 - 2026-12-02 02:00' is"
        " expected, times as HH:MM"
    )


def _dated(line: str, text: str, zone: tzinfo) -> tuple[float, float]:
    found = _ONE_DAY.match(text) or _DAYS.match(text)
    if found is None:
        raise _unreadable(line)
    last = found.groupdict().get("last") or found["day"]
    start = _instant(line, found["day"], found["start"], zone)
    end = _instant(line, last, found["end"], zone)
    if not 0.0 < end - start <= SPAN_S_MAX:
        raise ValidationError(
            f"window {line!r} ends {'before it begins' if end <= start else 'more than a week after it begins'}; write"
            " both days where it goes past midnight"
        )
    return start, end


def _instant(line: str, day: str, time: str, zone: tzinfo) -> float:
    try:
        whole = datetime.fromisoformat(f"{day} {'00:00' if time == '24:00' else time}")
    except ValueError:
        raise ValidationError(f"window {line!r}: there is no day {day}; YYYY-MM-DD is expected") from None
    return whole.replace(tzinfo=zone).timestamp() + (86_400.0 if time == "24:00" else 0.0)
