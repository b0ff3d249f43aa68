"""Rate budgets that all agents of a host share, in the running agent (section ``[budgets]``).

All agents of a host have its address, so a venue's budget per address is one budget. `budgets.py` leases parts of it
from the host's book in the background; this file gives that its place on the loop: it looks after it when a request has
to wait, when the book has answered, and at the instant it names. Off by default: alone on a host there is nobody to
share with, and a venue's headers tell of others too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_protocols.errors import ValidationError

from .budget_settings import BudgetSettings
from .budgets import SharedBudgets
from .core.event_sink import EventSink
from .core.rate_lease import Leased


class UpstreamBudgets:
    """The shared budgets of one upstream, as its judgement sees them."""

    def __init__(self, host: HostBudgets, origin: str) -> None:
        self._host = host
        self._origin = origin

    def share(self, name: str, budget: Leased) -> None:
        self._host.shared.share(self._name(name), budget)

    def correct(self, name: str, used: float) -> None:
        """The venue's own count, from a header."""
        self._host.shared.correct(self._name(name), used)

    def look(self) -> None:
        """A request has to wait: ask the book now."""
        self._host.look()

    def _name(self, name: str) -> str:
        return f"{self._origin} {name}"


class HostBudgets:
    """One agent's part in them. Does nothing at all unless ``shared``."""

    def __init__(
        self,
        settings: BudgetSettings,
        *,
        agent: str,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        on_event: EventSink,
    ) -> None:
        self._settings = settings
        self._agent = agent
        self._clock = clock
        self._loop = loop
        self._on_event = on_event
        self._timer: asyncio.TimerHandle | None = None
        self._degraded: str | None = None
        self._opened = False
        self.path = Path(settings.file) if settings.file else None
        self.shared: SharedBudgets

    def for_upstream(self, origin: str) -> UpstreamBudgets | None:
        return UpstreamBudgets(self, origin) if self._opened else None

    def open(self, folder: Path) -> None:
        """``folder``: where all agents have theirs. Raises ValidationError where the book's folder cannot be had."""
        if not self._settings.shared:
            return
        path = self.path or folder / ".host" / "budgets.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ValidationError(
                f"[budgets] file {path}: its folder cannot be made ({error}); name one that all agents may write"
            ) from None
        self.path = path
        self.shared = SharedBudgets(path, agent=self._agent, clock=self._clock, wake=self._woken)
        self.shared.start()
        self._opened = True
        self.look()

    def look(self) -> None:
        """Hand answers over, order what is needed, come back when there is something to do."""
        if not self._opened:
            return
        next_at = self.shared.tick()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.001, next_at - self._clock()), self.look)
        if self.shared.degraded != self._degraded:
            self._degraded = self.shared.degraded
            name = "budgets.shared_again" if self._degraded is None else "budgets.degraded"
            self._on_event(name, {"file": str(self.path), "why": self._degraded})

    def _woken(self) -> None:
        """On the worker's thread: the book has answered."""
        try:
            self._loop.call_soon_threadsafe(self.look)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def close(self) -> None:
        """What is not spent goes back to the others at once."""
        if not self._opened:
            return
        self._opened = False
        if self._timer is not None:
            self._timer.cancel()
        self.shared.stop()

    def status(self) -> dict[str, Any] | None:
        """For `jackstay limits`; None where nothing is shared."""
        if not self._opened:
            return None
        return {"file": str(self.path), "degraded": self.shared.degraded}
