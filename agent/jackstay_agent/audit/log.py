"""`AuditLog`: hears what happened, makes sealed lines of it, and has them written beside the loop.

Hearing costs an append. Lines are made on the loop a few at a time (a thread would hold the interpreter for longer)
and written, synced, rotated and removed on one thread. While the disk takes nothing, lines wait in memory, entries
are refused (``on_full``) and what reduces risk passes; lines beyond the bound are lost, counted, and the log says so
itself. A death loses at most the lines of the last ``flush_after_s``; what was half written is found and noted at the
next start.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jackstay_protocols.messages import Refusal

from ..audit_settings import REFUSE_ENTRIES, AuditSettings
from ..clock_quality import kernel_offset
from ..core.audit_chain import GENESIS, Anchor, sealed
from ..core.event_sink import EventSink
from ..outbox import Intent, Settled
from ..outbox.store import RunBlocking
from ..telling import Answered, Asked, Attempt, Listener
from . import records
from .key import own_key
from .records import CHANGES_NOTHING, Record
from .shelf import End, Retired, Shelf, file_name

SLICE_LINES = 8  # made per turn of the loop: about 0.3 ms
RETRY_S = 2.0
RETENTION_EVERY_S = 3600.0
EVENTS_PER_S_MAX = 50  # of one name; more of them become one line with their count
NAMES_MAX = 1000  # whose repeats are counted at a time
OFFSET_FRESH_S = 5.0

Make = Callable[..., Record]


class Chunk:
    """Lines on their way into one file. ``after``: what may be done once they are on the disk."""

    __slots__ = ("after", "data", "done", "hash", "lines", "path", "seq")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray()
        self.done = 0
        self.lines = 0
        self.seq = 0
        self.hash = GENESIS
        self.after: list[Callable[[], None]] = []


class AuditLog(Listener):
    """One agent's audit log. `open` before the first fact; `close` after the last."""

    def __init__(
        self,
        settings: AuditSettings,
        *,
        folder: Path,
        key_path: Path,
        agent: str,
        version: str,
        boot_id: str,
        pid: int,
        wall: Callable[[], float],
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
        runner: Callable[[Executor], RunBlocking],
        on_event: EventSink,
        on_anchor: Callable[[Anchor], None] = lambda _anchor: None,
        venue_offset_ms: Callable[[str], float | None] = lambda _venue: None,
        executor: Executor | None = None,
    ) -> None:
        self.settings = settings
        self.key_path = key_path
        self._who = {"agent": agent, "version": version, "pid": pid, "boot_id": boot_id}
        self._shelf = Shelf(folder)
        self._wall, self._clock, self._call_later = wall, clock, call_later
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._run = runner(self._executor)
        self._on_event, self._on_anchor, self._venue_offset_ms = on_event, on_anchor, venue_offset_ms
        self._key = b""
        self._log = ""
        self._seq, self._hash = 0, GENESIS
        self._path: Path | None = None
        self._size, self._opened_us = 0, 0
        self._heard: deque[tuple[int, Make, tuple[Any, ...]]] = deque()
        self._chunks: deque[Chunk] = deque()
        self._waiting = 0  # lines made and not written
        self._timers: dict[str, Any] = {}
        self._writing = self._closed = self._dirty = False
        self._busy = 0  # how many of the chunks the thread is writing
        self._trouble = "not opened"
        self._synced_at = self._last_anchor = 0.0
        self.written = Anchor("", 0, GENESIS, 0)
        self.anchored = Anchor("", 0, GENESIS, 0)
        self._names: dict[str, list[int]] = {}
        self._offset: tuple[float, float | None, str] = (float("-inf"), None, "unknown")
        self.counters = dict.fromkeys(("lines", "lost", "unreadable", "collapsed", "write_failures"), 0)
        self._lost_untold = 0

    # ---- start and end

    def open(self) -> None:
        """Find the end of the log and go on there. A disk that takes nothing is no error: the log is degraded then.

        Raises SecurityError for a key that others may read, ValidationError for one that is none.
        """
        try:
            self._shelf.prepare()
            self.key_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._key = own_key(self.key_path)
            end = self._shelf.end(self._key)
        except OSError as error:
            self._degrade(f"{error.strerror or error}: {error.filename or self._shelf.folder}")
            self._later("open", RETRY_S, self._open_again)
            return
        self._trouble = ""
        self._go_on(end)
        self._later("anchor", self.settings.anchor_every_s, self._anchor_due)
        self._later("retention", 1.0, self._retention_due)
        self._flush()

    def _open_again(self) -> None:
        if self._trouble and not self._key:
            self.open()

    def _go_on(self, end: End) -> None:
        self._seq, self._hash = end.seq, end.hash
        self._log = end.log or os.urandom(8).hex()
        at_us = int(self._wall() * 1e6)
        if end.path is None:
            self._new_file(at_us)
        else:
            self._path, self._size, self._opened_us = end.path, end.size, end.opened_us
            if end.mend:
                self._chunk().data += end.mend
            if end.torn_bytes:
                self._recovered(at_us, end.torn_bytes, end.torn_sha256)
            if not end.sealed_by_us:
                self._on_event("audit.other_key", {"key": str(self.key_path), "last": end.seq})
        for each in end.aside:
            self._recovered(at_us, each.bytes, each.sha256, file=each.name)
        self._line(at_us, {"kind": "audit.started", **self._who})

    def _recovered(self, at_us: int, torn_bytes: int, sha256: str, **more: str) -> None:
        self._line(at_us, {"kind": "audit.recovered", "torn_bytes": torn_bytes, "torn_sha256": sha256, **more})

    def close(self) -> None:
        """Everything heard is on the disk when this returns, or the loss is counted."""
        if self._closed:
            return
        self._tell_all_collapsed()
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._executor.submit(lambda: None).result()  # what is being written is written
        if self._key:
            self._make(len(self._heard))
            self._chunks_done()
            try:
                self._write_chunks(sync=self.settings.fsync != "never")
            except OSError:
                self.counters["write_failures"] += 1
            self._chunks_done()
            self._tell_anchor()
        self._shelf.close()
        self._executor.shutdown()

    # ---- hearing

    def decided(self, asked: Asked, refusal: Refusal | None) -> None:
        if asked.kind not in CHANGES_NOTHING or (refusal is not None and self.settings.requests == "all"):
            self._take(records.decision, asked, refusal)

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        if asked.own:
            self._take(records.own_question, asked, attempt)

    def answered(self, asked: Asked, answer: Answered) -> None:
        if asked.kind not in CHANGES_NOTHING or self.settings.requests == "all":
            self._take(records.outcome, asked, answer)

    def settled(self, intent: Intent | None, settled: Settled) -> None:
        self._take(records.settled_late, intent, settled)

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name.startswith("audit."):
            return  # its own anchors and troubles are lines of their own kind
        second = wall_us // 1_000_000
        seen = self._names.get(name)
        if seen is None or seen[0] != second:
            self._tell_collapsed(name, seen)
            if len(self._names) >= NAMES_MAX:
                self._tell_all_collapsed()
            seen = self._names[name] = [second, 0]
        seen[1] += 1
        if seen[1] <= EVENTS_PER_S_MAX:
            self._take(records.event, name, fields)
        elif "collapsed" not in self._timers:
            self._later("collapsed", 1.0, self._tell_all_collapsed)

    def _tell_collapsed(self, name: str, seen: list[int] | None) -> None:
        if seen is not None and seen[1] > EVENTS_PER_S_MAX:
            more = seen[1] - EVENTS_PER_S_MAX
            self.counters["collapsed"] += more
            self._take(_collapsed, name, more, seen[0])

    def _tell_all_collapsed(self) -> None:
        """Every name's count, before it is forgotten."""
        names, self._names = self._names, {}
        for name, seen in names.items():
            self._tell_collapsed(name, seen)

    def _take(self, make: Make, *facts: Any) -> None:
        if len(self._heard) + self._waiting >= self.settings.waiting_lines_max:
            self.counters["lost"] += 1
            self._lost_untold += 1
            return
        self._heard.append((int(self._wall() * 1e6), make, facts))
        if "flush" not in self._timers:
            self._later("flush", self.settings.flush_after_s, self._flush)

    # ---- making lines

    def _flush(self) -> None:
        if not self._key or self._closed:
            return
        self._make(SLICE_LINES)
        if self._heard and "flush" not in self._timers:
            self._later("flush", 0.0, self._flush)
        self._write()

    def _make(self, lines: int) -> None:
        while self._heard and lines:
            lines -= 1
            at_us, make, facts = self._heard.popleft()
            try:
                record = make(*facts)
                self._line(at_us, record)
            except Exception as error:  # a fact that cannot be shown is a fact all the same
                self.counters["unreadable"] += 1
                self._line(
                    at_us,
                    {"kind": "unreadable", "of": make.__name__, "error": f"{type(error).__name__}: {error}"[:200]},
                )

    def _line(self, at_us: int, record: Record) -> None:
        if self._lost_untold:
            lost, self._lost_untold = self._lost_untold, 0
            self._line(at_us, {"kind": "audit.lost", "lines": lost})
        if self._path is None or self._size >= self.settings.rotate_bytes or self._too_old(at_us):
            self._new_file(at_us)
        self._put(at_us, record | self._clock_words(str(record.get("venue", ""))))

    def _too_old(self, at_us: int) -> bool:
        return at_us - self._opened_us >= self.settings.rotate_s * 1e6

    def _new_file(self, at_us: int) -> None:
        first = self._path is None
        self._path = self._shelf.folder / file_name(self._seq + 1, at_us)
        self._size, self._opened_us = 0, at_us
        self._put(
            at_us, {"kind": "audit.opened", "log": self._log, "prev": self._hash, **self._who} | self._clock_words("")
        )
        if not first:
            self._later("retention", 0.0, self._retention_due)

    def _put(self, at_us: int, record: Record) -> None:
        self._seq += 1
        line, self._hash = sealed({"seq": self._seq, "at_us": at_us, **record}, self._hash, self._key)
        chunk = self._chunk()
        chunk.data += line
        chunk.data += b"\n"
        chunk.lines += 1
        chunk.seq, chunk.hash = self._seq, self._hash
        self._waiting += 1
        self._size += len(line) + 1
        self.counters["lines"] += 1

    def _chunk(self) -> Chunk:
        """The one that takes more: the last, unless it is being written or belongs to another file."""
        assert self._path is not None
        being_written = self._writing and len(self._chunks) <= self._busy
        if not self._chunks or self._chunks[-1].path != self._path or being_written:
            self._chunks.append(Chunk(self._path))
        return self._chunks[-1]

    def _clock_words(self, venue: str) -> Record:
        """How far this machine's clock is off, and by whose word."""
        if venue:
            offset_ms = self._venue_offset_ms(venue)
            if offset_ms is not None:
                return {"off_ms": round(offset_ms, 1), "off_from": venue}
        now = self._clock()
        if now - self._offset[0] > OFFSET_FRESH_S:
            self._offset = (now, *kernel_offset())
        return {"off_ms": None if self._offset[1] is None else round(self._offset[1], 3), "off_from": self._offset[2]}

    # ---- writing, beside the loop

    def _write(self) -> None:
        if self._writing or self._closed or not self._chunks:
            return
        self._writing = True
        policy = self.settings.fsync
        sync = policy == "always" or (
            policy == "interval" and self._clock() - self._synced_at >= self.settings.fsync_every_s
        )
        self._busy = len(self._chunks)
        self._run(lambda: self._write_chunks(sync=sync, count=self._busy), self._written)

    def _write_chunks(self, *, sync: bool, count: int | None = None) -> None:
        """On the thread. Raises OSError when the disk takes no more; what was written is noted in the chunks."""
        for chunk in list(self._chunks)[: count if count is not None else len(self._chunks)]:
            while chunk.done < len(chunk.data):
                chunk.done += self._shelf.append(chunk.path, bytes(chunk.data[chunk.done :]))
            if chunk.after:
                self._shelf.sync()
                for act in chunk.after:
                    act()
                chunk.after.clear()
            self._dirty = True
        if sync and self._dirty:
            self._shelf.sync()
            self._dirty = False
            self._synced_at = self._clock()

    def _written(self, error: BaseException | None) -> None:
        self._writing = False
        if self._closed:
            return
        self._chunks_done()
        if error is not None:
            self.counters["write_failures"] += 1
            self._degrade(str(getattr(error, "strerror", None) or error))
            self._later("retry", RETRY_S, self._write)
            return
        if self._trouble:
            self._trouble = ""
            self._on_event("audit.healed", {"lost": self.counters["lost"], "waiting": self._waiting})
        if self._chunks:
            self._write()
        elif self._dirty and self.settings.fsync == "interval" and "sync" not in self._timers:
            self._later("sync", self.settings.fsync_every_s, self._sync)

    def _chunks_done(self) -> None:
        while self._chunks and self._chunks[0].done == len(self._chunks[0].data):
            chunk = self._chunks.popleft()
            self._waiting -= chunk.lines
            if chunk.lines:
                self.written = Anchor(self._log, chunk.seq, chunk.hash, int(self._wall() * 1e6))

    def _sync(self, then: Callable[[], None] = lambda: None) -> None:
        def done(error: BaseException | None) -> None:
            if error is not None:
                self._degrade(str(error))
            elif not self._closed:
                then()

        def work() -> None:
            self._shelf.sync()
            self._dirty = False
            self._synced_at = self._clock()

        self._run(work, done)

    def _degrade(self, why: str) -> None:
        if self._trouble != why:
            self._trouble = why
            self._on_event("audit.degraded", {"why": why, "waiting": self._waiting, "entries": self.settings.on_full})

    # ---- anchors and retention

    def _anchor_due(self) -> None:
        self._later("anchor", self.settings.anchor_every_s, self._anchor_due)
        if self.written.seq > self.anchored.seq:
            self._sync(self._tell_anchor)

    def _tell_anchor(self) -> None:
        if self.written.seq > self.anchored.seq:
            self.anchored = self.written
            self._on_anchor(self.anchored)

    def _retention_due(self) -> None:
        self._later("retention", RETENTION_EVERY_S, self._retention_due)
        found: list[Retired] = []
        now_us = int(self._wall() * 1e6)
        settings = self.settings

        def work() -> None:
            found.extend(self._shelf.overdue(now_us, settings.retention_days, settings.retention_bytes))

        def done(error: BaseException | None) -> None:
            if error is None and found and not self._closed:
                self._retire(found)

        self._run(work, done)

    def _retire(self, found: list[Retired]) -> None:
        """The log says what it lets go, and that is on the disk before anything is gone."""
        at_us = int(self._wall() * 1e6)
        for each in found:
            self._line(
                at_us,
                {
                    "kind": "audit.retired",
                    "file": each.path.name,
                    "first": each.first,
                    "last": each.last,
                    "last_hash": each.last_hash,
                    "bytes": each.bytes,
                },
            )
        self._chunk().after.append(lambda: self._shelf.remove(found))
        self._on_event("audit.retired", {"files": len(found), "up_to": max(each.last for each in found)})
        self._write()

    # ---- what others ask

    def refusal(self) -> str | None:
        """Why no entry may leave now; None: it may. What reduces risk does not ask."""
        if self.settings.on_full != REFUSE_ENTRIES or not self._trouble:
            return None
        return f"the audit log cannot be written ({self._trouble}); [audit] on_full = refuse_entries"

    def status(self) -> dict[str, Any]:
        return {
            "folder": str(self._shelf.folder),
            "state": f"degraded: {self._trouble}" if self._trouble else "writing",
            "lines": self._seq,
            "waiting": self._waiting + len(self._heard),
            "anchored_to": self.anchored.seq,
            **self.counters,
        }

    def _later(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        """One timer of each name; a new one takes the old one's place."""
        before = self._timers.pop(name, None)
        if before is not None:
            before.cancel()

        def run() -> None:
            self._timers.pop(name, None)
            if not self._closed:
                act()

        self._timers[name] = self._call_later(delay_s, run)


def _collapsed(name: str, count: int, second: int) -> Record:
    return {"kind": "event.collapsed", "event": name, "more": count, "second": second}
