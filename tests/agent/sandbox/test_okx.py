"""The OKX face over plain signed requests: authentication, batches, refusals, families, ledger and faults."""

from __future__ import annotations

from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from v5_client import OkxClient, now_ms, okx_order


@pytest.fixture
def okx(sandbox: SandboxProcess) -> OkxClient:
    return OkxClient(sandbox)


def code(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["code"]


def items(answer: tuple[int, Any]) -> list[str]:
    return [item["sCode"] for item in answer[1]["data"]]


def test_who_may_ask(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """Key, signature, passphrase and timestamp are checked, each with its code and 401."""
    path = "/api/v5/account/balance"
    assert okx.send("GET", path, "", {})[:2] == (
        401,
        {"code": "50103", "msg": 'Request header "OK-ACCESS-KEY" can not be empty.', "data": []},
    )
    assert code(OkxClient(sandbox, key="nobody").call("GET", "account/balance")) == (401, "50111")
    assert code(OkxClient(sandbox, secret="wrong").call("GET", "account/balance")) == (401, "50113")
    assert code(okx.call("GET", "account/balance", OK_ACCESS_PASSPHRASE="wrong")) == (401, "50105")
    assert code(okx.call("GET", "account/balance", OK_ACCESS_TIMESTAMP="yesterday")) == (401, "50112")
    assert code(okx.call("GET", "account/balance", at_ms=now_ms() - 31_000)) == (401, "50102")
    assert code(okx.call("GET", "account/balance", at_ms=now_ms() + 31_000)) == (401, "50102")
    assert code(okx.call("GET", "account/balance")) == (200, "0")
    assert code(okx.call("GET", "account/nothing")) == (404, "404")
    assert code(okx.call("GET", "trade/cancel-order")) == (405, "50115")


def test_a_key_may_only_do_what_it_may() -> None:
    """A cancel-only key places nothing, and cancels another key's order, which the ledger notes."""
    keys = ("--account", "sandbox-key:sandbox-secret", "--account", "watch:dog:main:read+cancel")
    with SandboxProcess(quiet=True, extra_args=keys) as sandbox:
        okx, dog = OkxClient(sandbox), OkxClient(sandbox, "watch", "dog")
        assert okx.place("bots")["sCode"] == "0"
        assert code(dog.call("POST", "trade/order", okx_order("a"))) == (401, "50120")
        assert items(dog.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "bots"})) == ["0"]
        assert [row["client_order_id"] for row in sandbox.admin.checks()["foreign_order_touched"]] == ["bots"]


def test_expiry_header(okx: OkxClient) -> None:
    """A request that arrives after its expTime is turned away unprocessed."""
    late = okx.call("POST", "trade/order", okx_order("late"), expTime=str(now_ms() - 1))
    assert code(late) == (200, "50036")
    assert okx.order("late")["code"] == "51603"
    assert okx.call("POST", "trade/order", okx_order("intime"), expTime=str(now_ms() + 5000))[1]["code"] == "0"


def test_batch_has_an_outcome_per_order(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """One refused order does not keep the others; each has its own row in the ledger."""
    batch = [okx_order("one"), okx_order("two", px="1"), okx_order("three", sz="9"), okx_order("one")]
    answer = okx.call("POST", "trade/batch-orders", batch)
    assert (answer[1]["code"], items(answer)) == ("2", ["0", "51006", "51008", "51016"])
    rows = sandbox.admin.ledger(path="/api/v5/trade/batch-orders")
    assert [(row["client_order_id"], row["executed"]) for row in rows] == [
        ("one", True), ("two", False), ("three", False), ("one", False),
    ]  # fmt: skip
    assert {row["symbol"] for row in rows} == {"BTC-USDT"}
    assert rows[0]["order_id"] == answer[1]["data"][0]["ordId"]
    assert rows[0]["intent"] == "buy limit 0.01 40000"
    assert sandbox.admin.checks()["sent_twice"][0]["client_order_id"] == "one"
    answer = okx.call(
        "POST", "trade/cancel-batch-orders", [{"instId": "BTC-USDT", "clOrdId": n} for n in ("one", "two")]
    )
    assert (answer[1]["code"], items(answer)) == ("2", ["0", "51400"])
    assert items(okx.call("POST", "trade/order", okx_order(px="1"))) == ["51006"]
    assert okx.call("POST", "trade/batch-orders", [okx_order()] * 21)[1]["code"] == "50025"
    assert okx.call("POST", "trade/batch-orders", [])[1]["code"] == "50000"


def test_two_nameless_orders_of_a_batch_are_no_repetition(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """Equal orders without names in one request are two orders, not one sent twice."""
    assert items(okx.call("POST", "trade/batch-orders", [okx_order(), okx_order()])) == ["0", "0"]
    assert sandbox.admin.checks()["sent_twice"] == []


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"px": "40000.001"}, "51000"),
        ({"sz": "0.000001"}, "51121"),
        ({"sz": "0.00001"}, "51020"),
        ({"px": "1"}, "51006"),
        ({"sz": "9"}, "51008"),
        ({"instId": "BTC-EUR"}, "51001"),
        ({"side": "hold"}, "51000"),
        ({"ordType": "magic"}, "51000"),
        ({"tdMode": "none"}, "51000"),
        ({"sz": "-1"}, "51000"),
        ({"sz": ""}, "50014"),
        ({"clOrdId": "not allowed!"}, "51000"),
        ({"tag": "x" * 17}, "51000"),
        ({"attachAlgoOrds": [{"slTriggerPx": "30000", "slOrdPx": "-1"}]}, "50062"),
    ],
)
def test_refusals(okx: OkxClient, order: dict[str, Any], expected: str) -> None:
    """What is wrong with an order is said in OKX's code."""
    assert okx.place(**order)["sCode"] == expected


def test_names_are_used_once(okx: OkxClient) -> None:
    """A client order id is refused also after its first order is over, and for another instrument."""
    okx.place("once")
    assert items(okx.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "once"})) == ["0"]
    assert okx.place("once")["sCode"] == "51016"
    assert okx.place("once", instId="ETH-USDT", px="2000")["sCode"] == "51016"
    assert okx.order("once")["data"][0]["state"] == "canceled"
    assert items(okx.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "once"})) == ["51401"]


def test_order_types(okx: OkxClient) -> None:
    """Market by quote, immediate-or-cancel, fill-or-kill; a post-only that would trade is taken and cancelled."""
    assert okx.place("quote", ordType="market", sz="1000", tgtCcy="quote_ccy")["sCode"] == "0"
    assert float(okx.order("quote")["data"][0]["accFillSz"]) == pytest.approx(1000 / 50_000, rel=0.01)
    for kind, name in (("ioc", "ioc1"), ("fok", "fok1")):
        okx.place(name, ordType=kind)
        assert (okx.order(name)["data"][0]["state"], okx.order(name)["data"][0]["ordType"]) == ("canceled", kind)
    assert okx.place("maker", ordType="post_only", px="60000")["sCode"] == "0"
    assert okx.order("maker")["data"][0]["state"] == "canceled"
    assert okx.place("maker2", ordType="post_only")["sCode"] == "0"
    assert okx.order("maker2")["data"][0]["state"] == "live"


def test_amending(okx: OkxClient) -> None:
    """Size and price change in place; locked money follows; what cannot be amended stays as it was."""
    placed = okx.place("amended")
    amend = {"instId": "BTC-USDT", "clOrdId": "amended"}
    assert items(okx.call("POST", "trade/amend-order", amend | {"newSz": "0.02", "newPx": "41000"})) == ["0"]
    order = okx.order("amended")["data"][0]
    assert (order["ordId"], order["sz"], order["px"]) == (placed["ordId"], "0.02", "41000")
    assert items(okx.call("POST", "trade/amend-order", amend | {"newSz": "99"})) == ["51008"]
    details = {row["ccy"]: row for row in okx.call("GET", "account/balance")[1]["data"][0]["details"]}
    assert details["USDT"]["frozenBal"] == "820"
    assert items(okx.call("POST", "trade/amend-order", amend | {"newSz": "99", "cxlOnFail": "true"})) == ["0"]
    assert okx.order("amended")["data"][0]["state"] == "canceled"
    assert items(okx.call("POST", "trade/amend-order", amend | {"newSz": "1"})) == ["51503"]


def test_contracts_and_positions(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """Swaps are counted in contracts; reduce-only and close-position find what there is to close."""
    swap = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "ordType": "market"}
    assert okx.place("short", side="sell", sz="3", **swap)["sCode"] == "0"
    position = okx.call("GET", "account/positions")[1]["data"][0]
    assert (position["pos"], position["posSide"], position["lever"]) == ("-3", "net", "20")
    assert okx.place("wrong", side="sell", sz="1", reduceOnly=True, **swap)["sCode"] == "51169"
    assert okx.place("less", side="buy", sz="1", reduceOnly=True, **swap)["sCode"] == "0"
    assert okx.call("GET", "account/positions")[1]["data"][0]["pos"] == "-2"
    order = okx.order("less", "BTC-USDT-SWAP")["data"][0]
    assert (order["accFillSz"], order["reduceOnly"], order["feeCcy"]) == ("1", "true", "USDT")
    close = {"instId": "BTC-USDT-SWAP", "mgnMode": "cross"}
    assert items(okx.call("POST", "trade/close-position", close)) == ["0"]
    assert okx.call("GET", "account/positions")[1]["data"] == []
    assert items(okx.call("POST", "trade/close-position", close)) == ["51023"]
    assert okx.call("POST", "account/set-leverage", {**close, "lever": "5"})[1]["data"][0]["lever"] == "5"
    assert okx.call("POST", "account/set-position-mode", {"posMode": "long_short_mode"})[1]["code"] == "0"
    assert okx.place("bad", side="sell", sz="1", **swap)["sCode"] == "51000"
    assert okx.place("hedge", side="sell", sz="1", posSide="short", **swap)["sCode"] == "0"
    assert okx.call("GET", "account/positions")[1]["data"][0]["posSide"] == "short"


def test_two_families(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """A waiting algo order is no plain order; once triggered it is found in both families."""
    algo = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "conditional", "sz": "0.01",
            "slTriggerPx": "49000", "slOrdPx": "-1", "algoClOrdId": "stop1"}  # fmt: skip
    answer = okx.call("POST", "trade/order-algo", algo)
    number = answer[1]["data"][0]["algoId"]
    assert okx.order("stop1")["code"] == "51603"
    assert okx.call("GET", "trade/order", {"instId": "BTC-USDT", "ordId": number})[1]["code"] == "51603"
    assert okx.call("GET", "trade/orders-pending")[1]["data"] == []
    pending = okx.call("GET", "trade/orders-algo-pending", {"ordType": "conditional"})[1]["data"]
    assert [(row["algoClOrdId"], row["state"], row["slTriggerPx"]) for row in pending] == [("stop1", "live", "49000")]
    amended = okx.call("POST", "trade/amend-algos", {"instId": "BTC-USDT", "algoId": number, "newSlTriggerPx": "48000"})
    assert items(amended) == ["0"]
    sandbox.admin.price("BTCUSDT", "47000")
    okx.place(ordType="market", side="sell", sz="0.001", px="")
    found = okx.call("GET", "trade/order-algo", {"algoClOrdId": "stop1"})[1]["data"][0]
    assert (found["state"], found["ordId"]) == ("effective", number)
    plain = okx.call("GET", "trade/order", {"instId": "BTC-USDT", "ordId": number})[1]["data"][0]
    assert (plain["state"], plain["algoClOrdId"], plain["clOrdId"]) == ("filled", "stop1", "")
    assert items(okx.call("POST", "trade/cancel-algos", [{"instId": "BTC-USDT", "algoId": number}])) == ["51400"]
    wrong = algo | {"slTriggerPx": "60000", "algoClOrdId": "stop2"}
    assert items(okx.call("POST", "trade/order-algo", wrong)) == ["51280"]
    trigger = {"ordType": "trigger", "triggerPx": "60000", "orderPx": "60000", "algoClOrdId": "trig"}
    assert items(okx.call("POST", "trade/order-algo", {**algo, "slTriggerPx": "", **trigger})) == ["0"]
    assert items(okx.call("POST", "trade/cancel-algos", [{"instId": "BTC-USDT", "algoClOrdId": "trig"}])) == ["0"]
    assert len(sandbox.admin.checks()["protective_order_cancelled"]) == 1


def test_lists_come_in_pages(okx: OkxClient) -> None:
    """Newest first, `after` goes on from there, `limit` bounds; history holds what is over."""
    names = [f"n{number}" for number in range(5)]
    okx.call("POST", "trade/batch-orders", [okx_order(name) for name in names])
    first = okx.call("GET", "trade/orders-pending", {"limit": 2})[1]["data"]
    rest = okx.call("GET", "trade/orders-pending", {"after": first[-1]["ordId"]})[1]["data"]
    assert [row["clOrdId"] for row in first + rest] == names[::-1]
    okx.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "n1"})
    assert okx.call("GET", "trade/orders-history", {})[1]["code"] == "50014"
    history = okx.call("GET", "trade/orders-history", {"instType": "SPOT", "state": "canceled"})[1]["data"]
    assert [row["clOrdId"] for row in history] == ["n1"]


def test_after_the_gate(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """Placements of every kind after a gate mark are found, order by order; cancels are none."""
    okx.place("before")
    sandbox.admin.mark("gate")
    okx.place("single")
    okx.call("POST", "trade/batch-orders", [okx_order("two"), okx_order("three")])
    algo = {"ordType": "trigger", "triggerPx": "30000", "orderPx": "-1", "algoClOrdId": "algo", "side": "sell"}
    okx.call("POST", "trade/order-algo", okx_order() | algo)
    okx.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "single"})
    found = [row["client_order_id"] for row in sandbox.admin.checks()["after_gate"]]
    assert found == ["single", "two", "three", "algo"]


def test_true_meanings(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """50004 may have executed the order, 50001 never; what is open is open to the checks too."""
    sandbox.admin.fault(
        "venue_error", name="okx-50004", execute_probability=1.0, route="POST /api/v5/trade/order", count=1
    )
    assert code(okx.call("POST", "trade/order", okx_order("open"))) == (400, "50004")
    asked = {"instId": "BTC-USDT", "clOrdId": "open"}
    assert code(okx.call("GET", "trade/order", asked, expTime="1")) == (200, "50036")  # no answer: still unknown
    assert okx.place("equal")["sCode"] == "0"
    assert [row["executed"] for row in sandbox.admin.checks()["equal_while_unknown"]] == [[True, True]]
    assert okx.order("open")["data"][0]["state"] == "live"
    sandbox.admin.fault(
        "venue_error", name="okx-50001", execute_probability=1.0, route="POST /api/v5/trade/order", count=1
    )
    assert code(okx.call("POST", "trade/order", okx_order("never"))) == (503, "50001")
    assert okx.order("never")["code"] == "51603"


def test_faults_strike_this_face_too(sandbox: SandboxProcess, okx: OkxClient) -> None:
    """A lost answer leaves an executed batch in the ledger; limits speak OKX; hidden orders are not found."""
    sandbox.admin.fault("reset_after", route="POST /api/v5/trade/batch-orders", count=1)
    with pytest.raises(OSError):
        okx.call("POST", "trade/batch-orders", [okx_order("x1"), okx_order("x2", sz="9")])
    rows = sandbox.admin.ledger(path="/api/v5/trade/batch-orders")
    assert [(row["status"], row["executed"], row["fault"]) for row in rows] == [
        ("reset", True, "reset_after"), ("reset", False, "reset_after"),
    ]  # fmt: skip
    sandbox.admin.fault("rate_limit", route="POST /api/v5/trade/order", count=1)
    assert code(okx.call("POST", "trade/order", okx_order("limited"))) == (429, "50011")
    sandbox.admin.fault("hidden", ms=60_000, route="GET /api/v5/trade/", count=2)
    assert okx.order("x1")["code"] == "51603"
    assert okx.call("GET", "trade/orders-pending")[1]["data"] == []
    assert okx.order("x1")["code"] == "0"


def test_allowances() -> None:
    """Beyond an endpoint's allowance 50011 comes with 429; other endpoints have their own."""
    with SandboxProcess(quiet=True, weights=True) as sandbox:
        okx = OkxClient(sandbox)
        assert any(code(okx.call("GET", "account/config")) == (429, "50011") for _ in range(60))
        assert okx.place("fine")["sCode"] == "0"


def test_orders_outlive_a_kill(tmp_path: Any) -> None:
    """Orders of this face are in the state file like all others."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        okx = OkxClient(sandbox)
        placed = okx.place("kept")
        sandbox.restart()
        assert okx.order("kept")["data"][0]["ordId"] == placed["ordId"]
        assert [row["client_order_id"] for row in sandbox.admin.ledger(path="/api/v5/trade/order", method="POST")] == [
            "kept"
        ]
