"""Where rows go while the worker has the connection for a checkpoint, so that no order waits for a sync of the disk.

A file beside the database, appended to with one write per row: as safe against the death of the process as SQLite's own
WAL, and used with durability "process" only. When the connection is free again the same rows are committed in one batch
and the file is emptied. A start that finds rows in it replays them: the process died in between. Replaying what was
committed already changes nothing (`store.replay`).

Each record: length, CRC-32, MessagePack of ("i", row) or ("u", update). A torn tail was never promised to anybody.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from errno import EDQUOT, ENOSPC, EROFS
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import msgspec

from .schema import Fault, StoreFault

_HEAD = Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

INSERT, UPDATE = "i", "u"


class SideLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.bytes = 0

    def append(self, kind: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """All of them in one write, in the kernel's hands on return. Raises `StoreFault`: then none is there."""
        text = b""
        for row in rows:
            body = _encode((kind, row))
            text += _HEAD.pack(len(body), crc32(body)) + body
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.pwrite(self._fd, text, self.bytes) != len(text):
                raise OSError(ENOSPC, "short write")
        except OSError as error:
            with suppress(OSError):  # what was written of it must not be replayed
                os.ftruncate(self._fd, self.bytes)
            raise _fault(error) from error
        self.bytes += len(text)

    def clear(self) -> None:
        """Everything in it is committed."""
        if self.bytes:
            try:
                os.ftruncate(self._fd, 0)
            except OSError as error:
                raise _fault(error) from error
            self.bytes = 0

    def records(self) -> list[tuple[str, tuple[Any, ...]]]:
        """What an earlier process left, up to the first record that is not whole."""
        found = []
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _fault(error) from error
        at = 0
        while at + _HEAD.size <= len(text):
            length, total = _HEAD.unpack_from(text, at)
            body = text[at + _HEAD.size : at + _HEAD.size + length]
            if not length or len(body) < length or crc32(body) != total:
                break
            kind, values = _decode(body)
            found.append((kind, tuple(values)))
            at += _HEAD.size + length
        return found

    def remove(self) -> None:
        """After a replay or a clean close the file is not needed."""
        self.close()
        self.bytes = 0
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise _fault(error) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _fault(error: OSError) -> StoreFault:
    kinds = {ENOSPC: Fault.FULL, EDQUOT: Fault.FULL, EROFS: Fault.READ_ONLY}
    return StoreFault(kinds.get(error.errno or 0, Fault.IO), f"side log: {error.strerror}")
