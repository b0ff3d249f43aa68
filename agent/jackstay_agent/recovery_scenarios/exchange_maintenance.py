"""Exchange maintenance: stop placing, tell the bot what it has there, wait for the end, look, let entries go.

Evidence: the venue says that it is online again, and shows the open orders. The capital redistribution is a directive:
exposure per symbol as the venue last showed it, and the alternatives that are configured; moving it is the bot's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .actions import Bound, money
from .base import Key, PlannedRecovery, what_of
from .plan import Run, Step

ONLINE = "online"


class ExchangeMaintenanceRecovery(PlannedRecovery):
    """Context: ``venue`` or ``component``; ``announced`` (True: it is known, do not ask first); ``ends_at`` (a planned
    window's end in UTC seconds: before it only a venue that was away and is back is over).

    Needs venue_status; uses hold, disarm_switch, positions, balances, last_known, open_orders, cancel_for_stalled,
    barrier, ramp, directive, release, notify. After the end, in this order: entries of stalled bots are cancelled, what
    is unknown raises the barrier, entries pass on a ramp.
    Directive ``redistribute_capital``: venue, exposure {name: amount}, unknown, as_of_s, alternatives.
    """

    NAME: ClassVar[str] = "exchange_maintenance"
    KEYS: ClassVar = {
        "venue": Key((str,), "a venue's name"),
        "component": Key((str,), "a venue's name"),
        "announced": Key((bool,), "true or false"),
        "ends_at": Key((int, float), "UTC seconds"),
    }

    def begin(self, context: dict[str, Any], snapshot: dict[str, Any] | None = None) -> Run:
        """A planned window may be longer than `within_s`, which then counts from its end."""
        run = super().begin(context, snapshot)
        run.deadline_at += max(0.0, float(context.get("ends_at") or 0.0) - self.wall())
        return run

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        what = what_of(context)

        async def detect(run: Run) -> bool | None:
            if not bound.has("venue_status"):
                run.why = "needs venue_status"
                return False
            if not context.get("announced"):
                run.facts["status"] = str(await bound.call("venue_status", what))
            return None

        async def hold(run: Run) -> bool | None:
            if bound.has("hold"):
                await bound.call("hold", what, f"maintenance ({run.facts.get('status', 'announced')})")
            if self.settings.disarm_switch and bound.has("disarm_switch"):
                run.facts["switch_disarmed"] = await bound.call("disarm_switch", what) is True
            return None

        async def redistribute(run: Run) -> bool | None:
            await self._redistribute(bound, what, run)
            return None

        async def wait(run: Run) -> bool:
            ends_at = float(context.get("ends_at") or 0.0)

            async def over() -> bool:
                try:
                    run.facts["status"] = str(await bound.call("venue_status", what))
                except Exception as error:
                    run.facts["status"] = f"no answer ({type(error).__name__})"
                if run.facts["status"] != ONLINE:
                    run.facts["was_away"] = True
                    return False
                return self.wall() >= ends_at or run.facts.get("was_away") is True

            if await self.until(run, over, self.settings.poll_s):
                return True
            run.why = f"still {run.facts['status']}"
            return False

        async def release(run: Run) -> bool:
            for word in ("ramp", "release"):
                if bound.has(word):
                    await bound.call(word, what)
            if bound.has("notify"):
                await bound.call("notify", "maintenance_over", {"venue": what, **run.facts})
            return run.facts.get("proved.wait_for_the_end") is True

        return [
            ("detect", detect),
            ("hold_orders", hold),
            ("redistribute_capital", redistribute),
            ("wait_for_the_end", wait),
            *self._before_entries(bound, what),
            ("release", release),
        ]

    def _before_entries(self, bound: Bound, what: str) -> list[Step]:
        """The venue is back: what comes before anything new may be placed there."""

        async def stalled(run: Run) -> bool | None:
            """Before anything new: what a stalled bot left open is the nearest danger of a market that reopens."""
            if bound.has("cancel_for_stalled"):
                run.facts["left_by_stalled"] = await bound.call("cancel_for_stalled", what)
            return None

        async def look(run: Run) -> bool | None:
            if bound.has("open_orders"):
                found = await bound.call("open_orders", None)
                if found is None:
                    run.why = "the venue is online and does not show the open orders"
                    return False
                run.facts["open_orders"] = len(found)
            return None

        async def barrier(run: Run) -> bool | None:
            if bound.has("barrier"):
                run.facts["barrier"] = await bound.call("barrier", what)
            return None

        return [("cancel_for_stalled", stalled), ("look_at_account", look), ("barrier", barrier)]

    async def _redistribute(self, bound: Bound, what: str, run: Run) -> None:
        """Exposure as the venue shows it; what it does not show is named as unknown, never taken for nothing."""
        exposure: dict[str, str] = {}
        as_of_s: dict[str, float] = {}
        for name in ("positions", "balances"):
            if not bound.has(name):
                continue
            try:
                found: Mapping[str, Any] = await bound.call(name)
            except Exception as error:  # a venue in maintenance may not answer
                last = await bound.call("last_known", name) if bound.has("last_known") else None
                if last is None:
                    run.facts[f"{name}_unknown"] = f"{type(error).__name__}: {error}"[:200]
                    continue
                found, as_of_s[name] = last
            exposure |= {each: str(money(self.NAME, each, held)) for each, held in found.items() if held}
        fields = {
            "venue": what,
            "exposure": exposure,
            "as_of_s": as_of_s,
            "unknown": [each for each in ("positions", "balances") if f"{each}_unknown" in run.facts],
            "alternatives": list(self.settings.alternatives),
        }
        if bound.has("directive"):
            run.facts["directive_on_its_way"] = await bound.call("directive", "redistribute_capital", fields) is True
