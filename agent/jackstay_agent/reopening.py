"""What comes first when a venue opens again after maintenance (DESIGN §5 Protection, Modes).

While it was closed, a stalled bot's orders could not be cancelled and outcomes stayed unknown. So before anyone may
place anything: what the armed preset wants cancelled of bots that are not well is cancelled, and the venue shows it;
then bots with unknown orders get the barrier; then requests begin slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from jackstay_protocols.session import BotSession

from .barrier import Barrier
from .guardian import Guardian
from .upstreams import Upstreams

CLEAR_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05


class Reopening:
    """``sessions()``: the bots of all doors."""

    def __init__(
        self,
        guardian: Guardian,
        barrier: Barrier,
        upstreams: Upstreams,
        sessions: Callable[[], list[BotSession]],
        clock: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._guardian = guardian
        self._barrier = barrier
        self._upstreams = upstreams
        self._sessions = sessions
        self._clock = clock
        self._on_event = on_event

    async def cancel_for_stalled(self, venue: str) -> list[str]:
        """Bots of which something is still open there when the time for it is over; nothing: all is done."""
        waited = self._guardian.look_now()
        until = self._clock() + CLEAR_WITHIN_S
        while left := [bot for bot in waited if not self._guardian.is_clear(bot, venue)]:
            if self._clock() >= until:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        if waited:
            self._on_event("maintenance.stalled_first", {"venue": venue, "bots": waited, "not_done": left})
        return left

    def barrier(self, venue: str) -> bool:
        """True: at least one bot has unknown orders and waits for them."""
        raised = [
            self._barrier.raise_for(each.bot_id, f"{venue} was in maintenance", venue) for each in self._sessions()
        ]
        return any(raised)

    def ramp(self, venue: str) -> None:
        for upstream in self._upstreams:
            if upstream.profile.name == venue:
                upstream.judgement.begin_slowly()
