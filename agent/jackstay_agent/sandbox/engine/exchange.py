"""The exchange: accounts, symbols with filters, order entry, matching, cancels. Every number is a Decimal.

Rejections are `Reject` values raised as exceptions with Binance's own codes (exchanges.md 3.3, adapters.md 2.4).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

from .book import ZERO, Book, Order, Trade

FEE_RATE = Decimal("0.001")
MARKET = "market"  # owner of the background quotes
EVENTS_MAX = 100_000


class Reject(Exception):
    """The venue says no; nothing happened."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    start_price: Decimal


def default_symbols() -> list[Symbol]:
    d = Decimal
    return [
        Symbol("BTCUSDT", "BTC", "USDT", d("0.01"), d("0.00001"), d("0.00001"), d("9000"), d("5"), d("50000")),
        Symbol("ETHUSDT", "ETH", "USDT", d("0.01"), d("0.0001"), d("0.0001"), d("90000"), d("5"), d("2500")),
    ]


@dataclass(slots=True)
class Account:
    """Free and locked amounts by asset."""

    free: dict[str, Decimal] = field(default_factory=dict)
    locked: dict[str, Decimal] = field(default_factory=dict)

    def lock(self, asset: str, amount: Decimal) -> bool:
        if self.free.get(asset, ZERO) < amount:
            return False
        self.free[asset] = self.free.get(asset, ZERO) - amount
        self.locked[asset] = self.locked.get(asset, ZERO) + amount
        return True

    def unlock(self, asset: str, amount: Decimal) -> None:
        self.locked[asset] = self.locked.get(asset, ZERO) - amount
        self.free[asset] = self.free.get(asset, ZERO) + amount

    def spend_locked(self, asset: str, amount: Decimal) -> None:
        self.locked[asset] = self.locked.get(asset, ZERO) - amount

    def receive(self, asset: str, amount: Decimal) -> None:
        self.free[asset] = self.free.get(asset, ZERO) + amount


class Exchange:
    """One venue. ``now_ms()`` is its clock; ``on_event(kind, fields)`` hears trades and order changes."""

    def __init__(
        self,
        symbols: list[Symbol],
        *,
        now_ms: Callable[[], int],
        seed: int = 1,
        on_event: Callable[[str, Any], None] = lambda kind, what: None,
    ) -> None:
        self.symbols = {symbol.name: symbol for symbol in symbols}
        self.now_ms = now_ms
        self.on_event = on_event
        self.accounts: dict[str, Account] = {}
        self.books = {name: Book() for name in self.symbols}
        self.orders: dict[int, Order] = {}
        self.trades: list[Trade] = []
        self.last_price = {name: symbol.start_price for name, symbol in self.symbols.items()}
        self.fees: dict[str, Decimal] = {}
        self._open_ids: dict[tuple[str, str], Order] = {}  # (owner, client id) of open orders only
        self._by_client_id: dict[tuple[str, str], Order] = {}  # the newest order of that id
        self.depth_ids = dict.fromkeys(self.symbols, 1)
        self._order_serial = 100
        self._trade_serial = 500
        self._random = random.Random(seed)

    # ------------------------------------------------------------ orders

    def place(
        self,
        owner: str,
        symbol_name: str,
        side: str,
        type_: str,
        *,
        quantity: Decimal | None,
        price: Decimal | None = None,
        tif: str = "GTC",
        client_id: str = "",
        quote_quantity: Decimal | None = None,
    ) -> Order:
        """Accept, match, rest or expire. Raises Reject with the venue's code; then nothing changed."""
        symbol = self._symbol(symbol_name)
        if side not in ("BUY", "SELL"):
            raise Reject(-1117, "Invalid side.")
        if type_ not in ("LIMIT", "MARKET", "LIMIT_MAKER"):
            raise Reject(-1116, "Invalid orderType.")
        if tif not in ("GTC", "IOC", "FOK"):
            raise Reject(-1115, "Invalid timeInForce.")
        limit = None if type_ == "MARKET" else price
        if type_ == "MARKET" and quantity is None and quote_quantity is not None:
            reference = self.books[symbol.name].best("SELL" if side == "BUY" else "BUY")
            reference = reference or self.last_price[symbol.name]
            quantity = (quote_quantity / reference).quantize(symbol.step, ROUND_DOWN)
        if quantity is None:
            raise Reject(-1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.")
        self._check_filters(symbol, type_, quantity, limit)
        client_id = client_id or f"sandbox{self._order_serial + 1}"
        if (owner, client_id) in self._open_ids:
            raise Reject(-2010, "Duplicate order sent.")
        book = self.books[symbol.name]
        if type_ == "LIMIT_MAKER" and book.crosses(side, limit):
            raise Reject(-2010, "Order would immediately match and take.")
        order = self._accept(owner, symbol, side, type_, quantity, limit, tif, client_id)
        if tif == "FOK" and book.fillable(side, limit, quantity) < quantity:
            self._end(order, "EXPIRED")
            return order
        self._match(order, limit)
        if order.is_open:
            if type_ == "MARKET" or tif in ("IOC", "FOK"):
                self._end(order, "EXPIRED")
            else:
                book.add(order)
        return order

    def _symbol(self, name: str) -> Symbol:
        symbol = self.symbols.get(name)
        if symbol is None:
            raise Reject(-1121, "Invalid symbol.")
        return symbol

    def _check_filters(self, symbol: Symbol, type_: str, quantity: Decimal, limit: Decimal | None) -> None:
        if not quantity.is_finite() or not symbol.min_quantity <= quantity <= symbol.max_quantity:
            raise Reject(-1013, "Filter failure: LOT_SIZE")
        if quantity % symbol.step:
            raise Reject(-1013, "Filter failure: LOT_SIZE")
        if type_ != "MARKET":
            if limit is None:
                raise Reject(-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")
            if not limit.is_finite() or limit <= 0 or limit % symbol.tick:
                raise Reject(-1013, "Filter failure: PRICE_FILTER")
            last = self.last_price[symbol.name]
            if not last / 5 <= limit <= last * 5:
                raise Reject(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        if quantity * (limit or self.last_price[symbol.name]) < symbol.min_notional:
            raise Reject(-1013, "Filter failure: NOTIONAL")

    def _accept(
        self,
        owner: str,
        symbol: Symbol,
        side: str,
        type_: str,
        quantity: Decimal,
        limit: Decimal | None,
        tif: str,
        client_id: str,
    ) -> Order:
        now = self.now_ms()
        order = Order(
            self._order_serial + 1, client_id, owner, symbol.name, side, type_, tif, limit or ZERO, quantity, now,
            updated_ms=now,
        )  # fmt: skip
        if owner != MARKET:
            asset, amount = symbol.base, quantity
            if side == "BUY":
                price = limit if limit is not None else self._worst_buy_price(symbol, quantity)
                asset, amount = symbol.quote, quantity * price
            if not self.account(owner).lock(asset, amount):
                raise Reject(-2010, "Account has insufficient balance for requested action.")
            order.locked = amount
        self._order_serial += 1
        self.orders[order.id] = order
        self._open_ids[owner, client_id] = order
        self._by_client_id[owner, client_id] = order
        self.on_event("order", (order, "NEW", None))
        return order

    def _worst_buy_price(self, symbol: Symbol, quantity: Decimal) -> Decimal:
        """What a market buy of this size would pay for its last unit."""
        left, worst = quantity, self.last_price[symbol.name]
        for price, available in self.books[symbol.name].depth("SELL", 1_000_000):
            worst = price
            left -= available
            if left <= 0:
                break
        return worst

    def _match(self, taker: Order, limit: Decimal | None) -> None:
        book = self.books[taker.symbol]
        other = "SELL" if taker.side == "BUY" else "BUY"
        while taker.remaining > 0 and book.crosses(taker.side, limit):
            maker = book.front(other)
            assert maker is not None
            if maker.owner == taker.owner and maker.owner != MARKET:
                self._end(taker, "EXPIRED_IN_MATCH")  # Binance's default self-trade rule: the taker expires
                return
            quantity = min(taker.remaining, maker.remaining)
            self._trade(taker, maker, quantity, maker.price)
            book.touched(maker)
            if maker.remaining == 0:
                book.remove(maker)

    def _trade(self, taker: Order, maker: Order, quantity: Decimal, price: Decimal) -> None:
        self._trade_serial += 1
        now = self.now_ms()
        for order, is_maker in ((maker, True), (taker, False)):
            trade = self._settle(order, quantity, price, is_maker, now)
            order.trades.append(trade)
            self.trades.append(trade)
            if order.remaining == 0:
                self._end(order, "FILLED")
            else:
                order.status = "PARTIALLY_FILLED"
            order.updated_ms = now
            self.on_event("order", (order, "TRADE", trade))
        self.last_price[taker.symbol] = price
        self.on_event("trade", (taker.symbol, self._trade_serial, price, quantity, taker.side, now))

    def _settle(self, order: Order, quantity: Decimal, price: Decimal, maker: bool, now: int) -> Trade:
        symbol = self.symbols[order.symbol]
        value = quantity * price
        order.filled += quantity
        order.cost += value
        received, fee_asset = (quantity, symbol.base) if order.side == "BUY" else (value, symbol.quote)
        fee = (received * FEE_RATE).quantize(Decimal("1e-8"), ROUND_DOWN) if order.owner != MARKET else ZERO
        if order.owner != MARKET:
            account = self.account(order.owner)
            spent_asset, spent = (symbol.quote, value) if order.side == "BUY" else (symbol.base, quantity)
            account.spend_locked(spent_asset, spent)
            order.locked -= spent
            account.receive(fee_asset, received - fee)
            self.fees[fee_asset] = self.fees.get(fee_asset, ZERO) + fee
        return Trade(
            self._trade_serial, order.id, order.owner, order.symbol, order.side, price, quantity, fee, fee_asset, maker,
            now,
        )  # fmt: skip

    def _end(self, order: Order, status: str) -> None:
        """Terminal: what is still locked goes back, the client id is free again (as on Binance spot)."""
        order.status = status
        order.updated_ms = self.now_ms()
        if order.owner != MARKET and order.locked:
            symbol = self.symbols[order.symbol]
            self.account(order.owner).unlock(symbol.quote if order.side == "BUY" else symbol.base, order.locked)
            order.locked = ZERO
        if self._open_ids.get((order.owner, order.client_id)) is order:
            del self._open_ids[order.owner, order.client_id]

    def cancel(self, order: Order) -> Order:
        """Raises Reject -2011 when it is not open any more."""
        if not order.is_open:
            raise Reject(-2011, "Unknown order sent.")
        self.books[order.symbol].remove(order)
        self._end(order, "CANCELED")
        self.on_event("order", (order, "CANCELED", None))
        return order

    # ------------------------------------------------------------ look-ups

    def account(self, owner: str) -> Account:
        return self.accounts.setdefault(owner, Account())

    def find(self, owner: str, symbol: str, *, order_id: int | None, client_id: str | None) -> Order | None:
        order = None
        if order_id is not None:
            order = self.orders.get(order_id)
        elif client_id:
            order = self._by_client_id.get((owner, client_id))
        if order is None or order.owner != owner or order.symbol != symbol:
            return None
        return order

    def open_orders(self, owner: str, symbol: str | None = None) -> Iterator[Order]:
        for (who, _client_id), order in list(self._open_ids.items()):
            if who == owner and (symbol is None or order.symbol == symbol):
                yield order

    def orders_of(self, owner: str, symbol: str | None = None) -> Iterator[Order]:
        for order in self.orders.values():
            if order.owner == owner and (symbol is None or order.symbol == symbol):
                yield order

    def depth_update_id(self, symbol: str) -> int:
        return self.depth_ids[symbol]

    def depth_changes(self, symbol: str) -> tuple[int, int, dict[str, list[tuple[Decimal, Decimal]]]] | None:
        """Levels changed since the last call as (first id, last id, side -> price and quantity); None: nothing did."""
        book = self.books[symbol]
        if not book.changed:
            return None
        levels: dict[str, list[tuple[Decimal, Decimal]]] = {"BUY": [], "SELL": []}
        for side, price in sorted(book.changed):
            levels[side].append((price, book.level(side, price)))
        first = self.depth_ids[symbol] + 1
        self.depth_ids[symbol] += len(book.changed)
        book.changed.clear()
        return first, self.depth_ids[symbol], levels

    # ------------------------------------------------------------ state

    _STATE = (
        "accounts", "books", "orders", "trades", "last_price", "fees", "depth_ids", "_open_ids", "_by_client_id",
        "_order_serial", "_trade_serial", "_random",
    )  # fmt: skip

    def save(self) -> dict[str, Any]:
        """Everything that a restart must not forget."""
        return {name: getattr(self, name) for name in self._STATE}

    def load(self, state: dict[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state[name])

    # ------------------------------------------------------------ the background market

    def seed_quotes(self) -> None:
        """Resting quotes of the market itself around each start price, so that books are never empty."""
        for symbol in self.symbols.values():
            self.requote(symbol.name)

    def requote(self, symbol_name: str) -> None:
        """Replace the market's quotes around a price that has walked a tick or two."""
        symbol = self.symbols[symbol_name]
        for order in list(self.open_orders(MARKET, symbol_name)):
            self.books[symbol_name].remove(order)
            self._end(order, "CANCELED")
            del self.orders[order.id]
            self._by_client_id.pop((MARKET, order.client_id), None)
        mid = symbol.start_price + symbol.tick * self._random.randint(-200, 200)
        for rank in range(1, 6):
            quantity = (symbol.step * self._random.randint(10_000, 100_000)).quantize(symbol.step)
            for side, sign in (("BUY", -1), ("SELL", 1)):
                price = mid + sign * rank * symbol.tick * 100
                self.place(MARKET, symbol_name, side, "LIMIT", quantity=quantity, price=price)

    def market_step(self) -> None:
        """One step of the background market: a small trade somewhere, sometimes new quotes. It trades with anyone."""
        name = self._random.choice(sorted(self.symbols))
        symbol = self.symbols[name]
        if self._random.random() < 0.2:
            self.requote(name)
            return
        side = self._random.choice(("BUY", "SELL"))
        front = self.books[name].front("SELL" if side == "BUY" else "BUY")
        if front is not None:
            quantity = max(symbol.min_quantity, symbol.step * self._random.randint(1, 1000))
            quantity = max(quantity, (symbol.min_notional / front.price).quantize(symbol.step) + symbol.step)
            order = self.place(MARKET, name, side, "MARKET", quantity=quantity)
            self.orders.pop(order.id, None)
            self._by_client_id.pop((MARKET, order.client_id), None)
        if len(self.trades) > EVENTS_MAX:
            mine = [trade for trade in self.trades if trade.owner != MARKET]
            self.trades = mine + [trade for trade in self.trades[-1000:] if trade.owner == MARKET]
