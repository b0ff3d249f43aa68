"""When a market is open: sessions in the market's own time, with holidays and special days (DESIGN §5 Protection).

Outside its hours a market's silence means nothing: no staleness, no progress is expected, and dialling is slow. A
market without hours is always open; this file knows only those that have some. A session is written as people do:

    mon-fri 09:30-16:00        each of these days; a close at or before the open is on the next day
    sun 17:00-fri 17:00        one long span, as currencies trade

A holiday is a local date without trading. A special day, ``2026-11-27 09:30-13:00``, has this session instead of its
usual ones; several lines of one date are several sessions. What began on the eve of a holiday ends at its midnight.

Pure: instants are Unix seconds and the zone is an argument, so summer time is the zone's knowledge. On the night of a
change a local time that does not exist stands for the instant an hour later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

from jackstay_protocols.errors import ValidationError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
LOOK_AHEAD_DAYS = 40  # longer than any market rests; beyond it "no change" is the answer

_TIME = r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)"
_DAILY = re.compile(rf"(\w{{3}})(?:-(\w{{3}}))?\s+({_TIME})-({_TIME})\Z")
_SPAN = re.compile(rf"(\w{{3}})\s+({_TIME})-(\w{{3}})\s+({_TIME})\Z")
_SPECIAL = re.compile(rf"(\d{{4}}-\d\d-\d\d)\s+({_TIME})-({_TIME})\Z")


class Hours:
    """A market's calendar. Raises ValidationError for a line that cannot be read, naming it."""

    __slots__ = ("_edges", "_holidays", "_spans", "_special", "zone")

    def __init__(
        self, sessions: Iterable[str], zone: tzinfo, *, holidays: Iterable[str] = (), special: Iterable[str] = ()
    ) -> None:
        self.zone = zone
        self._spans = [span for line in sessions for span in _spans_of(line)]
        if not self._spans:
            raise ValidationError("sessions is empty; at least one line like 'mon-fri 09:30-16:00' is expected")
        self._holidays = frozenset(_date_of(text) for text in holidays)
        self._special: dict[date, list[tuple[int, int]]] = {}
        for line in special:
            day, span = _special_of(line)
            self._special.setdefault(day, []).append(span)
        #: Local times of day at which something may change; midnight, because holidays begin and end there.
        self._edges = sorted({0} | {at % DAY_MIN for span in self._spans for at in span})

    def open_at(self, now_s: float) -> bool:
        """Is the market open at this instant?"""
        local = datetime.fromtimestamp(now_s, self.zone)
        day, minute = local.date(), local.hour * 60 + local.minute
        if day in self._special:
            return any(start <= minute < end for start, end in self._special[day])
        if day in self._holidays:
            return False
        at = local.weekday() * DAY_MIN + minute
        return any(start <= at < end or start <= at + WEEK_MIN < end for start, end in self._spans)

    def next_change(self, now_s: float) -> float | None:
        """The next instant at which it opens or closes; None when there is none within `LOOK_AHEAD_DAYS`."""
        is_open = self.open_at(now_s)
        today = datetime.fromtimestamp(now_s, self.zone).date()
        for ahead in range(-1, LOOK_AHEAD_DAYS):
            day = today + timedelta(days=ahead)
            own = {at for span in self._special.get(day, ()) for at in span}
            for minute in sorted(own.union(self._edges)):
                at_s = _instant(day, minute, self.zone)
                if at_s > now_s and self.open_at(at_s) is not is_open:
                    return at_s
        return None


def _instant(day: date, minute: int, zone: tzinfo) -> float:
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)  # wall arithmetic
    return local.astimezone(UTC).timestamp()


def _spans_of(line: str) -> list[tuple[int, int]]:
    """(start, end) in minutes of the week; the end may lie in the next one."""
    text = line.strip().lower()
    if text == "24/7":
        return [(0, WEEK_MIN)]
    span = _SPAN.match(text)
    if span is not None:
        start = _day(span[1], line) * DAY_MIN + _minutes(span[2])
        end = _day(span[7], line) * DAY_MIN + _minutes(span[8])
        return [(start, end if end > start else end + WEEK_MIN)]
    daily = _DAILY.match(text)
    if daily is None:
        raise ValidationError(
            f"session {line!r}; 'mon-fri 09:30-16:00', 'sun 17:00-fri 17:00' or '24/7' is expected, times as HH:MM"
        )
    first = _day(daily[1], line)
    last = _day(daily[2], line) if daily[2] else first
    opens, closes = _minutes(daily[3]), _minutes(daily[8])
    if closes <= opens:
        closes += DAY_MIN
    days = range(first, last + 1 if last >= first else last + 8)
    return [(day % 7 * DAY_MIN + opens, day % 7 * DAY_MIN + closes) for day in days]


def _special_of(line: str) -> tuple[date, tuple[int, int]]:
    found = _SPECIAL.match(line.strip())
    if found is None:
        raise ValidationError(f"special day {line!r}; '2026-11-27 09:30-13:00' is expected")
    opens, closes = _minutes(found[2]), _minutes(found[7])
    if closes <= opens:
        raise ValidationError(
            f"special day {line!r} closes before it opens; write what is after midnight as its own day"
        )
    return _date_of(found[1]), (opens, closes)


def _date_of(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValidationError(f"date {text!r}; YYYY-MM-DD is expected") from None


def _day(word: str, line: str) -> int:
    if word not in DAYS:
        raise ValidationError(f"session {line!r}: day {word!r}; one of {', '.join(DAYS)} is expected")
    return DAYS.index(word)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)
