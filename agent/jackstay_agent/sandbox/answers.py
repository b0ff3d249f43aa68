"""Answers written byte by byte past the server library: verbatim, truncated, endless, slow, doubled, garbage."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

from .faults import Fault

# Faults that process the request before they misbehave.
AFTER = frozenset({"reset_after", "drop_reply", "truncate", "drip", "twice"})
CHUNK = b"x" * 65536

Processed = tuple[int, dict[str, str], bytes] | None


def json_bytes(what: Any) -> bytes:
    return json.dumps(what, separators=(",", ":")).encode()


class RawAnswers:
    """Writes to the connection under a request, then closes it; the library's own answer goes nowhere."""

    def __init__(self, request: web.Request) -> None:
        assert request.transport is not None
        self._transport = request.transport

    async def send(self, fault: Fault, processed: Processed) -> web.StreamResponse:
        await getattr(self, f"_{fault.kind}")(fault.params, processed)
        self._transport.close()
        return web.Response()

    async def _answer(self, params: dict[str, Any], processed: Processed) -> None:
        body = base64.b64decode(params["body_b64"]) if "body_b64" in params else str(params.get("body", "")).encode()
        headers = [(str(name), str(value)) for name, value in params.get("headers", [])]
        status, reason = int(params.get("status", 200)), str(params.get("reason", ""))
        self._transport.write(raw_answer(status, reason, headers, body))

    async def _truncate(self, params: dict[str, Any], processed: Processed) -> None:
        assert processed is not None
        status, headers, body = processed
        full = raw_answer(status, "OK", list(headers.items()), body)
        self._transport.write(full[: -max(1, len(body) // 2)])

    async def _drip(self, params: dict[str, Any], processed: Processed) -> None:
        assert processed is not None
        status, headers, body = processed
        full = raw_answer(status, "OK", list(headers.items()), body)
        for at in range(0, len(full), 16):
            if self._transport.is_closing():
                return
            self._transport.write(full[at : at + 16])
            await asyncio.sleep(float(params.get("delay_ms", 20)) / 1000)

    async def _twice(self, params: dict[str, Any], processed: Processed) -> None:
        assert processed is not None
        status, headers, body = processed
        self._transport.write(raw_answer(status, "OK", list(headers.items()), body) * 2)

    async def _garbage(self, params: dict[str, Any], processed: Processed) -> None:
        self._transport.write(b"\x16\x03\x01 this is not HTTP \x00\xff\r\n\r\n")

    async def _endless_headers(self, params: dict[str, Any], processed: Processed) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\n")
        await self._flood(b"".join(b"X-Endless-%d: %s\r\n" % (number, b"y" * 200) for number in range(200)))

    async def _endless_body(self, params: dict[str, Any], processed: Processed) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await self._flood(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))

    async def _oversize(self, params: dict[str, Any], processed: Processed) -> None:
        size = int(params.get("bytes", 1 << 26))
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
        await self._flood(CHUNK, at_most=size)

    async def _flood(self, block: bytes, at_most: int = 1 << 30) -> None:
        """Until the other side has had enough, or the bound."""
        sent = 0
        while not self._transport.is_closing() and sent < at_most:
            if self._transport.get_write_buffer_size() < 1 << 20:
                self._transport.write(block[: at_most - sent])
                sent += len(block)
            await asyncio.sleep(0)


def raw_answer(status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Verbatim, header case included; a Content-Length is added where none is given, and the announced close."""
    names = {name.lower() for name, _ in headers}
    head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    if "content-length" not in names and "transfer-encoding" not in names:
        head += f"Content-Length: {len(body)}\r\n"
    if "connection" not in names:
        head += "Connection: close\r\n"  # the connection ends here; a venue says so
    return head.encode("latin-1") + b"\r\n" + body
