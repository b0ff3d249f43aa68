"""What is promised of `ErrorHandler` and its decorator, one test per sentence, for every kind of callable."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from jackstay.report import error_report
from jackstay_agent import (
    ErrorHandler,
    RecoveryScenario,
    circuit_breaker,
    error_handler_decorator,
    retry,
    time_execution,
)
from jackstay_agent.error_handler import causes_of, context_of
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.errors import ExchangeError, ValidationError
from jackstay_protocols.messages import TO_AGENT


class Scenario(RecoveryScenario):
    """Answers, or raises, what the test says, the last for ever; counts."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(None)
        self.answers, self.asked = list(answers), 0

    async def execute_recovery(self, context: dict[str, Any]) -> bool:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]


def quiet() -> ErrorHandler:
    return ErrorHandler(None, log=False)


def deep_error() -> ExchangeError:
    """raised from a ConnectionError that was raised while a KeyError was handled."""
    try:
        try:
            try:
                raise KeyError("row")
            except KeyError:
                raise ConnectionError("lost")  # noqa: B904 - the implicit chain is what is meant
        except ConnectionError as error:
            raise ExchangeError("no order book") from error
    except ExchangeError as error:
        return error


# -- the handler ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_scenario_that_returns_false_is_false() -> None:
    """And the error stays the error."""
    handler, error = quiet(), deep_error()
    context = handler.create_error_context(error, "exchange", "read")
    assert await handler.handle_error(context, Scenario(False)) is False
    assert context.error is error


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "failure", [RuntimeError("scenario"), ValidationError("symbol is missing"), ExchangeError("x")]
)
async def test_a_scenario_that_raises_is_false_and_the_original_is_kept(failure: Exception) -> None:
    """Its cause, its context and its traceback too: the recovery's trouble never replaces the reason for it."""
    handler, error = quiet(), deep_error()
    cause, surroundings, trace = error.__cause__, error.__context__, error.__traceback__
    context = handler.create_error_context(error, "exchange", "read")
    assert await handler.handle_error(context, Scenario(failure)) is False
    assert context.error is error
    assert (error.__cause__, error.__context__, error.__traceback__) == (cause, surroundings, trace)
    assert type(failure).__name__ in context.details["recovery_error"]


@pytest.mark.asyncio
@pytest.mark.parametrize("most", [0, 1, 3, 7])
async def test_attempts_rise_and_stop_at_max_recovery_attempts(most: int) -> None:
    """Failing, raising and past the maximum alike; each attempt asks the scenario once."""
    handler, scenario = quiet(), Scenario(False, RuntimeError("x"), False)
    context = handler.create_error_context(ValueError("v"), "c", "o")
    context.max_recovery_attempts = most
    for attempt in range(1, most + 4):
        assert await handler.handle_error(context, scenario) is False
        assert context.recovery_attempts == scenario.asked == min(attempt, most)


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [1, "True", [True], object(), None, 0.5])
async def test_true_only_if_the_scenario_returned_true(answer: Any) -> None:
    """What merely looks true is no evidence."""
    handler = quiet()
    assert await handler.handle_error(handler.create_error_context(ValueError(), "c", "o"), Scenario(answer)) is False
    assert await handler.handle_error(handler.create_error_context(ValueError(), "c", "o"), Scenario(True)) is True
    assert await handler.handle_error(handler.create_error_context(ValueError(), "c", "o")) is False


# -- the decorator, on every kind of callable -------------------------------------------------------------------------


class Work:
    """Fails as often as told, in every form a bot's code may have."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.failures, self.error, self.calls = failures, error or deep_error(), 0

    def do(self, value: str = "done") -> str:
        """Does it."""
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return value

    async def do_later(self, value: str = "done") -> str:
        """Does it later."""
        await asyncio.sleep(0)
        return self.do(value)


def as_function(work: Work, guard: Callable[[Any], Any]) -> Any:
    @guard
    def function(value: str = "done") -> str:
        return work.do(value)

    return function


def as_method(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Bot:
        @guard
        def method(self, value: str = "done") -> str:
            return work.do(value)

    return Bot().method


def as_class_method(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Bot:
        @guard
        @classmethod
        def method(cls, value: str = "done") -> str:
            return work.do(value)

    return Bot.method


def as_static_method(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Bot:
        @staticmethod
        @guard
        def method(value: str = "done") -> str:
            return work.do(value)

    return Bot().method


def as_partial(work: Work, guard: Callable[[Any], Any]) -> Any:
    return guard(functools.partial(work.do))


def as_object(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Strategy:
        def __call__(self, value: str = "done") -> str:
            return work.do(value)

    return guard(Strategy())


def as_coroutine(work: Work, guard: Callable[[Any], Any]) -> Any:
    @guard
    async def function(value: str = "done") -> str:
        return await work.do_later(value)

    return function


def as_coroutine_method(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Bot:
        @guard
        async def method(self, value: str = "done") -> str:
            return await work.do_later(value)

    return Bot().method


def as_coroutine_partial(work: Work, guard: Callable[[Any], Any]) -> Any:
    return guard(functools.partial(work.do_later))


def as_coroutine_object(work: Work, guard: Callable[[Any], Any]) -> Any:
    class Strategy:
        async def __call__(self, value: str = "done") -> str:
            return await work.do_later(value)

    return guard(Strategy())


def as_lambda_around_a_coroutine(work: Work, guard: Callable[[Any], Any]) -> Any:
    return guard(lambda value="done": work.do_later(value))


PLAIN = [as_function, as_method, as_class_method, as_static_method, as_partial, as_object]
LATER = [
    as_coroutine,
    as_coroutine_method,
    as_coroutine_partial,
    as_coroutine_object,
    as_lambda_around_a_coroutine,
]


def call(guarded: Any, *args: Any) -> Any:
    """As its own kind is called: plainly, or in a loop."""
    result = guarded(*args)
    if not inspect.isawaitable(result):
        return result

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


@pytest.mark.parametrize("form", PLAIN + LATER)
@pytest.mark.parametrize(
    ("answer", "idempotent", "failures", "calls", "raised"),
    [
        (None, False, 1, 1, True),  # no scenario
        (None, True, 1, 1, True),
        (False, True, 1, 1, True),  # not recovered
        (RuntimeError("scenario"), True, 1, 1, True),
        (1, True, 1, 1, True),  # not True
        (True, False, 1, 1, True),  # recovered, but calling twice may do twice
        (True, True, 1, 2, False),  # one more call
        (True, True, 2, 2, True),  # one, not two
        (True, True, 0, 1, False),
    ],
)
def test_the_original_is_raised_again_unless_idempotent_and_recovered(
    form: Any, answer: Any, idempotent: bool, failures: int, calls: int, raised: bool
) -> None:
    """The very same exception with its cause; recovered and idempotent means one more call, with the same arguments."""
    work = Work(failures)
    cause = work.error.__cause__
    scenario = None if answer is None else Scenario(answer)
    guarded = form(work, error_handler_decorator(None, "c", scenario, handler=quiet(), idempotent=idempotent))
    if raised:
        with pytest.raises(ExchangeError) as caught:
            call(guarded, "again")
        assert caught.value is work.error
        assert caught.value.__cause__ is cause
        assert context_of(caught.value) is not None
    else:
        assert call(guarded, "again") == "again"
    assert work.calls == calls


@pytest.mark.parametrize("form", PLAIN + LATER)
@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_passes_untouched(form: Any, kind: type[BaseException]) -> None:
    """Cancellation and exits are not handled, not recorded, not recovered from."""
    if form in LATER and kind is not asyncio.CancelledError:
        return  # a loop has its own ways with these
    handler, scenario = quiet(), Scenario(True)
    work = Work(9, kind())
    guarded = form(work, error_handler_decorator(None, "c", scenario, handler=handler, idempotent=True))
    with pytest.raises(kind) as caught:
        call(guarded)
    assert form in LATER or caught.value is work.error
    assert (work.calls, scenario.asked, handler.recent_errors()) == (1, 0, [])
    assert context_of(work.error) is None


@pytest.mark.asyncio
async def test_cancellation_during_a_recovery_passes_and_calls_nothing_again() -> None:
    """The task is over; neither the error nor another call takes its place."""
    begun = asyncio.Event()

    class Slow(RecoveryScenario):
        async def execute_recovery(self, context: dict[str, Any]) -> bool:
            begun.set()
            await asyncio.Event().wait()
            return True

    work = Work(9)
    guarded = as_coroutine(work, error_handler_decorator(None, "c", Slow(None), handler=quiet(), idempotent=True))
    task = asyncio.create_task(guarded())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.calls == 1


@pytest.mark.parametrize(
    "decorator",
    [error_handler_decorator(None, "c", handler=quiet()), retry, circuit_breaker, time_execution],
    ids=["error_handler", "retry", "circuit_breaker", "time_execution"],
)
def test_metadata_is_kept(decorator: Any) -> None:
    """Name, doc, module, annotations, signature, what it wraps; a coroutine function stays one."""

    def plain(symbol: str, *, quantity: int = 1) -> str:
        """Plain."""
        return f"{symbol}{quantity}"

    async def later(symbol: str, *, quantity: int = 1) -> str:
        """Later."""
        return f"{symbol}{quantity}"

    for func in (plain, later):
        wrapped = decorator(func)
        assert wrapped.__wrapped__ is func
        for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
            assert getattr(wrapped, name) == getattr(func, name)
        assert inspect.signature(wrapped) == inspect.signature(func)
        assert inspect.iscoroutinefunction(wrapped) is inspect.iscoroutinefunction(func)
        assert call(wrapped, "X") == "X1"


def test_a_wrong_call_is_an_error_like_any_other() -> None:
    """Missing arguments are recorded too, of a coroutine function as of a plain one."""
    for form in (as_function, as_coroutine):
        handler = quiet()
        guarded = form(Work(0), error_handler_decorator(None, "c", handler=handler))
        with pytest.raises(TypeError):
            call(guarded, 1, 2, 3)
        assert [event.error_type for event in handler.recent_errors()] == ["TypeError"]


# -- the cause --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", PLAIN + LATER)
def test_the_cause_survives_handler_and_decorators(form: Any) -> None:
    """Through all four decorators at once, nearest first."""

    def guard(func: Any) -> Any:
        handled = error_handler_decorator(None, "c", Scenario(RuntimeError("scenario")), handler=quiet())(func)
        if isinstance(handled, classmethod | staticmethod):
            return handled
        return time_execution(retry(circuit_breaker(handled), attempts_max=2))

    work = Work(9)
    with pytest.raises(ExchangeError) as caught:
        call(form(work, guard))
    assert caught.value is work.error
    assert causes_of(caught.value) == ("ConnectionError: lost", "KeyError: 'row'")


def test_the_cause_survives_the_wire() -> None:
    """What the agent decodes names the chain the bot's error was raised from; so does an event that a bot hands on."""
    error = deep_error()
    report = error_report(error, "data", "read", None, None, None, None, None)
    _, there = decode(encode(report, id=1), TO_AGENT, bytes_max=65_536)
    assert there.details["causes"] == ["ConnectionError: lost", "KeyError: 'row'"]

    handler = quiet()
    events: list[Any] = []
    handler.on_event = events.append
    handler.record(handler.create_error_context(error, "data", "read"))
    (event,) = events
    details = {"causes": list(event.causes)}
    told = error_report(event.message, "data", "read", event.error_type, event.severity, None, None, details)
    _, there = decode(encode(told, id=2), TO_AGENT, bytes_max=65_536)
    assert there.details["causes"] == ["ConnectionError: lost", "KeyError: 'row'"]
    assert there.error_type == "ExchangeError"


def test_causes_end() -> None:
    """A suppressed context is none; loops end; a chain is bounded."""
    suppressed = ValueError("shown")
    suppressed.__context__, suppressed.__suppress_context__ = KeyError("hidden"), True
    assert causes_of(suppressed) == ()
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert causes_of(one) == ("ValueError: 2",)
    first = last = ValueError("0")
    for n in range(50):
        last.__cause__ = ValueError(str(n))
        last = last.__cause__
    assert len(causes_of(first)) == 8
