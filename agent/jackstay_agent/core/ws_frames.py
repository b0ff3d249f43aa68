"""RFC 6455 frames from bytes and back, for a relay that looks at messages and passes their bytes on unchanged.

Pure, one `Messages` per direction. A message keeps its own bytes (``raw``), masked or not, fragmented or not, so that
what passes is what came. Control frames are messages of their own, also in the middle of a fragmented one (§5.4). It
refuses to judge text as UTF-8 or to unpack extensions: a relay that reads negotiates none.
"""

from __future__ import annotations

from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTINUATION = 0
CONTROL_BYTES_MAX = 125
CLOSE_TEXT_BYTES_MAX = 123  # two bytes are the code's


class BrokenFrames(Exception):
    """The peer sent what is no WebSocket, or too much of it. ``code``: what to close with (§7.4.1)."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class WsMessage(NamedTuple):
    """One whole message. ``kind``: TEXT, BINARY, CLOSE, PING or PONG."""

    kind: int
    payload: bytes
    raw: bytes


class Messages:
    """Bytes of one direction into messages, in order."""

    def __init__(self, message_bytes_max: int) -> None:
        self._max = message_bytes_max
        self._buffer = bytearray()
        self._kind = 0  # of the fragmented message under way
        self._payload = bytearray()
        self._raw = bytearray()

    @property
    def between(self) -> bool:
        """Nothing half-read: something else may be put in here."""
        return not self._buffer and not self._kind

    def feed(self, data: bytes) -> list[WsMessage]:
        """Raises BrokenFrames; nothing more can be read then."""
        self._buffer += data
        found: list[WsMessage] = []
        while True:
            message = self._next()
            if message is None:
                return found
            if message.raw:
                found.append(message)

    def _next(self) -> WsMessage | None:
        """The next message; one without ``raw`` when only a fragment was taken; None: more bytes are needed."""
        frame = self._frame()
        if frame is None:
            return None
        first, payload, raw = frame
        opcode, final = first & 0x0F, first & 0x80
        if opcode >= CLOSE:
            if not final:
                raise BrokenFrames(1002, "a fragmented control frame")
            return WsMessage(opcode, payload, raw)
        if opcode == _CONTINUATION:
            if not self._kind:
                raise BrokenFrames(1002, "a continuation of nothing")
        elif self._kind:
            raise BrokenFrames(1002, "a new message inside a fragmented one")
        elif opcode not in (TEXT, BINARY):
            raise BrokenFrames(1002, f"a frame of unknown kind {opcode}")
        if opcode != _CONTINUATION and final:
            return WsMessage(opcode, payload, raw)
        self._kind = self._kind or opcode
        self._payload += payload
        self._raw += raw
        if len(self._raw) > self._max:
            raise BrokenFrames(1009, f"a message of more than {self._max} bytes")
        if not final:
            return WsMessage(0, b"", b"")
        whole = WsMessage(self._kind, bytes(self._payload), bytes(self._raw))
        self._kind = 0
        self._payload.clear()
        self._raw.clear()
        return whole

    def _frame(self) -> tuple[int, bytes, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise BrokenFrames(1002, "a frame with reserved bits: no extension was agreed on")
        size, at = second & 0x7F, 2
        if size > CONTROL_BYTES_MAX:
            if first & 0x08:
                raise BrokenFrames(1002, "a control frame of more than 125 bytes")
            width = 2 if size == 126 else 8
            if len(buffer) < 2 + width:
                return None
            size, at = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        if size > self._max:
            raise BrokenFrames(1009, f"a message of {size} bytes; {self._max} at most are taken")
        masked = second & 0x80
        end = at + (4 if masked else 0) + size
        if len(buffer) < end:
            return None
        raw = bytes(buffer[:end])
        del buffer[:end]
        payload = _masked(raw[at + 4 :], raw[at : at + 4]) if masked else raw[at:]
        return first, payload, raw


def frame(kind: int, payload: bytes, mask: bytes = b"") -> bytes:
    """One whole frame; ``mask``: four bytes, for the client's side (§5.3)."""
    size, masked = len(payload), 0x80 if mask else 0
    if size <= CONTROL_BYTES_MAX:
        head = bytes((0x80 | kind, masked | size))
    elif size < 0x10000:
        head = bytes((0x80 | kind, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, masked | 127)) + size.to_bytes(8, "big")
    return head + mask + (_masked(payload, mask) if mask else payload)


def close_frame(code: int, why: str) -> bytes:
    """An unmasked close, its text cut to what fits."""
    text = why.encode()[:CLOSE_TEXT_BYTES_MAX].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, which is its own inverse; as one big number, that is quick."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
