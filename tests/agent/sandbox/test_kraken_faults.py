"""Faults on the Kraken face, seen by a plain client and traced in the ledger; Kraken's troubled answers by name."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.sandbox.faces.kraken_meanings import KRAKEN_MEANINGS
from kraken_client import KrakenPlain, KrakenWs, limit_order

ADD = "POST /0/private/AddOrder"
TROUBLES = [(name, meaning.unknown) for name, meaning in KRAKEN_MEANINGS.items()]


@pytest.mark.parametrize(("name", "unknown"), TROUBLES, ids=[name for name, _ in TROUBLES])
def test_troubled_answers_keep_their_meaning(sandbox: SandboxProcess, name: str, unknown: bool) -> None:
    """Kraken's own words in HTTP 200; those that leave the outcome open sometimes hide an order, refusals never do."""
    plain = KrakenPlain(sandbox)
    sandbox.admin.fault("venue_error", route=ADD, name=name)
    told = {plain.call("AddOrder", limit_order(f"bot-{number}"))[0][0] for number in range(15)}
    assert told == {name}
    rows = sandbox.admin.ledger(path="/0/private/AddOrder")
    assert {row["executed"] for row in rows} == ({True, False} if unknown else {False})
    assert {row["fault"] for row in rows} == {"venue_error"}
    assert len(plain.call("OpenOrders")[1]["open"]) == sum(row["executed"] for row in rows)


def test_an_equal_order_while_unknown(sandbox: SandboxProcess) -> None:
    """An equal order under another name after an unknown answer is found; after an answered look it is not."""
    plain = KrakenPlain(sandbox)
    sandbox.admin.fault("venue_error", route=ADD, name="EService:Timeout", count=2)
    plain.call("AddOrder", limit_order("first"))
    plain.call("AddOrder", limit_order("second", pair="XXBTZUSD"))
    (found,) = sandbox.admin.checks()["equal_while_unknown"]
    assert (found["client_order_id"], found["unknown_seq"]) == ("second", 1)
    sandbox.admin.reset()
    sandbox.admin.fault("venue_error", route=ADD, name="EService:Timeout", count=1)
    plain.call("AddOrder", limit_order("first"))
    assert plain.call("OpenOrders", nonce=1)[0] == ["EAPI:Invalid nonce"]  # refused: nobody has looked yet
    plain.call("AddOrder", limit_order("second"))
    assert len(sandbox.admin.checks()["equal_while_unknown"]) == 1
    sandbox.admin.reset()
    sandbox.admin.fault("venue_error", route=ADD, name="EService:Timeout", count=1)
    plain.call("AddOrder", limit_order("first"))
    plain.call("OpenOrders")
    plain.call("AddOrder", limit_order("second"))
    assert sandbox.admin.checks()["equal_while_unknown"] == []


def test_rate_limit_and_lockout(sandbox: SandboxProcess) -> None:
    """A rate limit in Kraken's words, without a time; who comes again is locked out of every private path."""
    plain = KrakenPlain(sandbox)
    sandbox.admin.fault("rate_limit", route="/0/private/Balance", duration_s=30, ban=True, ban_s=60)
    assert plain.call("Balance")[0] == ["EAPI:Rate limit exceeded"]
    assert plain.call("Balance")[0] == ["EGeneral:Temporary lockout"]
    assert plain.call("OpenOrders")[0] == ["EGeneral:Temporary lockout"]


def test_hidden_orders(sandbox: SandboxProcess) -> None:
    """While queries lag, a young order is in no list and under no id; then it is there."""
    plain = KrakenPlain(sandbox)
    txid = plain.place("young")
    hidden = sandbox.admin.fault("hidden", route="/0/private/*", ms=60_000)
    assert plain.call("OpenOrders")[1] == {"open": {}}
    assert plain.call("QueryOrders", {"txid": txid})[1] == {}
    sandbox.admin.clear(hidden)
    assert list(plain.call("OpenOrders")[1]["open"]) == [txid]


def test_counters_refuse() -> None:
    """Twenty calls at once are too many; orders are counted by pair, and cancels are dear but never refused."""
    with SandboxProcess(quiet=True, weights=True) as strict:
        plain = KrakenPlain(strict)
        answers = [plain.call("Balance")[0] for _ in range(20)]
        assert answers[:15] == [[]] * 15
        assert answers[-1] == ["EAPI:Rate limit exceeded"]
        placed, cancelled = [], []
        for number in range(12):
            placed.append(plain.call("AddOrder", limit_order(f"bot-{number}"))[0])
            cancelled.append(plain.call("CancelOrder", {"cl_ord_id": f"bot-{number}"})[0])
        assert placed[-1] == ["EOrder:Rate limit exceeded"]
        refused_at = placed.index(placed[-1])
        assert 5 <= refused_at <= 9  # each round costs one and eight of sixty
        assert cancelled[:refused_at] == [[]] * refused_at
        assert plain.call("AddOrder", limit_order(pair="ETHUSD", price="2000"))[0] == []


def socket_order(token: str, client_id: str) -> dict[str, Any]:
    return {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.01, "limit_price": 40000,
            "cl_ord_id": client_id, "token": token}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "params", "executed"),
    [
        ("venue_error", {"name": "EService:Busy"}, False),
        ("venue_error", {"name": "EService:Timeout", "execute_probability": 1.0}, True),
        ("rate_limit", {}, False),
        ("latency", {"ms": 20}, True),
        ("reply_twice", {}, True),
    ],
)
def test_faults_on_the_socket(sandbox: SandboxProcess, kind: str, params: dict[str, Any], executed: bool) -> None:
    """An order over the socket meets the same faults, and the ledger has their trace."""
    plain = KrakenPlain(sandbox)
    sandbox.admin.fault(kind, route="WS kraken/add_order", count=1, **params)
    with KrakenWs(sandbox) as socket:
        told = socket.ask("add_order", **socket_order(plain.token(), "struck"))
        if kind == "reply_twice":
            assert socket.next(method="add_order") == told
        words = {"venue_error": params.get("name"), "rate_limit": "EAPI:Rate limit exceeded"}.get(kind)
        assert told.get("error") == words
    (row,) = sandbox.admin.ledger(client_order_id="struck")
    assert (row["fault"], row["executed"]) == (kind, executed)
    assert len(plain.call("OpenOrders")[1]["open"]) == executed


@pytest.mark.parametrize(("kind", "executed"), [("reset_before", False), ("reset_after", True)])
def test_resets_on_the_socket(sandbox: SandboxProcess, kind: str, executed: bool) -> None:
    """A reset takes the whole connection with it, before or after the order was executed."""
    plain = KrakenPlain(sandbox)
    sandbox.admin.fault(kind, route="WS kraken/add_order", count=1)
    with KrakenWs(sandbox) as socket:
        with pytest.raises(ConnectionClosedError):
            socket.ask("add_order", **socket_order(plain.token(), "struck"))
    (row,) = sandbox.admin.ledger(client_order_id="struck")
    assert (row["fault"], row["status"], row["executed"]) == (kind, "reset", executed)


def test_stream_faults(sandbox: SandboxProcess) -> None:
    """Silence that answers pings, a dropped terminal event, an update told twice."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        silence = sandbox.admin.fault("stream_silence")
        assert socket.ask("subscribe", channel="executions", token=plain.token())["success"]
        socket.send("ping", req_id=1)
        assert socket.next(method="pong")["req_id"] == 1
        plain.place("unheard")
        sandbox.admin.clear(silence)
        sandbox.admin.fault("stream_drop", stream="executions", match={"exec_type": "canceled"})
        sandbox.admin.fault("stream_duplicate", stream="executions", match={"exec_type": "new"}, count=1)
        txid = plain.place("heard")
        plain.call("CancelOrder", {"txid": txid})
        plain.place("next")
        kinds = [socket.next(channel="executions")["data"][0]["exec_type"] for _ in range(5)]
        assert kinds == ["pending_new", "new", "new", "pending_new", "new"]
