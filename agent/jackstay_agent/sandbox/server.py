"""The sandbox's HTTP and WebSocket server: one port, the face of the venue, the admin API beside it.

Order per request: ledger row, fault, limits, authentication, engine, answer. Admin requests (/admin/…) are never
counted, never faulted and never in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket as sockets
import ssl
import struct
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from .answers import AFTER, RawAnswers, json_bytes
from .engine.exchange import Exchange, Reject, default_symbols
from .faces.binance_spot import ROUTES, ApiKey, BinanceSpot, Route
from .faults import Fault, FaultBook, FaultError
from .ledger import Ledger
from .limits import Limits
from .streams import Streams

MARKET_STEP_S = 0.05
SILENT_S = 300.0
START_BALANCES = {"USDT": "1000000", "BTC": "100", "ETH": "1000"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox is set up."""

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    state: Path | None = None
    quiet: bool = False  # no background market
    weights: bool = False  # enforce request weights and order counts
    weight_1m: int = 6000
    orders_10s: int = 100
    clock_offset_ms: int = 0
    tls: bool = False
    unix: Path | None = None  # listen here too: a stock client speaks plain HTTP over it and keeps its https URLs
    keys: list[ApiKey] = field(default_factory=lambda: [ApiKey("sandbox-key", "sandbox-secret", "main")])


class Sandbox:
    """One simulated venue in this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = FaultBook(settings.seed)
        self.ledger = Ledger()
        self.limits = Limits(enforce=settings.weights, weight_1m=settings.weight_1m, orders_10s=settings.orders_10s)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._numbering: dict[str, bool] = {}
        self._frozen = False
        self._open_exchange()
        if settings.state is not None and settings.state.exists():
            self._load(settings.state)

    def _open_exchange(self) -> None:
        self.exchange = Exchange(
            default_symbols(),
            now_ms=lambda: int(time.time() * 1000) + self.settings.clock_offset_ms,
            seed=self.settings.seed,
            on_event=self._on_event,
        )
        self.face = BinanceSpot(
            self.exchange, {key.key: key for key in self.settings.keys}, clock_offset_ms=self.settings.clock_offset_ms
        )
        self.streams = Streams(self.exchange, self.faults)
        for owner in {key.owner for key in self.settings.keys}:
            account = self.exchange.account(owner)
            for asset, amount in START_BALANCES.items():
                account.free[asset] = Decimal(amount)
        self.exchange.seed_quotes()

    def _on_event(self, kind: str, what: Any) -> None:
        if kind == "trade" and hasattr(self, "streams"):
            self.streams.on_trade(what)

    # ------------------------------------------------------------ life

    async def start(self) -> dict[str, Any]:
        """Listen; the facts a caller needs."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        context, ca = self._tls() if self.settings.tls else (None, "")
        site = web.TCPSite(
            self._runner, self.settings.host, self.settings.port, ssl_context=context, reuse_address=True
        )
        await site.start()
        if self.settings.unix is not None:
            await web.UnixSite(self._runner, str(self.settings.unix)).start()
        server = site._server
        assert isinstance(server, asyncio.Server) or hasattr(server, "sockets")
        port = server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._tasks.append(asyncio.create_task(self._pulse()))
        secure = "s" if self.settings.tls else ""
        facts = {
            "ready": True,
            "port": port,
            "url": f"http{secure}://{self.settings.host}:{port}",
            "ws_url": f"ws{secure}://{self.settings.host}:{port}/ws",
        }
        return facts | ({"ca": ca} if ca else {})

    def _tls(self) -> tuple[ssl.SSLContext, str]:
        import tempfile

        import trustme

        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost", "api.binance.com", "stream.binance.com").configure_cert(context)
        with tempfile.NamedTemporaryFile(prefix="sandbox-ca-", suffix=".pem", delete=False) as out:
            out.write(authority.cert_pem.bytes())
        return context, out.name

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.settings.state is not None:
            self._save(self.settings.state)
        self.streams.reset_all()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pulse(self) -> None:
        """The background market moves and the books are told."""
        while True:
            await asyncio.sleep(MARKET_STEP_S)
            if not self.settings.quiet:
                self.exchange.market_step()
            self.streams.flush_books()

    def _save(self, path: Path) -> None:
        blob = pickle.dumps(
            {"exchange": self.exchange.save(), "rows": list(self.ledger.rows), "seq": self.ledger._serial}
        )
        temporary = path.with_suffix(".new")
        temporary.write_bytes(blob)
        temporary.replace(path)

    def _load(self, path: Path) -> None:
        state = pickle.loads(path.read_bytes())  # our own file
        self.exchange.load(state["exchange"])
        self.ledger.rows.extend(state["rows"])
        self.ledger._serial = state["seq"]

    # ------------------------------------------------------------ requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path.startswith("/admin/"):
            return await self._admin(request)
        if self._frozen:
            return self._reset(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.streams.serve(request)
        body = await request.read()
        query = request.rel_url.raw_query_string
        text = body.decode("utf-8", "replace")
        params = dict(parse_qsl(query) + parse_qsl(text))
        api_key = request.headers.get("X-MBX-APIKEY", "")
        key = self.face.keys.get(api_key)
        alias = key.alias if key else ("unknown" if api_key else "")
        peer = request.transport.get_extra_info("peername") if request.transport else None
        row = self.ledger.receive(
            connection=peer[1] if peer else 0, method=request.method, path=path, params=params, api_key=alias
        )
        fault = self.faults.draw(request.method, path, params.get("symbol", ""), alias)
        if fault is not None:
            row["fault"] = fault.kind
            return await self._faulty(request, fault, row, params, query, text, api_key)
        status, headers, answer = self._process(request.method, path, row, params, query, text, api_key)
        return web.Response(status=status, headers=headers, body=answer)

    def _process(
        self,
        method: str,
        path: str,
        row: dict[str, Any],
        params: dict[str, str],
        query: str,
        text: str,
        api_key: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """The honest answer: (status, headers, body); the row learns what happened."""
        route = ROUTES.get((method, path))
        used, refused, wait_s = self.limits.charge(route.weight if route else 1)
        headers = {"Content-Type": "application/json;charset=UTF-8", "X-MBX-USED-WEIGHT-1M": str(used)}
        if refused:
            headers["Retry-After"] = str(int(wait_s) + 1)
            row["retry_after_s"] = int(wait_s) + 1
            until = int((time.time() + wait_s) * 1000)
            what = "banned until" if refused == 418 else "current limit; retry after"
            row["status"] = refused
            return refused, headers, json_bytes({"code": -1003, "msg": f"Too many requests; {what} {until}."})
        if route is None:
            row["status"] = 404
            return 404, headers, json_bytes({"code": -1000, "msg": f"no route {method} {path}"})
        try:
            answer = self._run(route, headers, params, query, text, api_key)
        except Reject as reject:
            row["status"] = reject.status
            return reject.status, headers, json_bytes({"code": reject.code, "msg": reject.message})
        row["status"] = 200
        row["executed"] = route.changes
        if isinstance(answer, dict):
            row["order_id"] = answer.get("orderId")
        return 200, headers, json_bytes(answer)

    def _run(
        self, route: Route, headers: dict[str, str], params: dict[str, str], query: str, text: str, api_key: str
    ) -> Any:
        key = None
        if route.signed:
            payload, signature = _split_signature(query, text)
            key = self.face.authenticate(api_key, payload, signature, params, route.needs)
        if route.orders and key is not None:
            count, fine = self.limits.count_orders(key.owner, route.orders)
            if not fine:
                raise Reject(-1015, "Too many new orders; current limit is 100 orders per TEN_SECONDS.", 429)
            headers["X-MBX-ORDER-COUNT-10S"] = str(count)
        return route.handler(self.face, params, key)

    # ------------------------------------------------------------ faults

    async def _faulty(
        self,
        request: web.Request,
        fault: Fault,
        row: dict[str, Any],
        params: dict[str, str],
        query: str,
        text: str,
        api_key: str,
    ) -> web.StreamResponse:
        processed = None
        if fault.kind in AFTER or (fault.kind == "answer" and fault.params.get("execute")):
            processed = self._process(request.method, request.path, row, params, query, text, api_key)
        if fault.kind == "latency":
            ms = float(fault.params.get("ms", 100)) + float(fault.params.get("jitter_ms", 0)) * self.faults.jitter()
            await asyncio.sleep(ms / 1000)
            status, headers, body = self._process(request.method, request.path, row, params, query, text, api_key)
            return web.Response(status=status, headers=headers, body=body)
        if fault.kind in ("reset_before", "reset_after"):
            row["status"] = "reset"
            return self._reset(request)
        if fault.kind in ("stall", "drop_reply"):
            row["status"] = "none"
            return await self._silent(request)
        if fault.kind == "rate_limit":
            seconds = int(fault.params.get("retry_after_s", 1))
            row["status"], row["retry_after_s"] = 429, seconds
            self.limits.refuse_for(seconds)
            headers = {"Retry-After": str(seconds), "Content-Type": "application/json;charset=UTF-8"}
            return web.Response(
                status=429, headers=headers, body=json_bytes({"code": -1003, "msg": "Too many requests."})
            )
        row["status"] = fault.params.get("status", 200)
        return await RawAnswers(request).send(fault, processed)

    def _reset(self, request: web.Request) -> web.StreamResponse:
        """RST instead of FIN: no farewell, unread bytes lost."""
        transport = request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        """Never answer; the handler ends with the connection, or after SILENT_S at the latest."""
        transport = request.transport
        limit_at = time.monotonic() + SILENT_S
        # The server library tells a handler nothing of a closed peer, so there is nothing to await.
        while transport is not None and not transport.is_closing() and time.monotonic() < limit_at:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return web.Response()

    # ------------------------------------------------------------ admin

    async def _admin(self, request: web.Request) -> web.Response:
        verb = request.path.removeprefix("/admin/")
        query = {name: str(value) for name, value in request.query.items()}
        if request.method == "GET":
            views: dict[str, Any] = {
                "ledger": lambda: self.ledger.query(query),
                "checks": self.ledger.checks,
                "faults": self.faults.armed,
                "orders": lambda: self._orders(query),
                "balances": self._balances,
                "streams": lambda: {"sent": self.streams.sent, "connects": self.streams.connects},
            }
            if verb in views:
                return _json(views[verb]())
        elif verb == "faults" and request.method == "POST":
            try:
                return _json({"id": self.faults.arm(await request.json())})
            except (FaultError, ValueError) as error:
                return _json({"error": str(error)}, status=400)
        elif verb.startswith("faults") and request.method == "DELETE":
            return _json({"cleared": self.faults.clear(verb.partition("/")[2] or None)})
        elif request.method == "POST":
            return self._order_admin(verb, await request.json() if request.can_read_body else {})
        return _json({"error": f"unknown admin request {request.method} {verb}"}, status=404)

    def _order_admin(self, verb: str, given: dict[str, Any]) -> web.Response:
        if verb == "reset":
            self.faults.clear()
            self.ledger.clear()
            self.limits.clear()
            streams = self.streams
            self._open_exchange()
            self.streams = streams
            streams._exchange = self.exchange
            return _json({"reset": True})
        if verb == "stream_reset":
            return _json({"closed": self.streams.reset_all()})
        if verb == "seq":
            return _json(self._number(str(given.get("symbol", "BTCUSDT")), float(given.get("per_s", 0))))
        if verb == "save":
            if self.settings.state is None:
                return _json({"error": "no --state file"}, status=400)
            self._frozen = True  # what comes after the save is reset, so the file stays the truth
            self._save(self.settings.state)
            return _json({"saved": str(self.settings.state)})
        return _json({"error": f"unknown admin request POST {verb}"}, status=404)

    def _number(self, symbol: str, per_s: float) -> dict[str, Any]:
        """Start, change or stop the numbered stream of a symbol."""
        run = object()
        self._numbering[symbol] = True
        self._runs = getattr(self, "_runs", {}) | {symbol: run}
        if per_s > 0:
            self._tasks.append(
                asyncio.create_task(self.streams.number(symbol, per_s, lambda: self._runs.get(symbol) is not run))
            )
        return {"symbol": symbol, "per_s": per_s}

    def _orders(self, query: dict[str, str]) -> list[dict[str, Any]]:
        from .faces.binance_spot import order_json

        return [
            order_json(order) | {"owner": order.owner}
            for order in self.exchange.orders.values()
            if order.owner != "market" and all(str(getattr(order, key, None)) == value for key, value in query.items())
        ]

    def _balances(self) -> dict[str, Any]:
        return {
            owner: {
                asset: {"free": str(account.free.get(asset, 0)), "locked": str(account.locked.get(asset, 0))}
                for asset in sorted(set(account.free) | set(account.locked))
            }
            for owner, account in self.exchange.accounts.items()
        }


def _split_signature(query: str, text: str) -> tuple[str, str | None]:
    """Payload and signature; the signature may stand in the query or in the body (python-binance DELETE)."""
    signature = None
    parts = []
    for part in (query, text):
        kept = []
        for pair in part.split("&") if part else []:
            name, _, value = pair.partition("=")
            if name == "signature":
                signature = value
            else:
                kept.append(pair)
        parts.append("&".join(kept))
    return "".join(parts), signature


def _json(what: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(what).encode(), content_type="application/json")
