"""Bybit's WebSocket doors: public ones by category, `/v5/private`, and `/v5/trade` for orders.

A connection on which nothing was said for ten minutes (or `max_active_time`) is closed; pings are JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from ..answers import Call, form
from ..streams import Listener, close_frame, text_frame
from .bybit_auth import login
from .bybit_errors import Refusal
from .bybit_streams import PROTECTED
from .face import orders_of
from .socket_orders import SocketOrders

if TYPE_CHECKING:
    from ..server import SandboxServer
    from .bybit import BybitFace

FRAME_MAX_BYTES = 64 * 1024
IDLE_MAX_MS = 600_000
IDLE_MIN_MS = 30_000
PUBLIC, PRIVATE, TRADE = "/v5/public/", "/v5/private", "/v5/trade"
DOORS = frozenset({*(PUBLIC + name for name in ("spot", "linear", "inverse", "option")), PRIVATE, TRADE})
CLOSE_IDLE = close_frame(1000, "idle")
# operation -> the REST path whose work it does
OPERATIONS = {
    "order.create": "order/create",
    "order.amend": "order/amend",
    "order.cancel": "order/cancel",
    "order.create-batch": "order/create-batch",
    "order.amend-batch": "order/amend-batch",
    "order.cancel-batch": "order/cancel-batch",
}


class Conversation:
    """One connection: who authenticated, what it listens to."""

    def __init__(
        self, face: BybitFace, server: SandboxServer, request: web.BaseRequest, listener: Listener, call: Call
    ) -> None:
        self._face = face
        self._server = server
        self._orders = SocketOrders(server, request, listener, face)
        self._path = call.path
        self._idle_ms = idle_ms(form(call.query).get("max_active_time", ""))
        self._id = f"sandbox-{listener.connection}"
        self._heard_at = face.clock()
        self.listener = listener
        self.account = self.key = ""

    def say(self, value: dict[str, Any]) -> None:
        self.listener.send(text_frame(orjson.dumps(value)))

    def close_if_idle(self, now: int) -> None:
        if now - self._heard_at > self._idle_ms:
            self.listener.end(CLOSE_IDLE)

    def ended(self) -> None:
        self._face.protection.left(self, self._face.clock())

    async def hear(self, text: str) -> None:
        """One message of the client."""
        self._heard_at = self._face.clock()
        try:
            asked = orjson.loads(text)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("args", []), list):
            self.say({"success": False, "ret_msg": "Invalid JSON format", "conn_id": self._id, "op": ""})
            return
        operation, args = str(asked.get("op", "")), asked.get("args", [])
        if operation == "ping":
            self._pong(asked)
        elif operation == "auth":
            self._auth(asked, args)
        elif operation in ("subscribe", "unsubscribe") and self._path != TRADE:
            self._subscriptions(operation, asked, [str(each) for each in args])
        elif operation in OPERATIONS and self._path == TRADE:
            await self._order(operation, asked, [each for each in args if isinstance(each, dict)])
        else:
            self._result(operation, asked, Refusal(10001, f"unknown op: {operation}"))

    def _named(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The client's own number of its request, under the name this door uses."""
        name = "reqId" if self._path == TRADE else "req_id"
        return {name: asked[name]} if name in asked else {}

    def _pong(self, asked: dict[str, Any]) -> None:
        if self._path.startswith(PUBLIC):
            self.say({"success": True, "ret_msg": "pong", "conn_id": self._id, "op": "ping", **self._named(asked)})
        else:
            stamp = str(self._face.clock())
            self.say({"op": "pong", "args": [stamp], "conn_id": self._id, **self._named(asked)})

    def _result(self, operation: str, asked: dict[str, Any], refusal: Refusal | None = None) -> None:
        """Yes or no to an operation: the trade door answers in codes, the others in `success`."""
        code, message = (refusal.code, refusal.message) if refusal else (0, "OK")
        if self._path == TRADE:
            self.say({"retCode": code, "retMsg": message, "op": operation, "connId": self._id, **self._named(asked)})
            return
        told = message if refusal else "" if operation == "auth" else operation
        self.say({"success": refusal is None, "ret_msg": told, "op": operation, "conn_id": self._id}
                 | self._named(asked))  # fmt: skip

    def _auth(self, asked: dict[str, Any], args: list[Any]) -> None:
        try:
            key = login(args, self._face.keys, self._face.clock())
        except Refusal as refusal:
            self._result("auth", asked, refusal)
            return
        self.account, self.key = key.account, key.key
        self._result("auth", asked)

    def _subscriptions(self, operation: str, asked: dict[str, Any], topics: list[str]) -> None:
        """All of a request's topics or none."""
        streams = self._face.streams
        try:
            if self._path == PRIVATE:
                if not self.account:
                    raise Refusal(10003, "Request not authorized")
                wanted = [streams.private_stream(topic, self.account) for topic in topics]
            else:
                category = self._path.removeprefix(PUBLIC)
                wanted = [streams.public_stream(topic, category) for topic in topics]
        except Refusal as refusal:
            self._result(operation, asked, refusal)
            return
        self._result(operation, asked)
        for topic, stream in zip(topics, wanted, strict=True):
            if operation == "unsubscribe":
                self._server.hub.unsubscribe(self.listener, stream)
            else:
                first = streams.first(stream)
                if first is not None:
                    self.say(first)
                self._server.hub.subscribe(self.listener, stream)
            if topic.startswith("dcp."):
                self._protect(operation, PROTECTED[topic.removeprefix("dcp.")])

    def _protect(self, operation: str, category: str) -> None:
        if operation == "subscribe":
            self._face.protection.joined(self.account, category, self)
        else:
            self._face.protection.left(self, self._face.clock())

    async def _order(self, operation: str, asked: dict[str, Any], args: list[dict[str, Any]]) -> None:
        """An order operation: the same work, ledger rows and faults as over REST."""
        if not self.account or not args:
            code, text = (10003, "Request not authorized") if not self.account else (10001, "args is empty")
            self._result(operation, asked, Refusal(code, text))
            return
        sent = asked.get("header") if isinstance(asked.get("header"), dict) else {}
        headers = {str(name): str(value) for name, value in (sent or {}).items()}
        call = Call("WS", f"bybit/{operation}", "", orjson.dumps(args), headers, {}, self._face.clock())
        call.account, call.key = self.account, self.key
        call.items = orders_of(call, args[0])

        def wrap(told: dict[str, Any]) -> dict[str, Any]:
            return {"reqId": str(asked.get("reqId", "")), "retCode": told.get("retCode", 10016),
                    "retMsg": told.get("retMsg", ""), "op": operation, "data": told.get("result", {}),
                    "retExtInfo": told.get("retExtInfo", {}), "header": told.get("header", {}),
                    "connId": self._id}  # fmt: skip

        def process() -> dict[str, Any]:
            return wrap(self._face.operate(OPERATIONS[operation], call))

        await self._orders.run(call, process, lambda status, told: wrap(told))


def idle_ms(text: str) -> int:
    """`max_active_time`: 30s to 600s, or in minutes; ten minutes when absent or out of range."""
    found = re.fullmatch(r"(\d{1,4})([sm])", text)
    if found is None:
        return IDLE_MAX_MS
    wanted = int(found[1]) * (1000 if found[2] == "s" else 60_000)
    return wanted if IDLE_MIN_MS <= wanted <= IDLE_MAX_MS else IDLE_MAX_MS


async def converse(
    face: BybitFace, server: SandboxServer, request: web.BaseRequest, call: Call, connection: int
) -> Any:
    """Run one connection until it ends."""
    socket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_MAX_BYTES)
    await socket.prepare(request)
    if request.transport is None:
        return socket
    listener = Listener(request.transport, connection, combined=False)
    talk = Conversation(face, server, request, listener, call)
    server.hub.join(listener, ())
    face.conversations.add(talk)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT and not listener.half_open:
                await talk.hear(message.data)
    finally:
        face.conversations.discard(talk)
        talk.ended()
        server.hub.leave(listener)
    return socket
