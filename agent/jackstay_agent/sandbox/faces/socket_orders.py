"""An order request over a WebSocket connection: its ledger rows, its faults, its answer, whichever venue's it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from ..answers import Answer, Call
from ..bending import BENDING_KINDS, Bend
from ..faults import Fault
from ..ledger import Row
from ..streams import Listener, text_frame
from ..wire import reset
from .face import Face
from .meanings import MEANINGS

if TYPE_CHECKING:
    from ..server import SandboxServer

Process = Callable[[], dict[str, Any]]
Wrap = Callable[[dict[str, Any]], dict[str, Any]]


class SocketOrders:
    """Runs the order requests of one connection. `process` executes one, `wrap` makes a REST body its answer."""

    def __init__(self, server: SandboxServer, face: Face, request: web.BaseRequest, listener: Listener) -> None:
        self._server = server
        self._face = face
        self._request = request
        self._listener = listener

    async def run(self, call: Call, process: Process, wrap: Wrap) -> None:
        server = self._server
        row = server.receive(call, self._listener.connection, "WS", self._face)
        where = ("WS", call.path, row.symbol, row.connection)
        delay_ms, kind = server.faults.delay_ms(*where) if server.faults.armed else (0.0, "")
        if delay_ms:
            row.fault = kind
            await asyncio.sleep(delay_ms / 1000)
        fault = server.faults.pick(*where, now=server.venue.clock()) if server.faults.armed else None
        if fault is None:
            self._send(self._execute(call, row, process, 200))
            return
        row.fault = f"{row.fault}+{fault.kind}" if row.fault else fault.kind
        self._strike(fault, call, row, process, wrap)

    def _send(self, value: dict[str, Any]) -> None:
        self._listener.send(text_frame(orjson.dumps(value)))

    def _execute(self, call: Call, row: Row, process: Process, status: int | str) -> dict[str, Any]:
        call.now = self._server.venue.clock()
        with self._server.bent(call):
            told = process()
        self._server.decide(row, status, Answer(200, b"", [], call.order_id, call.executed, call.items))
        return told

    def _strike(self, fault: Fault, call: Call, row: Row, process: Process, wrap: Wrap) -> None:
        """Kinds that only make sense on HTTP bytes act as a stall."""
        server = self._server
        if fault.kind in BENDING_KINDS:
            call.bend = Bend(fault, row.lane, call.now)
            self._send(self._execute(call, row, process, 200))
        elif fault.kind == "half_open":
            server.decide(row, "none", None)
            self._listener.fall_silent()
        elif fault.kind == "reset_before":
            server.decide(row, "reset", None)
            reset(self._request)
        elif fault.kind == "reset_after":
            self._execute(call, row, process, "reset")
            reset(self._request)
        elif fault.kind == "drop_reply":
            self._execute(call, row, process, "none")
        elif fault.kind == "reply_twice":
            told = self._execute(call, row, process, 200)
            self._send(told)
            self._send(told)
        elif fault.kind == "answer":
            if fault.params["execute"]:
                self._execute(call, row, process, fault.params["status"])
            else:
                server.decide(row, fault.params["status"], None)
            self._listener.send(text_frame(fault.params["body"].encode()))
        elif fault.kind == "rate_limit":
            limited = self._face.limited(max(1, int(fault.params["duration_s"])))
            server.decide(row, limited.status, None)
            self._send(wrap(orjson.loads(limited.body)))
        elif fault.kind == "venue_error":
            meaning = MEANINGS[fault.params["name"]]
            if server.troubled(meaning, fault, row):
                self._execute(call, row, process, meaning.status)
            else:
                server.decide(row, meaning.status, None)
            self._send(wrap(_json(meaning.body)))
        else:
            server.decide(row, "none", None)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
