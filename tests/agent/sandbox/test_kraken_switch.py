"""Kraken's dead-man switch: one for the whole account, fires once, stays disarmed until it is armed anew."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import KrakenPlain, KrakenWs


def until_gone(plain: KrakenPlain, within_s: float = 5.0) -> float:
    """How long it took until no order was open."""
    began = time.monotonic()
    while plain.call("OpenOrders")[1]["open"]:
        assert time.monotonic() - began < within_s
    return time.monotonic() - began


def test_it_fires_once(sandbox: SandboxProcess) -> None:
    """It cancels all orders of all pairs, stops included; then it is off, so that a new order stays."""
    plain = KrakenPlain(sandbox)
    plain.place("entry")
    plain.place("other", pair="ETHUSD", price="2000")
    plain.place("stop", type="sell", ordertype="stop-loss", price="45000")
    told = plain.call("CancelAllOrdersAfter", {"timeout": 1})[1]
    assert told["currentTime"] < told["triggerTime"]
    assert 0.5 < until_gone(plain) < 3
    closed = plain.call("ClosedOrders")[1]["closed"]
    assert {order["status"] for order in closed.values()} == {"canceled"}
    survivor = plain.place("later")
    time_over = time.monotonic() + 1.3  # longer than the old timeout: a switch that re-armed itself would fire
    while time.monotonic() < time_over:
        assert list(plain.call("OpenOrders")[1]["open"]) == [survivor]
    plain.call("CancelAllOrdersAfter", {"timeout": 1})
    until_gone(plain)


def test_pushed_back_and_disarmed(sandbox: SandboxProcess) -> None:
    """Each call pushes it back; a timeout of 0 disarms it."""
    plain = KrakenPlain(sandbox)
    txid = plain.place()
    plain.call("CancelAllOrdersAfter", {"timeout": 1})
    assert plain.call("CancelAllOrdersAfter", {"timeout": 60})[0] == []
    time_over = time.monotonic() + 1.3
    while time.monotonic() < time_over:
        assert list(plain.call("OpenOrders")[1]["open"]) == [txid]
    assert plain.call("CancelAllOrdersAfter", {"timeout": 0})[1]["triggerTime"] == "0"


@pytest.mark.parametrize("timeout", ["-1", "soon", "86401", ""])
def test_timeouts_that_make_no_sense(sandbox: SandboxProcess, timeout: Any) -> None:
    """Beyond a day, below zero, or no number at all."""
    assert KrakenPlain(sandbox).call("CancelAllOrdersAfter", {"timeout": timeout})[0] == [
        "EGeneral:Invalid arguments:timeout"
    ]


def test_over_the_websocket(sandbox: SandboxProcess) -> None:
    """The same switch, armed over the socket, says in the executions channel what it did."""
    plain = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as socket:
        token = plain.token()
        socket.ask("subscribe", channel="executions", token=token)
        txid = plain.place("mine")
        told = socket.ask("cancel_all_orders_after", timeout=1, token=token)
        assert told["result"]["triggerTime"] > told["result"]["currentTime"]
        while (item := socket.next(channel="executions")["data"] or [{}])[0].get("exec_type") != "canceled":
            continue
        assert (item[0]["order_id"], item[0]["cl_ord_id"]) == (txid, "mine")


def test_a_venue_that_comes_back_fires_it(tmp_path: Path) -> None:
    """Armed when the venue went down, it finds its time over when it comes back, and the orders are cancelled."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as running:
        plain = KrakenPlain(running)
        txid = plain.place("kept")
        running.restart()
        assert list(KrakenPlain(running).call("OpenOrders")[1]["open"]) == [txid]
        plain.call("CancelAllOrdersAfter", {"timeout": 1})
        running.kill()
        time.sleep(1.1)  # nothing can be awaited while nobody is there
        running.start()
        until_gone(KrakenPlain(running))
