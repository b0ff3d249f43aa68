"""What survives a kill: orders, balances, fills and the ledger, appended to a file as they change.

Each line is one fact, the newest word on its subject winning; a line cut off by a kill is ignored. The file is
rewritten without its dead lines whenever it is loaded. Facts are on their way to the disk before the request that
caused them is answered (the page cache survives a killed process; power loss is not this file's business).
The background market's orders are not kept: it quotes anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from .engine.model import MARKET_ACCOUNT, Fill, Order, OrderRequest
from .ledger import Row
from .venue import Venue

_ORDER_DECIMALS = {f.name for f in fields(Order) if f.type == "Decimal"}
_FILL_DECIMALS = {f.name for f in fields(Fill) if f.type == "Decimal"}


class StateFile:
    """Appends a venue's changes to `path`; `flush` after every change, `load` once at start.

    Venues beside the first share its ledger, which is kept in its file alone: `ledger` false for theirs. `notes`: what
    else is to be kept, as JSON, asked after every change; `noted` is what the file held of it.
    """

    def __init__(
        self, path: Path, venue: Venue, *, ledger: bool = True, notes: Callable[[], Any] | None = None
    ) -> None:
        self.path = path
        self._venue = venue
        self._ledger = ledger
        self._notes = notes or (lambda: None)
        self.noted: Any = None
        self._handle: int | None = None

    def load(self) -> bool:
        """Bring the venue to what the file says, then rewrite the file. False when there was nothing to load."""
        found = self.path.exists() and self._replay()
        self.save()
        return found

    def save(self) -> None:
        """Write everything anew, atomically, and go on appending from there."""
        self.close()
        fresh = self.path.with_suffix(self.path.suffix + ".new")
        fresh.write_bytes(b"".join(self._whole()))
        os.replace(fresh, self.path)
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._venue.forget_changes(ledger=self._ledger)

    def flush(self) -> None:
        """Append what changed since the last flush, in one write."""
        lines = b"".join(self._changed())
        if lines and self._handle is not None:
            os.write(self._handle, lines)
        self._venue.forget_changes(ledger=self._ledger)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _changed(self) -> Iterator[bytes]:
        exchange = self._venue.exchange
        for order_id in sorted(exchange.orders.touched):
            order = exchange.orders.get(order_id)
            if order is not None and order.account != MARKET_ACCOUNT:
                yield _line("order", plain(order))
        for account, asset in sorted(exchange.wallets.touched):
            yield self._balance(account, asset)
        for account, fill in exchange.orders.new_fills:
            yield _line("fill", [account, plain(fill)])
        for row in self._venue.ledger.touched if self._ledger else ():
            yield _line("row", asdict(row))
        if exchange.orders.new_fills or exchange.orders.touched:
            yield self._counters()
        if (notes := self._notes()) != self.noted:
            self.noted = notes
            yield _line("notes", notes)

    def _whole(self) -> Iterator[bytes]:
        exchange = self._venue.exchange
        yield self._counters()
        yield _line("notes", self.noted)
        for order in exchange.orders.all_of():
            if order.account != MARKET_ACCOUNT:
                yield _line("order", plain(order))
        for account in exchange.wallets.accounts():
            for asset in exchange.wallets.assets(account):
                yield self._balance(account, asset)
        for account, fill in exchange.orders.fills:
            yield _line("fill", [account, plain(fill)])
        for row in self._venue.ledger.rows() if self._ledger else ():
            yield _line("row", asdict(row))

    def _balance(self, account: str, asset: str) -> bytes:
        balance = self._venue.exchange.wallets.of(account, asset)
        return _line("balance", [account, asset, str(balance.free), str(balance.locked)])

    def _counters(self) -> bytes:
        exchange = self._venue.exchange
        prices = {name: str(market.last_price) for name, market in exchange.markets.items()}
        return _line("counters", [exchange.next_order_id, exchange.next_trade_id, prices])

    def _replay(self) -> bool:
        """Apply every whole line; the last word wins."""
        orders: dict[int, Order] = {}
        rows: dict[int, Row] = {}
        exchange = self._venue.exchange
        lines = [line for line in self.path.read_bytes().split(b"\n") if line]
        for line in lines:
            try:
                kind, value = orjson.loads(line)
            except ValueError:
                continue
            if kind == "order":
                orders[value["id"]] = Order(**decimals(value, _ORDER_DECIMALS))
            elif kind == "row":
                rows[value["seq"]] = Row(**value)
            elif kind == "balance":
                balance = exchange.wallets.of(value[0], value[1])
                balance.free, balance.locked = Decimal(value[2]), Decimal(value[3])
            elif kind == "fill":
                exchange.orders.fills.append((value[0], Fill(**decimals(value[1], _FILL_DECIMALS))))
            elif kind == "counters":
                self._count(value)
            elif kind == "notes":
                self.noted = value
        for order in sorted(orders.values(), key=lambda each: each.id):
            exchange.restore(order)
        for row in rows.values():
            self._venue.ledger.receive(row)
        self._free_background()
        return bool(lines)

    def _count(self, value: list[Any]) -> None:
        exchange = self._venue.exchange
        exchange.next_order_id, exchange.next_trade_id = value[0], value[1]
        for name, price in value[2].items():
            exchange.markets[name].last_price = Decimal(price)

    def _free_background(self) -> None:
        """The background market's orders are gone, so nothing of its money is locked."""
        wallets = self._venue.exchange.wallets
        for asset, balance in wallets.assets(MARKET_ACCOUNT).items():
            wallets.unlock(MARKET_ACCOUNT, asset, balance.locked)


def plain(noun: Order | Fill | OrderRequest) -> dict[str, Any]:
    """A noun as JSON takes it: money as text."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(noun).items()}


def decimals(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """`plain` the other way: these fields are money."""
    return {name: Decimal(each) if name in names else each for name, each in value.items()}


def _line(kind: str, value: Any) -> bytes:
    return orjson.dumps([kind, value]) + b"\n"
