"""The barrier before a bot that comes back: no entries until what is unknown of its orders is known (DESIGN §5).

A bot that was stalled or dead may believe things that are no longer so. It gets a snapshot (what
is open of it, what is unknown) as a directive; and while orders of it are unknown, entries at their venues are refused.
Cancels, exits and hedges pass. No unknowns, no barrier; balances never raise one. It is limited in time: then the venue
stays CONSERVATIVE, which is told, until the orders are settled or an operator releases it.

Known limit: modes are a venue's, so another bot of this agent at that venue waits as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jackstay_protocols.errors import ValidationError

from .core.modes import Mode
from .core.protection import OpenOrder
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .order_desk import name_of, reason
from .outbox import Outbox
from .telling import Listener
from .venue_modes import VenueModes

HOLDER = "barrier "
NAMES_MAX = 200


@dataclass(slots=True)
class Up:
    """One bot's barrier: which venues, since when, whether its time is over."""

    venues: set[str]
    since: float
    why: str
    timed_out: bool = False
    unknown: list[str] = field(default_factory=list)


class Barrier(Listener):
    """``direct(bot, name, fields)`` reaches the bot; ``known(bot)``: its open orders by the evidence."""

    def __init__(
        self,
        outbox: Callable[[], Outbox],
        modes: VenueModes,
        *,
        within_s: float,
        known: Callable[[str], list[OpenOrder]],
        direct: Callable[[str, str, dict[str, Any]], bool],
        soon: Callable[..., Any],
        clock: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._outbox = outbox
        self._modes = modes
        self._within_s = within_s
        self._known = known
        self._direct = direct
        self._soon = soon
        self._clock = clock
        self._on_event = on_event
        self._up: dict[str, Up] = {}

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name == "bot.back":
            self._soon(self.come_back, str(fields.get("bot", "")), str(fields.get("was", "")))

    def start(self) -> None:
        """The agent is back: barriers of an earlier life are over. A bot that lived on is guarded by rule 1."""
        self._modes.release_all(HOLDER)

    def come_back(self, bot_id: str, was: str) -> None:
        """A bot speaks again: what it has to know, and no entries before what is unknown is known."""
        unknown = self._unknown(bot_id)
        fields = {
            "was": was,
            "open_orders": [
                {"id": each.name, "venue": each.venue, "symbol": each.symbol, "side": each.side}
                for each in self._known(bot_id)[:NAMES_MAX]
            ],
            "unknown": [name for _venue, name in unknown][:NAMES_MAX],
        }
        heard = self._direct(bot_id, "resume", fields)
        self._on_event(
            "bot.snapshot",
            {"bot": bot_id, "open": len(fields["open_orders"]), "unknown": len(unknown), "heard": heard},
        )
        if was in ("stalled", "dead"):
            self.raise_for(bot_id, f"the bot was {was}")

    def raise_for(self, bot_id: str, why: str, only_at: str = "") -> bool:
        """Up, if anything of this bot is unknown (at one venue, where that is named); True if it is."""
        unknown = [each for each in self._unknown(bot_id) if each[0] == (only_at or each[0])]
        if not unknown or bot_id in self._up:
            return bot_id in self._up
        up = self._up[bot_id] = Up({venue for venue, _name in unknown}, self._clock(), why)
        up.unknown = [name for _venue, name in unknown]
        for venue in sorted(up.venues):
            self._modes.hold(venue, Mode.CONSERVATIVE, holder=HOLDER + bot_id, why=f"{why}; unknown: {up.unknown[0]}")
        self._on_event(
            "barrier.up",
            {"bot": bot_id, "venues": sorted(up.venues), "unknown": up.unknown[:NAMES_MAX], "why": why},
        )
        return True

    def tick(self) -> None:
        """Down where all is settled; told once where it takes too long."""
        for bot_id, up in list(self._up.items()):
            unknown = self._unknown(bot_id)
            if not unknown:
                self._lower(bot_id, "barrier.passed", {"took_s": round(self._clock() - up.since, 3)})
            elif not up.timed_out and self._clock() - up.since > self._within_s:
                up.timed_out = True
                names = [name for _venue, name in unknown][:NAMES_MAX]
                self._on_event(
                    "barrier.timed_out",
                    {"bot": bot_id, "mode": str(Mode.CONSERVATIVE), "venues": sorted(up.venues), "unknown": names},
                )

    def _lower(self, bot_id: str, event: str, fields: dict[str, Any]) -> None:
        up = self._up.pop(bot_id)
        for venue in sorted(up.venues):
            self._modes.release(venue, HOLDER + bot_id)
        self._on_event(event, {"bot": bot_id, "venues": sorted(up.venues), **fields})

    def _unknown(self, bot_id: str) -> list[tuple[str, str]]:
        return [
            (each.intent.venue, each.intent.client_order_id or str(each.seq))
            for each in self._outbox().unknowns()
            if each.intent.bot_id == bot_id and each.intent.venue
        ]

    # ---- operators

    def verbs(self) -> dict[str, Verb]:
        return {"barrier.list": lambda _args, _who: {"barriers": self.status()}, "barrier.release": self._release}

    def _release(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        bot_id, why = str(args.get("bot", "")), reason(args)
        if bot_id not in self._up:
            raise ValidationError(f"no barrier is up for bot {bot_id!r}; `jackstay barrier` shows them")
        self._lower(bot_id, "operator.barrier_released", {"by": name_of(who), "why": why})
        return {"bot": bot_id}

    def status(self) -> list[dict[str, Any]]:
        now = self._clock()
        return [
            {
                "bot": bot_id,
                "venues": sorted(up.venues),
                "for_s": round(now - up.since, 1),
                "timed_out": up.timed_out,
                "why": up.why,
                "unknown": [name for _venue, name in self._unknown(bot_id)][:NAMES_MAX],
            }
            for bot_id, up in self._up.items()
        ]
