"""A watchdog's world for tests: a clock, real sessions, a kernel, a guard that writes down what it is told."""

from __future__ import annotations

from typing import Any

from jackstay_agent.core.liveness import Process, WatchSettings
from jackstay_agent.core.protection import HoldScope
from jackstay_agent.watchdog import Watchdog
from jackstay_protocols.session import BotSession, SilenceLease, excuse
from jackstay_protocols.types import OrderClass


class World:
    """A clock, some sessions, a kernel, and a guard that writes down what it is told to do."""

    def __init__(self, **settings: float) -> None:
        self.now = 1000.0
        self.sessions: list[BotSession] = []
        self.processes: dict[int, Process] = {}
        self.done: list[tuple[Any, ...]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.open: dict[OrderClass, int] = {}
        self.held_before: set[str] = set()
        self.dog = self.another(**settings)

    def another(self, **settings: float) -> Watchdog:
        return Watchdog(
            WatchSettings(**settings),
            sessions=lambda: self.sessions,
            probe=lambda pid: lambda: self.processes.get(pid, Process.RUNNING),
            guard=self,
            clock=lambda: self.now,
            wall=lambda: 1_800_000_000.0 + self.now,
            on_event=lambda name, fields: self.events.append((name, fields)),
        )

    def hold(self, bot_id: str, scope: HoldScope, why: str) -> None:
        self.done.append(("hold", bot_id, scope))

    def release(self, bot_id: str) -> None:
        self.done.append(("release", bot_id))

    def drop(self, bot_id: str, classes: frozenset[OrderClass], why: str) -> None:
        self.done.append(("drop", bot_id, *sorted(classes)))

    def holds(self, bot_id: str) -> bool:
        return bot_id in self.held_before

    def stop_cancelling(self, bot_id: str) -> None:
        self.done.append(("stop", bot_id))

    def cancel(self, bot_id: str, classes: frozenset[OrderClass], why: str, *, act: bool) -> None:
        self.done.append(("cancel" if act else "would cancel", bot_id, *sorted(classes)))

    def open_orders(self, bot_id: str) -> dict[OrderClass, int]:
        return dict(self.open)

    # ---- steps

    def bot(self, name: str = "b", pid: int = 42) -> BotSession:
        session = BotSession(name, pid, "primary", "t", SilenceLease(3.0, self.now), seen_pid=pid)
        self.sessions = [each for each in self.sessions if each.bot_id != name] + [session]
        self.dog.tick()
        return session

    def step(self, seconds: float) -> list[tuple[Any, ...]]:
        """Let time pass in the watchdog's own steps; what the guard was told meanwhile."""
        before = len(self.done)
        while seconds > 0:
            self.now += min(0.25, seconds)
            seconds -= 0.25
            self.dog.tick()
        return self.done[before:]

    def frozen(self, seconds: float, *, heard_first: bool = False) -> None:
        """The agent did not run for so long and notices it, as its pulse does; ``heard_first``: it read a word of each
        bot before it noticed.
        """
        self.now += seconds
        for session in self.sessions:
            if heard_first and session.goodbye is None:
                session.lease.heard(self.now)
            excuse(session, seconds, self.now)
        self.dog.excuse(seconds)
        self.dog.tick()

    def told(self, prefix: str = "bot.") -> list[str]:
        return [name for name, _fields in self.events if name.startswith(prefix)]
