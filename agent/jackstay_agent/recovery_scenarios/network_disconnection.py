"""Network disconnection: hold entries, reconnect, resubscribe, look at the account again, let entries go.

Evidence: `reconnect` answered over the new connection; and where the account can be asked, its open orders came. What
was unknown is resolved by the agent's own questions meanwhile; what expired is reported, not sent.
A database module binds `reconnect` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .actions import Bound
from .base import Key, PlannedRecovery, what_of
from .plan import Run, Step


class NetworkDisconnectionRecovery(PlannedRecovery):
    """Context: ``venue`` or ``component`` (what is disconnected). Needs reconnect; uses hold, resubscribe, open_orders,
    fills, balances, release, notify.
    """

    NAME: ClassVar[str] = "network_disconnection"
    KEYS: ClassVar = {
        "venue": Key((str,), "a venue's name"),
        "component": Key((str,), "the name of what is disconnected"),
    }

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        what = what_of(context)

        async def hold(run: Run) -> bool | None:
            if bound.has("hold"):
                await bound.call("hold", what, "disconnected")
            return None

        async def reconnect(run: Run) -> bool:
            if not bound.has("reconnect"):
                run.why = "needs reconnect"
                return False

            async def answered() -> bool:
                try:
                    return await bound.call("reconnect", what) is True
                except Exception as error:
                    run.why = f"{type(error).__name__}: {error}"[:200]
                    return False

            return await self.until(run, answered, self.settings.retry_s)

        async def resubscribe(run: Run) -> bool | None:
            if bound.has("resubscribe"):
                return await bound.call("resubscribe", what) is True
            return None

        async def look(run: Run) -> bool | None:
            """Each question that can be asked has to be answered: a silence is no empty book."""
            for name, args in (("open_orders", (None,)), ("fills", (None, None)), ("balances", ())):
                if bound.has(name):
                    found = await bound.call(name, *args)
                    if found is None:
                        run.why = f"{name} was not answered"
                        return False
                    run.facts[name] = len(found)
            return None

        async def release(run: Run) -> bool:
            if bound.has("release"):
                await bound.call("release", what)
            if bound.has("notify"):
                await bound.call("notify", "reconnected", {"what": what, **run.facts})
            return run.facts.get("proved.reconnect") is True

        return [
            ("hold_entries", hold),
            ("reconnect", reconnect),
            ("resubscribe", resubscribe),
            ("look_at_account", look),
            ("release", release),
        ]
