"""The outbox's face: what is written down before the first byte, and what becomes of it.

Single-threaded: every method is called where the outbox lives (the agent's loop) and returns at once; blocking work
goes through ``run_blocking``. Three callbacks speak for what happens between calls: ``on_event`` (facts for status
and log), ``on_settled`` (what expired, was dropped or was settled by evidence: waiters wake, bots are told) and
``on_free`` (a sick disk healed: what was refused or held back for it may be tried again).

Refuses to know how to send, whom to ask at the venue, and what an answer means.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jackstay_agent.core.equality import fingerprint
from jackstay_agent.core.evidence import Evidence, Patience, Search, weigh
from jackstay_agent.core.intent import OPEN, Event, State
from jackstay_agent.core.ttl import Stamp, age
from jackstay_protocols.errors import Outcome, Reason

from .journal import Journal, Kept
from .records import Admitted, Duplicate, Ending, Intent, OpenIntent, Refusal, Settled, Uncollected, Unknown, Wait
from .recovery import stale
from .rows import read_ending, read_payload, tells_of
from .schema import Connect, StoreFault
from .sending import Sending
from .settings import OutboxSettings
from .store import Done, RunBlocking, run_inline

_EVENTS = {
    Outcome.OK: Event.OK,
    Outcome.REJECTED: Event.REJECTED,
    Outcome.FAILED: Event.FAILED,
    Outcome.UNKNOWN: Event.NO_ANSWER,
}


def _ignore(*_: object) -> None:
    """A callback nobody gave."""


class Outbox(Sending):
    """See the module. Made by `Outbox.open`."""

    #: The disk was too sick at the start and gave the file up only now: what it held is known from here on.
    on_late_file: Callable[[], None] = staticmethod(_ignore)

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
        return admitted if isinstance(admitted, (Refusal, Wait)) else admitted[0]

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
        names = [(i.venue, i.client_order_id) for i in intents if i.client_order_id]
        if len(set(names)) < len(names):
            return Refusal(Reason.DUPLICATE, "two items of one batch have the same client order id; each needs its own")
        for intent in intents:
            no: Refusal | Wait | None = self._admission.refuse(intent, now, self._journal.fault)
            no = no or self._admission.room_direct(intent, len(intents)) or self._admission.rule_one(intent)
            if isinstance(no, Refusal):
                return no
            wait = wait or no
        return wait

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
        why: str = "",
    ) -> Settled | None:
        """The answer to what was sent, or UNKNOWN for its absence. Batched. None: it is too long settled to matter.

        FAILED also ends what is queued and may never leave.
        """
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
            why=why,
            finished_wall=self._wall(),
        )
        return self._apply(entry, _EVENTS[outcome], ending)

    def left(self, seqs: Iterable[int]) -> None:
        """Their caller left while they are under way: to its bot they are unknown (rule 1)."""
        for seq in seqs:
            if (entry := self._shelf.get(seq)) is not None:
                self._shelf.doubt(entry)

    def resolve(
        self,
        seq: int,
        evidence: Evidence,
        patience: Patience | None = None,
        *,
        status: int | None = None,
        reply: bytes = b"",
    ) -> Settled | None:
        """Weigh what the venue or a person said. `Settled.final` says whether that settled it. None: no such intent.

        ``status`` and ``reply``: the venue's answer that shows it, kept as its outcome.
        Evidence about what is queued or under way counts as well: a pending retry is dead afterwards.
        """
        entry = self._shelf.get(seq)
        if entry is None:
            return None
        search = entry.search or Search(self._clock(), 0.0, entry.intent.family)
        weighed = weigh(self._dated(entry, search), evidence, patience or Patience())
        entry.search = weighed.search
        event = weighed.event
        if event is None or (
            event in (Event.NOT_FOUND, Event.SAID_DONE, Event.SAID_ABSENT) and entry.state != "unknown"
        ):
            why = weighed.why if event is None else f"it is {entry.state.value}: {weighed.why}"
            ended = entry.state not in OPEN
            return Settled(seq, entry.intent.bot_id, entry.state, entry.ending, why, ended, queued=entry.queued)
        kept = reply[: self._settings.reply_bytes_max] if event is Event.FOUND else b""
        ending = Ending(
            "",
            status if kept else None,
            kept,
            len(kept) < len(reply) and bool(kept),
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

    def is_unknown(self, venue: str, client_order_id: str) -> bool:
        """Whether an order of that id is waiting for evidence."""
        return any(each.state is State.UNKNOWN for each in self._shelf.by_client_id(venue, client_order_id))

    def saw(
        self,
        venue: str,
        client_order_id: str,
        evidence: Evidence,
        patience: Patience | None = None,
        *,
        status: int | None = None,
        reply: bytes = b"",
    ) -> Settled | None:
        """Evidence found by its client order id (a stream event, a list): the newest intent of that id it can be about.

        None: no open or lately settled intent has that id, as for nearly every event of an order long done.
        """
        offset_s = (patience or Patience()).clock_offset_s
        for entry in reversed(self._shelf.by_client_id(venue, client_order_id)):
            sent_wall = self._dated(entry, Search(0.0, 0.0)).sent_wall
            if evidence.created_at is None or evidence.created_at >= sent_wall - offset_s:
                return self.resolve(entry.seq, evidence, patience, status=status, reply=reply)
        return None

    def unknowns(self) -> list[Unknown]:
        """Everything the venue has to be asked about, oldest first."""
        now = self._clock()
        found = [e for e in self._shelf.open_entries() if e.state is State.UNKNOWN]
        for entry in found:
            entry.search = self._dated(entry, entry.search or Search(now, 0.0, entry.intent.family))
        return [Unknown(e.seq, e.intent, e.search or Search(now, 0.0), now - e.unknown_at) for e in found]

    # -- questions ---------------------------------------------------------------------------------------------------

    def find_duplicate(self, bot_id: str, key: str, intent: Intent | None = None) -> Duplicate | None:
        """What became of the request that had this key, within the idempotency window."""
        record = self._keys.find(bot_id, key, self._clock())
        if record is None:
            return None
        same = intent is None or self._same_body(record, intent)
        entry = self._shelf.get(record.seq)
        if entry is not None:
            return Duplicate(record.seq, entry.state, same, None if entry.state in OPEN else entry.ending)
        found = self._uncollected_row(record.seq)
        if found is None:  # the file cannot be read now: that it was here is all that can be said
            return Duplicate(record.seq, State.UNKNOWN, same, None)
        return Duplicate(record.seq, State(found.ending.state), same, found.ending)

    def intent(self, seq: int) -> Intent | None:
        """An open or lately settled one."""
        entry = self._shelf.get(seq)
        return None if entry is None else entry.intent

    def written(self, seq: int) -> Intent | None:
        """As it was written down; also one long settled. Reads the file: rare questions only."""
        return self._stored_intent(seq)

    def is_uncollected(self, bot_id: str, seq: int) -> bool:
        """Whether the bot's code has not acknowledged its outcome yet."""
        return self._collecting.has(bot_id, seq)

    def uncollected_numbers(self, bot_id: str) -> list[int]:
        """Which outcomes the bot has not acknowledged, oldest first."""
        return self._collecting.of(bot_id)

    def count(self, state: State) -> int:
        """How many intents are in this state; costs nothing."""
        return self._shelf.counts.get(state, 0)

    def queued(self) -> dict[str, int]:
        """How many wait, by connection."""
        return self._waiting.depths()

    def other_equals(self, seq: int) -> int:
        """How many other equal orders are under way or unknown: lists cannot tell them apart."""
        entry = self._shelf.get(seq)
        if entry is None:
            return 0
        i, print_ = entry.intent, fingerprint(entry.intent.fields)
        return sum(
            each.seq != seq
            and each.state is not State.RECORDED
            and (each.intent.venue, each.intent.symbol, each.intent.side) == (i.venue, i.symbol, i.side)
            and fingerprint(each.intent.fields) == print_
            for each in self._shelf.open_entries()
        )

    def knows_order(self, seq: int, venue_id: str, client_id: str, keys: Collection[str]) -> bool:
        """Whether the venue's order ``venue_id`` is another intent's than ``seq``: by what was found or answered.

        ``keys``: under which names the venue's ids stand in its answers. In doubt (a cut reply) it is another's.
        """
        self._journal.flush()
        if client_id and any(each != seq for each in self.search(client_id)):
            return True
        try:
            rows = self._journal.read(
                "SELECT outcome FROM intents WHERE seq != ? AND instr(outcome, ?) > 0 ORDER BY seq DESC LIMIT 64",
                (seq, venue_id.encode()),
            )
        except StoreFault:
            return True
        return any(tells_of(read_ending(raw), venue_id, keys) for (raw,) in rows)

    @property
    def youngest(self) -> int:
        """The highest number given so far."""
        return self._next - 1

    def state(self, seq: int) -> State | None:
        """Of an open or lately settled one."""
        entry = self._shelf.get(seq)
        return None if entry is None else entry.state

    def open_intents(self) -> list[OpenIntent]:
        """Everything queued, under way or unknown, oldest first: for the queue and order commands."""
        now = self._now()
        return [
            OpenIntent(e.seq, e.state, e.intent, e.queued, e.held, e.attempts, age(e.recorded, now).seconds)
            for e in sorted(self._shelf.open_entries(), key=lambda e: e.seq)
        ]

    def story(self, seq: int) -> dict[str, Any] | None:
        """All that is kept about one intent, also a settled one: for `why` and exports. No secrets are in it."""
        row = self._row(seq)
        if row is None:
            return None
        written = read_payload(row[0])
        entry, raw = self._shelf.get(seq), self._journal.unwritten_ending(seq) or row[1]
        ending = read_ending(raw) if raw is not None else None
        state = entry.state if entry is not None else State(ending.state) if ending is not None else State.UNKNOWN
        return {
            "seq": seq,
            "state": state.value,
            "queued": written.queued,
            "recorded_wall": written.wall_s,
            "intent": msgspec.structs.asdict(written.intent),
            "ending": None if ending is None else msgspec.structs.asdict(ending),
        }

    def search(self, word: str, limit: int = 10) -> list[int]:
        """Intents of that number, client order id or idempotency key that are still kept, newest first."""
        own = [int(word)] if word.isascii() and word.isdecimal() and self._row(int(word)) is not None else []
        self._journal.flush()
        try:
            rows = self._journal.read(
                "SELECT seq FROM intents WHERE instr(payload, ?) > 0 ORDER BY seq DESC LIMIT ?",
                (word.encode(), 16 * limit),
            )
        except StoreFault:
            return own
        for (seq,) in rows:
            story = self.story(seq)
            if story is not None and word in (story["intent"]["client_order_id"], story["intent"]["key"]):
                own.append(seq)
        return own[:limit]

    def export(self, after: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """Stories in the order of recording, page by page: ask again with the last ``seq`` until the page is empty."""
        self._journal.flush()
        try:
            rows = self._journal.read("SELECT seq FROM intents WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        except StoreFault:
            return []
        return [story for (seq,) in rows if (story := self.story(seq)) is not None]

    def equal_unknown(
        self, venue: str, symbol: str, side: str, fields: Mapping[str, Any], *, is_entry: bool = True
    ) -> Refusal | Wait | None:
        """Rule 1 without recording anything: refused as equal, to wait behind others, or free (None)."""
        if not self._shelf.is_side_unknown(venue, symbol, side):  # the usual case: no fingerprint is needed
            return None
        return self._admission.stand(venue, symbol, side, fingerprint(fields), is_entry=is_entry)

    def uncollected(self, bot_id: str, limit: int = 100) -> list[Uncollected]:
        """The oldest outcomes the bot has not acknowledged. Reads the file: some milliseconds."""
        found = (self._uncollected_row(seq) for seq in self._collecting.of(bot_id)[:limit])
        return [one for one in found if one is not None]

    def one_uncollected(self, seq: int) -> Uncollected | None:
        """The outcome of one of them."""
        return self._uncollected_row(seq)

    def found_late(self, limit: int = 200) -> list[tuple[int, Intent]]:
        """Orders that exist and whose bots have not acknowledged it: they may believe them unknown. For a start.

        Also those whose answer had come: what a stopped bot had not read when the agent died, it never will.
        """
        found = []
        for bot_id in self._collecting.counts():
            for seq in self._collecting.of(bot_id)[-limit:]:
                one, intent = self._uncollected_row(seq), self._stored_intent(seq)
                if one is None or intent is None or not intent.fields:
                    continue
                if one.ending.state == State.DONE.value and one.ending.source != "agent":
                    found.append((seq, intent))
        return found

    def ack(self, bot_id: str, seqs: Iterable[int]) -> int:
        """The bot's code has these outcomes. Strangers and repeats are no error; how many were new."""
        taken = self._collecting.take(bot_id, seqs)
        if taken:
            self._journal.ack(taken, bot_id)
            self.on_stir()
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
        """Call it every 10 to 50 ms (`at_rest`: now and then): flush, expiry, checkpoint, the sick disk."""
        if self._closed:
            return
        now = self._now()
        found = self._journal.tick(now)
        if found is not None:
            self._adopt(found, now)
            self.on_late_file()
        if retired := self._journal.take_retired():
            self._collecting.drop(retired)
        late = self._waiting.overdue(now)
        self._expire([entry for entry in late if stale(entry, now, self._settings.clock_jump_max_s)])

    def at_rest(self) -> bool:
        """Nothing is open, batched or amiss: until the next record only housekeeping can be due."""
        return not len(self._shelf) and self._journal.at_rest

    def flush(self) -> None:
        """Write what is batched, now."""
        self._journal.flush()

    def checkpoint(self) -> bool:
        """Start a checkpoint now; False if one is under way."""
        return self._journal.checkpoint(self._now())

    def copy_to(self, target: Path, done: Callable[[BaseException | None], None]) -> None:
        """A consistent copy of the file at ``target``, mode 0600; ``done`` hears None or the fault.

        Orders go on meanwhile. Made for a look by another version: nobody may put it in this file's place later.
        """
        self._journal.copy_to(target, done)

    def close(self) -> None:
        """Write what is left and close. Nothing is accepted afterwards; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._journal.close()
