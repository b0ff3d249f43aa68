"""Pairs of orders of which one cancels the other, by list id."""

from __future__ import annotations

from .model import Order, OrderList, Reject
from .orders import OrderTable

LISTS_KEPT_MAX = 50_000


class OrderLists:
    """Knows each order's partner. A list's id is its first order's id."""

    def __init__(self, orders: OrderTable) -> None:
        self._orders = orders
        self._lists: dict[int, OrderList] = {}

    def open(self, resting: Order, waiting: Order, client_id: str, now: int) -> OrderList:
        number = resting.id
        resting.list_id = waiting.list_id = number
        pair = OrderList(
            number, resting.account, resting.symbol, client_id or f"list{number}", now, resting.id, waiting.id
        )
        self._lists[number] = pair
        if len(self._lists) > LISTS_KEPT_MAX:
            del self._lists[next(iter(self._lists))]
        return pair

    def restore(self, order: Order) -> None:
        """A leg from an earlier life; legs come in order of their ids. The list's own client id is not kept."""
        if order.id == order.list_id:
            number = order.list_id
            self._lists[number] = OrderList(
                number, order.account, order.symbol, f"list{number}", order.created_at, number, number + 1
            )

    def partner(self, order: Order) -> Order | None:
        pair = self._lists.get(order.list_id)
        if pair is None:
            return None
        return self._orders.get(pair.stop if order.id == pair.limit else pair.limit)

    def find(self, account: str, list_id: int | None, client_id: str | None) -> OrderList:
        """Reject("unknown_list") when the account has no such list."""
        if list_id is not None:
            pair = self._lists.get(list_id)
        else:
            pair = next((p for p in reversed(self._lists.values()) if p.client_id == client_id), None)
        if pair is None or pair.account != account:
            raise Reject("unknown_list")
        return pair

    def all_of(self, account: str) -> list[OrderList]:
        return [pair for pair in self._lists.values() if pair.account == account]

    def legs(self, pair: OrderList) -> list[Order]:
        return [order for order in (self._orders.get(pair.limit), self._orders.get(pair.stop)) if order is not None]

    def is_open(self, pair: OrderList) -> bool:
        return any(order.is_open for order in self.legs(pair))
