"""The user data stream and the WebSocket API, with plain clients and with ccxt.pro."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import ccxt.pro
import pytest
from websockets.asyncio.client import ClientConnection, connect

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_async
from sandbox_client import KEY, SECRET, Plain, limit_order

KEYS = {"apiKey": KEY, "secret": SECRET}


async def hear(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


async def ask(socket: ClientConnection, method: str, params: dict[str, Any], *, secret: str = SECRET) -> None:
    params = params | {"apiKey": KEY, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    params["signature"] = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    await socket.send(json.dumps({"id": method, "method": method, "params": params}))


def api(sandbox: SandboxProcess) -> str:
    return sandbox.ws_url.removesuffix("/ws") + "/ws-api/v3"


@pytest.mark.asyncio
async def test_listen_key_stream(sandbox: SandboxProcess) -> None:
    """On a listen key's stream an order's life and the balances it touched are told in order."""
    plain = Plain(sandbox)
    key = (await asyncio.to_thread(plain.send, "POST", "/api/v3/userDataStream"))[1]["listenKey"]
    async with connect(f"{sandbox.ws_url}/{key}") as socket:
        order = await asyncio.to_thread(plain.place, "told")
        await asyncio.to_thread(
            plain.call, "DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": order["orderId"]}
        )
        told = [await hear(socket) for _ in range(4)]
    assert [(m["e"], m.get("x")) for m in told] == [
        ("executionReport", "NEW"),
        ("outboundAccountPosition", None),
        ("executionReport", "CANCELED"),
        ("outboundAccountPosition", None),
    ]
    assert (told[0]["c"], told[2]["C"], told[0]["i"]) == ("told", "told", order["orderId"])
    assert told[1]["B"] == [{"a": "USDT", "f": "99600.00000000", "l": "400.00000000"}]


@pytest.mark.asyncio
async def test_a_fill_is_told_with_its_fee(sandbox: SandboxProcess) -> None:
    """A fill's report carries price, quantity, fee and trade id."""
    plain = Plain(sandbox)
    async with connect(api(sandbox)) as socket:
        await ask(socket, "userDataStream.subscribe.signature", {})
        assert (await hear(socket))["result"] == {"subscriptionId": 0}
        market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
        placed = (await asyncio.to_thread(plain.call, "POST", "/api/v3/order", market))[1]
        told = [(await hear(socket))["event"] for _ in range(2)]
    fill = placed["fills"][0]
    assert [event["x"] for event in told] == ["NEW", "TRADE"]
    assert (told[1]["L"], told[1]["l"], told[1]["n"], told[1]["t"]) == (
        fill["price"],
        "0.10000000",
        fill["commission"],
        fill["tradeId"],
    )


@pytest.mark.asyncio
async def test_listen_keys_end(sandbox: SandboxProcess) -> None:
    """A listen key can be kept, closed once, and is unknown afterwards and to others."""
    plain = Plain(sandbox)
    key = plain.send("POST", "/api/v3/userDataStream")[1]["listenKey"]
    assert plain.send("PUT", f"/api/v3/userDataStream?listenKey={key}")[:2] == (200, {})
    assert plain.send("DELETE", f"/api/v3/userDataStream?listenKey={key}")[:2] == (200, {})
    assert plain.send("PUT", f"/api/v3/userDataStream?listenKey={key}")[1]["code"] == -1125
    assert plain.send("PUT", "/api/v3/userDataStream")[1]["code"] == -1102


@pytest.mark.asyncio
async def test_ws_api_orders(sandbox: SandboxProcess) -> None:
    """Orders are placed, found and cancelled over the WebSocket API, and the ledger has it all."""
    async with connect(api(sandbox)) as socket:
        await ask(socket, "order.place", limit_order("ws"))
        placed = await hear(socket)
        assert (placed["status"], placed["result"]["clientOrderId"]) == (200, "ws")
        named = {"symbol": "BTCUSDT", "origClientOrderId": "ws"}
        for method, status in (("order.status", "NEW"), ("order.cancel", "CANCELED")):
            await ask(socket, method, named)
            assert (await hear(socket))["result"]["status"] == status
        await ask(socket, "order.cancel", named)
        assert (await hear(socket))["error"] == {"code": -2011, "msg": "Unknown order sent."}
        await ask(socket, "order.place", limit_order("no"), secret="false")
        assert (await hear(socket))["error"]["code"] == -1022
        await socket.send("nonsense")
        assert (await hear(socket))["status"] == 400
    rows = sandbox.admin.ledger(method="WS")
    assert [(row["path"], row["executed"]) for row in rows] == [
        ("/ws-api/v3", False),
        ("order.place", True),
        ("order.status", False),
        ("order.cancel", True),
        ("order.cancel", False),
        ("order.place", False),
    ]


@pytest.mark.asyncio
async def test_ws_api_faults(sandbox: SandboxProcess) -> None:
    """A reset after processing strikes an order over the WebSocket API too."""
    sandbox.admin.fault("reset_after", route="WS order.place", count=1)
    async with connect(api(sandbox)) as socket:
        await ask(socket, "order.place", limit_order("ws"))
        with pytest.raises(Exception, match="no close frame"):
            await hear(socket)
    (row,) = sandbox.admin.ledger(path="order.place")
    assert (row["fault"], row["status"], row["executed"]) == ("reset_after", "reset", True)


def test_ccxt_pro_orders(sandbox: SandboxProcess) -> None:
    """ccxt.pro places over the WebSocket API and watches its orders and balance."""

    async def scene() -> None:
        exchange = redirect_async(ccxt.pro.binance(KEYS), sandbox.url)
        try:
            await exchange.load_markets()
            watching = asyncio.ensure_future(exchange.watch_orders("BTC/USDT"))
            while not any(
                r["path"].startswith("userDataStream") for r in await asyncio.to_thread(sandbox.admin.ledger)
            ):
                await asyncio.sleep(0.01)
            order = await exchange.create_order_ws("BTC/USDT", "limit", "buy", 0.01, 40000)
            watched = await asyncio.wait_for(watching, 10)
            assert [each["id"] for each in watched] == [order["id"]]
            assert (await exchange.cancel_order_ws(order["id"], "BTC/USDT"))["status"] == "canceled"
        finally:
            await exchange.close()

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.asyncio
async def test_a_subscription_ends_with_an_event(sandbox: SandboxProcess) -> None:
    """Unsubscribed, a user data stream says `eventStreamTerminated` and nothing more."""
    async with connect(api(sandbox)) as socket:
        await ask(socket, "userDataStream.subscribe.signature", {})
        number = (await hear(socket))["result"]["subscriptionId"]
        await asyncio.to_thread(Plain(sandbox).place, "heard")
        assert [(await hear(socket))["event"]["e"] for _ in range(2)] == ["executionReport", "outboundAccountPosition"]
        await socket.send(json.dumps({"id": 2, "method": "userDataStream.unsubscribe", "params": {}}))
        ended = await hear(socket)
        assert (ended["subscriptionId"], ended["event"]["e"]) == (number, "eventStreamTerminated")
        assert (await hear(socket))["status"] == 200
        await asyncio.to_thread(Plain(sandbox).place, "unheard")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.2)
