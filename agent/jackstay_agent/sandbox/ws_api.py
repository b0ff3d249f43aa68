"""The WebSocket API's door: one JSON request after another on a connection, each with its ledger row and its faults."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from .answers import Call
from .engine.model import Reject
from .faces import binance_ws_api as face
from .faces.binance_errors import Refusal
from .faces.binance_user import UserStreams
from .faces.socket_orders import SocketOrders
from .streams import Listener, StreamHub, text_frame
from .venue import Venue
from .websocket import passes

if TYPE_CHECKING:
    from .server import SandboxServer

REQUEST_MAX_BYTES = 64 * 1024


class WsApi:
    """Serves `/ws-api/v3` (or, with another market and its methods, `/ws-fapi/v1`) of one server."""

    def __init__(
        self, server: SandboxServer, venue: Venue, users: UserStreams, hub: StreamHub, api: face.Api = face.SPOT_API
    ) -> None:
        self._server = server
        self._venue = venue
        self._users = users
        self._hub = hub
        self._api = api

    async def serve(self, request: web.BaseRequest, connection: int) -> web.WebSocketResponse:
        """Run one connection until it ends."""
        socket = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=REQUEST_MAX_BYTES)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        listener = Listener(transport, connection, combined=False, is_api=True)
        orders = SocketOrders(self._server, request, listener, status_of=lambda told: int(told["status"]))
        doorkeeper = self._server.doorkeeper
        self._hub.join(listener, ())
        doorkeeper.join(listener, "api", time.monotonic())
        try:
            async for message in socket:
                if not passes(message, listener, doorkeeper):
                    break
                if message.type is WSMsgType.TEXT and not listener.half_open:
                    await self._one(orders, listener, message.data)
        finally:
            doorkeeper.leave(listener)
            self._hub.leave(listener)
            self._users.unsubscribe(listener)
        return socket

    async def _one(self, orders: SocketOrders, listener: Listener, text: str) -> None:
        parsed = face.parse(text, self._server.venue.clock())
        if parsed is None:
            listener.send(_frame({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}))
            return
        number, call = parsed
        call.path = self._api.prefix + call.path
        await orders.run(call, partial(self._process, listener, number, call), partial(_in_envelope, number))

    def _process(self, listener: Listener, number: Any, call: Call) -> dict[str, Any]:
        if call.path.removeprefix(self._api.prefix).startswith("userDataStream."):
            return self._user_stream(listener, number, call)
        return face.answer(self._venue, number, call, self._api)

    def _user_stream(self, listener: Listener, number: Any, call: Call) -> dict[str, Any]:
        users, method = self._users, call.path.removeprefix(self._api.prefix)
        try:
            if method == "userDataStream.subscribe.signature":
                face.authenticate(self._venue, call, "read")
                result: dict[str, Any] = {"subscriptionId": users.subscribe(call.account, listener)}
            elif method == "userDataStream.unsubscribe":
                given = call.params.get("subscriptionId", "")
                users.unsubscribe(listener, int(given) if given.isdigit() else None)
                result = {}
            elif method == "userDataStream.start":
                call.account = face.known_key(self._venue, call).account
                result = {"listenKey": users.start(call.account)}
            else:
                raise Refusal(-1000, f"Unknown method '{method}'.")
        except (Refusal, Reject) as error:
            return face.refused(number, error)
        return {"id": number, "status": 200, "result": result}


def _in_envelope(number: Any, status: int, told: dict[str, Any]) -> dict[str, Any]:
    """A body of REST as this door says it; a page of HTML has no words here."""
    error = told or {"code": -1000, "msg": "An unknown error occurred while processing the request."}
    return {"id": number, "status": status, "error": error}


def _frame(value: dict[str, Any]) -> bytes:
    return text_frame(orjson.dumps(value))
