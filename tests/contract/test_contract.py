"""The public contract, row by row: names, parameters in order, defaults, coroutine or plain, fields, values.

Rows of rooms that are not built yet are strict xfails that name the issue they come with; building the room makes the
row pass, and the stale mark then fails the run.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import subprocess
import sys
import typing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import jackstay_agent
from harness import child_env
from jackstay_protocols import errors, types

SCENARIOS = "The bot stalls, the account is safe: protection, modes, dead-man switch, six recovery scenarios"

REQUIRED = inspect.Parameter.empty


def comes_with(title: str) -> Any:
    return pytest.mark.xfail(strict=True, raises=(AttributeError, AssertionError), reason=f"comes with: {title}")


def public(name: str) -> Any:
    assert name in jackstay_agent.PUBLIC, f"{name} is not exported"
    return getattr(jackstay_agent, name)


def check_signature(function: Any, wanted: list[tuple[str, Any]], *, coroutine: bool = False) -> None:
    """The named parameters come first, in this order, with these defaults; extras are keyword-only with defaults."""
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    for (name, default), parameter in zip(wanted, parameters, strict=False):
        assert parameter.name == name
        assert parameter.default == default or parameter.default is default
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    assert len(parameters) >= len(wanted)
    for extra in parameters[len(wanted) :]:
        assert extra.kind in (extra.KEYWORD_ONLY, extra.VAR_KEYWORD), f"{extra.name} is not keyword-only"
        assert extra.kind == extra.VAR_KEYWORD or extra.default is not REQUIRED, f"{extra.name} has no default"
    assert inspect.iscoroutinefunction(function) is coroutine


def check_dataclass(kind: Any, wanted: list[tuple[str, Any]]) -> None:
    """Fields in this order with these types; further fields only with defaults."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    assert [field.name for field in fields[: len(wanted)]] == [name for name, _ in wanted]
    for name, wanted_type in wanted:
        assert hints[name] == wanted_type, f"{name}: {hints[name]}"


# ---------------------------------------------------------------- error_handler


def test_error_severity() -> None:
    """Four words, lower case."""
    kind = public("ErrorSeverity")
    assert issubclass(kind, enum.Enum)
    assert {each.name: each.value for each in kind} == {
        "CRITICAL": "critical",
        "HIGH": "high",
        "MEDIUM": "medium",
        "LOW": "low",
    }


def test_error_context() -> None:
    """A dataclass with the agreed fields and defaults."""
    kind = public("ErrorContext")
    optional = str | None
    check_dataclass(
        kind,
        [
            ("error_id", str),
            ("timestamp", datetime),
            ("severity", errors.ErrorSeverity),
            ("component", str),
            ("operation", str),
            ("error", Exception),
            ("user_id", optional),
            ("bot_id", optional),
            ("symbol", optional),
            ("order_id", optional),
            ("details", dict[str, Any]),
            ("stack_trace", optional),
            ("recovery_attempts", int),
            ("max_recovery_attempts", int),
        ],
    )
    made = kind("id", datetime.now(UTC), errors.ErrorSeverity.LOW, "c", "o", ValueError("x"))
    assert (made.user_id, made.bot_id, made.symbol, made.order_id, made.stack_trace) == (None,) * 5
    assert (made.details, made.recovery_attempts, made.max_recovery_attempts) == ({}, 0, 3)


def test_circuit_breaker() -> None:
    """Two positional settings, call, two steps, refusals as two exceptions, snapshot and restore."""
    kind = public("CircuitBreaker")
    check_signature(kind.__init__, [("failure_threshold", 5), ("recovery_timeout", 30)])
    parameters = inspect.signature(kind.__init__).parameters
    for name in ("name", "clock", "half_open_permits"):
        assert name in parameters or "settings" in parameters
    breaker = kind(2, 30, name="x", clock=lambda: 0.0, half_open_permits=1)
    assert breaker.call(lambda a, b=0: a + b, 1, b=2) == 3
    assert breaker.should_transition_to_half_open() is False
    permit = breaker.acquire()
    permit.success(duration_s=0.1)
    breaker.acquire().failure()
    breaker.acquire().ignore()
    breaker.acquire().failure()
    opened, full = public("CircuitOpenError"), public("HalfOpenFullError")
    assert opened is not full
    with pytest.raises(opened) as caught:
        breaker.acquire()
    assert caught.value.retry_after_s == pytest.approx(30)
    kept = breaker.snapshot()
    other = kind(2, 30, name="x", clock=lambda: 0.0)
    other.restore(kept)
    assert str(other.state) == str(breaker.state) == "open"
    assert public("CircuitPermit")


def test_circuit_breaker_call_of_a_coroutine_function_gives_an_awaitable() -> None:
    """`call` works for both kinds of functions."""

    async def work() -> int:
        return 7

    awaitable = public("CircuitBreaker")().call(work)
    assert inspect.isawaitable(awaitable)
    import asyncio

    async def run() -> int:
        return int(await awaitable)

    assert asyncio.run(run()) == 7


HANDLER_ROWS: list[tuple[str, list[tuple[str, Any]], bool]] = [
    ("__init__", [("config", REQUIRED)], False),
    ("classify_error", [("error", REQUIRED)], False),
    (
        "create_error_context",
        [
            ("error", REQUIRED),
            ("component", REQUIRED),
            ("operation", REQUIRED),
            ("user_id", None),
            ("bot_id", None),
            ("symbol", None),
            ("order_id", None),
            ("details", None),
        ],
        False,
    ),
    ("handle_error", [("context", REQUIRED), ("recovery_scenario", None)], True),
    ("get_retry_policy", [("error_type", REQUIRED)], False),
    ("get_circuit_breaker_status", [], False),
    ("get_error_patterns", [], False),
]


@pytest.mark.parametrize(("name", "parameters", "coroutine"), HANDLER_ROWS, ids=[row[0] for row in HANDLER_ROWS])
def test_error_handler(name: str, parameters: list[tuple[str, Any]], coroutine: bool) -> None:
    """Each method with its parameters."""
    check_signature(getattr(public("ErrorHandler"), name), parameters, coroutine=coroutine)


def test_error_handler_works_alone() -> None:
    """Given only a Config(), as a library."""
    handler = public("ErrorHandler")(public("Config")())
    assert handler.classify_error(errors.SecurityError("x")) is errors.ErrorSeverity.CRITICAL
    assert isinstance(handler.get_retry_policy("network"), dict)
    assert isinstance(handler.get_circuit_breaker_status(), dict)
    assert isinstance(handler.get_error_patterns(), dict)


def test_error_handler_decorator() -> None:
    """config, component, scenario; `idempotent` is keyword-only."""
    function = public("error_handler_decorator")
    check_signature(function, [("config", REQUIRED), ("component", REQUIRED), ("recovery_scenario", None)])
    assert inspect.signature(function).parameters["idempotent"].default is False


# ---------------------------------------------------------------- recovery_scenarios


def test_recovery_scenario_base() -> None:
    """Abstract, with a coroutine to execute."""
    kind = public("RecoveryScenario")
    check_signature(kind.__init__, [("config", REQUIRED)])
    check_signature(kind.execute_recovery, [("context", REQUIRED)], coroutine=True)
    assert inspect.isabstract(kind)


@pytest.mark.parametrize(
    "name",
    [
        "PartialFillRecovery",
        "NetworkDisconnectionRecovery",
        "ExchangeMaintenanceRecovery",
        "DataFeedInterruptionRecovery",
        "OrderRejectionRecovery",
        "APIRateLimitRecovery",
    ],
)
def test_recovery_scenarios(name: str) -> None:
    """Each takes a config (and keyword `actions`) and executes a context."""
    kind = public(name)
    check_signature(kind.__init__, [("config", REQUIRED)])
    assert "actions" in inspect.signature(kind.__init__).parameters
    check_signature(kind.execute_recovery, [("context", REQUIRED)], coroutine=True)


# ---------------------------------------------------------------- connection_manager


def test_connection_state() -> None:
    """Five words."""
    assert {each.name for each in public("ConnectionState")} == {
        "CONNECTED",
        "CONNECTING",
        "DISCONNECTED",
        "FAILED",
        "MAINTENANCE",
    }


def test_connection_health() -> None:
    """A dataclass with a dict face."""
    kind = public("ConnectionHealth")
    check_dataclass(
        kind,
        [
            ("last_heartbeat", datetime),
            ("latency_ms", float),
            ("packet_loss", float),
            ("connection_quality", float),
            ("uptime_seconds", int),
            ("reconnect_count", int),
            ("last_error", str | None),
        ],
    )
    shown = kind(datetime.now(UTC), 1.0, 0.0, 1.0, 5, 0, None).to_dict()
    assert set(shown) >= {"last_heartbeat", "latency_ms", "last_error"}


MANAGER_ROWS: list[tuple[str, list[tuple[str, Any]], bool]] = [
    ("__init__", [("config", REQUIRED)], False),
    (
        "establish_connection",
        [
            ("connection_id", REQUIRED),
            ("connection_type", REQUIRED),
            ("endpoint", REQUIRED),
            ("credentials", None),
            ("connection_options", None),
        ],
        True,
    ),
    ("close_connection", [("connection_id", REQUIRED)], True),
    ("reconnect_connection", [("connection_id", REQUIRED)], True),
    ("queue_message", [("connection_id", REQUIRED), ("message", REQUIRED)], True),
    ("flush_message_queue", [("connection_id", REQUIRED)], True),
    ("get_connection_status", [("connection_id", REQUIRED)], False),
    ("get_all_connection_status", [], False),
    ("is_connection_healthy", [("connection_id", REQUIRED)], False),
]


@pytest.mark.parametrize(("name", "parameters", "coroutine"), MANAGER_ROWS, ids=[row[0] for row in MANAGER_ROWS])
def test_connection_manager(name: str, parameters: list[tuple[str, Any]], coroutine: bool) -> None:
    """Each method with its parameters."""
    check_signature(getattr(public("ConnectionManager"), name), parameters, coroutine=coroutine)


# ---------------------------------------------------------------- state_monitor


def test_state_validation_result() -> None:
    """A dataclass with the agreed fields."""
    check_dataclass(
        public("StateValidationResult"),
        [
            ("is_consistent", bool),
            ("discrepancies", list[dict[str, Any]]),
            ("validation_time", datetime),
            ("component", str),
            ("severity", str),
        ],
    )


@pytest.mark.parametrize(
    ("name", "parameters", "coroutine"),
    [
        ("__init__", [("config", REQUIRED)], False),
        ("validate_state_consistency", [("component", "all")], True),
        ("reconcile_state", [("component", REQUIRED), ("discrepancies", REQUIRED)], True),
        ("start_monitoring", [], True),
        ("get_state_summary", [], False),
        ("get_state_history", [("hours", 24)], False),
    ],
)
def test_state_monitor(name: str, parameters: list[tuple[str, Any]], coroutine: bool) -> None:
    """Each method with its parameters."""
    check_signature(getattr(public("StateMonitor"), name), parameters, coroutine=coroutine)


def test_state_consistency_error_is_exported() -> None:
    """It is one of the tree."""
    assert issubclass(public("StateConsistencyError"), errors.TradingBotError)


# ---------------------------------------------------------------- pattern_analytics


def test_error_trend() -> None:
    """A dataclass with the agreed fields."""
    check_dataclass(
        public("ErrorTrend"),
        [
            ("component", str),
            ("error_type", str),
            ("time_period", str),
            ("trend_direction", str),
            ("trend_strength", float),
            ("start_time", datetime),
            ("end_time", datetime),
            ("data_points", list[tuple[datetime, int]]),
        ],
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("__init__", [("config", REQUIRED)]),
        ("add_error_event", [("error_context", REQUIRED)]),
        ("get_pattern_summary", []),
        ("get_correlation_summary", []),
        ("get_trend_summary", []),
    ],
)
def test_error_pattern_analytics(name: str, parameters: list[tuple[str, Any]]) -> None:
    """Each method with its parameters."""
    check_signature(getattr(public("ErrorPatternAnalytics"), name), parameters)


def test_error_pattern() -> None:
    """Id and kind, component, type, frequency, severity, first and last seen, confidence, evidence, action."""
    names = [field.name for field in dataclasses.fields(public("ErrorPattern"))]
    assert names == [
        "pattern_id",
        "kind",
        "component",
        "error_type",
        "frequency",
        "severity",
        "first_seen",
        "last_seen",
        "confidence",
        "evidence",
        "suggested_action",
    ]


# ---------------------------------------------------------------- shared words

SEVERITIES = {
    "ExchangeError": "high",
    "RiskManagementError": "high",
    "ValidationError": "low",
    "ExecutionError": "high",
    "ModelError": "medium",
    "DataError": "medium",
    "StateConsistencyError": "critical",
    "SecurityError": "critical",
}


@pytest.mark.parametrize(("name", "severity"), SEVERITIES.items())
def test_exceptions_and_their_default_severity(name: str, severity: str) -> None:
    """A tree under TradingBotError."""
    kind = getattr(errors, name)
    assert issubclass(kind, errors.TradingBotError)
    handler = public("ErrorHandler")(public("Config")())
    assert handler.classify_error(kind("x")).value == severity


@pytest.mark.parametrize(
    ("error", "severity"), [(ConnectionError(), "high"), (TimeoutError(), "high"), (KeyError(), "medium")]
)
def test_builtin_errors_have_a_default_severity(error: Exception, severity: str) -> None:
    """Connection and time-out errors are high, the rest medium."""
    assert public("ErrorHandler")(public("Config")()).classify_error(error).value == severity


VALUE_TYPES = {
    "OrderRequest": "symbol side order_type quantity price stop_price time_in_force reduce_only client_order_id",
    "OrderResponse": "order_id client_order_id symbol side status quantity filled_quantity remaining_quantity"
    " average_price timestamp",
    "Position": "symbol side quantity entry_price mark_price unrealized_pnl",
    "MarketData": "symbol timestamp bid ask last volume source sequence",
}


@pytest.mark.parametrize(("name", "fields"), VALUE_TYPES.items())
def test_types_are_frozen_with_the_agreed_fields(name: str, fields: str) -> None:
    """Frozen dataclasses, fields in order."""
    kind = getattr(types, name)
    assert [field.name for field in dataclasses.fields(kind)] == fields.split()
    assert kind.__dataclass_params__.frozen


def test_money_is_decimal_and_times_are_aware() -> None:
    """A float price and a naive time are refused, not converted."""
    with pytest.raises(errors.ValidationError, match="Decimal"):
        types.OrderRequest("BTCUSDT", "buy", "limit", 0.1)  # type: ignore[arg-type]
    with pytest.raises(errors.ValidationError, match="aware"):
        types.MarketData("BTCUSDT", datetime(2026, 1, 1), Decimal(1))


@pytest.mark.parametrize("name", ["get_logger", "time_execution", "retry", "circuit_breaker"])
def test_words_for_bot_code(name: str) -> None:
    """A structured logger and three decorators."""
    assert callable(public(name))


LIGHT = ["ErrorHandler", "CircuitBreaker", "error_handler_decorator", "get_logger", "retry", "RecoveryScenario"]


def test_names_for_bot_code_import_without_sockets_or_a_loop() -> None:
    """A bot's database module pays for no socket library and no event loop."""
    script = (
        f"import sys; from jackstay_agent import {', '.join(LIGHT)}, Config;"
        " heavy = ('zmq', 'uvloop', 'asyncio', 'httptools', 'picows', 'socket', 'structlog');"
        " print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=child_env(), check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.serial
def test_names_for_bot_code_import_quickly() -> None:
    """≤ 150 ms over a bare interpreter, best of several, as a loaded machine shows more."""
    names = ", ".join(LIGHT)
    script = f"import time; t = time.perf_counter(); from jackstay_agent import {names}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    times = [
        float(subprocess.run(command, capture_output=True, text=True, env=child_env(), check=True).stdout)
        for _ in range(7)
    ]
    assert min(times) <= 0.150, times


# ---------------------------------------------------------------- configuration

BUILT_SECTIONS = [
    "agent",
    "bot",
    "venues",
    "feeds",
    "connections",
    "upstreams",
    "errors",
    "queue",
    "account",
    "state",
    "watchdog",
    "audit",
    "recovery",
    "alerts",
    "analytics",
    "metrics",
]


@pytest.mark.parametrize("section", BUILT_SECTIONS)
def test_configuration_sections(section: str) -> None:
    """Every section is optional and has defaults."""
    assert hasattr(public("Config")(), section)


def test_configuration_speaks_of_severity_retries_and_breakers() -> None:
    """Severity levels with escalation, retry policies by error type, breakers for API calls and databases."""
    text = """
    [errors.severity.levels]
    TimeoutError = "critical"
    [errors.severity.escalation.high]
    repeats = 3
    within_s = 10
    [errors.retry.policies.network]
    attempts_max = 7
    [errors.breakers.api_calls]
    failure_threshold = 9
    [errors.breakers.database_connections]
    failure_threshold = 2
    """
    handler = public("ErrorHandler")(public("Config").from_toml(text))
    assert handler.classify_error(TimeoutError()).value == "critical"
    assert handler.get_retry_policy("network")["attempts_max"] == 7


def test_an_unknown_key_names_the_nearest() -> None:
    """Unknown keys are errors with the nearest known name."""
    with pytest.raises(errors.ValidationError, match="did you mean 'log_level'"):
        public("Config").from_toml("[agent]\nlog_levl = 'info'")


def test_the_agent_exports_exactly_the_contract() -> None:
    """No name too many."""
    assert set(dir(jackstay_agent)) >= set(jackstay_agent.PUBLIC)
    with pytest.raises(AttributeError, match="no public name"):
        jackstay_agent.Agent  # noqa: B018


# ---------------------------------------------------------------- promises

#: Where a promise of the contract is kept by a test that can fail.
PROMISES = {
    "predictive detection alerts before the crossing": (
        "tests/agent/test_pattern_analytics.py",
        "test_ramps_are_announced_before_they_cross_with_honest_intervals",
    ),
    "a sealed audit trail": (
        "tests/agent/core/test_audit_chain.py",
        "test_what_was_touched_is_found_and_located",
    ),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_promises_have_their_tests(promise: str) -> None:
    """The file and the function are there; what they assert is theirs."""
    path, name = PROMISES[promise]
    root = Path(__file__).resolve().parents[2]
    assert f"def {name}(" in (root / path).read_text(encoding="utf-8")
