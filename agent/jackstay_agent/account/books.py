"""Orders, balances and positions as the agent last heard of them; each picture has its source.

An order is known by its client id and by its venue id (per family and symbol). Live orders are all in memory; of those
that are over only the latest, the rest is in the file. What belongs to somebody else is not kept, only counted; but the
latest pictures of strangers are, for a moment: a stream may tell of an order before the reply that makes it ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..core.account import ZERO, Fill, Heard, Holding, Order, Stage
from ..core.discrepancy import Discrepancy, Kind
from ..core.order_moves import Move, judge
from ..core.reconcile import picture

ALIEN_MAX = 1_024
UNNAMED = "?"  # an event of the venue that does not say its symbol
IMPOSSIBLE_MAX = 256


@dataclass(slots=True)
class Entry:
    """``filled``: the sum of the fills that are known by id; ``begun``: its life was seen from the first moment on."""

    number: int
    order: Order
    filled: Decimal = ZERO
    begun: bool = False


class Books:
    """``on_change(order, before)``: an order went on. Numbers rise; they are the rows of the file."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        live_max: int,
        over_max: int,
        settle_s: float,
        on_change: Callable[[Order, Order | None], None] = lambda _order, _before: None,
    ) -> None:
        self._clock = clock
        self._live_max = live_max
        self._over_max = over_max
        self._settle_s = settle_s
        self._on_change = on_change
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._by_client: dict[tuple[str, str], int] = {}
        self._by_venue: dict[tuple[str, str, str, str], int] = {}
        self._by_bare: dict[tuple[str, str, str], int] = {}
        self._live: dict[int, Entry] = {}
        self._over: OrderedDict[int, None] = OrderedDict()
        self._alien: OrderedDict[tuple[str, str, str, str], Order] = OrderedDict()
        self._families: set[str] = set()
        self._next = 1
        self.dirty: dict[int, Order] = {}
        self.impossible: dict[tuple[str, ...], Discrepancy] = {}
        self.holdings: dict[tuple[str, str], dict[tuple[str, str], Holding]] = {}
        self.counters = dict.fromkeys(("heard", "old", "alien", "impossible", "evicted"), 0)

    # ---- what is there

    def load(self, orders: dict[int, Order]) -> None:
        """From the file; boot-time instants of an earlier process mean nothing here."""
        for number, order in sorted(orders.items()):
            entry = Entry(number, replace(order, seen_at=0.0, changed_at=0.0, heard=Heard.FILE))
            self._put(entry)
            self._next = max(self._next, number + 1)

    def find(self, order: Order) -> Order | None:
        """The known picture of the same order."""
        entry = self.entry(order)
        return None if entry is None else entry.order

    def entry(self, order: Order) -> Entry | None:
        number = self._by_venue.get(_venue_key(order)) if order.venue_id else None
        if order.symbol == UNNAMED and order.venue_id:
            number = self._by_bare.get((order.venue, order.family, order.venue_id))
        if number is None and order.client_id:
            number = self._by_client.get((order.venue, order.client_id))
            if number is not None and order.venue_id:
                known = self._entries[number].order
                if known.venue_id and known.venue_id != order.venue_id:
                    return None  # ids are free again after a fill on some venues: another order
        return None if number is None else self._entries.get(number)

    def of_trade(self, fill: Fill) -> Entry | None:
        """Whose fill this is, in whatever family the order is."""
        for family in self._families:
            number = self._by_venue.get((fill.venue, family, fill.symbol, fill.venue_id))
            if number is not None:
                return self._entries.get(number)
        number = self._by_client.get((fill.venue, fill.client_id)) if fill.client_id else None
        return None if number is None else self._entries.get(number)

    def live(self, venue: str) -> list[Order]:
        """This agent's bots' orders that may be on the venue's book."""
        return [each.order for each in self._live.values() if each.order.venue == venue]

    def of_bot(self, venue: str, bot_id: str) -> list[Order]:
        """All in memory: live ones and the latest that are over."""
        return [e.order for e in self._entries.values() if e.order.venue == venue and e.order.bot_id == bot_id]

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def venues(self) -> set[str]:
        return {each.order.venue for each in self._entries.values()}

    def symbols(self, venue: str) -> set[str]:
        return {each.order.symbol for each in self._entries.values() if each.order.venue == venue}

    def __len__(self) -> int:
        return len(self._entries)

    # ---- what is heard

    def request(self, order: Order) -> None:
        """An order of a bot is about to be sent; the venue has not said anything yet."""
        if len(self._live) >= self._live_max:
            self.counters["evicted"] += 1
            self._drop(next(iter(self._live)))
        entry = Entry(self._take_number(), replace(order, stage=Stage.REQUESTED, heard=Heard.REQUEST), begun=True)
        self._put(entry)
        self._touch(entry)
        self._on_change(entry.order, None)

    def hear(self, told: Order, entry: Entry | None = None) -> Move:
        """Evidence about an order. Only what moves it on is taken; nothing is taken of orders of others."""
        self.counters["heard"] += 1
        entry = entry or self.entry(told)
        if entry is None:
            self.counters["alien"] += 1
            if told.venue_id:
                self._alien[_venue_key(told)] = told
                if len(self._alien) > ALIEN_MAX:
                    self._alien.popitem(last=False)
            return Move.SAME
        known = entry.order
        move, why = judge(known, told, self._settle_s)
        if move is Move.OLD:
            self.counters["old"] += 1
        elif move is Move.IMPOSSIBLE:
            self._note_impossible(known, told, why)
        elif move is Move.ON:
            self._take(entry, told)
        elif told.seen_at > known.seen_at:
            entry.order = replace(known, seen_at=told.seen_at)
        return move

    def adopt(self, told: Order) -> None:
        """The venue's word replaces the agent's picture, whatever that was (a reconciliation)."""
        entry = self.entry(told)
        if entry is None:
            entry = Entry(self._take_number(), told)
            self._put(entry)
            self._touch(entry)
            self._on_change(told, None)
            alien = self._alien.pop(_venue_key(told), None)
            if alien is not None:
                self.hear(alien, entry)
            return
        self._take(entry, told)

    def identify(self, told: Order) -> bool:
        """The venue's id of an order that was known without one; nothing else of the picture is taken."""
        entry = self.entry(told)
        if entry is None or entry.order.venue_id or not told.venue_id:
            return False
        entry.order = replace(entry.order, venue_id=told.venue_id, family=entry.order.family or told.family)
        self._index(entry)
        self._touch(entry)
        return True

    def recall(self, order: Order) -> None:
        """An order that was long over, back from the file because somebody speaks of it."""
        self._put(Entry(self._take_number(), replace(order, seen_at=0.0, changed_at=0.0, heard=Heard.FILE)))

    def answered(self, client_id: str, venue: str, stage: Stage) -> None:
        """An order's request ended without a picture: taken (OPEN), refused, or never there."""
        number = self._by_client.get((venue, client_id))
        entry = self._entries.get(number) if number is not None else None
        if entry is not None and entry.order.stage is Stage.REQUESTED:
            self._take(entry, replace(entry.order, stage=stage, heard=Heard.REPLY, seen_at=self._clock()))

    def traded(self, fill: Fill) -> Entry | None:
        """One more fill that is known by its id."""
        entry = self.of_trade(fill)
        if entry is not None:
            entry.filled += fill.quantity
        return entry

    def hold(self, kind: str, venue: str, held: Iterable[Holding], *, whole: bool) -> None:
        """Balances or positions as told; ``whole``: what is not named is nothing. What was overtaken is not taken."""
        before = self.holdings.setdefault((kind, venue), {})
        known = self.holdings[kind, venue] = {} if whole else before
        for each in held:
            latest = before.get(each.key)
            if latest is None or latest.at is None:
                known[each.key] = each
            elif each.at is None:  # asked for: newer than what came, and what comes yet may be older
                known[each.key] = replace(each, at=latest.at)
            elif each.at >= latest.at:
                known[each.key] = each
            else:
                known[each.key] = latest
                self.counters["old"] += 1

    def take_dirty(self) -> list[tuple[int, Order]]:
        """What has to be written to the file."""
        found = list(self.dirty.items())
        self.dirty.clear()
        return found

    def facts(self) -> dict[str, Any]:
        return {"orders_live": len(self._live), "orders_kept": len(self._entries), **self.counters}

    # ---- inside

    def _take(self, entry: Entry, told: Order) -> None:
        before = entry.order
        order = replace(told.with_what(before), changed_at=self._clock())
        if told.symbol == UNNAMED:
            order = replace(order, symbol=before.symbol)
        if before.bot_id:
            order = replace(order, bot_id=before.bot_id)
        entry.order = order
        self._index(entry)
        self._touch(entry)
        alien = self._alien.pop(_venue_key(order), None) if order.venue_id else None
        self._on_change(order, before)
        if alien is not None:
            self.hear(alien, entry)  # a stream told of it before the reply made it ours

    def _put(self, entry: Entry) -> None:
        self._entries[entry.number] = entry
        self._index(entry)

    def _index(self, entry: Entry) -> None:
        order = entry.order
        if order.client_id:
            self._by_client[order.venue, order.client_id] = entry.number
        if order.venue_id:
            self._by_venue[_venue_key(order)] = entry.number
            self._by_bare[order.venue, order.family, order.venue_id] = entry.number
            self._families.add(order.family)
        if order.live:
            self._live[entry.number] = entry
            self._over.pop(entry.number, None)
            return
        self._live.pop(entry.number, None)
        self._over[entry.number] = None
        while len(self._over) > self._over_max:
            self._drop(next(iter(self._over)))

    def _drop(self, number: int) -> None:
        entry = self._entries.pop(number)
        self._live.pop(number, None)
        self._over.pop(number, None)
        order = entry.order
        if self._by_client.get((order.venue, order.client_id)) == number:
            del self._by_client[order.venue, order.client_id]
        if order.venue_id and self._by_venue.get(_venue_key(order)) == number:
            del self._by_venue[_venue_key(order)]
        bare = (order.venue, order.family, order.venue_id)
        if self._by_bare.get(bare) == number:
            del self._by_bare[bare]

    def _touch(self, entry: Entry) -> None:
        self.dirty[entry.number] = entry.order

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _note_impossible(self, known: Order, told: Order, why: str) -> None:
        self.counters["impossible"] += 1
        found = Discrepancy(
            Kind.IMPOSSIBLE_TRANSITION,
            "orders",
            told.venue,
            known.name,
            f"impossible: {why} (from {told.heard})",
            "venue",
            told.symbol,
            known.bot_id,
            0.0,
            {"agent": picture(known), "venue": picture(told)},
        )
        if len(self.impossible) < IMPOSSIBLE_MAX:
            self.impossible[found.key] = found


def _venue_key(order: Order) -> tuple[str, str, str, str]:
    return order.venue, order.family, order.symbol, order.venue_id
