"""The nouns of the venue: symbols, orders, trades, refusals. No behaviour beyond what a noun knows of itself.

Prices and quantities are `Decimal`, times are integer milliseconds since the epoch. The vocabulary (sides, types,
statuses) is Binance's, because it is the widest; other faces translate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

ZERO = Decimal(0)
MARKET_ACCOUNT = "@market"
FEE_ACCOUNT = "@fees"
OPEN_STATUSES = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})
# Orders without a price of their own: they take whatever the book gives.
MARKET_TYPES = frozenset({"MARKET", "STOP_LOSS", "TAKE_PROFIT", "STOP_MARKET", "TAKE_PROFIT_MARKET"})
STOP_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})


class Reject(Exception):
    """The engine refuses a request: `reason` is a fixed word a face maps to its venue's code, `detail` names the field.

    Nothing has been changed when this is raised.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True, frozen=True)
class Symbol:
    """A market and its filters. Limits are inclusive; a zero maximum means none."""

    name: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    price_start: Decimal
    price_min: Decimal = Decimal("0.01")
    price_max: Decimal = Decimal(1_000_000)
    quantity_min: Decimal = Decimal("0.00001")
    quantity_max: Decimal = Decimal(9000)
    market_quantity_max: Decimal = Decimal(500)
    notional_min: Decimal = Decimal(5)
    notional_max: Decimal = Decimal(9_000_000)
    # Binance's own multipliers: a bid may be five times the price, but not less than a fifth of it, and so for an ask.
    percent_up: Decimal = Decimal(5)
    percent_down: Decimal = Decimal("0.2")
    orders_max: int = 100_000

    def in_steps(self, quantity: Decimal) -> Decimal:
        """As much of a quantity as is whole steps."""
        return _floor(quantity, self.step)

    def in_ticks(self, price: Decimal) -> Decimal:
        """The next price of whole ticks at or below."""
        return _floor(price, self.tick)


def _floor(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).quantize(Decimal(1), ROUND_DOWN) * step


@dataclass(slots=True, frozen=True)
class OrderRequest:
    """What a face asks the engine to place; `quote_quantity` stands in for `quantity` on market orders only."""

    account: str
    symbol: str
    side: str
    type: str
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    tif: str = "GTC"
    client_id: str = ""
    quote_quantity: Decimal = ZERO
    stop_price: Decimal = ZERO
    stp: str = "NONE"
    list_id: int = -1
    owner: str = ""
    position_side: str = "BOTH"
    reduce_only: bool = False
    close_position: bool = False
    # what a face wants to remember of the order, in its own words: the engine keeps it and never reads it
    tag: str = ""


@dataclass(slots=True)
class Order:
    """One order and everything that became of it. `locked` is what it still holds of the account's balance."""

    id: int
    account: str
    symbol: str
    side: str
    type: str
    tif: str
    price: Decimal
    quantity: Decimal
    client_id: str
    created_at: int
    updated_at: int
    quote_quantity: Decimal = ZERO
    stop_price: Decimal = ZERO
    stp: str = "NONE"
    list_id: int = -1
    owner: str = ""
    status: str = "NEW"
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    locked: Decimal = ZERO
    working: bool = True
    working_at: int = 0
    prevented: Decimal = ZERO
    position_side: str = "BOTH"
    reduce_only: bool = False
    tag: str = ""

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled - self.prevented

    @property
    def is_market(self) -> bool:
        return self.type in MARKET_TYPES

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


@dataclass(slots=True, frozen=True)
class Trade:
    """One match. `buyer_is_maker` tells which side was resting."""

    id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    at: int
    buyer_order: int
    seller_order: int
    buyer_account: str
    seller_account: str
    buyer_is_maker: bool
    buyer_fee: Decimal
    seller_fee: Decimal


@dataclass(slots=True, frozen=True)
class Fill:
    """One side of a trade as its owner sees it."""

    trade_id: int
    order_id: int
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    at: int


@dataclass(slots=True, frozen=True)
class BookChange:
    """A price level now holds this quantity in total; zero means it is gone. `update_id` counts per symbol."""

    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    update_id: int


@dataclass(slots=True, frozen=True)
class OrderChange:
    """What just happened to an order: `kind` is Binance's execution type (NEW, TRADE, CANCELED, EXPIRED, REPLACED),
    or AMENDMENT, or TRIGGERED: a conditional order's price was reached (which not every venue tells)."""

    kind: str
    order: Order
    status: str
    filled: Decimal
    cost: Decimal
    at: int
    fill: Fill | None = None


@dataclass(slots=True)
class Placed:
    """The answer to a placement: the order as it stands after matching, and the fills it took at once."""

    order: Order
    fills: list[Fill] = field(default_factory=list)


@dataclass(slots=True)
class OrderList:
    """One-cancels-the-other: `limit` rests and holds the money, `stop` waits; the first to act ends the other."""

    id: int
    account: str
    symbol: str
    client_id: str
    created_at: int
    limit: int
    stop: int
    status: str = "EXECUTING"


Event = Trade | BookChange | OrderChange
