"""What the contract says of each row beyond its name and parameters: results, errors, honesty when used alone.

`test_contract.py` checks the shapes; here each row is used once, as a bot would, given only a `Config()`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import jackstay_agent
from jackstay_agent import (
    CircuitBreaker,
    CircuitOpenError,
    Config,
    ConnectionHealth,
    ConnectionManager,
    ConnectionState,
    ErrorContext,
    ErrorHandler,
    ErrorPattern,
    ErrorSeverity,
    HalfOpenFullError,
    RecoveryScenario,
    circuit_breaker,
    error_handler_decorator,
    retry,
    time_execution,
)
from jackstay_agent.core.classify import classify_answer, classify_failure
from jackstay_protocols.errors import Outcome, Reason, ValidationError

SCENARIOS = "The bot stalls, the account is safe: protection, modes, dead-man switch, six recovery scenarios"

BUILT = {
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitPermit",
    "Config",
    "ConnectionHealth",
    "ConnectionManager",
    "ConnectionState",
    "ErrorContext",
    "ErrorHandler",
    "ErrorPattern",
    "ErrorPatternAnalytics",
    "ErrorTrend",
    "ErrorSeverity",
    "HalfOpenFullError",
    "RecoveryScenario",
    "PartialFillRecovery",
    "NetworkDisconnectionRecovery",
    "ExchangeMaintenanceRecovery",
    "DataFeedInterruptionRecovery",
    "OrderRejectionRecovery",
    "APIRateLimitRecovery",
    "StateConsistencyError",
    "StateMonitor",
    "StateValidationResult",
    "circuit_breaker",
    "error_handler_decorator",
    "get_logger",
    "retry",
    "time_execution",
}


class Scenario(RecoveryScenario):
    """Says what it is told to say, and keeps the contexts it was given."""

    def __init__(self, answer: bool | Exception = True) -> None:
        super().__init__(Config())
        self.answer = answer
        self.contexts: list[dict[str, Any]] = []

    async def execute_recovery(self, context: dict[str, Any]) -> bool:
        self.contexts.append(context)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def quiet_handler(**options: Any) -> ErrorHandler:
    return ErrorHandler(Config(), log=False, **options)


# ---------------------------------------------------------------- names


def test_the_agent_exports_the_contract_and_nothing_else() -> None:
    """A name too many would become a promise."""
    assert set(jackstay_agent.PUBLIC) == BUILT
    assert set(jackstay_agent.__all__) == set(jackstay_agent.PUBLIC)


@pytest.mark.parametrize("name", sorted(jackstay_agent.PUBLIC))
def test_every_exported_name_loads(name: str) -> None:
    """The table of lazy names points at modules that have them."""
    assert getattr(jackstay_agent, name) is not None


RETURNS = [
    (ErrorHandler.classify_error, "ErrorSeverity"),
    (ErrorHandler.create_error_context, "ErrorContext"),
    (ErrorHandler.handle_error, "bool"),
    (ErrorHandler.get_retry_policy, "dict[str, Any]"),
    (ErrorHandler.get_circuit_breaker_status, "dict[str, str]"),
    (ErrorHandler.get_error_patterns, "dict[str, ErrorPattern]"),
    (CircuitBreaker.call, "Any"),
    (CircuitBreaker.should_transition_to_half_open, "bool"),
    (RecoveryScenario.execute_recovery, "bool"),
    (ConnectionManager.establish_connection, "bool"),
    (ConnectionManager.close_connection, "bool"),
    (ConnectionManager.reconnect_connection, "bool"),
    (ConnectionManager.queue_message, "bool"),
    (ConnectionManager.flush_message_queue, "int"),
    (ConnectionManager.get_connection_status, "dict | None"),
    (ConnectionManager.get_all_connection_status, "dict[str, dict]"),
    (ConnectionManager.is_connection_healthy, "bool"),
    (ConnectionHealth.to_dict, "dict[str, Any]"),
]


@pytest.mark.parametrize(("function", "wanted"), RETURNS, ids=[row[0].__qualname__ for row in RETURNS])
def test_what_comes_back(function: Callable[..., Any], wanted: str) -> None:
    """The annotation is the contract's; where the contract says no more than dict, the code may."""
    said = str(inspect.signature(function).return_annotation)
    plain = re.sub(r"dict\[str, Any\]", "dict", said)
    assert wanted in (said, plain)


# ---------------------------------------------------------------- error handler


@pytest.mark.asyncio
async def test_a_recovered_error_is_true_and_the_scenario_gets_the_named_fields() -> None:
    """handle_error is True when the scenario said so; named fields fill gaps in the details and replace nothing."""
    handler, scenario = quiet_handler(), Scenario()
    context = handler.create_error_context(
        TimeoutError("slow"), "exec", "place", "u", "b", "BTCUSDT", "17", {"order_id": "from details"}
    )
    assert await handler.handle_error(context, scenario) is True
    (given,) = scenario.contexts
    assert {name: given[name] for name in ("symbol", "bot_id", "user_id", "component", "operation")} == {
        "symbol": "BTCUSDT",
        "bot_id": "b",
        "user_id": "u",
        "component": "exec",
        "operation": "place",
    }
    assert given["order_id"] == "from details"


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [False, RuntimeError("the scenario broke")])
async def test_an_error_that_was_not_recovered_is_false(answer: bool | Exception) -> None:
    """Neither a scenario's no nor its own failure is a recovery; without a scenario there is none."""
    handler = quiet_handler()
    context = handler.create_error_context(TimeoutError("slow"), "exec", "place")
    assert await handler.handle_error(context, Scenario(answer)) is False
    assert await handler.handle_error(handler.create_error_context(TimeoutError(), "a", "b")) is False


def test_a_context_is_made_of_the_facts() -> None:
    """An id, an aware time in UTC, the severity, and the error itself."""
    error = ConnectionError("gone")
    context = quiet_handler().create_error_context(error, "feed", "read", symbol="BTCUSDT")
    assert isinstance(context, ErrorContext)
    assert context.error is error
    assert context.severity is ErrorSeverity.HIGH
    assert context.timestamp.utcoffset() == datetime.now(UTC).utcoffset()
    assert context.error_id
    assert (context.user_id, context.recovery_attempts) == (None, 0)


def test_there_is_a_policy_for_each_error_type() -> None:
    """Network errors wait exponentially, databases linearly, rate limits have a policy of their own."""
    policy = quiet_handler().get_retry_policy
    assert policy("network")["curve"] == "exponential"
    assert policy("database")["curve"] == "linear"
    assert policy("api_rate_limit") != policy("network")


def test_breakers_and_patterns_are_told() -> None:
    """Both shipped breakers with their state; a repeated error as an ErrorPattern."""
    handler = quiet_handler()
    assert {"api_calls", "database_connections"} <= handler.get_circuit_breaker_status().keys()
    assert set(handler.get_circuit_breaker_status().values()) == {"closed"}
    for _ in range(3):
        handler.record(handler.create_error_context(KeyError("x"), "strategy", "tick"))
    (pattern,) = handler.get_error_patterns().values()
    assert isinstance(pattern, ErrorPattern)
    assert (pattern.component, pattern.error_type, pattern.frequency) == ("strategy", "KeyError", 3)


class Book:
    """A bot's class with a decorated method."""

    calls = 0

    @error_handler_decorator(Config(), "book", handler=quiet_handler())
    def method(self) -> None:
        self.calls += 1
        raise KeyError("original")


def test_the_original_error_of_a_method_is_raised_again() -> None:
    """Once, and it is the very error."""
    book = Book()
    with pytest.raises(KeyError, match="original"):
        book.method()
    assert book.calls == 1


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.asyncio
async def test_only_an_idempotent_coroutine_is_called_once_more(idempotent: bool) -> None:
    """After a recovery; otherwise the error is raised although the scenario recovered."""
    calls: list[int] = []

    @error_handler_decorator(Config(), "x", Scenario(), idempotent=idempotent, handler=quiet_handler())
    async def work() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise TimeoutError("first")
        return "done"

    if idempotent:
        assert await work() == "done"
    else:
        with pytest.raises(TimeoutError, match="first"):
            await work()
    assert len(calls) == (2 if idempotent else 1)


@pytest.mark.asyncio
async def test_cancellation_passes_untouched() -> None:
    """It is neither an error nor handled."""
    handler, scenario = quiet_handler(), Scenario()

    @error_handler_decorator(Config(), "x", scenario, handler=handler)
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await work()
    assert not scenario.contexts
    assert not handler.get_error_patterns()


# ---------------------------------------------------------------- breaker


def test_a_breakers_life() -> None:
    """Closed, open after the threshold, half open after the timeout, one probe at a time, closed again."""
    now = [0.0]
    breaker = CircuitBreaker(2, 30, name="venue", clock=lambda: now[0], half_open_permits=1)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            breaker.call(_fail)
    with pytest.raises(CircuitOpenError) as opened:
        breaker.call(lambda: None)
    assert opened.value.retry_after_s == pytest.approx(30)
    now[0] = 30.0
    assert breaker.should_transition_to_half_open() is True
    probe = breaker.acquire()
    with pytest.raises(HalfOpenFullError) as full:
        breaker.acquire()
    assert full.value.retry_after_s is not None
    assert not isinstance(full.value, CircuitOpenError)
    probe.success(duration_s=0.01)
    assert breaker.state == "closed"


def _fail() -> None:
    raise OSError("down")


def test_operator_modes_exist() -> None:
    """Beside the three states of its own life."""
    states = {str(each) for each in type(CircuitBreaker().state)}
    assert states >= {"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"}


# ---------------------------------------------------------------- scenarios


def test_a_scenario_without_execute_recovery_cannot_be_made() -> None:
    """The base is abstract."""

    class Nothing(RecoveryScenario):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing(Config())  # type: ignore[abstract]


# ---------------------------------------------------------------- connections


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [("carrier pigeon", "https://x.example"), ("http", "not a url"), ("websocket", "https://x.example"), ("http", "")],
)
async def test_an_unknown_type_or_a_bad_endpoint_is_a_validation_error(kind: str, endpoint: str) -> None:
    """Before anything is dialled, and nothing is kept."""
    manager = ConnectionManager(Config())
    with pytest.raises(ValidationError):
        await manager.establish_connection("c", kind, endpoint)
    assert manager.get_all_connection_status() == {}


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("websocket", "ws")])
async def test_a_dial_that_fails_is_false_and_shown(kind: str, scheme: str) -> None:
    """Both types exist; the state is FAILED with a last error, and the health is a figure for everything."""
    manager = ConnectionManager(Config())
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # and nobody listens: it refuses, and no other test can get this port
    endpoint = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
    try:
        assert await manager.establish_connection("c", kind, endpoint, None, {"auto_reconnect": False}) is False
        status = manager.get_connection_status("c")
        assert status is not None
        assert status["state"] == ConnectionState.FAILED.value
        assert status["health"]["last_error"]
        assert manager.is_connection_healthy("c") is False
        assert await manager.queue_message("c", {"method": "GET", "path": "/"} if kind == "http" else {"a": 1}) is True
        assert await manager.flush_message_queue("c") == 0
        assert await manager.close_connection("c") is True
    finally:
        await manager.aclose()
        taken.close()


@pytest.mark.asyncio
async def test_an_unknown_connection_is_never_true() -> None:
    """False, 0 or None for every verb."""
    manager = ConnectionManager(Config())
    assert await manager.close_connection("x") is False
    assert await manager.reconnect_connection("x") is False
    assert await manager.queue_message("x", {"a": 1}) is False
    assert await manager.flush_message_queue("x") == 0
    assert manager.get_connection_status("x") is None
    assert manager.is_connection_healthy("x") is False


# ---------------------------------------------------------------- words for bot code


@pytest.mark.parametrize("word", [time_execution, retry, circuit_breaker])
def test_decorators_work_with_and_without_brackets(word: Any) -> None:
    """On plain functions and on coroutine functions, which stay what they are."""

    def plain(a: int, b: int = 1) -> int:
        return a + b

    async def later(a: int, b: int = 1) -> int:
        return a + b

    for decorate in (word, word()):
        assert decorate(plain)(1, b=2) == 3
        decorated = decorate(later)
        assert inspect.iscoroutinefunction(decorated)
        assert asyncio.run(decorated(1, b=2)) == 3
        assert decorate(plain).__name__ == "plain"


# ---------------------------------------------------------------- promises


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b"", b'{"orderId": 1', b"null"], ids=["html", "empty", "cut off", "null"]
)
def test_outcomes_are_evidence(body: bytes) -> None:
    """Financial grade: a 2xx that is not the promised answer says nothing about an order, so it is unknown."""
    answer = classify_answer(200, [], body, table="binance", expects_json=True, is_order=True, wall_now_s=0.0)
    assert answer.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(("sent", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.FAILED)])
def test_a_lost_order_is_unknown_if_a_byte_left(sent: bool, outcome: Outcome) -> None:
    """Unknown never ages into rejected, and failed is said only where provably nothing was sent."""
    assert classify_failure(Reason.RESET, sent=sent, is_order=True).outcome is outcome


def test_the_cost_is_stated_in_microseconds() -> None:
    """Made for busy bots: the page of figures names order path, breaker and admission with their targets."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
    for row in ("order through the agent", "breaker, success", "admission in all"):
        assert re.search(rf"^\| {re.escape(row)}[^|]*\|[^|]*\d µs[^|]*\|[^|]*\d", page, re.MULTILINE), row
