"""The Bybit face over plain signed requests: authentication, categories, batches, refusals, lists, ledger, faults."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from v5_client import BybitClient, bybit_order, now_ms


@pytest.fixture
def bybit(sandbox: SandboxProcess) -> BybitClient:
    return BybitClient(sandbox)


def code(answer: Any) -> int:
    return int(answer["retCode"])


def test_who_may_ask(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """Key, signature and time are checked, each with its code; errors travel as HTTP 200."""
    path = "account/wallet-balance"
    asked = {"accountType": "UNIFIED"}
    assert bybit.send("GET", f"/v5/{path}", "", {})[:2][0] == 200
    assert code(bybit.send("GET", f"/v5/{path}", "", {})[1]) == 10003
    assert code(BybitClient(sandbox, key="nobody").call("GET", path, asked)) == 10003
    assert code(BybitClient(sandbox, secret="wrong").call("GET", path, asked)) == 10004
    assert code(bybit.call("GET", path, asked, at_ms=now_ms() - 5_100)) == 10002
    assert code(bybit.call("GET", path, asked, at_ms=now_ms() + 3_000)) == 10002
    assert code(bybit.call("GET", path, asked, X_BAPI_TIMESTAMP="soon")) == 10001
    assert code(bybit.call("GET", path, asked)) == 0
    assert code(bybit.call("GET", path, {"accountType": "SPOT"})) == 10001
    assert bybit.full("GET", "account/nothing")[0] == 404


def test_a_key_may_only_do_what_it_may() -> None:
    """A cancel-only key places nothing, and cancels another key's order, which the ledger notes."""
    keys = ("--account", "sandbox-key:sandbox-secret", "--account", "watch:dog:main:read+cancel")
    with SandboxProcess(quiet=True, extra_args=keys) as sandbox:
        bybit, dog = BybitClient(sandbox), BybitClient(sandbox, "watch", "dog")
        assert code(bybit.place("bots")) == 0
        assert code(dog.place("a")) == 10005
        cancel = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "bots"}
        assert code(dog.call("POST", "order/cancel", cancel)) == 0
        assert [row["client_order_id"] for row in sandbox.admin.checks()["foreign_order_touched"]] == ["bots"]


def test_batch_has_an_outcome_per_order(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """One refused order does not keep the others; each has its own row in the ledger."""
    orders = [bybit_order("one"), bybit_order("two", price="1"), bybit_order("three", qty="9"), bybit_order("one")]
    answer = bybit.call("POST", "order/create-batch", {"category": "spot", "request": orders})
    assert code(answer) == 0
    assert [each["code"] for each in answer["retExtInfo"]["list"]] == [0, 170193, 170131, 170141]
    assert [bool(row["orderId"]) for row in answer["result"]["list"]] == [True, False, False, False]
    rows = sandbox.admin.ledger(path="/v5/order/create-batch")
    assert [(row["client_order_id"], row["executed"]) for row in rows] == [
        ("one", True), ("two", False), ("three", False), ("one", False),
    ]  # fmt: skip
    assert (rows[0]["symbol"], rows[0]["intent"]) == ("BTCUSDT", "spot Buy Limit 0.01 40000")
    assert sandbox.admin.checks()["sent_twice"][0]["client_order_id"] == "one"
    named = [{"symbol": "BTCUSDT", "orderLinkId": name} for name in ("one", "two")]
    answer = bybit.call("POST", "order/cancel-batch", {"category": "spot", "request": named})
    assert [each["code"] for each in answer["retExtInfo"]["list"]] == [0, 170213]
    many = {"category": "spot", "request": [bybit_order()] * 21}
    assert code(bybit.call("POST", "order/create-batch", many)) == 10001


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"price": "40000.001"}, 170134),
        ({"qty": "0.000001"}, 170137),
        ({"qty": "0.00001"}, 170140),
        ({"price": "1"}, 170193),
        ({"qty": "9"}, 170131),
        ({"symbol": "BTCEUR"}, 170121),
        ({"side": "buy"}, 10001),
        ({"orderType": "Magic"}, 10001),
        ({"qty": "-1"}, 10001),
        ({"qty": ""}, 10001),
        ({"orderLinkId": "not allowed!"}, 10001),
        ({"takeProfit": "60000"}, 10001),
        ({"category": "futures"}, 10001),
        ({"category": "inverse"}, 10001),
        ({"category": "linear", "qty": "0.0001"}, 10001),
        ({"category": "linear", "price": "1"}, 110003),
        ({"category": "linear", "qty": "90"}, 110007),
        ({"category": "linear", "reduceOnly": True}, 110017),
        ({"category": "linear", "positionIdx": 1}, 10001),
        ({"category": "linear", "triggerPrice": "45000"}, 10001),
        ({"category": "linear", "triggerPrice": "45000", "triggerDirection": 1}, 110092),
    ],
)
def test_refusals(bybit: BybitClient, order: dict[str, Any], expected: int) -> None:
    """What is wrong with an order is said in Bybit's code, by category."""
    assert code(bybit.place(**order)) == expected


def test_names_are_used_once(bybit: BybitClient) -> None:
    """A client order id is refused also after its first order is over."""
    for category, cancelled, duplicate in (("spot", 170213, 170141), ("linear", 110001, 110072)):
        assert code(bybit.place("once", category=category)) == 0
        cancel = {"category": category, "symbol": "BTCUSDT", "orderLinkId": "once"}
        assert [code(bybit.call("POST", "order/cancel", cancel)) for _ in range(2)] == [0, cancelled]
        assert code(bybit.place("once", category=category)) == duplicate


def test_order_types(bybit: BybitClient) -> None:
    """Market by quote, immediate-or-cancel; a post-only that would trade is taken and cancelled."""
    assert code(bybit.place("quote", orderType="Market", qty="1000")) == 0
    quote = bybit.orders(orderLinkId="quote")[0]
    assert (quote["orderStatus"], quote["qty"], quote["marketUnit"]) == ("Filled", "1000", "quoteCoin")
    assert float(quote["cumExecQty"]) == pytest.approx(0.02, rel=0.01)
    assert quote["cumFeeDetail"] == {"BTC": quote["cumExecFee"]}
    bybit.place("ioc", timeInForce="IOC")
    assert bybit.orders(orderLinkId="ioc")[0]["orderStatus"] == "Cancelled"
    assert code(bybit.place("maker", timeInForce="PostOnly", price="60000")) == 0
    maker = bybit.orders(orderLinkId="maker")[0]
    assert (maker["orderStatus"], maker["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")


def test_amending(bybit: BybitClient) -> None:
    """Size and price change in place; nothing to change, nothing there and too much each have their code."""
    bybit.place("amended")
    amend = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "amended"}
    assert code(bybit.call("POST", "order/amend", amend | {"qty": "0.02", "price": "41000"})) == 0
    order = bybit.orders(orderLinkId="amended")[0]
    assert (order["qty"], order["price"], order["orderStatus"]) == ("0.02", "41000", "New")
    assert code(bybit.call("POST", "order/amend", amend | {"qty": "0.02"})) == 10001
    assert code(bybit.call("POST", "order/amend", amend | {"qty": "99"})) == 170131
    wallet = bybit.call("GET", "account/wallet-balance", {"accountType": "UNIFIED"})["result"]["list"][0]
    assert {row["coin"]: row["locked"] for row in wallet["coin"]}["USDT"] == "820"
    assert code(bybit.call("POST", "order/amend", amend | {"orderLinkId": "never", "qty": "1"})) == 170213


def test_conditional_orders_are_of_the_same_family(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """Untriggered, amended, triggered, filled under one id; cancelled before its price it is deactivated."""
    stop = bybit_order("stop", "Sell", category="linear", orderType="Market", price="", triggerPrice="49000",
                       triggerDirection=2)  # fmt: skip
    placed = bybit.call("POST", "order/create", stop)["result"]["orderId"]
    assert bybit.orders(category="linear", symbol="BTCUSDT", orderFilter="Order") == []
    listed = bybit.orders(category="linear", symbol="BTCUSDT", orderFilter="StopOrder")
    assert [(row["orderStatus"], row["triggerPrice"], row["triggerDirection"]) for row in listed] == [
        ("Untriggered", "49000", 2)
    ]
    amend = {"category": "linear", "symbol": "BTCUSDT", "orderId": placed, "triggerPrice": "48000"}
    assert code(bybit.call("POST", "order/amend", amend)) == 0
    sandbox.admin.price("BTCUSDT", "47000")
    bybit.place(side="Sell", qty="0.001", price="", orderType="Market", category="linear")
    assert bybit.orders(category="linear", orderId=placed)[0]["orderStatus"] == "Filled"
    bybit.place("spotstop", side="Sell", triggerPrice="30000", price="29900")
    cancel = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": "spotstop"}
    assert code(bybit.call("POST", "order/cancel", cancel)) == 0
    assert bybit.orders("order/history", orderLinkId="spotstop")[0]["orderStatus"] == "Deactivated"
    assert [row["client_order_id"] for row in sandbox.admin.checks()["protective_order_cancelled"]] == ["spotstop"]


def test_positions_and_modes(bybit: BybitClient) -> None:
    """One position a symbol, or two in hedge mode; asked for by symbol an empty one is shown."""
    assert bybit.orders("position/list", "linear", symbol="BTCUSDT")[0]["size"] == "0"
    assert bybit.orders("position/list", "linear", settleCoin="USDT") == []
    assert code(bybit.call("GET", "position/list", {"category": "linear"})) == 10001
    leverage = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"}
    assert [code(bybit.call("POST", "position/set-leverage", leverage)) for _ in range(2)] == [0, 110043]
    bybit.place(side="Sell", category="linear", orderType="Market", price="")
    held = bybit.orders("position/list", "linear", settleCoin="USDT")[0]
    assert (held["side"], held["size"], held["leverage"]) == ("Sell", "0.01", "5")
    mode = {"category": "linear", "symbol": "BTCUSDT", "mode": 3}
    assert code(bybit.call("POST", "position/switch-mode", mode)) == 110024
    bybit.place(category="linear", orderType="Market", price="", reduceOnly=True)
    assert [code(bybit.call("POST", "position/switch-mode", mode)) for _ in range(2)] == [0, 110025]
    assert code(bybit.place(category="linear", orderType="Market", price="")) == 10001
    bybit.place(side="Sell", category="linear", orderType="Market", price="", positionIdx=2)
    assert bybit.orders("position/list", "linear", settleCoin="USDT")[0]["positionIdx"] == 2


def test_lists_come_in_pages(bybit: BybitClient) -> None:
    """Newest first, the cursor goes on from there; realtime has what is open, history what is over."""
    names = [f"n{number}" for number in range(5)]
    for name in names:
        bybit.place(name)
    asked: dict[str, Any] = {"category": "spot", "limit": 2}
    seen: list[str] = []
    for _ in range(3):
        result = bybit.call("GET", "order/realtime", asked)["result"]
        seen += [row["orderLinkId"] for row in result["list"]]
        asked["cursor"] = result["nextPageCursor"]
    assert (seen, asked["cursor"]) == (names[::-1], "")
    gone = bybit.call("POST", "order/cancel-all", {"category": "spot", "symbol": "BTCUSDT"})["result"]["list"]
    assert len(gone) == 5
    assert bybit.orders() == []
    assert len(bybit.orders(openOnly=1)) == 5
    assert [row["orderLinkId"] for row in bybit.orders("order/history", limit=2)] == ["n4", "n3"]
    assert code(bybit.call("POST", "order/cancel-all", {"category": "linear"})) == 10001
    assert bybit.call("POST", "order/cancel-all", {"category": "linear", "settleCoin": "USDT"})["result"]["list"] == []


def test_executions(bybit: BybitClient) -> None:
    """Each side of a trade, newest first, by order and by time."""
    bybit.place("bought", orderType="Market", qty="0.1", marketUnit="baseCoin")
    row = bybit.orders("execution/list")[0]
    assert (row["orderLinkId"], row["execQty"], row["execFee"], row["feeCurrency"]) == (
        "bought",
        "0.1",
        "0.0001",
        "BTC",
    )
    assert bybit.orders("execution/list", orderId=row["orderId"]) == [row]
    assert bybit.orders("execution/list", endTime=1) == []


def test_after_the_gate(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """Placements after a gate mark are found, order by order; cancels are none."""
    bybit.place("before")
    sandbox.admin.mark("gate")
    bybit.place("single")
    bybit.call(
        "POST", "order/create-batch", {"category": "spot", "request": [bybit_order("two"), bybit_order("three")]}
    )
    bybit.call("POST", "order/cancel-all", {"category": "spot"})
    found = [row["client_order_id"] for row in sandbox.admin.checks()["after_gate"]]
    assert found == ["single", "two", "three"]


def test_true_meanings(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """10016 may have executed the order, 10006 never; what is open is open to the checks although it was a 200."""
    route = "POST /v5/order/create"
    sandbox.admin.fault("venue_error", name="bybit-10016", execute_probability=1.0, route=route, count=1)
    assert code(bybit.place("open")) == 10016
    assert code(bybit.call("GET", "order/realtime", {"category": "spot"}, at_ms=1)) == 10002  # still unknown
    assert code(bybit.place("equal")) == 0
    assert [row["executed"] for row in sandbox.admin.checks()["equal_while_unknown"]] == [[True, True]]
    assert bybit.orders(orderLinkId="open")[0]["orderStatus"] == "New"
    sandbox.admin.fault("venue_error", name="bybit-10006", execute_probability=1.0, route=route, count=1)
    assert code(bybit.place("never")) == 10006
    assert bybit.orders(orderLinkId="never") == []


def test_faults_strike_this_face_too(sandbox: SandboxProcess, bybit: BybitClient) -> None:
    """A lost answer leaves an executed order in the ledger; limits speak Bybit; hidden orders are not found."""
    sandbox.admin.fault("reset_after", route="POST /v5/order/create", count=1)
    with pytest.raises(OSError):
        bybit.place("lost")
    rows = sandbox.admin.ledger(client_order_id="lost")
    assert [(row["status"], row["executed"], row["ttl_ms"]) for row in rows] == [("reset", True, 5000)]
    sandbox.admin.fault("rate_limit", route="POST /v5/order/create", count=1)
    status, body, headers = bybit.full("POST", "order/create", bybit_order("limited"))
    assert (status, body["retCode"], headers["X-Bapi-Limit-Status"]) == (200, 10006, "0")
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) > now_ms()
    sandbox.admin.fault("hidden", ms=60_000, route="GET /v5/order/realtime", count=1)
    assert bybit.orders(orderLinkId="lost") == []
    assert bybit.orders(orderLinkId="lost")[0]["orderStatus"] == "New"


def test_orders_outlive_a_kill(tmp_path: Any) -> None:
    """Orders of this face are in the state file like all others."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        bybit = BybitClient(sandbox)
        placed = bybit.place("kept")["result"]["orderId"]
        sandbox.restart()
        assert bybit.orders(orderLinkId="kept")[0]["orderId"] == placed
