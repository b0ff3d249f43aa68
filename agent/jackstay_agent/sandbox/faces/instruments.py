"""The markets of both engines under a face's own names: spot and linear contracts in one list.

A face may count a contract market in contracts (`contract`: how much of the base asset one is) and shows order ids
that are unique over both engines: a digit for the market, then the engine's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..engine.exchange import Market
from ..engine.model import ZERO, Order, OrderRequest, Reject, Symbol
from ..venue import Venue

ID_DIGITS = 18
SPOT_DIGIT, LINEAR_DIGIT = "1", "2"


@dataclass(slots=True, frozen=True, eq=False)
class Instrument:
    """``id`` and ``kind`` are the face's words, ``name`` the engine's symbol."""

    id: str
    kind: str
    venue: Venue
    name: str
    contract: Decimal = Decimal(1)

    @property
    def market(self) -> Market:
        return self.venue.exchange.market(self.name)

    @property
    def symbol(self) -> Symbol:
        return self.market.symbol

    @property
    def is_spot(self) -> bool:
        return self.venue.kind == "spot"

    @property
    def takes_orders(self) -> bool:
        exchange = self.venue.exchange
        return exchange.trading.takes_orders(self.name, exchange.clock())

    def size(self, quantity: Decimal) -> Decimal:
        """The engine's quantity as the face counts it."""
        return quantity / self.contract

    def quantity(self, size: Decimal) -> Decimal:
        return size * self.contract

    def shown_id(self, order_id: int) -> str:
        return f"{SPOT_DIGIT if self.is_spot else LINEAR_DIGIT}{order_id:0{ID_DIGITS}d}"

    def engine_id(self, shown: str) -> int:
        """The engine's number of a shown order id; -1, which no order has, for one of another market."""
        digit = SPOT_DIGIT if self.is_spot else LINEAR_DIGIT
        if not (shown.isascii() and shown.isdigit()) or len(shown) != ID_DIGITS + 1 or shown[0] != digit:
            return -1
        return int(shown[1:])

    # what faces whose venues answer before they match do alike -----------------------------------------------------

    def place(self, request: OrderRequest) -> Order:
        """Place it; a post-only order that would trade is taken all the same, and over at once."""
        try:
            return self.venue.exchange.place(request).order
        except Reject as reject:
            if reject.reason != "would_match":
                raise
            return self.venue.exchange.place_ended(request)

    def held(self, account: str, side: str) -> Decimal:
        """How large a position is, whichever way it points."""
        return ZERO if self.is_spot else abs(self.venue.futures.positions.position(account, self.name, side).quantity)

    def fees(self, account: str) -> dict[int, Decimal]:
        """What each of the account's orders has paid."""
        paid: dict[int, Decimal] = {}
        for fill in self.venue.exchange.orders.fills_of(account, self.name):
            paid[fill.order_id] = paid.get(fill.order_id, ZERO) + fill.fee
        return paid


class Instruments:
    """All instruments of a face by id (a face whose ids repeat over kinds asks with the kind)."""

    def __init__(self, instruments: list[Instrument]) -> None:
        self._all = instruments
        self._by_market = {(each.venue.kind, each.name): each for each in instruments}

    def all(self, kind: str = "") -> list[Instrument]:
        return [each for each in self._all if kind in ("", each.kind)]

    def find(self, instrument_id: str, kind: str = "") -> Instrument | None:
        return next((each for each in self._all if each.id == instrument_id and kind in ("", each.kind)), None)

    def of(self, venue: Venue, name: str) -> Instrument:
        """The instrument of an engine's symbol."""
        return self._by_market[venue.kind, name]

    def require_new(self, account: str, name: str, kind: str = "") -> None:
        """A client order id is used once over all markets (of a kind), also when its first order is long over.

        Reject("duplicate_client_id") for one that was used.
        """
        for each in self.all(kind) if name else ():
            try:
                each.venue.exchange.orders.find(account, each.name, None, name)
            except Reject:
                continue
            raise Reject("duplicate_client_id", name)
