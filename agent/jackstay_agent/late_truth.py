"""The truth that came after the call had ended: who asks again with an equal order gets it, instead of a second order.

A bot that was told "unknown" may wait a while and then place the same order anew. Rule 1 guards it only as long as the
first is unknown; once the venue has shown it, the second would be a twin. So until the bot's code has the outcome, an
equal order of the same bot is answered with it, once, within the window in which a repeated key would be, too.
"""

from __future__ import annotations

from collections import OrderedDict

from .core.equality import Canon, fingerprint
from .outbox import Intent

KEPT_MAX = 1_024

Key = tuple[str, str, Canon]


def key_of(intent: Intent) -> Key:
    return intent.bot_id, intent.venue, fingerprint(intent.fields)


class LateTruths:
    """Settled intents whose call had been answered "unknown"."""

    def __init__(self) -> None:
        self._found: OrderedDict[Key, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def note(self, intent: Intent, seq: int, until: float) -> None:
        self._found[key_of(intent)] = (seq, until)
        if len(self._found) > KEPT_MAX:
            self._found.popitem(last=False)

    def holds(self, intent: Intent, now: float) -> bool:
        """Whether `take` would give one."""
        return now < self._found.get(key_of(intent), (0, 0.0))[1]

    def take(self, intent: Intent, now: float) -> int | None:
        """The number of the settled one that an equal order would repeat; told once."""
        seq, until = self._found.pop(key_of(intent), (None, 0.0))
        return seq if now < until else None
