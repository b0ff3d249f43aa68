"""The queue's half of the outbox: accepted now, sent when it can be, in order, within its time to live."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from jackstay_agent.core.intent import OPEN, Event, State, may_send, move
from jackstay_agent.core.ttl import Stamp
from jackstay_protocols.errors import Lane, Reason

from .admission import UNJOURNALED_LANES
from .journal import Kept
from .lanes import LANES
from .ledger import Ledger
from .records import Accepted, Admitted, Due, Ending, Entry, Intent, Refusal, Settled, Wait
from .recovery import stale
from .rows import to_update
from .schema import StoreFault
from .store import Done


class Sending(Ledger):
    def enqueue(self, intent: Intent, on_durable: Done | None = None) -> Accepted | Refusal | Wait:
        """Accept a message to be sent when it can be, within its time to live."""
        now = self._now()
        no = self._why_not_queued(intent, now)
        if no is None:
            entry = self._new_entry(intent, now, queued=True)
            kept = self._record([entry], on_durable)
            if not isinstance(kept, Refusal):
                self._totals["queued"] += 1
                return Accepted(entry.seq, kept is not Kept.COMING, kept is not Kept.MEMORY)
            return kept
        self._totals["refused"] += isinstance(no, Refusal)
        return no

    def _why_not_queued(self, intent: Intent, now: Stamp) -> Refusal | Wait | None:
        if self._closed:
            return Refusal(Reason.DRAINING, "the outbox is closed: the agent is stopping")
        size = len(intent.body) + len(intent.target)
        uncollected = self._collecting.queued(intent.bot_id)
        no = self._admission.refuse(intent, now, self._journal.fault)
        no = no or self._admission.room_queued(intent, uncollected, size)
        if no is not None:
            return no
        equal = self._admission.rule_one(intent)
        if isinstance(equal, Refusal):
            return equal  # other entries may queue: they wait there
        return None

    def next_due(
        self,
        connection_id: str | None = None,
        lanes: Iterable[Lane] = LANES,
        allow: Callable[[Intent], bool] | None = None,
        skip: Container[int] = (),
        stopped: Callable[[Intent], bool] = lambda _intent: False,
    ) -> Due | None:
        """The next queued intent that may leave, left in the queue; `mark_in_flight` takes it out.

        What outlived its time is settled as EXPIRED on the way. ``allow`` is the caller's own hold (modes, barriers);
        ``skip``: numbers it has in hand already; ``stopped``: a mode stops this entry, so ways out pass it.
        """
        now = self._now()
        late: list[Entry] = []

        def may_leave(entry: Entry) -> bool:
            if entry.seq in skip:
                return False
            if stale(entry, now, self._settings.clock_jump_max_s):
                late.append(entry)
                return False
            return self._is_free(entry) and (allow is None or allow(entry.intent))

        def stands_aside(entry: Entry) -> bool:
            return not self._is_free(entry) or stopped(entry.intent)

        while True:
            entry = self._waiting.first(connection_id, may_leave, lanes, stands_aside)
            if not late:
                return None if entry is None else Due(entry.seq, entry.intent, entry.attempts)
            self._expire(late)  # behind an expired head another may be due
            late.clear()

    def _is_free(self, entry: Entry) -> bool:
        i = entry.intent
        if self._journal.fault is not None and i.lane not in UNJOURNALED_LANES:
            return False
        if not (i.fields and self._shelf.is_side_unknown(i.venue, i.symbol, i.side)):
            return True
        return self._admission.rule_one(i) is None

    def mark_in_flight(self, seq: int, on_durable: Done | None = None) -> Admitted | Refusal | Wait:
        """Write down that this queued intent is about to be sent; after `Admitted` (and ``on_durable``) send it."""
        entry = self._shelf.get(seq)
        if entry is None or not may_send(entry.state):
            state = "not known here" if entry is None else entry.state.value
            return Refusal(Reason.DUPLICATE, f"intent {seq} is {state}; a recorded one is expected: do not send it")
        now = self._now()
        if stale(entry, now, self._settings.clock_jump_max_s):
            self._expire([entry])
            return Refusal(Reason.EXPIRED, f"intent {seq} outlived its time in the queue: do not send it")
        if (no := self._admission.room_direct(entry.intent)) is not None:
            return no
        unjournaled = entry.intent.lane in UNJOURNALED_LANES
        if not self._is_free(entry):
            fault, blocked = self._journal.fault, self._admission.rule_one(entry.intent)
            return self._disk_refusal(fault) if fault is not None or blocked is None else blocked
        self._waiting.leave(entry)
        self._shelf.move(entry, move(f"intent {seq}", entry.state, Event.SENT))
        entry.attempts += 1
        try:
            kept = self._journal.change_now(
                to_update(entry), unjournaled=unjournaled, done=self._when_sendable(entry, on_durable)
            )
        except StoreFault as fault:
            self._put_back(entry)
            return self._disk_refusal(fault)
        entry.sent = now
        return Admitted(seq, kept is not Kept.COMING, kept is not Kept.MEMORY)

    def _when_sendable(self, entry: Entry, on_durable: Done | None) -> Done:
        def done(fault: StoreFault | None) -> None:
            if fault is not None and entry.state is State.IN_FLIGHT:
                self._put_back(entry)
                self._journal.change(to_update(entry))
            if on_durable is not None:
                on_durable(fault)

        return done

    def put_back(self, seq: int) -> bool:
        """Provably no byte of it left: back to its old place in the queue. False if evidence settled it meanwhile."""
        entry = self._shelf.get(seq)
        if entry is None or entry.state not in OPEN:
            return False
        self._put_back(entry)
        self._journal.change(to_update(entry))
        return True

    def _put_back(self, entry: Entry) -> None:
        self._shelf.move(entry, move(f"intent {entry.seq}", entry.state, Event.NOT_SENT))
        self._waiting.returned(entry)
        self._waiting.add(entry)

    def _expire(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._totals["expired"] += 1
            ending = Ending("", cause=Reason.EXPIRED, source="agent", finished_wall=self._wall())
            self._on_settled(self._apply(entry, Event.TOO_LATE, ending, "it outlived its time in the queue"))

    def hold(self, seq: int, held: bool = True) -> bool:
        """Keep a queued intent from leaving, or let it go; it still expires. False: it is not queued."""
        entry = self._shelf.get(seq)
        if entry is None or entry.state is not State.RECORDED:
            return False
        entry.held = held
        self._journal.change(to_update(entry))
        return True

    def drop(self, seq: int, *, who: str, why: str, cause: str = "") -> Settled | None:
        """Take a queued intent out for good. None: it is not queued (any more)."""
        entry = self._shelf.get(seq)
        if entry is None or entry.state is not State.RECORDED:
            return None
        ending = Ending("", cause=cause, source="agent", said_by=who, why=why, finished_wall=self._wall())
        settled = self._apply(entry, Event.DROP, ending, why)
        self._on_settled(settled)
        return settled
