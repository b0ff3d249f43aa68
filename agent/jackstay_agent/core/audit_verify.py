"""Is an audit log what the agent wrote? Line by line, then against anchors; every fault with its place.

What can be seen is said, and what cannot is said too: without the key a seal is unchecked, without anchors a cut tail
and a log written anew by a key's owner look intact. What the agent itself recorded (a line torn by its own death,
files that retention removed) is no fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from .audit_chain import GENESIS, Anchor, link, seal_of, taken

FAULTS_MAX = 1000


class Fault(StrEnum):
    ALTERED = "altered"  # its bytes are not what was sealed
    BAD_SEAL = "bad_seal"  # its hash was not sealed with this key
    MISSING = "missing"  # lines before it are gone
    OUT_OF_ORDER = "out_of_order"  # it stands after a later one
    UNREADABLE = "unreadable"  # no line of this log
    HEAD_CUT = "head_cut"  # the log begins later than it should
    REWRITTEN = "rewritten"  # an anchor knows another line of that number
    TAIL_CUT = "tail_cut"  # an anchor knows a line after the last one
    OTHER_LOG = "other_log"  # an anchor belongs to another log


@dataclass(frozen=True, slots=True)
class Found:
    """One fault. ``seq``: the line's number as far as it can be told; ``where``: file and line of the file."""

    fault: Fault
    seq: int
    where: str
    what: str


@dataclass(slots=True)
class Report:
    """What verification found. ``ok``: nothing is wrong as far as could be seen; ``notes`` say how far that is."""

    lines: int = 0
    first: int = 0
    last: int = 0
    log: str = ""
    last_hash: str = GENESIS
    seals_checked: bool = False
    anchors: int = 0
    anchored_to: Anchor | None = None
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.found

    @property
    def unanchored(self) -> int:
        return self.last - self.anchored_to.seq if self.anchored_to is not None else self.lines


class Verifier:
    """Feed it every line in the order of the files, then ask for the report."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self.report = Report(seals_checked=key is not None)
        self._hash: str | None = None  # of the line before; None: not to be had
        self._hashes: dict[int, str] = {}
        self._wanted: set[int] = set()
        self._torn: tuple[str, str] | None = None  # where, and the digest of what could not be read
        self._retired: dict[int, str] = {}  # last number of a removed stretch -> its hash
        self._head: tuple[int, str, str] | None = None  # number, hash it chains to, where

    def expect(self, anchors: Iterable[Anchor]) -> None:
        """Keep the hashes of these lines; a log may be longer than memory."""
        self._wanted.update(anchor.seq for anchor in anchors)

    def line(self, raw: bytes, where: str) -> None:
        """One line without its newline."""
        parts = taken(raw)
        record: Any = None
        if parts is not None:
            try:
                record = msgspec.json.decode(parts.body)
            except msgspec.DecodeError:
                record = None
        if parts is None or not isinstance(record, dict) or not isinstance(record.get("seq"), int):
            self._unreadable(raw, where)
            return
        seq = record["seq"]
        self._settle_torn(record)
        sealed_well = self._key is None or seal_of(self._key, parts.hash) == parts.seal
        if not sealed_well:
            self._fault(Fault.BAD_SEAL, seq, where, "its seal does not fit: written or changed without the key")
        self._place(record, seq, parts.body, parts.hash, where, sealed_well)
        self._hash = parts.hash
        report = self.report
        report.lines += 1
        report.last, report.last_hash = seq, parts.hash
        if seq in self._wanted:
            self._hashes[seq] = parts.hash
        self._remember(record)

    def _place(
        self, record: dict[str, Any], seq: int, body: bytes, line_hash: str, where: str, sealed_well: bool
    ) -> None:
        """Its number and its hash against the line before."""
        report = self.report
        if report.lines == 0:
            report.first = seq
            before = str(record.get("prev", "")) if seq > 1 else GENESIS
            self._head = (seq, before, where)
            if before and link(before, body) != line_hash and sealed_well:
                self._fault(Fault.ALTERED, seq, where, "its bytes are not what was sealed")
            return
        expected = report.last + 1
        if seq > expected:
            gone = f"line {expected} is" if seq == expected + 1 else f"lines {expected} to {seq - 1} are"
            self._fault(Fault.MISSING, seq, where, f"{gone} missing before it")
        elif seq < expected:
            self._fault(Fault.OUT_OF_ORDER, seq, where, f"it stands after line {report.last}: moved or repeated")
        elif self._hash is not None and link(self._hash, body) != line_hash and sealed_well:
            self._fault(Fault.ALTERED, seq, where, "its bytes, or its place, are not what was sealed")

    def _remember(self, record: dict[str, Any]) -> None:
        kind = record.get("kind")
        if kind == "audit.opened":
            self.report.log = str(record.get("log", ""))
        elif kind == "audit.recovered" and record.get("file"):
            self.report.notes.append(f"{record['file']} holds a first line torn by the agent's death: put aside, noted")
        elif kind == "audit.retired":
            self._retired[int(record.get("last", 0))] = str(record.get("last_hash", ""))

    def _unreadable(self, raw: bytes, where: str) -> None:
        self._flush_torn()
        self._torn = (where, hashlib.sha256(raw).hexdigest())

    def _settle_torn(self, record: dict[str, Any]) -> None:
        """A torn line is the agent's own death, if the agent noted exactly that one when it came back."""
        if self._torn is None:
            return
        if record.get("kind") == "audit.recovered" and record.get("torn_sha256") == self._torn[1]:
            self.report.notes.append(f"{self._torn[0]}: a line torn by the agent's death, noted when it came back")
            self._torn = None
        else:
            self._flush_torn()

    def _flush_torn(self) -> None:
        if self._torn is not None:
            where, _digest = self._torn
            self._fault(Fault.UNREADABLE, self.report.last + 1, where, "no line of an audit log")
            self._torn = None

    def _fault(self, fault: Fault, seq: int, where: str, what: str) -> None:
        if len(self.report.found) < FAULTS_MAX:
            self.report.found.append(Found(fault, seq, where, what))

    # ---- the end

    def finish(self, anchors: Sequence[Anchor] = (), *, open_end: bytes = b"") -> Report:
        """``open_end``: bytes after the last newline; the agent may be writing them, or died over them."""
        report = self.report
        if open_end:
            report.notes.append(f"{len(open_end)} bytes at the end are an unfinished line: not judged")
        self._flush_torn()
        if self._head is not None and self._head[0] > 1:
            self._check_head(*self._head)
        if self._key is None:
            report.notes.append("the seals are unchecked: the key cannot be read here")
        self._against(anchors)
        return report

    def _check_head(self, seq: int, before: str, where: str) -> None:
        if self._retired.get(seq - 1) == before and before:
            self.report.notes.append(f"lines before {seq} were removed by retention, as the log itself records")
        else:
            self._fault(Fault.HEAD_CUT, seq, where, f"the log begins at line {seq}, and nothing in it tells why")

    def _against(self, anchors: Sequence[Anchor]) -> None:
        report = self.report
        if not anchors:
            report.notes.append("no anchors were given: a cut tail or a complete rewrite could not be seen")
            return
        for anchor in sorted(anchors, key=lambda each: each.seq):
            report.anchors += 1
            if report.log and anchor.log and anchor.log != report.log:
                self._fault(
                    Fault.OTHER_LOG, anchor.seq, "anchor", f"an anchor of log {anchor.log}; this is {report.log}"
                )
            elif anchor.seq > report.last:
                words = f"the log ends at line {report.last}, an anchor knows line {anchor.seq}"
                self._fault(Fault.TAIL_CUT, anchor.seq, "anchor", words)
            elif anchor.seq < report.first:
                continue  # retention has it
            elif self._hashes.get(anchor.seq) != anchor.hash:
                self._fault(Fault.REWRITTEN, anchor.seq, "anchor", "an anchor knows another line of this number")
            else:
                report.anchored_to = anchor
