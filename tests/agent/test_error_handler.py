"""ErrorHandler and its decorator, by the contract."""

import asyncio
import functools
import inspect
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from jackstay_agent.breaker import CircuitBreaker
from jackstay_agent.core.breaker import BreakerSettings, BreakerState
from jackstay_agent.core.retry import RetryPolicy, RetrySettings
from jackstay_agent.error_handler import (
    ErrorContext,
    ErrorHandler,
    ErrorSettings,
    ErrorSeverity,
    Escalation,
    SeveritySettings,
    context_of,
    error_handler_decorator,
)
from jackstay_agent.recovery_scenarios import RecoveryScenario
from jackstay_protocols import errors
from jackstay_protocols.errors import ValidationError

LOW, MEDIUM, HIGH, CRITICAL = ErrorSeverity.LOW, ErrorSeverity.MEDIUM, ErrorSeverity.HIGH, ErrorSeverity.CRITICAL
SECRET = "hunter2hunter2"


class Scenario(RecoveryScenario):
    """Answers, or raises, what the test says; remembers what it was given."""

    def __init__(self, *answers):
        super().__init__(None)
        self.answers, self.given = list(answers), []

    async def execute_recovery(self, context):
        self.given.append(context)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def config(**fields):
    return SimpleNamespace(errors=ErrorSettings(**fields))


def handler(cfg=None, **more):
    return ErrorHandler(cfg, log=False, **more)


def context(h=None, error=None, **more):
    return (h or handler()).create_error_context(error or ConnectionError("lost"), "exchange", "place", **more)


def raised(error):
    try:
        raise error
    except type(error) as e:
        return e


# -- classification ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.StateConsistencyError(), CRITICAL),
        (errors.SecurityError(), CRITICAL),
        (errors.RiskManagementError(), HIGH),
        (errors.ExchangeError(), HIGH),
        (errors.ExecutionError(), HIGH),
        (errors.AgentGone(), HIGH),
        (errors.DataError(), MEDIUM),
        (errors.ModelError(), MEDIUM),
        (errors.ValidationError(), LOW),
        (ConnectionResetError(), HIGH),
        (TimeoutError(), HIGH),
        (type("gaierror", (OSError,), {})(), HIGH),
        (ValueError(), MEDIUM),
        (OSError(), MEDIUM),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else str(v),
)
def test_default_severities(error, expected):
    """The contract's list."""
    assert handler().classify_error(error) is expected


def test_severities_are_configurable_by_the_nearest_class():
    """By name, by module and name, for subclasses too."""
    Network = type("NetworkError", (Exception,), {"__module__": "ccxt.base.errors"})
    Timeout = type("RequestTimeout", (Network,), {"__module__": "ccxt.base.errors"})
    levels = {"ccxt.NetworkError": HIGH, "ValueError": LOW, "ValidationError": CRITICAL}
    h = handler(config(severity=SeveritySettings(levels=levels)))
    assert h.classify_error(Timeout()) is HIGH
    assert h.classify_error(ValueError()) is LOW
    assert h.classify_error(UnicodeError()) is LOW
    assert h.classify_error(errors.ValidationError()) is CRITICAL
    assert h.classify_error(KeyError()) is MEDIUM
    with pytest.raises(ValidationError, match="levels"):
        SeveritySettings(levels={"ValueError": "loud"})
    with pytest.raises(ValidationError, match="escalation"):
        SeveritySettings(escalation={"loud": Escalation()})


@pytest.mark.parametrize("fields", [{"recent_max": 0}, {"max_recovery_attempts": -1}, {"patterns_max": 10**9}], ids=str)
def test_bad_settings_are_refused(fields):
    """Everything is bounded."""
    with pytest.raises(ValidationError, match="ErrorSettings"):
        ErrorSettings(**fields)


# -- context --------------------------------------------------------------------------------------------------------


def test_a_context_holds_the_facts():
    """Who, what, where, when (aware UTC), why; an id of its own."""
    error = raised(errors.ExchangeError("no", details={"code": -1}))
    c = handler().create_error_context(
        error, "exchange", "place", user_id="u", bot_id="b", symbol="BTCUSDT", order_id="7", details={"n": 1}
    )
    assert (c.component, c.operation, c.user_id, c.bot_id, c.symbol, c.order_id) == (
        "exchange",
        "place",
        "u",
        "b",
        "BTCUSDT",
        "7",
    )
    assert (c.error, c.severity, c.details) == (error, HIGH, {"code": -1, "n": 1})
    assert c.timestamp.tzinfo is UTC
    assert "raise error" in c.stack_trace
    assert (c.recovery_attempts, c.max_recovery_attempts) == (0, 3)
    assert c.error_id != context().error_id
    with pytest.raises(ValidationError, match="an Exception is expected"):
        handler().create_error_context("boom", "a", "b")


def test_the_contexts_defaults_are_the_contracts():
    """The dataclass can be made by hand with six facts."""
    c = ErrorContext("id", datetime.now(UTC), LOW, "c", "o", ValueError())
    assert (c.details, c.stack_trace, c.recovery_attempts, c.max_recovery_attempts) == ({}, None, 0, 3)


def test_secrets_are_redacted_from_details_and_stack_traces(capsys):
    """Neither the details, the trace, the recorded message nor the log line carries them."""
    h = ErrorHandler(None)
    error = raised(ConnectionError(f"POST https://x/?signature={SECRET}"))
    c = h.create_error_context(error, "exchange", "place", details={"api_key": SECRET})
    h.record(c)
    assert SECRET not in repr(c.details)
    assert SECRET not in c.stack_trace
    assert SECRET not in repr(h.recent_errors())
    line = capsys.readouterr().err
    assert SECRET not in line
    assert c.error_id in line


def test_the_context_survives_a_re_raise():
    """Found again through `raise ... from`, through implicit chains, not through nothing; loops end."""
    error = ValueError("inner")
    c = context(error=error)
    with pytest.raises(RuntimeError) as outer:
        raise RuntimeError("outer") from error
    assert context_of(outer.value) is c
    assert outer.value.__cause__ is error

    def fail_while_handling():
        try:
            raise error
        except ValueError:
            raise KeyError("while handling")  # noqa: B904

    with pytest.raises(KeyError) as outer:
        fail_while_handling()
    assert context_of(outer.value) is c
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert context_of(one) is None
    assert context_of(None) is None


def test_an_exception_that_takes_no_attributes_travels_without():
    """Nothing breaks because of a class that refuses."""

    class Closed(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    error = Closed()
    assert context(error=error).error is error
    assert context_of(error) is None


# -- handling -------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "expected"), [(True, True), (False, False), (None, False), (1, False), ("yes", False)]
)
async def test_true_only_if_the_scenario_returned_true(answer, expected):
    """Anything but True is no evidence."""
    assert await handler().handle_error(context(), Scenario(answer)) is expected


@pytest.mark.asyncio
async def test_a_scenario_that_raises_is_no_recovery_and_the_original_is_kept():
    """The scenario's own failure becomes a detail, without secrets."""
    error = ConnectionError("lost")
    c = context(error=error)
    assert await handler().handle_error(c, Scenario(RuntimeError(f"password={SECRET}"))) is False
    assert c.error is error
    assert c.details["recovery_error"] == "RuntimeError: password=[redacted]"


@pytest.mark.asyncio
async def test_attempts_rise_and_stop_at_their_maximum():
    """Three attempts, and the scenario is not asked a fourth time; the error counts once."""
    h, c, scenario = handler(), None, Scenario(False, False, False)
    c = context(h)
    for attempt in (1, 2, 3, 3):
        assert await h.handle_error(c, scenario) is False
        assert c.recovery_attempts == attempt
    assert len(scenario.given) == 3
    assert h.get_error_patterns()["exchange:ConnectionError"].frequency == 1
    assert await h.handle_error(context(h)) is False


@pytest.mark.asyncio
async def test_the_scenario_finds_the_named_fields_in_its_context():
    """Filled in where missing, never over what the caller said."""
    scenario = Scenario(True)
    c = context(symbol="BTCUSDT", order_id="7", bot_id="b", details={"symbol": "ETHUSDT", "extra": 1})
    await handler().handle_error(c, scenario)
    assert scenario.given == [
        {
            "symbol": "ETHUSDT",
            "extra": 1,
            "order_id": "7",
            "bot_id": "b",
            "component": "exchange",
            "operation": "place",
        }
    ]


@pytest.mark.asyncio
async def test_cancellation_of_a_recovery_passes():
    """Cancelled is neither recovered nor failed."""
    with pytest.raises(asyncio.CancelledError):
        await handler().handle_error(context(), Scenario(asyncio.CancelledError()))


# -- escalation and showing --------------------------------------------------------------------------------------------


def test_repeated_errors_are_one_step_up_told_once():
    """Three of a kind within ten seconds: louder, one event; ten quiet seconds: calm, one event."""
    now, told = [0.0], []
    policy = SeveritySettings(escalation={MEDIUM: Escalation(repeats=3, within_s=10.0)})
    h = handler(config(severity=policy), clock=lambda: now[0], on_event=told.append)
    severities = [h.record(context(h, ValueError(str(n)))) for n in range(4)]
    assert severities == [MEDIUM, MEDIUM, HIGH, HIGH]
    now[0] = 20.0
    assert h.record(context(h, ValueError())) is MEDIUM
    assert [(e.kind, e.severity, e.repeats) for e in told if e.kind != "error"] == [
        ("escalated", HIGH, 3),
        ("calmed", MEDIUM, 1),
    ]
    assert h.get_error_patterns()["exchange:ValueError"].frequency == 5


@pytest.mark.asyncio
async def test_listeners_hear_what_their_policy_says_and_their_faults_are_theirs(capsys):
    """HIGH is told by default, MEDIUM not; a recovery is told; a listener that raises hides nothing."""
    told = []
    h = handler(on_event=told.append)
    h.record(context(h, ValueError()))
    await h.handle_error(context(h), Scenario(True))
    assert [(e.kind, e.error_type) for e in told] == [("error", "ConnectionError"), ("recovered", "ConnectionError")]

    def broken(event):
        raise RuntimeError("listener")

    loud = ErrorHandler(None, on_event=broken)
    loud.record(context(loud))
    assert "error.listener_failed" in capsys.readouterr().err
    handler(on_event=broken).record(context())


def test_patterns_and_recent_errors_are_bounded():
    """The longest unseen kind and the oldest error go first."""
    h = handler(config(patterns_max=2, recent_max=2))
    kinds = [ValueError(), KeyError(), ValueError(), TypeError()]
    for error in kinds:
        h.record(context(h, error))
    assert set(h.get_error_patterns()) == {"exchange:ValueError", "exchange:TypeError"}
    assert [e.error_type for e in h.recent_errors()] == ["ValueError", "TypeError"]
    assert h.recent_errors(1)[0].error_type == "TypeError"
    assert h.recent_errors(0) == []
    assert h.recent_errors(component="nobody") == []
    assert len(h.recent_errors(severity=MEDIUM)) == 2


def test_a_pattern_says_how_often_since_when_and_how_loud():
    """Frequency, severity, first and last seen, evidence."""
    times = [datetime(2026, 1, 1, n, tzinfo=UTC) for n in range(3)]
    h = handler(wall=functools.partial(next, iter(times)))
    for _ in times:
        h.record(context(h))
    p = h.get_error_patterns()["exchange:ConnectionError"]
    assert (p.frequency, p.severity, p.first_seen, p.last_seen) == (3, HIGH, times[0], times[2])
    assert (p.component, p.error_type, p.evidence["last_operation"]) == ("exchange", "ConnectionError", "place")


def test_retry_policies_are_plain_values():
    """The three of the contract, the user's own, and the default for the rest."""
    own = {"mine": RetryPolicy(attempts_max=9)}
    h = handler()
    assert h.get_retry_policy("network")["curve"] == "exponential"
    assert h.get_retry_policy("database")["curve"] == "linear"
    assert h.get_retry_policy("api_rate_limit")["attempts_max"] == 5
    assert handler(config(retry=RetrySettings(policies=own))).get_retry_policy("mine")["attempts_max"] == 9
    assert set(h.get_retry_policy("x")) == {
        "error_type",
        "curve",
        "base_s",
        "factor",
        "cap_s",
        "jitter",
        "attempts_max",
        "total_s",
    }


def test_breakers_are_kept_by_name_and_shown_as_words():
    """Configured ones exist from the start; an open one whose time is over says half_open; names are bounded."""
    now = [0.0]
    fast = {"api_calls": BreakerSettings(failure_threshold=1, open_s=5.0)}
    h = handler(config(breakers=fast, breakers_max=3), clock=lambda: now[0])
    assert h.get_circuit_breaker_status() == {"api_calls": "closed", "database_connections": "closed"}
    breaker = h.circuit_breaker("api_calls")
    assert isinstance(breaker, CircuitBreaker)
    breaker.acquire().failure()
    assert h.get_circuit_breaker_status()["api_calls"] == "open"
    now[0] = 5.0
    assert h.get_circuit_breaker_status()["api_calls"] == "half_open"
    assert h.circuit_breaker("other").state is BreakerState.CLOSED
    assert h.circuit_breaker("other") is h.circuit_breaker("other")
    with pytest.raises(ValidationError, match="name them after what they protect"):
        h.circuit_breaker("one more")
    assert set(handler().get_circuit_breaker_status()) == {"api_calls", "database_connections"}


def test_what_counts_as_a_failure_is_said_with_the_breaker():
    """The configuration gives its numbers, the code that uses it the meaning of its errors."""
    h = handler(config(breakers={"database_connections": BreakerSettings(failure_threshold=1)}))
    breaker = h.circuit_breaker("database_connections", failures=(ConnectionError,), ignore=(KeyError,))
    assert h.circuit_breaker("database_connections") is breaker
    for error in (ValueError("a row was refused"), KeyError("our own mistake")):
        with pytest.raises(type(error)):
            breaker.call(Flaky(1, error))
        assert breaker.state is BreakerState.CLOSED
    assert (breaker.counts["ok"], breaker.counts["ignored"]) == (1, 1)
    h.circuit_breaker("database_connections", ignore=())
    with pytest.raises(ConnectionError):
        breaker.call(Flaky(1))
    assert breaker.state is BreakerState.OPEN


# -- the decorator ----------------------------------------------------------------------------------------------------


def guarded(h=None, scenario=None, **more):
    return error_handler_decorator(None, "exchange", scenario, handler=h or handler(), **more)


class Flaky:
    """Fails as often as told, then answers."""

    def __init__(self, failures, error=None):
        self.failures, self.calls, self.error = failures, 0, error or ConnectionError("lost")

    def __call__(self, value="done"):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return value


def test_the_original_is_raised_again_with_its_cause():
    """The very same object, its __cause__ untouched, its context attached."""
    cause, error = KeyError("why"), ValueError("what")

    @guarded()
    def work():
        raise error from cause

    with pytest.raises(ValueError) as caught:
        work()
    assert caught.value is error
    assert caught.value.__cause__ is cause
    assert context_of(error).operation.endswith("work")


@pytest.mark.asyncio
async def test_coroutines_are_handled_alike():
    """Recovered but not idempotent: raised all the same, and called once."""
    flaky, scenario = Flaky(1), Scenario(True)

    @guarded(scenario=scenario, operation="named")
    async def work():
        return flaky()

    assert inspect.iscoroutinefunction(work)
    with pytest.raises(ConnectionError) as caught:
        await work()
    assert (flaky.calls, len(scenario.given)) == (1, 1)
    assert context_of(caught.value).operation == "named"


@pytest.mark.asyncio
@pytest.mark.parametrize(("answer", "failures", "calls"), [(True, 1, 2), (False, 1, 1), (True, 2, 2)])
async def test_idempotent_and_recovered_is_one_more_call(answer, failures, calls):
    """Not two more, not without a recovery; the second failure is raised."""
    flaky = Flaky(failures)

    @guarded(scenario=Scenario(answer), idempotent=True)
    async def work(value):
        return flaky(value)

    if answer and failures == 1:
        assert await work("again") == "again"
    else:
        with pytest.raises(ConnectionError):
            await work("again")
    assert flaky.calls == calls


def test_plain_functions_recover_in_a_loop_of_their_own():
    """Without a running loop the recovery is awaited."""
    flaky = Flaky(1)
    assert guarded(scenario=Scenario(True), idempotent=True)(flaky)("x") == "x"
    assert flaky.calls == 2
    with pytest.raises(ConnectionError):
        guarded(scenario=Scenario(False), idempotent=True)(Flaky(1))()


@pytest.mark.asyncio
async def test_a_plain_function_inside_a_loop_raises_at_once_and_recovers_behind():
    """It cannot wait for a coroutine; the recovery runs as a task of the loop."""
    done = asyncio.Event()

    class Slow(Scenario):
        async def execute_recovery(self, context):
            done.set()
            return True

    flaky = Flaky(1)
    with pytest.raises(ConnectionError):
        guarded(scenario=Slow(), idempotent=True)(flaky)()
    assert flaky.calls == 1
    await asyncio.wait_for(done.wait(), 5.0)


@pytest.mark.asyncio
async def test_cancelled_error_is_untouched():
    """Cancellation is no error: nothing is recorded."""
    h = handler()

    @guarded(h)
    async def work():
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert h.recent_errors() == []


def test_methods_keep_their_metadata_and_their_kind():
    """Methods, static and class methods; name, doc and signature stay."""
    h = handler()
    guard = guarded(h)

    class Bot:
        @guard
        def place(self, a, b=2):
            """Places."""
            return self, a, b

        @guard
        @staticmethod
        def static(a):
            raise ValueError(a)

        @guard
        @classmethod
        def made(cls):
            return cls

    bot = Bot()
    assert bot.place(1) == (bot, 1, 2)
    assert (Bot.place.__name__, Bot.place.__doc__) == ("place", "Places.")
    assert str(inspect.signature(Bot.place)) == "(self, a, b=2)"
    assert Bot.made() is Bot
    with pytest.raises(ValueError):
        bot.static(1)
    assert h.recent_errors()[0].operation.endswith("Bot.static")


def test_generators_are_refused():
    """Their errors come later than their call; silence would be worse."""

    def numbers():
        yield 1

    with pytest.raises(ValidationError, match="numbers is a generator function"):
        guarded()(numbers)


def test_without_a_handler_it_makes_its_own():
    """A config is enough."""
    guard = error_handler_decorator(None, "data")
    with pytest.raises(ValueError):
        guard(Flaky(1, ValueError("x")))()


def test_the_base_scenario_is_abstract():
    """A scenario without execute_recovery is none."""
    with pytest.raises(TypeError):
        RecoveryScenario(None)


def test_an_error_from_elsewhere_is_noted_by_its_facts():
    """Numbered, classified by name, bounded and without secrets; a reader goes on after the number it knows."""
    h = handler(config(recent_max=3))
    facts = {"component": "c" * 500, "operation": "o", "message": f"password={SECRET}"}
    noted = [h.note(error_type=name, **facts) for name in ("StateConsistencyError", "TimeoutError", "print", "x.Odd")]
    assert [each.severity for each in noted] == [CRITICAL, HIGH, MEDIUM, MEDIUM]
    assert [each.number for each in h.recent_errors()] == [2, 3, 4]
    assert [each.number for each in h.recent_errors(after=3)] == [4]
    assert (h.recorded, len(noted[0].component)) == (4, 200)
    assert SECRET not in noted[0].message
    loop = h.note(error_type="E", causes=(f"Cause {n}" for n in range(100)), severity="low", **facts)
    assert (len(loop.causes), loop.severity) == (8, LOW)
