"""`ErrorHandler`: an error becomes facts, is counted, told, and perhaps recovered from (CONTRACT error_handler).

Used by the agent for its own errors and by bots for theirs. It decides how loud an error is and when repeated ones are
louder; it refuses to decide what the error means for an order (that is classification of an answer, core/classify) and
to swallow anything: whoever raised gets the error back.

Imports are light on purpose: bot modules import this at their top.
"""

from __future__ import annotations

import builtins
import os
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any

from jackstay_protocols import errors as taxonomy
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ErrorSeverity, TradingBotError, ValidationError
from jackstay_protocols.types import ErrorPattern

from .breaker import CircuitBreaker, CircuitOpenError, CircuitPermit, HalfOpenFullError
from .core.breaker import BreakerEvent, BreakerSettings, BreakerState
from .core.escalation import Escalator, Step, Told
from .error_decorator import error_handler_decorator
from .error_settings import DEFAULT_BREAKERS, DEFAULT_ESCALATION, ErrorSettings, Escalation, SeveritySettings
from .log import get_logger
from .redact import redact, redact_text

__all__ = [
    "BreakerEvent",
    "BreakerSettings",
    "BreakerState",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitPermit",
    "ErrorContext",
    "ErrorEvent",
    "ErrorHandler",
    "ErrorSettings",
    "ErrorSeverity",
    "Escalation",
    "HalfOpenFullError",
    "SeveritySettings",
    "causes_of",
    "context_of",
    "error_handler_decorator",
]

_LEVELS = {
    ErrorSeverity.LOW: "info",
    ErrorSeverity.MEDIUM: "warning",
    ErrorSeverity.HIGH: "error",
    ErrorSeverity.CRITICAL: "critical",
}
#: Named fields a scenario finds in its context although the caller put them into the error context only.
_NAMED = ("symbol", "order_id", "bot_id", "user_id", "component", "operation")
CAUSES_MAX = 8  # a longer chain is a loop in disguise
NAME_MAX = 200  # characters of a component's, operation's or type's name


@dataclass
class ErrorContext:
    """The facts of one error. ``details`` and ``stack_trace`` carry no secrets; ``error`` is the exception itself."""

    error_id: str
    timestamp: datetime
    severity: ErrorSeverity
    component: str
    operation: str
    error: Exception
    user_id: str | None = None
    bot_id: str | None = None
    symbol: str | None = None
    order_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    stack_trace: str | None = None
    recovery_attempts: int = 0
    max_recovery_attempts: int = 3


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Told to listeners. ``kind``: error, escalated, calmed or recovered. Words and numbers, never the exception.

    ``causes``: what it was raised from, nearest first, as "Type: message"; a listener may send it over any wire.
    ``number``: errors are numbered from 1 as they are recorded, so that a reader can go on where it stopped.
    """

    kind: str
    error_id: str
    timestamp: datetime
    severity: ErrorSeverity
    component: str
    operation: str
    error_type: str
    message: str
    repeats: int = 1
    causes: tuple[str, ...] = ()
    bot_id: str | None = None
    symbol: str | None = None
    order_id: str | None = None
    number: int = 0


def causes_of(error: BaseException) -> tuple[str, ...]:
    """The chain an error was raised from, nearest first, without secrets; bounded, and loops end."""
    causes: list[str] = []
    seen = {id(error)}
    while len(causes) < CAUSES_MAX:
        following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if following is None or id(following) in seen:
            break
        seen.add(id(following))
        causes.append(redact_text(f"{type(following).__name__}: {following}", 200))
        error = following
    return tuple(causes)


def context_of(error: BaseException | None) -> ErrorContext | None:
    """The context an error was given, found through ``raise ... from`` and implicit chains too; or None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        found = getattr(error, "__jackstay_context__", None)
        if isinstance(found, ErrorContext):
            return found
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


class ErrorHandler:
    """Classifies, records, escalates and recovers. Safe to share between threads and between tasks.

    Keywords: ``clock`` (seconds, boot time), ``wall`` (aware UTC now), ``on_event`` (gets `ErrorEvent`s), ``log``
    (False: write no log lines).
    """

    def __init__(
        self,
        config: Any,
        *,
        clock: Callable[[], float] = boot_s,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_event: Callable[[ErrorEvent], None] | None = None,
        log: bool = True,
    ) -> None:
        self.config = config
        self.settings: ErrorSettings = getattr(config, "errors", None) or ErrorSettings()
        self.on_event = on_event
        self._clock = clock
        self._wall = wall
        self._log = get_logger(__name__) if log else None
        self._lock = Lock()
        self._recent: deque[ErrorEvent] = deque(maxlen=self.settings.recent_max)
        self.recorded = 0  # errors since the start
        self._patterns: OrderedDict[tuple[str, str], list[Any]] = OrderedDict()
        self._escalation = {**DEFAULT_ESCALATION, **self.settings.severity.escalation}
        self._breaker_settings = {**DEFAULT_BREAKERS, **self.settings.breakers}
        self._escalator = Escalator(
            {level: (e.repeats, e.within_s) for level, e in self._escalation.items()},
            keys_max=self.settings.patterns_max,
        )
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()
        for name in self._breaker_settings:
            self.circuit_breaker(name)

    # -- facts --------------------------------------------------------------------------------------------------

    def classify_error(self, error: Exception) -> ErrorSeverity:
        """How loud: the configured level of its nearest class, else the exception's own, else HIGH for connection and
        time-out errors and MEDIUM for the rest.
        """
        levels = self.settings.severity.levels
        for kind in type(error).__mro__ if levels else ():
            level = levels.get(kind.__name__) or levels.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
            if level is not None:
                return ErrorSeverity(level)
        if isinstance(error, TradingBotError):
            return error.default_severity
        if isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in ("gaierror", "herror"):
            return ErrorSeverity.HIGH
        return ErrorSeverity.MEDIUM

    def create_error_context(
        self,
        error: Exception,
        component: str,
        operation: str,
        user_id: str | None = None,
        bot_id: str | None = None,
        symbol: str | None = None,
        order_id: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> ErrorContext:
        """Gather the facts, secrets taken out, and attach them to the error (`context_of` finds them again)."""
        if not isinstance(error, Exception):
            raise ValidationError(
                f"create_error_context was given a {type(error).__name__} as error; an Exception is expected"
            )
        own = getattr(error, "details", None)
        facts = {**own, **(details or {})} if isinstance(own, dict) else dict(details or {})
        context = ErrorContext(
            error_id=os.urandom(16).hex(),
            timestamp=self._wall(),
            severity=self.classify_error(error),
            component=component,
            operation=operation,
            error=error,
            user_id=user_id,
            bot_id=bot_id,
            symbol=symbol,
            order_id=order_id,
            details=redact(facts),
            stack_trace=redact_text("".join(traceback.format_exception(error))),
            max_recovery_attempts=self.settings.max_recovery_attempts,
        )
        try:
            error.__jackstay_context__ = context  # type: ignore[attr-defined]
        except (AttributeError, TypeError):  # an exception with slots; it travels without
            pass
        return context

    # -- handling -----------------------------------------------------------------------------------------------

    async def handle_error(self, context: ErrorContext, recovery_scenario: Any = None) -> bool:
        """Record, escalate, recover; True only if the scenario said True. Each call is one recovery attempt, and past
        ``max_recovery_attempts`` none is made. A scenario's own failure leaves ``context.error`` as it is. Cancellation
        passes.
        """
        if context.recovery_attempts == 0:  # further attempts on the same error are not further errors
            self.record(context)
        if recovery_scenario is None or context.recovery_attempts >= context.max_recovery_attempts:
            return False
        context.recovery_attempts += 1
        try:
            recovered = await recovery_scenario.execute_recovery(self._scenario_context(context)) is True
        except Exception as failure:
            context.details["recovery_error"] = redact_text(f"{type(failure).__name__}: {failure}", 1000)
            self._write("error", "recovery.failed", context, scenario=type(recovery_scenario).__name__)
            return False
        if recovered:
            self._tell(self._event("recovered", context, context.severity))
        return recovered

    def _scenario_context(self, context: ErrorContext) -> dict[str, Any]:
        facts = dict(context.details)
        for name in _NAMED:
            value = getattr(context, name)
            if value is not None:
                facts.setdefault(name, value)
        return facts

    def record(self, context: ErrorContext) -> ErrorSeverity:
        """Count and tell an error without recovering; says its severity after escalation."""
        event, step = self._book(self._event("error", context, context.severity))
        context.severity = event.severity
        self._write(_LEVELS[event.severity], "error", context)
        self._tell_of(event, step)
        return event.severity

    def note(
        self,
        *,
        component: str,
        operation: str,
        error_type: str,
        message: str,
        severity: ErrorSeverity | str | None = None,
        bot_id: str | None = None,
        symbol: str | None = None,
        order_id: str | None = None,
        causes: Iterable[str] = (),
    ) -> ErrorEvent:
        """Count and tell an error that happened elsewhere, by its facts: a bot's report, a venue's answer. Secrets are
        taken out; a severity that is none is judged by the type's name. No log line: whoever told it has its own.
        """
        known = {each.value for each in ErrorSeverity}
        event = ErrorEvent(
            kind="error",
            error_id=os.urandom(16).hex(),
            timestamp=self._wall(),
            severity=ErrorSeverity(severity) if severity in known else self._severity_of(error_type),
            component=component[:NAME_MAX],
            operation=operation[:NAME_MAX],
            error_type=error_type[:NAME_MAX],
            message=redact_text(message, 500),
            causes=tuple(redact_text(str(each), 200) for each in islice(causes, CAUSES_MAX)),
            bot_id=bot_id,
            symbol=symbol,
            order_id=order_id,
        )
        event, step = self._book(event)
        self._tell_of(event, step)
        return event

    def _severity_of(self, error_type: str) -> ErrorSeverity:
        """By name alone: the configured level, else that of our own or Python's class of that name, else MEDIUM."""
        levels, short = self.settings.severity.levels, error_type.rpartition(".")[2]
        level = levels.get(error_type) or levels.get(short)
        if level is not None:
            return ErrorSeverity(level)
        kind = getattr(taxonomy, short, None) or getattr(builtins, short, None)
        if isinstance(kind, type) and issubclass(kind, TradingBotError):
            return kind.default_severity
        urgent = isinstance(kind, type) and issubclass(kind, ConnectionError | TimeoutError)
        return ErrorSeverity.HIGH if urgent else ErrorSeverity.MEDIUM

    def _book(self, event: ErrorEvent) -> tuple[ErrorEvent, Step]:
        """Escalate, number, keep and count."""
        key = (event.component, event.error_type)
        with self._lock:
            step = self._escalator.seen(key, event.severity, self._clock())
            self.recorded += 1
            event = replace(event, severity=step.severity, number=self.recorded)
            self._recent.append(event)
            row = self._patterns.get(key)
            if row is None:
                if len(self._patterns) >= self.settings.patterns_max:
                    self._patterns.popitem(last=False)
                self._patterns[key] = [1, event.severity, event.timestamp, event.timestamp, event.operation]
            else:
                row[0] += 1
                row[1], row[3], row[4] = event.severity, event.timestamp, event.operation
                self._patterns.move_to_end(key)
        return event, step

    def _tell_of(self, event: ErrorEvent, step: Step) -> None:
        if self._escalation[event.severity].notify:
            self._tell(event)
        if step.told is not Told.NOTHING:
            self._tell(replace(event, kind=step.told.value, repeats=step.repeats))

    def _event(self, kind: str, context: ErrorContext, severity: ErrorSeverity) -> ErrorEvent:
        return ErrorEvent(
            kind,
            context.error_id,
            context.timestamp,
            severity,
            context.component,
            context.operation,
            type(context.error).__name__,
            redact_text(str(context.error), 500),
            1,
            causes_of(context.error),
            context.bot_id,
            context.symbol,
            context.order_id,
        )

    def _tell(self, event: ErrorEvent) -> None:
        if self.on_event is not None:
            try:
                self.on_event(event)
            except Exception:  # a listener's fault must not hide the error being told
                if self._log is not None:
                    self._log.exception("error.listener_failed", error_id=event.error_id)

    def _write(self, level: str, event: str, context: ErrorContext, **more: Any) -> None:
        if self._log is not None:
            facts = {name: getattr(context, name) for name in _NAMED if getattr(context, name) is not None}
            message = redact_text(str(context.error), 500)
            kind = type(context.error).__name__
            getattr(self._log, level)(event, error_id=context.error_id, error_type=kind, error=message, **facts, **more)

    # -- showing ------------------------------------------------------------------------------------------------

    def get_retry_policy(self, error_type: str) -> dict[str, Any]:
        """The policy for "network", "api_rate_limit", "database" or a name of the user's; others get the default.

        Keys: error_type, curve, base_s, factor, cap_s, jitter, attempts_max, total_s.
        """
        policy = self.settings.retry.policy(error_type)
        b = policy.backoff
        return {
            "error_type": error_type,
            "curve": b.curve,
            "base_s": b.base_s,
            "factor": b.factor,
            "cap_s": b.cap_s,
            "jitter": b.jitter,
            "attempts_max": policy.attempts_max,
            "total_s": policy.total_s,
        }

    def circuit_breaker(
        self,
        name: str,
        *,
        failures: tuple[type[Exception], ...] | None = None,
        ignore: tuple[type[BaseException], ...] | None = None,
    ) -> CircuitBreaker:
        """The breaker of that name; made with its configured settings (or the defaults) when first asked for.

        ``failures`` and ``ignore`` say what its errors mean, as `CircuitBreaker` explains; the configuration cannot
        know that. They hold for everyone who uses this breaker, from now on.
        """
        breaker = self._breaker_named(name)
        if failures is not None or ignore is not None:
            breaker.judge_by(failures=failures, ignore=ignore)
        return breaker

    def _breaker_named(self, name: str) -> CircuitBreaker:
        with self._lock:
            breaker = self._breakers.get(name)
            if breaker is None:
                if len(self._breakers) >= self.settings.breakers_max:
                    raise ValidationError(
                        f"{len(self._breakers)} breakers exist already; name them after what they protect, not after"
                        " each call"
                    )
                settings = self._breaker_settings.get(name) or BreakerSettings()
                breaker = self._breakers[name] = CircuitBreaker(name=name, clock=self._clock, settings=settings)
            return breaker

    def get_circuit_breaker_status(self) -> dict[str, str]:
        """Name -> state, as of now: a breaker whose open time is over says half_open."""
        with self._lock:
            breakers = list(self._breakers.items())
        return {
            name: (BreakerState.HALF_OPEN if b.should_transition_to_half_open() else b.state).value
            for name, b in breakers
        }

    def get_error_patterns(self) -> dict[str, ErrorPattern]:
        """ "component:ErrorType" -> how often, since when, how loud."""
        with self._lock:
            rows = [(key, list(row)) for key, row in self._patterns.items()]
        return {
            f"{component}:{error_type}": ErrorPattern(
                pattern_id=f"{component}:{error_type}",
                kind="frequency",
                component=component,
                error_type=error_type,
                frequency=count,
                severity=severity,
                first_seen=first,
                last_seen=last,
                confidence=1.0,
                evidence={"count": count, "last_operation": operation},
            )
            for (component, error_type), (count, severity, first, last, operation) in rows
        }

    def recent_errors(
        self,
        count: int = 100,
        *,
        component: str | None = None,
        severity: ErrorSeverity | None = None,
        after: int = 0,
    ) -> list[ErrorEvent]:
        """The last errors, newest last; ``after``: only those with a higher number."""
        with self._lock:
            events = list(self._recent)
        wanted = [
            e
            for e in events
            if e.number > after
            and (component is None or e.component == component)
            and (severity is None or e.severity == severity)
        ]
        return wanted[-count:] if count > 0 else []
