"""The ledger's ready verdicts: each finds its wrongdoing and nothing else."""

from __future__ import annotations

import hmac
import os
import signal
import time
from threading import Thread

from harness import freeze
from jackstay_agent.sandbox import SandboxProcess, checks
from jackstay_agent.sandbox.answers import Call, form
from jackstay_agent.sandbox.faces import usdm
from jackstay_agent.sandbox.ledger import Row
from jackstay_agent.sandbox.venue import Venue
from sandbox_client import Plain, limit_order


def found(sandbox: SandboxProcess) -> set[str]:
    return {name for name, rows in sandbox.admin.checks().items() if rows}


def test_good_behaviour_is_not_accused(sandbox: SandboxProcess) -> None:
    """Placing, querying and cancelling one's own orders finds nothing."""
    plain = Plain(sandbox)
    for name in ("one", "two"):
        plain.place(name)
    plain.call("GET", "/api/v3/openOrders")
    plain.call("DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"})
    assert found(sandbox) == set()


def test_sent_twice(sandbox: SandboxProcess) -> None:
    """A client order id received twice is found, and whether both were executed."""
    plain = Plain(sandbox)
    plain.place("twice")
    plain.place("twice")
    assert found(sandbox) == {"sent_twice"}
    plain.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": "twice"})
    plain.place("twice")
    assert found(sandbox) == {"sent_twice", "executed_twice"}


def test_equal_while_unknown(sandbox: SandboxProcess) -> None:
    """An equal order under a new name is found while the first one's fate was not looked up, and only then."""
    plain = Plain(sandbox)
    sandbox.admin.fault("answer", route="POST /api/v3/order", count=2, status=504, execute=True)
    plain.place("first")
    plain.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": "first"})
    plain.place("second")
    assert found(sandbox) == set()
    plain.place("third")
    assert found(sandbox) == {"equal_while_unknown"}


def test_after_the_gate(sandbox: SandboxProcess) -> None:
    """A placement between the marks `gate` and `open` is found."""
    plain = Plain(sandbox)
    sandbox.admin.mark("gate")
    plain.place("late")
    sandbox.admin.mark("open")
    plain.place("fine")
    assert [row["client_order_id"] for row in sandbox.admin.checks()["after_gate"]] == ["late"]


def test_older_than_its_ttl(sandbox: SandboxProcess) -> None:
    """A request that arrives after its own window is found."""
    plain = Plain(sandbox)
    plain.call(
        "POST", "/api/v3/order", limit_order("old") | {"timestamp": int(time.time() * 1000) - 5000, "recvWindow": 1000}
    )
    assert found(sandbox) == {"older_than_ttl"}


def test_what_a_venue_that_stood_still_read_late_is_nobodys_fault(sandbox: SandboxProcess) -> None:
    """A request that waited at its door for longer than its window while it was stopped."""
    plain = Plain(sandbox)
    plain.call("GET", "/api/v3/time")
    stopped = Thread(target=plain.call, args=("POST", "/api/v3/order", limit_order("waited") | {"recvWindow": 500}))
    freeze(sandbox.pid)
    try:
        stopped.start()
        time.sleep(1.5)  # the standstill itself
    finally:
        os.kill(sandbox.pid, signal.SIGCONT)
    stopped.join(10.0)
    row = sandbox.admin.ledger(client_order_id="waited")[0]
    assert row["age_ms"] > 1000
    assert row["stalled_ms"] > 900
    assert found(sandbox) == set()
    plain.call(
        "POST", "/api/v3/order", limit_order("old") | {"timestamp": int(time.time() * 1000) - 9000, "recvWindow": 1000}
    )
    assert [each["client_order_id"] for each in sandbox.admin.checks()["older_than_ttl"]] == ["old"]


def test_protective_and_foreign_cancels() -> None:
    """Cancelling a stop, and cancelling what another key of the account placed, are found."""
    keys = ("--account", "one:s1:shared", "--account", "two:s2:shared")
    with SandboxProcess(quiet=True, extra_args=keys) as sandbox:
        one, two = Plain(sandbox, "one", "s1"), Plain(sandbox, "two", "s2")
        stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.1", "stopPrice": "40000"}
        order = one.call("POST", "/api/v3/order", stop)[1]
        two.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": order["orderId"]})
        assert found(sandbox) == {"foreign_order_touched", "protective_order_cancelled"}


def test_position_enlarged() -> None:
    """A reduce-only order that enlarged a position is found. The venue's engine never lets one: here it is broken."""
    venue = Venue(kind="usdm", beside=Venue())
    venue.open_books()
    venue.futures.positions.room_to_reduce = lambda order: order.remaining  # type: ignore[method-assign]
    now = venue.clock()
    query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&reduceOnly=true&timestamp={now}"
    query += "&signature=" + hmac.digest(b"sandbox-secret", query.encode(), "sha256").hex()
    call = Call("POST", "/fapi/v1/order", query, b"", {"X-MBX-APIKEY": "sandbox-key"}, form(query), now)
    assert usdm.answer(venue, call).status == 200
    row = Row(1, 0.0, 0.0, 1, "POST", "/fapi/v1/order", "x", "BTCUSDT", "sandbox-key", "trade", notes=call.notes)
    assert [found["client_order_id"] for found in checks.run([row])["position_enlarged"]] == ["x"]


def test_the_algo_family_is_judged_too(sandbox: SandboxProcess) -> None:
    """A stop sent twice, and an equal stop under another name while the first one's fate is open, are found."""
    plain = Plain(sandbox)
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
            "triggerPrice": "45000", "quantity": "0.01"}  # fmt: skip
    sandbox.admin.fault("answer", route="POST /fapi/v1/algoOrder", count=1, status=504, execute=True)
    plain.call("POST", "/fapi/v1/algoOrder", stop | {"clientAlgoId": "a"})
    plain.call("POST", "/fapi/v1/algoOrder", stop | {"clientAlgoId": "b"})
    assert found(sandbox) == {"equal_while_unknown"}
    plain.call("POST", "/fapi/v1/algoOrder", stop | {"clientAlgoId": "b"})
    assert found(sandbox) == {"equal_while_unknown", "sent_twice"}
