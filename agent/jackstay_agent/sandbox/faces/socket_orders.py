"""A request over a WebSocket connection: its ledger rows, its faults, its answer, whichever venue's it is."""

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
Wrap = Callable[[int, dict[str, Any]], dict[str, Any]]
StatusOf = Callable[[dict[str, Any]], int]


class SocketOrders:
    """Runs the requests of one connection, of this face or of Binance's. `process` executes one, `wrap` makes a REST
    status and body its answer; `status_of` reads an answer's status where the venue says one.
    """

    def __init__(
        self,
        server: SandboxServer,
        request: web.BaseRequest,
        listener: Listener,
        face: Face | None = None,
        *,
        status_of: StatusOf = lambda told: 200,
    ) -> None:
        self._server = server
        self._face = face
        self._request = request
        self._listener = listener
        self._status_of = status_of

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
            self._send(self._execute(call, row, process))
            return
        row.fault = f"{row.fault}+{fault.kind}" if row.fault else fault.kind
        self._strike(fault, call, row, process, wrap)

    def _send(self, value: dict[str, Any]) -> None:
        self._listener.send(text_frame(orjson.dumps(value)))

    def _execute(self, call: Call, row: Row, process: Process, status: int | str = "") -> dict[str, Any]:
        """`status`: what the client gets to see of it, where that is not its own answer."""
        call.now = self._server.venue.clock()
        with self._server.bent(call):
            told = process()
        answer = Answer(self._status_of(told), b"", [], call.order_id, call.executed, call.items)
        self._server.decide(row, status or answer.status, answer)
        return told

    def _strike(self, fault: Fault, call: Call, row: Row, process: Process, wrap: Wrap) -> None:
        """Kinds that only make sense on HTTP bytes act as a stall."""
        server = self._server
        if fault.kind in BENDING_KINDS:
            call.bend = Bend(fault, row.lane, call.now)
            self._send(self._execute(call, row, process))
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
            told = self._execute(call, row, process)
            self._send(told)
            self._send(told)
        elif fault.kind == "answer":
            if fault.params["execute"]:
                self._execute(call, row, process, fault.params["status"])
            else:
                server.decide(row, fault.params["status"], None)
            self._listener.send(text_frame(fault.params["body"].encode()))
        elif fault.kind == "rate_limit":
            limited = server.limited(fault, self._face)
            server.decide(row, limited.status, None)
            self._send(wrap(limited.status, orjson.loads(limited.body)))
        elif fault.kind == "venue_error":
            meaning = MEANINGS[fault.params["name"]]
            if server.troubled(meaning, fault, row):
                self._execute(call, row, process, meaning.status)
            else:
                server.decide(row, meaning.status, None)
            self._send(wrap(meaning.status, _json(meaning.body)))
        else:
            server.decide(row, "none", None)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
