"""Streams for clients without WebSockets: one HTTP response without end, chunked, a JSON message a line.

`GET /stream/lines?streams=btcusdt@trade/ethusdt@trade` carries what the WebSocket streams of those names do
(`market=usdm` for the other market), and a heartbeat line now and then, as HTTP streams of brokers do.
"""

from __future__ import annotations

import asyncio
import time

import orjson
from aiohttp import web

from .answers import Call
from .lifetimes import Doorkeeper
from .streams import LineListener, StreamHub, chunk
from .websocket import wanted_streams
from .wire import RawAnswer, head

LINE_STREAM_PATH = "/stream/lines"
HEARTBEAT_S = 5.0


async def serve_lines(
    request: web.BaseRequest, call: Call, hub: StreamHub, connection: int, doorkeeper: Doorkeeper, door: str
) -> web.StreamResponse:
    """Run one response until either side ends it."""
    transport = request.transport
    if transport is None:
        return RawAnswer(b"", close=True)
    transport.write(head(200, [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]))
    listener = LineListener(transport, connection, combined=False)
    hub.join(listener, wanted_streams(call.path, call.query))
    doorkeeper.join(listener, door, time.monotonic())
    try:
        while not transport.is_closing():
            listener.send(chunk(orjson.dumps({"type": "heartbeat", "at": int(time.time() * 1000)}) + b"\n"))
            await asyncio.sleep(HEARTBEAT_S)
    finally:
        doorkeeper.leave(listener)
        hub.leave(listener)
    return RawAnswer(b"", close=True)
