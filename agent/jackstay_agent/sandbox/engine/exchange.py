"""The venue's engine: places, matches, cancels, replaces, and records what happened as events.

Pure: the clock is an argument, nothing is read or sent. Whoever drives it takes the events with `drain()` after
each call and publishes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from . import filters, triggers
from .book import Book
from .lists import OrderLists
from .model import (
    FEE_ACCOUNT,
    MARKET_ACCOUNT,
    STOP_TYPES,
    ZERO,
    BookChange,
    Event,
    Fill,
    Order,
    OrderChange,
    OrderList,
    OrderRequest,
    Placed,
    Reject,
    Symbol,
    Trade,
)
from .orders import OrderTable
from .settlement import Settlement, SpotSettlement
from .trading import TradingState
from .triggers import Triggers
from .wallet import Wallets

TRADES_KEPT_MAX = 1000


@dataclass(slots=True)
class Market:
    """One symbol in motion: its book, its last price and its latest public trades."""

    symbol: Symbol
    book: Book
    last_price: Decimal
    trades: deque[Trade]
    triggers: Triggers = field(default_factory=Triggers)
    # counts level changes: the U/u of depth streams and the lastUpdateId of snapshots
    update_id: int = 1


class Exchange:
    """All symbols of one venue. Every method is synchronous and either changes everything it says or raises Reject."""

    def __init__(self, symbols: list[Symbol], clock: Callable[[], int]) -> None:
        self.wallets = Wallets()
        self.settlement: Settlement = SpotSettlement(self.wallets)
        self.clock = clock
        self.orders = OrderTable()
        self.lists = OrderLists(self.orders)
        self.trading = TradingState(assets={each.name: (each.base, each.quote) for each in symbols})
        self.markets = {s.name: Market(s, Book(), s.price_start, deque(maxlen=TRADES_KEPT_MAX)) for s in symbols}
        self.next_order_id = 1
        self.next_trade_id = 1
        self._events: list[Event] = []

    def market(self, symbol: str) -> Market:
        market = self.markets.get(symbol)
        if market is None:
            raise Reject("unknown_symbol", symbol)
        return market

    def drain(self) -> list[Event]:
        """Everything that happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # placing ---------------------------------------------------------------------------------------------------

    def test(self, request: OrderRequest) -> None:
        """Raises what `place` would raise for the request's shape, filters and client id; changes nothing."""
        market = self.market(request.symbol)
        self.trading.require_placing(request, self.clock())
        filters.check(market.symbol, request, market.last_price)

    def place(self, request: OrderRequest) -> Placed:
        """Accept, match and rest (or expire) one order. Raises Reject and changes nothing when it is refused."""
        market = self.market(request.symbol)
        if request.account != MARKET_ACCOUNT:
            self.trading.require_placing(request, self.clock())
            filters.check(market.symbol, request, market.last_price)
            if request.client_id:
                self.orders.require_free(request.account, request.symbol, request.client_id)
            if self.orders.is_full(request.account, request.symbol, market.symbol.orders_max):
                raise Reject("filter", "MAX_NUM_ORDERS")
        if self.trading.thin is not None and request.account != MARKET_ACCOUNT:
            self._thin_out(market, request, self.trading.thin)
        order = self._order(request)
        market_cost = ZERO
        if request.type == "MARKET":
            quantity, market_cost = self._market_plan(market, request.side, request.quantity, request.quote_quantity)
            if request.quote_quantity:
                order.quantity = quantity
        elif request.type == "LIMIT_MAKER" and self._crosses(market, order):
            raise Reject("would_match")
        elif request.type in STOP_TYPES:
            triggers.check(request, market.last_price)
        return self._accept(market, order, market_cost)

    def _thin_out(self, market: Market, request: OrderRequest, fraction: Decimal) -> None:
        """A fault: the background market leaves so much of the book that this order finds only a part of itself."""
        left = request.quantity * fraction
        if request.quote_quantity:
            left = request.quote_quantity * fraction / market.last_price
        taker = self._order(request)
        levels = [each for each in market.book.opposite(request.side).levels() if _acceptable(taker, each.price)]
        for level in levels:
            for maker in list(level.orders.values()):
                keep = min(maker.remaining, left.quantize(market.symbol.step, ROUND_DOWN))
                left -= keep
                if maker.account != MARKET_ACCOUNT or keep == maker.remaining:
                    continue
                self._remove(market, maker, "CANCELED")
                if keep:
                    self.place(OrderRequest(MARKET_ACCOUNT, maker.symbol, maker.side, "LIMIT", keep, maker.price))

    def fill(self, order: Order, quantity: Decimal) -> Fill:
        """The background market takes this much of a resting order at its price, whoever else is in the queue."""
        market = self.market(order.symbol)
        side = "SELL" if order.side == "BUY" else "BUY"
        taker = self._order(OrderRequest(MARKET_ACCOUNT, order.symbol, side, "LIMIT", quantity, order.price))
        self.settlement.reserve(taker, market.symbol, ZERO)
        self.next_order_id += 1
        self.orders.add(taker)
        fill = self._trade(market, taker, order, quantity)
        self._level(market, order, market.book.side(order.side).filled(order, quantity))
        self._fire(market)
        return fill

    def _accept(self, market: Market, order: Order, market_cost: Decimal) -> Placed:
        """Lock its money, then let it wait for its trigger or meet the book; then whatever its trades triggered."""
        if order.type in STOP_TYPES:
            order.working, order.working_at = False, 0
        self.settlement.reserve(order, market.symbol, market_cost)
        self.next_order_id += 1
        self.orders.add(order)
        self._changed("NEW", order)
        if not order.working:
            market.triggers.add(order)
            return Placed(order)
        fills = self._execute(market, order)
        self._fire(market)
        return Placed(order, fills)

    def _fire(self, market: Market) -> None:
        """Send every conditional order the last price has reached; their own trades may reach further ones."""
        while len(market.triggers) and (order := market.triggers.next(market.last_price)) is not None:
            other = self.lists.partner(order)
            if other is not None and other.is_open:
                self._remove(market, other, "EXPIRED")
            try:
                self._wake(market, order)
            except Reject:
                self._finish(market, order, "EXPIRED")
                continue
            self._execute(market, order)

    def _wake(self, market: Market, order: Order) -> None:
        """The trigger was reached: from now on an ordinary order. What it could not lock while waiting it locks now."""
        order.working, order.working_at = True, self.clock()
        if not order.locked:
            cost = ZERO
            if order.is_market:
                cost = self._market_plan(market, order.side, order.quantity, ZERO)[1]
            self.settlement.reserve(order, market.symbol, cost)
        self._changed("TRIGGERED", order)

    def place_pair(self, limit: OrderRequest, stop: OrderRequest, client_id: str) -> tuple[OrderList, Order, Order]:
        """One-cancels-the-other. The money is locked once, by the leg that needs more of it."""
        market = self.market(limit.symbol)
        for request in (limit, stop):
            self.trading.require_placing(request, self.clock())
            filters.check(market.symbol, request, market.last_price)
            if request.client_id:
                self.orders.require_free(request.account, request.symbol, request.client_id)
        above, below = (stop, limit) if limit.side == "BUY" else (limit, stop)
        if not (above.price or above.stop_price) > market.last_price > (below.price or below.stop_price):
            raise Reject("bad_list")
        resting = self._order(limit)
        if self._crosses(market, resting):
            raise Reject("would_match")
        triggers.check(stop, market.last_price)
        waiting = self._order(stop)
        waiting.working, waiting.working_at, waiting.id = False, 0, resting.id + 1
        waiting.client_id = stop.client_id or f"auto{waiting.id:018d}"
        self.settlement.reserve_pair(resting, waiting, market.symbol)
        self.next_order_id += 2
        pair = self.lists.open(resting, waiting, client_id, self.clock())
        for order in (resting, waiting):
            self.orders.add(order)
            self._changed("NEW", order)
        market.triggers.add(waiting)
        self._level(market, resting, market.book.side(resting.side).add(resting))
        return pair, resting, waiting

    def _order(self, request: OrderRequest) -> Order:
        now, order_id = self.clock(), self.next_order_id
        return Order(
            id=order_id,
            account=request.account,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            tif="GTC" if request.type in ("MARKET", "LIMIT_MAKER") else request.tif,
            price=request.price,
            quantity=request.quantity,
            client_id=request.client_id or f"auto{order_id:018d}",
            created_at=now,
            updated_at=now,
            quote_quantity=request.quote_quantity,
            stop_price=request.stop_price,
            stp=request.stp,
            list_id=request.list_id,
            owner=request.owner,
            position_side=request.position_side,
            reduce_only=request.reduce_only,
            tag=request.tag,
            working_at=now,
        )

    def _execute(self, market: Market, order: Order) -> list[Fill]:
        """Match a reserved order and decide what becomes of the rest."""
        if order.tif == "FOK" and self._available(market, order) < order.quantity:
            self._finish(market, order, "EXPIRED")
            return []
        fills = self._match(market, order)
        if order.is_open and (order.remaining <= 0 or order.is_market or order.tif in ("IOC", "FOK")):
            self._finish(market, order, "EXPIRED")
        elif order.is_open:
            self._level(market, order, market.book.side(order.side).add(order))
        return fills

    def _crosses(self, market: Market, order: Order) -> bool:
        best = market.book.opposite(order.side).best()
        return best is not None and _acceptable(order, best.price)

    def _available(self, market: Market, order: Order) -> Decimal:
        total = ZERO
        for level in market.book.opposite(order.side).levels():
            if not _acceptable(order, level.price) or total >= order.quantity:
                break
            total += level.total
        return total

    def _market_plan(
        self, market: Market, side: str, wanted_quantity: Decimal, wanted_quote: Decimal
    ) -> tuple[Decimal, Decimal]:
        """(quantity the book can give, what it costs) for a market order, by quantity or by quote amount."""
        quantity = cost = ZERO
        step = market.symbol.step
        for level in market.book.opposite(side).levels():
            if wanted_quote:
                wanted = ((wanted_quote - cost) / level.price).quantize(step, ROUND_DOWN)
            else:
                wanted = wanted_quantity - quantity
            taken = min(wanted, level.total)
            if taken <= 0:
                break
            quantity += taken
            cost += taken * level.price
        return quantity, cost

    def _match(self, market: Market, taker: Order) -> list[Fill]:
        fills: list[Fill] = []
        side = market.book.opposite(taker.side)
        while taker.is_open and taker.remaining > 0:
            level = side.best()
            if level is None or not _acceptable(taker, level.price):
                break
            maker = next(iter(level.orders.values()))
            if maker.account == taker.account and taker.stp != "NONE":
                self._prevent(market, taker, maker)
                continue
            quantity = min(taker.remaining, maker.remaining)
            if taker.reduce_only or maker.reduce_only:
                quantity = self._within_positions(market, taker, maker, quantity)
                if not quantity:
                    continue
            fills.append(self._trade(market, taker, maker, quantity))
            self._level(market, maker, side.filled(maker, quantity))
        return fills

    def _within_positions(self, market: Market, taker: Order, maker: Order, quantity: Decimal) -> Decimal:
        """A reduce-only order trades no more than its position, and expires at none. Zero: look anew."""
        if maker.reduce_only:
            room = self.settlement.room_to_reduce(maker)
            if not room:
                self._remove(market, maker, "EXPIRED")
                return ZERO
            quantity = min(quantity, room)
        if taker.reduce_only:
            room = self.settlement.room_to_reduce(taker)
            if not room:
                self._finish(market, taker, "EXPIRED")
                return ZERO
            quantity = min(quantity, room)
        return quantity

    def _prevent(self, market: Market, taker: Order, maker: Order) -> None:
        """Two orders of one account meet and must not trade: the taker's mode says which of them ends."""
        quantity = min(taker.remaining, maker.remaining)
        if taker.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            self._remove(market, maker, "EXPIRED_IN_MATCH")
            maker.prevented = quantity
            if maker.list_id >= 0:
                self._end_partner(market, maker, "EXPIRED")
        if taker.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
            self._finish(market, taker, "EXPIRED_IN_MATCH")
            taker.prevented = quantity

    def _trade(self, market: Market, taker: Order, maker: Order, quantity: Decimal) -> Fill:
        buyer, seller = (taker, maker) if taker.side == "BUY" else (maker, taker)
        symbol, price, now = market.symbol, maker.price, self.clock()
        fees = self.settlement.settle(symbol, buyer, seller, price, quantity)
        trade_id = self.next_trade_id
        self.next_trade_id += 1
        trade = Trade(
            trade_id, symbol.name, price, quantity, now, buyer.id, seller.id, buyer.account, seller.account,
            buyer is maker, *fees,
        )  # fmt: skip
        market.last_price = price
        market.trades.append(trade)
        self._events.append(trade)
        self._fill(symbol, maker, trade)
        return self._fill(symbol, taker, trade)

    def _fill(self, symbol: Symbol, order: Order, trade: Trade) -> Fill:
        bought = order.side == "BUY"
        fill = Fill(
            trade.id, order.id, symbol.name, order.side, trade.price, trade.quantity,
            trade.buyer_fee if bought else trade.seller_fee,
            symbol.base if bought and not self.settlement.fees_in_quote else symbol.quote,
            bought == trade.buyer_is_maker, trade.at,
        )  # fmt: skip
        order.filled += trade.quantity
        order.cost += trade.price * trade.quantity
        order.updated_at = trade.at
        if order.account != MARKET_ACCOUNT:
            self.orders.record(order.account, fill)
        order.status = "PARTIALLY_FILLED" if order.remaining > 0 else "FILLED"
        self._changed("TRADE", order, fill)
        if order.status == "FILLED":
            self.settlement.release(order, symbol)
            self.orders.closed(order)
        if order.list_id >= 0:
            self._end_partner(self.markets[order.symbol], order, "EXPIRED")
        return fill

    def _end_partner(self, market: Market, order: Order, status: str) -> None:
        """One leg of a pair acted or ended: so does the other."""
        other = self.lists.partner(order)
        if other is not None and other.is_open:
            self._remove(market, other, status)

    def restore(self, order: Order) -> None:
        """Put back an order from an earlier life as it was; its lock is already in the wallets."""
        self.orders.restore(order)
        if order.list_id >= 0:
            self.lists.restore(order)
        if order.is_open and not order.working:
            self.market(order.symbol).triggers.add(order)
        elif order.is_open:
            market = self.market(order.symbol)
            self._level(market, order, market.book.side(order.side).add(order))

    def place_ended(self, request: OrderRequest) -> Order:
        """Take an order into the books that is over at once: venues that answer before they match do so."""
        market = self.market(request.symbol)
        order = self._order(request)
        self.next_order_id += 1
        self.orders.add(order)
        self._changed("NEW", order)
        self._finish(market, order, "CANCELED")
        return order

    def amend(self, order: Order, price: Decimal, quantity: Decimal, stop_price: Decimal | None = None) -> Order:
        """A new price and quantity for an open order, in place: same id, filled part kept, last in its queue.

        Raises Reject and changes nothing when it is refused; no more than what is filled already ends the order.
        """
        market = self.market(order.symbol)
        stop = order.stop_price if stop_price is None else stop_price
        request = OrderRequest(order.account, order.symbol, order.side, order.type, quantity, price, stop_price=stop)
        self.trading.require_placing(request, self.clock())
        filters.check(market.symbol, request, market.last_price)
        if order.list_id >= 0:
            raise Reject("bad_list")
        if quantity <= order.filled:
            return self.cancel(order.account, order.symbol, order.id)
        if not order.working:
            triggers.check(request, market.last_price)
        # the order leaves its place only once the new terms are known to stand: a refusal must not cost it its turn
        before = (order.price, order.quantity, order.stop_price)
        self.settlement.release(order, market.symbol)
        order.price, order.quantity, order.stop_price = price, quantity, stop
        try:
            if order.type == "LIMIT_MAKER" and self._crosses(market, order):
                raise Reject("would_match")
            self.settlement.reserve(order, market.symbol, ZERO)
        except Reject:
            order.price, order.quantity, order.stop_price = before
            self.settlement.reserve(order, market.symbol, ZERO)
            raise
        order.price, order.quantity, order.stop_price = before
        self._set_aside(market, order)
        order.price, order.quantity, order.stop_price, order.updated_at = price, quantity, stop, self.clock()
        self._changed("AMENDMENT", order)
        if order.working:
            self._execute(market, order)
            self._fire(market)
        else:
            self._set_back(market, order)
        return order

    def shrink(self, order: Order, quantity: Decimal) -> Order:
        """A smaller quantity for an open order, which keeps its place in the queue where its venue is so kind."""
        market = self.market(order.symbol)
        if not order.working or not order.filled < quantity < order.quantity:
            return self.amend(order, order.price, quantity)
        request = OrderRequest(order.account, order.symbol, order.side, order.type, quantity, order.price)
        self.trading.require_placing(request, self.clock())
        filters.check(market.symbol, request, market.last_price)
        self._level(market, order, market.book.side(order.side).shrunk(order, order.quantity - quantity))
        self.settlement.release(order, market.symbol)
        order.quantity, order.updated_at = quantity, self.clock()
        self.settlement.reserve(order, market.symbol, ZERO)
        self._changed("AMENDMENT", order)
        return order

    def expire(self, order: Order) -> None:
        """End an open order because its time is over."""
        self._remove(self.market(order.symbol), order, "EXPIRED")

    def _set_aside(self, market: Market, order: Order) -> None:
        if order.working:
            self._level(market, order, market.book.side(order.side).remove(order))
        else:
            market.triggers.remove(order)

    def _set_back(self, market: Market, order: Order) -> None:
        if order.working:
            self._level(market, order, market.book.side(order.side).add(order))
        else:
            market.triggers.add(order)

    # ending ----------------------------------------------------------------------------------------------------

    def cancel(self, account: str, symbol: str, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Cancel one open order. Reject("unknown_order") when there is none open of that name."""
        market = self.market(symbol)
        order = self.orders.find(account, symbol, order_id, client_id)
        if not order.is_open:
            raise Reject("not_open", order.status)
        self.trading.require_cancelling(account, symbol)
        self._remove(market, order, "CANCELED")
        if order.list_id >= 0:
            self._end_partner(market, order, "CANCELED")
        return order

    def cancel_all(self, account: str, symbol: str) -> list[Order]:
        market = self.market(symbol)
        self.trading.require_cancelling(account, symbol)
        orders = self.orders.open_of(account, symbol)
        for order in orders:
            if order.is_open:
                self._remove(market, order, "CANCELED")
        return orders

    def _remove(self, market: Market, order: Order, status: str) -> None:
        if order.working:
            self._level(market, order, market.book.side(order.side).remove(order))
        else:
            market.triggers.remove(order)
        self._finish(market, order, status)

    def _finish(self, market: Market, order: Order, status: str) -> None:
        order.status = status
        order.updated_at = self.clock()
        self.settlement.release(order, market.symbol)
        self.orders.closed(order)
        self._changed(status, order)

    def _level(self, market: Market, order: Order, total: Decimal) -> None:
        market.update_id += 1
        self._events.append(BookChange(order.symbol, order.side, order.price, total, market.update_id))

    def _changed(self, kind: str, order: Order, fill: Fill | None = None) -> None:
        self.orders.touched.add(order.id)
        if order.account != MARKET_ACCOUNT:
            self.orders.remember(order, order.working_at if kind == "TRIGGERED" else order.updated_at)
            self._events.append(
                OrderChange(kind, order, order.status, order.filled, order.cost, order.updated_at, fill)
            )


def _acceptable(order: Order, price: Decimal) -> bool:
    """Would this order trade at that resting price?"""
    if order.is_market:
        return True
    return price <= order.price if order.side == "BUY" else price >= order.price


def spot_symbols() -> list[Symbol]:
    """The default spot markets."""
    return [
        Symbol("BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(50000)),
        Symbol(
            "ETHUSDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.0001"), Decimal(3000), quantity_min=Decimal("0.0001")
        ),
    ]


def spot_exchange(
    clock: Callable[[], int], funds: dict[str, dict[str, Decimal]], symbols: list[Symbol] | None = None
) -> Exchange:
    """A spot venue with these accounts' funds, a background account that never runs dry, and an account for fees."""
    traded = symbols or spot_symbols()
    exchange = Exchange(traded, clock)
    for account, assets in funds.items():
        exchange.wallets.open(account, assets)
    plenty = Decimal(10) ** 12
    assets_traded = sorted({name for each in traded for name in (each.base, each.quote)})
    exchange.wallets.open(MARKET_ACCOUNT, dict.fromkeys(assets_traded, plenty))
    exchange.wallets.open(FEE_ACCOUNT, {})
    return exchange
