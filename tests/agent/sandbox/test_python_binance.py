"""Unmodified python-binance, synchronous, asynchronous and with its socket manager, trades against the sandbox."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import KEY, SECRET

with warnings.catch_warnings():  # python-binance itself uses deprecated names of websockets
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient, BinanceSocketManager, Client
    from binance.exceptions import BinanceAPIException
    from binance.ws.websocket_api import WebsocketAPI

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def led(client: Any, sandbox: SandboxProcess) -> Any:
    client.API_URL = f"{sandbox.url}/api"
    client.MARGIN_API_URL = f"{sandbox.url}/sapi"
    client.FUTURES_URL = f"{sandbox.url}/fapi"
    return client


def test_sync(sandbox: SandboxProcess) -> None:
    """Placing, cancelling (parameters in the body), pairs, history and errors work through its client."""
    client = led(Client(KEY, SECRET, ping=False), sandbox)
    try:
        client.ping()
        order = client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price="40000")
        assert client.get_open_orders()[0]["orderId"] == order["orderId"]
        assert client.cancel_order(symbol="BTCUSDT", orderId=order["orderId"])["status"] == "CANCELED"
        pair = client.create_oco_order(
            symbol="BTCUSDT",
            side="SELL",
            quantity="0.1",
            aboveType="LIMIT_MAKER",
            abovePrice="51000",
            belowType="STOP_LOSS",
            belowStopPrice="49000",
        )
        assert [leg["type"] for leg in pair["orderReports"]] == ["LIMIT_MAKER", "STOP_LOSS"]
        assert client.order_market_sell(symbol="BTCUSDT", quantity="0.01")["status"] == "FILLED"
        assert len(client.get_my_trades(symbol="BTCUSDT")) == 1
        assert client.get_asset_balance(asset="BTC")["locked"] == "0.10000000"
        with pytest.raises(BinanceAPIException) as caught:
            client.get_order(symbol="BTCUSDT", orderId=10**9)
        assert caught.value.code == -2013
    finally:
        client.close_connection()


def test_async_and_sockets() -> None:
    """The asynchronous client trades, and its socket manager follows trades."""

    async def scene(sandbox: SandboxProcess) -> None:
        client = led(AsyncClient(KEY, SECRET), sandbox)
        try:
            order = await client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price="40000")
            assert (await client.cancel_order(symbol="BTCUSDT", orderId=order["orderId"]))["status"] == "CANCELED"
            manager = BinanceSocketManager(client)
            manager.STREAM_URL = sandbox.ws_url.removesuffix("ws")
            async with manager.trade_socket("BTCUSDT") as socket:
                assert (await socket.recv())["e"] == "trade"
        finally:
            await client.close_connection()

    with SandboxProcess() as moving:
        asyncio.run(asyncio.wait_for(scene(moving), 30))


def test_conditional_orders_over_http(sandbox: SandboxProcess) -> None:
    """A stop set over HTTP fires when the market is moved, and pairs are listed and cancelled whole."""
    client = led(Client(KEY, SECRET, ping=False), sandbox)
    try:
        stop = client.create_order(symbol="BTCUSDT", side="SELL", type="STOP_LOSS", quantity="0.01", stopPrice="49000")
        sandbox.admin.price("BTCUSDT", "48000")
        client.order_market_sell(symbol="BTCUSDT", quantity="0.01")
        assert client.get_order(symbol="BTCUSDT", orderId=stop["orderId"])["status"] == "FILLED"
        pair = client.create_oco_order(
            symbol="BTCUSDT",
            side="SELL",
            quantity="0.1",
            aboveType="LIMIT_MAKER",
            abovePrice="52000",
            belowType="STOP_LOSS",
            belowStopPrice="47000",
        )
        assert [each["orderListId"] for each in client.get_open_oco_orders()] == [pair["orderListId"]]
        gone = client._delete("orderList", True, data={"symbol": "BTCUSDT", "orderListId": pair["orderListId"]})
        assert gone["listOrderStatus"] == "ALL_DONE"
        assert client.get_open_orders() == []
    finally:
        client.close_connection()


def test_futures_sync(sandbox: SandboxProcess) -> None:
    """Its futures calls work, and a margin refusal has its code."""
    client = led(Client(KEY, SECRET, ping=False), sandbox)
    try:
        client.futures_ping()
        client.futures_change_leverage(symbol="BTCUSDT", leverage=10)
        order = client.futures_create_order(
            symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="40000"
        )
        assert [each["orderId"] for each in client.futures_get_open_orders()] == [order["orderId"]]
        assert client.futures_cancel_order(symbol="BTCUSDT", orderId=order["orderId"])["status"] == "CANCELED"
        client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
        (position,) = client.futures_position_information()
        assert position["positionAmt"] == "0.01"
        assert client.futures_account_balance()[0]["asset"] == "USDT"
        with pytest.raises(BinanceAPIException) as caught:
            client.futures_create_order(
                symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="800", price="40000"
            )
        assert caught.value.code == -2019
    finally:
        client.close_connection()


def test_futures_async_and_sockets() -> None:
    """The asynchronous client trades futures; its socket manager hears depth, orders and positions of both markets."""

    async def scene(sandbox: SandboxProcess) -> None:
        client = led(AsyncClient(KEY, SECRET), sandbox)
        manager = BinanceSocketManager(client)
        manager.STREAM_URL = sandbox.ws_url.removesuffix("ws")
        manager.FSTREAM_URL = sandbox.ws_url.removesuffix("ws") + "fstream/"
        try:
            async with manager.depth_socket("BTCUSDT") as depth:
                assert (await depth.recv())["e"] == "depthUpdate"
            async with manager.futures_user_socket() as user:
                user.TIMEOUT = 1  # how long it waits for a last message when it is closed
                order = await client.futures_create_order(
                    symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="40000"
                )
                told = await user.recv()
                assert (told["e"], told["o"]["i"], told["o"]["X"]) == ("ORDER_TRADE_UPDATE", order["orderId"], "NEW")
        finally:
            await client.close_connection()

    with SandboxProcess() as moving:
        asyncio.run(asyncio.wait_for(scene(moving), 30))


def test_the_websocket_api() -> None:
    """Its WebSocket API places and cancels, and its user socket hears of it there."""

    async def scene(sandbox: SandboxProcess) -> None:
        client = led(AsyncClient(KEY, SECRET), sandbox)
        client.ws_api = WebsocketAPI(sandbox.ws_url.removesuffix("ws") + "ws-api/v3", "com")
        manager = BinanceSocketManager(client)
        try:
            async with manager.user_socket() as user:
                user.TIMEOUT = 1
                order = await client.ws_create_order(
                    symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="40000"
                )
                told = await user.recv()
                assert (told["e"], told["i"], told["X"]) == ("executionReport", order["orderId"], "NEW")
                gone = await client.ws_cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
                assert gone["status"] == "CANCELED"
        finally:
            await client.close_connection()

    with SandboxProcess(quiet=True) as sandbox:
        asyncio.run(asyncio.wait_for(scene(sandbox), 30))
        assert [row["status"] for row in sandbox.admin.ledger(path="order.place")] == [200]
