"""The audit log's files: append, sync, rotate, find the end again, remove what retention lets go. Blocks; no loop here.

One log is a row of files, each named after its first line's number, so that names sort as the log goes. Nothing is ever
cut or rewritten: what a death left torn stays where it is, and the next line says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..core.audit_chain import GENESIS, seal_of, taken

TAIL_BYTES = 4 * 1024 * 1024  # a line is far shorter; the end of a file is looked for in so many bytes
LINE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class End:
    """Where a log ends. ``mend``: bytes that must come first (a newline); ``torn_sha256``: of an unfinished line."""

    path: Path | None
    seq: int = 0
    hash: str = GENESIS
    size: int = 0
    opened_us: int = 0
    log: str = ""
    mend: bytes = b""
    torn_sha256: str = ""
    torn_bytes: int = 0
    sealed_by_us: bool = True


class Retired(NamedTuple):
    """A file that retention removes: its numbers, and the hash its last line left."""

    path: Path
    first: int
    last: int
    last_hash: str
    bytes: int


def files_of(folder: Path) -> list[Path]:
    """The log's files in their order; empty where there is no folder."""
    return sorted(folder.glob("audit-*.jsonl")) if folder.is_dir() else []


def file_name(first_seq: int, at_us: int) -> str:
    return f"audit-{first_seq:012d}-{datetime.fromtimestamp(at_us / 1e6, UTC):%Y%m%dT%H%M%SZ}.jsonl"


def first_of(path: Path) -> tuple[int, str, int, str] | None:
    """Number, hash before, instant and log of a file's first line; None where it cannot be read."""
    with path.open("rb") as file:
        line = file.readline(LINE_BYTES_MAX).rstrip(b"\n")
    parts = taken(line)
    if parts is None:
        return None
    record = msgspec.json.decode(parts.body)
    return int(record["seq"]), str(record.get("prev", "")), int(record["at_us"]), str(record.get("log", ""))


def lines_of(path: Path) -> Iterator[tuple[bytes, int, bool]]:
    """(line without newline, its number in the file, whether it is whole), one after the other."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            yield raw.rstrip(b"\n"), number, raw.endswith(b"\n")


class Shelf:
    """Writes one log. Single-threaded: one thread at a time calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None
        self._path: Path | None = None

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def end(self, key: bytes) -> End:
        """The last whole line of the log, and what stands behind it."""
        torn = b""
        for path in reversed(files_of(self.folder)):
            found = _end_of(path, key)
            if found.seq:
                if torn and not found.torn_bytes:
                    # the newest file holds nothing but a torn first line
                    found = End(path=None, seq=found.seq, hash=found.hash, log=found.log)
                return found
            torn = b"torn"
        return End(None)

    def append(self, path: Path, data: bytes) -> int:
        """How many bytes were written; less than all only when the disk took no more. Raises OSError if none was."""
        if path != self._path:
            self.close()
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._path = path
        assert self._descriptor is not None
        done = 0
        while done < len(data):
            try:
                done += os.write(self._descriptor, data[done:])
            except OSError:
                if done == 0:
                    raise
                break
        return done

    def sync(self) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = self._path = None

    def overdue(self, now_us: int, days: float, bytes_max: int) -> list[Retired]:
        """The oldest files that are older than ``days`` or too much in bytes; never the newest."""
        paths = files_of(self.folder)
        sizes = [path.stat().st_size for path in paths]
        total = sum(sizes)
        found: list[Retired] = []
        for path, following, size in zip(paths, paths[1:], sizes, strict=False):
            here, after = first_of(path), first_of(following)
            if here is None or after is None:
                break
            too_old = now_us - after[2] > days * 86_400e6  # its last line is older than this
            if not too_old and total <= bytes_max:
                break
            found.append(Retired(path, here[0], after[0] - 1, after[1], size))
            total -= size
        return found

    def remove(self, retired: list[Retired]) -> None:
        for each in retired:
            each.path.unlink(missing_ok=True)


def _end_of(path: Path, key: bytes) -> End:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        data = file.read()
    whole, newline, rest = data.rpartition(b"\n")
    if rest and (parts := taken(rest)) is not None and seal_of(key, parts.hash) == parts.seal:
        return _ended(path, rest, size, key, mend=b"\n")  # whole but for its newline
    for line in reversed(whole.split(b"\n")):
        if taken(line) is not None:
            if not rest:
                return _ended(path, line, size, key)
            digest = hashlib.sha256(rest).hexdigest()
            return _ended(path, line, size, key, mend=b"\n", torn_sha256=digest, torn_bytes=len(rest))
    del newline
    return End(path)


def _ended(path: Path, line: bytes, size: int, key: bytes, **more: Any) -> End:
    parts = taken(line)
    assert parts is not None
    record = msgspec.json.decode(parts.body)
    opened = first_of(path)
    return End(
        path=path,
        seq=int(record["seq"]),
        hash=parts.hash,
        size=size,
        opened_us=opened[2] if opened else int(record["at_us"]),
        log=opened[3] if opened else "",
        sealed_by_us=seal_of(key, parts.hash) == parts.seal,
        **more,
    )
