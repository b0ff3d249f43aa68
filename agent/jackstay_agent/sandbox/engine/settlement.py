"""How a spot venue pays: what an order locks, what a match moves, what a finished order gives back.

Fees are taken from what is received, as on Binance without BNB, rounded down to eight decimals.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Protocol

from .model import FEE_ACCOUNT, MARKET_ACCOUNT, ZERO, Order, Reject, Symbol
from .wallet import Wallets

CENT = Decimal("0.00000001")


class Settlement(Protocol):
    """What the engine asks of whoever moves the money."""

    fee_rate: Decimal
    fees_in_quote: bool

    def reserve(self, order: Order, symbol: Symbol, market_cost: Decimal) -> None: ...

    def reserve_pair(self, resting: Order, waiting: Order, symbol: Symbol) -> None: ...

    def room_to_reduce(self, order: Order) -> Decimal: ...

    def settle(
        self, symbol: Symbol, buyer: Order, seller: Order, price: Decimal, quantity: Decimal
    ) -> tuple[Decimal, Decimal]: ...

    def release(self, order: Order, symbol: Symbol) -> None: ...


class SpotSettlement:
    """Moves money between wallets. `fee_rate` is a fraction; the background market trades free of fees."""

    def __init__(self, wallets: Wallets, fee_rate: Decimal = Decimal("0.001")) -> None:
        self._wallets = wallets
        self.fee_rate = fee_rate
        self.fees_in_quote = False

    def reserve(self, order: Order, symbol: Symbol, market_cost: Decimal) -> None:
        """Lock what the order may spend; a market buy locks what the book says it will cost."""
        if order.side == "SELL":
            asset, amount = symbol.base, order.remaining
        else:
            asset, amount = symbol.quote, (order.price * order.remaining if order.price else market_cost)
        self._wallets.lock(order.account, asset, amount)
        order.locked = amount

    def reserve_pair(self, resting: Order, waiting: Order, symbol: Symbol) -> None:
        """Lock once for two orders of which one will act; the resting one holds it."""
        if resting.side == "SELL":
            asset, amount = symbol.base, resting.quantity
        else:
            dearer = max(resting.price, waiting.price or waiting.stop_price)
            asset, amount = symbol.quote, dearer * resting.quantity
        self._wallets.lock(resting.account, asset, amount)
        resting.locked = amount

    def room_to_reduce(self, order: Order) -> Decimal:
        """Spot has no positions to reduce."""
        return order.remaining

    def settle(
        self, symbol: Symbol, buyer: Order, seller: Order, price: Decimal, quantity: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Move quantity and money of one match; returns the fees (buyer's in base, seller's in quote)."""
        wallets, cost = self._wallets, price * quantity
        held = (buyer.price or price) * quantity
        buyer.locked -= held
        seller.locked -= quantity
        wallets.take_locked(buyer.account, symbol.quote, cost)
        wallets.unlock(buyer.account, symbol.quote, held - cost)
        wallets.take_locked(seller.account, symbol.base, quantity)
        buyer_fee, seller_fee = self._fee(buyer, quantity), self._fee(seller, cost)
        wallets.give(buyer.account, symbol.base, quantity - buyer_fee)
        wallets.give(seller.account, symbol.quote, cost - seller_fee)
        if buyer_fee:
            wallets.give(FEE_ACCOUNT, symbol.base, buyer_fee)
        if seller_fee:
            wallets.give(FEE_ACCOUNT, symbol.quote, seller_fee)
        return buyer_fee, seller_fee

    def release(self, order: Order, symbol: Symbol) -> None:
        """The order is over: what it still holds is free again."""
        if order.locked:
            self._wallets.unlock(order.account, symbol.quote if order.side == "BUY" else symbol.base, order.locked)
            order.locked = ZERO

    def _fee(self, order: Order, received: Decimal) -> Decimal:
        if order.account == MARKET_ACCOUNT:
            return ZERO
        return (received * self.fee_rate).quantize(CENT, ROUND_DOWN)


class QuoteFeeSettlement(SpotSettlement):
    """Both sides pay their fee in the quote currency, a buyer on top of the price (Kraken's default, `fciq`)."""

    def __init__(self, wallets: Wallets, fee_rate: Decimal) -> None:
        super().__init__(wallets, fee_rate)
        self.fees_in_quote = True

    def reserve(self, order: Order, symbol: Symbol, market_cost: Decimal) -> None:
        if order.side == "SELL":
            super().reserve(order, symbol, market_cost)
            return
        amount = self._with_fee(order, order.price * order.remaining if order.price else market_cost)
        self._wallets.lock(order.account, symbol.quote, amount)
        order.locked = amount

    def reserve_pair(self, resting: Order, waiting: Order, symbol: Symbol) -> None:
        raise Reject("bad_list")  # the venue of these fees knows no pairs

    def settle(
        self, symbol: Symbol, buyer: Order, seller: Order, price: Decimal, quantity: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Move quantity and money of one match; returns both fees, in quote."""
        wallets, cost = self._wallets, price * quantity
        buyer_fee, seller_fee = self._fee(buyer, cost), self._fee(seller, cost)
        held = self._with_fee(buyer, (buyer.price or price) * quantity)
        buyer.locked -= held
        seller.locked -= quantity
        wallets.take_locked(buyer.account, symbol.quote, cost + buyer_fee)
        wallets.unlock(buyer.account, symbol.quote, held - cost - buyer_fee)
        wallets.take_locked(seller.account, symbol.base, quantity)
        wallets.give(buyer.account, symbol.base, quantity)
        wallets.give(seller.account, symbol.quote, cost - seller_fee)
        if buyer_fee or seller_fee:
            wallets.give(FEE_ACCOUNT, symbol.quote, buyer_fee + seller_fee)
        return buyer_fee, seller_fee

    def _with_fee(self, order: Order, cost: Decimal) -> Decimal:
        return cost if order.account == MARKET_ACCOUNT else cost * (1 + self.fee_rate)
