"""The OKX face's WebSocket doors with a plain client: login, snapshots and deltas, private channels, orders."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from jackstay_agent.sandbox import SandboxProcess
from v5_client import KEY, PASSPHRASE, SECRET, OkxClient, okx_order

Message = dict[str, Any]


class Talk:
    """One connection; `until` reads on to the message that is wanted."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, op: str, *args: Message, **more: Any) -> None:
        await self.socket.send(json.dumps({"op": op, "args": list(args), **more}))

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        while True:
            message: Message = json.loads(await self.socket.recv())
            if wanted(message):
                return message

    async def data(self, channel: str) -> Message:
        return await self.until(lambda m: "data" in m and m.get("arg", {}).get("channel") == channel)

    async def login(self, secret: str = SECRET) -> Message:
        stamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), f"{stamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
        sign = base64.b64encode(digest).decode()
        await self.say("login", {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": stamp, "sign": sign})
        return await self.until(lambda m: m.get("event") in ("login", "error"))


def talk(sandbox: SandboxProcess, door: str, scene: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with connect(f"ws://127.0.0.1:{sandbox.port}/ws/v5/{door}", proxy=None) as socket:
            await asyncio.wait_for(scene(Talk(socket)), 20)

    asyncio.run(run())


def test_books_are_continuous() -> None:
    """A snapshot, then deltas whose prevSeqId is the last seqId and which lead to the book the venue has."""

    async def scene(client: Talk) -> None:
        await client.say("subscribe", {"channel": "books", "instId": "BTC-USDT"})
        book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        last = None
        for number in range(6):
            message = await client.data("books")
            row = message["data"][0]
            assert message["action"] == ("update" if number else "snapshot")
            assert row["prevSeqId"] == (last if number else -1)
            last = row["seqId"]
            for side, levels in book.items():
                for price, size, _, _ in row[side]:
                    if size == "0":
                        del levels[price]
                    else:
                        levels[price] = size
        assert max(map(float, book["bids"])) < min(map(float, book["asks"]))
        assert {len(levels) for levels in book.values()} == {10}

    with SandboxProcess() as moving:
        talk(moving, "public", scene)


def test_two_listeners_share_one_sequence(sandbox: SandboxProcess) -> None:
    """Who subscribes later gets a snapshot that the same deltas continue."""

    async def scene(first: Talk) -> None:
        await first.say("subscribe", {"channel": "books", "instId": "BTC-USDT"})
        begun = (await first.data("books"))["data"][0]
        await asyncio.to_thread(OkxClient(sandbox).place, "a1")
        async with connect(f"ws://127.0.0.1:{sandbox.port}/ws/v5/public", proxy=None) as socket:
            second = Talk(socket)
            await second.say("subscribe", {"channel": "books", "instId": "BTC-USDT"})
            snapshot = (await second.data("books"))["data"][0]
            update = (await first.data("books"))["data"][0]
            assert (update["prevSeqId"], update["seqId"]) == (begun["seqId"], snapshot["seqId"])
            assert ["40000", "0.01", "0", "1"] in snapshot["bids"]
            await asyncio.to_thread(OkxClient(sandbox).place, "a2", px="41000")
            told = [(await each.data("books"))["data"][0] for each in (first, second)]
            assert [row["prevSeqId"] for row in told] == [snapshot["seqId"]] * 2

    talk(sandbox, "public", scene)


def test_private_channels_want_a_login(sandbox: SandboxProcess) -> None:
    """Without one 60011, with a wrong signature 60007; unknown channels and operations have their codes too."""

    async def scene(client: Talk) -> None:
        await client.say("subscribe", {"channel": "orders", "instType": "ANY"})
        assert (await client.until(lambda m: m.get("event") == "error"))["code"] == "60011"
        assert (await client.login("wrong"))["code"] == "60007"
        assert (await client.login())["code"] == "0"
        assert (await client.login())["code"] == "60010"
        for arg in ({"channel": "horoscope"}, {"channel": "books", "instId": "X-Y"}, {"channel": "orders"}):
            await client.say("subscribe", arg)
            assert (await client.until(lambda m: m.get("event") == "error"))["code"] == "60018"
        for text in ("{", "[]", '{"op":"dance"}'):
            await client.socket.send(text)
            assert (await client.until(lambda m: m.get("event") == "error"))["code"] == "60012"
        await client.socket.send("ping")
        assert await client.socket.recv() == "pong"

    talk(sandbox, "private", scene)


def test_an_orders_life_is_told(sandbox: SandboxProcess) -> None:
    """Live, amended, filled with its fill and fee; balances and positions follow."""

    async def scene(client: Talk) -> None:
        await client.login()
        await client.say(
            "subscribe",
            {"channel": "orders", "instType": "SPOT", "instId": "BTC-USDT"},
            {"channel": "account"},
            {"channel": "positions", "instType": "ANY"},
        )
        assert (await client.data("account"))["data"][0]["details"]
        assert (await client.data("positions"))["data"] == []
        okx = OkxClient(sandbox)
        await asyncio.to_thread(okx.place, "life")
        told = (await client.data("orders"))["data"][0]
        assert (told["clOrdId"], told["state"], told["accFillSz"]) == ("life", "live", "0")
        amend = {"instId": "BTC-USDT", "clOrdId": "life", "newPx": "51000"}
        await asyncio.to_thread(okx.call, "POST", "trade/amend-order", amend)
        assert (await client.data("orders"))["data"][0]["amendResult"] == "0"
        told = (await client.data("orders"))["data"][0]
        assert (told["state"], told["fillSz"], told["fee"], told["execType"]) == ("filled", "0.01", "-0.00001", "T")
        details = {row["ccy"]: row["cashBal"] for row in (await client.data("account"))["data"][0]["details"]}
        while details["BTC"] != "10.00999":
            details = {row["ccy"]: row["cashBal"] for row in (await client.data("account"))["data"][0]["details"]}
        swap = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "ordType": "market", "px": ""}
        for side, held in (("buy", "1"), ("sell", "0")):
            await asyncio.to_thread(lambda side=side: okx.place(side=side, sz="1", **swap))
            assert (await client.data("positions"))["data"][0]["pos"] == held

    talk(sandbox, "private", scene)


def test_a_triggered_algo_is_told_in_both_channels(sandbox: SandboxProcess) -> None:
    """orders-algo says live and effective, orders says live and filled."""

    async def scene(client: Talk) -> None:
        await client.login()
        await client.say(
            "subscribe", {"channel": "orders-algo", "instType": "ANY"}, {"channel": "orders", "instType": "ANY"}
        )
        await client.until(lambda m: m.get("event") == "subscribe" and m["arg"]["channel"] == "orders")
        okx = OkxClient(sandbox)
        algo = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "trigger", "sz": "0.01",
                "triggerPx": "49000", "orderPx": "-1", "algoClOrdId": "t1"}  # fmt: skip
        await asyncio.to_thread(okx.call, "POST", "trade/order-algo", algo)
        assert (await client.data("orders-algo"))["data"][0]["state"] == "live"
        await asyncio.to_thread(sandbox.admin.price, "BTCUSDT", "48000")
        await asyncio.to_thread(lambda: okx.place(ordType="market", side="sell", sz="0.001", px=""))
        assert (await client.data("orders-algo"))["data"][0]["state"] == "effective"
        told = await client.until(lambda m: bool(m.get("data")) and m["data"][0]["algoClOrdId"] == "t1")
        assert told["data"][0]["state"] == "live"
        told = await client.until(lambda m: bool(m.get("data")) and m["data"][0]["algoClOrdId"] == "t1")
        assert told["data"][0]["state"] == "filled"

    talk(sandbox, "business", scene)


def test_orders_over_the_socket(sandbox: SandboxProcess) -> None:
    """Operations answer by id, are in the ledger like REST ones, and are struck by faults."""

    async def scene(client: Talk) -> None:
        await client.say("order", okx_order("w0"), id="0")
        assert (await client.until(lambda m: m.get("event") == "error"))["code"] == "60011"
        await client.login()
        batch = (okx_order("w1"), okx_order("w2", sz="9"))
        await client.say("batch-orders", *batch, id="7")
        answer = await client.until(lambda m: m.get("id") == "7")
        assert (answer["code"], [item["sCode"] for item in answer["data"]]) == ("2", ["0", "51008"])
        await client.say("cancel-order", {"instId": "BTC-USDT", "clOrdId": "w1"}, id="8")
        assert (await client.until(lambda m: m.get("id") == "8"))["code"] == "0"
        fault = {"name": "okx-50004", "execute_probability": 1.0, "route": "WS okx/order", "count": 1}
        await asyncio.to_thread(lambda: sandbox.admin.fault("venue_error", **fault))
        await client.say("order", okx_order("w3"), id="9")
        assert (await client.until(lambda m: m.get("id") == "9"))["code"] == "50004"
        await asyncio.to_thread(lambda: sandbox.admin.fault("drop_reply", route="WS okx/order", count=1))
        await client.say("order", okx_order("w4", px="41000"), id="10")
        await client.socket.send("ping")
        assert await client.socket.recv() == "pong"

    talk(sandbox, "private", scene)
    rows = [row for row in sandbox.admin.ledger() if row["method"] == "WS" and row["lane"] == "trade"]
    assert [(row["path"], row["client_order_id"], row["executed"], row["status"]) for row in rows] == [
        ("okx/batch-orders", "w1", True, 200), ("okx/batch-orders", "w2", False, 200),
        ("okx/order", "w3", True, 400), ("okx/order", "w4", True, "none"),
    ]  # fmt: skip


def test_stream_faults_strike(sandbox: SandboxProcess) -> None:
    """A dropped order event never comes; the next one does."""

    async def scene(client: Talk) -> None:
        await client.login()
        await client.say("subscribe", {"channel": "orders", "instType": "ANY"})
        await client.until(lambda m: m.get("event") == "subscribe")
        await asyncio.to_thread(lambda: sandbox.admin.fault("stream_drop", stream="okx/orders", count=1))
        for name in ("lost", "heard"):
            await asyncio.to_thread(OkxClient(sandbox).place, name)
        assert (await client.data("orders"))["data"][0]["clOrdId"] == "heard"

    talk(sandbox, "private", scene)
