"""The Bybit v5 face: which path is served by what, with which permission and allowance; serving one request.

Allowances are those of the Bybit documentation (per account, endpoint and second; an address has 600 in five seconds),
as of 2026-07.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from ..answers import Answer, Call, json_answer
from ..engine.model import Event
from ..pace import Allowance, Count, Pace
from ..venue import Venue
from . import bybit_public as public
from . import bybit_trade as trade
from . import bybit_views as views
from .bybit_auth import act_for, check_window, require, sent_ms, signed, window_ms
from .bybit_errors import Refusal, envelope, refused
from .bybit_protection import Protection
from .bybit_socket import DOORS, OPERATIONS, Conversation, converse
from .bybit_streams import BybitStreams
from .face import Facts, Told, orders_of, words
from .instruments import Instrument, Instruments

if TYPE_CHECKING:
    from ..server import SandboxServer

PREFIX = "/v5/"
ADDRESS = Allowance(600, 5000)
SHUT_OUT_MS = 600_000  # who was too frequent comes again after ten minutes
Handler = Callable[["BybitFace", Call], Any]


@dataclass(slots=True, frozen=True)
class Route:
    """``permission``: "" for public. ``lane`` as the ledger calls it. ``per_s``: contracts; spot may do twice that."""

    handler: Handler
    permission: str = ""
    per_s: int = 50
    lane: str = "query"


def _one(handler: trade.ItemHandler, permission: str = "trade") -> Route:
    return Route(partial(trade.one, handle=handler), permission, 10, _lane(permission))


def _many(handler: trade.ItemHandler, permission: str = "trade") -> Route:
    return Route(partial(trade.many, handle=handler), permission, 10, _lane(permission))


def _lane(permission: str) -> str:
    return "cancel" if permission == "cancel" else "trade"


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "market/time"): Route(public.server_time),
    ("GET", "market/instruments-info"): Route(public.instruments),
    ("GET", "market/tickers"): Route(public.tickers),
    ("GET", "market/orderbook"): Route(public.order_book),
    ("GET", "market/recent-trade"): Route(public.trades),
    ("GET", "market/kline"): Route(public.candles),
    ("GET", "system/status"): Route(public.status),
    ("POST", "order/create"): _one(trade.place),
    ("POST", "order/amend"): _one(trade.amend),
    ("POST", "order/cancel"): _one(trade.cancel, "cancel"),
    ("POST", "order/create-batch"): _many(trade.place),
    ("POST", "order/amend-batch"): _many(trade.amend),
    ("POST", "order/cancel-batch"): _many(trade.cancel, "cancel"),
    ("POST", "order/cancel-all"): Route(trade.cancel_all, "cancel", 10, "cancel"),
    ("POST", "order/disconnected-cancel-all"): Route(trade.disconnect_protection, "cancel", 5, "cancel"),
    ("GET", "order/realtime"): Route(trade.realtime, "read"),
    ("GET", "order/history"): Route(trade.history, "read"),
    ("GET", "execution/list"): Route(trade.executions, "read"),
    ("GET", "position/list"): Route(public.positions, "read"),
    ("POST", "position/set-leverage"): Route(public.set_leverage, "trade", 10, "other"),
    ("POST", "position/switch-mode"): Route(public.switch_mode, "trade", 10, "other"),
    ("GET", "account/wallet-balance"): Route(public.wallet, "read"),
    ("GET", "account/info"): Route(public.account_info, "read"),
    ("GET", "account/fee-rate"): Route(public.fee_rate, "read", 5),
    ("GET", "user/query-api"): Route(public.key_info, "read", 10),
    ("GET", "asset/coin/query-info"): Route(public.coins, "read", 5),
    ("GET", "asset/transfer/query-account-coins-balance"): Route(public.fund_balances, "read", 5),
}


class BybitFace:
    """Bybit on both engines: spot on the spot one, linear on the futures one; inverse and option have no markets."""

    name = "bybit"
    doors = DOORS

    def __init__(self, server: SandboxServer) -> None:
        self.spot, self.linear = server.venue, server.usdm
        self.clock, self.keys = server.venue.clock, server.venue.keys
        self.pace = Pace(enforced=server.venue.limits.enforced)
        self.instruments = Instruments(
            [Instrument(name, "spot", self.spot, name) for name in self.spot.exchange.markets]
            + [Instrument(name, "linear", self.linear, name) for name in self.linear.exchange.markets]
        )
        self.protection = Protection()
        self.streams = BybitStreams(self, server.hub)
        self.conversations: set[Conversation] = set()
        self._server = server
        self._shut_until = 0

    # what the server asks ----------------------------------------------------------------------------------------

    def serves(self, path: str) -> bool:
        return path.startswith(PREFIX) or path in DOORS

    def facts(self, call: Call) -> Facts:
        over_socket = call.method == "WS"
        if over_socket:
            route = ROUTES["POST", OPERATIONS[call.path.removeprefix("bybit/")]]
        else:
            route = ROUTES.get((call.method, call.path.removeprefix(PREFIX))) or Route(public.status)
            call.items = orders_of(call, _json(call.body)) if call.method == "POST" else []
        told = tuple(_words(item.params) for item in call.items) or (_words(call.params),)
        key = call.key or call.headers.get("X-BAPI-API-KEY", "")
        sent = sent_ms(call)
        age = None if sent is None else call.now - sent
        return Facts(key, route.lane if key else "public", told, age, None if age is None else window_ms(call))

    def answer(self, call: Call) -> Answer:
        path = call.path.removeprefix(PREFIX)
        route = ROUTES.get((call.method, path))
        count: Count | None = None
        try:
            if self._shut_out(call.now):
                return Answer(403, b"access too frequent, please try again later", [("Content-Type", "text/plain")])
            if route is None:
                return Answer(404, b"", [("Content-Type", "text/plain")])
            self._require_up(path)
            if route.permission:
                signed(call, self.keys, route.permission)
                count = self._count(route, path, call)
            reply = json_answer(self._told(route, call))
        except _TooMany as refusal:
            call.notes.append("refused")
            count, reply = refusal.count, refused(refusal, call.now)
        except Refusal as refusal:
            # a no in a 200: the ledger would take it for an answer
            call.notes.append("refused")
            reply = refused(refusal, call.now)
        if count is not None:
            reply.headers += _headers(count, call.now)
        reply.executed, reply.order_id, reply.items = call.executed, call.order_id, call.items
        return reply

    def _require_up(self, path: str) -> None:
        if self.spot.exchange.trading.in_maintenance and path not in ("market/time", "system/status"):
            raise Refusal(10019, "The trading service is restarting")

    def operate(self, path: str, call: Call) -> dict[str, Any]:
        """An order request of a logged-in trade connection; `path` is the REST one that does the same."""
        route = ROUTES["POST", path]
        key = self.keys.get(call.key)
        try:
            self._require_up(path)
            if key is not None:
                require(key, route.permission)
                act_for(call, key)
            sent = sent_ms(call)
            if sent is None:
                raise Refusal(10001, "empty value: X-BAPI-TIMESTAMP")
            check_window(sent, window_ms(call), call.now)
            count = self._count(route, path, call)
            return self._told(route, call) | {"header": dict(_headers(count, call.now))}
        except Refusal as refusal:
            return envelope({}, call.now, refusal.code, refusal.message)

    def _told(self, route: Route, call: Call) -> dict[str, Any]:
        for item in call.items:
            item.now = call.now
        told = route.handler(self, call)
        result, more = told if isinstance(told, tuple) else (told, None)
        return envelope(result, call.now, more=more)

    def _count(self, route: Route, path: str, call: Call) -> Count:
        """10006 beyond the endpoint's allowance; every order of a batch counts."""
        params = (call.items[0] if call.items else call).params
        spot = params.get("category") == "spot"
        most = route.per_s * 2 if spot and route.per_s == 10 else route.per_s
        amount = max(len(call.items), 1)
        name = (call.account, path, params.get("category", ""))
        count = self.pace.count(name, Allowance(most, 1000), call.now, amount)
        if not count.allowed:
            raise _TooMany(count)
        return count

    def _shut_out(self, now: int) -> bool:
        """Over the address's allowance: 403 for ten minutes."""
        if now < self._shut_until:
            return True
        if not self.pace.count(("address",), ADDRESS, now).allowed:
            self._shut_until = now + SHUT_OUT_MS
            return True
        return False

    def limited(self, wait_s: int) -> Answer:
        now = self.clock()
        reply = refused(Refusal(10006, "Too many visits. Exceeded the API Rate Limit."), now)
        reply.headers += _headers(Count(allowed=False, left=0, most=10, ends_at=now + wait_s * 1000), now)
        return reply

    async def converse(self, request: web.BaseRequest, call: Call, connection: int) -> web.WebSocketResponse:
        response: web.WebSocketResponse = await converse(self, self._server, request, call, connection)
        return response

    def event(self, venue: Venue, event: Event) -> None:
        self.streams.event(venue, event)

    def after_batch(self) -> None:
        self.streams.after_batch()

    def turn(self) -> None:
        self.streams.turn()
        now = self.clock()
        for talk in list(self.conversations):
            talk.close_if_idle(now)

    def expire(self) -> bool:
        """Fire the disconnection protections that ran out: what is on the book dies, what waits for a price stays."""
        if self.spot.exchange.trading.in_maintenance:
            return False
        fired = self.protection.due(self.clock())
        for account, category in fired:
            for each in self.instruments.all(category):
                for order in each.venue.exchange.orders.open_of(account, each.name):
                    if order.is_open and not views.is_waiting(order):
                        each.venue.exchange.cancel(account, each.name, order.id)
        return bool(fired)

    def hasten(self) -> int:
        return self.protection.hasten(self.clock())

    def going_down(self, after_s: float) -> int:
        """Bybit announces no end of a connection."""
        return 0

    def mode_changed(self) -> None:
        """Told by system/status alone here."""

    def rebuilt(self) -> None:
        self.protection.clear()
        self.pace.reset()
        self._shut_until = 0
        self.streams.rebuilt()

    # what the handlers ask -----------------------------------------------------------------------------------------

    def price_of(self, asset: str) -> Decimal:
        """In USDT."""
        market = self.spot.exchange.markets.get(f"{asset}USDT")
        return market.last_price if market else Decimal(asset == "USDT")


class _TooMany(Refusal):
    """Over an endpoint's allowance."""

    def __init__(self, count: Count) -> None:
        super().__init__(10006, "Too many visits. Exceeded the API Rate Limit.")
        self.count = count


def _headers(count: Count, now: int) -> list[tuple[str, str]]:
    """As Bybit sends them: the reset time is the server's own time unless the limit is exceeded."""
    reset = now if count.allowed else count.ends_at
    return [
        ("X-Bapi-Limit", str(count.most)),
        ("X-Bapi-Limit-Status", str(count.left)),
        ("X-Bapi-Limit-Reset-Timestamp", str(reset)),
    ]


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body) if body else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _words(params: dict[str, str]) -> Told:
    intent = words(params, "category", "side", "positionIdx", "orderType", "qty", "price", "triggerPrice")
    return Told(params.get("orderLinkId", ""), params.get("symbol", ""), intent if "side" in params else "")
