"""How long to wait before the next try: the curve, the spread, and the server's word.

Pure arithmetic: the attempt number and a chance in [0, 1) come in, seconds go out. Nothing is remembered here, so two
concurrent calls cannot disturb each other's curve (a shared backoff iterator does: measured in a Python peer). The
spread is kept at the cap: clamping *after* jitter would make every waiting caller come back at the same instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from .bounds import LONGEST_S, check_choice, check_number

#: A server's instant is never undercut; up to this share is added on top, so that not everybody returns at once.
SERVER_SPREAD = 0.1
#: uvloop may wake a millisecond early; a not-before instant gets at least this much more.
SERVER_MARGIN_S = 0.005

CURVES = ("exponential", "linear", "constant", "decorrelated")
JITTERS = ("full", "quarter", "none")


@dataclass(frozen=True, slots=True)
class Backoff:
    """A curve: ``base_s`` for the first wait, never above ``cap_s``, spread included."""

    curve: str = "exponential"
    base_s: float = 0.2
    factor: float = 2.0  # exponential only
    cap_s: float = 10.0
    jitter: str = "full"  # full: anything in [0, delay); quarter: delay x [0.75, 1); none

    def __post_init__(self) -> None:
        check_choice("Backoff", "curve", self.curve, CURVES)
        check_number("Backoff", "base_s", self.base_s, 0.0, LONGEST_S, above_low=True)
        check_number("Backoff", "factor", self.factor, 1.0, 100.0)
        check_number("Backoff", "cap_s", self.cap_s, self.base_s, LONGEST_S)
        check_choice("Backoff", "jitter", self.jitter, JITTERS)

    def ceiling_s(self, attempt: int) -> float:
        """The curve itself, without chance, for the wait after the ``attempt``-th try (1 is the first)."""
        if self.curve == "exponential":
            try:
                return min(self.cap_s, self.base_s * self.factor ** (attempt - 1))
            except OverflowError:
                return self.cap_s
        if self.curve == "linear":
            return min(self.cap_s, self.base_s * attempt)
        return self.base_s

    def delay_s(self, attempt: int, chance: float, previous_s: float | None = None) -> float:
        """Seconds to wait after the ``attempt``-th try; ``previous_s``: the wait before it (decorrelated needs it)."""
        if self.curve == "decorrelated":
            # The upper end is capped before the draw, so the spread lives on at the cap.
            upper = min(self.cap_s, 3.0 * (previous_s if previous_s is not None else self.base_s))
            return self.base_s + chance * max(0.0, upper - self.base_s)
        ceiling_s = self.ceiling_s(attempt)
        if self.jitter == "full":
            return ceiling_s * chance
        if self.jitter == "quarter":
            return ceiling_s * (0.75 + 0.25 * chance)
        return ceiling_s


def obey_server_s(computed_s: float, retry_after_s: float | None, chance: float) -> float:
    """The larger of our delay and the server's, the server's with a spread upward only: never earlier than told.

    A retry_after that is no finite positive number is no word at all.
    """
    if retry_after_s is None or not isfinite(retry_after_s) or retry_after_s <= 0.0:
        return computed_s
    told_s = retry_after_s + SERVER_MARGIN_S + retry_after_s * SERVER_SPREAD * chance
    return max(computed_s, told_s)
