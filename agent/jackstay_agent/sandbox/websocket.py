"""The WebSocket door: `/ws`, `/ws/<stream>`, `/stream?streams=a/b`, and the SUBSCRIBE family of commands."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
from aiohttp import WSMessage, WSMsgType, web

from .faces.binance_user import LISTEN_KEY_LENGTH
from .lifetimes import Doorkeeper
from .streams import Listener, StreamHub, pong_frame, text_frame

FRAME_MAX_BYTES = 4096 * 16
PATHS = ("/ws", "/stream", "/ws-api/v3", "/ws-fapi/v1")


def serves(path: str) -> bool:
    return path in PATHS or path.startswith(("/ws/", "/stream/"))


def wanted_streams(path: str, query: str) -> list[str]:
    """Stream names asked for in the address itself. ccxt's `/ws/0` and such name no stream and are skipped."""
    if path.startswith("/ws/"):
        names = unquote(path[4:]).split("/")
    else:
        asked = parse_qs(query)
        names = [name for group in asked.get("streams", []) for name in group.split("/")] + asked.get("listenKey", [])
    return [name for name in names if is_stream(name)]


def is_stream(name: str) -> bool:
    """Names a client may ask for: market streams, and listen keys (which one must know)."""
    return "@" in name or len(name) == LISTEN_KEY_LENGTH


async def serve(
    request: web.BaseRequest, path: str, query: str, hub: StreamHub, connection: int, doorkeeper: Doorkeeper, door: str
) -> web.WebSocketResponse:
    """Run one connection until it ends."""
    socket = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=FRAME_MAX_BYTES)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        return socket
    listener = Listener(transport, connection, combined=path.startswith("/stream"))
    hub.join(listener, wanted_streams(path, query))
    doorkeeper.join(listener, door, time.monotonic())
    try:
        async for message in socket:
            if not passes(message, listener, doorkeeper):
                break
            if message.type is WSMsgType.TEXT and not listener.half_open:
                listener.send(text_frame(orjson.dumps(command(hub, listener, message.data))))
    finally:
        doorkeeper.leave(listener)
        hub.leave(listener)
    return socket


def passes(message: WSMessage, listener: Listener, doorkeeper: Doorkeeper) -> bool:
    """Count a client's message, answer its pings, hear its pongs. False: the connection has had too many."""
    if not doorkeeper.heard(listener, time.monotonic()):
        return False
    if message.type is WSMsgType.PING:
        listener.send(pong_frame(bytes(message.data)))
    elif message.type is WSMsgType.PONG:
        doorkeeper.ponged(listener, bytes(message.data))
    return True


def command(hub: StreamHub, listener: Listener, text: str) -> dict[str, Any]:
    """Execute one command; its answer. Error codes as in Binance's web-socket-streams.md."""
    try:
        asked = orjson.loads(text)
    except ValueError:
        return _error(3, "Invalid JSON: expected value")
    if not isinstance(asked, dict):
        return _error(2, "Invalid request: request must be an object")
    number, method, params = asked.get("id"), asked.get("method"), asked.get("params", [])
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params[:1]):
        return _error(2, "Invalid request: params must be an array of strings", number)
    if method == "SUBSCRIBE":
        for stream in filter(is_stream, params):
            hub.subscribe(listener, stream)
        return {"result": None, "id": number}
    if method == "UNSUBSCRIBE":
        for stream in params:
            hub.unsubscribe(listener, stream)
        return {"result": None, "id": number}
    if method == "LIST_SUBSCRIPTIONS":
        return {"result": list(listener.streams), "id": number}
    if method == "SET_PROPERTY" and params[:1] == ["combined"]:
        listener.combined = params[1:] == [True]
        return {"result": None, "id": number}
    if method == "GET_PROPERTY" and params[:1] == ["combined"]:
        return {"result": listener.combined, "id": number}
    return _error(2, f"Invalid request: unknown variant `{method}`", number)


def _error(code: int, message: str, number: Any = None) -> dict[str, Any]:
    return {"error": {"code": code, "msg": message}, "id": number}
