"""When does the venue want us back? Reads Retry-After and its venue-shaped relatives, and doubts all of them.

Decides nothing; gives seconds from now, or None when the word is no word (negative, garbage, no date). What is absurdly
far is cut at three days, the longest ban Binance documents. Absolute instants are wall time, so the caller's wall clock
is an argument; without it they are no word.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

RETRY_AFTER_CAP_S: Final = 3 * 86_400.0

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# RFC 9110 5.6.7: IMF-fixdate, and the two obsolete forms a recipient must still read.
_IMF = re.compile(r"^[a-z]{3}, (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) gmt$")
_RFC850 = re.compile(r"^[a-z]{6,9}, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$")
_ASCTIME = re.compile(r"^[a-z]{3} ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$")
_NUMBER = re.compile(r"^\d{1,18}(\.\d{1,9})?$")


def read_instant(value: bytes | str, unit: str, wall_now_s: float | None) -> float | None:
    """Seconds from now until the instant a venue names. ``unit``: s (seconds from now, or an HTTP date), ms, unix_s,
    unix_ms (absolute). None if it cannot be understood, lies in the past or needs a wall clock that was not given.
    """
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip()
    if not _NUMBER.match(text):
        if unit != "s" or wall_now_s is None:
            return None
        instant_s = http_date_s(text)
        return None if instant_s is None else _bounded(instant_s - wall_now_s)
    number = float(text)
    if unit in ("ms", "unix_ms"):
        number /= 1000.0
    if unit in ("s", "ms"):
        return _bounded(number)
    return None if wall_now_s is None else _bounded(number - wall_now_s)


def _bounded(delay_s: float) -> float | None:
    if not isfinite(delay_s) or delay_s < 0.0:
        return None
    return min(delay_s, RETRY_AFTER_CAP_S)


def http_date_s(text: str) -> float | None:
    """Unix seconds of an HTTP date in any of its three forms, or None."""
    low = text.lower()
    if found := _IMF.match(low):
        day, month, year, *clock = found.groups()
    elif found := _RFC850.match(low):
        day, month, year, *clock = found.groups()
        year = str(2000 + int(year))  # only instants around now make sense here
    elif found := _ASCTIME.match(low):
        month, day, *clock, year = found.groups()
    else:
        return None
    if month not in _MONTHS:
        return None
    hour, minute, second = (int(part) for part in clock)
    try:
        # A leap second (60) is written as the last second plus one.
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, tzinfo=UTC)
        return (at + timedelta(seconds=min(second, 60))).timestamp()
    except (ValueError, OverflowError):
        return None
