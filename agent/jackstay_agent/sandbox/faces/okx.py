"""The OKX v5 face: which path is served by what, with which permission and allowance; serving one request.

Allowances are those of the OKX documentation (per user and endpoint; placing also per instrument), as of 2026-07.
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
from ..engine.model import ZERO, Event, Order, Reject
from ..pace import Allowance, Pace
from ..venue import Venue
from . import okx_algo as algo
from . import okx_public as public
from . import okx_trade as trade
from . import okx_views as views
from .face import Facts, Told, item_of, words
from .instruments import Instrument, Instruments
from .okx_auth import WINDOW_MS, require, signed, stamp_ms
from .okx_errors import Refusal, from_reject
from .okx_socket import DOORS, OPERATIONS, Conversation, converse
from .okx_streams import OkxStreams
from .whole_numbers import whole

if TYPE_CHECKING:
    from ..server import SandboxServer

PREFIX = "/api/v5/"
ORDERS_2S = Allowance(1000, 2000)  # new and amended orders of a sub-account: 50061
DEFAULT = Allowance(40, 2000)
CONTRACTS = {"BTCUSDT": Decimal("0.01"), "ETHUSDT": Decimal("0.1")}
Handler = Callable[["OkxFace", Call], Any]


@dataclass(slots=True, frozen=True)
class Route:
    """``permission``: "" for public. ``lane`` as the ledger calls it. ``per_instrument``: counted for each alone."""

    handler: Handler
    permission: str = ""
    allowance: Allowance = DEFAULT
    lane: str = "query"
    per_instrument: bool = False
    adds_orders: bool = False


def _items(handler: trade.ItemHandler, *, family: str = "") -> Handler:
    return partial(_run_items, handler=handler, family=family)


def _run_items(face: OkxFace, call: Call, *, handler: trade.ItemHandler, family: str) -> dict[str, Any]:
    return trade.each_item(face, call, handler, algo=family == "algo")


def _trade(handler: trade.ItemHandler, most: int, permission: str = "trade", family: str = "", **more: Any) -> Route:
    lane = "cancel" if permission == "cancel" else "trade"
    return Route(_items(handler, family=family), permission, Allowance(most, 2000), lane, per_instrument=True, **more)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "public/time"): Route(public.server_time, allowance=Allowance(10, 2000)),
    ("GET", "public/instruments"): Route(public.instruments, allowance=Allowance(20, 2000)),
    ("GET", "public/mark-price"): Route(public.mark_price, allowance=Allowance(10, 2000)),
    ("GET", "system/status"): Route(public.status, allowance=Allowance(1, 5000)),
    ("GET", "market/ticker"): Route(public.ticker, allowance=Allowance(20, 2000)),
    ("GET", "market/tickers"): Route(public.tickers, allowance=Allowance(20, 2000)),
    ("GET", "market/books"): Route(public.books, allowance=Allowance(40, 2000)),
    ("GET", "market/books-full"): Route(public.books, allowance=Allowance(10, 2000)),
    ("GET", "market/trades"): Route(public.trades, allowance=Allowance(100, 2000)),
    ("GET", "market/history-trades"): Route(public.trades, allowance=Allowance(20, 2000)),
    ("GET", "market/candles"): Route(public.candles, allowance=Allowance(40, 2000)),
    ("GET", "market/history-candles"): Route(public.candles, allowance=Allowance(20, 2000)),
    ("POST", "trade/order"): _trade(trade.place, 60, adds_orders=True),
    ("POST", "trade/batch-orders"): _trade(trade.place, 300, adds_orders=True),
    ("POST", "trade/amend-order"): _trade(trade.amend, 60, adds_orders=True),
    ("POST", "trade/amend-batch-orders"): _trade(trade.amend, 300, adds_orders=True),
    ("POST", "trade/cancel-order"): _trade(trade.cancel, 60, "cancel"),
    ("POST", "trade/cancel-batch-orders"): _trade(trade.cancel, 300, "cancel"),
    ("POST", "trade/close-position"): _trade(trade.close_position, 20),
    ("POST", "trade/order-algo"): _trade(algo.place, 20, family="algo"),
    ("POST", "trade/amend-algos"): _trade(algo.amend, 20, family="algo"),
    ("POST", "trade/cancel-algos"): _trade(algo.cancel, 20, "cancel", family="algo"),
    ("POST", "trade/cancel-all-after"): Route(trade.cancel_all_after, "cancel", Allowance(1, 1000), "cancel"),
    ("GET", "trade/order"): Route(trade.query, "read", Allowance(60, 2000), per_instrument=True),
    ("GET", "trade/orders-pending"): Route(partial(trade.orders, only_open=True), "read", Allowance(60, 2000)),
    ("GET", "trade/orders-history"): Route(partial(trade.orders, only_open=False), "read", Allowance(40, 2000)),
    ("GET", "trade/orders-history-archive"): Route(partial(trade.orders, only_open=False), "read", Allowance(20, 2000)),
    ("GET", "trade/order-algo"): Route(algo.query, "read", Allowance(20, 2000)),
    ("GET", "trade/orders-algo-pending"): Route(partial(algo.orders, only_open=True), "read", Allowance(20, 2000)),
    ("GET", "trade/orders-algo-history"): Route(partial(algo.orders, only_open=False), "read", Allowance(20, 2000)),
    ("GET", "trade/fills"): Route(trade.fills, "read", Allowance(60, 2000)),
    ("GET", "trade/fills-history"): Route(trade.fills, "read", Allowance(10, 2000)),
    ("GET", "account/balance"): Route(public.balance, "read", Allowance(10, 2000)),
    ("GET", "account/positions"): Route(public.positions, "read", Allowance(10, 2000)),
    ("GET", "account/config"): Route(public.config, "read", Allowance(5, 2000)),
    ("GET", "account/instruments"): Route(public.instruments, "read", Allowance(20, 2000)),
    ("GET", "account/leverage-info"): Route(public.leverage_info, "read", Allowance(20, 2000)),
    ("GET", "account/trade-fee"): Route(public.trade_fee, "read", Allowance(5, 2000)),
    ("POST", "account/set-leverage"): Route(public.set_leverage, "trade", Allowance(40, 2000), "other"),
    ("POST", "account/set-position-mode"): Route(public.set_position_mode, "trade", Allowance(5, 2000), "other"),
    ("GET", "asset/currencies"): Route(public.currencies, "read", Allowance(12, 2000)),
    ("GET", "asset/balances"): Route(public.nothing, "read", Allowance(12, 2000)),
}


class OkxFace:
    """OKX on both engines: SPOT on the spot one, SWAP (in contracts) on the futures one."""

    name = "okx"
    doors = DOORS

    def __init__(self, server: SandboxServer) -> None:
        self.spot, self.linear = server.venue, server.usdm
        self.clock, self.keys = server.venue.clock, server.venue.keys
        self.pace = Pace(enforced=server.venue.limits.enforced)
        self.instruments = Instruments(
            [Instrument(f"{_base(name)}-USDT", "SPOT", self.spot, name) for name in self.spot.exchange.markets]
            + [
                Instrument(f"{_base(name)}-USDT-SWAP", "SWAP", self.linear, name, CONTRACTS[name])
                for name in self.linear.exchange.markets
            ]
        )
        self.streams = OkxStreams(self, server.hub)
        self.conversations: set[Conversation] = set()
        self._server = server
        self._switches: dict[tuple[str, str], int] = {}

    # what the server asks ----------------------------------------------------------------------------------------

    def serves(self, path: str) -> bool:
        return path.startswith(PREFIX) or path in DOORS

    def facts(self, call: Call) -> Facts:
        over_socket = call.method == "WS"
        if over_socket:
            route = ROUTES["POST", OPERATIONS[call.path.removeprefix("okx/")]]
        else:
            route = ROUTES.get((call.method, call.path.removeprefix(PREFIX))) or Route(public.nothing)
            call.items = [item_of(call, each) for each in _objects(call.body)] if call.method == "POST" else []
        told = tuple(self._words(item.params) for item in call.items) or (self._words(call.params),)
        at, until = stamp_ms(call.headers.get("OK-ACCESS-TIMESTAMP", "")), whole(call.headers.get("expTime"))
        window = min(until - at, WINDOW_MS) if at is not None and until is not None else WINDOW_MS
        key = call.key or call.headers.get("OK-ACCESS-KEY", "")
        lane = route.lane if key else "public"
        age = None if at is None else call.now - at
        return Facts(key, lane, told, age, None if age is None else window)

    def _words(self, params: dict[str, str]) -> Told:
        names = (
            "side",
            "posSide",
            "ordType",
            "sz",
            "px",
            "triggerPx",
            "slTriggerPx",
            "tpTriggerPx",
            "ordPx",
            "orderPx",
        )
        intent = words(params, *names) if "side" in params else ""
        name = params.get("clOrdId") or params.get("algoClOrdId", "")
        symbol = params.get("instId", "")
        if not symbol and (code := params.get("instIdCode")):
            symbol = next((each.id for each in self.instruments.all() if str(views.code_of(each)) == code), "")
        return Told(name, symbol, intent)

    def answer(self, call: Call) -> Answer:
        path = call.path.removeprefix(PREFIX)
        route = ROUTES.get((call.method, path))
        try:
            if route is None:
                raise _unknown(call.method, path)
            self._require_up(path)
            if route.permission:
                signed(call, self.keys, route.permission)
            reply = json_answer(self._told(route, path, call, call.headers.get("expTime", "")))
        except Refusal as refusal:
            reply = self._refused(call, refusal)
        except Reject as reject:
            reply = self._refused(call, from_reject(reject))
        reply.executed, reply.order_id, reply.items = call.executed, call.order_id, call.items
        return reply

    def _require_up(self, path: str) -> None:
        if self.spot.exchange.trading.in_maintenance and path not in ("public/time", "system/status"):
            raise Refusal("50001", "Service temporarily unavailable. Try again later", 503)

    def _refused(self, call: Call, refusal: Refusal) -> Answer:
        """A no in a 200 is noted; that an order does not exist is an answer, not a no."""
        if refusal.status == 200 and refusal.code != "51603":
            call.notes.append("refused")
        return refusal.answer()

    def operate(self, path: str, call: Call, until: str) -> dict[str, Any]:
        """An order request of a logged-in WebSocket connection; `path` is the REST one that does the same."""
        route = ROUTES["POST", path]
        key = self.keys.get(call.key)
        try:
            self._require_up(path)
            if key is not None:
                require(key, route.permission)
            return self._told(route, path, call, until)
        except Refusal as refusal:
            return {"code": refusal.code, "msg": refusal.message, "data": []}

    def _told(self, route: Route, path: str, call: Call, until: str) -> dict[str, Any]:
        for item in call.items:
            item.now = call.now
        self._pace(route, path, call)
        _not_expired(until, call.now)
        told = route.handler(self, call)
        return told if isinstance(told, dict) else {"code": "0", "msg": "", "data": told}

    def _pace(self, route: Route, path: str, call: Call) -> None:
        """50011 beyond the endpoint's allowance, 50061 beyond the sub-account's orders."""
        who = call.account or "public"
        first = (call.items[0] if call.items else call).params
        names = (who, path, first.get("instId", "") if route.per_instrument else "")
        amount = max(len(call.items), 1) if "batch" in path else 1
        if not self.pace.count(names, route.allowance, call.now, amount).allowed:
            raise Refusal("50011", "Too Many Requests", 429)
        if route.adds_orders and not self.pace.count((who, "orders"), ORDERS_2S, call.now, amount).allowed:
            raise Refusal("50061", "You've reached the maximum order rate limit for this account.", 200)

    def limited(self, wait_s: int) -> Answer:
        return Refusal("50011", "Too Many Requests", 429).answer()

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
        """Fire the dead-man switches that ran out: plain orders die, waiting algo orders stay."""
        now, fired = self.clock(), False
        if self.spot.exchange.trading.in_maintenance:
            return False
        for (account, tag), at in list(self._switches.items()):
            if at > now:
                continue
            del self._switches[account, tag]
            fired = True
            for each in self.instruments.all():
                for order in each.venue.exchange.orders.open_of(account, each.name):
                    if order.is_open and trade.is_plain(order) and tag in ("", views.shown_tag(order)):
                        each.venue.exchange.cancel(account, each.name, order.id)
        return fired

    def hasten(self) -> int:
        self._switches = dict.fromkeys(self._switches, self.clock())
        return len(self._switches)

    def going_down(self, after_s: float) -> int:
        """Notice 64008, a minute ahead at the venue; the connections end after that."""
        for talk in list(self.conversations):
            talk.give_notice(after_s)
        return len(self.conversations)

    def mode_changed(self) -> None:
        self.streams.tell_status()

    def rebuilt(self) -> None:
        self._switches.clear()
        self.pace.reset()
        self.streams.rebuilt()

    # what the handlers ask -----------------------------------------------------------------------------------------

    def instrument_of(self, order: Order) -> Instrument:
        """Which market an order is of: the engine whose table has it."""
        for each in self.instruments.all():
            if each.name == order.symbol and each.venue.exchange.orders.get(order.id) is order:
                return each
        raise AssertionError(f"order {order.id} is in no engine's table")

    def order_json(self, each: Instrument, order: Order, fees: dict[int, Decimal]) -> dict[str, Any]:
        return views.order_json(each, order, fees=fees.get(order.id, ZERO))

    def price_of(self, asset: str) -> Decimal:
        """In USDT."""
        market = self.spot.exchange.markets.get(f"{asset}USDT")
        return market.last_price if market else Decimal(asset == "USDT")

    def switch(self, account: str, tag: str, after_ms: int, now: int) -> int:
        """Arm, renew or (0) disarm; returns when it fires, 0 for never."""
        if after_ms:
            self._switches[account, tag] = now + after_ms
        else:
            self._switches.pop((account, tag), None)
        return now + after_ms if after_ms else 0


def _base(name: str) -> str:
    return name.removesuffix("USDT")


def _objects(body: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON body, one or many; none when it is something else."""
    try:
        value = orjson.loads(body) if body else []
    except ValueError:
        return []
    listed = value if isinstance(value, list) else [value]
    return listed if all(isinstance(each, dict) for each in listed) else []


def _not_expired(until: str, now: int) -> None:
    """The expTime header: who comes after it is turned away unprocessed."""
    if until and (whole(until) or 0) < now:
        raise Refusal("50036", "The expTime can't be earlier than the current system time.", 200)


def _unknown(method: str, path: str) -> Refusal:
    if any(known == path for _, known in ROUTES):
        return Refusal("50115", "Invalid request method.", 405)
    return Refusal("404", "Not Found", 404)
