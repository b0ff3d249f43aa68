"""A venue that answers exactly the bytes a test says, on TCP and on a unix socket, and remembers what it was sent.

Not an exchange: no matching, no balances. It makes answers that no exchange simulator should have to know about:
truncated bodies, odd header capitals, silence, resets.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


Answer = bytes | str  # raw bytes, or "silence" or "reset"


def http(
    status: int,
    body: bytes | str,
    content_type: str = "application/json",
    *,
    name: str = "Content-Type",
    extra: str = "",
    phrase: str = "Status",
) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} {phrase}\r\n{name}: {content_type}\r\nContent-Length: {len(raw)}\r\n{extra}\r\n"
    return head.encode() + raw


class ScriptedVenue:
    """``answer(seen)`` decides; requests of one connection are served in order."""

    def __init__(self, folder: Path, answer: Callable[[Seen], Answer]) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self.unix_path = folder / "venue.sock"
        self._listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self._listeners[1].bind(str(self.unix_path))
        self._listeners[1].listen()
        self.port: int = self._listeners[0].getsockname()[1]
        self._open: set[socket.socket] = set()
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for each in (*self._listeners, *list(self._open)):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while self._one(connection, stream):
                    pass
        except OSError:
            pass
        finally:
            self._open.discard(connection)

    def _one(self, connection: socket.socket, stream: object) -> bool:
        read = stream  # a buffered reader
        line = read.readline()  # type: ignore[attr-defined]
        if not line:
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: list[tuple[str, str]] = []
        while (raw := read.readline()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
            name, _, value = raw.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        size = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        seen = Seen(method, target, tuple(headers), read.read(size) if size else b"")  # type: ignore[attr-defined]
        self.seen.append(seen)
        answer = self.answer(seen)
        if answer == "silence":
            return bool(connection.recv(1)) and False
        if answer == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        assert isinstance(answer, bytes)
        connection.sendall(answer)
        return True
