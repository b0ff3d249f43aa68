"""Decorators for bot code: `time_execution`, `retry`, `circuit_breaker` (CONTRACT Shared words).

Each works on functions, methods and coroutine functions, keeps their metadata, and leaves cancellation alone. They are
thin: the decisions are core/retry's and core/breaker's.
"""

from __future__ import annotations

import functools
import inspect
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Outcome, TradingBotError, ValidationError

from .breaker import CircuitBreaker, CircuitOpenError, HalfOpenFullError
from .core.backoff import Backoff
from .core.retry import NoRetry, RetryBudget, RetryPolicy, RetryState, may_retry
from .error_decorator import is_coroutine_function
from .log import get_logger

F = TypeVar("F", bound=Callable[..., Any])

_BUDGET = RetryBudget()  # shared by all decorated functions of the process: that is what makes it a budget


def time_execution(
    func: F | None = None,
    *,
    name: str | None = None,
    warn_over_s: float | None = None,
    report: Callable[[str, float, bool], None] | None = None,
) -> Any:
    """Measure each call. ``report(name, seconds, ok)`` gets the figure; without it a log line does (debug, or warning
    if slower than ``warn_over_s``). Usable with and without brackets.
    """
    if func is None:
        return functools.partial(time_execution, name=name, warn_over_s=warn_over_s, report=report)
    label = name or str(getattr(func, "__qualname__", type(func).__name__))
    tell = report or functools.partial(_log_duration, get_logger(getattr(func, "__module__", __name__)), warn_over_s)

    async def timed(*args: Any, **kwargs: Any) -> Any:
        began, ok = boot_s(), False
        try:
            result = await func(*args, **kwargs)
            ok = True
            return result
        finally:
            tell(label, boot_s() - began, ok)

    def timed_plainly(*args: Any, **kwargs: Any) -> Any:
        began, ok = boot_s(), False
        try:
            result = func(*args, **kwargs)
            ok = True
            return result
        finally:
            tell(label, boot_s() - began, ok)

    return functools.wraps(func)(timed if is_coroutine_function(func) else timed_plainly)


def _log_duration(logger: Any, warn_over_s: float | None, name: str, seconds: float, ok: bool) -> None:
    slow = warn_over_s is not None and seconds > warn_over_s
    (logger.warning if slow else logger.debug)("call.timed", call=name, seconds=round(seconds, 6), ok=ok)


def retry(
    func: F | None = None,
    *,
    attempts_max: int = 3,
    base_s: float = 0.5,
    cap_s: float = 10.0,
    curve: str = "exponential",
    total_s: float = 30.0,
    on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
    policy: RetryPolicy | None = None,
    budget: RetryBudget | None = None,
    clock: Callable[[], float] = boot_s,
    chance: Callable[[], float] = random.random,
    sleep: Callable[[float], Any] | None = None,
) -> Any:
    """Call again after an error of ``on``, with full jitter, within ``total_s`` seconds for everything together.

    Decorate only what may safely happen twice: an error whose ``outcome`` is unknown is never retried, an open
    breaker's refusal neither. An error's ``retry_after_s`` is obeyed. The last error is raised as it is. Usable with
    and without brackets.
    """
    rules = policy or RetryPolicy(Backoff(curve, base_s=base_s, cap_s=max(cap_s, base_s)), attempts_max, total_s)
    if func is None:
        return functools.partial(retry, on=on, policy=rules, budget=budget, clock=clock, chance=chance, sleep=sleep)
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise ValidationError(f"{func.__qualname__} is a generator function; decorate what consumes it instead")
    loop = _RetryLoop(rules, budget or _BUDGET, on, clock, chance)

    async def retried(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        waits = loop.waits()
        while True:
            try:
                return await func(*args, **kwargs)
            except on as error:
                delay_s = waits(error)
                if delay_s is None:
                    raise
            await (sleep or asyncio.sleep)(delay_s)

    def retried_plainly(*args: Any, **kwargs: Any) -> Any:
        waits = loop.waits()
        while True:
            try:
                return func(*args, **kwargs)
            except on as error:
                delay_s = waits(error)
                if delay_s is None:
                    raise
            (sleep or time.sleep)(delay_s)

    return functools.wraps(func)(retried if is_coroutine_function(func) else retried_plainly)


class _RetryLoop:
    """What one decorated function knows; `waits` makes the state of one call."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        on: tuple[type[Exception], ...],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._chance = chance

    def waits(self) -> Callable[[Exception], float | None]:
        """A function of the error: seconds to wait before the next attempt, or None: raise."""
        began = self._clock()
        self._budget.called(began)
        state = RetryState.begin(self._policy, began)

        def wait_s(error: Exception) -> float | None:
            nonlocal state
            if isinstance(error, CircuitOpenError | HalfOpenFullError):
                return None
            if isinstance(error, TradingBotError) and error.outcome in (Outcome.UNKNOWN, Outcome.REJECTED):
                return None
            now = self._clock()
            after_s = getattr(error, "retry_after_s", None)
            answer = may_retry(
                state, self._policy, self._budget, now, chance=self._chance(), retry_after_s=_seconds(after_s)
            )
            if isinstance(answer, NoRetry):
                return None
            state = answer.state
            return answer.at - now

        return wait_s


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def circuit_breaker(func: F | None = None, *, breaker: CircuitBreaker | None = None, **settings: Any) -> Any:
    """Protect a function with a breaker: the given one, or an own of ``CircuitBreaker(**settings)`` named after the
    function. The breaker is the decorated function's ``.breaker``. Usable with and without brackets.
    """
    if func is None:
        return functools.partial(circuit_breaker, breaker=breaker, **settings)
    if breaker is None:
        settings.setdefault("name", getattr(func, "__qualname__", type(func).__name__))
        breaker = CircuitBreaker(**settings)
    elif settings:
        raise ValidationError(f"circuit_breaker was given a breaker and {', '.join(settings)} too; give one of them")
    guard = breaker

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        return await guard.call(func, *args, **kwargs)

    def guarded_plainly(*args: Any, **kwargs: Any) -> Any:
        return guard.call(func, *args, **kwargs)

    wrapped = functools.wraps(func)(guarded if is_coroutine_function(func) else guarded_plainly)
    wrapped.breaker = guard  # type: ignore[attr-defined]
    return wrapped
