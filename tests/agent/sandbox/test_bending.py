"""Faults inside the venue, on every face: lagging and blind queries, refusals, partial fills."""

from __future__ import annotations

import hmac
import time
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from jackstay_agent.sandbox.faces.kraken_names import order_number
from raw_websocket import RawWebSocket
from sandbox_client import KEY, SECRET, Plain, limit_order
from sandbox_faces import FACES, FaceClient


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


def test_rejects(sandbox: SandboxProcess, face: FaceClient) -> None:
    """A placement is refused in the venue's words for a reason of one's choice, once, and nothing was executed."""
    sandbox.admin.fault("reject", route=face.route, count=1, reason="market_closed")
    assert face.place("refused") != ""
    assert face.place("taken") == ""
    assert face.open() == ["taken"]
    rows = [row for row in sandbox.admin.ledger() if row["lane"] == "trade"]
    assert [(row["fault"], row["executed"]) for row in rows] == [("reject", False), ("", True)]


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


def signed_request(number: str, method: str, params: dict[str, object]) -> dict[str, object]:
    """A request of Binance's WebSocket API."""
    params = params | {"apiKey": KEY, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    signature = hmac.digest(SECRET.encode(), payload.encode(), "sha256").hex()
    return {"id": number, "method": method, "params": params | {"signature": signature}}


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
