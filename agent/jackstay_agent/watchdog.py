"""Watches the bots: each one's state from lease, process and operator, and what the armed preset makes of it.

It decides nothing itself: `core/liveness` judges, the table of `core/protection` says what follows, the `Guard` does.
This file keeps what is known of each bot, notices changes, tells them once, and writes down the silences that arming
stands on. Without an operator's word the preset is `observe`: all is told, nothing is done (DESIGN §3 rule 5).

Known limit: a silence is measured to a quarter of a second, the tick's length, and never shorter than it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.session import BotSession, SilenceLease, clamp_beat_s
from jackstay_protocols.types import OrderClass

from .core.bounds import check_number
from .core.event_sink import EventSink
from .core.liveness import HOLD_S_MAX, BotState, Judged, Process, Vital, WatchSettings, judge
from .core.protection import HoldScope, Measures, Preset, measures, on_goodbye
from .core.silences import Silence, Silences

BOTS_MAX = 1_024  # bot ids remembered with their silences; the one not seen longest is forgotten
WHY_MAX = 500
NOTHING = Measures()

#: What is told when a bot enters a state; WELL is `bot.back` unless it is its first.
EVENTS = {
    BotState.WELL: "bot.back",
    BotState.LATE: "bot.late",
    BotState.STALLED: "bot.stalled",
    BotState.DEAD: "bot.dead",
    BotState.HELD: "bot.held",
}


class Guard(Protocol):
    """Who acts on a bot's orders. Each call returns at once; what becomes of it is told as events."""

    def hold(self, bot_id: str, scope: HoldScope, why: str) -> None:
        """Queued entries wait (of the bot, or of all venues of its groups)."""

    def release(self, bot_id: str) -> None:
        """Let go of what `hold` held."""

    def holds(self, bot_id: str) -> bool:
        """Something of it is held, also by an earlier agent."""

    def drop(self, bot_id: str, classes: frozenset[OrderClass], why: str) -> None:
        """Its queued orders of these classes end unsent, which the bot is told."""

    def stop_cancelling(self, bot_id: str) -> None:
        """The bot is well again, or an operator holds it: what is not cancelled yet stays."""

    def cancel(self, bot_id: str, classes: frozenset[OrderClass], why: str, *, act: bool) -> None:
        """Cancel the bot's open orders of these classes; ``act`` False: only tell which it would be."""

    def open_orders(self, bot_id: str) -> dict[OrderClass, int]:
        """How many of its orders are open, as far as is known here and now."""


@dataclass(frozen=True, slots=True)
class Armed:
    """What an operator armed. ``at``: UTC seconds."""

    preset: Preset = Preset.OBSERVE
    silence_s: float | None = None
    by: str = ""
    why: str = ""
    at: float = 0.0


@dataclass(slots=True)
class Watched:
    """One bot id and the session that speaks for it."""

    session: BotSession
    vital: Vital
    probe: Callable[[], Process]
    heard_at: float
    lease_s: float  # as it was before the words that end a silence, which may announce another
    open_orders: dict[OrderClass, int] = field(default_factory=dict)  # at the moment it became late
    state: BotState = BotState.WELL
    why: str = ""
    measures: Measures = NOTHING
    said: object = None  # the goodbye that was acted on
    unheard: bool = False  # an earlier agent knew it; this one has not heard a word of it


class Watchdog:
    """``sessions()``: the primaries now. ``probe(pid)``: a function that says what became of that process."""

    def __init__(
        self,
        settings: WatchSettings,
        *,
        sessions: Callable[[], Iterable[BotSession]],
        probe: Callable[[int], Callable[[], Process]],
        guard: Guard,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_event: EventSink,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._probe = probe
        self._guard = guard
        self._clock = clock
        self._wall = wall
        self._on_event = on_event
        self.armed = Armed()
        self._watched: dict[str, Watched] = {}
        self._silences: dict[str, Silences] = {}
        self._holds: dict[str, tuple[float, str, str]] = {}  # bot -> until, by, why
        self._expected: dict[str, tuple[float, str]] = {}  # bot -> until, by
        self._adopted: list[BotSession] = []
        self.changed = True  # something a restart has to know; the owner writes a snapshot and clears it

    # ---- the pulse

    def tick(self) -> None:
        """Call it a few times a second."""
        now = self._clock()
        settings = self._in_force()
        for session in self._sessions():
            watched = self._watched.get(session.bot_id)
            if watched is None or watched.session is not session:
                watched = self._watched[session.bot_id] = self._begin(session, watched, now)
            self._look(watched, now)
            self._judge(watched, judge(watched.vital, now, settings))
        self._forget()

    def excuse(self, seconds: float) -> None:
        """The agent itself did not run for so long (DESIGN §3 rule 13). The sessions' leases and goodbyes are excused
        by their owner; this is for what is kept here. Nobody else ran in a suspended machine, no supervisor either: a
        restart's grace, a hold and an expected restart last as much longer.
        """
        now = self._clock()
        for watched in self._watched.values():
            vital = watched.vital
            if vital.progress_at is not None:
                vital.progress_at = min(now, vital.progress_at + seconds)
            if vital.ended_at is not None:
                vital.ended_at = min(now, vital.ended_at + seconds)
            watched.heard_at += seconds
        self._holds = {bot: (until + seconds, by, why) for bot, (until, by, why) in self._holds.items()}
        self._expected = {bot: (until + seconds, by) for bot, (until, by) in self._expected.items()}

    def _in_force(self) -> WatchSettings:
        silence_s = self.armed.silence_s
        return WatchSettings(silence_s, self._settings.restart_grace_s, self._settings.progress_max_s)

    def _begin(self, session: BotSession, before: Watched | None, now: float) -> Watched:
        """A new session: of a new bot, or of one that came back, which goes on from the state it was in."""
        pid = session.pid if session.seen_pid < 0 else session.seen_pid
        probe = self._probe(pid) if pid > 0 else _invisible if pid == 0 else _gone
        began = Watched(session, Vital(session.lease), probe, session.lease.heard_at, session.lease.within_s)
        self.changed = True
        if before is not None:
            began.state, began.why, began.measures = before.state, before.why, before.measures
        elif self._guard.holds(session.bot_id):
            began.measures = Measures(HoldScope.BOT)  # so that it is let go of when the bot is well, and no sooner
            began.unheard = any(session is each for each in self._adopted)
        return began

    def _look(self, watched: Watched, now: float) -> None:
        """Facts of this moment: its words, its process, holds."""
        session, vital = watched.session, watched.vital
        if session.goodbye is None:
            self._silence(watched, session.lease.heard_at)
            vital.process = watched.probe()
            if vital.process in (Process.GONE, Process.ZOMBIE, Process.REUSED):
                if vital.ended_at is None:
                    vital.ended_at = now
                    self._on_event("bot.gone", {"bot": session.bot_id, "pid": session.pid, "how": str(vital.process)})
            else:
                vital.ended_at = None
        vital.goodbye, vital.goodbye_at = session.goodbye, session.said_goodbye_at
        if session.progress >= 0:
            vital.progress_at = max(vital.progress_at or 0.0, session.progress_at)
        held = self._holds.get(session.bot_id)
        vital.hold_until = held[0] if held is not None else None
        expected = self._expected.get(session.bot_id)
        vital.expected_until = expected[0] if expected is not None else None
        if expected is not None and now >= expected[0]:
            del self._expected[session.bot_id]
        if held is not None and now >= held[0]:
            del self._holds[session.bot_id]
            self._on_event("bot.hold_over", {"bot": session.bot_id, "by": held[1]})

    def _silence(self, watched: Watched, heard_at: float) -> None:
        """The bot spoke again: how long was it silent, and what was open meanwhile?"""
        if heard_at == watched.heard_at:
            watched.lease_s = watched.session.lease.within_s
            return
        watched.unheard = False
        length_s, lease_s, before = heard_at - watched.heard_at, watched.lease_s, watched.open_orders
        watched.heard_at, watched.lease_s, watched.open_orders = heard_at, watched.session.lease.within_s, {}
        if length_s > 0 and watched.state is not BotState.HELD:
            now_open = self._guard.open_orders(watched.session.bot_id)
            most = {kind: max(before.get(kind, 0), now_open.get(kind, 0)) for kind in before.keys() | now_open.keys()}
            began_wall = self._wall() - (self._clock() - heard_at) - length_s
            self.silences(watched.session.bot_id).ended(Silence(began_wall, length_s, lease_s, most))

    def _judge(self, watched: Watched, found: Judged) -> None:
        session, before = watched.session, watched.state
        if found.state is not before:
            self.changed = True
            if before is BotState.WELL:
                watched.open_orders = self._guard.open_orders(session.bot_id)
            watched.state, watched.why = found.state, found.why
            self._tell(watched, before)
        watched.why = found.why
        if watched.unheard and found.state is BotState.WELL:
            return  # a fresh lease is no word of the bot
        wanted = measures(found.state, self.armed.preset)
        goodbye = session.goodbye
        if found.state is BotState.LEFT and goodbye is not None:
            wanted = on_goodbye(goodbye.orders, self.armed.preset)
        if wanted == watched.measures and not (wanted.cancel and goodbye is not watched.said):
            return
        watched.said = goodbye
        self._apply(session.bot_id, watched.measures, wanted, found.why)
        watched.measures = wanted

    def _tell(self, watched: Watched, before: BotState) -> None:
        name = EVENTS.get(watched.state)
        if name is None or (watched.state is BotState.WELL and before is BotState.LEFT):
            return  # its goodbye, and its hello, were events of their own
        session = watched.session
        self._on_event(
            name,
            {
                "bot": session.bot_id,
                "pid": session.pid,
                "was": str(before),
                "why": watched.why,
                "silent_s": round(session.lease.silent_s(self._clock()), 3),
                "lease_s": session.lease.within_s,
                "process": str(watched.vital.process),
                "preset": str(self.armed.preset),
            },
        )

    def _apply(self, bot_id: str, before: Measures, wanted: Measures, why: str) -> None:
        """From one cell of the table to another: what both hold stays, the rest is undone or done."""
        same_kind = before.act is wanted.act
        if before.act and before.cancel and not (same_kind and wanted.cancel):
            self._guard.stop_cancelling(bot_id)
        holds_on = same_kind and wanted.hold is before.hold
        if before.act and before.hold is not HoldScope.NONE and not holds_on:
            self._guard.release(bot_id)
        if wanted.hold is not HoldScope.NONE and not holds_on:
            if wanted.act:
                self._guard.hold(bot_id, wanted.hold, why)
            else:
                self._on_event("would.hold", {"bot": bot_id, "why": why})
        if wanted.drop:
            self._guard.drop(bot_id, wanted.cancel, why)
        if wanted.cancel:
            self._guard.cancel(bot_id, wanted.cancel, why, act=wanted.act)

    def _forget(self) -> None:
        here = {session.bot_id for session in self._sessions()}
        for bot_id in [each for each in self._watched if each not in here]:
            del self._watched[bot_id]
        while len(self._silences) > BOTS_MAX:
            stale = next((each for each in self._silences if each not in here), None)
            if stale is None:
                return
            del self._silences[stale]

    # ---- operators

    def silences(self, bot_id: str) -> Silences:
        return self._silences.setdefault(bot_id, Silences())

    def arm(self, preset: Preset, silence_s: float | None, *, by: str, why: str = "") -> Armed:
        """Take an operator's word; the next tick acts on it. Raises ValidationError on a length that means nothing."""
        WatchSettings(silence_s)
        self.armed, self.changed = Armed(preset, silence_s, by, why[:WHY_MAX], self._wall()), True
        self._on_event(
            "protection.armed",
            {"preset": str(preset), "silence_s": silence_s, "by": by, "why": self.armed.why},
        )
        return self.armed

    def hold(self, bot_id: str, seconds: float, *, by: str, why: str) -> float:
        """Nothing of this bot is cancelled for so long. Raises ValidationError: too long, no reason, no such bot."""
        check_number("hold", "for_s", seconds, 0.0, HOLD_S_MAX, above_low=True)
        if not why.strip():
            raise ValidationError("why is missing; a hold is recorded with its reason")
        self._check_known(bot_id)
        until = self._clock() + seconds
        self._holds[bot_id], self.changed = (until, by, why.strip()[:WHY_MAX]), True
        return until

    def end_hold(self, bot_id: str) -> bool:
        """True if there was one."""
        self.changed = True
        return self._holds.pop(bot_id, None) is not None

    def expect_restart(self, bot_id: str, seconds: float, *, by: str) -> None:
        """Its silence, its end and a new process are expected for so long. Raises ValidationError."""
        check_number("expect-restart", "back_within_s", seconds, 0.0, HOLD_S_MAX, above_low=True)
        self._check_known(bot_id)
        self._expected[bot_id], self.changed = (self._clock() + seconds, by), True

    def _check_known(self, bot_id: str) -> None:
        if bot_id not in {session.bot_id for session in self._sessions()}:
            raise ValidationError(f"no bot {bot_id!r} is known here; `jackstay bot list` shows them")

    def state(self, bot_id: str) -> BotState | None:
        """None for a bot that has no session."""
        watched = self._watched.get(bot_id)
        return None if watched is None else watched.state

    def is_fresh(self, bot_id: str) -> tuple[bool, str]:
        """Whether a dead-man switch may be renewed in this bot's name, and why not."""
        watched = self._watched.get(bot_id)
        if watched is None:
            return False, "the bot has no session"
        return watched.state in (BotState.WELL, BotState.HELD), watched.why

    def status(self) -> dict[str, Any]:
        """For `status` and `watchdog`: what is armed, and each bot's state and why."""
        now, wall = self._clock(), self._wall()
        bots = {}
        for bot_id, watched in self._watched.items():
            longest = self.silences(bot_id).longest(wall)
            held = self._holds.get(bot_id)
            bots[bot_id] = {
                "state": str(watched.state),
                "why": self._why(watched, now),
                "process": str(watched.vital.process),
                "cancelling": sorted(map(str, watched.measures.cancel)) if watched.measures.act else [],
                "holding": str(watched.measures.hold) if watched.measures.act else "none",
                "longest_silence_s": None if longest is None else round(longest.length_s, 3),
                "watched_s": round(self.silences(bot_id).watched_s(wall), 1),
                "hold": None if held is None else {"left_s": round(held[0] - now, 1), "by": held[1], "why": held[2]},
            }
        return {
            "preset": str(self.armed.preset),
            "silence_s": self.armed.silence_s,
            "armed_by": self.armed.by,
            "armed_at": self.armed.at,
            "bots": bots,
        }

    def _why(self, watched: Watched, now: float) -> str:
        """As of now: the length of a silence grows between two looks."""
        found = judge(watched.vital, now, self._in_force())
        return found.why if found.state is watched.state else watched.why

    # ---- restarts

    def snapshot(self) -> dict[str, Any]:
        """Plain values for the state folder."""
        now, wall = self._clock(), self._wall()
        armed = self.armed
        return {
            "wall": wall,
            "armed": [str(armed.preset), armed.silence_s, armed.by, armed.why, armed.at],
            "holds": {bot: [until - now, by, why] for bot, (until, by, why) in self._holds.items()},
            "expected": {bot: [until - now, by] for bot, (until, by) in self._expected.items()},
            "bots": [
                [each.session.bot_id, each.session.pid, each.session.seen_pid, each.session.lease.within_s]
                for each in self._watched.values()
                if each.session.goodbye is None
            ],
            "silences": {bot: each.snapshot(wall) for bot, each in self._silences.items() if each.seen},
            "watched": {bot: each.snapshot_watched() for bot, each in self._silences.items()},
        }

    def restore(self, kept: dict[str, Any], *, same_boot: bool) -> list[BotSession]:
        """Take up a snapshot; the bots that were here, each with a full lease from now: they may be stopped, and
        nobody else would notice. After a reboot their processes are gone and have the restart grace to come back.
        Raises ValidationError and changes nothing if it is damaged: observe is the default.
        """
        now, gone_s = self._clock(), max(0.0, self._wall() - float(kept.get("wall", 0.0)))
        try:
            preset, silence_s, by, why, at = kept["armed"]
            armed = Armed(Preset(preset), None if silence_s is None else float(silence_s), str(by), str(why), float(at))
            holds = {str(b): (now + float(s) - gone_s, str(by), str(w)) for b, (s, by, w) in kept["holds"].items()}
            expected = {str(b): (now + float(s) - gone_s, str(by)) for b, (s, by) in kept["expected"].items()}
            silences, watched = {}, kept.get("watched", {})
            for bot in {**kept["silences"], **watched}:
                rows = kept["silences"].get(bot, [])
                silences[str(bot)] = found = Silences()
                found.restore(rows, watched.get(bot))
                found.seen = len(rows)
            bots = [_known(str(b), int(p), int(s), float(w), now, same_boot) for b, p, s, w in kept["bots"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValidationError(f"the watchdog's snapshot is damaged ({type(error).__name__})") from error
        self.armed, self._silences = armed, silences
        self._holds = {bot: each for bot, each in holds.items() if each[0] > now}
        self._expected = {bot: each for bot, each in expected.items() if each[0] > now}
        self._adopted = bots
        return bots


def _known(bot_id: str, pid: int, seen_pid: int, within_s: float, now: float, same_boot: bool) -> BotSession:
    """The session of a bot that an earlier agent knew. After a reboot its lease is over: anyone may take its place."""
    within_s = clamp_beat_s(within_s)
    if same_boot:
        return BotSession(bot_id, pid, "primary", "", SilenceLease(within_s, now), seen_pid=seen_pid)
    return BotSession(bot_id, -1, "primary", "", SilenceLease(within_s, now - within_s - 0.001), seen_pid=-1)


def _invisible() -> Process:
    return Process.INVISIBLE


def _gone() -> Process:
    return Process.GONE
