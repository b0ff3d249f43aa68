"""The venue on a port: reads a request, writes it into the ledger, lets faults strike, asks the face, answers.

One port serves everything: REST, WebSocket and `/admin/`. Administration is never counted, never faulted and never
in the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from . import websocket
from .admin import Admin
from .answers import Answer, Call, form
from .engine.model import Event, OrderChange
from .faces import binance_spot, usdm
from .faces.binance_meanings import Meaning
from .faces.binance_streams import BinanceStreams
from .faces.binance_user import UserStreams
from .faces.bybit import BybitFace
from .faces.face import Face, Facts, OwnMarket, Told
from .faces.kraken import KrakenFace
from .faces.meanings import MEANINGS
from .faces.okx import OkxFace
from .faces.usdm_user import UsdmUserStreams
from .fault_effects import answer_bytes, strike
from .faults import Fault, FaultBox
from .ledger import Row
from .state import StateFile
from .streams import StreamHub
from .venue import Venue
from .wire import RawAnswer, reset
from .ws_api import WsApi

TURN_S = 0.1
USDM_PREFIX = "/fstream"
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
        self.hub = StreamHub(self.faults)
        self.streams = BinanceStreams(venue, self.hub)
        self.users = venue.users = UserStreams(venue, self.hub)
        self.usdm = Venue(
            kind="usdm", seed=venue.seed, clock=venue.clock, enforce_limits=venue.limits.enforced, beside=venue
        )
        self.usdm_hub = StreamHub(self.faults)
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
        self.ws_api = WsApi(self)
        self.admin = Admin(self)
        self._tick_s = 0.0 if quiet else tick_s
        self._http = _Connections(self._handle)
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: dict[int, web.BaseRequest] = {}
        venue.on_event += [self.streams.event, self._tell_owner]

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

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> int:
        """Listen and begin to tick; returns the port. Over ``unix`` a stock client keeps its https URLs."""
        if self.state is not None:
            self.state.load()
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
        self._tasks = [asyncio.create_task(self._turns()), asyncio.create_task(self._counts())]
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
        if self.state is not None:
            self.state.close()

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
        self.venue.reset()
        self.usdm.reset()
        self.streams.rebuilt()
        self.usdm_streams.rebuilt()
        for face in self.faces:
            face.rebuilt()
        if self.state is not None:
            self.state.save()

    def reset_streams(self) -> int:
        """Reset every stream connection now; returns how many there were."""
        there = list(self._sockets.values())
        for request in there:
            reset(request)
        return len(there)

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
        row, *further = self._rows(call, connection, method, face.facts(call) if face else _binance_facts(call))
        if further:
            self._further[row.seq] = further
        if self.state is not None:
            self.state.flush()
        return row

    def _rows(self, call: Call, connection: int, method: str, facts: Facts) -> list[Row]:
        text = f"{call.method} {call.path}?{call.query}".encode() + call.body
        rows = []
        for number, told in enumerate(facts.told):
            row = Row(
                seq=self.venue.ledger.next_seq,
                at=time.monotonic(),
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

    def _process(self, call: Call) -> Answer:
        """Ask the face; never raises."""
        call.now = self.venue.clock()
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
        if fault.kind == "hidden":
            call.hidden_ms = int(fault.params["ms"])
            return None
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
        answer = self.faults.limited(fault, self.venue.limits, self.venue.clock())
        if (face := self.face_of(call.path)) is not None:
            answer = face.limited(int(dict(answer.headers)["Retry-After"]))
        self.decide(row, answer.status, answer)
        return RawAnswer(answer_bytes(answer))

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
        known = call.path in face.doors if face else websocket.serves(call.path.removeprefix(USDM_PREFIX))
        if not known:
            answer = Answer(404, b"", [])
            self.decide(row, 404, answer)
            return RawAnswer(answer_bytes(answer, keep_alive=False), close=True)
        self.decide(row, 101, None)
        self._sockets[row.seq] = request
        try:
            if face is not None:
                return await face.converse(request, call, row.connection)
            if call.path == "/ws-api/v3":
                return await self.ws_api.serve(request, row.connection)
            hub = self.usdm_hub if _is_usdm(call) else self.hub
            return await websocket.serve(request, call.path.removeprefix(USDM_PREFIX), call.query, hub, row.connection)
        finally:
            del self._sockets[row.seq]

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

    async def _counts(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(COUNT_S)
            now = time.monotonic()
            self.streams.count(now - before)
            self.usdm_streams.count(now - before)
            before = now
            fired = [face.expire() for face in self.faces]
            if (self.usdm.futures.countdowns and self.usdm.futures.fire_countdowns()) or any(fired):
                self.saved()


def _binance_facts(call: Call) -> Facts:
    params = call.params
    named = params.get("newClientOrderId") or params.get("origClientOrderId") or ""
    window = params.get("recvWindow", "")
    return Facts(
        api_key=call.headers.get("X-MBX-APIKEY") or params.get("apiKey", ""),
        lane=_lane(call),
        told=(Told(named, params.get("symbol", ""), _intent(params)),),
        age_ms=_age_ms(params, call.now),
        ttl_ms=int(window) if window.isdigit() else None,
    )


def _is_usdm(call: Call) -> bool:
    """Futures streams have a host of their own, which a redirected client still names; or say so in the path."""
    return call.path.startswith(USDM_PREFIX) or call.headers.get("Host", "").startswith("fstream")


def _intent(params: dict[str, str]) -> str:
    if "side" not in params:
        return ""
    names = ("side", "type", "quantity", "quoteOrderQty", "price", "stopPrice")
    return " ".join(params[name] for name in names if name in params)


def _age_ms(params: dict[str, str], now: int) -> int | None:
    sent = params.get("timestamp", "")
    return now - int(sent) if sent.isdigit() else None


def _lane(call: Call) -> str:
    """What a client would call the request's lane: trade, cancel, query or public."""
    if call.method in ("POST", "PUT") and "/order" in call.path:
        return "trade"
    if call.method == "DELETE":
        return "cancel"
    return "query" if "signature" in call.params else "public"
