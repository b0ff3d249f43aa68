"""A breaker before the dials of each stream host: many feeds of one dead host knock together, not each on its own.

The fourth endpoint class beside orders, account and market data (judgement.py). A dial is the agent's own, so the first
one after the open time is its probe. Refused means an ExchangeError that says when: the feed's own pace does the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from jackstay_protocols.errors import ExchangeError, Outcome, TradingBotError, ValidationError

from .core.breaker import Breaker, BreakerSettings, Permit
from .core.event_sink import EventSink
from .judgement import tell_breaker

T = TypeVar("T")
STREAM_DIALS = "stream_dials"
HOSTS_MAX = 256


class DialBreakers:
    """By host."""

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        on_event: EventSink,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self.breakers: dict[str, Breaker] = {}

    def of(self, host: str) -> Breaker:
        """The host's breaker; the least recently made one is forgotten where there are too many."""
        found = self.breakers.get(host)
        if found is None:
            if len(self.breakers) >= HOSTS_MAX:
                del self.breakers[next(iter(self.breakers))]
            found = self.breakers[host] = Breaker(self._settings, name=f"{host} {STREAM_DIALS}")
        return found

    async def guarded(self, host: str, dial: Callable[[], Awaitable[T]]) -> T:
        """Dial if the host's breaker lets it. Raises ExchangeError without a dial where it does not."""
        breaker = self.of(host)
        permit = breaker.acquire(self._clock())
        if not isinstance(permit, Permit):
            raise ExchangeError(
                f"{host} is not dialled: breaker {permit.breaker} is {permit.state}",
                reason=permit.reason,
                retry_after_s=permit.retry_after_s,
                outcome=Outcome.FAILED,
            )
        began = self._clock()
        try:
            opened = await dial()
        except TradingBotError:
            breaker.failure(permit, self._clock(), self._clock() - began, jitter=self._random())
            raise
        except BaseException:  # cancelled, or a fault of our own: no news of the host
            breaker.ignore(permit, self._clock())
            raise
        else:
            breaker.success(permit, self._clock(), self._clock() - began)
            return opened
        finally:
            self.tell()

    def snapshot(self) -> dict[str, Any]:
        now = self._clock()
        return {host: breaker.snapshot(now) for host, breaker in self.breakers.items()}

    def restore(self, kept: Any, elapsed_s: float) -> None:
        """Take up a snapshot, or raise ValidationError."""
        if not isinstance(kept, dict) or len(kept) > HOSTS_MAX:
            raise ValidationError("what was kept of stream dials is damaged: start without it")
        for host, each in kept.items():
            self.of(str(host)).restore(each, self._clock(), elapsed_s=elapsed_s)

    def tell(self) -> None:
        for host, breaker in self.breakers.items():
            tell_breaker(breaker, host, STREAM_DIALS, self._on_event)
