"""An operator's words about the venues' dead-man switches: `deadman` on control.sock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import ValidationError

from .deadman import Deadman
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .order_desk import name_of


class DeadmanDesk:
    """Verbs by name. ``only_bot()``: the one bot of this agent, "" where there are several."""

    def __init__(self, deadman: Deadman, *, only_bot: Callable[[], str]) -> None:
        self._deadman = deadman
        self._only_bot = only_bot

    def verbs(self) -> dict[str, Verb]:
        return {
            "deadman.status": lambda _args, _who: {"switches": self._deadman.status()},
            "deadman.arm": self._arm,
            "deadman.disarm": self._disarm,
        }

    async def _arm(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        bot = _text(args, "bot") or self._only_bot()
        if not bot:
            raise ValidationError("several bots, or none, are here; say with --bot in whose name the switch is renewed")
        window_s, symbols, expect = args.get("window_s"), args.get("symbols") or [], args.get("expect")
        if isinstance(window_s, bool) or not isinstance(window_s, int | float):
            raise ValidationError(f"window_s = {window_s!r}; a number of seconds is expected")
        if not isinstance(symbols, list) or not all(isinstance(each, str) and each for each in symbols):
            raise ValidationError(f"symbols = {symbols!r}; a list of the venue's symbols is expected")
        if expect is not None and not isinstance(expect, int):
            raise ValidationError(f"expect = {expect!r}; a number of orders is expected")
        return await self._deadman.arm(
            _venue(args),
            bot,
            float(window_s),
            symbols,
            accept_losing_stops=bool(args.get("accept_losing_stops")),
            expect=expect,
            dry_run=bool(args.get("dry_run")),
            by=name_of(who),
            why=_text(args, "why"),
        )

    async def _disarm(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        return await self._deadman.disarm(_venue(args), by=name_of(who), why=_text(args, "why"))


def _text(args: dict[str, Any], name: str) -> str:
    found = args.get(name, "")
    return found.strip()[:500] if isinstance(found, str) else ""


def _venue(args: dict[str, Any]) -> str:
    venue = _text(args, "venue")
    if not venue:
        raise ValidationError("venue is missing; the profile's name is expected, as `jackstay status` shows it")
    return venue
