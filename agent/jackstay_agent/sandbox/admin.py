"""The administration under `/admin/`: arming faults, reading the ledger, resetting. JSON in, JSON out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from . import checks
from .engine.model import MARKET_ACCOUNT, ZERO
from .engine.trading import hours_of
from .faces import binance_views as views
from .faces import usdm_views
from .faults import IMMEDIATE_KINDS
from .wire import RawAnswer, head

if TYPE_CHECKING:
    from .server import SandboxServer
    from .venue import Venue


class BadRequest(Exception):
    """The administrator asked for something that cannot be done; the message says what is wrong."""


class Admin:
    """Serves the administration of one server."""

    def __init__(self, server: SandboxServer) -> None:
        self._server = server
        self._routes: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("POST", "/admin/faults"): self._arm,
            ("GET", "/admin/faults"): lambda asked: self._server.faults.views(),
            ("DELETE", "/admin/faults"): lambda asked: {"cleared": self._server.faults.clear()},
            ("GET", "/admin/ledger"): self._ledger,
            ("GET", "/admin/checks"): lambda asked: checks.run(self._server.venue.ledger.rows()),
            ("GET", "/admin/orders"): self._orders,
            ("GET", "/admin/balances"): self._balances,
            ("GET", "/admin/positions"): self._positions,
            ("GET", "/admin/status"): self._status,
            ("POST", "/admin/mark"): self._mark,
            ("POST", "/admin/reset"): self._reset,
            ("POST", "/admin/streams"): self._streams,
            ("POST", "/admin/market"): self._market,
            ("POST", "/admin/state/save"): self._save,
            ("GET", "/admin/stream-ledger"): self._stream_ledger,
            ("POST", "/admin/mode"): self._mode,
            ("POST", "/admin/hours"): self._hours,
            ("POST", "/admin/sockets"): self._sockets,
            ("POST", "/admin/clock"): self._clock,
            ("POST", "/admin/fill"): self._fill,
        }

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        body = await request.read()
        status, value = self._answer(request.method, path, query, body)
        data = orjson.dumps(value)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        return RawAnswer(head(status, headers) + data, close=not request.keep_alive)

    def _answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Any]:
        try:
            asked: Any = orjson.loads(body) if body else {}
            if not isinstance(asked, dict):
                raise BadRequest(f"the body is a {type(asked).__name__}: expected a JSON object")
            asked |= dict(parse_qsl(query))
            if method == "DELETE" and path.startswith("/admin/faults/"):
                if not self._server.faults.clear(path.removeprefix("/admin/faults/")):
                    return 404, {"error": "no such fault is armed"}
                return 200, {"cleared": 1}
            route = self._routes.get((method, path))
            if route is None:
                known = ", ".join(f"{verb} {where}" for verb, where in self._routes)
                return 404, {"error": f"no such administration request: expected one of {known}"}
            return 200, route(asked)
        except (BadRequest, ValueError, TypeError, KeyError) as error:
            return 400, {"error": str(error)}

    def _arm(self, asked: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        fault = server.faults.arm(asked, server.venue.clock())
        if fault.kind in IMMEDIATE_KINDS:
            server.faults.clear(fault.id)
            return {"id": fault.id, "struck": server.incidents.happen(fault)}
        return {"id": fault.id}

    def _stream_ledger(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return self._server.log.query(
            stream=str(asked.get("stream") or ""),
            fault=str(asked.get("fault") or ""),
            connection=int(asked.get("connection") or 0),
            since=int(asked.get("since") or 0),
            limit=int(asked.get("limit") or 1000),
        )

    def _mode(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The venue's mode, or one symbol's, for good or for `for_s` seconds."""
        mode, market, symbol = (str(asked.get(name) or "") for name in ("mode", "market", "symbol"))
        self._server.incidents.set_mode(mode, market=market, symbol=symbol, for_s=float(asked.get("for_s") or 0))
        self._server.saved()
        return {"mode": mode}

    def _hours(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A symbol's opening hours; none of them when `hours` is empty."""
        symbol, text = str(asked.get("symbol") or ""), str(asked.get("hours") or "")
        venues = self._trading(symbol, str(asked.get("market") or ""))
        hours = hours_of(text, str(asked.get("days") or "")) if text else None
        for venue in venues:
            if hours is None:
                venue.hours.pop(symbol, None)
            else:
                venue.hours[symbol] = hours
        return {"symbol": symbol, "open": venues[0].exchange.trading.is_open(symbol, venues[0].clock())}

    def _trading(self, symbol: str, market: str = "") -> list[Venue]:
        """The markets (one by name, or all) that trade a symbol."""
        there = [each for each in self._server.incidents.venues(market) if symbol in each.exchange.markets]
        if not there:
            raise BadRequest(f"unknown symbol {symbol!r}")
        return there

    def _sockets(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How long connections and listen keys live: `door` is spot, api or usdm, all of them when absent."""
        door, listen_key_s = str(asked.pop("door", "") or ""), asked.pop("listen_key_s", None)
        self._server.doorkeeper.set(asked, door)
        if listen_key_s is not None:
            for users in (self._server.users, self._server.usdm_users):
                users.listen_key_ttl_ms = int(float(listen_key_s) * 1000)
        return {name: asdict(rules) for name, rules in self._server.doorkeeper.rules.items()}

    def _clock(self, asked: dict[str, Any]) -> dict[str, Any]:
        offset_ms = asked.get("offset_ms")
        if not isinstance(offset_ms, int) or isinstance(offset_ms, bool):
            raise BadRequest(f"offset_ms is {offset_ms!r}: expected a whole number of milliseconds")
        self._server.incidents.shift_clock(offset_ms)
        return {"offset_ms": offset_ms}

    def _fill(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The background market takes a part of a resting order, at its price."""
        (venue,) = self._server.incidents.venues(str(asked.get("market") or "spot"))
        order = venue.exchange.orders.get(int(asked.get("order_id") or 0))
        if order is None or not order.is_open or not order.working:
            raise BadRequest(f"order {asked.get('order_id')!r}: expected the number of an order that rests")
        quantity = _decimal(asked.get("quantity") or order.remaining, "quantity")
        if not ZERO < quantity <= order.remaining:
            raise BadRequest(f"quantity is {quantity}: expected more than 0 and at most {order.remaining}")
        venue.exchange.fill(order, quantity)
        self._server.saved()
        return {"filled": str(order.filled), "status": order.status}

    def _ledger(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        filters = {name: str(asked[name]) for name in ("path", "method", "client_order_id") if asked.get(name)}
        return self._server.venue.ledger.query(since=int(asked.get("since") or 0), **filters)  # type: ignore[arg-type]

    def _orders(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        for face in self._server.markets:
            if asked.get("market") == face.name:
                return face.orders(asked.get("account"), asked.get("symbol"))
        usdm = asked.get("market") == "usdm"
        exchange, view = (
            (self._server.usdm if usdm else self._server.venue).exchange,
            (usdm_views.order_json if usdm else views.order_json),
        )
        return [
            view(order) | {"account": order.account}
            for order in exchange.orders.all_of(asked.get("account"), asked.get("symbol"))
            if order.account != MARKET_ACCOUNT
        ]

    def _balances(self, asked: dict[str, Any]) -> dict[str, Any]:
        mounted = {face.name: face.venue for face in self._server.markets}
        wallets = mounted.get(str(asked.get("market")), self._server.venue).exchange.wallets
        return {
            account: {
                asset: {"free": views.amount(balance.free), "locked": views.amount(balance.locked)}
                for asset, balance in wallets.assets(account).items()
            }
            for account in wallets.accounts()
            if not account.startswith("@")
        }

    def _status(self, asked: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        return {
            "requests": server.venue.ledger.next_seq - 1,
            "stream_messages": sum(hub.sent for hub in server.hubs),
            "streams": [{"connection": each.connection, "streams": list(each.streams), "sent": each.sent}
                        for hub in server.hubs for each in hub.listeners],
            "faults": server.faults.views(),
            "limits": {"enforced": server.venue.limits.enforced},
            "prices": {name: str(market.last_price) for name, market in server.venue.exchange.markets.items()},
        }  # fmt: skip

    def _mark(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A line in the ledger, so that "after this" can be judged: `gate` and `open` are read by the checks."""
        name = str(asked.get("name") or "")
        if not name:
            raise BadRequest("a mark needs a name, such as gate or open")
        return {"seq": self._server.mark(name).seq}

    def _reset(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._server.reset()
        return {"reset": True}

    def _streams(self, asked: dict[str, Any]) -> dict[str, Any]:
        rate = asked.get("seq_rate")
        if not isinstance(rate, int | float) or not 0 <= rate <= 200_000:
            raise BadRequest(f"seq_rate is {rate!r}: expected messages a second from 0 to 200000")
        self._server.streams.seq_rate = float(rate)
        return {"seq_rate": rate}

    def _positions(self, asked: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        futures = self._server.usdm.futures
        return {
            account: [usdm_views.position_json(futures, each) for each in futures.positions.positions(account)]
            for account in futures.wallets.accounts()
            if not account.startswith("@")
        }

    def _market(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Move a symbol's price: the background market quotes around it from its next step, which is taken now."""
        symbol, text = str(asked.get("symbol")), str(asked.get("price"))
        there, price = self._trading(symbol), _decimal(text, "price")
        for venue in there:
            venue.background.follow(symbol, price)
            venue.tick()
        self._server.saved()
        return {"symbol": symbol, "price": str(there[0].exchange.markets[symbol].last_price)}

    def _save(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._server.state is None:
            raise BadRequest("started without --state: there is no file to save to")
        self._server.state.save()
        return {"saved": True}


def _decimal(value: Any, name: str) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise BadRequest(f"{name} is {value!r}: expected a number") from None
    if not found.is_finite():
        raise BadRequest(f"{name} is {value!r}: expected a number")
    return found
