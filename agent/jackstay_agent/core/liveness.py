"""Is the bot well? The lease, the process and the operator's word, weighed into one state (DESIGN §5 Protection).

The lease decides; facts of the process say why, and tell a dead bot from a silent one. They never shorten a lease: a
process that is stopped or traced may be stopped by a person, and what the operator armed is a length of *silence*.
A process that is gone gets a restart grace in which it only counts as late, however short its lease is: a supervisor
that brings it back within seconds shall find its orders where they were.

Refuses to know what is done about a state (protection.py) and where the facts come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jackstay_protocols.messages import Goodbye
from jackstay_protocols.session import Liveness, SilenceLease

from .bounds import LONGEST_S, check_number

HOLD_S_MAX: Final = 2 * 3600.0  # DESIGN §5: a hold is a pause for a person's work, not a mode of operation


class BotState(StrEnum):
    """What one bot is, as protection sees it."""

    WELL = "well"
    LATE = "late"
    STALLED = "stalled"
    DEAD = "dead"
    LEFT = "left"  # said goodbye, and is not overdue
    HELD = "held"  # an operator's word: nothing is cancelled


class Process(StrEnum):
    """What the kernel says of the bot's process. INVISIBLE: another pid namespace, so only its words count."""

    RUNNING = "running"
    STOPPED = "stopped"
    TRACED = "traced"
    ZOMBIE = "zombie"
    GONE = "gone"
    REUSED = "reused"  # the pid lives, started after the bot said hello: another program's
    INVISIBLE = "invisible"


_ENDED: Final = frozenset({Process.ZOMBIE, Process.GONE, Process.REUSED})


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Seconds. ``silence_s``: silence that counts as stalled; None: twice the bot's own lease.

    ``restart_grace_s``: from the end of a process to *dead*. ``progress_max_s``: a bot that beats and whose progress
    does not rise for so long is stalled; 0: progress is not enforced (traffic alone is neither progress nor its
    absence).
    """

    silence_s: float | None = None
    restart_grace_s: float = 30.0
    progress_max_s: float = 0.0

    def __post_init__(self) -> None:
        if self.silence_s is not None:
            check_number("WatchSettings", "silence_s", self.silence_s, 0.0, LONGEST_S, above_low=True)
        check_number("WatchSettings", "restart_grace_s", self.restart_grace_s, 0.0, LONGEST_S)
        check_number("WatchSettings", "progress_max_s", self.progress_max_s, 0.0, LONGEST_S)


@dataclass(slots=True)
class Vital:
    """What is known of one bot; instants of one boot-time clock. ``progress_at`` None: it never reported progress.

    ``ended_at``: when its process was first seen ended; kept by the caller, who asks the kernel.
    """

    lease: SilenceLease
    process: Process = Process.INVISIBLE
    ended_at: float | None = None
    goodbye: Goodbye | None = None
    goodbye_at: float = 0.0
    progress_at: float | None = None
    hold_until: float | None = None
    expected_until: float | None = None  # an operator restarts it: silence and death are expected until then

    def excuse(self, seconds: float) -> None:
        """Time in which the agent itself did not run is never held against the bot (DESIGN §3 rule 13)."""
        self.lease.excuse(seconds)
        if self.progress_at is not None:
            self.progress_at += max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class Judged:
    """A state and the fact that made it, in words for an event."""

    state: BotState
    why: str


def judge(vital: Vital, now: float, settings: WatchSettings) -> Judged:
    """The bot's state now."""
    if vital.hold_until is not None and now < vital.hold_until:
        return Judged(BotState.HELD, "held by an operator")
    found = _unheld(vital, now, settings)
    expected = vital.expected_until is not None and now < vital.expected_until
    if expected and found.state in (BotState.LATE, BotState.STALLED, BotState.DEAD):
        return Judged(BotState.LEFT, f"an operator expects its restart; {found.why}")
    return found


def _unheld(vital: Vital, now: float, settings: WatchSettings) -> Judged:
    if vital.goodbye is not None:
        return _after_goodbye(vital, vital.goodbye, now)
    if vital.process in _ENDED:
        return _after_end(vital, now, settings)
    silent_s = vital.lease.silent_s(now)
    match vital.lease.state(now, stalled_after_s=settings.silence_s):
        case Liveness.STALLED:
            return Judged(BotState.STALLED, f"silent for {silent_s:.1f} s{_process_words(vital.process)}")
        case Liveness.LATE:
            return Judged(BotState.LATE, f"silent beyond its lease of {vital.lease.within_s:g} s")
    if settings.progress_max_s and vital.progress_at is not None:
        idle_s = now - vital.progress_at
        if idle_s > settings.progress_max_s:
            return Judged(BotState.STALLED, f"it beats, but made no progress for {idle_s:.1f} s")
    return Judged(BotState.WELL, "inside its lease")


def _after_goodbye(vital: Vital, goodbye: Goodbye, now: float) -> Judged:
    if goodbye.back_within_s and now > vital.goodbye_at + goodbye.back_within_s:
        return Judged(BotState.DEAD, f"it meant to be back within {goodbye.back_within_s:g} s")
    return Judged(BotState.LEFT, "it said goodbye")


def _after_end(vital: Vital, now: float, settings: WatchSettings) -> Judged:
    """Gone without a goodbye: late while a supervisor may bring it back, then dead."""
    since_s = 0.0 if vital.ended_at is None else now - vital.ended_at
    words = {Process.ZOMBIE: "its process is a zombie", Process.REUSED: "its pid belongs to another program now"}
    why = words.get(vital.process, "its process is gone")
    if vital.ended_at is not None and since_s > settings.restart_grace_s:
        return Judged(BotState.DEAD, f"{why} for {since_s:.1f} s, without a goodbye")
    return Judged(BotState.LATE, f"{why}; it has {settings.restart_grace_s:g} s to come back")


def _process_words(process: Process) -> str:
    words = {Process.STOPPED: "; its process is stopped", Process.TRACED: "; a debugger holds its process"}
    return words.get(process, "")


def next_look_at(vital: Vital, now: float, settings: WatchSettings) -> float | None:
    """The next instant at which `judge` may say something else without news; None: never."""
    found: list[float] = []
    if vital.hold_until is not None and vital.hold_until > now:
        return vital.hold_until
    if vital.expected_until is not None:
        found.append(vital.expected_until)
    if vital.goodbye is not None:
        if vital.goodbye.back_within_s:
            found.append(vital.goodbye_at + vital.goodbye.back_within_s)
    elif vital.process in _ENDED:
        found.append((now if vital.ended_at is None else vital.ended_at) + settings.restart_grace_s)
    else:
        edge = vital.lease.next_change_at(stalled_after_s=settings.silence_s, now=now)
        found.extend([] if edge is None else [edge])
        if settings.progress_max_s and vital.progress_at is not None:
            found.append(vital.progress_at + settings.progress_max_s)
    return min((at for at in found if at >= now), default=None)
