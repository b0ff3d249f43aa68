"""Directives that wait for the bot's code: each is handed over once and acknowledged afterwards.

The agent repeats a directive until it is acknowledged, on any socket of the session; this box takes the repetitions
out. One box per process, so it has a lock; it does no I/O: acknowledgements leave with those of late outcomes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from jackstay_protocols.messages import Directive as DirectiveNews

WAITING_MAX = 1_024  # what falls out is not acknowledged, so the agent brings it again
REMEMBERED_MAX = 4_096


class DirectiveBox:
    """``acks``: where the ids to acknowledge are collected (outcomes.py)."""

    def __init__(self, acks: OrderedDict[str, None]) -> None:
        self._lock = threading.Lock()
        self._acks = acks
        self._waiting: OrderedDict[str, DirectiveNews] = OrderedDict()
        self._handed_over: OrderedDict[str, None] = OrderedDict()
        self._nameless = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def arrived(self, news: DirectiveNews) -> None:
        """A repetition of one handed over is only acknowledged again; one without an id is never repeated."""
        with self._lock:
            if news.id in self._handed_over:
                self._acks[news.id] = None
                return
            self._nameless += not news.id
            self._waiting.setdefault(news.id or f" {self._nameless}", news)
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)

    def take(self) -> DirectiveNews | None:
        """Hand over the oldest; it is acknowledged with the next word to the agent."""
        with self._lock:
            if not self._waiting:
                return None
            _key, news = self._waiting.popitem(last=False)
            if news.id:
                self._handed_over[news.id] = None
                self._acks[news.id] = None
                if len(self._handed_over) > REMEMBERED_MAX:
                    self._handed_over.popitem(last=False)
            return news
