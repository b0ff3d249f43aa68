"""The audit log's files: append, sync, rotate, find the end again, remove what retention lets go. Blocks; no loop here.

One log is a row of files, each named after its first line's number, so that names sort as the log goes. Nothing is ever
cut or rewritten: what a death left torn stays where it is, and the next line says so. A file that holds nothing but a
torn first line (a death right after a rotation) is no part of the row: it is put aside under another name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..core.audit_chain import GENESIS, seal_of, taken

TAIL_BYTES = 4 * 1024 * 1024  # a line is far shorter; the end of a file is looked for in so many bytes
LINE_BYTES_MAX = 1024 * 1024
TORN = ".torn"  # the ending of a file that was put aside


class Aside(NamedTuple):
    """A file that held only a torn first line, by the name it has now."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class End:
    """Where a log ends. ``mend``: bytes that must come first (a newline); ``torn_sha256``: of an unfinished line.

    ``aside``: files behind it that held no whole line.
    """

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
    aside: tuple[Aside, ...] = ()


class Retired(NamedTuple):
    """A file that retention removes: its numbers (0: it cannot be read), and the hash its last line left."""

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
        """The last whole line of the log, and what stands behind it. Puts aside what is behind it and is no line."""
        aside: list[Aside] = []
        for path in reversed(files_of(self.folder)):
            found = _end_of(path, key)
            if found.seq:
                return replace(found, aside=tuple(aside))
            aside += self._put_aside(path)
        return End(None, aside=tuple(aside))

    def _put_aside(self, path: Path) -> list[Aside]:
        """A file without a whole line leaves the row; damage of more than one line stays, for `verify` to tell."""
        data = path.read_bytes() if path.stat().st_size <= LINE_BYTES_MAX else b"\n"
        if not data:
            path.unlink()
            return []
        if b"\n" in data:
            return []
        target = path.with_name(path.name + TORN)
        path.rename(target)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return [Aside(target.name, len(data), hashlib.sha256(data).hexdigest())]

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
        """The oldest files that are older than ``days`` or too much in bytes; never the newest that can be read.

        What cannot be read goes with its neighbours: one damaged file must not keep all that follow it for ever.
        """
        paths = files_of(self.folder)
        sizes = [path.stat().st_size for path in paths]
        firsts = [first_of(path) for path in paths]
        total = sum(sizes)
        found: list[Retired] = []
        for at, (path, here, size) in enumerate(zip(paths, firsts, sizes, strict=True)):
            after = next((each for each in firsts[at + 1 :] if each is not None), None)
            if after is None:
                break
            too_old = now_us - after[2] > days * 86_400e6  # its last line is older than this
            if not too_old and total <= bytes_max:
                break
            found.append(
                Retired(path, here[0], after[0] - 1, after[1], size) if here else Retired(path, 0, 0, "", size)
            )
            total -= size
        return found

    def remove(self, retired: list[Retired]) -> None:
        """Those, and what was put aside before the last of them."""
        for each in retired:
            each.path.unlink(missing_ok=True)
        for torn in self.folder.glob(f"audit-*.jsonl{TORN}"):
            if retired and torn.name < retired[-1].path.name:
                torn.unlink(missing_ok=True)


def _end_of(path: Path, key: bytes) -> End:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        data = file.read()
    whole, _newline, rest = data.rpartition(b"\n")
    if rest and (parts := taken(rest)) is not None and seal_of(key, parts.hash) == parts.seal:
        return _ended(path, rest, size, key, mend=b"\n")  # whole but for its newline
    for line in reversed(whole.split(b"\n")):
        if taken(line) is not None:
            if not rest:
                return _ended(path, line, size, key)
            digest = hashlib.sha256(rest).hexdigest()
            return _ended(path, line, size, key, mend=b"\n", torn_sha256=digest, torn_bytes=len(rest))
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
