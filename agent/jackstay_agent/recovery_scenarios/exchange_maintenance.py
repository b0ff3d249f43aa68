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
    """Context: ``venue`` or ``component``; ``announced`` (True: it is known to have begun, do not ask first).

    Needs venue_status; uses hold, disarm_switch, positions, balances, open_orders, directive, release, notify.
    Directive ``redistribute_capital``: venue, exposure {name: amount}, open_orders, alternatives.
    """

    NAME: ClassVar[str] = "exchange_maintenance"
    KEYS: ClassVar = {
        "venue": Key((str,), "a venue's name"),
        "component": Key((str,), "a venue's name"),
        "announced": Key((bool,), "true or false"),
    }

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
            async def over() -> bool:
                try:
                    run.facts["status"] = str(await bound.call("venue_status", what))
                except Exception as error:
                    run.facts["status"] = f"no answer ({type(error).__name__})"
                return bool(run.facts["status"] == ONLINE)

            if await self.until(run, over, self.settings.poll_s):
                return True
            run.why = f"still {run.facts['status']}"
            return False

        async def look(run: Run) -> bool | None:
            if bound.has("open_orders"):
                found = await bound.call("open_orders", None)
                if found is None:
                    run.why = "the venue is online and does not show the open orders"
                    return False
                run.facts["open_orders"] = len(found)
            return None

        async def release(run: Run) -> bool:
            if bound.has("release"):
                await bound.call("release", what)
            if bound.has("notify"):
                await bound.call("notify", "maintenance_over", {"venue": what, **run.facts})
            return run.facts.get("proved.wait_for_the_end") is True

        return [
            ("detect", detect),
            ("hold_orders", hold),
            ("redistribute_capital", redistribute),
            ("wait_for_the_end", wait),
            ("look_at_account", look),
            ("release", release),
        ]

    async def _redistribute(self, bound: Bound, what: str, run: Run) -> None:
        """Exposure as the venue shows it; what it does not show is named as unknown, never taken for nothing."""
        exposure: dict[str, str] = {}
        for name in ("positions", "balances"):
            if not bound.has(name):
                continue
            try:
                found: Mapping[str, Any] = await bound.call(name)
            except Exception as error:  # a venue in maintenance may not answer
                run.facts[f"{name}_unknown"] = f"{type(error).__name__}: {error}"[:200]
                continue
            exposure |= {each: str(money(self.NAME, each, held)) for each, held in found.items() if held}
        fields = {
            "venue": what,
            "exposure": exposure,
            "unknown": [each for each in ("positions", "balances") if f"{each}_unknown" in run.facts],
            "alternatives": list(self.settings.alternatives),
        }
        if bound.has("directive"):
            run.facts["directive_on_its_way"] = await bound.call("directive", "redistribute_capital", fields) is True
