"""jackstay_protocols.errors, types, limits and clock: the shared words."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from jackstay_protocols import clock, errors, limits, types
from jackstay_protocols.errors import ErrorSeverity, Outcome, TradingBotError, ValidationError

UTC_NOW = datetime(2025, 1, 1, tzinfo=UTC)
NAMED = [
    "ExchangeError",
    "RiskManagementError",
    "ValidationError",
    "ExecutionError",
    "ModelError",
    "DataError",
    "StateConsistencyError",
    "SecurityError",
]


@pytest.mark.parametrize("name", NAMED)
def test_every_named_error_is_a_trading_bot_error(name: str) -> None:
    """One root for all."""
    assert issubclass(getattr(errors, name), TradingBotError)


def test_default_severities_are_the_contracts() -> None:
    """State and security critical; risk, exchange, execution high; data, model medium; validation low."""
    assert {name: getattr(errors, name).default_severity for name in NAMED} == {
        "StateConsistencyError": ErrorSeverity.CRITICAL,
        "SecurityError": ErrorSeverity.CRITICAL,
        "RiskManagementError": ErrorSeverity.HIGH,
        "ExchangeError": ErrorSeverity.HIGH,
        "ExecutionError": ErrorSeverity.HIGH,
        "DataError": ErrorSeverity.MEDIUM,
        "ModelError": ErrorSeverity.MEDIUM,
        "ValidationError": ErrorSeverity.LOW,
    }


def test_errors_are_also_what_python_programs_catch() -> None:
    """A bot that catches TimeoutError or ConnectionError keeps working."""
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert issubclass(errors.AgentGone, ConnectionError)
    assert issubclass(errors.ProtocolError, errors.ValidationError)
    assert issubclass(errors.Refused, errors.ExecutionError)


def test_an_error_carries_its_facts() -> None:
    """Reason, retry_after_s, outcome and details; details are never shared."""
    error = errors.Refused("no", reason="gated", retry_after_s=2.0, outcome=Outcome.FAILED, details={"gate": "ip"})
    assert (str(error), error.reason, error.retry_after_s, error.outcome, error.details) == (
        "no",
        "gated",
        2.0,
        Outcome.FAILED,
        {"gate": "ip"},
    )
    first, second = TradingBotError("a"), TradingBotError("b")
    first.details["x"] = 1
    assert second.details == {}


def test_words_of_the_wire_are_lower_case_text() -> None:
    """Enum values are what programs compare."""
    for word in (*errors.Reason, *errors.Outcome, *errors.Lane, *errors.ErrorSeverity):
        assert word == word.lower() == str(word)


def order(**more: Any) -> types.OrderRequest:
    return types.OrderRequest(
        **({"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "quantity": Decimal("0.1")} | more)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0.1},
        {"quantity": 1},
        {"quantity": "1"},
        {"quantity": None},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"price": 1.5},
        {"stop_price": Decimal("Infinity")},
    ],
)
def test_money_is_a_finite_decimal(wrong: dict[str, Any]) -> None:
    """A float is refused, not converted; the field is named."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        order(**wrong)


def test_a_right_order_is_frozen() -> None:
    """Values cannot be changed afterwards."""
    request = order(price=Decimal("100.5"))
    with pytest.raises(AttributeError):
        request.quantity = Decimal(1)  # type: ignore[misc]


@pytest.mark.parametrize("when", [datetime(2025, 1, 1), "2025-01-01", None])
def test_times_are_aware(when: Any) -> None:
    """A naive time is refused."""
    with pytest.raises(ValidationError, match="timestamp"):
        types.MarketData("BTC/USDT", when)


def test_an_order_response_checks_money_and_time() -> None:
    """Quantities are needed, an average price is not."""
    fields: dict[str, Any] = {
        "order_id": "1", "client_order_id": None, "symbol": "X", "side": "buy", "status": "open",
        "quantity": Decimal(1), "filled_quantity": Decimal(0), "remaining_quantity": Decimal(1), "average_price": None,
        "timestamp": UTC_NOW,
    }  # fmt: skip
    assert types.OrderResponse(**fields).quantity == 1
    for wrong in ({"filled_quantity": 0.0}, {"average_price": 1.0}, {"timestamp": datetime(2025, 1, 1)}):
        with pytest.raises(ValidationError):
            types.OrderResponse(**(fields | wrong))


def test_position_and_pattern_check_theirs() -> None:
    """Money and times everywhere."""
    assert types.Position("X", "long", Decimal(1)).entry_price is None
    with pytest.raises(ValidationError):
        types.Position("X", "long", 1.0)  # type: ignore[arg-type]
    assert types.ErrorPattern("p", "burst", "orders", "E", 3, ErrorSeverity.HIGH, UTC_NOW, UTC_NOW).evidence == {}
    with pytest.raises(ValidationError):
        types.ErrorPattern("p", "burst", "orders", "E", 3, ErrorSeverity.HIGH, datetime(2025, 1, 1), UTC_NOW)
    assert types.MarketData("X", UTC_NOW.astimezone(timezone(timedelta(hours=1)))).bid is None


def test_the_local_clock_is_one_clock_in_two_units() -> None:
    """Seconds and microseconds of the same boot; it does not go back."""
    before = clock.boot_s()
    middle_us = clock.boot_us()
    after = clock.boot_s()
    assert before <= middle_us / 1e6 + 1e-6
    assert middle_us / 1e6 <= after + 1e-6
    assert clock.boot_id() == clock.boot_id()
    assert time.monotonic() <= clock.boot_s() + 1e-3  # boot time includes suspends


def test_limits_fit_into_each_other() -> None:
    """A largest body with largest headers still makes a legal frame."""
    assert (
        limits.REQUEST_BODY_BYTES_MAX + limits.HEADER_BYTES_MAX + limits.URL_BYTES_MAX < limits.TO_AGENT_FRAME_BYTES_MAX
    )
    assert limits.RESPONSE_BODY_BYTES_MAX < limits.TO_CLIENT_FRAME_BYTES_MAX
    assert limits.WIRE_VERSION_MIN <= limits.WIRE_VERSION < 256
    assert limits.BEAT_WITHIN_S_MAX * 10 < 2**16
