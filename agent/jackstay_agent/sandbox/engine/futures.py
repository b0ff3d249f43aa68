"""The USDⓈ-margined futures venue: the same engine with positions instead of balances, algo orders, and the
per-symbol dead-man switch (countdownCancelAll)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from .algos import AlgoTable, fired_request, order_of
from .exchange import Exchange, Market
from .model import FEE_ACCOUNT, MARKET_ACCOUNT, Order, OrderRequest, Reject, Symbol
from .positions import FuturesSettlement


@dataclass(slots=True)
class Countdown:
    """A dead-man switch: at `fires_at` (ms) all of the account's orders on the symbol are cancelled."""

    duration_ms: int
    fires_at: int


class FuturesExchange(Exchange):
    """Adds what futures have: positions (in `positions`), algo orders (in `algos`) and countdowns."""

    def __init__(self, symbols: list[Symbol], clock: Callable[[], int]) -> None:
        super().__init__(symbols, clock)
        self.positions = FuturesSettlement(self.wallets, {s.name: s.price_start for s in symbols})
        self.settlement = self.positions
        self.algos = AlgoTable()
        self.countdowns: dict[tuple[str, str], Countdown] = {}

    def close_room(self, account: str, symbol: str, side: str, position_side: str) -> Decimal:
        """How much an order of this side could close of the position."""
        held = self.positions.position(account, symbol, position_side).quantity
        return max(-held if side == "BUY" else held, Decimal(0))

    def place_algo(self, request: OrderRequest) -> int:
        """Let a conditional order wait; returns its algo id."""
        market = self.market(request.symbol)
        self.trading.require_placing(request, self.clock())
        return self.algos.place(request, market.last_price, self.clock()).id

    def _fire(self, market: Market) -> None:
        super()._fire(market)
        while (algo := self.algos.due(market.symbol.name, market.last_price)) is not None:
            now, asked = self.clock(), algo.request
            self.algos.changed(algo, "TRIGGERED", now)
            room = self.close_room(asked.account, asked.symbol, asked.side, asked.position_side)
            try:
                if asked.close_position and not room:
                    raise Reject("reduce_only")
                placed = self.place(fired_request(algo, room))
            except Reject:
                self.algos.changed(algo, "REJECTED", now)
                continue
            order_of(algo, placed.order, now)
            self.algos.changed(algo, "FINISHED", now)

    # dead-man switch ---------------------------------------------------------------------------------------------

    def countdown(self, account: str, symbol: str, duration_ms: int) -> None:
        """Arm, renew, or (0) disarm the switch of one symbol."""
        self.market(symbol)
        if duration_ms:
            self.countdowns[account, symbol] = Countdown(duration_ms, self.clock() + duration_ms)
        else:
            self.countdowns.pop((account, symbol), None)

    def hasten_countdowns(self) -> int:
        """A fault: every armed switch has run out now; returns how many there are."""
        now = self.clock()
        for countdown in self.countdowns.values():
            countdown.fires_at = now
        return len(self.countdowns)

    def fire_countdowns(self) -> list[Order]:
        """Cancel the orders of every switch that has run out; algo orders are another family and stay."""
        now, gone = self.clock(), list[Order]()
        if self.trading.in_maintenance:
            return gone
        for (account, symbol), countdown in list(self.countdowns.items()):
            if countdown.fires_at <= now:
                del self.countdowns[account, symbol]
                gone += self.cancel_all(account, symbol)
        return gone


def futures_symbols() -> list[Symbol]:
    bitcoin = Symbol(
        "BTCUSDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal(50000), Decimal("0.1"),
        quantity_min=Decimal("0.001"), quantity_max=Decimal(1000), notional_max=Decimal(0),
        percent_up=Decimal("1.5"), percent_down=Decimal("0.5"),
    )  # fmt: skip
    ether = replace(
        bitcoin, name="ETHUSDT", base="ETH", tick=Decimal("0.01"), price_start=Decimal(3000), price_min=Decimal("0.01"),
        quantity_max=Decimal(10000), market_quantity_max=Decimal(2000),
    )  # fmt: skip
    return [bitcoin, ether]


def futures_exchange(clock: Callable[[], int], accounts: list[str], money: Decimal) -> FuturesExchange:
    """A futures venue where every account starts with this much USDT."""
    exchange = FuturesExchange(futures_symbols(), clock)
    for account in accounts:
        exchange.wallets.open(account, {"USDT": money})
    exchange.wallets.open(MARKET_ACCOUNT, {"USDT": Decimal(10) ** 12})
    exchange.wallets.open(FEE_ACCOUNT, {})
    return exchange
