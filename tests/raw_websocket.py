"""A WebSocket client without manners: it answers no ping unless told to, and shows every frame as it came."""

from __future__ import annotations

import base64
import json
import os
import socket
from typing import Any

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class RawWebSocket:
    """One connection to `path` of a sandbox's port. Use as a context manager."""

    def __init__(self, port: int, path: str, timeout_s: float = 5.0, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        key = base64.b64encode(os.urandom(16)).decode()
        asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{asked}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._data += self.socket.recv(65536)
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])

    def send(self, payload: bytes | dict[str, Any], opcode: int = TEXT) -> None:
        """One masked frame of up to 65535 bytes."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        mask = os.urandom(4)
        length = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.socket.sendall(bytes((0x80 | opcode,)) + length + mask + masked)

    def _take(self, count: int) -> bytes:
        while len(self._data) < count:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the other side ended the connection")
            self._data += more
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame. TimeoutError when none comes, ConnectionError at the end."""
        first, length = self._take(2)
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        return first & 0x0F, self._take(length)

    def next(self, opcode: int) -> bytes:
        """The payload of the next frame of this kind; others are passed over."""
        while True:
            found, payload = self.frame()
            if found == opcode:
                return payload

    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.next(TEXT)))

    def close_code(self) -> int:
        """The code of the close frame, once it comes."""
        return int.from_bytes(self.next(CLOSE)[:2], "big")

    def __enter__(self) -> RawWebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
