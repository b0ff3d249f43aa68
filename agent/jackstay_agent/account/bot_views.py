"""What bots report of their own picture (`client.report_state`), read and kept, the latest of each component.

A report is checked like any other input from outside: money is text, names are short, lists are bounded, and what is
wrong is said with what was expected. A report whose sequence goes back, or that is older than the one before, is not
taken: its sender is behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from jackstay_protocols.errors import ValidationError

from ..core.account import Heard, Holding, Order, Stage
from ..core.discrepancy import Discrepancy, Kind
from ..core.reconcile import BotView

ITEMS_MAX = 20_000
TEXT_MAX = 256
VIEWS_MAX = 256
CLOCKS_APART_S = 0.05  # a picture's age is told by the wall clock, in milliseconds
#: The words bots use for an order's state, ccxt's among them.
STAGES = {
    "open": Stage.OPEN,
    "new": Stage.OPEN,
    "partially_filled": Stage.OPEN,
    "pending": Stage.REQUESTED,
    "closed": Stage.FILLED,
    "filled": Stage.FILLED,
    "canceled": Stage.CANCELLED,
    "cancelled": Stage.CANCELLED,
    "expired": Stage.EXPIRED,
    "rejected": Stage.REJECTED,
}
REPORTED = ("orders", "positions", "balances")


@dataclass(slots=True)
class Report:
    """One component of one bot at one venue. ``at``: boot-clock seconds of the picture."""

    bot_id: str
    venue: str
    at: float
    sequence: int | None
    complete: bool
    orders: tuple[Order, ...] = ()
    held: tuple[Holding, ...] = ()


class BotViews:
    """The latest report of each (component, venue, bot). ``symbol`` and ``asset`` give the one name of several."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        venues: Callable[[], list[str]],
        symbol: Callable[[str, str], str],
        asset: Callable[[str, str], str] = lambda _venue, name: name,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._venues = venues
        self._symbol = symbol
        self._asset = asset
        self._kept: dict[tuple[str, str, str], Report] = {}
        self._last: dict[tuple[str, str, str], tuple[int | None, float]] = {}
        self.regressions: dict[tuple[str, ...], Discrepancy] = {}

    def report(self, bot_id: str, component: str, state: Mapping[str, Any]) -> Report | None:
        """Take a report; None: it goes back and was not taken. Raises ValidationError naming what is wrong."""
        if component not in REPORTED:
            raise ValidationError(f"component {component!r}; one of {', '.join(REPORTED)} is expected")
        venue = self._venue(state)
        sequence = state.get("sequence")
        if sequence is not None and (isinstance(sequence, bool) or not isinstance(sequence, int)):
            raise ValidationError(f"sequence is {sequence!r}; a whole number that rises is expected")
        complete = state.get("complete", True)
        if not isinstance(complete, bool):
            raise ValidationError(f"complete is {complete!r}; true or false is expected")
        at = self._at(state.get("as_of_ms"))
        found = Report(bot_id, venue, at, sequence, complete)
        if component == "orders":
            found.orders = self._orders(bot_id, venue, state, at)
        else:
            found.held = self._holdings(component, venue, state, at)
        key = (component, venue, bot_id)
        if key not in self._last and len(self._last) >= VIEWS_MAX:
            raise ValidationError(f"{VIEWS_MAX} pictures of bots are kept, that is the bound")
        if not self._goes_on(key, found):
            return None
        self._last[key] = (sequence, at)
        self._kept[key] = found
        return found

    def of(self, component: str, venue: str) -> list[Report]:
        return [each for (name, where, _bot), each in self._kept.items() if (name, where) == (component, venue)]

    def forget(self, component: str, venue: str, bot_id: str) -> None:
        """It was told that its picture is wrong; it counts again from its next report on."""
        self._kept.pop((component, venue, bot_id), None)

    def orders(self, venue: str) -> list[BotView]:
        return [BotView(e.bot_id, venue, e.orders, e.at, e.complete) for e in self.of("orders", venue)]

    # ---- reading

    def _goes_on(self, key: tuple[str, str, str], found: Report) -> bool:
        sequence, at = self._last.get(key, (None, float("-inf")))
        back = sequence is not None and found.sequence is not None and found.sequence <= sequence
        if not back and found.at >= at - CLOCKS_APART_S:
            return True
        told = f"sequence {found.sequence} after {sequence}" if back else "a picture older than the one before"
        wrong = Discrepancy(
            Kind.SEQUENCE_REGRESSION, key[0], key[1], f"report of {key[2]}", f"{told}; it was not taken", "bot",
            bot_id=key[2],
        )  # fmt: skip
        self.regressions[wrong.key] = wrong
        return False

    def _venue(self, state: Mapping[str, Any]) -> str:
        known = self._venues()
        venue = state.get("venue", known[0] if len(known) == 1 else None)
        if venue not in known:
            raise ValidationError(f"venue is {venue!r}; one of {', '.join(known) or 'none configured'} is expected")
        return str(venue)

    def _at(self, as_of_ms: object) -> float:
        now = self._clock()
        if as_of_ms is None:
            return now
        if isinstance(as_of_ms, bool) or not isinstance(as_of_ms, int):
            raise ValidationError(f"as_of_ms is {as_of_ms!r}; Unix milliseconds are expected")
        return min(now, now - (self._wall() - as_of_ms / 1000))

    def _orders(self, bot_id: str, venue: str, state: Mapping[str, Any], at: float) -> tuple[Order, ...]:
        return tuple(self._order(bot_id, venue, number, each, at) for number, each in enumerate(_list(state, "orders")))

    def _order(self, bot_id: str, venue: str, number: int, item: Any, at: float) -> Order:
        where = f"orders[{number}]"
        fields = _object(where, item)
        client_id, venue_id = _text(where, fields, "client_order_id"), _text(where, fields, "order_id")
        if not client_id and not venue_id:
            raise ValidationError(f"{where} has neither client_order_id nor order_id; one of them is expected")
        word = (_text(where, fields, "status") or "open").lower()
        if word not in STAGES:
            raise ValidationError(f"{where}.status is {word!r}; one of {', '.join(STAGES)} is expected")
        return Order(
            venue,
            self._symbol(venue, _text(where, fields, "symbol")),
            client_id,
            venue_id,
            "",
            _text(where, fields, "side").lower(),
            STAGES[word],
            _money(where, fields, "quantity"),
            _money(where, fields, "filled"),
            _money(where, fields, "price") or None,
            seen_at=at,
            heard=Heard.BOT,
            bot_id=bot_id,
        )

    def _holdings(self, component: str, venue: str, state: Mapping[str, Any], at: float) -> tuple[Holding, ...]:
        found = []
        if component == "balances":
            items = _object("balances", state.get("balances"))
            if len(items) > ITEMS_MAX:
                raise ValidationError(f"balances has {len(items)} items; at most {ITEMS_MAX} are expected")
            for asset, value in items.items():
                fields = value if isinstance(value, Mapping) else {"total": value}
                total = _money(f"balances.{asset}", fields, "total")
                if total is None:
                    raise ValidationError(f"balances.{asset} has no total; an amount as text is expected")
                found.append(Holding("balance", venue, self._asset(venue, str(asset)[:TEXT_MAX]), total, seen_at=at))
            return tuple(found)
        for number, item in enumerate(_list(state, "positions")):
            where = f"positions[{number}]"
            fields = _object(where, item)
            symbol, quantity = _text(where, fields, "symbol"), _money(where, fields, "quantity")
            if not symbol or quantity is None:
                raise ValidationError(f"{where} needs symbol and quantity (signed: below 0 is short)")
            part = _text(where, fields, "part").lower()
            found.append(Holding("position", venue, self._symbol(venue, symbol), quantity, part=part, seen_at=at))
        return tuple(each for each in found if each.total)


def _list(state: Mapping[str, Any], name: str) -> list[Any]:
    found = state.get(name)
    if not isinstance(found, list) or len(found) > ITEMS_MAX:
        raise ValidationError(f"{name} is a {type(found).__name__}; a list of at most {ITEMS_MAX} items is expected")
    return found


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"{where} is a {type(value).__name__}; an object is expected")
    return value


def _text(where: str, fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise ValidationError(
            f"{where}.{name} is {str(value)[:60]!r}; a text of at most {TEXT_MAX} letters is expected"
        )
    return value


def _money(where: str, fields: Mapping[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        kind = type(value).__name__
        raise ValidationError(f"{where}.{name} is a {kind}; an amount as text or Decimal is expected, never a float")
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or len(str(value)) > 64:
        raise ValidationError(f"{where}.{name} is {str(value)[:60]!r}; a finite number is expected")
    return number
