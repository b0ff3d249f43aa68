"""The WebSocket API's door: one JSON request after another on a connection, each with its ledger row and its faults."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from .answers import Answer, Call
from .bending import BENDING_KINDS, Bend
from .engine.model import Reject
from .faces import binance_ws_api as face
from .faces.binance_errors import Refusal
from .faces.binance_user import UserStreams
from .faces.meanings import MEANINGS
from .faults import Fault
from .ledger import Row
from .streams import Listener, StreamHub, text_frame
from .venue import Venue
from .websocket import passes
from .wire import reset

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
        doorkeeper = self._server.doorkeeper
        self._hub.join(listener, ())
        doorkeeper.join(listener, "api", time.monotonic())
        try:
            async for message in socket:
                if not passes(message, listener, doorkeeper):
                    break
                if message.type is WSMsgType.TEXT and not listener.half_open:
                    await self._one(request, listener, message.data)
        finally:
            doorkeeper.leave(listener)
            self._hub.leave(listener)
            self._users.unsubscribe(listener)
        return socket

    async def _one(self, request: web.BaseRequest, listener: Listener, text: str) -> None:
        server = self._server
        parsed = face.parse(text, server.venue.clock())
        if parsed is None:
            listener.send(_frame({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}))
            return
        number, call = parsed
        call.path = self._api.prefix + call.path
        row = server.receive(call, listener.connection, "WS")
        where = ("WS", call.path, row.symbol, row.connection)
        delay_ms, kind = server.faults.delay_ms(*where) if server.faults.armed else (0.0, "")
        if delay_ms:
            row.fault = kind
            await asyncio.sleep(delay_ms / 1000)
        fault = server.faults.pick(*where, now=server.venue.clock()) if server.faults.armed else None
        if fault is not None:
            self._strike(fault, request, listener, number, call, row)
            return
        listener.send(_frame(self._process(listener, number, call, row)))

    def _process(self, listener: Listener, number: Any, call: Call, row: Row) -> dict[str, Any]:
        call.now = self._server.venue.clock()
        if call.path.removeprefix(self._api.prefix).startswith("userDataStream."):
            told = self._user_stream(listener, number, call)
        else:
            with self._server.bent(call):
                told = face.answer(self._venue, number, call, self._api)
        outcome = Answer(told["status"], b"", [], call.order_id, call.executed)
        self._server.decide(row, told["status"], outcome)
        return told

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

    def _strike(
        self, fault: Fault, request: web.BaseRequest, listener: Listener, number: Any, call: Call, row: Row
    ) -> None:
        """A fault on one WebSocket request. Kinds that only make sense on HTTP bytes act as a stall."""
        row.fault = f"{row.fault}+{fault.kind}" if row.fault else fault.kind
        decide = self._server.decide
        if fault.kind in BENDING_KINDS:
            call.bend = Bend(fault, row.lane, call.now)
            listener.send(_frame(self._process(listener, number, call, row)))
        elif fault.kind == "half_open":
            decide(row, "none", None)
            listener.fall_silent()
        elif fault.kind == "reply_twice":
            told = _frame(self._process(listener, number, call, row))
            listener.send(told + told)
        elif fault.kind == "venue_error":
            self._troubled(fault, listener, number, call, row)
        elif fault.kind == "reset_before":
            decide(row, "reset", None)
            reset(request)
        elif fault.kind == "reset_after":
            self._process(listener, number, call, row)
            row.status = "reset"
            reset(request)
        elif fault.kind == "drop_reply":
            self._process(listener, number, call, row)
            row.status = "none"
        elif fault.kind == "answer":
            if fault.params["execute"]:
                self._process(listener, number, call, row)
            else:
                decide(row, fault.params["status"], None)
            listener.send(text_frame(fault.params["body"].encode()))
        elif fault.kind == "rate_limit":
            limited = self._server.faults.limited(fault, self._server.venue.limits, self._server.venue.clock())
            decide(row, limited.status, None)
            error = orjson.loads(limited.body)
            listener.send(_frame({"id": number, "status": limited.status, "error": error}))
        else:
            decide(row, "none", None)

    def _troubled(self, fault: Fault, listener: Listener, number: Any, call: Call, row: Row) -> None:
        """One of the venue's own troubled answers, in the WebSocket API's envelope."""
        meaning = MEANINGS[fault.params["name"]]
        if self._server.troubled(meaning, fault, row):
            self._process(listener, number, call, row)
            row.status = meaning.status
        else:
            self._server.decide(row, meaning.status, None)
        try:
            error = orjson.loads(meaning.body)
        except ValueError:
            error = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        listener.send(_frame({"id": number, "status": meaning.status, "error": error}))


def _frame(value: dict[str, Any]) -> bytes:
    return text_frame(orjson.dumps(value))
