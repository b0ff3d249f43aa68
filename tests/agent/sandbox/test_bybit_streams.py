"""The Bybit face's WebSocket doors with a plain client: books, authentication, private topics, orders."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from jackstay_agent.sandbox import SandboxProcess
from v5_client import KEY, SECRET, BybitClient, bybit_order, now_ms

Message = dict[str, Any]


class Talk:
    """One connection; `until` reads on to the message that is wanted."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, op: str, *args: Any, **more: Any) -> None:
        await self.socket.send(json.dumps({"op": op, "args": list(args), **more}))

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        while True:
            message: Message = json.loads(await self.socket.recv())
            if wanted(message):
                return message

    async def topic(self, topic: str) -> Message:
        return await self.until(lambda m: m.get("topic") == topic)

    async def ask(self, op: str, *args: Any, **more: Any) -> Message:
        """Say it and wait for its own answer."""
        await self.say(op, *args, **more)
        return await self.until(lambda m: m.get("op") == op)

    async def auth(self, secret: str = SECRET, late_ms: int = 0) -> Message:
        expires = str(now_ms() + 10_000 - late_ms)
        sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        return await self.ask("auth", KEY, expires, sign)


def talk(sandbox: SandboxProcess, door: str, scene: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with connect(f"ws://127.0.0.1:{sandbox.port}/v5/{door}", proxy=None) as socket:
            await asyncio.wait_for(scene(Talk(socket)), 20)

    asyncio.run(run())


def test_books_are_continuous() -> None:
    """A snapshot, then deltas with rising `u` that keep the depth and never cross; the best level comes whole."""

    async def scene(client: Talk) -> None:
        assert (await client.ask("subscribe", "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", req_id="1"))["success"]
        book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        last = 0
        for number in range(6):
            message = await client.topic("orderbook.50.BTCUSDT")
            data = message["data"]
            assert message["type"] == ("delta" if number else "snapshot")
            assert not number or data["u"] == last + 1
            last = data["u"]
            for side, levels in book.items():
                for price, size in data[side]:
                    if size == "0":
                        del levels[price]
                    else:
                        levels[price] = size
        assert max(map(float, book["b"])) < min(map(float, book["a"]))
        assert {len(levels) for levels in book.values()} == {10}
        best = await client.topic("orderbook.1.BTCUSDT")
        assert (best["type"], len(best["data"]["b"]), len(best["data"]["a"])) == ("snapshot", 1, 1)

    with SandboxProcess() as moving:
        talk(moving, "public/spot", scene)


def test_a_restarted_service_says_so(sandbox: SandboxProcess) -> None:
    """After a reset listeners get a snapshot whose `u` is 1."""

    async def scene(client: Talk) -> None:
        await client.ask("subscribe", "orderbook.50.BTCUSDT")
        assert (await client.topic("orderbook.50.BTCUSDT"))["data"]["u"] > 1
        await asyncio.to_thread(sandbox.admin.reset)
        message = await client.topic("orderbook.50.BTCUSDT")
        assert (message["type"], message["data"]["u"]) == ("snapshot", 1)

    talk(sandbox, "public/linear", scene)


def test_doors_and_authentication(sandbox: SandboxProcess) -> None:
    """Unknown topics, private ones without a login, wrong keys and old expiries are refused; pings are answered."""

    async def public(client: Talk) -> None:
        for topic in ("orderbook.7.BTCUSDT", "orderbook.50.NOPE", "horoscope", "kline.7.BTCUSDT", "order"):
            assert not (await client.ask("subscribe", topic))["success"]
        pong = await client.ask("ping", req_id="p")
        assert (pong["ret_msg"], pong["req_id"]) == ("pong", "p")
        await client.socket.send("{")
        assert not json.loads(await client.socket.recv())["success"]

    async def private(client: Talk) -> None:
        assert (await client.ask("subscribe", "order"))["ret_msg"] == "Request not authorized"
        assert not (await client.auth("wrong"))["success"]
        assert not (await client.auth(late_ms=20_000))["success"]
        assert (await client.auth())["success"]
        assert not (await client.ask("subscribe", "order", "horoscope"))["success"]
        assert (await client.ask("subscribe", "order", "dcp.future", "execution.fast.linear"))["success"]
        await client.say("ping")
        assert (await client.until(lambda m: m.get("op") == "pong"))["args"]
        assert not (await client.ask("order.create", bybit_order()))["success"]

    talk(sandbox, "public/spot", public)
    talk(sandbox, "private", private)


def test_an_orders_life_is_told(sandbox: SandboxProcess) -> None:
    """New, amended, filled with its execution and fee; wallet and position follow."""

    async def scene(client: Talk) -> None:
        await client.auth()
        await client.ask("subscribe", "order.spot", "execution", "wallet", "position")
        bybit = BybitClient(sandbox)
        await asyncio.to_thread(bybit.place, "life")
        told = (await client.topic("order.spot"))["data"][0]
        assert (told["orderLinkId"], told["orderStatus"], told["category"]) == ("life", "New", "spot")
        amend = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "life", "price": "51000"}
        await asyncio.to_thread(bybit.call, "POST", "order/amend", amend)
        assert (await client.topic("order.spot"))["data"][0]["price"] == "51000"
        told = (await client.topic("order.spot"))["data"][0]
        assert (told["orderStatus"], told["cumExecQty"], told["cumExecFee"]) == ("Filled", "0.01", "0.00001")
        fill = (await client.topic("execution"))["data"][0]
        assert (fill["orderLinkId"], fill["execQty"], fill["isMaker"]) == ("life", "0.01", False)
        while {row["coin"]: row["walletBalance"] for row in (await client.topic("wallet"))["data"][0]["coin"]}[
            "BTC"
        ] != "10.00999":
            pass
        market = {"category": "linear", "orderType": "Market", "price": ""}
        for side, size in (("Buy", "0.01"), ("Sell", "0")):
            await asyncio.to_thread(lambda side=side: bybit.place(side=side, **market))
            assert (await client.topic("position"))["data"][0]["size"] == size

    talk(sandbox, "private", scene)


def test_a_triggered_order_is_told(sandbox: SandboxProcess) -> None:
    """Untriggered, Triggered, New, Filled: one order, one id."""

    async def scene(client: Talk) -> None:
        await client.auth()
        await client.ask("subscribe", "order.linear")
        bybit = BybitClient(sandbox)
        stop = {"orderType": "Market", "price": "", "triggerPrice": "49000", "triggerDirection": 2}
        await asyncio.to_thread(lambda: bybit.place("stop", side="Sell", category="linear", **stop))
        await asyncio.to_thread(sandbox.admin.price, "BTCUSDT", "48000")
        take = {"side": "Sell", "category": "linear", "orderType": "Market", "price": "", "qty": "0.001"}
        await asyncio.to_thread(lambda: bybit.place(**take))
        seen: list[str] = []
        while "Filled" not in seen:
            row = (await client.topic("order.linear"))["data"][0]
            seen += [row["orderStatus"]] if row["orderLinkId"] == "stop" else []
        assert seen == ["Untriggered", "Triggered", "New", "Filled"]

    talk(sandbox, "private", scene)


def test_orders_over_the_socket(sandbox: SandboxProcess) -> None:
    """Operations answer by reqId, check the time, are in the ledger like REST ones, and are struck by faults."""

    def header(late_ms: int = 0) -> Message:
        return {"X-BAPI-TIMESTAMP": str(now_ms() - late_ms), "X-BAPI-RECV-WINDOW": "5000"}

    async def scene(client: Talk) -> None:
        assert (await client.ask("order.create", bybit_order("w0"), reqId="0"))["retCode"] == 10003
        assert (await client.auth())["retCode"] == 0
        late = await client.ask("order.create", bybit_order("late"), reqId="1", header=header(6000))
        assert (late["retCode"], late["reqId"]) == (10002, "1")
        batch = {"category": "spot", "request": [bybit_order("w1"), bybit_order("w2", qty="9")]}
        answer = await client.ask("order.create-batch", batch, reqId="2", header=header())
        assert [each["code"] for each in answer["retExtInfo"]["list"]] == [0, 170131]
        cancel = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "w1"}
        answer = await client.ask("order.cancel", cancel, reqId="3", header=header())
        assert (answer["retCode"], answer["data"]["orderLinkId"]) == (0, "w1")
        assert int(answer["header"]["X-Bapi-Limit-Status"]) < int(answer["header"]["X-Bapi-Limit"])
        fault = {"name": "bybit-10016", "execute_probability": 1.0, "route": "WS bybit/order.create", "count": 1}
        await asyncio.to_thread(lambda: sandbox.admin.fault("venue_error", **fault))
        assert (await client.ask("order.create", bybit_order("w3"), reqId="4", header=header()))["retCode"] == 10016
        await asyncio.to_thread(lambda: sandbox.admin.fault("drop_reply", route="WS bybit/order.create", count=1))
        await client.say("order.create", bybit_order("w4", price="41000"), reqId="5", header=header())
        await client.say("ping")
        assert (await client.until(lambda m: True))["op"] == "pong"

    talk(sandbox, "trade", scene)
    rows = [row for row in sandbox.admin.ledger() if row["method"] == "WS" and row["lane"] == "trade"]
    assert [(row["path"], row["client_order_id"], row["executed"], row["status"]) for row in rows] == [
        ("bybit/order.create", "late", False, 200),
        ("bybit/order.create-batch", "w1", True, 200), ("bybit/order.create-batch", "w2", False, 200),
        ("bybit/order.create", "w3", True, 200), ("bybit/order.create", "w4", True, "none"),
    ]  # fmt: skip
    assert [row["client_order_id"] for row in sandbox.admin.checks()["older_than_ttl"]] == ["late"]


def test_a_door_that_is_none(sandbox: SandboxProcess) -> None:
    """An upgrade on a path that has no WebSocket is a 404, and the ledger says so."""

    async def run() -> None:
        for path in ("/v5/order/create", "/v5/nowhere"):
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"ws://127.0.0.1:{sandbox.port}{path}", proxy=None)
            assert caught.value.response.status_code == 404

    asyncio.run(run())
    assert [(row["method"], row["status"]) for row in sandbox.admin.ledger()] == [("WS", 404)] * 2
