"""What of a rejected order could be changed so that the venue takes it (recovery scenario OrderRejection).

Rounding is exact decimal arithmetic. A quantity is only ever made smaller; a price moves towards the passive side (a
bid down, an offer up), or towards the other one by at most the bound that is given. What would need more is not done
but named, with the exact amount.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Final

ZERO: Final = Decimal(0)


class Remedy(StrEnum):
    ROUND = "round"  # tick, step, minimal amounts
    CLOCK = "clock"  # the timestamp was off
    FUNDS = "funds"  # not enough of something: nothing of ours can mend that
    STOP = "stop"  # the same again and again
    NONE = "none"  # nobody here knows


#: Words of venues, lower case -> what helps. The first that is found counts; codes are Binance's,
#: OKX's (51...) and Bybit's (170...).
_WORDS: Final = (
    (Remedy.CLOCK, ("-1021", "timestamp", "recvwindow", "nonce", "10002", "50102")),
    (
        Remedy.ROUND,
        (
            *("price_filter", "lot_size", "min_notional", "notional", "tick", "step", "precision", "-1111", "-4164"),
            *("-4003", "-4014", "-4023", "-1013", "percent_price", "minimum", "minsz", "lotsz"),
            *("51020", "51120", "51121", "parameter px", "parameter sz", "multiple of the lot"),
            *("170134", "170136", "170137", "170140", "decimals", "qty invalid", "lower limit"),
            *("arguments:volume", "arguments:price"),
        ),
    ),
    (Remedy.FUNDS, ("-2010", "-2019", "insufficient", "margin", "51008", "170131")),
)


def remedy_of(reason: str) -> Remedy:
    """What kind of help a venue's reason asks for."""
    text = reason.lower()
    return next((remedy for remedy, words in _WORDS if any(word in text for word in words)), Remedy.NONE)


@dataclass(frozen=True, slots=True)
class Filters:
    """A symbol's rules; 0: none. Money."""

    tick_size: Decimal = ZERO
    step_size: Decimal = ZERO
    quantity_min: Decimal = ZERO
    quantity_max: Decimal = ZERO
    notional_min: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Adjusted:
    """``changed``: new values that would be accepted. ``needs``: what is missing and may not be changed here."""

    changed: dict[str, Decimal] = field(default_factory=dict)
    needs: dict[str, Decimal] = field(default_factory=dict)


def adjust(
    side: str, price: Decimal | None, quantity: Decimal | None, filters: Filters, *, worse_max: Decimal = ZERO
) -> Adjusted:
    """The nearest order the filters allow. ``worse_max``: how much worse a price may get, as a share of it."""
    changed: dict[str, Decimal] = {}
    needs: dict[str, Decimal] = {}
    if price is not None and filters.tick_size:
        rounded = _price(side, price, filters.tick_size, worse_max)
        if rounded <= 0:
            needs["price"] = filters.tick_size
        elif rounded != price:
            changed["price"] = rounded
    if quantity is not None:
        fits = quantity
        if filters.quantity_max and fits > filters.quantity_max:
            fits = filters.quantity_max
        if filters.step_size:
            fits = _floor(fits, filters.step_size)
        least = max(filters.quantity_min, filters.step_size)
        final_price = changed.get("price", price)
        if filters.notional_min and final_price:
            least = max(least, _ceiling(filters.notional_min / final_price, filters.step_size))
        if fits < least or fits <= 0:
            needs["quantity"] = least
        elif fits != quantity:
            changed["quantity"] = fits
    return Adjusted(changed, needs)


def _price(side: str, price: Decimal, tick: Decimal, worse_max: Decimal) -> Decimal:
    """To the passive side; to the nearer one where that is within the bound."""
    down, up = _floor(price, tick), _ceiling(price, tick)
    passive, other = (down, up) if side == "buy" else (up, down)
    nearer = abs(other - price) < abs(passive - price)
    return other if nearer and abs(other - price) <= worse_max * price else passive


def _floor(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def _ceiling(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_CEILING) * step if step else value
