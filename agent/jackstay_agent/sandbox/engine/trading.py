"""What a venue lets its clients do right now: its mode, and the hours of its markets.

Modes (Kraken's `SystemStatus` words, which other venues have under other names): `online`; `post_only` takes only
orders that cannot trade at once; `limit_only` no market orders; `cancel_only` no orders at all; `maintenance` not even
cancels. A symbol may have a mode of its own; the stricter one holds. Outside its hours a market takes no orders and
nothing trades, but orders may be cancelled. The background market is the venue's own and asks nobody, except that it
rests while its market does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from .model import MARKET_ACCOUNT, OrderRequest, Reject

MODES = ("online", "post_only", "limit_only", "cancel_only", "maintenance")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_S = 86_400
_HOURS = re.compile(r"^([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$")


@dataclass(slots=True, frozen=True)
class Hours:
    """Open from `opens_s` to before `closes_s` after midnight UTC on these weekdays (Monday is 0); past midnight when
    it closes before it opens."""

    opens_s: int
    closes_s: int
    days: frozenset[int] = frozenset(range(7))

    def is_open(self, now_ms: int) -> bool:
        at = datetime.fromtimestamp(now_ms / 1000, UTC)
        second, day = at.hour * 3600 + at.minute * 60 + at.second, at.weekday()
        if self.opens_s < self.closes_s:
            return day in self.days and self.opens_s <= second < self.closes_s
        if second >= self.opens_s:
            return day in self.days
        return second < self.closes_s and (day - 1) % 7 in self.days


def hours_of(text: str, days: str = "") -> Hours:
    """`09:30-16:00` and `mon-fri` or `mon,wed` (all days when empty), in UTC. ValueError says what is wrong."""
    found = _HOURS.match(text)
    if found is None:
        raise ValueError(f"hours are {text!r}: expected HH:MM-HH:MM in UTC, such as 09:30-16:00")
    opens, closes = (int(found[n]) * 3600 + int(found[n + 1]) * 60 for n in (1, 3))
    if opens >= DAY_S or closes > DAY_S or opens == closes:
        raise ValueError(f"hours are {text!r}: expected an opening before 24:00 and another time for the close")
    return Hours(opens, closes, _days_of(days.lower()) if days else frozenset(range(7)))


def _days_of(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"days are {text!r}: expected days such as mon-fri or sat,sun")
        number, end = DAYS.index(first), DAYS.index(last or first)
        while number != end:
            found.add(number)
            number = (number + 1) % 7
        found.add(end)
    return frozenset(found)


@dataclass(slots=True)
class TradingState:
    """Mode of the venue and of single symbols, with the time (ms) at which each ends by itself, and hours by symbol."""

    mode: str = "online"
    until: int = 0
    symbols: dict[str, tuple[str, int]] = field(default_factory=dict)
    hours: dict[str, Hours] = field(default_factory=dict)
    # faults: a reason for which the next placement is refused; the part of an order the book has something for
    refuse: str = ""
    # base and quote of each symbol, for the words of a refusal
    assets: dict[str, tuple[str, str]] = field(default_factory=dict)
    thin: Decimal | None = None

    def set(self, mode: str, symbol: str = "", until: int = 0) -> None:
        """`until` 0: until somebody sets another one. ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}: expected one of {', '.join(MODES)}")
        if not symbol:
            self.mode, self.until = mode, until
        elif mode == "online":
            self.symbols.pop(symbol, None)
        else:
            self.symbols[symbol] = (mode, until)

    def expire(self, now: int) -> bool:
        """End what has run out; True when something did."""
        over = [symbol for symbol, (_, until) in self.symbols.items() if 0 < until <= now]
        for symbol in over:
            del self.symbols[symbol]
        if 0 < self.until <= now:
            self.mode, self.until = "online", 0
            return True
        return bool(over)

    def mode_of(self, symbol: str) -> str:
        """The stricter of the venue's mode and the symbol's."""
        if not self.symbols:
            return self.mode
        own = self.symbols.get(symbol, ("online", 0))[0]
        return max(self.mode, own, key=MODES.index)

    def is_open(self, symbol: str, now: int) -> bool:
        """Within the symbol's hours; a symbol without any never closes."""
        hours = self.hours.get(symbol)
        return hours is None or hours.is_open(now)

    def takes_orders(self, symbol: str, now: int) -> bool:
        """Open, and not in a mode that takes none."""
        return self.is_open(symbol, now) and self.mode_of(symbol) not in ("cancel_only", "maintenance")

    def trades(self, symbol: str, now: int) -> bool:
        """May anything happen on this market by itself?"""
        return self.mode_of(symbol) != "maintenance" and self.is_open(symbol, now)

    @property
    def in_maintenance(self) -> bool:
        """The whole venue: dead-man switches wait with everything else, and fire when it is back (as Kraken warns)."""
        return self.mode == "maintenance"

    def require_placing(self, request: OrderRequest, now: int) -> None:
        """Reject("maintenance"), ("cancel_only"), ("post_only"), ("limit_only") or ("market_closed")."""
        if request.account == MARKET_ACCOUNT:
            return
        if self.refuse:
            base, quote = self.assets.get(request.symbol, ("", ""))
            short_of = base if request.side == "SELL" else quote
            raise Reject(self.refuse, short_of if self.refuse == "insufficient_balance" else request.symbol)
        mode = self.mode_of(request.symbol)
        if mode in ("maintenance", "cancel_only"):
            raise Reject(mode, request.symbol)
        if mode == "post_only" and request.type != "LIMIT_MAKER":
            raise Reject(mode, request.symbol)
        if mode == "limit_only" and not request.price:
            raise Reject(mode, request.symbol)
        if not self.is_open(request.symbol, now):
            raise Reject("market_closed", request.symbol)

    def require_cancelling(self, account: str, symbol: str) -> None:
        """Reject("maintenance")."""
        if account != MARKET_ACCOUNT and self.mode_of(symbol) == "maintenance":
            raise Reject("maintenance", symbol)
