"""Bytes on the wire exactly as wanted: an aiohttp response that writes its own status line and headers verbatim, and
the rude endings a well-behaved library does not offer (a reset, silence, a body that never ends)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

REASONS = {status.value: status.phrase for status in HTTPStatus} | {418: "I'm a teapot", 520: "Unknown Error"}
_LINGER_RESET = struct.pack("ii", 1, 0)


def head(status: int, headers: list[tuple[str, str]], reason: str = "") -> bytes:
    """Status line and headers, in the given order and capitalisation, with the empty line."""
    lines = [f"HTTP/1.1 {status} {reason or REASONS.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reset(request: web.BaseRequest) -> None:
    """End the connection with a TCP reset, not a FIN: linger zero, then close."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


class RawAnswer(web.StreamResponse):
    """Sends exactly these bytes, then closes the connection or keeps it."""

    def __init__(self, data: bytes, *, close: bool = False) -> None:
        super().__init__()
        self._data = data
        self._keep_alive = not close

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is not None and self._data:
            request.transport.write(self._data)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class RawStream(RawAnswer):
    """Sends pieces as they come, waiting for the reader to keep up, then closes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(b"", close=True)
        self._pieces = pieces

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        async for piece in self._pieces:
            if request.transport is None or request.transport.is_closing():
                break
            request.transport.write(piece)
            await request.writer.drain()
        return None


async def never() -> None:
    """Wait until the connection is lost (the server cancels the handler then)."""
    await asyncio.Event().wait()
