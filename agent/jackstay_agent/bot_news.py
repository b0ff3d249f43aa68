"""A bot came, went or changed its state: what then is done at once instead of at the next turn of a clock.

A listener like any other; it hears events and calls what it was given. It refuses to know what that is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .telling import Listener

#: A session began or ended.
CAME_OR_WENT = frozenset({"bot.hello", "bot.takeover", "bot.goodbye"})
_OF_A_BOT = "bot."


class BotNews(Listener):
    """``then()`` for every event of a bot, or for those of ``names`` alone."""

    def __init__(self, then: Callable[[], None], names: frozenset[str] | None = None) -> None:
        self._then = then
        self._names = names

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name in self._names if self._names is not None else name.startswith(_OF_A_BOT):
            self._then()
