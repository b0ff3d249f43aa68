"""The venue on a port: reads a request, writes it into the ledger, lets faults strike, asks the face, answers.

One port serves everything: REST, WebSocket and `/admin/`. Administration is never counted, never faulted and never
in the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from . import websocket
from .admin import Admin
from .answers import Answer, Call, form
from .bending import BENDING_KINDS, Bend, bent
from .engine.exchange import Exchange
from .engine.model import Event, OrderChange
from .faces import binance_facts, binance_spot, usdm, usdm_ws_api
from .faces.binance_meanings import Meaning
from .faces.binance_streams import BinanceStreams
from .faces.binance_user import UserStreams
from .faces.binance_ws_api import Api
from .faces.bybit import BybitFace
from .faces.face import Face, Facts, OwnMarket
from .faces.kraken import KrakenFace
from .faces.meanings import MEANINGS
from .faces.okx import OkxFace
from .faces.usdm_user import UsdmUserStreams
from .fault_effects import answer_bytes, strike
from .faults import Fault, FaultBox
from .futures_state import FuturesNotes
from .futures_state import restore as restore_futures
from .incidents import Incidents
from .ledger import Row
from .lifetimes import Doorkeeper
from .line_stream import LINE_STREAM_PATH, serve_lines
from .stalls import Stalls
from .state import StateFile
from .stream_log import StreamLog
from .streams import StreamHub
from .venue import Venue
from .wire import RawAnswer, reset
from .ws_api import WsApi

TURN_S = 0.1
USDM_PREFIX = "/fstream"
# USDⓈ-M sorts its streams by kind since 2026; any room serves any stream here
USDM_ROOMS = (USDM_PREFIX, "/public", "/market", "/private")
COUNT_S = 0.02
BODY_MAX_BYTES = 1024 * 1024


class _Connections(web.Server):
    """aiohttp's low-level server, numbering connections so that the ledger can tell them apart."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler, handler_cancellation=True, access_log=None)
        self.numbers: dict[Any, int] = {}
        self._last = 0

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._last += 1
        self.numbers[handler] = self._last
        super().connection_made(handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self.numbers.pop(handler, None)
        super().connection_lost(handler, exc)


class SandboxServer:
    """Owns the venue, its faults, its streams, its saved state, and the port."""

    def __init__(
        self, venue: Venue, *, state: StateFile | None = None, tick_s: float = 0.05, quiet: bool = False
    ) -> None:
        self.venue = venue
        self.state = state
        self.faults = FaultBox(venue.seed)
        self.log = StreamLog()
        self.doorkeeper = Doorkeeper(enforce_limits=venue.limits.enforced)
        self.hub = StreamHub(self.faults, self.log)
        self.streams = BinanceStreams(venue, self.hub)
        self.users = venue.users = UserStreams(venue, self.hub)
        self.usdm = Venue(
            kind="usdm", seed=venue.seed, clock=venue.clock, enforce_limits=venue.limits.enforced, beside=venue
        )
        self._usdm_notes = FuturesNotes()
        self.usdm_state: StateFile | None = None
        if state is not None:
            beside = state.path.with_suffix(state.path.suffix + ".usdm")
            self.usdm_state = StateFile(beside, self.usdm, ledger=False, notes=self._noted_usdm)
        self.usdm_hub = StreamHub(self.faults, self.log)
        self.usdm_streams = BinanceStreams(self.usdm, self.usdm_hub)
        self.usdm_users = UsdmUserStreams(self.usdm, self.usdm_hub)
        self.usdm.users = self.usdm_users
        self.usdm.on_event += [self.usdm_streams.event, self._tell_usdm_owner]
        self.faces: list[Face] = []
        self._further: dict[int, list[Row]] = {}
        # venues with a market of their own, which have to be moved, loaded and saved besides
        self.markets: list[OwnMarket] = []
        self.mount(KrakenFace(self))
        self.mount(OkxFace(self))
        self.mount(BybitFace(self))
        self.ws_api = WsApi(self, venue, self.users, self.hub)
        usdm_api = Api(usdm_ws_api.METHODS, usdm.refusal_of, usdm_ws_api.PREFIX)
        self.usdm_api = WsApi(self, self.usdm, self.usdm_users, self.usdm_hub, usdm_api)
        self.incidents = Incidents(self)
        for each in self.incidents.venues():
            each.keep_back = partial(self.incidents.keep_back, each)
        self.admin = Admin(self)
        self._tick_s = 0.0 if quiet else tick_s
        self._stalls = Stalls()
        self._http = _Connections(self._handle)
        self._tasks: list[asyncio.Task[None]] = []
        # by the number of their connection, which no reset of the ledger gives a second time
        self._sockets: dict[int, web.BaseRequest] = {}
        self.half_open: list[web.BaseRequest] = []
        venue.on_event += [self.streams.event, self._tell_owner]

    def _noted_usdm(self) -> dict[str, Any]:
        return self._usdm_notes(self.usdm.futures)

    def mount(self, face: Face) -> None:
        """Serve one more face on this port; it hears both engines."""
        self.faces.append(face)
        if isinstance(face, OwnMarket):
            self.markets.append(face)
        for venue in (self.venue, self.usdm):
            venue.on_event.append(partial(face.event, venue))

    def face_of(self, path: str) -> Face | None:
        """The mounted face whose path this is; None for Binance's."""
        return next((face for face in self.faces if face.serves(path)), None)

    @property
    def hubs(self) -> list[StreamHub]:
        """Every hub, those of faces with a market of their own included."""
        return [self.hub, self.usdm_hub, *(market.hub for market in self.markets)]

    def exchanges(self) -> list[Exchange]:
        return [venue.exchange for venue in self.incidents.venues()]

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> int:
        """Listen and begin to tick; returns the port. Over ``unix`` a stock client keeps its https URLs."""
        if self.state is not None:
            self.state.load()
        if self.usdm_state is not None and self.usdm_state.load():
            restore_futures(self.usdm.futures, self.usdm_state.noted or {})
        for market in self.markets:
            market.load()
        self.venue.open_books()
        self.usdm.open_books()
        self.saved()
        runner = web.ServerRunner(self._http, shutdown_timeout=0.2)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
        address = runner.addresses[0]
        if unix is not None:
            await web.UnixSite(runner, str(unix)).start()
        self._tasks = [asyncio.create_task(each) for each in (self._turns(), self._counts(), self._stalls.watch())]
        if self._tick_s:
            self._tasks.append(asyncio.create_task(self._ticks()))
        return int(address[1])

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.reset_streams()
        await self._runner.cleanup()
        self.saved()
        for market in self.markets:
            market.close()
        for each in (self.state, self.usdm_state):
            if each is not None:
                each.close()

    def saved(self) -> None:
        """Publish what happened and put it into the state file, before anybody is answered."""
        self.venue.publish()
        self.streams.after_batch()
        self.users.balances_changed(self.venue.exchange.wallets.touched)
        self.usdm.publish()
        self.usdm_streams.after_batch()
        for face in self.faces:
            face.after_batch()
        self.usdm_users.after_batch()
        if self.usdm_state is not None:
            self.usdm_state.flush()
        else:
            self.usdm.forget_changes(ledger=False)
        if self.state is not None:
            self.state.flush()
        else:
            self.venue.forget_changes()

    def _tell_owner(self, event: Event) -> None:
        if isinstance(event, OrderChange) and event.kind != "TRIGGERED":
            self.users.order_changed(event)

    def _tell_usdm_owner(self, event: Event) -> None:
        if isinstance(event, OrderChange) and event.kind != "TRIGGERED":
            self.usdm_users.order_changed(event)

    def reset(self) -> None:
        """As on the first day; connections stay, faults go."""
        self.faults.clear()
        self.log.clear()
        for hub in self.hubs:
            hub.forget()
        self.incidents.forget()
        self._abort_half_open()
        self.venue.reset()
        self.usdm.reset()
        self.streams.rebuilt()
        self.usdm_streams.rebuilt()
        for face in self.faces:
            face.rebuilt()
        for each in (self.state, self.usdm_state):
            if each is not None:
                each.save()

    def reset_streams(self, connection: int = 0) -> int:
        """Reset every stream connection (or the one of this number) now; returns how many there were."""
        there = [request for number, request in self._sockets.items() if connection in (0, number)]
        for request in there:
            reset(request)
        return len(there)

    def _abort_half_open(self) -> None:
        """Connections a fault made half-open would stand for ever: nobody reads what the other side does."""
        for request in self.half_open:
            reset(request)
        self.half_open.clear()
        for listener in [each for hub in self.hubs for each in hub.listeners if each.half_open]:
            listener.transport.abort()

    # requests --------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/admin/"):
            return await self.admin.handle(request, path, query)
        body = await request.read()
        connection = self._http.numbers.get(request.protocol, 0)
        call = self._call(request, path, query, body)
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        row = self.receive(call, connection, "WS" if upgrade else call.method)
        if self.faults.armed:
            struck = await self._fault(request, call, row, upgrade=upgrade)
            if struck is not None:
                return struck
        if upgrade:
            return await self._upgrade(request, call, row)
        if call.path == LINE_STREAM_PATH:
            return await self._lines(request, call, row)
        answer = self._process(call)
        self.decide(row, answer.status, answer)
        return RawAnswer(answer_bytes(answer, keep_alive=request.keep_alive), close=not request.keep_alive)

    def _call(self, request: web.BaseRequest, path: str, query: str, body: bytes) -> Call:
        params = form(query) if query else {}
        if body and not body.startswith((b"{", b"[")):
            params.update(form(body.decode("utf-8", "replace")))
        return Call(request.method, path, query, body, request.headers, params, self.venue.clock())

    def receive(self, call: Call, connection: int, method: str, face: Face | None = None) -> Row:
        """Write the request down; a batch gets one row for each of its orders, of which the first is returned."""
        face = face or self.face_of(call.path)
        row, *further = self._rows(call, connection, method, face.facts(call) if face else binance_facts.facts(call))
        if further:
            self._further[row.seq] = further
        if self.state is not None:
            self.state.flush()
        return row

    def _rows(self, call: Call, connection: int, method: str, facts: Facts) -> list[Row]:
        text = f"{call.method} {call.path}?{call.query}".encode() + call.body
        at, stalled_ms = time.monotonic(), 0
        if facts.age_ms is not None and facts.ttl_ms is not None and facts.age_ms > facts.ttl_ms:
            stalled_ms = int(self._stalls.within_s(at - facts.age_ms / 1000, at) * 1000)
        rows = []
        for number, told in enumerate(facts.told):
            row = Row(
                seq=self.venue.ledger.next_seq,
                at=at,
                wall=time.time(),
                connection=connection,
                method=method,
                path=call.path,
                client_order_id=told.client_order_id,
                symbol=told.symbol,
                api_key=self.venue.keys.alias(facts.api_key),
                lane=facts.lane,
                intent=told.intent,
                age_ms=facts.age_ms,
                ttl_ms=facts.ttl_ms,
                stalled_ms=stalled_ms,
                notes=call.items[number].notes if call.items else call.notes,
                # two orders of one batch are no repetition of each other
                digest=hashlib.blake2b(text + b"#%d" % number if number else text, digest_size=8).hexdigest(),
            )
            self.venue.ledger.receive(row)
            rows.append(row)
        return rows

    def mark(self, name: str) -> Row:
        """An administrator's mark among the ledger's rows."""
        row = Row(self.venue.ledger.next_seq, time.monotonic(), time.time(), 0, "MARK", name, "", "", "", "")
        self.venue.ledger.receive(row)
        self.saved()
        return row

    def note_fault(self, name: str, client_order_id: str = "", symbol: str = "") -> None:
        """A row for a fault that struck no request."""
        now, wall = time.monotonic(), time.time()
        row = Row(self.venue.ledger.next_seq, now, wall, 0, "FAULT", name, client_order_id, symbol, "", "")
        self.venue.ledger.receive(row)

    def bent(self, call: Call) -> AbstractContextManager[None]:
        """The engines as this request's fault wants them."""
        return bent(self.exchanges(), call.bend) if call.bend is not None else nullcontext()

    def _process(self, call: Call) -> Answer:
        """Ask the face; never raises."""
        call.now = self.venue.clock()
        if call.bend is not None:
            with self.bent(call):
                return self._answer(call)
        return self._answer(call)

    def _answer(self, call: Call) -> Answer:
        if (face := self.face_of(call.path)) is not None:
            return face.answer(call)
        if call.path.startswith("/fapi/"):
            return usdm.answer(self.usdm, call)
        return binance_spot.answer(self.venue, call)

    def decide(self, row: Row, status: int | str, answer: Answer | None) -> None:
        """What became of the request, and of every order in it."""
        outcomes = [(item.executed, item.order_id) for item in answer.items] if answer is not None else []
        whole = (answer.executed, answer.order_id) if answer is not None else (False, None)
        for number, each in enumerate([row, *self._further.pop(row.seq, ())]):
            each.fault = row.fault
            executed, order_id = outcomes[number] if number < len(outcomes) else whole
            self.venue.ledger.decided(each, status, executed=executed, order_id=order_id)
        self.saved()

    # faults ----------------------------------------------------------------------------------------------------

    async def _fault(
        self, request: web.BaseRequest, call: Call, row: Row, *, upgrade: bool
    ) -> web.StreamResponse | None:
        """What a fault makes of this request; None when it is to be served as usual."""
        where = (row.method, call.path, row.symbol, row.connection)
        delay_ms, kind = self.faults.delay_ms(*where)
        if delay_ms:
            row.fault = kind
            await self._wait(delay_ms / 1000, call, row, upgrade=upgrade)
        fault = self.faults.pick(*where, now=self.venue.clock())
        if fault is None:
            return None
        row.fault = f"{row.fault}+{fault.kind}" if row.fault else fault.kind
        if fault.kind == "rate_limit":
            return self._rate_limited(fault, call, row)
        if fault.kind in BENDING_KINDS:
            call.bend = Bend(fault, row.lane, self.venue.clock())
            return None
        if fault.kind == "half_open":
            self.half_open.append(request)
        if fault.kind == "venue_error":
            return self._venue_error(fault, call, row)
        return await strike(fault, request, row, lambda: self._process(call), self.decide)

    async def _wait(self, delay_s: float, call: Call, row: Row, *, upgrade: bool) -> None:
        """A slow venue executes what it has received, whether or not the client is still there."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            if not upgrade:
                loop.call_at(due, lambda: self.decide(row, "none", self._process(call)))
            raise

    def _rate_limited(self, fault: Fault, call: Call, row: Row) -> RawAnswer:
        answer = self.limited(fault, self.face_of(call.path))
        self.decide(row, answer.status, answer)
        return RawAnswer(answer_bytes(answer))

    def limited(self, fault: Fault, face: Face | None) -> Answer:
        """A rate limit in the words of this face, or of Binance."""
        answer = self.faults.limited(fault, self.venue.limits, self.venue.clock())
        return answer if face is None else face.limited(int(dict(answer.headers)["Retry-After"]))

    def _venue_error(self, fault: Fault, call: Call, row: Row) -> RawAnswer:
        """One of the venue's own troubled answers; the ones that mean "unknown" sometimes execute the request."""
        meaning = MEANINGS[fault.params["name"]]
        executed = self.troubled(meaning, fault, row)
        self.decide(row, meaning.status, self._process(call) if executed else None)
        answer = Answer(meaning.status, meaning.body, [("Content-Type", meaning.content_type)])
        return RawAnswer(answer_bytes(answer))

    def troubled(self, meaning: Meaning, fault: Fault, row: Row) -> bool:
        """Was the request executed all the same? What its answer leaves open is noted on its rows."""
        if meaning.unknown:
            # venues that say so in a 200 leave no other trace of it
            for each in [row, *self._further.get(row.seq, ())]:
                each.notes.append("unknown")
        return meaning.unknown and self.faults.chance(fault.params["execute_probability"])

    async def _upgrade(self, request: web.BaseRequest, call: Call, row: Row) -> web.StreamResponse:
        face = self.face_of(call.path)
        known = call.path in face.doors if face else websocket.serves(_bare_path(call.path))
        if not known:
            answer = Answer(404, b"", [])
            self.decide(row, 404, answer)
            return RawAnswer(answer_bytes(answer, keep_alive=False), close=True)
        self.decide(row, 101, None)
        self._sockets[row.connection] = request
        try:
            if face is not None:
                return await face.converse(request, call, row.connection)
            if call.path == "/ws-api/v3":
                return await self.ws_api.serve(request, row.connection)
            if call.path == "/ws-fapi/v1":
                return await self.usdm_api.serve(request, row.connection)
            hub, door = (self.usdm_hub, "usdm") if _is_usdm(call) else (self.hub, "spot")
            return await websocket.serve(
                request, _bare_path(call.path), call.query, hub, row.connection, self.doorkeeper, door
            )
        finally:
            del self._sockets[row.connection]

    async def _lines(self, request: web.BaseRequest, call: Call, row: Row) -> web.StreamResponse:
        """The endless chunked stream."""
        self.decide(row, 200, None)
        self._sockets[row.connection] = request
        try:
            hub, door = (self.usdm_hub, "usdm") if call.params.get("market") == "usdm" else (self.hub, "spot")
            return await serve_lines(request, call, hub, row.connection, self.doorkeeper, door)
        finally:
            del self._sockets[row.connection]

    # time ------------------------------------------------------------------------------------------------------

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            self.venue.tick()
            self.usdm.tick()
            for market in self.markets:
                market.tick()
            self.saved()

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            for streams, users in ((self.streams, self.users), (self.usdm_streams, self.usdm_users)):
                streams.turn()
                users.expire()
            for face in self.faces:
                face.turn()
            self.doorkeeper.turn(time.monotonic())
            self.incidents.turn()

    async def _counts(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(COUNT_S)
            now = time.monotonic()
            self.streams.count(now - before)
            self.usdm_streams.count(now - before)
            before = now
            self.fire_switches()

    def fire_switches(self) -> None:
        """Whatever dead-man switch has run out."""
        fired = [face.expire() for face in self.faces]
        if (self.usdm.futures.countdowns and self.usdm.futures.fire_countdowns()) or any(fired):
            self.saved()


def _is_usdm(call: Call) -> bool:
    """Futures streams have a host of their own, which a redirected client still names; or say so in the path."""
    return call.path.startswith(USDM_ROOMS) or call.headers.get("Host", "").startswith("fstream")


def _bare_path(path: str) -> str:
    """The path of a stream without the room of the futures host it is asked for in."""
    path = path.removeprefix(USDM_PREFIX)
    room = next((each for each in USDM_ROOMS if path.startswith(each)), "")
    return path.removeprefix(room)
