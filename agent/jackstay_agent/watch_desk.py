"""An operator's words about bots: `bot`, `arm` and `watchdog` on control.sock.

Every word is recorded with uid and reason and is an event. Arming stands on evidence: it shows the longest legitimate
silence and what the setting would have done in the last day, and refuses where that is not nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.session import BotSession

from .core.protection import Preset
from .gateway.door import PeerCredentials
from .order_desk import Verb, name_of, reason
from .watchdog import Watchdog

ROWS_MAX = 50


class WatchDesk:
    """Verbs by name for the control door. ``sessions()``: the primaries now. ``powers()``: grade, what the agent can do
    at which venue, and in words what it cannot. ``directives()``: what each bot has not acknowledged.
    """

    def __init__(
        self,
        watchdog: Watchdog,
        *,
        sessions: Callable[[], list[BotSession]],
        wall: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
        powers: Callable[[], dict[str, Any]] = dict,
        directives: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._watchdog = watchdog
        self._sessions = sessions
        self._wall = wall
        self._on_event = on_event
        self._powers = powers
        self._directives = directives

    def verbs(self) -> dict[str, Verb]:
        return {
            "watchdog": lambda _args, _who: self._shown(),
            "arm": self._arm,
            "bot.hold": self._hold,
            "bot.release": self._release,
            "bot.expect_restart": self._expect_restart,
        }

    def _shown(self) -> dict[str, Any]:
        return self._watchdog.status() | self._powers() | {"directives": self._directives()}

    def _arm(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        preset, silence_s = _preset(args), _silence(args)
        wall = self._wall()
        hits, shown = 0, {}
        for session in self._sessions():
            past = self._watchdog.silences(session.bot_id)
            longest = past.longest(wall)
            would = past.would_have(wall, silence_s, preset)
            hits += len(would)
            shown[session.bot_id] = {
                "longest_silence_s": None if longest is None else round(longest.length_s, 3),
                "watched_s": round(past.watched_s(wall), 1),
                "silences_seen": past.seen,
                "would_have": [
                    {
                        "at": each.silence.began_wall,
                        "silent_s": round(each.silence.length_s, 3),
                        "cancelled": {str(kind): count for kind, count in each.cancelled.items()},
                    }
                    for each in would[:ROWS_MAX]
                ],
                "would_have_total": len(would),
            }
        told = {"preset": str(preset), "silence_s": silence_s, "bots": shown, "armed": False} | self._powers()
        if args.get("dry_run"):
            return told
        if hits and not args.get("anyway"):
            raise ValidationError(
                f"armed like this, it would have cancelled a living bot's orders {hits} time(s) in the last 24 h;"
                " choose a longer silence, or say --anyway",
                details=told,
            )
        self._watchdog.arm(preset, silence_s, by=name_of(who), why=str(args.get("why", "")))
        return told | {"armed": True}

    def _hold(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        bot, why, seconds = _bot(args), reason(args), args.get("for_s")
        if not isinstance(seconds, int | float):
            raise ValidationError(f"for_s = {seconds!r}; a number of seconds is expected")
        self._watchdog.hold(bot, float(seconds), by=name_of(who), why=why)
        self._on_event("operator.bot_held", {"bot": bot, "for_s": seconds, "by": name_of(who), "why": why})
        return {"bot": bot, "for_s": seconds}

    def _release(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        bot = _bot(args)
        if not self._watchdog.end_hold(bot):
            raise ValidationError(f"bot {bot!r} is not held; `jackstay bot list` shows who is")
        self._on_event("operator.bot_released", {"bot": bot, "by": name_of(who)})
        return {"bot": bot}

    def _expect_restart(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        """A restart that is planned is not a death: its orders stay, until it is overdue."""
        bot, within_s = _bot(args), args.get("back_within_s")
        if isinstance(within_s, bool) or not isinstance(within_s, int | float):
            raise ValidationError(f"back_within_s = {within_s!r}; a number of seconds is expected")
        self._watchdog.expect_restart(bot, float(within_s), by=name_of(who))
        self._on_event("operator.bot_expected", {"bot": bot, "back_within_s": within_s, "by": name_of(who)})
        return {"bot": bot, "back_within_s": within_s}


def _bot(args: dict[str, Any]) -> str:
    bot = args.get("bot")
    if not isinstance(bot, str) or not bot:
        raise ValidationError("bot is missing; the bot's id is expected, as `jackstay bot list` shows it")
    return bot


def _preset(args: dict[str, Any]) -> Preset:
    word = str(args.get("preset", ""))
    try:
        return Preset(word)
    except ValueError:
        raise ValidationError(f"preset = {word!r}; {', '.join(Preset)} are known") from None


def _silence(args: dict[str, Any]) -> float | None:
    found = args.get("silence_s")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValidationError(f"silence_s = {found!r}; a number of seconds is expected")
    return float(found)
