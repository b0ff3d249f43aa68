"""Kraken's WebSocket v2: books whose checksum holds, the other public channels, executions, balances, orders."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import FollowedBook, KrakenPlain, KrakenWs, limit_order


def order(**more: Any) -> dict[str, Any]:
    return {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01, "limit_price": 40000} | more


def test_greeting_ping_and_nonsense(sandbox: SandboxProcess) -> None:
    """A connection begins with the status, a ping is answered under its number, nonsense is called so."""
    with KrakenWs(sandbox) as socket:
        (status,) = socket.next(channel="status")["data"]
        assert (status["system"], status["api_version"]) == ("online", "v2")
        socket.send("ping", req_id=7)
        assert socket.next(method="pong")["req_id"] == 7
        socket.send("fly")
        assert socket.next(method="fly")["success"] is False
        refused = socket.ask("subscribe", channel="book", symbol=["BTC/XYZ"])
        assert (refused["success"], refused["error"]) == (False, "Currency pair not supported BTC/XYZ")
        assert socket.ask("subscribe", channel="weather")["error"] == "Subscription name invalid"
        assert socket.ask("subscribe", channel="book", symbol=["BTC/USD"], depth=7)["success"] is False
        assert socket.ask("unsubscribe", channel="book", symbol=["BTC/USD"])["success"] is False


@pytest.mark.parametrize("depth", [10, 25])
def test_books_keep_their_checksum(depth: int) -> None:
    """Whoever follows snapshot and updates in a moving market, and cuts to his depth, finds every checksum right."""
    with SandboxProcess(extra_args=("--tick-ms", "10")) as moving, KrakenWs(moving) as socket:
        told = socket.ask("subscribe", channel="book", symbol=["BTC/USD"], depth=depth)
        assert told["result"] == {"channel": "book", "symbol": "BTC/USD", "snapshot": True, "depth": depth}
        book = FollowedBook(depth)
        first = socket.next(channel="book")
        assert (first["type"], book.read(first)) == ("snapshot", True)
        for _ in range(60):
            assert book.read(socket.next(channel="book"))
        assert max(book.bids) < min(book.asks)


def test_an_order_shows_in_the_book(sandbox: SandboxProcess) -> None:
    """An order better than the best appears in one update and vanishes in the next; a second reader starts level."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket, KrakenWs(sandbox) as second:
        book, other = FollowedBook(), FollowedBook()
        socket.ask("subscribe", channel="book", symbol=["BTC/USD"])
        assert book.read(socket.next(channel="book"))
        txid = plain.place(price="49999.0")
        update = socket.next(channel="book")
        (level,) = update["data"][0]["bids"]
        assert (str(level["price"]), str(level["qty"]), book.read(update)) == ("49999.0", "0.01000000", True)
        second.ask("subscribe", channel="book", symbol=["BTC/USD"])
        assert other.read(second.next(channel="book"))
        assert other.bids == book.bids
        plain.call("CancelOrder", {"txid": txid})
        gone = socket.next(channel="book")
        assert book.read(gone)
        assert other.read(second.next(channel="book"))
        assert [str(row["qty"]) for row in gone["data"][0]["bids"]][0] == "0E-8" or len(book.bids) == 10


def test_trades_tickers_and_bars(sandbox: SandboxProcess) -> None:
    """One trade is told in the trade, the ticker and the ohlc channel."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        for channel in ("trade", "ohlc", "ticker"):
            assert socket.ask("subscribe", channel=channel, symbol=["BTC/USD"])["success"]
        assert socket.next(channel="ticker")["type"] == "snapshot"
        plain.call("AddOrder", limit_order(ordertype="market", price=""))
        (trade,) = socket.next(channel="trade")["data"]
        (ticker,) = socket.next(channel="ticker")["data"]
        (bar,) = socket.next(channel="ohlc")["data"]
        assert (trade["side"], str(trade["qty"])) == ("buy", "0.01000000")
        assert ticker["last"] == bar["close"] == trade["price"]
        assert ticker["bid"] < ticker["ask"]
        assert socket.ask("unsubscribe", channel="trade", symbol=["BTC/USD"])["success"]


def test_heartbeats(sandbox: SandboxProcess) -> None:
    """A subscribed line in a quiet market beats about once a second."""
    with KrakenWs(sandbox) as socket:
        socket.ask("subscribe", channel="trade", symbol=["BTC/USD"])
        assert socket.next(channel="heartbeat", timeout_s=3) == {"channel": "heartbeat"}


def executions(socket: KrakenWs, count: int) -> list[dict[str, Any]]:
    messages = [socket.next(channel="executions") for _ in range(count)]
    return [message["data"][0] | {"sequence": message["sequence"]} for message in messages]


def test_executions(sandbox: SandboxProcess) -> None:
    """Pending, new, amended, canceled; pending, new, trade, filled: each with the order's names, numbered in a row."""
    plain = KrakenPlain(sandbox)
    before = plain.place("before")
    with KrakenWs(sandbox) as socket:
        told = socket.ask("subscribe", channel="executions", token=plain.token(), snap_orders=True)
        assert told["result"]["snap_orders"] is True
        snapshot = socket.next(channel="executions")
        assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
        assert [item["order_id"] for item in snapshot["data"]] == [before]
        txid = plain.place("mine")
        plain.call("AmendOrder", {"txid": txid, "limit_price": "41000"})
        plain.call("CancelOrder", {"txid": txid})
        told_of = executions(socket, 4)
        assert [item["exec_type"] for item in told_of] == ["pending_new", "new", "amended", "canceled"]
        assert {(item["order_id"], item["cl_ord_id"]) for item in told_of} == {(txid, "mine")}
        assert told_of[3]["cancel_reason"] == "User requested"
        assert [item["sequence"] for item in told_of] == [2, 3, 4, 5]
        plain.call("AddOrder", limit_order(ordertype="market", price=""))
        *_, trade, filled = executions(socket, 4)
        assert (trade["exec_type"], trade["order_status"]) == ("trade", "partially_filled")
        assert (filled["exec_type"], str(filled["cum_qty"])) == ("filled", "0.01000000")
        assert trade["fees"][0]["asset"] == "USD"
        assert plain.call("QueryTrades", {"txid": trade["exec_id"]})[0] == []


def test_balances(sandbox: SandboxProcess) -> None:
    """Balances come whole, then by asset whenever a total changes; a mere lock is not told."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        socket.ask("subscribe", channel="balances", token=plain.token())
        snapshot = {item["asset"]: item["balance"] for item in socket.next(channel="balances")["data"]}
        assert str(snapshot["BTC"]) == "10.0000000000"
        plain.place("locks")
        plain.call("AddOrder", limit_order(ordertype="market", price=""))
        changed = {item["asset"]: item for item in (socket.next(channel="balances")["data"][0] for _ in range(2))}
        assert (str(changed["BTC"]["balance"]), set(changed)) == ("10.0100000000", {"BTC", "USD"})


def test_orders_over_the_socket(sandbox: SandboxProcess) -> None:
    """Place, amend, edit, cancel by both names, cancel all: answered under their numbers, each with its ledger row."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        token = plain.token()
        socket.send("add_order", req_id=1, **order(cl_ord_id="one", token=token))
        placed = socket.next(method="add_order")
        assert (placed["success"], placed["req_id"], placed["result"]["cl_ord_id"]) == (True, 1, "one")
        txid = placed["result"]["order_id"]
        amended = socket.ask("amend_order", order_id=txid, order_qty=0.02, token=token)
        assert amended["result"]["order_id"] == txid
        edited = socket.ask("edit_order", order_id=txid, symbol="BTC/USD", order_qty=0.03, token=token)["result"]
        assert edited["original_order_id"] == txid
        stop = socket.ask("add_order", **order(order_type="stop-loss", side="sell", cl_ord_id="two", token=token,
                                               triggers={"price": 45000.5}, limit_price=None))  # fmt: skip
        assert stop["success"], stop
        both = socket.ask("cancel_order", order_id=[txid], cl_ord_id=["two"], token=token)
        assert both["error"] == "EGeneral:Invalid arguments:txid"
        socket.send("cancel_order", order_id=[edited["order_id"], txid], token=token)
        answers = [socket.next(method="cancel_order") for _ in range(2)]
        assert [(answer["success"], answer.get("error")) for answer in answers] == [
            (True, None),
            (False, "EOrder:Unknown order"),
        ]
        assert socket.ask("cancel_order", cl_ord_id=["two"], token=token)["result"] == {"cl_ord_id": "two"}
        assert socket.ask("cancel_all", token=token)["result"] == {"count": 0}
    rows = sandbox.admin.ledger(method="WS", path="kraken/*")
    assert [row["path"] for row in rows] == [
        "kraken/add_order", "kraken/amend_order", "kraken/edit_order", "kraken/add_order", *["kraken/cancel_order"] * 4,
        "kraken/cancel_all",
    ]  # fmt: skip
    assert (rows[0]["client_order_id"], rows[0]["order_id"], rows[0]["executed"]) == ("one", txid, True)
    assert (rows[0]["symbol"], rows[0]["api_key"], rows[0]["lane"]) == ("XBTUSD", "sandbox-key", "trade")
    assert sandbox.admin.checks()["protective_order_cancelled"][0]["client_order_id"] == "two"


def test_batches_over_the_socket(sandbox: SandboxProcess) -> None:
    """A batch of orders is told one by one and has a ledger row for each; a batch of cancels is counted."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        token = plain.token()
        items = [{k: v for k, v in order(cl_ord_id=name, order_qty=size).items() if k != "symbol"}
                 for name, size in (("one", 0.01), ("two", 9), ("three", 0.02))]  # fmt: skip
        told = socket.ask("batch_add", symbol="BTC/USD", orders=items, token=token)["result"]
        assert [(row["cl_ord_id"], row.get("error")) for row in told] == [
            ("one", None), ("two", "EOrder:Insufficient funds"), ("three", None),
        ]  # fmt: skip
        gone = socket.ask("batch_cancel", orders=[told[0]["order_id"]], cl_ord_id=["three"], token=token)
        assert gone["result"] == {"count": 2}
    rows = sandbox.admin.ledger(path="kraken/batch_add")
    assert [(row["client_order_id"], row["executed"], row["symbol"]) for row in rows] == [
        ("one", True, "XBTUSD"), ("two", False, "XBTUSD"), ("three", True, "XBTUSD"),
    ]  # fmt: skip
    assert [row["executed"] for row in sandbox.admin.ledger(path="kraken/batch_cancel")] == [True, True]


def test_small_numbers_survive(sandbox: SandboxProcess) -> None:
    """A size that a float would spell 5e-05 arrives as it was meant."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        placed = socket.ask("add_order", **order(order_qty=0.00005, token=plain.token()))
        txid = placed["result"]["order_id"]
    assert plain.call("QueryOrders", {"txid": txid})[1][txid]["vol"] == "0.00005000"


def test_tokens(sandbox: SandboxProcess) -> None:
    """No token, a wrong one, or one of a key that may only read: nothing private, no order."""
    with KrakenWs(sandbox) as socket:
        for asked in ({"channel": "executions"}, {"channel": "executions", "token": "nonsense"}):
            assert socket.ask("subscribe", **asked)["error"] == "ESession:Invalid session"
        assert socket.ask("add_order", **order(token="nonsense"))["error"] == "ESession:Invalid session"
    with SandboxProcess(quiet=True, extra_args=("--account", "ro:cw:main:read")) as running, KrakenWs(running) as other:
        token = KrakenPlain(running, "ro", "Y3c=").token()
        assert other.ask("add_order", **order(token=token))["error"] == "EGeneral:Permission denied"


def test_a_reset_venue_starts_over(sandbox: SandboxProcess) -> None:
    """When the venue is reset under a reader, the reader gets the whole book again."""
    with KrakenWs(sandbox) as socket:
        socket.ask("subscribe", channel="book", symbol=["BTC/USD"])
        socket.next(channel="book")
        sandbox.admin.reset()
        again = socket.next(channel="book")
        assert (again["type"], FollowedBook().read(again)) == ("snapshot", True)


def test_other_doors_are_shut(sandbox: SandboxProcess) -> None:
    """An upgrade on a REST path, or on the first API's address, finds no WebSocket; REST on `/v2` finds no method."""
    for path in ("/0/public/Time", "/"):
        with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{sandbox.port}{path}", proxy=None):
            pass
    assert KrakenPlain(sandbox).send("GET", "/v2") == (200, {"error": ["EGeneral:Unknown method"]})


def test_nonsense_ends_no_connection(sandbox: SandboxProcess) -> None:
    """Hundreds of malformed and mixed-up messages are each answered; afterwards the line still serves orders."""
    plain, chance = KrakenPlain(sandbox), Random(7)
    token = plain.token()
    values: list[Any] = [None, True, -1, 0.5, "", "BTC/USD", "book", "nonsense", [], ["BTC/USD"], [1, None],
                         {}, {"a": 1}, "9" * 50, token]  # fmt: skip
    names = ["channel", "symbol", "depth", "interval", "event_trigger", "snapshot", "token", "order_id", "cl_ord_id",
             "order_type", "side", "order_qty", "limit_price", "triggers", "orders", "timeout", "deadline"]  # fmt: skip
    methods = ["subscribe", "unsubscribe", "add_order", "amend_order", "edit_order", "cancel_order", "cancel_all",
               "cancel_all_orders_after", "batch_add", "batch_cancel", "what", 5, None]  # fmt: skip
    with KrakenWs(sandbox) as socket:
        for _ in range(400):
            params = {name: chance.choice(values) for name in chance.sample(names, chance.randrange(6))}
            given = chance.choice([params, params | {"token": token}, None, [], "params"])
            socket.raw(json.dumps({"method": chance.choice(methods), "params": given, "req_id": chance.choice(values)}))
        for text in ("", "{", "[]", "null", "1e999", "[" * 20_000, '{"method": NaN}'):
            socket.raw(text)
        socket.send("ping", req_id=99)
        assert socket.next(method="pong")["req_id"] == 99
        assert socket.ask("add_order", **order(cl_ord_id="after", token=token))["success"]
