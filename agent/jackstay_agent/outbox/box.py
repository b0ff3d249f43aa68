"""The outbox's face: what is written down before the first byte, and what becomes of it.

Single-threaded: every method is called where the outbox lives (the agent's loop) and returns at once; blocking work
goes through ``run_blocking``. Three callbacks speak for what happens between calls: ``on_event`` (facts for status
and log), ``on_settled`` (what expired, was dropped or was settled by evidence: waiters wake, bots are told) and
``on_free`` (a checkpoint is over: those told `Wait` ask again).

Refuses to know how to send, whom to ask at the venue, and what an answer means.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from jackstay_agent.core.equality import fingerprint
from jackstay_agent.core.evidence import Evidence, Patience, Search, retry_is_dead, weigh
from jackstay_agent.core.intent import OPEN, Event, State, contradicts, may_send, move
from jackstay_agent.core.ttl import Stamp, late_until_at
from jackstay_protocols.errors import Lane, Outcome, Reason

from .admission import UNJOURNALED_LANES, Admission
from .collecting import Collecting
from .journal import Journal, Kept
from .keys import KeyRecord, KeyWindow, body_digest
from .lanes import LANES
from .records import (
    Accepted,
    Admitted,
    Due,
    Duplicate,
    Ending,
    Entry,
    Intent,
    Refusal,
    Settled,
    Uncollected,
    Unknown,
    Wait,
)
from .recovery import Recovered, stale
from .rows import read_ending, read_payload, to_row, to_update, unsigned, write_payload
from .schema import Connect, StoreFault
from .settings import OutboxSettings
from .shelf import Shelf
from .store import Done, RunBlocking, run_inline
from .waiting import Waiting

_EVENTS = {
    Outcome.OK: Event.OK,
    Outcome.REJECTED: Event.REJECTED,
    Outcome.FAILED: Event.FAILED,
    Outcome.UNKNOWN: Event.NO_ANSWER,
}


def _ignore(*_: object) -> None:
    """A callback nobody gave."""


class Outbox:
    """See the module. Made by `Outbox.open`."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        settings: OutboxSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot_id: str = "",
        run_blocking: RunBlocking = run_inline,
        on_event: Callable[[str, dict[str, Any]], None] = _ignore,
        on_settled: Callable[[Settled], None] = _ignore,
        on_free: Callable[[], None] = _ignore,
        store: Connect = sqlite3.connect,
    ) -> Outbox:
        """Open or make the file at ``path`` and recover what is in it.

        ``clock`` is a boot-time clock, ``wall`` the wall clock, both in seconds; ``boot_id`` changes with a reboot.
        A disk that is full or read-only is no error: the outbox is then open and degraded (cancels pass, orders are
        refused). Raises `OutboxTaken` and `OutboxTooNew`, which a person has to solve.
        """
        settings = settings or OutboxSettings()
        journal = Journal(
            Path(path),
            settings,
            connect=store,
            run_blocking=run_blocking,
            on_event=on_event,
            on_free=on_free,
            clock=clock,
        )
        return cls(journal, settings, clock, wall, boot_id, on_event, on_settled)

    def __init__(
        self,
        journal: Journal,
        settings: OutboxSettings,
        clock: Callable[[], float],
        wall: Callable[[], float],
        boot_id: str,
        on_event: Callable[[str, dict[str, Any]], None],
        on_settled: Callable[[Settled], None],
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._clock, self._wall, self._boot_id = clock, wall, boot_id
        self._on_event, self._on_settled = on_event, on_settled
        self._shelf = Shelf(settings.late_max)
        self._keys = KeyWindow(settings.idempotency_window_s, settings.keys_max)
        self._waiting = Waiting(settings.clock_jump_max_s)
        self._collecting = Collecting(settings.uncollected_bot_max)
        self._admission = Admission(settings, self._shelf, self._keys, self._waiting, self._same_body)
        self._closed = False
        self._totals = dict.fromkeys(("begun", "queued", "refused", "expired", "contradictions", "damaged_rows"), 0)
        now = self._now()
        # above every number ever given, also after the file was lost: minted client ids must not come again
        self._next = max(1, int(now.wall_s * 1e6))
        self._waiting.overdue(now)
        if (found := journal.attach(now)) is not None:
            self._adopt(found, now)

    def _now(self) -> Stamp:
        return Stamp(self._boot_id, self._clock(), self._wall())

    def _adopt(self, found: Recovered, now: Stamp) -> None:
        """Take over what the file held."""
        self._next = max(self._next, found.seq_max + 1)
        for entry in found.entries:
            self._shelf.put(entry)
            if entry.state is State.RECORDED:
                self._waiting.add(entry)
        for entry, collected in found.settled:
            if entry.state in (State.ABSENT, State.FAILED):
                self._shelf.remember(entry)
            if not collected:
                self._retain(entry)
        for entry in sorted((*found.entries, *(e for e, _ in found.settled)), key=lambda e: e.seq):
            since_s = max(0.0, now.wall_s - entry.recorded.wall_s)
            if entry.intent.key and since_s < self._settings.idempotency_window_s:
                record = KeyRecord(entry.seq, body_digest(entry.intent), now.boot_s - since_s)
                self._keys.add(entry.intent.bot_id, entry.intent.key, record)
        for seq, why in found.damaged:
            self._totals["damaged_rows"] += 1
            self._on_event("outbox.row_damaged", {"seq": seq, "why": why})
        for entry in found.changed:
            self._journal.change(to_update(entry))
        self._journal.flush()
        self._on_event("outbox.opened", {s.value: n for s, n in self._shelf.counts.items()})

    # -- direct requests ---------------------------------------------------------------------------------------------

    def mint(self, prefix: str) -> str:
        """A client order id nobody has had: ``prefix`` and a number in base 36, unique across restarts."""
        number, digits = self._take_number(), ""
        while number:
            number, rest = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
        return prefix + digits

    def begin(self, intent: Intent, on_durable: Done | None = None) -> Admitted | Refusal | Wait:
        """Write down that this is about to be sent; after `Admitted` (and ``on_durable``, if not durable) send it."""
        admitted = self.begin_batch((intent,), on_durable)
        return admitted if isinstance(admitted, Refusal | Wait) else admitted[0]

    def begin_batch(
        self, intents: Sequence[Intent], on_durable: Done | None = None
    ) -> tuple[Admitted, ...] | Refusal | Wait:
        """The items of one request: all written in one commit, or none and the first reason why not.

        ``on_durable`` is called with None when the disk has them, or with the fault: then they were never recorded.
        """
        now = self._now()
        no = self._why_not_direct(intents, now)
        if no is not None:
            self._totals["refused"] += isinstance(no, Refusal)
            return no
        entries = [self._new_entry(intent, now, queued=False) for intent in intents]
        kept = self._record(entries, on_durable)
        if isinstance(kept, Refusal):
            return kept
        self._totals["begun"] += len(entries)
        durable, journaled = kept is not Kept.COMING, kept is not Kept.MEMORY
        return tuple(Admitted(entry.seq, durable, journaled) for entry in entries)

    def _why_not_direct(self, intents: Sequence[Intent], now: Stamp) -> Refusal | Wait | None:
        if self._closed:
            return Refusal(Reason.DRAINING, "the outbox is closed: the agent is stopping")
        wait: Wait | None = None
        for intent in intents:
            no: Refusal | Wait | None = self._admission.refuse(intent, now, self._journal.fault)
            no = no or self._admission.room_direct(intent, len(intents)) or self._admission.rule_one(intent)
            if isinstance(no, Refusal):
                return no
            wait = wait or no
            if intent.lane not in UNJOURNALED_LANES and self._journal.held:
                wait = wait or Wait()
        return wait

    def _new_entry(self, intent: Intent, now: Stamp, *, queued: bool) -> Entry:
        state = State.RECORDED if queued else State.IN_FLIGHT
        return Entry(self._take_number(), intent, state, now, queued, 0, sent=None if queued else now)

    def _take_number(self) -> int:
        number = self._next
        self._next += 1
        return number

    def _record(self, entries: list[Entry], on_durable: Done | None) -> Kept | Refusal:
        """Into the file and into memory; into neither if the disk refuses and they may not go on without."""
        rows = []
        for entry in entries:
            bare = unsigned(entry.intent)
            if entry.intent.key:
                entry.digest = body_digest(bare)
            payload = write_payload(entry.recorded, entry.queued, bare)
            entry.payload_crc, entry.payload_bytes = crc32(payload), len(payload)
            rows.append(to_row(entry, payload))
        unjournaled = all(entry.intent.lane in UNJOURNALED_LANES for entry in entries)
        try:
            kept = self._journal.insert(rows, unjournaled=unjournaled, done=self._when_durable(entries, on_durable))
        except StoreFault as fault:
            self._totals["refused"] += 1
            return self._disk_refusal(fault)
        for entry in entries:
            self._shelf.put(entry)
            intent = entry.intent
            if entry.queued:
                self._waiting.add(entry)
            if intent.key:
                record = KeyRecord(entry.seq, entry.digest, entry.recorded.boot_s)
                self._keys.add(intent.bot_id, intent.key, record)
        return kept

    def _when_durable(self, entries: list[Entry], on_durable: Done | None) -> Done:
        def done(fault: StoreFault | None) -> None:
            if fault is not None:
                for entry in entries:
                    self._unrecord(entry)
            if on_durable is not None:
                on_durable(fault)

        return done

    def _unrecord(self, entry: Entry) -> None:
        """The disk did not take it after all: it was never accepted. Its row, if it comes to be written, says so."""
        if entry.state not in OPEN:
            return
        self._waiting.remove(entry)
        self._shelf.forget(entry)
        self._keys.forget(entry.intent.bot_id, entry.intent.key, entry.seq)
        entry.state = State.FAILED
        entry.ending = Ending(State.FAILED, cause=Reason.DISK, finished_wall=self._wall())
        self._journal.change(to_update(entry))

    def _disk_refusal(self, fault: StoreFault) -> Refusal:
        return Refusal(
            Reason.DISK,
            f"the outbox cannot write ({fault.fault.value}); nothing was sent: free or repair the disk",
            self._settings.disk_retry_s,
        )

    # -- what became of it -------------------------------------------------------------------------------------------

    def finish(
        self,
        seq: int,
        outcome: Outcome,
        *,
        status: int | None = None,
        reply: bytes = b"",
        cause: str = "",
        venue_order_id: str = "",
    ) -> Settled | None:
        """The answer to what was sent, or UNKNOWN for its absence. Batched. None: it is too long settled to matter."""
        entry = self._shelf.get(seq)
        if entry is None:
            return None
        kept = reply[: self._settings.reply_bytes_max]
        ending = Ending(
            "",
            status,
            kept,
            len(kept) < len(reply),
            cause,
            "" if outcome is Outcome.UNKNOWN else "reply",
            venue_order_id,
            finished_wall=self._wall(),
        )
        return self._apply(entry, _EVENTS[outcome], ending)

    def _apply(self, entry: Entry, event: Event, ending: Ending, why: str = "") -> Settled:
        before = entry.state
        after = move(f"intent {entry.seq}", before, event)
        contradiction = contradicts(before, event)
        if contradiction:
            self._totals["contradictions"] += 1
            self._on_event(
                "outbox.contradiction",
                {"seq": entry.seq, "state": before.value, "event": event.value, "now": after.value},
            )
        if before in OPEN:
            if entry.queued and before is State.IN_FLIGHT:
                self._waiting.returned(entry)
            self._waiting.remove(entry)
            if after in OPEN:
                self._shelf.move(entry, after)
            else:
                self._shelf.settle(entry, after, keep=event not in (Event.OK, Event.REJECTED))
        else:
            entry.state = after
        if after is State.UNKNOWN and before is not State.UNKNOWN:
            self._start_search(entry)
        # late news keeps what was told, unless it says more: the venue's own reply, or another state
        if before in OPEN or after is not before or event is Event.OK:
            ending.state = after.value
            entry.ending = ending
            self._journal.change(to_update(entry))
            if after not in OPEN:
                self._retain(entry)
        return Settled(
            entry.seq, entry.intent.bot_id, after, entry.ending, why, after not in OPEN, contradiction, entry.queued
        )

    def _start_search(self, entry: Entry) -> None:
        sent = entry.sent or entry.recorded
        entry.unknown_at = self._clock()
        late = late_until_at(entry.unknown_at, sent.boot_s, entry.intent.recv_window_s)
        entry.search = Search(late, sent.wall_s, entry.intent.family)

    def _retain(self, entry: Entry) -> None:
        """Its outcome stays until the bot has acknowledged it."""
        out = self._collecting.add(entry.intent.bot_id, entry.seq, queued=entry.queued)
        if out is not None:
            self._journal.ack((out,), entry.intent.bot_id)

    def resolve(self, seq: int, evidence: Evidence, patience: Patience | None = None) -> Settled | None:
        """Weigh what the venue or a person said. `Settled.final` says whether that settled it. None: no such intent.

        Evidence about what is queued or under way counts as well: a pending retry is dead afterwards.
        """
        entry = self._shelf.get(seq)
        if entry is None:
            return None
        sent = entry.sent or entry.recorded
        search = entry.search or Search(self._clock(), sent.wall_s, entry.intent.family)
        weighed = weigh(search, evidence, patience or Patience())
        entry.search = weighed.search
        event = weighed.event
        if event is None or (
            event in (Event.NOT_FOUND, Event.SAID_DONE, Event.SAID_ABSENT) and entry.state != "unknown"
        ):
            why = weighed.why if event is None else f"it is {entry.state.value}: {weighed.why}"
            return Settled(seq, entry.intent.bot_id, entry.state, entry.ending, why, queued=entry.queued)
        ending = Ending(
            "",
            cause=evidence.status,
            source=evidence.source.value,
            venue_order_id=evidence.venue_order_id,
            said_by=evidence.who,
            why=evidence.why or weighed.why,
            finished_wall=self._wall(),
        )
        before = entry.state
        settled = self._apply(entry, event, ending, weighed.why)
        if settled.state is not before:
            self._on_settled(settled)
        return settled

    def saw(self, venue: str, client_order_id: str, evidence: Evidence) -> list[Settled]:
        """Evidence found by its client order id (a stream event, a list): for the newest intent of that id it fits."""
        entries = self._shelf.by_client_id(venue, client_order_id)
        settled = []
        for entry in reversed(entries):
            result = self.resolve(entry.seq, evidence)
            if result is not None and result.final:
                settled.append(result)
                break
        return settled

    def is_retry_dead(self, seq: int) -> bool:
        """Whether nothing may be sent for this intent any more: settled, unknown, or shown by the venue."""
        entry = self._shelf.get(seq)
        return entry is None or retry_is_dead(entry.state, entry.search)

    def unknowns(self) -> list[Unknown]:
        """Everything the venue has to be asked about, oldest first."""
        now = self._clock()
        found = (e for e in self._shelf.open_entries() if e.state is State.UNKNOWN)
        return [Unknown(e.seq, e.intent, e.search or Search(now, 0.0), now - e.unknown_at) for e in found]

    # -- the queue ---------------------------------------------------------------------------------------------------

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
        return Wait() if self._journal.held and intent.lane not in UNJOURNALED_LANES else None

    def next_due(
        self,
        connection_id: str | None = None,
        lanes: Iterable[Lane] = LANES,
        allow: Callable[[Intent], bool] | None = None,
    ) -> Due | None:
        """The next queued intent that may leave, left in the queue; `mark_in_flight` takes it out.

        What outlived its time is settled as EXPIRED on the way. ``allow`` is the caller's own hold (modes, barriers).
        """
        now = self._now()
        late: list[Entry] = []

        def may_leave(entry: Entry) -> bool:
            if stale(entry, now, self._settings.clock_jump_max_s):
                late.append(entry)
                return False
            return self._is_free(entry) and (allow is None or allow(entry.intent))

        while True:
            entry = self._waiting.first(connection_id, may_leave, lanes)
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
        if self._journal.held and not unjournaled:
            return Wait()
        if not self._is_free(entry):
            fault = self._journal.fault
            return self._disk_refusal(fault) if fault is not None else self._admission.rule_one(entry.intent) or Wait()
        self._waiting.leave(entry)
        self._shelf.move(entry, move(f"intent {seq}", entry.state, Event.SENT))
        try:
            kept = self._journal.change_now(
                to_update(entry), unjournaled=unjournaled, done=self._when_sendable(entry, on_durable)
            )
        except StoreFault as fault:
            self._put_back(entry)
            return self._disk_refusal(fault)
        entry.sent = now
        entry.attempts += 1
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

    def drop(self, seq: int, *, who: str, why: str) -> Settled | None:
        """Take a queued intent out for good. None: it is not queued (any more)."""
        entry = self._shelf.get(seq)
        if entry is None or entry.state is not State.RECORDED:
            return None
        ending = Ending("", source="agent", said_by=who, why=why, finished_wall=self._wall())
        settled = self._apply(entry, Event.DROP, ending, why)
        self._on_settled(settled)
        return settled

    # -- questions ---------------------------------------------------------------------------------------------------

    def find_duplicate(self, bot_id: str, key: str, intent: Intent | None = None) -> Duplicate | None:
        """What became of the request that had this key, within the idempotency window."""
        record = self._keys.find(bot_id, key, self._clock())
        if record is None:
            return None
        same = intent is None or self._same_body(record, intent)
        entry = self._shelf.get(record.seq)
        if entry is not None and entry.state in OPEN:
            return Duplicate(record.seq, entry.state, same, None)
        found = self._uncollected_row(record.seq)
        if found is None:
            return Duplicate(record.seq, State.UNKNOWN if entry is None else entry.state, same, None)
        return Duplicate(record.seq, State(found.ending.state), same, found.ending)

    def _same_body(self, record: KeyRecord, intent: Intent) -> bool:
        if record.digest == body_digest(unsigned(intent)):
            return True
        if not intent.fields:
            return False
        # a bot that signs itself repeats a request with a new timestamp: the order decides
        entry = self._shelf.get(record.seq)
        first = entry.intent if entry is not None else self._stored_intent(record.seq)
        return first is not None and bool(first.fields) and fingerprint(first.fields) == fingerprint(intent.fields)

    def equal_unknown(
        self, venue: str, symbol: str, side: str, fields: Mapping[str, Any], *, is_entry: bool = True
    ) -> Refusal | Wait | None:
        """Rule 1 without recording anything: refused as equal, to wait behind others, or free (None)."""
        return self._admission.stand(venue, symbol, side, fingerprint(fields), is_entry=is_entry)

    def uncollected(self, bot_id: str, limit: int = 100) -> list[Uncollected]:
        """The oldest outcomes the bot has not acknowledged. Reads the file: some milliseconds."""
        found = (self._uncollected_row(seq) for seq in self._collecting.of(bot_id)[:limit])
        return [one for one in found if one is not None]

    def _uncollected_row(self, seq: int) -> Uncollected | None:
        row = self._row(seq)
        if row is None:
            return None
        payload, raw = row
        raw = self._journal.unwritten_ending(seq) or raw
        if raw is None:
            return None
        written = read_payload(payload)
        i = written.intent
        return Uncollected(seq, i.key, i.request_id, i.client_order_id, written.queued, read_ending(raw))

    def _row(self, seq: int) -> tuple[bytes, bytes | None] | None:
        unwritten = self._journal.unwritten_row(seq)
        if unwritten is not None:
            return unwritten[7], unwritten[8]
        try:
            rows = self._journal.read("SELECT payload, outcome FROM intents WHERE seq=?", (seq,))
        except StoreFault:
            return None
        return rows[0] if rows else None

    def _stored_intent(self, seq: int) -> Intent | None:
        row = self._row(seq)
        return None if row is None else read_payload(row[0]).intent

    def ack(self, bot_id: str, seqs: Iterable[int]) -> int:
        """The bot's code has these outcomes. Strangers and repeats are no error; how many were new."""
        taken = self._collecting.take(bot_id, seqs)
        self._journal.ack(taken, bot_id)
        return len(taken)

    def stats(self) -> dict[str, Any]:
        """Facts for status and metrics."""
        now = self._clock()
        unknowns = self.unknowns()
        return {
            "open": {s.value: n for s, n in self._shelf.counts.items()},
            "queued": self._waiting.depths(),
            "queued_bytes": self._waiting.bytes,
            "uncollected": self._collecting.counts(),
            "oldest_unknown_s": max((u.since_s for u in unknowns), default=0.0),
            "idempotency_window_s": self._keys.shortened_to_s(now),
            "totals": dict(self._totals),
            **self._journal.stats(),
        }

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Call it every 10 to 50 ms: flush, expiry, checkpoint, the sick disk."""
        now = self._now()
        found = self._journal.tick(now)
        if found is not None:
            self._adopt(found, now)
        if retired := self._journal.take_retired():
            self._collecting.drop(retired)
        late = self._waiting.overdue(now)
        self._expire([entry for entry in late if stale(entry, now, self._settings.clock_jump_max_s)])

    def flush(self) -> None:
        """Write what is batched, now."""
        self._journal.flush()

    def checkpoint(self) -> bool:
        """Start a checkpoint now; False if one is under way."""
        return self._journal.checkpoint(self._now())

    def close(self) -> None:
        """Write what is left and close. Nothing is accepted afterwards; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._journal.close()
