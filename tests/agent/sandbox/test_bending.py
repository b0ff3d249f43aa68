"""Faults inside the venue, on every face: lagging and blind queries, refusals, partial fills."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from jackstay_agent.sandbox.faces.kraken_names import order_number
from raw_websocket import RawWebSocket
from sandbox_client import Plain, limit_order, signed_request
from sandbox_faces import FACES, FaceClient
from v5_client import OkxClient


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, sandbox: SandboxProcess) -> FaceClient:
    return FACES[request.param](sandbox)  # type: ignore[call-arg]


def test_queries_lag_behind_the_engine(sandbox: SandboxProcess, face: FaceClient) -> None:
    """Under a lag a fresh order is not found, and one cancelled since still shows as open, by name and in the list."""
    assert face.place("old") == ""
    lag = sandbox.admin.fault("lag", route=_all_of(face), ms=60_000)
    assert face.query("old") == {}
    assert face.open() == []
    assert face.cancel("old") == ""  # the engine knows it all along
    sandbox.admin.clear(lag)
    assert face.query("old")["state"] == "gone"
    struck = [row for row in sandbox.admin.ledger() if row["fault"] == "lag"]
    assert struck
    assert {row["lane"] for row in struck} <= {"query", "public", "cancel"}


def test_a_lagging_query_shows_what_was(sandbox: SandboxProcess, face: FaceClient) -> None:
    """An order that was filled within the lag shows as open and unfilled in query and list, then as it is."""
    assert face.place("turning") == ""
    sandbox.admin.clock(4000)  # four seconds later, as the venue sees it
    try:
        market = {"/fapi/v1/order": "usdm", "/0/private/AddOrder": "kraken"}.get(face.route.split()[1], "spot")
        sandbox.admin.fill(_number_of_the_only_order(sandbox, market), market=market)
        lag = sandbox.admin.fault("lag", route=_all_of(face), ms=3000)
        assert face.query("turning") == {"state": "open", "filled": "0"}
        assert face.open() == ["turning"]
        sandbox.admin.clear(lag)
        assert face.query("turning") == {"state": "filled", "filled": "0.01"}
        assert face.open() == []
    finally:
        sandbox.admin.clock(0)


def _all_of(face: FaceClient) -> str:
    """Every path of the face's trading endpoints' kind."""
    return face.route.split()[1].rsplit("/", 1)[0] + "*"


def _number_of_the_only_order(sandbox: SandboxProcess, market: str) -> int:
    (order,) = sandbox.admin.orders(market)
    return int(order["orderId"]) if "orderId" in order else order_number(order["txid"]) or 0


def test_young_orders_are_hidden(sandbox: SandboxProcess, face: FaceClient) -> None:
    """A young order is not found and in no list although it is there; afterwards it is found."""
    assert face.place("young") == ""
    hidden = sandbox.admin.fault("hidden", route=_all_of(face), ms=60_000)
    assert (face.query("young"), face.open()) == ({}, [])
    sandbox.admin.clear(hidden)
    assert (face.query("young")["state"], face.open()) == ("open", ["young"])


#: What each venue says to a spot order (usdm: to a futures order); "": it takes the order and cancels it at once.
WORDS: dict[str, dict[str, str]] = {
    "binance": {
        "insufficient_balance": "400 -2010 Account has insufficient balance for requested action.",
        "would_match": "400 -2010 Order would immediately match and take.",
        "would_trigger": "400 -2010 Stop price would trigger immediately.",
        "duplicate_client_id": "400 -2010 Duplicate order sent.",
        "market_closed": "400 -2010 Market is closed.",
        "cancel_only": "400 -2010 Market is closed.",
    },
    "binance-usdm": {
        "insufficient_margin": "400 -2019 Margin is insufficient.",
        "would_match": "400 -5022 Due to the order could not be executed as maker, the Post Only order will be "
        "rejected.",
        "would_trigger": "400 -2021 Order would immediately trigger.",
        "duplicate_client_id": "400 -4116 ClientOrderId is duplicated.",
        "market_closed": "400 -4140 Invalid symbol status for opening position.",
        "cancel_only": "400 -4140 Invalid symbol status for opening position.",
        "reduce_only": "400 -2022 ReduceOnly Order is rejected.",
    },
    "okx": {
        "insufficient_balance": "200 51008 Order failed. Insufficient USDT balance in account.",
        "insufficient_margin": "200 51008 Order failed. Insufficient USDT margin in account.",
        "would_match": "",
        "duplicate_client_id": "200 51016 Client order ID already exists.",
        "market_closed": "200 51022 Contract suspended.",
        "cancel_only": "200 51022 Contract suspended.",
    },
    "bybit": {
        "insufficient_balance": "200 170131 Insufficient balance.",
        "would_match": "",
        "would_trigger": "200 170130 Data sent for parameter 'triggerPrice' is not valid.",
        "duplicate_client_id": "200 170141 Duplicate clientOrderId",
        "market_closed": "200 170210 New order rejected.",
        "cancel_only": "200 170210 New order rejected.",
    },
    "kraken": {
        "insufficient_balance": "EOrder:Insufficient funds",
        "would_match": "EOrder:Post only order",
        "would_trigger": "EOrder:Invalid price",
        "duplicate_client_id": "EOrder:Duplicate cl_ord_id",
        "market_closed": "EService:Market in cancel_only mode",
        "cancel_only": "EService:Market in cancel_only mode",
        "reduce_only": "EOrder:Reduce only:No position exists",
    },
}


def test_rejects(sandbox: SandboxProcess, face: FaceClient) -> None:
    """A placement is refused for a reason of one's choice, in the very words that the venue has for it, once, and
    nothing rests of it; the next one is taken."""
    name = next(name for name, each in FACES.items() if type(face) is each)
    for number, (reason, words) in enumerate(WORDS[name].items()):
        sandbox.admin.fault("reject", route=face.route, count=1, reason=reason)
        assert face.place(f"no{number}") == words, reason
    assert face.open() == []
    assert face.place("taken") == ""
    assert face.open() == ["taken"]
    rows = [row for row in sandbox.admin.ledger() if row["lane"] == "trade"]
    assert [row["fault"] for row in rows] == ["reject"] * len(WORDS[name]) + [""]
    refused = [row["executed"] for row, words in zip(rows, WORDS[name].values(), strict=False) if words]
    assert not any(refused)


def test_a_reason_without_words_is_refused_all_the_same(sandbox: SandboxProcess, face: FaceClient) -> None:
    """A spot market knows no margin, yet nothing is placed: the venue's general refusal stands in."""
    reason = "insufficient_balance" if isinstance(face, FACES["binance-usdm"]) else "reduce_only"
    sandbox.admin.fault("reject", route=face.route, count=1, reason=reason)
    assert face.place("general") != ""
    assert face.open() == []


def test_a_lagging_query_shows_the_terms_of_before(sandbox: SandboxProcess) -> None:
    """An order amended within the lag shows its old price and quantity, a stop that was triggered still waits."""
    okx, spot = OkxClient(sandbox), Plain(sandbox)
    okx.place("moved", px="40000", sz="0.02")
    stop = {"symbol": "ETHUSDT", "side": "SELL", "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "quantity": "0.01",
            "price": "3500", "stopPrice": "2900", "newClientOrderId": "stop"}  # fmt: skip
    assert spot.call("POST", "/api/v3/order", stop)[0] == 200

    def seen() -> tuple[str, str, bool]:
        row = okx.order("moved")["data"][0]
        waiting = spot.call("GET", "/api/v3/order", {"symbol": "ETHUSDT", "origClientOrderId": "stop"})[1]
        return row["px"], row["sz"], waiting["isWorking"]

    sandbox.admin.clock(4000)
    try:
        amended = okx.call("POST", "trade/amend-order", {"instId": "BTC-USDT", "clOrdId": "moved", "newPx": "41000",
                                                         "newSz": "0.01"})  # fmt: skip
        assert amended[1]["code"] == "0"
        sandbox.admin.price("ETHUSDT", "2800")
        sold = {"symbol": "ETHUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}
        assert spot.call("POST", "/api/v3/order", sold)[1]["status"] == "FILLED"
        lag = sandbox.admin.fault("lag", ms=3000)
        assert seen() == ("40000", "0.02", False)
        sandbox.admin.clear(lag)
        assert seen() == ("41000", "0.01", True)
    finally:
        sandbox.admin.clock(0)


def test_partial_fills(sandbox: SandboxProcess, face: FaceClient) -> None:
    """A resting order and one that meets the book are both filled in part, and the rest stays open."""
    sandbox.admin.fault("partial_fill", route=face.route, fraction=0.3)
    assert (face.place("resting"), face.place("crossing", price="52000")) == ("", "")
    assert face.query("resting") == {"state": "open", "filled": "0.003"}
    assert face.query("crossing") == {"state": "open", "filled": "0.003"}
    rows = [row for row in sandbox.admin.ledger() if row["lane"] == "trade"]
    assert [(row["fault"], row["executed"]) for row in rows] == [("partial_fill", True)] * 2


def test_a_market_order_is_filled_in_part(sandbox: SandboxProcess) -> None:
    """A market order finds a thin book: the rest of it expires."""
    plain = Plain(sandbox)
    sandbox.admin.fault("partial_fill", route="POST /api/v3/order", fraction=0.5)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
    told = plain.call("POST", "/api/v3/order", order)[1]
    assert (told["status"], told["executedQty"]) == ("EXPIRED", "0.01000000")
    assert [trade["qty"] for trade in plain.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"})[1]] == ["0.01000000"]


def test_lag_on_the_algo_family(sandbox: SandboxProcess) -> None:
    """A resolver that asks too early does not find a live stop in its own family either."""
    plain = Plain(sandbox)
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
            "triggerPrice": "45000", "quantity": "0.01", "clientAlgoId": "guard"}  # fmt: skip
    assert plain.call("POST", "/fapi/v1/algoOrder", stop)[0] == 200
    lag = sandbox.admin.fault("lag", route="/fapi/*", ms=60_000)
    assert plain.call("GET", "/fapi/v1/algoOrder", {"clientAlgoId": "guard"})[1]["code"] == -2013
    assert plain.call("GET", "/fapi/v1/openAlgoOrders")[1] == []
    sandbox.admin.clear(lag)
    assert plain.call("GET", "/fapi/v1/algoOrder", {"clientAlgoId": "guard"})[1]["algoStatus"] == "NEW"


def test_a_fill_on_request(sandbox: SandboxProcess) -> None:
    """The background market takes what it is told to of a resting order; what does not rest cannot be filled."""
    plain = Plain(sandbox)
    number = plain.place("mine")["orderId"]
    assert sandbox.admin.fill(number, "0.004") == {"filled": "0.004", "status": "PARTIALLY_FILLED"}
    assert sandbox.admin.fill(number)["status"] == "FILLED"
    for wrong in ({"order_id": number}, {"order_id": 10**9}, {"order_id": "x"}):
        with pytest.raises(SandboxRefused):
            sandbox.admin.request("POST", "/admin/fill", wrong)
    other = plain.call("POST", "/api/v3/order", limit_order("other"))[1]["orderId"]
    with pytest.raises(SandboxRefused, match="at most 0.01"):
        sandbox.admin.fill(other, "0.02")


@pytest.mark.parametrize("wrong", [{"kind": "reject", "reason": "mood"}, {"kind": "partial_fill", "fraction": 2}])
def test_wrong_parameters(sandbox: SandboxProcess, wrong: dict[str, object]) -> None:
    """A reason the engine does not know and more than all of an order are refused."""
    with pytest.raises(SandboxRefused, match="expected"):
        sandbox.admin.request("POST", "/admin/faults", wrong)


@pytest.mark.parametrize(("path", "prefix"), [("/ws-api/v3", ""), ("/ws-fapi/v1", "usdm/")])
def test_over_the_websocket_api(sandbox: SandboxProcess, path: str, prefix: str) -> None:
    """The same faults strike requests of the WebSocket API of both markets, and leave the same traces."""
    place, status = f"WS {prefix}order.place", f"WS {prefix}order.status"
    with RawWebSocket(sandbox.port, path) as line:

        def ask(method: str, **params: object) -> dict[str, Any]:
            line.send(signed_request("1", method, {"symbol": "BTCUSDT"} | params))
            return line.message()

        def order(name: str) -> dict[str, Any]:
            return ask("order.place", **{k: v for k, v in limit_order(name).items() if k != "symbol"})

        sandbox.admin.fault("reject", route=place, count=1, reason="would_match")
        assert order("refused")["status"] == 400
        sandbox.admin.fault("partial_fill", route=place, count=1, fraction=0.4)
        assert order("part")["status"] == 200
        lag = sandbox.admin.fault("lag", route=status, ms=60_000)
        assert ask("order.status", origClientOrderId="part")["error"]["code"] == -2013
        sandbox.admin.clear(lag)
        assert float(ask("order.status", origClientOrderId="part")["result"]["executedQty"]) == 0.004
        sandbox.admin.fault("venue_error", route=place, count=1, name="-1007", execute_probability=1.0)
        told = order("unknown")
        assert (told["status"], told["error"]["code"]) == (504, -1007)
        sandbox.admin.fault("reply_twice", route=place, count=1)
        assert order("twice") == line.message()
        sandbox.admin.fault("half_open", route=place, count=1)
        line.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            order("lost")
    rows = [(row["fault"], row["status"], row["executed"]) for row in sandbox.admin.ledger(path=f"{prefix}order.place")]
    assert rows == [("reject", 400, False), ("partial_fill", 200, True), ("venue_error", 504, True),
                    ("reply_twice", 200, True), ("half_open", "none", False)]  # fmt: skip
