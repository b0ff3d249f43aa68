"""The intents that wait to be sent: per connection, per lane, with their time to live. The file is elsewhere.

A bot's orders of one symbol leave one after the other, as it placed them; bots do not wait for each other. Only a way
out (an exit, a hedge, a stop) passes an entry of its bot that is held, or that waits for a mode or an unknown order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from jackstay_agent.core.ttl import Stamp, sendable_s
from jackstay_protocols.errors import Lane

from ..core.modes import ADMITS, Mode
from .lanes import LANES, LaneQueue
from .records import Entry, Signed

WAYS_OUT = ADMITS[Mode.CONSERVATIVE]


class Waiting:
    def __init__(self, clock_jump_max_s: float) -> None:
        self._queues: dict[str, LaneQueue] = {}
        self._entries: dict[int, Entry] = {}
        self._by_age: list[tuple[float, int]] = []  # boot-clock instant at which the time to live ends, seq
        self._under_way: dict[tuple[str, str, str], int] = {}  # connection, bot, symbol -> the queued order being sent
        self._clock_jump_max_s = clock_jump_max_s
        self._offset: float | None = None
        self._boot_id = ""
        self.derisk = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, seq: int) -> bool:
        return seq in self._entries

    def depth(self, connection_id: str) -> int:
        queue = self._queues.get(connection_id)
        return 0 if queue is None else len(queue)

    def depths(self) -> dict[str, int]:
        return {name: len(queue) for name, queue in self._queues.items()}

    def entries(self) -> list[Entry]:
        """All, oldest first."""
        return [self._entries[seq] for seq in sorted(self._entries)]

    def add(self, entry: Entry) -> None:
        intent = entry.intent
        queue = self._queues.setdefault(intent.connection_id, LaneQueue())
        queue.add(entry.seq, intent.lane, _group(entry))
        self._entries[entry.seq] = entry
        self.bytes += entry.payload_bytes
        self.derisk += intent.lane is Lane.DERISK
        ends_at = _ends_at(entry)
        if ends_at is not None:
            heappush(self._by_age, (ends_at, entry.seq))

    def remove(self, entry: Entry) -> None:
        if self._entries.pop(entry.seq, None) is None:
            return
        self.bytes -= entry.payload_bytes
        self.derisk -= entry.intent.lane is Lane.DERISK
        queue = self._queues[entry.intent.connection_id]
        queue.remove(entry.seq)
        if not queue:
            del self._queues[entry.intent.connection_id]

    def leave(self, entry: Entry) -> None:
        """It is being sent. Orders of one symbol leave one after the other: none overtakes. Cancels need not."""
        self.remove(entry)
        if entry.intent.lane is not Lane.DERISK and entry.intent.symbol:
            self._under_way[_way(entry)] = entry.seq

    def returned(self, entry: Entry) -> None:
        """What was being sent has its answer."""
        if self._under_way.get(_way(entry)) == entry.seq:  # not a cancel of the same symbol
            del self._under_way[_way(entry)]

    def first(
        self,
        connection_id: str | None,
        may_leave: Callable[[Entry], bool],
        lanes: Iterable[Lane] = LANES,
        stands_aside: Callable[[Entry], bool] = lambda _entry: False,
    ) -> Entry | None:
        """The most urgent one that may leave: by lane over all connections asked for, then the oldest.

        ``stands_aside``: an entry that, besides those held, lets the ways out of its bot and symbol pass.
        """
        names = list(self._queues) if connection_id is None else [connection_id]

        def may(seq: int) -> bool:
            entry = self._entries[seq]
            blocked = entry.intent.lane is not Lane.DERISK and (_way(entry) in self._under_way or behind(entry))
            return not blocked and not entry.held and may_leave(entry)

        def behind(entry: Entry) -> bool:
            if entry.intent.lane is not Lane.ORDER:
                return False
            way_out = entry.intent.order_class in WAYS_OUT
            head = self._queues[entry.intent.connection_id].head(Lane.ORDER, _group(entry, not way_out))
            if head is None or head > entry.seq:
                return False
            older = self._entries[head]
            return not way_out or not (older.held or stands_aside(older))

        for lane in lanes:
            firsts = [q.first(may, (lane,)) for name in names if (q := self._queues.get(name)) is not None]
            found = min((seq for seq in firsts if seq is not None), default=None)
            if found is not None:
                return self._entries[found]
        return None

    def overdue(self, now: Stamp) -> list[Entry]:
        """Those whose time may be over: by the boot clock, or all with a limit after the two clocks parted."""
        offset, before = now.wall_s - now.boot_s, self._offset
        parted = before is not None and (abs(offset - before) > self._clock_jump_max_s or now.boot_id != self._boot_id)
        self._boot_id = now.boot_id
        if before is None or parted:
            self._offset = offset  # slow drift is compared with the start, so that small steps add up
        if parted:
            return self.entries()
        found: dict[int, Entry] = {}  # what was put back stands in the heap more than once
        while self._by_age and self._by_age[0][0] <= now.boot_s:
            _, seq = heappop(self._by_age)
            entry = self._entries.get(seq)
            if entry is not None:
                found[seq] = entry
        if len(self._by_age) > 4 * len(self._entries) + 64:  # those that left before their time
            self._by_age = sorted({pair for pair in self._by_age if pair[1] in self._entries})
        return list(found.values())


def _way(entry: Entry) -> tuple[str, str, str]:
    return entry.intent.connection_id, entry.intent.bot_id, entry.intent.symbol


def _group(entry: Entry, way_out: bool | None = None) -> str:
    """Who stands in a row. A held or blocked cancel stands in nobody's way."""
    intent = entry.intent
    if intent.lane is Lane.DERISK:
        return f"#{entry.seq}"
    way_out = intent.order_class in WAYS_OUT if way_out is None else way_out
    return f"{'<' if way_out and intent.lane is Lane.ORDER else '>'}{intent.bot_id}>{intent.symbol}"


def _ends_at(entry: Entry) -> float | None:
    i = entry.intent
    limit = sendable_s(i.ttl_s, i.recv_window_s, i.signed is Signed.BOT)
    ends = [] if limit is None else [entry.recorded.boot_s + limit]
    if i.deadline_at is not None:
        ends.append(i.deadline_at)
    return min(ends) if ends else None
