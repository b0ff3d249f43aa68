"""Data feed interruption: conservative while degraded, the next source, back to the primary when it proved itself.

Evidence: data of a source arrived after the switch. On a fallback the conservative mode stays: prices from elsewhere
are good for closing, not for opening. `return_within_s` says how long to wait for the primary; a later call with
``primary_back`` ends the mode once the primary delivers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from jackstay_protocols.errors import ValidationError

from .actions import Bound
from .base import Key, PlannedRecovery
from .plan import Run, Step


class DataFeedInterruptionRecovery(PlannedRecovery):
    """Context: ``feed``; ``sources`` (in order; default: `[recovery.data_feed_interruption] fallbacks`), ``primary``
    (default: the feed's own name), ``primary_back``. Needs switch_feed; uses hold, release, directive, notify.
    Directive ``conservative``: feed, source, why.
    """

    NAME: ClassVar[str] = "data_feed_interruption"
    KEYS: ClassVar = {
        "feed": Key((str,), "the feed's name", required=True),
        "sources": Key((list, tuple), "a list of sources"),
        "primary": Key((str,), "a source"),
        "primary_back": Key((bool,), "true or false"),
    }

    def check(self, context: dict[str, Any]) -> None:
        sources = context.get("sources") or []
        if not all(isinstance(each, str) and each for each in sources):
            raise ValidationError(
                f"data_feed_interruption: context['sources'] is {sources!r:.80}; a list of sources' names is expected"
            )

    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        feed = str(context["feed"])
        primary = str(context.get("primary") or feed)
        sources = [str(each) for each in context.get("sources") or self.settings.fallbacks.get(feed, [])]

        async def arrives(source: str, run: Run) -> bool:
            try:
                return await bound.call("switch_feed", feed, source) is True
            except Exception as error:
                run.facts[f"failed.{source}"] = f"{type(error).__name__}: {error}"[:200]
                return False

        async def conservative(run: Run) -> bool | None:
            if not bound.has("switch_feed"):
                run.why = "needs switch_feed"
                return False
            if bound.has("hold"):
                await bound.call("hold", feed, "no trustworthy prices")
            return None

        async def switch(run: Run) -> bool:
            for source in [primary, *sources]:
                if await arrives(source, run):
                    run.facts["source"] = source
                    return True
            run.why = f"no source of {feed} delivers: {', '.join([primary, *sources])}"
            return False

        async def tell(run: Run) -> bool | None:
            if run.facts["source"] != primary:
                fields = {"feed": feed, "source": run.facts["source"], "why": "the primary is interrupted"}
                for word in ("directive", "notify"):
                    if bound.has(word):
                        await bound.call(word, "conservative", fields)
            return None

        async def come_back(run: Run) -> bool | None:
            if run.facts["source"] == primary or not self.settings.return_within_s:
                return None
            run.deadline_at = self.clock() + self.settings.return_within_s

            async def back() -> bool:
                return await arrives(primary, run)

            if await self.until(run, back, self.settings.poll_s):
                run.facts["source"] = primary
            return None

        async def settle(run: Run) -> bool:
            """Entries again only on the primary's own data."""
            if run.facts["source"] == primary:
                if bound.has("release"):
                    await bound.call("release", feed)
                if bound.has("notify"):
                    await bound.call("notify", "feed_restored", {"feed": feed})
            return run.facts.get("proved.switch") is True

        return [
            ("conservative", conservative),
            ("switch", switch),
            ("tell", tell),
            ("come_back", come_back),
            ("settle", settle),
        ]
