"""The open intents in memory, found by what one has in hand: number, client order id, symbol and side, bot.

Holds no rule and writes nothing; it only keeps its indexes in step. Bounded by the outbox's own bounds, but for what
was settled by evidence, which is kept for late news in a ring of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from jackstay_agent.core.equality import Pending, fingerprint
from jackstay_agent.core.intent import OPEN, State
from jackstay_protocols.errors import Lane

from .records import Entry


class Shelf:
    def __init__(self, late_max: int) -> None:
        self._open: dict[int, Entry] = {}
        self._late: OrderedDict[int, Entry] = OrderedDict()
        self._late_max = late_max
        self._by_client_id: dict[tuple[str, str], list[int]] = {}
        self._unknown_by_side: dict[tuple[str, str, str], dict[int, Entry]] = {}
        self.counts: dict[State, int] = dict.fromkeys(OPEN, 0)
        self.load = 0  # in flight or unknown, outside the de-risking lane
        self.derisk_load = 0

    def get(self, seq: int) -> Entry | None:
        return self._open.get(seq) or self._late.get(seq)

    def open_entries(self) -> list[Entry]:
        return list(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def put(self, entry: Entry) -> None:
        """A new or recovered open intent."""
        for older in self.by_client_id(entry.intent.venue, entry.intent.client_order_id):
            if older.seq in self._late:  # its id is used again: what is said of the id from now on is said of this one
                del self._late[older.seq]
                self._drop_id(older)
        self._open[entry.seq] = entry
        self._count(entry, +1)
        self._index_id(entry)
        if entry.state is State.UNKNOWN:
            self._index_unknown(entry)

    def move(self, entry: Entry, state: State) -> None:
        """An open intent changes to another open state."""
        self._count(entry, -1)
        if _is_doubtful(entry):
            self._drop_unknown(entry)
        entry.state = state
        self._count(entry, +1)
        if _is_doubtful(entry):
            self._index_unknown(entry)

    def doubt(self, entry: Entry) -> None:
        """Its caller left while it is under way: an equal order stands before it as before an unknown one."""
        if entry.state is State.IN_FLIGHT and not entry.left:
            entry.left = True
            self._index_unknown(entry)

    def settle(self, entry: Entry, state: State, *, keep: bool) -> None:
        """An open intent ends; ``keep``: late news about it is thinkable and must find it."""
        self.forget(entry)
        entry.state = state
        if keep:
            self.remember(entry)

    def remember(self, entry: Entry) -> None:
        """A settled intent late news may concern."""
        self._late[entry.seq] = entry
        self._index_id(entry)
        if len(self._late) > self._late_max:
            _, oldest = self._late.popitem(last=False)
            self._drop_id(oldest)

    def forget(self, entry: Entry) -> None:
        """It is not open any more, or was refused after all."""
        if self._open.pop(entry.seq, None) is not None:
            self._count(entry, -1)
            if _is_doubtful(entry):
                self._drop_unknown(entry)
            self._drop_id(entry)

    def _count(self, entry: Entry, step: int) -> None:
        self.counts[entry.state] += step
        if entry.state is not State.RECORDED:
            if entry.intent.lane is Lane.DERISK:
                self.derisk_load += step
            else:
                self.load += step

    # -- by client order id ------------------------------------------------------------------------------------------

    def by_client_id(self, venue: str, client_order_id: str) -> list[Entry]:
        """All known of that id, oldest first: ids are reused where the venue allows it."""
        found = (self.get(seq) for seq in self._by_client_id.get((venue, client_order_id), ()))
        return [entry for entry in found if entry is not None]

    def _index_id(self, entry: Entry) -> None:
        if entry.intent.client_order_id:
            seqs = self._by_client_id.setdefault((entry.intent.venue, entry.intent.client_order_id), [])
            if entry.seq not in seqs:
                seqs.append(entry.seq)

    def _drop_id(self, entry: Entry) -> None:
        name = (entry.intent.venue, entry.intent.client_order_id)
        seqs = self._by_client_id.get(name)
        if seqs is not None and entry.seq in seqs:
            seqs.remove(entry.seq)
            if not seqs:
                del self._by_client_id[name]

    # -- unknown ones, by symbol and side ----------------------------------------------------------------------------

    def unknown_of(self, venue: str, symbol: str, side: str) -> Iterator[Pending]:
        """Those an arriving order has to stand before (rule 1)."""
        for entry in self._unknown_by_side.get((venue, symbol.lower(), side.lower()), {}).values():
            if entry.print is None:
                entry.print = fingerprint(entry.intent.fields)
            yield Pending(entry.seq, entry.intent.client_order_id or entry.intent.request_id, entry.print)

    def is_side_unknown(self, venue: str, symbol: str, side: str) -> bool:
        return bool(self._unknown_by_side) and (venue, symbol.lower(), side.lower()) in self._unknown_by_side

    def _index_unknown(self, entry: Entry) -> None:
        if entry.intent.fields:  # what places nothing keeps nobody waiting
            self._unknown_by_side.setdefault(_side(entry), {})[entry.seq] = entry

    def _drop_unknown(self, entry: Entry) -> None:
        side = self._unknown_by_side.get(_side(entry))
        if side is not None:
            side.pop(entry.seq, None)
            if not side:
                del self._unknown_by_side[_side(entry)]


def _is_doubtful(entry: Entry) -> bool:
    return entry.state is State.UNKNOWN or (entry.left and entry.state is State.IN_FLIGHT)


def _side(entry: Entry) -> tuple[str, str, str]:
    return entry.intent.venue, entry.intent.symbol.lower(), entry.intent.side.lower()
