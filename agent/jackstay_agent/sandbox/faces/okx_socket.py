"""OKX's WebSocket doors `/ws/v5/public`, `/private` and `/business`: login, subscriptions, orders, ping as text.

A connection on which nothing was sent or received for 30 s is closed, as OKX does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from ..answers import Call
from ..streams import Listener, close_frame, text_frame
from .face import item_of
from .okx_auth import login
from .okx_errors import Refusal
from .socket_orders import SocketOrders

if TYPE_CHECKING:
    from ..server import SandboxServer
    from .okx import OkxFace

FRAME_MAX_BYTES = 64 * 1024
IDLE_MAX_MS = 30_000
DOORS = frozenset({"/ws/v5/public", "/ws/v5/private", "/ws/v5/business"})
CLOSE_UPGRADE = close_frame(1001, "service upgrade")
CLOSE_IDLE = close_frame(4004, "No data received in 30s.")
# operation -> the REST path whose work it does
OPERATIONS = {
    "order": "trade/order",
    "batch-orders": "trade/batch-orders",
    "amend-order": "trade/amend-order",
    "batch-amend-orders": "trade/amend-batch-orders",
    "cancel-order": "trade/cancel-order",
    "batch-cancel-orders": "trade/cancel-batch-orders",
}


class Conversation:
    """One connection: who logged in, what it listens to."""

    def __init__(self, face: OkxFace, server: SandboxServer, request: web.BaseRequest, listener: Listener) -> None:
        self._face = face
        self._server = server
        self.listener = listener
        self._orders = SocketOrders(server, request, listener, face)
        self.account = self.key = ""
        self._id = f"{listener.connection:08x}"
        self._heard_at = face.clock()
        self._sent_seen = 0

    def say(self, value: dict[str, Any]) -> None:
        self.listener.send(text_frame(orjson.dumps(value)))

    def give_notice(self, after_s: float) -> None:
        """The connection is about to end for an upgrade of the service."""
        self.say({"event": "notice", "code": "64008", "connId": self._id,
                  "msg": "The connection will soon be closed for a service upgrade. Please reconnect."})  # fmt: skip
        asyncio.get_running_loop().call_later(after_s, self.listener.end, CLOSE_UPGRADE)

    def close_if_idle(self, now: int) -> None:
        if self.listener.sent != self._sent_seen:
            self._sent_seen, self._heard_at = self.listener.sent, now
        if now - self._heard_at > IDLE_MAX_MS:
            self.listener.end(CLOSE_IDLE)

    async def hear(self, text: str) -> None:
        """One message of the client."""
        self._heard_at = self._face.clock()
        if text == "ping":
            self.listener.send(text_frame(b"pong"))
            return
        try:
            asked = orjson.loads(text)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("args", []), list):
            self._error(Refusal("60012", f"Illegal request: {text[:500]}"))
            return
        operation = asked.get("op")
        args = [each for each in asked.get("args", []) if isinstance(each, dict)]
        if operation == "login":
            self._login(args)
        elif operation in ("subscribe", "unsubscribe"):
            for arg in args:
                self._subscription(operation, {str(name): str(value) for name, value in arg.items()}, asked.get("id"))
        elif operation in OPERATIONS:
            await self._order(operation, asked, args)
        else:
            self._error(Refusal("60012", f"Illegal request: {text[:500]}"))

    def _error(self, refusal: Refusal, **more: Any) -> None:
        self.say({"event": "error", "code": refusal.code, "msg": refusal.message, "connId": self._id, **more})

    def _login(self, args: list[dict[str, Any]]) -> None:
        try:
            if self.account:
                raise Refusal("60010", "Already logged in.")
            sent = {str(name): str(value) for name, value in args[0].items()} if args else {}
            key = login(sent, self._face.keys, self._face.clock())
        except Refusal as refusal:
            self._error(refusal)
            return
        self.account, self.key = key.account, key.key
        self.say({"event": "login", "code": "0", "msg": "", "connId": self._id})

    def _subscription(self, operation: str, arg: dict[str, str], number: Any) -> None:
        try:
            stream = self._face.streams.stream_of(arg, self.account)
        except Refusal as refusal:
            self._error(refusal, arg=arg)
            return
        named = {} if number is None else {"id": number}
        if operation == "unsubscribe":
            self._server.hub.unsubscribe(self.listener, stream)
            self.say({**named, "event": "unsubscribe", "arg": arg, "connId": self._id})
            return
        self.say({**named, "event": "subscribe", "arg": arg, "connId": self._id})
        first = self._face.streams.first(stream, self.account)
        if first is not None:
            self.say(first)
        self._server.hub.subscribe(self.listener, stream)

    async def _order(self, operation: str, asked: dict[str, Any], args: list[dict[str, Any]]) -> None:
        """An order operation: the same work, ledger rows and faults as over REST."""
        named = {"id": str(asked.get("id", "")), "op": operation}
        if not self.account:
            self._error(Refusal("60011", "Please log in"), **named)
            return
        body, now = orjson.dumps(args), self._face.clock()
        call = Call("WS", f"okx/{operation}", "", body, {}, {}, now, account=self.account, key=self.key)
        call.items = [item_of(call, each) for each in args]
        for item in call.items:
            item.account, item.key = self.account, self.key
        until = str(asked.get("expTime", ""))

        def process() -> dict[str, Any]:
            return named | self._face.operate(OPERATIONS[operation], call, until)

        await self._orders.run(call, process, lambda status, told: named | told)


async def converse(face: OkxFace, server: SandboxServer, request: web.BaseRequest, call: Call, connection: int) -> Any:
    """Run one connection until it ends."""
    socket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_MAX_BYTES)
    await socket.prepare(request)
    if request.transport is None:
        return socket
    listener = Listener(request.transport, connection, combined=False)
    talk = Conversation(face, server, request, listener)
    server.hub.join(listener, ())
    face.conversations.add(talk)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT and not listener.half_open:
                await talk.hear(message.data)
    finally:
        face.conversations.discard(talk)
        server.hub.leave(listener)
    return socket
