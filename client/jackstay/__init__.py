"""jackstay: what a bot imports. Depends on pyzmq, msgpack and msgspec only; never imports the agent.

    import jackstay
    client = jackstay.Client()                      # blocking
    async with jackstay.AsyncClient() as client:    # asyncio, the same verbs
    jackstay.attach(exchange)                       # an unmodified ccxt exchange object

Names are loaded on first use, so that a blocking bot never pays for asyncio and a backtest never pays for ZeroMQ.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jackstay_protocols.errors import (
    AgentGone,
    DataError,
    DeadlineExceeded,
    ErrorSeverity,
    ExchangeError,
    ExecutionError,
    Lane,
    ModelError,
    NotYet,
    Outcome,
    OutcomeUnknown,
    ProtocolError,
    Reason,
    Refused,
    RiskManagementError,
    SecurityError,
    StateConsistencyError,
    TradingBotError,
    ValidationError,
)

if TYPE_CHECKING:
    from .adapters import attach, detach
    from .aio import AsyncClient
    from .answer import AgentEvent, Directive, FeedMessage, Lagged, LateFill, LateOutcome, Posted, Response, Verdict
    from .client import Client

__version__ = "0.1.0"

_LAZY = {
    "AgentEvent": "answer",
    "AsyncClient": "aio",
    "Client": "client",
    "Directive": "answer",
    "FeedMessage": "answer",
    "Lagged": "answer",
    "LateFill": "answer",
    "LateOutcome": "answer",
    "Posted": "answer",
    "Response": "answer",
    "Verdict": "answer",
    "attach": "adapters",
    "detach": "adapters",
}

__all__ = [
    "AgentEvent",
    "AgentGone",
    "AsyncClient",
    "Client",
    "DataError",
    "DeadlineExceeded",
    "Directive",
    "ErrorSeverity",
    "ExchangeError",
    "ExecutionError",
    "FeedMessage",
    "Lagged",
    "Lane",
    "LateFill",
    "LateOutcome",
    "ModelError",
    "NotYet",
    "Outcome",
    "OutcomeUnknown",
    "Posted",
    "ProtocolError",
    "Reason",
    "Refused",
    "Response",
    "RiskManagementError",
    "SecurityError",
    "StateConsistencyError",
    "TradingBotError",
    "ValidationError",
    "Verdict",
    "attach",
    "detach",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'jackstay' has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
