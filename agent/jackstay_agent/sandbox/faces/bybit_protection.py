"""Bybit's disconnection protection: when the last private connection of an account that subscribed `dcp.*` is gone,
a time runs; if none comes back before its end, the product's orders are cancelled. A timer alone never fires it.
"""

from __future__ import annotations

WINDOW_DEFAULT_S = 10


class Protection:
    """Windows, connections and running times by (account, category). Times are milliseconds, given."""

    def __init__(self) -> None:
        self._windows_s: dict[tuple[str, str], int] = {}
        self._there: dict[tuple[str, str], set[object]] = {}
        self._running: dict[tuple[str, str], int] = {}

    def clear(self) -> None:
        """The connections stay."""
        self._windows_s.clear()
        self._running.clear()

    def set_window(self, account: str, category: str, window_s: int) -> None:
        self._windows_s[account, category] = window_s

    def window_s(self, account: str, category: str) -> int:
        return self._windows_s.get((account, category), WINDOW_DEFAULT_S)

    def joined(self, account: str, category: str, connection: object) -> None:
        """A connection subscribed the product's `dcp` topic: no time runs any more."""
        self._there.setdefault((account, category), set()).add(connection)
        self._running.pop((account, category), None)

    def left(self, connection: object, now: int) -> None:
        """A connection is gone, or subscribed no longer."""
        for name, there in self._there.items():
            if connection in there:
                there.discard(connection)
                if not there and name in self._windows_s:
                    self._running[name] = now + self._windows_s[name] * 1000

    def hasten(self, now: int) -> int:
        """A fault: whatever is protected is taken for disconnected, and its time is over now."""
        self._running = dict.fromkeys(self._windows_s, now)
        return len(self._running)

    def due(self, now: int) -> list[tuple[str, str]]:
        """Which products' orders die now; each once."""
        fired = [name for name, at in self._running.items() if at <= now]
        for name in fired:
            del self._running[name]
        return fired
