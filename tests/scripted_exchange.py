"""A WebSocket server that does exactly what a test says, byte for byte: the wrong things included.

It shares no code with the agent: handshake and frames are written out here after RFC 6455.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """One unmasked frame, as a server sends it."""
    first = (0x80 if fin else 0) | (rsv << 4) | opcode
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


class Peer:
    """One accepted WebSocket, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.received: list[tuple[int, bytes]] = []
        self.asks: list[dict[str, Any]] = []
        self.topics: set[str] = set()

    async def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def text(self, value: Any) -> None:
        await self.send(frame(TEXT, value if isinstance(value, bytes) else json.dumps(value).encode()))

    async def read_frame(self) -> tuple[int, bytes]:
        """(opcode, unmasked payload) of the client's next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        assert second & 0x80, "a client must mask"
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        got = first & 0xF, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.received.append(got)
        return got

    async def texts(self) -> AsyncIterator[bytes]:
        """The client's text messages, as a polite server takes them: pings get pongs, and a close a close, which ends
        it."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == PING:
                await self.send(frame(PONG, payload))
            elif opcode == CLOSE:
                await self.send(frame(CLOSE, payload))
                return
            elif opcode == TEXT:
                yield payload

    def reset(self) -> None:
        """Cut the line with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER with zero seconds
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Subscribers:
    """A script: who subscribed to what, each request confirmed. ``peers``: those that are connected and asked once."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def __call__(self, peer: Peer) -> None:
        try:
            async for text in peer.texts():
                peer.received.clear()  # nobody reads them, and an hour holds many
                ask = json.loads(text)
                if ask["method"] == "SUBSCRIBE":
                    peer.topics.update(ask["params"])
                await peer.text({"result": None, "id": ask["id"]})
                if peer not in self.peers:
                    self.peers.append(peer)
        finally:
            if peer in self.peers:
                self.peers.remove(peer)


class ScriptedExchange:
    """``async with ScriptedExchange(script) as exchange``: every upgraded connection runs ``script(peer)``."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, answer: bytes | None = None) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.port = 0
        self._tls = tls
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._joined = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/stream"

    async def __aenter__(self) -> ScriptedExchange:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def peer(self, number: int = 0) -> Peer:
        """The n-th connection of this exchange's life, waited for."""
        while len(self.peers) <= number:
            self._joined.clear()
            await self._joined.wait()
        return self.peers[number]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if self._answer is not None:
                writer.write(self._answer)
                await writer.drain()
                return
            key = next(
                line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if b"sec-websocket-key" in line.lower()
            )
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            peer = Peer(reader, writer, head)
            self.peers.append(peer)
            self._joined.set()
            await self.script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()


async def silent(peer: Peer) -> None:
    """Take everything, answer pings with pongs and a close with a close, and deliver nothing."""
    async for _text in peer.texts():
        pass


async def mute(peer: Peer) -> None:
    """Take everything and answer nothing, not even pings."""
    while True:
        await peer.read_frame()


class BinanceLike:
    """A script: acknowledges SUBSCRIBE and UNSUBSCRIBE and sends numbered trades of subscribed streams.

    ``period_s`` is the pause between rounds; ``quiet`` streams are acknowledged and never deliver; ``mute_from`` on,
    connections get no data at all.
    """

    def __init__(self, *, period_s: float = 0.005, quiet: set[str] | None = None) -> None:
        self.period_s = period_s
        self.quiet = quiet or set()
        self.refused: set[str] = set()
        self.paused = False
        self.number = 0
        self.asked = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        sender = asyncio.create_task(self._send(peer))
        try:
            async for text in peer.texts():
                await self._answer(peer, json.loads(text))
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender

    async def _answer(self, peer: Peer, ask: dict[str, Any]) -> None:
        peer.asks.append(ask)
        bad = self.refused.intersection(ask["params"])
        if ask["method"] == "SUBSCRIBE" and not bad:
            peer.topics.update(ask["params"])
        elif ask["method"] == "UNSUBSCRIBE":
            peer.topics.difference_update(ask["params"])
        await peer.text(
            {"error": {"code": 2, "msg": "bad stream"}, "id": ask["id"]} if bad else {"result": None, "id": ask["id"]}
        )
        self.asked.set()

    async def _send(self, peer: Peer) -> None:
        while True:
            if not self.paused:
                for topic in sorted(peer.topics - self.quiet):
                    self.number += 1
                    await peer.send(frame(TEXT, trade(topic, self.number)))
            await asyncio.sleep(self.period_s)


def trade(stream: str, number: int) -> bytes:
    """A combined-stream trade event; ``t`` is the number."""
    symbol = stream.partition("@")[0].upper()
    return b'{"stream":"%s","data":{"e":"trade","s":"%s","t":%d,"p":"50000.01","q":"0.1"}}' % (
        stream.encode(),
        symbol.encode(),
        number,
    )
