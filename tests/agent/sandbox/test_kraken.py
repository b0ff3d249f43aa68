"""The Kraken face over REST, asked by a plain client: orders, lists, balances, and its words for no."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import KEY, KrakenPlain, limit_order


@pytest.fixture
def plain(sandbox: SandboxProcess) -> KrakenPlain:
    return KrakenPlain(sandbox)


def test_market_data(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """Pairs answer to every spelling, time is now, the book is not crossed, and the status is online."""
    assert abs(plain.public("Time")["result"]["unixtime"] - time.time()) < 5
    assert plain.public("SystemStatus")["result"]["status"] == "online"
    assert set(plain.public("Assets")["result"]) == {"XXBT", "XETH", "ZUSD", "USDT"}
    for spelling in ("XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD"):
        (pair,) = plain.public("AssetPairs", pair=spelling)["result"]
        assert pair == "XXBTZUSD"
    book = plain.public("Depth", pair="XBTUSD", count=3)["result"]["XXBTZUSD"]
    assert len(book["bids"]) == len(book["asks"]) == 3
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    plain.call("AddOrder", limit_order(ordertype="market", price=""))
    (trade,) = plain.public("Trades", pair="XBTUSD")["result"]["XXBTZUSD"]
    ticker = plain.public("Ticker", pair="XBTUSD,ETHUSD")["result"]
    assert ticker["XXBTZUSD"]["c"] == [trade[0], trade[1]]
    assert "XETHZUSD" in ticker
    assert plain.public("OHLC", pair="XBTUSD", interval=5)["result"]["XXBTZUSD"][-1][7] == 1
    assert {row["status"] for row in sandbox.admin.ledger()} == {200}


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("Ticker", {"pair": "XBTXYZ"}, "EQuery:Unknown asset pair"),
        ("Assets", {"asset": "XYZ"}, "EQuery:Unknown asset"),
        ("Depth", {}, "EGeneral:Invalid arguments:pair"),
        ("Depth", {"pair": "XBTUSD", "count": "many"}, "EGeneral:Invalid arguments:count"),
        ("OHLC", {"pair": "XBTUSD", "interval": "7"}, "EGeneral:Invalid arguments:interval"),
        ("Nonsense", {}, "EGeneral:Unknown method"),
    ],
)
def test_public_refusals(plain: KrakenPlain, name: str, params: dict[str, str], error: str) -> None:
    """What the public may not ask is refused with HTTP 200 and words."""
    assert plain.public(name, **params) == {"error": [error]}


def test_an_order_from_placing_to_cancelled(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """An order is found by its txid and its cl_ord_id among the open, then among the closed ones."""
    txid = plain.place("bot-1")
    (found,) = plain.call("OpenOrders", {"cl_ord_id": "bot-1"})[1]["open"].items()
    assert (found[0], found[1]["descr"]["order"]) == (txid, "buy 0.01000000 XBTUSD @ limit 40000.0")
    assert plain.call("OpenOrders", {"cl_ord_id": "other"})[1]["open"] == {}
    assert plain.call("QueryOrders", {"txid": txid})[1][txid]["status"] == "open"
    assert plain.call("CancelOrder", {"cl_ord_id": "bot-1"}) == ([], {"count": 1})
    assert plain.call("CancelOrder", {"cl_ord_id": "bot-1"})[0] == ["EOrder:Unknown order"]
    assert plain.call("CancelOrder", {"txid": txid})[0] == ["EOrder:Unknown order"]
    closed = plain.call("ClosedOrders", {"cl_ord_id": "bot-1"})[1]["closed"][txid]
    assert (closed["status"], closed["reason"]) == ("canceled", "User requested")
    row = sandbox.admin.ledger(path="/0/private/AddOrder")[0]
    assert (row["client_order_id"], row["symbol"], row["lane"]) == ("bot-1", "XBTUSD", "trade")
    assert (row["order_id"], row["executed"], row["intent"]) == (txid, True, "buy limit 0.01 40000")


def test_money(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """An open buy holds its cost and its fee; a trade pays the fee in dollars, and nothing is lost on the way."""
    plain.place("held")
    held = plain.call("BalanceEx")[1]["ZUSD"]
    assert held == {"balance": "100000.0000", "hold_trade": "401.0400"}
    plain.call("CancelAll")
    txid = plain.call("AddOrder", limit_order(ordertype="market", price="", volume="0.1"))[1]["txid"][0]
    order = plain.call("QueryOrders", {"txid": txid, "trades": "true"})[1][txid]
    (trade,) = plain.call("QueryTrades", {"txid": order["trades"][0]})[1].values()
    assert (trade["ordertxid"], trade["fee"], order["status"]) == (txid, order["fee"], "closed")
    balance = plain.call("Balance")[1]
    assert balance["XXBT"] == "10.1000000000"
    assert float(balance["ZUSD"]) == pytest.approx(100_000 - float(order["cost"]) - float(order["fee"]), abs=1e-4)
    assert plain.call("BalanceEx")[1]["ZUSD"]["hold_trade"] == "0.0000"
    assert sandbox.admin.balances("kraken")["main"]["BTC"] == {"free": "10.10000000", "locked": "0.00000000"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pair": "XBTXYZ"}, "EQuery:Unknown asset pair"),
    ({"ordertype": "trailing-stop"}, "EGeneral:Invalid arguments:ordertype"),
    ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
    ({"volume": ""}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "0.00001"}, "EOrder:Order minimum not met"),
    ({"volume": "0.0001", "price": "1000"}, "EOrder:Cost minimum not met"),
    ({"volume": "9"}, "EOrder:Insufficient funds"),
    ({"price": "40000.05"}, "EOrder:Invalid price:XBTUSD price can only be specified up to 1 decimals."),
    ({"price": "-1"}, "EGeneral:Invalid arguments:price"),
    ({"oflags": "post", "price": "60000"}, "EOrder:Post only order"),
    ({"oflags": "everything"}, "EGeneral:Invalid arguments:oflags"),
    ({"timeinforce": "DAY"}, "EGeneral:Invalid arguments:timeinforce"),
    ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
    ({"leverage": "2:1"}, "EGeneral:Invalid arguments:leverage"),
    ({"reduce_only": "true"}, "EOrder:Reduce only:No position exists"),
    ({"cl_ord_id": "far too long to be a free text"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"userref": "word"}, "EGeneral:Invalid arguments:userref"),
    ({"cl_ord_id": "a", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id and userref are exclusive"),
    ({"ordertype": "stop-loss", "price": "40000"}, "EOrder:Invalid price"),
    ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
    ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
]


@pytest.mark.parametrize(("wrong", "error"), REFUSED, ids=[error[:40] for _, error in REFUSED])
def test_orders_are_refused_in_words(
    sandbox: SandboxProcess, plain: KrakenPlain, wrong: dict[str, Any], error: str
) -> None:
    """A wrong order is answered 200 with Kraken's words, and nothing was placed."""
    assert plain.call("AddOrder", limit_order() | wrong)[0] == [error]
    assert sandbox.admin.orders("kraken") == []
    row = sandbox.admin.ledger(path="/0/private/AddOrder")[0]
    assert (row["status"], row["executed"], row["notes"]) == (200, False, ["refused"])


def test_client_ids_are_unique_among_open_orders(plain: KrakenPlain) -> None:
    """A cl_ord_id is taken while its order is open, on whichever pair, and free again afterwards."""
    plain.place("once")
    assert plain.call("AddOrder", limit_order("once", pair="ETHUSD", price="2000"))[0] == ["EOrder:Duplicate cl_ord_id"]
    plain.call("CancelAll")
    plain.place("once")


def test_userref_names_many(plain: KrakenPlain) -> None:
    """Orders may share a userref; a cancel by it ends them all."""
    for price in ("40000", "39000"):
        plain.place(userref="7", price=price)
    other = plain.place(userref="8")
    assert len(plain.call("OpenOrders", {"userref": "7"})[1]["open"]) == 2
    assert plain.call("CancelOrder", {"txid": "7"})[1] == {"count": 2}
    assert list(plain.call("OpenOrders")[1]["open"]) == [other]
    assert plain.call("QueryOrders", {"txid": other})[1][other]["userref"] == 8


def test_validate_places_nothing(plain: KrakenPlain) -> None:
    """With validate the order is described and forgotten; what is wrong with it is said."""
    told = plain.call("AddOrder", limit_order(validate="true"))[1]
    assert told == {"descr": {"order": "buy 0.01000000 XBTUSD @ limit 40000.0"}}
    assert plain.call("AddOrder", limit_order(validate="true", volume="0.00001"))[0] == ["EOrder:Order minimum not met"]
    assert plain.call("OpenOrders")[1] == {"open": {}}


def test_deadline_in_time(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """A deadline ahead lets the order pass; a slow venue lets it elapse, and the ledger says how old it was."""
    ahead = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    plain.place("in-time", deadline=ahead)
    near = (datetime.now(UTC) + timedelta(milliseconds=150)).isoformat()
    sandbox.admin.fault("latency", route="POST /0/private/AddOrder", ms=300, count=1)
    assert plain.call("AddOrder", limit_order("late", deadline=near))[0] == ["EService:Deadline elapsed"]
    late = sandbox.admin.ledger(client_order_id="late")[0]
    assert (late["executed"], late["ttl_ms"] < 500) == (False, True)


def test_amend_keeps_the_id(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """Amended in place: same id, new size and price, more or less money held."""
    txid = plain.place("bot-1")
    assert plain.call("AmendOrder", {"cl_ord_id": "bot-1", "order_qty": "0.02", "limit_price": "41000"})[0] == []
    order = plain.call("QueryOrders", {"txid": txid})[1][txid]
    assert (order["vol"], order["descr"]["price"]) == ("0.02000000", "41000.0")
    assert plain.call("BalanceEx")[1]["ZUSD"]["hold_trade"] == "822.1320"
    plain.call("AmendOrder", {"txid": txid, "order_qty": "0.01"})
    assert plain.call("BalanceEx")[1]["ZUSD"]["hold_trade"] == "411.0660"
    refusals = [
        ({"order_qty": "9"}, "EOrder:Insufficient funds"),
        ({"limit_price": "60000", "post_only": "true"}, "EOrder:Post only order"),
        ({}, "EGeneral:Invalid arguments:order_qty"),
        ({"trigger_price": "50000"}, "EGeneral:Invalid arguments:trigger_price"),
    ]
    for wrong, error in refusals:
        assert plain.call("AmendOrder", {"txid": txid, **wrong})[0] == [error]
    assert plain.call("BalanceEx")[1]["ZUSD"]["hold_trade"] == "411.0660"


def test_edit_replaces(plain: KrakenPlain) -> None:
    """Edited: a new id, the old order cancelled; an edit that cannot stand leaves the old one alone."""
    old = plain.place(userref="5", volume="1")
    refused = plain.call("EditOrder", {"txid": old, "pair": "XBTUSD", "volume": "9"})[0]
    assert refused == ["EOrder:Insufficient funds"]
    assert list(plain.call("OpenOrders")[1]["open"]) == [old]
    # the money of the old order counts for the new one
    told = plain.call("EditOrder", {"txid": old, "pair": "XBTUSD", "volume": "2", "price": "41000"})[1]
    assert (told["originaltxid"], told["orders_cancelled"], told["status"]) == (old, 1, "ok")
    ((txid, order),) = plain.call("OpenOrders")[1]["open"].items()
    assert (txid, order["vol"], order["userref"]) == (told["txid"], "2.00000000", 5)


def test_the_market_moves_on_request(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """A price set over the administration moves Kraken's book, fills what rests in its way and fires a stop."""
    resting = plain.place(price="49000")
    stop = plain.place("stop", type="sell", ordertype="stop-loss", price="49500")
    sandbox.admin.price("BTCUSD", "48000")
    plain.call("AddOrder", limit_order(ordertype="market", type="sell", price=""))
    orders = plain.call("QueryOrders", {"txid": f"{resting},{stop}"})[1]
    assert {order["status"] for order in orders.values()} == {"closed"}
    assert float(plain.public("Ticker", pair="XBTUSD")["result"]["XXBTZUSD"]["c"][0]) < 48_500


def test_stops(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """A stop waits for its trigger, is told with both prices, and its cancel is noted as one of a protective order."""
    stop = plain.place("stop", type="sell", ordertype="stop-loss-limit", price="45000", price2="44900")
    told = plain.call("OpenOrders")[1]["open"][stop]
    assert (told["descr"]["price"], told["descr"]["price2"]) == ("45000.0", "44900.0")
    assert told["descr"]["order"] == "sell 0.01000000 XBTUSD @ stop loss 45000.0 -> limit 44900.0"
    assert plain.call("AmendOrder", {"txid": stop, "trigger_price": "46000"})[0] == []
    assert plain.call("OpenOrders")[1]["open"][stop]["descr"]["price"] == "46000.0"
    plain.call("CancelOrder", {"txid": stop})
    assert [found["path"] for found in sandbox.admin.checks()["protective_order_cancelled"]] == [
        "/0/private/CancelOrder"
    ]


def test_time_in_force(plain: KrakenPlain) -> None:
    """Immediate-or-cancel ends at once, a dated order at its date, a market buy may be given in dollars."""
    gone = plain.place(timeinforce="IOC")
    assert plain.call("QueryOrders", {"txid": gone})[1][gone]["status"] == "canceled"
    dated = plain.place(timeinforce="GTD", expiretm="+0.2")
    deadline = time.monotonic() + 5
    while plain.call("QueryOrders", {"txid": dated})[1][dated]["status"] != "expired":
        assert time.monotonic() < deadline
    spent = plain.call("AddOrder", limit_order(ordertype="market", price="", volume="500", oflags="viqc"))[1]["txid"][0]
    assert float(plain.call("QueryOrders", {"txid": spent})[1][spent]["cost"]) == pytest.approx(500, abs=0.01)


def test_lists_go_by_pages(plain: KrakenPlain) -> None:
    """Closed orders and trades come newest first, fifty at a time, bounded by times or ids."""
    txids = [plain.place(price=str(30000 + n)) for n in range(55)]
    plain.call("CancelAll")
    first = plain.call("ClosedOrders", {"closetime": "open"})[1]
    assert (len(first["closed"]), first["count"], next(iter(first["closed"]))) == (50, 55, txids[-1])
    rest = plain.call("ClosedOrders", {"closetime": "open", "ofs": "50"})[1]["closed"]
    assert list(rest) == list(reversed(txids[:5]))
    until = plain.call("ClosedOrders", {"closetime": "open", "end": txids[3]})[1]["closed"]
    assert list(until) == list(reversed(txids[:4]))
    assert plain.call("ClosedOrders", {"start": str(int(time.time()) + 60)})[1]["closed"] == {}
    for _ in range(3):
        plain.call("AddOrder", limit_order(ordertype="market", price=""))
    trades = plain.call("TradesHistory")[1]
    assert (len(trades["trades"]), trades["count"]) == (3, 3)
    newest, middle, oldest = trades["trades"]
    assert list(plain.call("TradesHistory", {"end": middle})[1]["trades"]) == [middle, oldest]
    assert list(plain.call("TradesHistory", {"start": middle})[1]["trades"]) == [newest]


def test_batches(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """A batch of orders and one of cancels: each order has its own fate and its own row in the ledger."""
    item = {key: value for key, value in limit_order().items() if key != "pair"}
    told = plain.call(
        "AddOrderBatch", {"pair": "XBTUSD", "orders": [item | {"cl_ord_id": "a"}, item | {"volume": "9"}]}
    )[1]["orders"]
    assert told[1]["error"] == "EOrder:Insufficient funds"
    rows = sandbox.admin.ledger(path="/0/private/AddOrderBatch")
    assert [(row["client_order_id"], row["executed"], row["order_id"]) for row in rows] == [
        ("a", True, told[0]["txid"]),
        ("", False, None),
    ]
    other = plain.place("b")
    assert plain.call("CancelOrderBatch", {"orders": [other, "OAAAAA-AAAAA-AAAAAA"]})[1] == {"count": 1}
    assert sandbox.admin.checks()["sent_twice"] == []


def test_somebody_elses_order(sandbox: SandboxProcess) -> None:
    """Two keys of one account see the same orders; the ledger knows who touched whose."""
    with SandboxProcess(quiet=True, extra_args=("--account", "sandbox-key:sandbox-secret", "--account", "k2:s2:main",
                                                "--account", "ro:s3:main:read")) as shared:  # fmt: skip
        one = KrakenPlain(shared)
        two = KrakenPlain(shared, "k2", "czI=")
        txid = one.place("mine")
        assert two.call("CancelOrder", {"txid": txid})[0] == []
        assert [found["seq"] for found in shared.admin.checks()["foreign_order_touched"]] == [2]
        reader = KrakenPlain(shared, "ro", "czM=")
        assert reader.call("Balance")[0] == []
        for name in ("AddOrder", "CancelAll", "CancelAllOrdersAfter"):
            assert reader.call(name, limit_order())[0] == ["EGeneral:Permission denied"]


def test_keys_signatures_and_methods(sandbox: SandboxProcess, plain: KrakenPlain) -> None:
    """An unknown key, a wrong signature, no signature and a GET are refused, and use up no nonce."""
    assert KrakenPlain(sandbox, "nobody").call("Balance")[0] == ["EAPI:Invalid key"]
    assert KrakenPlain(sandbox, KEY, "d3Jvbmc=").call("Balance", nonce=2**63)[0] == ["EAPI:Invalid signature"]
    assert plain.send("POST", "/0/private/Balance", "nonce=1", {"API-Key": KEY})[1] == {
        "error": ["EAPI:Invalid signature"]
    }
    assert plain.send("GET", "/0/private/Balance")[1] == {"error": ["EGeneral:Unknown method"]}
    assert plain.call("Balance")[0] == []
