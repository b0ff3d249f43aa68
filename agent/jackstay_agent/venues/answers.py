"""An answer's bytes to normalised values: orders, fills, balances, positions, time, status; or why they cannot be read.

Nothing is invented (DESIGN §3 rule 8): a value that is missing where it must stand, of a wrong type or not finite makes
the whole answer `Unreadable`, and so does one bad item of a list, because a list with a hole proves nothing. Money is
Decimal and comes from the venue's own text, never through a float. "Does not exist" is a value of its own, and only the
codes a profile names mean it.

JMESPath is imported with the first reader that is made: an agent that never asks does not carry it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from .operation_data import TIME_UNITS, ReaderData
from .outgoing import json_document

ITEMS_MAX = 20_000  # the longest list a venue gives (open orders of a market maker) with room to spare
TEXT_MAX = 256  # no id, symbol or word of a venue is longer
DIGITS_MAX = 64  # of a number; a billion digits would be an attack


class OrderStatus(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OTHER = "other"  # a word the profile does not know: the order exists, how it fares cannot be said


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the venue describes it. ``type`` and ``side`` in lower case; None or "": the venue does not say.

    Symbol and status always stand, side, type and quantity wherever the venue has them (an order list has none).
    ``price`` and ``stop_price`` are None where the venue lists zero (a market order has none). ``average_price`` is
    the venue's, or its filled value over its filled quantity. ``venue_status`` is its own word.
    """

    client_id: str
    venue_id: str
    symbol: str
    side: str
    type: str
    quantity: Decimal | None
    status: OrderStatus
    venue_status: str
    price: Decimal | None = None
    filled: Decimal | None = None
    average_price: Decimal | None = None
    time_ms: int | None = None
    reduce_only: bool | None = None
    stop_price: Decimal | None = None
    family: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Fill:
    trade_id: str
    venue_id: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    client_id: str = ""
    fee: Decimal | None = None
    fee_asset: str = ""
    time_ms: int | None = None
    maker: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Balance:
    asset: str
    free: Decimal | None
    locked: Decimal | None
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class Position:
    """``quantity`` is signed: below zero is short."""

    symbol: str
    quantity: Decimal
    side: str = ""
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealised: Decimal | None = None
    liquidation_price: Decimal | None = None
    time_ms: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class SymbolRule:
    """What an order of this symbol has to keep to; 0: the venue says no such rule here."""

    symbol: str
    tick_size: Decimal
    step_size: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    notional_min: Decimal


@dataclass(frozen=True, slots=True)
class ServerTime:
    """``resolution_ms``: how coarse it is; a venue may tell whole seconds."""

    time_ms: int
    resolution_ms: int = 1


@dataclass(frozen=True, slots=True)
class VenueStatus:
    """``status``: online, maintenance, cancel_only, post_only, limit_only, or other with the venue's own word."""

    status: str
    venue_status: str


@dataclass(frozen=True, slots=True)
class Done:
    """It was carried out; ``raw`` is what the venue said about it."""

    raw: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NotFound:
    """The venue says that there is no such order. Whether that settles anything is core/evidence's question."""

    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class NotOpen:
    """Nothing is open under that id: filled, cancelled or never placed. Only a query tells which (passivbot#514)."""

    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Denied:
    """The venue did not answer the question: a status or a code. ``clock``: it thinks that our clock is off."""

    status: int
    code: str = ""
    message: str = ""
    clock: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not what the venue promises; nothing can be concluded from it."""

    reason: str


Value: TypeAlias = (
    "OrderState | list[OrderState] | list[Fill] | list[Balance] | list[Position] | list[SymbolRule] | ServerTime"
    " | VenueStatus | Done"
)
Answer: TypeAlias = "Value | NotFound | NotOpen | Denied | Unreadable"


class Broken(Exception):
    """A value is missing or not of its kind; the text says which."""


def _trimmed(value: Decimal) -> Decimal:
    """Without zeros behind the point that only fill it up: 0.01000000 is a tick of 0.01."""
    short = value.normalize()
    return short if int(short.as_tuple().exponent) <= 0 else value.quantize(Decimal(1))


def decode(body: bytes) -> Any:
    """A JSON document with fractions as Decimal. Raises Broken saying what the body is instead."""
    try:
        return json_document(body)
    except ValueError:
        raise Broken("the body is no JSON document") from None


class _Expression(Protocol):
    def search(self, value: Any) -> Any: ...


class _Key:
    """A path that is one plain name, as most are: JMESPath's answer for a tenth of its time (an order has a dozen)."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def search(self, value: Any) -> Any:
        return value.get(self._name) if isinstance(value, dict) else None


class _Alternatives:
    """Names one below the other, and others where nothing stands: ``a.b || c || @``. JMESPath's answer, as above."""

    __slots__ = ("_ways",)

    def __init__(self, expression: str) -> None:
        ways = [way.strip() for way in expression.split("||")]
        self._ways = [() if way == "@" else tuple(way.split(".")) for way in ways]

    def search(self, value: Any) -> Any:
        found: Any = None
        for way in self._ways:
            found = value
            for name in way:
                found = found.get(name) if isinstance(found, dict) else None
            # JMESPath's own words for false: 0 is not among them
            if not (found is None or found is False or found == "" or found == [] or found == {}):
                return found
        return found


class _Path:
    """Any other JMESPath."""

    __slots__ = ("_expression", "_misfits")

    def __init__(self, expression: str) -> None:
        import jmespath  # imported when first asked for: see above
        from jmespath.exceptions import JMESPathError

        try:
            self._expression: _Expression = jmespath.compile(expression)
        except JMESPathError as error:
            raise Broken(f"{expression!r} is no JMESPath: {str(error).splitlines()[0]}") from None
        self._misfits = (JMESPathError, TypeError, ValueError, RecursionError)

    def search(self, value: Any) -> Any:
        try:
            return self._expression.search(value)
        except self._misfits as error:
            raise Broken(f"the answer does not fit the reader: {type(error).__name__}") from None


_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_WAY: Final = rf"(?:@|{_NAME}(?:\.{_NAME})*)"
_PLAIN_NAME: Final = re.compile(_NAME)
_WAYS: Final = re.compile(rf"{_WAY}(?: *\|\| *{_WAY})*")


def compiled(expression: str) -> _Expression:
    """A JMESPath; its ``search`` gives what stands there, or None, and raises Broken if it does not fit the value.
    Raises Broken if it is none.
    """
    if _PLAIN_NAME.fullmatch(expression):
        return _Key(expression)
    return _Alternatives(expression) if _WAYS.fullmatch(expression) else _Path(expression)


class Reader:
    """Reads one item by the profile's paths. Raises Broken naming the field that is not as it should be."""

    def __init__(self, data: ReaderData, symbol: Callable[[str], str] = str) -> None:
        """``symbol`` makes one name of a venue's several for the same market."""
        self._symbol = symbol
        self._fee_sign = -1 if data.fee_is_negative else 1
        self._decimals = frozenset(data.decimals)
        self._paths = {name: compiled(path) for name, path in data.fields.items()}
        self._context = {name: compiled(path) for name, path in data.context.items()}
        self._statuses = {word.lower(): meaning for word, meaning in data.statuses.items()}
        self._sides = {word.lower(): meaning for word, meaning in data.sides.items()}
        self._per_ms = TIME_UNITS[data.time_unit]

    def order(self, item: Any, document: Any, family: str) -> OrderState:
        at = _At(self._paths, item)
        client_id, venue_id = at.text("client_id"), at.text("venue_id")
        if not client_id and not venue_id:
            raise Broken("the order has neither a client id nor a venue id")
        word = at.need_text("status")
        filled = at.money("filled")
        return OrderState(
            client_id=client_id,
            venue_id=venue_id,
            symbol=self._symbol(at.need_text("symbol")),
            side=self._side(at) if at.reads("side") else "",
            type=at.need_text("type").lower() if at.reads("type") else "",
            quantity=at.need_money("quantity") if at.reads("quantity") else None,
            status=OrderStatus(self._statuses.get(word.lower(), "other")),
            venue_status=word,
            price=at.money("price") or None,
            filled=filled,
            average_price=_average(at, filled),
            time_ms=self._time_ms(at),
            reduce_only=at.flag("reduce_only"),
            stop_price=at.money("stop_price") or None,
            family=family,
            context=self._contexts(item, document),
            raw=item,
        )

    def fill(self, item: Any) -> Fill:
        at = _At(self._paths, item)
        fee = at.money("fee")
        return Fill(
            trade_id=at.need_text("trade_id"),
            venue_id=at.need_text("venue_id"),
            symbol=self._symbol(at.need_text("symbol")),
            side=self._side(at),
            price=at.need_money("price"),
            quantity=at.need_money("quantity"),
            client_id=at.text("client_id"),
            fee=None if fee is None else fee * self._fee_sign,
            fee_asset=at.text("fee_asset"),
            time_ms=self._time_ms(at),
            maker=at.flag("maker"),
            raw=item,
        )

    def balance(self, item: Any) -> Balance:
        at = _At(self._paths, item)
        free, locked, total = at.money("free"), at.money("locked"), at.money("total")
        if free is None and total is None:
            raise Broken("the balance has neither free nor total")
        if total is None and free is not None and locked is not None:
            total = free + locked
        return Balance(at.need_text("asset"), free, locked, total)

    def rule(self, item: Any) -> SymbolRule:
        at = _At(self._paths, item)
        names = ("tick_size", "step_size", "quantity_min", "quantity_max", "notional_min")
        values = [_trimmed(self._step(at, name) or Decimal(0)) for name in names]
        if any(each < 0 for each in values):
            raise Broken("a rule is below zero")
        return SymbolRule(self._symbol(at.need_text("symbol")), *values)

    def _step(self, at: _At, name: str) -> Decimal | None:
        found = at.money(name)
        if found is None or name not in self._decimals:
            return found
        if found not in range(DIGITS_MAX):
            raise Broken(f"{name} is {found}; a number of decimals is expected")
        return Decimal(1).scaleb(-int(found))

    def position(self, item: Any) -> Position:
        at = _At(self._paths, item)
        side = at.text("side").lower()
        quantity = at.need_money("quantity")
        meaning = self._sides.get(side, side)
        if meaning == "sell" and quantity > 0:  # venues that list a side and an amount without a sign
            quantity = -quantity
        return Position(
            symbol=self._symbol(at.need_text("symbol")),
            quantity=quantity,
            side=side,
            entry_price=at.money("entry_price") or None,
            mark_price=at.money("mark_price") or None,
            unrealised=at.money("unrealised"),
            liquidation_price=at.money("liquidation_price") or None,
            time_ms=self._time_ms(at),
            raw=item,
        )

    def time(self, item: Any) -> ServerTime:
        time_ms = self._time_ms(_At(self._paths, item))
        if time_ms is None:
            raise Broken("time_ms is missing")
        return ServerTime(time_ms, 1000 if self._per_ms == 1000 and time_ms % 1000 == 0 else 1)

    def status(self, item: Any) -> VenueStatus:
        word = _At(self._paths, item).need_text("status")
        return VenueStatus(self._statuses.get(word.lower(), "other"), word)

    def _side(self, at: _At) -> str:
        word = at.need_text("side").lower()
        side = self._sides.get(word, word)
        if side not in ("buy", "sell"):
            raise Broken(f"side is {word!r}; buy or sell is expected")
        return side

    def _time_ms(self, at: _At) -> int | None:
        number = at.money("time_ms")
        if not number:  # venues write 0 for "never"
            return None
        return int(number * self._per_ms) if self._per_ms else int(number / 1000)

    def _contexts(self, item: Any, document: Any) -> dict[str, str]:
        found = {}
        for name, path in self._context.items():
            value = path.search(item)
            text = as_text(name, path.search(document) if value is None else value)
            if text:
                found[name] = text
        return found


class _At:
    """One item, read field by field."""

    def __init__(self, paths: Mapping[str, _Expression], item: Any) -> None:
        if not isinstance(item, (dict, list, str, int, Decimal)):
            raise Broken("an item is empty where an object is expected")
        self._paths = paths
        self._item = item

    def _value(self, name: str) -> Any:
        path = self._paths.get(name)
        return None if path is None else path.search(self._item)

    def reads(self, name: str) -> bool:
        """The profile says where it stands, so it has to stand there."""
        return name in self._paths

    def text(self, name: str) -> str:
        return as_text(name, self._value(name))

    def need_text(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise Broken(f"{name} is missing")
        return found

    def money(self, name: str) -> Decimal | None:
        return as_money(name, self._value(name))

    def need_money(self, name: str) -> Decimal:
        found = self.money(name)
        if found is None:
            raise Broken(f"{name} is missing")
        return found

    def flag(self, name: str) -> bool | None:
        match self._value(name):
            case None | "":
                return None
            case bool() as flag:
                return flag
            case str() as word if word.lower() in _FLAGS:
                return _FLAGS[word.lower()]
            case other:
                raise Broken(f"{name} is a {type(other).__name__}; true or false is expected")


_FLAGS: Final = {"true": True, "false": False}


def as_text(name: str, value: Any) -> str:
    if type(value) is str and len(value) <= TEXT_MAX:  # nearly always
        return value
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            raise Broken(f"{name} has {len(value)} characters; at most {TEXT_MAX} are expected")
        case int():
            return str(value)
        case _:
            raise Broken(f"{name} is a {type(value).__name__}; text is expected")


def as_money(name: str, value: Any) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise Broken(f"{name} is a {type(value).__name__}; a number is expected")
    if isinstance(value, str) and (len(value) > DIGITS_MAX or not value.isascii() or "_" in value):
        raise Broken(f"{name} is no number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Broken(f"{name} is no number") from None
    if not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
        raise Broken(f"{name} is not a finite number of sane size")
    return number


def _average(at: _At, filled: Decimal | None) -> Decimal | None:
    average = at.money("average_price")
    if average:
        return average
    value = at.money("quote_filled")
    return value / filled if value and value > 0 and filled else None
