"""`CircuitBreaker`: core/breaker with a clock, a lock and exceptions, for code that has none of these (CONTRACT).

The lock is held for the decision only, never across the protected call (a lock across it makes parallel calls queue:
measured in a Python peer). Refusals are two exceptions because they ask for different things: `CircuitOpenError` means
stay away for ``retry_after_s``, `HalfOpenFullError` means somebody else is finding out right now.
"""

from __future__ import annotations

import functools
import random
import sys
import time
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE, iscoroutinefunction
from threading import Lock
from typing import Any

from jackstay_protocols.errors import Reason, Refused, ValidationError

from .core.bounds import LONGEST_S
from .core.breaker import Breaker, BreakerEvent, BreakerSettings, BreakerState, Permit, Refusal
from .log import get_logger

# Boot time (DESIGN §3 rule 13) without a Python frame around it: this is called twice per protected call.
_CLOCK: Callable[[], float] = (
    functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic
)


class CircuitOpenError(Refused):
    """The breaker is open: nothing was called."""


class HalfOpenFullError(Refused):
    """The breaker is finding out whether it may close, and all its probes are under way: nothing was called."""


class CircuitPermit:
    """Leave for one call; settle it once, with success, failure or ignore. A second word is an error of the caller."""

    __slots__ = ("_breaker", "_permit", "_started_at")

    def __init__(self, breaker: CircuitBreaker, permit: Permit, started_at: float) -> None:
        self._breaker = breaker
        self._permit: Permit | None = permit
        self._started_at = started_at

    def _take(self) -> Permit:
        permit, self._permit = self._permit, None
        if permit is None:
            raise ValidationError(
                f"a permit of breaker {self._breaker.name} was settled twice; settle it once, with success, failure or"
                " ignore"
            )
        return permit

    def success(self, *, duration_s: float | None = None) -> None:
        """It worked; without ``duration_s`` the time since `acquire` counts."""
        self._breaker._settle(self._take(), True, duration_s, self._started_at)

    def failure(self, *, duration_s: float | None = None, retry_after_s: float | None = None) -> None:
        """It failed; ``retry_after_s`` opens the breaker at once and for that long (a Retry-After, a maintenance)."""
        self._breaker._settle(self._take(), False, duration_s, self._started_at, retry_after_s)

    def ignore(self) -> None:
        """Neither: cancelled, or a mistake of our own. The place is free again."""
        self._breaker._ignore(self._take())


class CircuitBreaker:
    """``failure_threshold`` consecutive failures open it, ``recovery_timeout`` seconds later it is half-open.

    Keywords: ``name``; ``clock`` (seconds, boot time by default); any further field of `BreakerSettings` (rates,
    windows, half_open_permits, probe_lease_s, open_growth, open_cap_s ...) or a whole ``settings``; ``ignore``
    (exceptions that count neither way), ``failures`` (exceptions that count as failures; all but the ignored by
    default), ``open_duration_s`` (opens in a row -> seconds), ``on_event`` (called outside the lock, in order of
    happening).
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: int = 30,
        *,
        name: str = "breaker",
        clock: Callable[[], float] = _CLOCK,
        settings: BreakerSettings | None = None,
        ignore: tuple[type[BaseException], ...] = (),
        failures: tuple[type[Exception], ...] = (Exception,),
        open_duration_s: Callable[[int], float] | None = None,
        on_event: Callable[[BreakerEvent], None] | None = None,
        chance: Callable[[], float] = random.random,
        **fields: Any,
    ) -> None:
        if settings is None:
            settings = _settings(failure_threshold, recovery_timeout, fields)
        elif fields:
            raise ValidationError(f"CircuitBreaker has settings and {', '.join(fields)} too; put them into settings")
        self.name = name
        self._clock = clock
        self._chance = chance
        self._ignored = ignore
        self._failures = failures
        self._on_event = on_event
        self._lock = Lock()
        self._breaker = Breaker(settings, name=name, open_duration_s=open_duration_s)
        self._pending = self._breaker.pending
        self._timed = self._breaker.timed

    # -- two steps ----------------------------------------------------------------------------------------------

    def acquire(self) -> CircuitPermit:
        """A permit, or CircuitOpenError / HalfOpenFullError, both with ``retry_after_s``."""
        permit, now = self._admit()
        return CircuitPermit(self, permit, now)

    def _refusal(self, refusal: Permit | Refusal) -> Refused:
        assert isinstance(refusal, Refusal)
        after_s = refusal.retry_after_s
        kind = HalfOpenFullError if refusal.reason is Reason.HALF_OPEN_FULL else CircuitOpenError
        when = "" if after_s is None else f"; ask again in {after_s:.3f} s"
        return kind(f"breaker {refusal.breaker} is {refusal.state}{when}", reason=refusal.reason, retry_after_s=after_s)

    def _settle(
        self, permit: Permit, ok: bool, duration_s: float | None, started_at: float, retry_after_s: float | None = None
    ) -> None:
        now = self._clock()
        took_s = now - started_at if duration_s is None else duration_s
        with self._lock:
            if ok:
                self._breaker.success(permit, now, took_s)
            else:
                until = None if retry_after_s is None else now + retry_after_s
                self._breaker.failure(permit, now, took_s, jitter=self._chance(), open_until=until)
        self._tell()

    def _ignore(self, permit: Permit) -> None:
        with self._lock:
            self._breaker.ignore(permit, self._clock())

    def _settle_error(self, permit: CircuitPermit, error: BaseException) -> None:
        """What an exception means: what is not an Exception (cancellation, exit) is neither success nor failure."""
        if not isinstance(error, Exception) or isinstance(error, self._ignored):
            permit.ignore()
        elif isinstance(error, self._failures):
            permit.failure()
        else:
            permit.success()  # a business answer: the other side works

    def judge_by(
        self,
        *,
        failures: tuple[type[Exception], ...] | None = None,
        ignore: tuple[type[BaseException], ...] | None = None,
    ) -> None:
        """Which exceptions count as failures, and which count neither way; None leaves it as it is."""
        if failures is not None:
            self._failures = failures
        if ignore is not None:
            self._ignored = ignore

    # -- one step -----------------------------------------------------------------------------------------------

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``func`` under protection; for a coroutine function an awaitable comes back, admitted when awaited."""
        try:  # functions and methods: their flags say it, in a tenth of the time that inspect takes
            later = func.__code__.co_flags & CO_COROUTINE
        except AttributeError:
            later = iscoroutinefunction(func)
        if later:
            return self._call_later(func, args, kwargs)
        breaker = self._breaker
        permit, began = breaker.free, 0.0
        if permit is None or self._timed:  # else: closed, and no clock is needed to say so
            permit, began = self._admit()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self._settle_error(CircuitPermit(self, permit, began), error)
            raise
        if hasattr(result, "__await__"):  # not done yet: its end decides (a lambda around a coroutine, a future)
            return self._see_through(permit, began, result)
        if permit is breaker.free and not self._timed:
            with self._lock:
                breaker.success(permit, began)
        else:
            self._succeeded(permit, began)
        return result

    def _admit(self) -> tuple[Permit, float]:
        """`acquire` without the permit object of the two-step use."""
        now = self._clock()
        with self._lock:
            answer = self._breaker.acquire(now)
        if self._pending:
            self._tell()
        if type(answer) is Permit:
            return answer, now
        raise self._refusal(answer)

    def _succeeded(self, permit: Permit, began: float) -> None:
        now = self._clock()
        with self._lock:
            self._breaker.success(permit, now, now - began)
        if self._pending:
            self._tell()

    async def _call_later(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        breaker = self._breaker
        permit, began = breaker.free, 0.0
        if permit is None or self._timed:
            permit, began = self._admit()
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            self._settle_error(CircuitPermit(self, permit, began), error)
            raise
        if permit is breaker.free and not self._timed:
            with self._lock:
                breaker.success(permit, began)
        else:
            self._succeeded(permit, began)
        return result

    async def _see_through(self, permit: Permit, began: float, result: Awaitable[Any]) -> Any:
        try:
            value = await result
        except BaseException as error:
            self._settle_error(CircuitPermit(self, permit, began), error)
            raise
        self._succeeded(permit, began)
        return value

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> BreakerState:
        """As of the last call: an open breaker becomes half-open by the next `acquire`, not by being looked at."""
        return self._breaker.state

    @property
    def settings(self) -> BreakerSettings:
        return self._breaker.settings

    @property
    def counts(self) -> dict[str, int]:
        return self._breaker.counts

    def should_transition_to_half_open(self) -> bool:
        """It is open and its time is over: the next call will be a probe."""
        with self._lock:
            until = self._breaker.until
            return self._breaker.state is BreakerState.OPEN and until is not None and self._clock() >= until

    def force(self, state: BreakerState, *, why: str, for_s: float | None = None) -> None:
        """An operator's word: OPEN (trip), CLOSED (reset), FORCED_OPEN, DISABLED, METRICS_ONLY; perhaps for a time."""
        now = self._clock()
        with self._lock:
            self._breaker.force(state, now, why=why, until=None if for_s is None else now + for_s)
        self._tell()

    def open_for(self, seconds: float, why: str = "told until when") -> None:
        """Open for at least that long (Retry-After, end of maintenance); never shortens."""
        now = self._clock()
        with self._lock:
            self._breaker.open_until(now + seconds, now, why)
        self._tell()

    def snapshot(self) -> dict[str, Any]:
        """Plain values, to be kept across a restart."""
        with self._lock:
            return self._breaker.snapshot(self._clock())

    def restore(self, data: dict[str, Any], *, elapsed_s: float = 0.0) -> None:
        """Take up a snapshot taken ``elapsed_s`` seconds ago; ValidationError if it is none."""
        with self._lock:
            self._breaker.restore(data, self._clock(), elapsed_s=elapsed_s)

    def _tell(self) -> None:
        """Hand events on outside the lock, so that a listener may use the breaker."""
        if self._pending:
            with self._lock:
                events = self._breaker.drain_events()
            for event in events:
                try:
                    if self._on_event is not None:
                        self._on_event(event)
                except Exception:  # a listener's fault must not become the protected call's
                    get_logger(__name__).exception("breaker.listener_failed", breaker=self.name, kind=event.kind)


def _settings(failure_threshold: int, recovery_timeout: float, fields: dict[str, Any]) -> BreakerSettings:
    if isinstance(recovery_timeout, int | float) and 3600 < recovery_timeout <= LONGEST_S:
        fields.setdefault("open_cap_s", recovery_timeout)  # the cap is for growth; a flat long time is meant
    try:
        return BreakerSettings(failure_threshold=failure_threshold, open_s=recovery_timeout, **fields)
    except TypeError as error:
        known = ", ".join(BreakerSettings.__dataclass_fields__)
        raise ValidationError(f"CircuitBreaker: {error}; known settings are {known}") from error
