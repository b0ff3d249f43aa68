"""Late outcomes: each reaches the bot's code once, and is acknowledged only afterwards (DESIGN §3 rule 2).

The agent repeats an outcome until it is acknowledged, on any socket of the bot's session; this box takes the
repetitions out. All sockets of one process share one box, so it has a lock; it does no I/O.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from jackstay_protocols.errors import Outcome
from jackstay_protocols.limits import ACKS_PER_MESSAGE_MAX
from jackstay_protocols.messages import FILL_CAUSE, Message, OutcomeNews, Response

WAITING_MAX = 10_000  # uncollected outcomes kept; what falls out is not acknowledged, so the agent brings it again
REMEMBERED_MAX = 65_536  # ids of outcomes handed over; at one post a second this is most of a day
KEPT_MAX = 1_024  # handed-over outcomes that can be asked for again


class OutcomeBox:
    """Arrived, handed over, to be acknowledged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, OutcomeNews] = OrderedDict()
        self._fills: OrderedDict[str, OutcomeNews] = OrderedDict()
        self._handed_over: OrderedDict[str, None] = OrderedDict()
        # apart: a day of many fills must not push out what is known of outcomes
        self._handed_over_fills: OrderedDict[str, None] = OrderedDict()
        self._kept: OrderedDict[str, OutcomeNews] = OrderedDict()
        self.acks: OrderedDict[str, None] = OrderedDict()

    def arrived(self, news: OutcomeNews) -> bool:
        """True when this is news; a repetition of one handed over is only acknowledged again."""
        with self._lock:
            is_fill = news.cause == FILL_CAUSE
            if news.intent in (self._handed_over_fills if is_fill else self._handed_over):
                self.acks[news.intent] = None
                return False
            kept = self._fills if is_fill else self._waiting
            if news.intent in kept:
                return False
            kept[news.intent] = news
            if len(kept) > WAITING_MAX:
                kept.popitem(last=False)
            return True

    def heard(self, answer: Message) -> None:
        """A call returns its outcome itself: acknowledged, and never told as news again; unless still unknown."""
        if type(answer) is not Response or not answer.intent or answer.outcome is Outcome.UNKNOWN:
            return
        with self._lock:
            self._waiting.pop(answer.intent, None)
            self._told(self._handed_over, answer.intent)

    @property
    def waiting(self) -> int:
        """How many outcomes nobody has collected yet."""
        return len(self._waiting)

    def has(self, intent: str) -> bool:
        """True when `take` would find something."""
        return intent in self._waiting or intent in self._kept

    def take(self, intent: str) -> OutcomeNews | None:
        """Hand over the outcome of one request, again if it was handed over lately."""
        with self._lock:
            news = self._waiting.pop(intent, None)
            if news is None:
                return self._kept.get(intent)
            self._hand_over(news)
            return news

    def take_next(self) -> OutcomeNews | None:
        """Hand over the oldest outcome that nobody collected."""
        with self._lock:
            if not self._waiting:
                return None
            _, news = self._waiting.popitem(last=False)
            self._hand_over(news)
            return news

    @property
    def fills_waiting(self) -> int:
        """How many fills nobody has collected yet."""
        return len(self._fills)

    def take_fill(self) -> OutcomeNews | None:
        """Hand over the oldest fill that the bot's own traffic did not show."""
        with self._lock:
            if not self._fills:
                return None
            intent, news = self._fills.popitem(last=False)
            self._told(self._handed_over_fills, intent)
            return news

    def acks_due(self) -> list[str]:
        """Takes out the ids to acknowledge in one message."""
        with self._lock:
            due: list[str] = []
            while self.acks and len(due) < ACKS_PER_MESSAGE_MAX:
                due.append(self.acks.popitem(last=False)[0])
            return due

    def _hand_over(self, news: OutcomeNews) -> None:
        self._told(self._handed_over, news.intent)
        self._kept[news.intent] = news
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def _told(self, memory: OrderedDict[str, None], intent: str) -> None:
        memory[intent] = None
        self.acks[intent] = None
        if len(memory) > REMEMBERED_MAX:
            memory.popitem(last=False)
