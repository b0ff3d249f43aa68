"""What the service manager is told: ready, how it goes, that we live, and that we leave (sd_notify(3)).

The watchdog ping is sent by the agent's own loop, and only for a round in which everything that makes an agent useful
moved: its doors answered a knock (gateway/knock.py), its pulses beat, its outbox thread took a piece of work. A thread
that pings while the loop hangs would keep a dead agent "running"; a ping from a loop whose doors are deaf, too. Rounds
are counted, not seconds: a suspended machine, or a night without a single request, changes nothing.

Refuses to know systemd's sockets (notify.py) and what the agent consists of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from .core.event_sink import EventSink
from .gateway.knock import Knocking

ROUNDS_PER_WATCHDOG = 4  # a ping may be missed three times
SLOW_ROUNDS = 12  # three watchdog times: a disk that hangs for a moment is no reason to lose the agent too
FIRST_ROUND_S = 0.5
STATUS_EVERY_S = 1.0
EXTEND_EVERY_S = 1.0
EXTEND_BY_S = 10.0  # asked for again and again while a stop goes on; ends by itself when the loop hangs
STATUS_CHARS_MAX = 200

Say = Callable[[str], bool]


def watchdog_s(env: Mapping[str, str], pid: int) -> float:
    """The service manager's watchdog time in seconds; 0: none is wanted of this process."""
    if env.get("WATCHDOG_PID") not in (None, str(pid)):
        return 0.0
    try:
        return max(0.0, int(env.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0


class Lifeline:
    """One agent's word to its supervisor. Everything is called on the agent's loop."""

    def __init__(
        self,
        *,
        say: Say,
        call_later: Callable[[float, Callable[[], None]], Any],
        summary: Callable[[], str],
        on_event: EventSink,
        knocks: Mapping[str, Knocking],
        pulses: Callable[[], Mapping[str, object]],
        hand_work: Callable[[Callable[[], None]], None],
        watchdog_s: float,
    ) -> None:
        self._say = say
        self._call_later = call_later
        self._summary = summary
        self._on_event = on_event
        self._knocks = dict(knocks)
        self._pulses = pulses
        self._hand_work = hand_work
        self._watchdog_s = watchdog_s
        self._seen: Mapping[str, object] = {}
        self._unanswered: set[str] = set()
        self._work_waits = 0  # rounds the outbox thread has not answered
        self._work_out = False
        self._withheld = False
        self._told = ""
        self._timers: dict[str, Any] = {}
        self._leaving = False

    # ------------------------------------------------------------ ready, and how it goes

    def ready(self) -> None:
        """Sockets bound, outbox recovered. Begins the rounds if there is a watchdog."""
        self._told = self._text()
        self._say(f"READY=1\nSTATUS={self._told}")
        self._after("status", STATUS_EVERY_S, self._tell_status)
        if self._watchdog_s:
            # an earlier program of this process may have asked for more (handover.py)
            self._say(f"WATCHDOG_USEC={int(self._watchdog_s * 1e6)}\nWATCHDOG=1")
            self._after("round", min(FIRST_ROUND_S, self._watchdog_s / ROUNDS_PER_WATCHDOG), self._first_round)

    def _first_round(self) -> None:
        """Not at once: our own sockets have to be connected."""
        self._begin_round()
        self._after("round", self._watchdog_s / ROUNDS_PER_WATCHDOG, self._round)

    def _text(self) -> str:
        return self._summary()[:STATUS_CHARS_MAX].replace("\n", " ")

    def _tell_status(self) -> None:
        text = self._text()
        if text != self._told:
            self._told = text
            self._say(f"STATUS={text}")
        self._after("status", STATUS_EVERY_S, self._tell_status)

    # ------------------------------------------------------------ the watchdog

    def _round(self) -> None:
        missing = self.missing()
        if not missing:
            self._say("WATCHDOG=1")
            if self._withheld:
                self._withheld = False
                self._on_event("lifeline.turning", {})
        elif not self._withheld:
            # said before the kill, so that the journal holds the reason
            self._withheld = True
            self._on_event("lifeline.withheld", {"silent": missing, "killed_after_s": self._watchdog_s})
        self._begin_round()
        self._after("round", self._watchdog_s / ROUNDS_PER_WATCHDOG, self._round)

    def _begin_round(self) -> None:
        self._seen = dict(self._pulses())
        self._unanswered = set(self._knocks)
        for knock in self._knocks.values():
            knock.knock()
        if self._work_out:
            self._work_waits += 1
            return
        self._work_out, self._work_waits = True, 0
        self._hand_work(self._work_done)

    def _work_done(self) -> None:
        self._work_out = False

    def missing(self) -> list[str]:
        """What did not move since the round began; empty: all of it did."""
        for name in list(self._unanswered):
            if self._knocks[name].answered():
                self._unanswered.discard(name)
        now = self._pulses()
        still = [name for name, value in self._seen.items() if now.get(name) == value]
        thread = ["outbox thread"] if self._work_out and self._work_waits >= SLOW_ROUNDS else []
        return sorted(self._unanswered) + still + thread

    # ------------------------------------------------------------ leaving

    def extend(self, seconds: float, why: str) -> None:
        """A step of the start or the stop may take this long."""
        self._say(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nSTATUS={why}")

    def leaving(self, why: str, *, stopping: bool = True) -> None:
        """From here to `close` the stop's time is extended again and again, as long as the loop turns.

        ``stopping`` False: this process goes on as another program, which is a reload to the service manager.
        """
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._leaving = True
        self._say(f"STOPPING=1\nSTATUS={why}" if stopping else f"RELOADING=1\nSTATUS={why}")
        self._keep_leaving()

    def _keep_leaving(self) -> None:
        self._say(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY_S * 1e6)}\nWATCHDOG=1")
        self._after("leave", EXTEND_EVERY_S, self._keep_leaving)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for knock in self._knocks.values():
            knock.close()

    def _after(self, name: str, delay_s: float, work: Callable[[], None]) -> None:
        self._timers[name] = self._call_later(delay_s, work)


def own_env_watchdog_s() -> float:
    return watchdog_s(os.environ, os.getpid())
