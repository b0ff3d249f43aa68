"""Which orders exist, who owns them and what they are called. Client order ids are unique among *open* orders only,
as on Binance spot (rest-api.md, newClientOrderId): a used id is accepted again once its order is over."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from .model import MARKET_ACCOUNT, Fill, Order, Reject

CLOSED_KEPT_MAX = 200_000
# how far back a lagging query can look, in changes of orders
HISTORY_KEPT_MAX = 100_000
FILLS_KEPT_MAX = 200_000


class Standing(NamedTuple):
    """How an order stood after one of its changes, at this time (ms)."""

    at: int
    id: int
    status: str
    filled: Decimal
    cost: Decimal
    price: Decimal
    quantity: Decimal
    stop_price: Decimal
    prevented: Decimal
    working: bool
    working_at: int


class OrderTable:
    """Orders by id and by client id; closed ones are kept until `CLOSED_KEPT_MAX`, oldest forgotten first."""

    def __init__(self) -> None:
        self._by_id: dict[int, Order] = {}
        self._by_client: dict[tuple[str, str, str], Order] = {}
        self._open: dict[str, dict[int, Order]] = {}
        self._closed: deque[int] = deque()
        self.fills: deque[tuple[str, Fill]] = deque(maxlen=FILLS_KEPT_MAX)
        self.touched: set[int] = set()
        # every change of every client's order
        self.history: deque[Standing] = deque(maxlen=HISTORY_KEPT_MAX)
        self.new_fills: deque[tuple[str, Fill]] = deque(maxlen=FILLS_KEPT_MAX)

    def require_free(self, account: str, symbol: str, client_id: str) -> None:
        order = self._by_client.get((account, symbol, client_id))
        if order is not None and order.is_open:
            raise Reject("duplicate_client_id", client_id)

    def add(self, order: Order) -> None:
        self._by_id[order.id] = order
        self._by_client[order.account, order.symbol, order.client_id] = order
        self._open.setdefault(order.account, {})[order.id] = order
        self.touched.add(order.id)

    def closed(self, order: Order) -> None:
        """The order is over; the background market's are forgotten at once, others kept for look-ups."""
        self._open.get(order.account, {}).pop(order.id, None)
        self.touched.add(order.id)
        if order.account == MARKET_ACCOUNT:
            self._forget(order)
            return
        self._closed.append(order.id)
        if len(self._closed) > CLOSED_KEPT_MAX:
            self._forget(self._by_id[self._closed.popleft()])

    def record(self, account: str, fill: Fill) -> None:
        self.fills.append((account, fill))
        self.new_fills.append((account, fill))

    def remember(self, order: Order, at: int) -> None:
        """Keep how the order stands now, for queries that lag."""
        self.history.append(
            Standing(
                at, order.id, order.status, order.filled, order.cost, order.price, order.quantity, order.stop_price,
                order.prevented, order.working, order.working_at,
            )
        )  # fmt: skip

    def before(self, at: int) -> dict[int, Standing]:
        """How each order that has changed since stood at this time."""
        changed: set[int] = set()
        found: dict[int, Standing] = {}
        for row in reversed(self.history):
            if row.at > at:
                changed.add(row.id)
            elif len(found) == len(changed):
                break
            elif row.id in changed and row.id not in found:
                found[row.id] = row
        return found

    def restore(self, order: Order) -> None:
        self.add(order)
        if not order.is_open:
            self.closed(order)

    def _forget(self, order: Order) -> None:
        self._by_id.pop(order.id, None)
        key = (order.account, order.symbol, order.client_id)
        if self._by_client.get(key) is order:
            del self._by_client[key]

    def get(self, order_id: int) -> Order | None:
        return self._by_id.get(order_id)

    def find(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """The account's order by id, or the latest one of that client id. Reject("unknown_order") for none."""
        if order_id is not None:
            order = self._by_id.get(order_id)
        else:
            order = self._by_client.get((account, symbol, client_id or ""))
        if order is None or order.account != account or order.symbol != symbol:
            raise Reject("unknown_order", str(order_id if order_id is not None else client_id))
        if order_id is not None and client_id and order.client_id != client_id:
            raise Reject("unknown_order", client_id)
        return order

    def open_of(self, account: str, symbol: str | None = None) -> list[Order]:
        mine = self._open.get(account, {}).values()
        return [order for order in mine if symbol is None or order.symbol == symbol]

    def is_full(self, account: str, symbol: str, most: int) -> bool:
        """Has the account this many open orders on the symbol? Counts one by one only when it may."""
        return len(self._open.get(account, ())) >= most and len(self.open_of(account, symbol)) >= most

    def all_of(self, account: str | None = None, symbol: str | None = None) -> list[Order]:
        return [
            order
            for order in self._by_id.values()
            if (account is None or order.account == account) and (symbol is None or order.symbol == symbol)
        ]

    def fills_of(self, account: str, symbol: str | None = None, order_id: int | None = None) -> list[Fill]:
        return [
            fill
            for owner, fill in self.fills
            if owner == account
            and (symbol is None or fill.symbol == symbol)
            and (order_id is None or fill.order_id == order_id)
        ]
