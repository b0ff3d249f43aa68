"""What is known about every intent, in memory and in the file, kept in step.

The lower half of the outbox: recording, moving through the state table, recovering, remembering keys and uncollected
outcomes. It is told what happened and asks nobody; the upper halves (`sending`, `box`) decide what is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zlib import crc32

from jackstay_agent.core.equality import fingerprint
from jackstay_agent.core.evidence import Clock, Search
from jackstay_agent.core.intent import OPEN, Event, State, contradicts, move
from jackstay_agent.core.ttl import Stamp, age_at_least_s, late_until_at
from jackstay_protocols.errors import Reason

from .admission import UNJOURNALED_LANES, Admission
from .collecting import Collecting
from .journal import Journal, Kept
from .keys import KeyRecord, KeyWindow, body_digest
from .records import Ending, Entry, Intent, Refusal, Settled, Uncollected
from .recovery import Recovered
from .rows import read_ending, read_payload, to_row, to_update, unsigned, write_payload
from .schema import StoreFault
from .settings import OutboxSettings
from .shelf import Shelf
from .store import Done
from .waiting import Waiting


class Ledger:
    #: The venue's own time (Unix seconds) at an instant of this boot's clock; None: not measured.
    venue_at: Callable[[str, float], float | None] = staticmethod(lambda _venue, _boot_s: None)
    #: After a rest (`at_rest`) something was written down: there will be something due.
    on_stir: Callable[[], None] = staticmethod(lambda: None)

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
        journal.key_floor = self._keys.floor
        now = self._now()
        # above every number ever given, also after the file was lost: minted client ids must not come again
        self._next = max(1, int(now.wall_s * 1e6))
        self._waiting.overdue(now)
        if (found := journal.attach(now)) is not None:
            self._adopt(found, now)
        else:
            # the file cannot be read yet, and may hold later numbers if the wall clock went back meanwhile: 115 days on
            self._next += 10**13

    def _now(self) -> Stamp:
        return Stamp(self._boot_id, self._clock(), self._wall())

    def _adopt(self, found: Recovered, now: Stamp) -> None:
        """Take over what the file held."""
        self._next = max(self._next, found.seq_max + 1)
        for entry in found.entries:
            self._shelf.put(entry)
            if entry.state is State.RECORDED:
                self._waiting.add(entry)
        for past in found.settled:
            if past.entry is not None:
                self._shelf.remember(past.entry)
            if not past.collected:
                self._retain(past.seq, past.bot_id, queued=past.queued)
        keys = [(p.seq, p.bot_id, p.key, p.digest, p.age_s) for p in found.settled if p.digest]
        keys += [
            (e.seq, e.intent.bot_id, e.intent.key, body_digest(e.intent), age_at_least_s(e.recorded, now))
            for e in found.entries
            if e.intent.key
        ]
        for seq, bot_id, key, digest, since_s in sorted(keys):
            if since_s < self._settings.idempotency_window_s:
                self._keys.add(bot_id, key, KeyRecord(seq, digest, now.boot_s - since_s))
        for seq, why in found.damaged:
            self._totals["damaged_rows"] += 1
            self._on_event("outbox.row_damaged", {"seq": seq, "why": why})
        for entry in found.changed:
            self._journal.change(to_update(entry))
        self._journal.flush()
        self._on_event("outbox.opened", {s.value: n for s, n in self._shelf.counts.items()})

    # -- recording -----------------------------------------------------------------------------------------------------

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
        self.on_stir()
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
        self._journal.ack((entry.seq,), entry.intent.bot_id)  # the refusal told it already

    def _disk_refusal(self, fault: StoreFault | None) -> Refusal:
        return Refusal(
            Reason.DISK,
            f"the outbox cannot write ({fault.fault.value if fault else 'disk'}); nothing was sent: free or repair it",
            self._settings.disk_retry_s,
        )

    # -- moving --------------------------------------------------------------------------------------------------------

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
                self._retain(entry.seq, entry.intent.bot_id, queued=entry.queued)
        return Settled(
            entry.seq, entry.intent.bot_id, after, entry.ending, why, after not in OPEN, contradiction, entry.queued
        )

    def _start_search(self, entry: Entry) -> None:
        sent = entry.sent or entry.recorded
        entry.unknown_at = self._clock()
        late = late_until_at(entry.unknown_at, sent.boot_s, entry.intent.recv_window_s)
        entry.search = self._dated(entry, Search(late, 0.0, entry.intent.family))

    def _dated(self, entry: Entry, search: Search) -> Search:
        """With what is known by now of when it was sent: the venue's clock may have been measured since.

        An order that left in the agent's first second, while our wall clock was ahead, would else look older than
        itself for ever. Within one boot that is mended exactly; after a reboot only the wall clock's word is left, and
        it is wrong where it lies ahead of the venue's time of now.
        """
        if search.clock is Clock.VENUE:
            return search
        intent, sent = entry.intent, entry.sent or entry.recorded
        at = intent.venue_s
        if at is None and sent.boot_id == self._boot_id:
            at = self.venue_at(intent.venue, sent.boot_s)
        if at is not None:
            return replace(search, sent_wall=at, clock=Clock.VENUE)
        at, now = intent.sent_wall(sent.wall_s), self.venue_at(intent.venue, self._clock())
        ahead = now is not None and at > now + self._settings.clock_jump_max_s
        return replace(search, sent_wall=at, clock=Clock.WRONG if ahead else Clock.OURS)

    def _retain(self, seq: int, bot_id: str, *, queued: bool) -> None:
        """Its outcome stays until the bot has acknowledged it."""
        out = self._collecting.add(bot_id, seq, queued=queued)
        if out is not None:
            self._journal.ack((out,), bot_id)

    # -- the file's side of it -----------------------------------------------------------------------------------------

    def _same_body(self, record: KeyRecord, intent: Intent) -> bool:
        if record.digest == body_digest(unsigned(intent)):
            return True
        if not intent.fields:
            return False
        # a bot that signs itself repeats a request with a new timestamp: the order decides
        entry = self._shelf.get(record.seq)
        first = entry.intent if entry is not None else self._stored_intent(record.seq)
        return first is not None and bool(first.fields) and fingerprint(first.fields) == fingerprint(intent.fields)

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
