"""The Kraken spot face: paths, permissions and counters; a market of its own (dollars, and Kraken's fees) on the engine
all faces share. It sleeps, and its background market with it, until somebody asks it something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..answers import Answer, Call
from ..engine.exchange import Exchange, spot_exchange
from ..engine.model import MARKET_ACCOUNT, Event, Reject
from ..engine.settlement import QuoteFeeSettlement
from ..state import StateFile
from ..venue import Venue
from . import kraken_account as account
from . import kraken_public as public
from . import kraken_views as views
from .face import Facts, Told, item_of
from .kraken_auth import signed
from .kraken_errors import Refusal, done, refused, text_of
from .kraken_names import PAIRS, order_txid
from .kraken_params import moment, params_of
from .kraken_socket import KrakenSocket
from .kraken_streams import Channels, KrakenHub
from .kraken_trade import Desk, Switch, ledger_symbol

if TYPE_CHECKING:
    from ..server import SandboxServer

# Kraken's lowest taker fee tier; the sandbox takes the same of makers
FEE_RATE = Decimal("0.0026")
FUNDS = {"USD": Decimal(100_000), "USDT": Decimal(100_000), "BTC": Decimal(10), "ETH": Decimal(100)}
TOKEN_TTL_MS = 900_000
TOKENS_MAX = 10_000
HEARTBEAT_MS = 1000
NONCE_DIGITS_MAX = 20  # 64 bits
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

Handler = Callable[[Venue, Call], Any]


@dataclass(slots=True, frozen=True)
class Route:
    """`cost`: what it adds to the key's call counter; trading is counted by the engine instead."""

    handler: Handler
    permission: str = ""
    cost: int = 1


PUBLIC: dict[str, Handler] = {
    "Time": public.server_time,
    "SystemStatus": public.system_status,
    "Assets": public.assets,
    "AssetPairs": public.asset_pairs,
    "Ticker": public.ticker,
    "Depth": public.depth,
    "Trades": public.trades,
    "OHLC": public.ohlc,
}
NEW_ORDERS = frozenset({"AddOrder", "AddOrderBatch", "add_order", "batch_add"})
PLACING = NEW_ORDERS | {"AmendOrder", "EditOrder", "amend_order", "edit_order"}
BATCHES = frozenset({"AddOrderBatch", "CancelOrderBatch", "batch_add", "batch_cancel"})
CANCELLING = frozenset(
    {"CancelOrder", "CancelOrderBatch", "CancelAll", "CancelAllOrdersAfter", "cancel_order", "cancel_all",
     "batch_cancel", "cancel_all_orders_after"}
)  # fmt: skip


def _engine(clock: Callable[[], int]) -> Callable[[list[str]], Exchange]:
    def make(accounts: list[str]) -> Exchange:
        symbols = [pair.symbol for pair in PAIRS.values()]
        exchange = spot_exchange(clock, {name: dict(FUNDS) for name in accounts}, symbols)
        exchange.settlement = QuoteFeeSettlement(exchange.wallets, FEE_RATE)
        return exchange

    return make


class Tokens:
    """WebSocket tokens: to be used within 15 minutes; one that was used stays good (guides, "Authentication")."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(f"kraken-tokens-{seed}")
        self._known: dict[str, tuple[str, int]] = {}

    def give(self, key: str, now: int) -> str:
        token = "".join(self._chance.choice(_LETTERS) for _ in range(43))
        self._known[token] = (key, now + TOKEN_TTL_MS)
        if len(self._known) > TOKENS_MAX:
            del self._known[next(iter(self._known))]
        return token

    def key_of(self, token: str, now: int) -> str | None:
        key, until = self._known.get(token, ("", 0))
        return key if now < until else None

    def use(self, token: str, now: int) -> str | None:
        """The token's key; from now on it does not grow old."""
        key = self.key_of(token, now)
        if key is not None:
            self._known[token] = (key, sys.maxsize)
        return key


class KrakenFace:
    """Serves `/0/…` and, through its socket, `/v2`."""

    name = "kraken"
    doors = frozenset({"/v2"})

    def __init__(self, server: SandboxServer) -> None:
        main = server.venue
        self._server = server
        self.venue = Venue(
            kind=self.name, seed=main.seed, clock=main.clock, enforce_limits=main.limits.enforced, beside=main,
            make=_engine(main.clock),
        )  # fmt: skip
        self.desk = Desk(self.venue)
        self.tokens = Tokens(main.seed)
        self.awake = False
        self.hub = KrakenHub(server.faults, server.log)
        self.channels = Channels(self.venue, self.hub)
        self.venue.on_event.append(self.channels.event)
        self._socket = KrakenSocket(self, server, self.hub)
        self._beat_at = 0
        self._state = (
            StateFile(
                server.state.path.with_suffix(server.state.path.suffix + ".kraken"),
                self.venue,
                ledger=False,
                notes=self._notes,
            )
            if server.state is not None
            else None
        )
        desk = self.desk
        self._private: dict[str, Route] = {
            "Balance": Route(account.balance, "read"),
            "BalanceEx": Route(account.balance_ex, "read"),
            "TradeBalance": Route(account.trade_balance, "read"),
            "TradeVolume": Route(account.trade_volume, "read"),
            "OpenPositions": Route(account.open_positions, "read"),
            "OpenOrders": Route(account.open_orders, "read"),
            "ClosedOrders": Route(account.closed_orders, "read"),
            "QueryOrders": Route(account.query_orders, "read"),
            "TradesHistory": Route(account.trades_history, "read", 2),
            "QueryTrades": Route(account.query_trades, "read"),
            "GetWebSocketsToken": Route(self._token, "read"),
            "GetApiKeyInfo": Route(account.key_info, ""),
            "AddOrder": Route(lambda venue, call: desk.add(call), "trade", 0),
            "AddOrderBatch": Route(lambda venue, call: desk.add_batch(call), "trade", 0),
            "AmendOrder": Route(lambda venue, call: desk.amend(call), "trade", 0),
            "EditOrder": Route(lambda venue, call: desk.edit(call), "trade", 0),
            "CancelOrder": Route(lambda venue, call: desk.cancel(call), "cancel", 0),
            "CancelOrderBatch": Route(lambda venue, call: desk.cancel_batch(call), "cancel", 0),
            "CancelAll": Route(lambda venue, call: desk.cancel_all(call), "cancel"),
            "CancelAllOrdersAfter": Route(lambda venue, call: desk.cancel_after(call), "cancel"),
        }

    # requests ----------------------------------------------------------------------------------------------------

    def serves(self, path: str) -> bool:
        return path.startswith("/0/") or path in self.doors

    def facts(self, call: Call) -> Facts:
        params, name = params_of(call), call.path.rpartition("/")[2]
        lane = "trade" if name in PLACING else "cancel" if name in CANCELLING else "public"
        if call.path.startswith("/0/private/") and lane == "public":
            lane = "query"
        call.structures.setdefault("received_at", call.now)
        asked = _batch(params | call.structures) if name in BATCHES else []
        call.items = [item_of(call, each) for each in asked]
        age_ms, ttl_ms = _ages(params, call.now)
        pair, placing = str(params.get("pair") or ""), name in NEW_ORDERS
        return Facts(
            api_key=call.headers.get("API-Key") or self.tokens.key_of(str(params.get("token")), call.now) or "",
            lane=lane,
            told=tuple(
                Told(str(each.get("cl_ord_id") or ""), ledger_symbol(pair), _intent(each) if placing else "")
                for each in asked or [params]
            ),
            age_ms=age_ms,
            ttl_ms=ttl_ms,
        )

    def answer(self, call: Call) -> Answer:
        """Serve one request; never raises."""
        self.wake()
        try:
            answer = done(self._result(call))
        except (Refusal, Reject) as error:
            for each in call.items or [call]:
                each.notes.append("refused")
            answer = refused(text_of(error))
        answer.executed, answer.order_id, answer.items = call.executed, call.order_id, call.items
        return answer

    def _result(self, call: Call) -> Any:
        self.require_open(call.now)
        _, _, room, name = [*call.path.split("/", 3), "", ""][:4]
        if self.venue.exchange.trading.in_maintenance and name not in ("Time", "SystemStatus"):
            raise Reject("maintenance")
        if room == "public" and name in PUBLIC:
            return PUBLIC[name](self.venue, call)
        route = self._private.get(name) if room == "private" else None
        if route is None or call.method != "POST":
            raise Refusal("EGeneral:Unknown method")
        call.params = {key: value for key, value in params_of(call).items() if isinstance(value, str)}
        signed(call, self.venue.keys, route.permission)
        if not self.desk.counters.call(call.key, call.now, route.cost):
            raise Refusal("EAPI:Rate limit exceeded")
        return route.handler(self.venue, call)

    def require_open(self, now: int) -> None:
        if self._server.venue.limits.banned(now):
            raise Refusal("EGeneral:Temporary lockout")

    def _token(self, venue: Venue, call: Call) -> dict[str, Any]:
        return {"token": self.tokens.give(call.key, call.now), "expires": TOKEN_TTL_MS // 1000}

    def limited(self, wait_s: int) -> Answer:
        """A rate limit in Kraken's words, which name no time; who comes again while it stands may be locked out."""
        banned = self._server.venue.limits.banned(self.venue.clock())
        return refused("EGeneral:Temporary lockout" if banned else "EAPI:Rate limit exceeded")

    async def converse(self, request: web.BaseRequest, call: Call, connection: int) -> web.WebSocketResponse:
        return await self._socket.serve(request, connection)

    # life --------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        if not self.awake:
            self.awake = True
            self.venue.open_books()

    def load(self) -> None:
        if self._state is None or not self._state.load():
            return
        noted = self._state.noted or {}
        self.venue.keys.restore_nonces(noted.get("nonces", {}))
        # who was armed when the venue went down finds the switch fired when it comes back, as Kraken warns
        self.desk.switches = {account: Switch(fires_at) for account, fires_at in noted.get("switches", {}).items()}
        self.desk.remember()
        self.wake()

    def _notes(self) -> dict[str, Any]:
        """What the state file keeps beside orders and money. Keys stand in it as they do on the command line."""
        return {
            "nonces": self.venue.keys.highest_nonces(),
            "switches": {account: switch.fires_at for account, switch in self.desk.switches.items()},
        }

    def event(self, venue: Venue, event: Event) -> None:
        """The other markets are none of Kraken's business."""

    def after_batch(self) -> None:
        self.venue.publish()
        self.channels.after_batch()
        if self._state is not None:
            self._state.flush()
        else:
            self.venue.forget_changes(ledger=False)

    def tick(self) -> None:
        if self.awake:
            self.venue.tick()

    def turn(self) -> None:
        now = self.venue.clock()
        if now >= self._beat_at + HEARTBEAT_MS:
            self._beat_at = now
            self.hub.heartbeat()

    def expire(self) -> bool:
        return self.desk.expire()

    def hasten(self) -> int:
        return self.desk.hasten()

    def going_down(self, after_s: float) -> int:
        """Kraken announces no end of a connection."""
        return 0

    def mode_changed(self) -> None:
        self._socket.tell_status()

    def orders(self, account: str | None, symbol: str | None) -> list[dict[str, Any]]:
        table = self.venue.exchange.orders
        return [
            {"txid": order_txid(order.id), "account": order.account, "symbol": order.symbol}
            | views.order_json(PAIRS[order.symbol], order, table.fills_of(order.account, order_id=order.id))
            for order in table.all_of(account, symbol)
            if order.account != MARKET_ACCOUNT
        ]

    def rebuilt(self) -> None:
        self.venue.build()
        self.desk.reset()
        self.channels.rebuilt()
        self.awake = bool(self.hub.listeners)
        if self.awake:
            self.venue.open_books()
            self.channels.after_batch()
        if self._state is not None:
            self._state.save()

    def close(self) -> None:
        if self._state is not None:
            self._state.close()


def _intent(params: dict[str, Any]) -> str:
    names = ("type", "ordertype", "volume", "price", "price2", "oflags", "timeinforce")
    return " ".join(str(params[name]) for name in names if params.get(name))


def _ages(params: dict[str, Any], now: int) -> tuple[int | None, int | None]:
    """(how old, how old it may become) of a request with a deadline, where its nonce is a clock: in s, ms, µs or ns."""
    nonce, deadline = str(params.get("nonce") or ""), moment(str(params.get("deadline") or ""), now)
    if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= NONCE_DIGITS_MAX) or deadline is None:
        return None, None
    for unit in (1000.0, 1.0, 0.001, 0.000001):
        sent = int(int(nonce) * unit)
        if abs(sent - now) < 86_400_000:
            return now - sent, deadline - sent
    return None, None


def _batch(params: dict[str, Any]) -> list[dict[str, Any]]:
    """The orders a batch names; a batch of cancels names them by ids alone."""
    orders, clients = params.get("orders"), params.get("cl_ord_ids")
    named = [each if isinstance(each, dict) else {"txid": each} for each in orders] if isinstance(orders, list) else []
    return named + ([{"cl_ord_id": each} for each in clients] if isinstance(clients, list) else [])
