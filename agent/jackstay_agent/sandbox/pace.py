"""Limits per endpoint and account, as OKX and Bybit count them: so many requests in a window that begins anew."""

from __future__ import annotations

from dataclasses import dataclass

from .weights import Window

WINDOWS_KEPT_MAX = 10_000


@dataclass(slots=True, frozen=True)
class Allowance:
    """At most `most` requests in `window_ms`."""

    most: int
    window_ms: int


@dataclass(slots=True, frozen=True)
class Count:
    """How the window stands after a request: `left` is never below zero; `ends_at` in milliseconds."""

    allowed: bool
    left: int
    most: int
    ends_at: int


class Pace:
    """Counts by any name; `enforced` off lets everything pass and still counts."""

    def __init__(self, *, enforced: bool) -> None:
        self.enforced = enforced
        self._windows: dict[tuple[str, ...], Window] = {}

    def reset(self) -> None:
        self._windows.clear()

    def count(self, name: tuple[str, ...], allowance: Allowance, now: int, amount: int = 1) -> Count:
        """One request (of so many orders) more. What is refused has been counted all the same."""
        window = self._windows.get(name)
        if window is None:
            if len(self._windows) >= WINDOWS_KEPT_MAX:
                del self._windows[next(iter(self._windows))]
            window = self._windows[name] = Window(allowance.window_ms)
        used = window.add(now, amount)
        left = max(allowance.most - used, 0)
        return Count(
            not self.enforced or used <= allowance.most, left, allowance.most, window.opened_at + window.length_ms
        )
