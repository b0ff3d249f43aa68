"""API rate limit: nothing new before the venue's instant, what expired meanwhile is dropped, then a slow return.

Evidence: the venue answered a harmless question after the instant, and not with "too many". The agent's own limiter
holds the gate and the ramp; this plan keeps entries back meanwhile and proves that it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import Any, ClassVar

from jackstay_protocols.errors import ValidationError

from .actions import Bound
from .base import Key, PlannedRecovery, what_of
from .plan import Run, Step


class APIRateLimitRecovery(PlannedRecovery):
    """Context: ``retry_after_s`` or ``until`` (an aware datetime); ``venue`` or ``component``. Needs probe; uses hold,
    release, notify.
    """

    NAME: ClassVar[str] = "api_rate_limit"
    KEYS: ClassVar = {
        "retry_after_s": Key((int, float), "seconds"),
        "until": Key((datetime,), "an aware datetime"),
        "venue": Key((str,), "a venue's name"),
        "component": Key((str,), "a venue's name"),
    }

    def check(self, context: dict[str, Any]) -> None:
        seconds, until = context.get("retry_after_s"), context.get("until")
        if seconds is not None and not (isfinite(seconds) and 0 <= seconds <= 30 * 86_400):
            raise ValidationError(
                f"api_rate_limit: context['retry_after_s'] is {seconds}; 0 to 2592000 seconds are expected"
            )
        if until is not None and until.tzinfo is None:
            raise ValidationError("api_rate_limit: context['until'] has no time zone; an aware datetime is expected")

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        what = what_of(context)

        async def hold(run: Run) -> bool | None:
            if not bound.has("probe"):
                run.why = "needs probe"
                return False
            run.facts.setdefault("until", self.wall() + self._wait_s(context))
            if bound.has("hold"):
                await bound.call("hold", what, "the venue said: too many requests")
            return None

        async def wait(run: Run) -> bool | None:
            left_s = run.facts["until"] - self.wall()
            if self.clock() + left_s > run.deadline_at:
                run.why = f"the venue's instant is {left_s:.0f} s away, longer than within_s"
                return False
            if left_s > 0:
                await self.sleep(left_s)
            return None

        async def prove(run: Run) -> bool:
            return await bound.call("probe", what) is True

        async def release(run: Run) -> bool:
            if bound.has("release"):
                await bound.call("release", what)
            if bound.has("notify"):
                await bound.call("notify", "rate_limit_over", {"what": what})
            return run.facts.get("proved.prove") is True

        return [("hold_entries", hold), ("wait_for_the_instant", wait), ("prove", prove), ("release", release)]

    def _wait_s(self, context: dict[str, Any]) -> float:
        seconds, until = context.get("retry_after_s"), context.get("until")
        found = [float(seconds)] if seconds is not None else []
        if until is not None:
            found.append(until.timestamp() - self.wall())
        if not found:
            return float(self.settings.default_wait_s)
        return max(0.0, *found) + float(self.settings.margin_s)
