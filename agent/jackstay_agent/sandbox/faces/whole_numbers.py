"""Whole numbers out of what a client sent: digits of this alphabet, and few enough of them; anything else is none."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[0-9]{1,18}")


def whole(text: str | None) -> int | None:
    """The number, or None."""
    return int(text) if text and _WHOLE.fullmatch(text) else None


def within(begin: str | None, end: str | None, at: int) -> bool:
    """Is this time in the span? A bound that is absent or no number is none."""
    first, last = whole(begin), whole(end)
    return (first is None or at >= first) and (last is None or at <= last)


def bounded(text: str | None, default: int, most: int) -> int:
    """A count from 1 to `most`; the default for anything else."""
    count = whole(text)
    return min(count, most) if count else default
