"""Values both sides speak about: orders, positions, prices, error patterns.

All frozen; money is Decimal (DESIGN §3 rule 15: a float is refused, not converted), times are aware and UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from .errors import ErrorSeverity, ValidationError


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderClass(StrEnum):
    """What an order is for; decides what may be done to it without its owner (DESIGN §5 Protection)."""

    ENTRY = "entry"
    EXIT = "exit"
    PROTECTIVE = "protective"
    HEDGE = "hedge"
    UNKNOWN = "unknown"


def _money(owner: str, name: str, value: object, *, optional: bool = True) -> None:
    if value is None and optional:
        return
    if not isinstance(value, Decimal):
        raise ValidationError(
            f"{owner}.{name} is a {type(value).__name__}; a decimal.Decimal is expected:"
            " pass Decimal('...') made from a string"
        )
    if not value.is_finite():
        raise ValidationError(f"{owner}.{name} is {value}; a finite number is expected")


def _utc(owner: str, name: str, value: object) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise ValidationError(
            f"{owner}.{name} is {value!r}; an aware datetime in UTC is expected: use datetime.now(timezone.utc)"
        )


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order a bot means to place. Quantities are base units, prices quote units per base unit."""

    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str | None = None
    reduce_only: bool = False
    client_order_id: str | None = None

    def __post_init__(self) -> None:
        _money("OrderRequest", "quantity", self.quantity, optional=False)
        _money("OrderRequest", "price", self.price)
        _money("OrderRequest", "stop_price", self.stop_price)
        if self.quantity <= 0:
            raise ValidationError(f"OrderRequest.quantity is {self.quantity}; a quantity above zero is expected")


@dataclass(frozen=True, slots=True)
class OrderResponse:
    """An order as the venue last described it."""

    order_id: str
    client_order_id: str | None
    symbol: str
    side: str
    status: str
    quantity: Decimal
    filled_quantity: Decimal
    remaining_quantity: Decimal
    average_price: Decimal | None
    timestamp: datetime

    def __post_init__(self) -> None:
        for name in ("quantity", "filled_quantity", "remaining_quantity"):
            _money("OrderResponse", name, getattr(self, name), optional=False)
        _money("OrderResponse", "average_price", self.average_price)
        _utc("OrderResponse", "timestamp", self.timestamp)


@dataclass(frozen=True, slots=True)
class Position:
    """A position as the venue reports it."""

    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealized_pnl: Decimal | None = None

    def __post_init__(self) -> None:
        _money("Position", "quantity", self.quantity, optional=False)
        for name in ("entry_price", "mark_price", "unrealized_pnl"):
            _money("Position", name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class MarketData:
    """One normalised market data point."""

    symbol: str
    timestamp: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    volume: Decimal | None = None
    source: str = ""
    sequence: int | None = None

    def __post_init__(self) -> None:
        for name in ("bid", "ask", "last", "volume"):
            _money("MarketData", name, getattr(self, name))
        _utc("MarketData", "timestamp", self.timestamp)


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """A shape seen in the errors of a component (CONTRACT pattern_analytics)."""

    pattern_id: str
    kind: str
    component: str
    error_type: str
    frequency: int
    severity: ErrorSeverity
    first_seen: datetime
    last_seen: datetime
    confidence: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)
    suggested_action: str = ""

    def __post_init__(self) -> None:
        _utc("ErrorPattern", "first_seen", self.first_seen)
        _utc("ErrorPattern", "last_seen", self.last_seen)
