"""The USDⓈ-M market over HTTP and streams: with ccxt.binanceusdm and with a plain client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import ccxt
import pytest
from websockets.asyncio.client import connect

from jackstay_agent.sandbox import SandboxProcess
from redirect import redirect_sync
from sandbox_client import KEY, SECRET, Plain, limit_order


@pytest.fixture
def plain(sandbox: SandboxProcess) -> Plain:
    return Plain(sandbox)


@pytest.fixture
def exchange(sandbox: SandboxProcess) -> Any:
    return redirect_sync(ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET}), sandbox.url)


def futures_order(**more: Any) -> dict[str, Any]:
    return limit_order(quantity="0.01", price="40000") | more


def market_order(side: str, quantity: str = "0.1", **more: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "side": side,
        "type": "MARKET",
        "quantity": quantity,
        "newOrderRespType": "RESULT",
    } | more


def stop(trigger: str = "45000", **more: Any) -> dict[str, Any]:
    base = {
        "algoType": "CONDITIONAL",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "triggerPrice": trigger,
    }
    return base | more


def test_ccxt_trades(sandbox: SandboxProcess, exchange: Any) -> None:
    """ccxt's futures exchange places, amends, cancels, opens a position, reads it back and protects it."""
    symbol = "BTC/USDT:USDT"
    exchange.load_markets()
    exchange.set_leverage(10, symbol)
    order = exchange.create_order(symbol, "limit", "buy", 0.01, 40000)
    assert exchange.edit_order(order["id"], symbol, "limit", "buy", 0.02, 41000)["amount"] == 0.02
    assert [each["id"] for each in exchange.fetch_open_orders(symbol)] == [order["id"]]
    assert exchange.cancel_order(order["id"], symbol)["status"] == "canceled"
    filled = exchange.create_order(symbol, "market", "buy", 0.1)
    assert (filled["status"], filled["filled"]) == ("closed", 0.1)
    (position,) = exchange.fetch_positions([symbol])
    assert (position["contracts"], position["side"]) == (0.1, "long")
    protection = exchange.create_order(
        symbol, "market", "sell", 0.1, None, {"stopLossPrice": 45000, "reduceOnly": True}
    )
    assert exchange.fetch_open_orders(symbol) == []
    assert [o["id"] for o in exchange.fetch_open_orders(symbol, params={"trigger": True})] == [protection["id"]]
    exchange.cancel_order(protection["id"], symbol, {"trigger": True})
    assert exchange.fetch_my_trades(symbol)[0]["amount"] == 0.1
    assert exchange.fetch_balance()["USDT"]["total"] == pytest.approx(100_000, rel=0.001)
    with pytest.raises(ccxt.OrderNotFound):
        exchange.fetch_order("999999", symbol)
    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order(symbol, "limit", "buy", 900, 45000)
    assert {row["status"] for row in sandbox.admin.ledger()} == {200, 400}


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (futures_order(type="STOP_MARKET", stopPrice="30000"), -4120),
        (market_order("SELL", reduceOnly="true"), -2022),
        (futures_order(positionSide="LONG"), -4061),
        (futures_order(timeInForce="GTX", price="60000"), -5022),
        (futures_order(quantity="0.0001"), -1111),
        (futures_order(price="40000.05"), -4014),
        (futures_order(symbol="NOPE"), -1121),
        (futures_order(quantity="800"), -2019),
    ],
)
def test_refusals(plain: Plain, order: dict[str, Any], code: int) -> None:
    """This market refuses with codes of its own; conditional types have left the ordinary path."""
    status, told, _ = plain.call("POST", "/fapi/v1/order", order)
    assert (status, told["code"]) == (400, code)


def test_two_families(plain: Plain) -> None:
    """An algo order is in no list of ordinary orders and survives their cancel-all, and the other way round."""
    order = plain.call("POST", "/fapi/v1/order", futures_order())[1]
    algo = plain.call("POST", "/fapi/v1/algoOrder", stop(quantity="0.01", clientAlgoId="guard"))[1]
    assert [o["orderId"] for o in plain.call("GET", "/fapi/v1/openOrders")[1]] == [order["orderId"]]
    assert [a["clientAlgoId"] for a in plain.call("GET", "/fapi/v1/openAlgoOrders")[1]] == ["guard"]
    plain.call("DELETE", "/fapi/v1/allOpenOrders", {"symbol": "BTCUSDT"})
    assert plain.call("GET", "/fapi/v1/openOrders")[1] == []
    assert plain.call("GET", "/fapi/v1/algoOrder", {"algoId": algo["algoId"]})[1]["algoStatus"] == "NEW"
    assert plain.call("DELETE", "/fapi/v1/algoOpenOrders", {"symbol": "BTCUSDT"})[1]["code"] == 200
    assert plain.call("GET", "/fapi/v1/algoOrder", {"clientAlgoId": "guard"})[1]["algoStatus"] == "CANCELED"
    assert plain.call("DELETE", "/fapi/v1/algoOrder", {"clientAlgoId": "guard"})[1]["code"] == -2011


def test_close_position_fires(sandbox: SandboxProcess, plain: Plain) -> None:
    """A stop with closePosition closes whatever is held when the market falls to it."""
    plain.call("POST", "/fapi/v1/order", market_order("BUY"))
    algo = plain.call("POST", "/fapi/v1/algoOrder", stop("49000", closePosition="true"))[1]
    sandbox.admin.price("BTCUSDT", "48000")
    plain.call("POST", "/fapi/v1/order", market_order("SELL", "0.001"))
    told = plain.call("GET", "/fapi/v1/algoOrder", {"algoId": algo["algoId"]})[1]
    assert told["algoStatus"] == "FINISHED"
    assert plain.call("GET", "/fapi/v3/positionRisk")[1] == []
    assert sandbox.admin.positions() == {"main": []}


def test_hedge_mode(plain: Plain) -> None:
    """In hedge mode both sides are held at once, and the mode cannot be left while they are."""
    assert plain.call("POST", "/fapi/v1/positionSide/dual", {"dualSidePosition": "true"})[1]["code"] == 200
    for side, position_side in (("BUY", "LONG"), ("SELL", "SHORT")):
        plain.call("POST", "/fapi/v1/order", market_order(side, positionSide=position_side))
    held = {row["positionSide"]: row["positionAmt"] for row in plain.call("GET", "/fapi/v3/positionRisk")[1]}
    assert held == {"LONG": "0.1", "SHORT": "-0.1"}
    assert plain.call("POST", "/fapi/v1/positionSide/dual", {"dualSidePosition": "false"})[1]["code"] == -4068
    assert (
        plain.call("POST", "/fapi/v1/order", market_order("BUY", "0.2", positionSide="SHORT"))[1]["executedQty"]
        == "0.1"
    )


def test_the_dead_man_switch_fires(plain: Plain) -> None:
    """Orders of a symbol whose countdown runs out are cancelled by the venue; those of another symbol stay."""
    plain.call("POST", "/fapi/v1/order", futures_order())
    plain.call("POST", "/fapi/v1/order", futures_order(symbol="ETHUSDT", price="2500", quantity="0.1"))
    assert plain.call("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": 200})[0] == 200
    deadline = time.monotonic() + 5
    while plain.call("GET", "/fapi/v1/openOrders", {"symbol": "BTCUSDT"})[1]:
        assert time.monotonic() < deadline
    assert len(plain.call("GET", "/fapi/v1/openOrders")[1]) == 1


@pytest.mark.asyncio
async def test_streams_are_the_markets_own(sandbox: SandboxProcess, plain: Plain) -> None:
    """Futures streams are asked for by their host; a listen key tells orders, positions and algo orders."""
    key = plain.send("POST", "/fapi/v1/listenKey")[1]["listenKey"]
    async with connect(f"ws://fstream.binance.com/ws/{key}", host="127.0.0.1", port=sandbox.port) as socket:
        plain.call("POST", "/fapi/v1/order", market_order("BUY"))
        plain.call("POST", "/fapi/v1/algoOrder", stop(quantity="0.1", clientAlgoId="guard"))
        told = [json.loads(await asyncio.wait_for(socket.recv(), 5)) for _ in range(4)]
    assert [each["e"] for each in told] == ["ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE"]
    assert told[1]["o"]["x"] == "TRADE"
    assert told[2]["a"]["P"][0]["pa"] == "0.1"
    assert (told[3]["o"]["caid"], told[3]["o"]["X"]) == ("guard", "NEW")
    async with connect(f"{sandbox.ws_url.removesuffix('/ws')}/fstream/ws/btcusdt@trade") as socket:
        plain.call("POST", "/fapi/v1/order", market_order("SELL"))
        trade = json.loads(await asyncio.wait_for(socket.recv(), 5))
    assert (trade["e"], trade["q"]) == ("trade", "0.10000000")
