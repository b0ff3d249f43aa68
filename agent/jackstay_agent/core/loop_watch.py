"""Loops told apart from bad luck: the same order refused for the same reason, the same cancel refused, in a row.

Only counts and names; stopping a loop is core/loop_stop. An accepted order of the same owner ends its runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

KEYS_MAX = 4096


class LoopWatch:
    """Runs of equal refusals. ``repeats``: from then on it is a loop."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self._runs: OrderedDict[tuple[str, Hashable, str], int] = OrderedDict()

    def refused(self, owner: str, what: Hashable, reason: str) -> int:
        """How often in a row, if that is a loop already; 0 otherwise."""
        key = (owner, what, reason)
        count = self._runs.pop(key, 0) + 1
        self._runs[key] = count
        if len(self._runs) > KEYS_MAX:
            self._runs.popitem(last=False)
        return count if count >= self.repeats else 0

    def accepted(self, owner: str) -> None:
        if self._runs:
            for key in [each for each in self._runs if each[0] == owner]:
                del self._runs[key]
