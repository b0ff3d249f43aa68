"""The pulse of what is due: quick while something is open, slow while nothing is.

Outbox, resolver, queue and news are looked at every 20 ms while there is something to look at: outcomes to be written,
questions to be asked, lines to be proved. An agent at rest has nothing of it, and fifty wake-ups a second for nothing
were four fifths of what it cost; then it is looked at about as often as the agent's own tick comes, for checkpoints and
for news that is told again. What is written down brings the next look forward.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Sequence

QUICK_S = 0.02
SLOW_S = 0.2
TICK_S = 0.25  # the agent's own: bots, switches, what time alone brings about


class Pulse:
    """``looks`` are called in their order; ``at_rest`` says whether nothing can be due before `stir` is called."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], TimerHandle],
        looks: Sequence[Callable[[], None]],
        *,
        at_rest: Callable[[], bool],
    ) -> None:
        self.beats = 0
        self._call_later = call_later
        self._looks = looks
        self._at_rest = at_rest
        self._slow = False
        self._timer: TimerHandle | None = None

    def beat(self) -> None:
        """Look now, and from here on."""
        self.beats += 1
        for look in self._looks:
            look()
        self._slow = self._at_rest()
        self._timer = self._call_later(SLOW_S if self._slow else QUICK_S, self.beat)

    def stir(self) -> None:
        """There is something to look at again."""
        if self._slow:
            self._slow = False
            self.stop()
            self._timer = self._call_later(QUICK_S, self.beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
