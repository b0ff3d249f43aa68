"""Is this the same order again? (DESIGN §3 rule 1)

An unmodified ccxt bot answers RequestTimeout by calling create_order again: new client id, new timestamp, new
signature, same order. So equality is judged on the order's fields without id, timestamp, nonce, signature and
recvWindow. Numbers are compared as decimals ("1.0" is "1.00"), words without case, names without case, ``_`` and ``-``.

`stand` then says what an arriving order has to do while others of its symbol and side are unknown: refused at once if
equal to one of them, waiting if it is another entry, free otherwise. Refuses to know who waits or how long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

from jackstay_protocols.errors import ValidationError

Canon: TypeAlias = "str | tuple[Canon, ...]"

#: Names that say nothing about the order itself, folded as `fold_name` does. Venue profiles may add to them.
IGNORED: Final = frozenset(
    {
        *("newclientorderid", "clientorderid", "clordid", "orderlinkid", "clientoid", "clientid", "userref", "coid"),
        *("requestid", "reqid", "id", "label", "idempotencykey"),
        *("timestamp", "ts", "time", "nonce", "recvwindow", "exptime", "expiresafter", "deadline", "validtill"),
        *("signature", "sign", "sig", "apikey", "otp", "token"),
        *("neworderresptype", "broker", "brokerid"),
    }
)
DEPTH_MAX: Final = 8  # deeper than any order on any venue; a bomb otherwise


def fold_name(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def fingerprint(fields: Mapping[str, object], ignored: frozenset[str] = IGNORED) -> Canon:
    """The order in a form in which equal orders are equal: comparable, hashable, independent of the fields' order.

    Values are str, int, Decimal, bool, None, or mappings and lists of those. A float raises ValidationError: money is
    decimal, so bodies are read with numbers kept as text or Decimal.
    """
    return _mapping(fields, ignored, 0)


def _mapping(fields: Mapping[str, object], ignored: frozenset[str], depth: int) -> Canon:
    pairs: list[tuple[Canon, ...]] = []
    for name, value in fields.items():
        folded = fold_name(name)
        if folded not in ignored and value is not None and value != "":
            pairs.append((folded, _value(folded, value, ignored, depth)))
    return tuple(sorted(pairs, key=repr))


def _value(name: str, value: object, ignored: frozenset[str], depth: int) -> Canon:
    if depth >= DEPTH_MAX:
        raise ValidationError(f"order field {name!r} is nested deeper than {DEPTH_MAX}; a flatter order is expected")
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | Decimal():
            return _number(Decimal(value))
        case Mapping():
            return _mapping(value, ignored, depth + 1)
        case list() | tuple():
            return tuple(_value(name, item, ignored, depth + 1) for item in value)
        case _:
            raise ValidationError(
                f"order field {name!r} is a {type(value).__name__}; text, int, Decimal, bool or lists and mappings of"
                " those are expected: read the body with numbers as text"
            )


def _text(value: str) -> str:
    # only what looks like a plain number: "nan", "1e5" and "0x1" are words, and a word is compared as one
    if value and value[-1].isdigit() and value.lstrip("+-").replace(".", "", 1).isdecimal():
        try:
            return _number(Decimal(value))
        except InvalidOperation:  # "+-1"
            return value.lower()
    return value.strip().lower()


def _number(value: Decimal) -> str:
    if not value.is_finite():
        return str(value).lower()
    return "0" if value == 0 else format(value.normalize(), "f")


@dataclass(frozen=True, slots=True)
class Pending:
    """An order of the same symbol and side whose fate is unknown. ``name`` is what the refusal calls it."""

    seq: int
    name: str
    print: Canon


@dataclass(frozen=True, slots=True)
class Stand:
    """``equal_to``: refuse, naming it. ``behind``: wait for these to be settled. Both empty: go on."""

    equal_to: Pending | None = None
    behind: tuple[int, ...] = ()


def stand(order: Canon, unknown: Iterable[Pending], *, is_entry: bool) -> Stand:
    """What an arriving order has to do, given the unknown ones of its symbol and side.

    Only entries wait: what reduces a position has a way out (DESIGN §3 rule 4), but an equal one is refused like any.
    """
    behind: list[int] = []
    for pending in unknown:
        if pending.print == order:
            return Stand(equal_to=pending)
        behind.append(pending.seq)
    return Stand(behind=tuple(behind)) if is_entry else Stand()


def check_fields(fields: Mapping[str, object]) -> None:
    """Refuse early what `fingerprint` would refuse later, when an order is unknown and it matters. Cheap if flat."""
    for value in fields.values():
        if type(value) is str:  # nearly all, nearly always
            continue
        if not isinstance(value, (str, int, Decimal, type(None))):
            fingerprint(fields)
            return
