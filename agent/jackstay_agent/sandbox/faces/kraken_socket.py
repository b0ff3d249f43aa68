"""The door of Kraken's WebSocket v2, `/v2`: subscriptions, pings and orders on one connection. Orders travel the same
way as those of REST, each with its ledger row and its faults, as method `WS` and the message's method as path.

One address serves the public and the private socket, which are two hosts at the venue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from ..answers import Call
from ..engine.model import Reject
from ..streams import text_frame
from .kraken_auth import require
from .kraken_errors import Refusal, text_of
from .kraken_names import Pair, known_pair, order_txid
from .kraken_public import OHLC_MINUTES, rfc3339
from .kraken_streams import DEPTHS, TRIGGERS, KrakenHub, KrakenListener
from .kraken_words import asked_words, batch_words
from .socket_orders import SocketOrders

if TYPE_CHECKING:
    from ..server import SandboxServer
    from .kraken import KrakenFace

REQUEST_MAX_BYTES = 256 * 1024
VERSION = "2.0.10"
CANCEL_NAMES = ("order_id", "cl_ord_id", "order_userref")
PERMISSIONS = {
    "add_order": "trade",
    "amend_order": "trade",
    "edit_order": "trade",
    "batch_add": "trade",
    "cancel_order": "cancel",
    "batch_cancel": "cancel",
    "cancel_all": "cancel",
    "cancel_all_orders_after": "cancel",
}


class KrakenSocket:
    """Serves `/v2` of one face."""

    def __init__(self, face: KrakenFace, server: SandboxServer, hub: KrakenHub) -> None:
        self._face = face
        self._server = server
        self._hub = hub
        desk = face.desk
        self._trading: dict[str, Callable[[Call], Any]] = {
            "add_order": self._add,
            "amend_order": self._amend,
            "edit_order": self._edit,
            "batch_add": self._add_batch,
            "cancel_order": self._cancel,
            "batch_cancel": desk.cancel_batch,
            "cancel_all": desk.cancel_all,
            "cancel_all_orders_after": desk.cancel_after,
        }

    async def serve(self, request: web.BaseRequest, connection: int) -> web.WebSocketResponse:
        """Run one connection until it ends."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=REQUEST_MAX_BYTES)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        listener = KrakenListener(transport, connection)
        orders = SocketOrders(self._server, request, listener, self._face)
        self._hub.join(listener, ())
        listener.send(_frame(self._status(connection)))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not listener.half_open:
                    await self._one(orders, listener, message.data)
        finally:
            self._hub.leave(listener)
        return socket

    def tell_status(self) -> None:
        """On every change, to every connection."""
        for listener in list(self._hub.listeners):
            listener.send(_frame(self._status(listener.connection)))

    def _status(self, connection: int) -> dict[str, Any]:
        data = {
            "version": VERSION,
            "system": self._face.venue.exchange.trading.mode,
            "api_version": "v2",
            "connection_id": connection,
        }
        return {"channel": "status", "type": "update", "data": [data]}

    async def _one(self, orders: SocketOrders, listener: KrakenListener, text: str) -> None:
        now = self._face.venue.clock()
        try:
            # a float would not survive: digits stay digits
            asked = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            listener.send(_frame({"error": "Malformed request", "success": False, **_times(now, now)}))
            return
        params = asked.get("params")
        asked["params"] = params if isinstance(params, dict) else {}
        method = asked["method"]
        if method == "ping":
            listener.send(_frame({"method": "pong", **_req_id(asked), **_times(now, self._face.venue.clock())}))
        elif method in ("subscribe", "unsubscribe"):
            self._face.wake()
            self._subscription(listener, asked, now)
        elif method in PERMISSIONS:
            self._face.wake()
            await self._trade(orders, asked, text)
        else:
            listener.send(_frame(self._refused(asked, f"Unsupported method: {method}", now)))

    def _refused(self, asked: dict[str, Any], text: str, since: int, **more: Any) -> dict[str, Any]:
        return {"error": text, "method": asked["method"], **_req_id(asked), "success": False, **more,
                **_times(since, self._face.venue.clock())}  # fmt: skip

    def _done(self, asked: dict[str, Any], result: Any, since: int) -> dict[str, Any]:
        return {"method": asked["method"], **_req_id(asked), "result": result, "success": True,
                **_times(since, self._face.venue.clock())}  # fmt: skip

    # subscriptions -----------------------------------------------------------------------------------------------

    def _subscription(self, listener: KrakenListener, asked: dict[str, Any], now: int) -> None:
        params = asked["params"]
        channel = params.get("channel")
        if channel in ("executions", "balances"):
            self._private(listener, asked, now)
            return
        if channel not in ("book", "trade", "ticker", "ohlc"):
            listener.send(_frame(self._refused(asked, "Subscription name invalid", now)))
            return
        names = params.get("symbol")
        for name in names if isinstance(names, list) else [names]:
            pair = known_pair(str(name)) if isinstance(name, str) and "/" in name else None
            if pair is None:
                text = f"Currency pair not supported {name}"
                listener.send(_frame(self._refused(asked, text, now, symbol=name)))
                continue
            self._public(listener, asked, pair, now)

    def _public(self, listener: KrakenListener, asked: dict[str, Any], pair: Pair, now: int) -> None:
        params, channels = asked["params"], self._face.channels
        channel, snapshot = params["channel"], params.get("snapshot", True) is not False
        result: dict[str, Any] = {"channel": channel, "symbol": pair.name, "snapshot": snapshot}
        subscribe: Callable[[], None]
        if channel == "book":
            result["depth"] = depth = params.get("depth", 10)
            wrong = "" if isinstance(depth, int) and depth in DEPTHS else "Subscription depth not supported"
            stream = f"book:{pair.name}:{depth}"

            def subscribe() -> None:
                channels.subscribe_book(listener, pair, depth, snapshot=snapshot)
        elif channel == "ticker":
            result["event_trigger"] = trigger = params.get("event_trigger", "trades")
            wrong = "" if trigger in TRIGGERS else "Subscription event_trigger not supported"
            stream = f"ticker:{pair.name}:{trigger}"

            def subscribe() -> None:
                channels.subscribe_ticker(listener, pair, trigger, snapshot=snapshot)
        elif channel == "ohlc":
            result["interval"] = minutes = _whole(params.get("interval", 1))
            wrong = "" if minutes in OHLC_MINUTES else "Subscription ohlc interval not supported"
            stream = f"ohlc:{pair.name}:{minutes}"

            def subscribe() -> None:
                channels.subscribe_ohlc(listener, pair, minutes, snapshot=snapshot)
        else:
            # the trade channel sends its snapshot only to who asks for it
            result["snapshot"] = snapshot = params.get("snapshot", False) is True
            wrong, stream = "", f"trade:{pair.name}"

            def subscribe() -> None:
                channels.subscribe_trades(listener, pair, snapshot=snapshot)

        self._settle(listener, asked, stream, wrong, result, subscribe, now, symbol=pair.name)

    def _settle(
        self,
        listener: KrakenListener,
        asked: dict[str, Any],
        stream: str,
        wrong: str,
        result: dict[str, Any],
        subscribe: Callable[[], None],
        now: int,
        **more: Any,
    ) -> None:
        """Say yes or no to one subscription, then send what it begins with."""
        leaving, there = asked["method"] == "unsubscribe", stream in listener.streams
        wrong = wrong or ("Already subscribed" if there and not leaving else "")
        wrong = wrong or ("Subscription Not Found" if leaving and not there else "")
        if wrong:
            listener.send(_frame(self._refused(asked, wrong, now, **more)))
            return
        if leaving:
            self._hub.unsubscribe(listener, stream)
            listener.send(_frame(self._done(asked, result, now)))
            return
        listener.send(_frame(self._done(asked, result, now)))
        subscribe()

    def _private(self, listener: KrakenListener, asked: dict[str, Any], now: int) -> None:
        params, channels = asked["params"], self._face.channels
        try:
            account = self._account(params, "read")
        except Refusal as refusal:
            listener.send(_frame(self._refused(asked, refusal.text, now)))
            return
        channel = params["channel"]
        snapshot = params.get("snapshot", True) is not False
        result: dict[str, Any] = {"channel": channel}
        if channel == "executions":
            orders = params.get("snap_orders", snapshot) is not False
            trades = params.get("snap_trades", params.get("snapshot_trades", False)) is True
            result |= {"maxratecount": 125, "snap_orders": orders, "snap_trades": trades}

            def subscribe() -> None:
                channels.subscribe_executions(listener, account, orders=orders, trades=trades)
        else:
            result["snapshot"] = snapshot

            def subscribe() -> None:
                channels.subscribe_balances(listener, account, snapshot=snapshot)

        self._settle(listener, asked, f"{channel}:{account}", "", result, subscribe, now)

    def _account(self, params: dict[str, Any], permission: str) -> str:
        """The account behind the token. A token that is unknown or too old opens nothing."""
        return self._key(params, permission)[0]

    def _key(self, params: dict[str, Any], permission: str) -> tuple[str, str]:
        name = self._face.tokens.use(str(params.get("token", "")), self._face.venue.clock())
        key = self._face.venue.keys.get(name or "")
        if key is None:
            raise Refusal("ESession:Invalid session")
        require(key, permission)
        return key.account, key.key

    # orders ------------------------------------------------------------------------------------------------------

    async def _trade(self, orders: SocketOrders, asked: dict[str, Any], text: str) -> None:
        """One order request; a cancel of several orders is several of them, each with an answer of its own."""
        method, params = asked["method"], asked["params"]
        several = _cancels(params) if method == "cancel_order" else [{}]
        if sum(bool(params.get(name)) for name in CANCEL_NAMES) > 1 and method == "cancel_order":
            # "cannot be combined in the same request"
            several = [{"txid": "", "cl_ord_id": ""}]
        for number, named in enumerate(several):
            words = {**asked_words(method, params), **named}
            now = self._face.venue.clock()
            # the whole frame stands where a query would: the ledger tells requests apart by it
            frame = f"{text}#{number}" if number else text
            call = Call("WS", f"kraken/{method}", frame, b"", {}, words, now)
            call.structures = batch_words(method, params)
            process = partial(self._process, asked, call, now)
            await orders.run(call, process, partial(self._troubled, asked, call))

    def _process(self, asked: dict[str, Any], call: Call, since: int) -> dict[str, Any]:
        """Run one request in the engine; what to answer."""
        method = asked["method"]
        try:
            self._face.require_open(call.now)
            call.account, call.key = self._key(asked["params"], PERMISSIONS[method])
            return self._done(asked, self._trading[method](call), since)
        except (Refusal, Reject) as error:
            call.notes.append("refused")
            return self._refused(asked, text_of(error), since)

    def _troubled(self, asked: dict[str, Any], call: Call, status: int, told: dict[str, Any]) -> dict[str, Any]:
        """The words of a troubled venue (another venue's have none here) as the answer to this request."""
        texts = told.get("error") or ["EGeneral:Internal error"]
        return self._refused(asked, str(texts[0]), call.now)

    def _add(self, call: Call) -> dict[str, Any]:
        told = self._face.desk.add(call)
        named = {"cl_ord_id": call.params.get("cl_ord_id"), "order_userref": _whole(call.params.get("userref"))}
        return ({"order_id": told["txid"][0]} if "txid" in told else {}) | {k: v for k, v in named.items() if v}

    def _add_batch(self, call: Call) -> list[dict[str, Any]]:
        told = self._face.desk.add_batch(call)["orders"]
        rows = []
        for item, each in zip(call.items, told, strict=True):
            row = {name: item.params[name] for name in ("cl_ord_id",) if item.params.get(name)}
            rows.append(row | ({"error": each["error"]} if "error" in each else {"order_id": each.get("txid")}))
        return rows

    def _amend(self, call: Call) -> dict[str, Any]:
        told = self._face.desk.amend(call)
        return {"amend_id": told["amend_id"], "order_id": call.order_id} | (
            {"cl_ord_id": call.params["cl_ord_id"]} if call.params.get("cl_ord_id") else {}
        )

    def _edit(self, call: Call) -> dict[str, Any]:
        told = self._face.desk.edit(call)
        return {"order_id": told.get("txid"), "original_order_id": call.params.get("txid")}

    def _cancel(self, call: Call) -> dict[str, Any]:
        """By one id; a userref may mean several orders, of which the last is named."""
        orders = self._face.desk.cancelled(call, call.params)
        if call.params.get("cl_ord_id") and not call.params.get("txid"):
            return {"cl_ord_id": call.params["cl_ord_id"]}
        return {"order_id": order_txid(orders[-1].id)}


def _frame(value: dict[str, Any]) -> bytes:
    return text_frame(orjson.dumps(value, default=str))


def _req_id(asked: dict[str, Any]) -> dict[str, Any]:
    return {"req_id": asked["req_id"]} if isinstance(asked.get("req_id"), int) else {}


def _times(since: int, until: int) -> dict[str, Any]:
    return {"time_in": rfc3339(since), "time_out": rfc3339(until)}


def _cancels(params: dict[str, Any]) -> list[dict[str, str]]:
    """Each order a cancel names, in the words of REST."""
    ids = [*_listed(params.get("order_id")), *_listed(params.get("order_userref"))]
    clients = [{"txid": "", "cl_ord_id": str(each)} for each in _listed(params.get("cl_ord_id"))]
    return [{"txid": str(each), "cl_ord_id": ""} for each in ids] + clients or [{}]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _whole(value: Any) -> int:
    text = str(value if value is not None else "")
    return int(text) if re.match(r"^[+-]?[0-9]{1,10}$", text) else 0
