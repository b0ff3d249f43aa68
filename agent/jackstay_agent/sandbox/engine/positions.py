"""How a USDⓈ-margined futures venue pays: positions, margin, realised profit. Money is one wallet of USDT per account.

Simplified where a rehearsal does not need more: cross margin only, no funding, no liquidation, and the last price
serves as mark price. Positions of all accounts always add up to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from .model import FEE_ACCOUNT, MARKET_ACCOUNT, ZERO, Order, Reject, Symbol
from .wallet import Wallets

CENT = Decimal("0.00000001")
LEVERAGE_DEFAULT = 20
LEVERAGE_MAX = 125


@dataclass(slots=True)
class Position:
    """Quantity is signed: below zero is short. `entry` is the mean price of what is held."""

    account: str
    symbol: str
    side: str
    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    updated_at: int = 0

    def profit(self, price: Decimal) -> Decimal:
        return (price - self.entry) * self.quantity


class FuturesSettlement:
    """Margin, positions and profit. `prices` gives each symbol's last price."""

    def __init__(self, wallets: Wallets, prices: dict[str, Decimal], fee_rate: Decimal = Decimal("0.0004")) -> None:
        self._wallets = wallets
        self.prices = prices
        self.fee_rate = fee_rate
        self.fees_in_quote = True
        self._positions: dict[tuple[str, str, str], Position] = {}
        self._held: dict[str, Decimal] = {}
        self._leverage: dict[tuple[str, str], int] = {}
        self.hedged: set[str] = set()
        self.touched: set[tuple[str, str, str]] = set()
        # counts every change of positions, leverage and modes
        self.version = 0

    # looking -----------------------------------------------------------------------------------------------------

    def position(self, account: str, symbol: str, side: str = "BOTH") -> Position:
        key = (account, symbol, side)
        return self._positions.setdefault(key, Position(*key))

    def positions(self, account: str) -> list[Position]:
        return [each for each in self._positions.values() if each.account == account and each.quantity]

    def leverage(self, account: str, symbol: str) -> int:
        return self._leverage.get((account, symbol), LEVERAGE_DEFAULT)

    def set_leverage(self, account: str, symbol: str, leverage: int) -> None:
        self.version += 1
        self._leverage[account, symbol] = leverage

    def set_hedged(self, account: str, *, hedged: bool) -> None:
        self.version += 1
        (self.hedged.add if hedged else self.hedged.discard)(account)

    # keeping -----------------------------------------------------------------------------------------------------

    def every(self) -> list[Position]:
        """Everybody's positions, the background market's included: only all together they add up to zero."""
        return [each for each in self._positions.values() if each.quantity]

    def put(self, position: Position) -> None:
        self._positions[position.account, position.symbol, position.side] = position

    def leverages(self) -> list[tuple[tuple[str, str], int]]:
        return list(self._leverage.items())

    def hold(self, account: str, margin: Decimal) -> None:
        """An open order from an earlier life holds this margin."""
        self._held[account] = self._held.get(account, ZERO) + margin

    def profit(self, account: str) -> Decimal:
        """Unrealised profit of all positions."""
        return sum((each.profit(self.prices[each.symbol]) for each in self.positions(account)), ZERO)

    def position_margin(self, account: str) -> Decimal:
        return sum((self._margin_of(each) for each in self.positions(account)), ZERO)

    def _margin_of(self, position: Position) -> Decimal:
        leverage = self.leverage(position.account, position.symbol)
        return abs(position.quantity) * self.prices[position.symbol] / leverage

    def order_margin(self, account: str) -> Decimal:
        return self._held.get(account, ZERO)

    def available(self, account: str) -> Decimal:
        wallet = self._wallets.of(account, "USDT").free
        return wallet + self.profit(account) - self.position_margin(account) - self.order_margin(account)

    # the exchange's calls ----------------------------------------------------------------------------------------

    def room_to_reduce(self, order: Order) -> Decimal:
        """How much of its position this order could close."""
        held = self.position(order.account, order.symbol, order.position_side).quantity
        closing = -held if order.side == "BUY" else held
        return max(closing, ZERO)

    def reserve(self, order: Order, symbol: Symbol, market_cost: Decimal) -> None:
        """Hold margin for what would enlarge the position. Reject("reduce_only") or Reject("insufficient_margin")."""
        room = self.room_to_reduce(order)
        if order.reduce_only and not room:
            raise Reject("reduce_only")
        if order.account == MARKET_ACCOUNT or order.reduce_only:
            return
        enlarging = max(order.remaining - room, ZERO)
        price = order.price or (market_cost / order.quantity if order.quantity else ZERO)
        margin = enlarging * price / self.leverage(order.account, symbol.name)
        if margin > self.available(order.account):
            raise Reject("insufficient_margin")
        order.locked = margin
        self._held[order.account] = self._held.get(order.account, ZERO) + margin

    def reserve_pair(self, resting: Order, waiting: Order, symbol: Symbol) -> None:
        raise Reject("bad_list")  # futures know no pairs

    def settle(
        self, symbol: Symbol, buyer: Order, seller: Order, price: Decimal, quantity: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Move both positions; returns the fees, both in the quote asset."""
        self.prices[symbol.name] = price
        for order, signed in ((buyer, quantity), (seller, -quantity)):
            self._free(order, order.locked * quantity / order.remaining if order.remaining else ZERO)
            self._move(order, symbol, signed, price)
        return self._fee(buyer, symbol, price * quantity), self._fee(seller, symbol, price * quantity)

    def release(self, order: Order, symbol: Symbol) -> None:
        self._free(order, order.locked)

    def _free(self, order: Order, amount: Decimal) -> None:
        if amount:
            order.locked -= amount
            self._held[order.account] -= amount

    def _move(self, order: Order, symbol: Symbol, signed: Decimal, price: Decimal) -> None:
        position = self.position(order.account, symbol.name, order.position_side)
        self.touched.add((order.account, symbol.name, order.position_side))
        self.version += 1
        held = position.quantity
        if held and (held > 0) != (signed > 0):
            closed = min(abs(held), abs(signed))
            profit = (price - position.entry) * (closed if held > 0 else -closed)
            self._wallets.give(order.account, symbol.quote, profit)
            if abs(signed) > abs(held):
                position.entry = price
        else:
            position.entry = (position.entry * abs(held) + price * abs(signed)) / (abs(held) + abs(signed))
        position.quantity = held + signed
        position.updated_at = order.updated_at
        if not position.quantity:
            position.entry = ZERO

    def _fee(self, order: Order, symbol: Symbol, cost: Decimal) -> Decimal:
        if order.account == MARKET_ACCOUNT:
            return ZERO
        fee = (cost * self.fee_rate).quantize(CENT, ROUND_DOWN)
        self._wallets.take(order.account, symbol.quote, fee)
        self._wallets.give(FEE_ACCOUNT, symbol.quote, fee)
        return fee
