"""The agent. Exports exactly the public names of the contract, each loaded on first use.

A bot's database or exchange module imports these as a library: importing a name opens no socket and starts no loop.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackstay_protocols.errors import ErrorSeverity as ErrorSeverity
    from jackstay_protocols.errors import StateConsistencyError as StateConsistencyError
    from jackstay_protocols.types import ErrorPattern as ErrorPattern

    from .breaker import CircuitBreaker as CircuitBreaker
    from .breaker import CircuitOpenError as CircuitOpenError
    from .breaker import CircuitPermit as CircuitPermit
    from .breaker import HalfOpenFullError as HalfOpenFullError
    from .config import Config as Config
    from .connection_manager import ConnectionHealth as ConnectionHealth
    from .connection_manager import ConnectionManager as ConnectionManager
    from .connection_manager import ConnectionState as ConnectionState
    from .decorators import circuit_breaker as circuit_breaker
    from .decorators import retry as retry
    from .decorators import time_execution as time_execution
    from .error_decorator import error_handler_decorator as error_handler_decorator
    from .error_handler import ErrorContext as ErrorContext
    from .error_handler import ErrorHandler as ErrorHandler
    from .log import get_logger as get_logger
    from .pattern_analytics import ErrorPatternAnalytics as ErrorPatternAnalytics
    from .pattern_analytics import ErrorTrend as ErrorTrend
    from .recovery_scenarios import APIRateLimitRecovery as APIRateLimitRecovery
    from .recovery_scenarios import DataFeedInterruptionRecovery as DataFeedInterruptionRecovery
    from .recovery_scenarios import ExchangeMaintenanceRecovery as ExchangeMaintenanceRecovery
    from .recovery_scenarios import NetworkDisconnectionRecovery as NetworkDisconnectionRecovery
    from .recovery_scenarios import OrderRejectionRecovery as OrderRejectionRecovery
    from .recovery_scenarios import PartialFillRecovery as PartialFillRecovery
    from .recovery_scenarios import RecoveryScenario as RecoveryScenario
    from .state_monitor import StateMonitor as StateMonitor
    from .state_monitor import StateValidationResult as StateValidationResult

# Public name -> the module that defines it.
PUBLIC = {
    "CircuitBreaker": ".breaker",
    "CircuitOpenError": ".breaker",
    "CircuitPermit": ".breaker",
    "Config": ".config",
    "ConnectionHealth": ".connection_manager",
    "ConnectionManager": ".connection_manager",
    "ConnectionState": ".connection_manager",
    "ErrorContext": ".error_handler",
    "ErrorHandler": ".error_handler",
    "ErrorPattern": "jackstay_protocols.types",
    "ErrorSeverity": "jackstay_protocols.errors",
    "HalfOpenFullError": ".breaker",
    "APIRateLimitRecovery": ".recovery_scenarios",
    "DataFeedInterruptionRecovery": ".recovery_scenarios",
    "ExchangeMaintenanceRecovery": ".recovery_scenarios",
    "NetworkDisconnectionRecovery": ".recovery_scenarios",
    "OrderRejectionRecovery": ".recovery_scenarios",
    "PartialFillRecovery": ".recovery_scenarios",
    "ErrorPatternAnalytics": ".pattern_analytics",
    "ErrorTrend": ".pattern_analytics",
    "RecoveryScenario": ".recovery_scenarios",
    "StateConsistencyError": "jackstay_protocols.errors",
    "StateMonitor": ".state_monitor",
    "StateValidationResult": ".state_monitor",
    "circuit_breaker": ".decorators",
    "error_handler_decorator": ".error_decorator",
    "get_logger": ".log",
    "retry": ".decorators",
    "time_execution": ".decorators",
}

__all__ = sorted(PUBLIC)  # noqa: PLE0605 - the table is the one source of names


def __getattr__(name: str) -> Any:
    place = PUBLIC.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no public name {name!r}; it offers {', '.join(sorted(PUBLIC))}")
    value = getattr(importlib.import_module(place, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
