"""Breaker, limits, gates and the loop stop on real traffic, judged by the venue's ledger."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, KEY, client_for, order_params, place, release, routed, signed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, Refused

HEADERS = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """Fresh limits, gates and breaker for each test."""
    with AgentProcess(routed(sandbox.url)) as running:
        yield running


def ask_time(client: jackstay.Client, deadline_s: float = 5.0) -> jackstay.Response:
    return client.request("GET", f"{HOST}/api/v3/time", deadline_s=deadline_s)


def cancel(client: jackstay.Client, client_id: str, deadline_s: float = 5.0) -> jackstay.Response:
    query = signed({"symbol": "BTCUSDT", "origClientOrderId": client_id})
    return client.request("DELETE", f"{HOST}/api/v3/order?{query}", headers=HEADERS, deadline_s=deadline_s)


def order(client: jackstay.Client, deadline_s: float = 5.0, **changes: Any) -> jackstay.Response:
    body = signed(order_params(f"d-{time.monotonic_ns()}") | changes).encode()
    return client.request("POST", f"{HOST}/api/v3/order", headers=HEADERS, body=body, deadline_s=deadline_s)


def test_an_ip_wide_429_gates_every_lane_until_the_servers_instant(
    sandbox: SandboxProcess, own_agent: AgentProcess
) -> None:
    """Not one request of any lane before Retry-After is over, then a ramp instead of a stampede."""
    with client_for(own_agent) as client:
        place(client, sandbox, "open")
        sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=2)
        assert ask_time(client).status == 429
        lanes = [
            lambda: ask_time(client, 6),
            lambda: place(client, sandbox, "new", deadline_s=6),
            lambda: cancel(client, "open", 6),
        ]
        threads = [threading.Thread(target=lane) for lane in lanes for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
    rows = sandbox.admin.ledger()
    gate = next(row for row in rows if row["status"] == 429)
    after = [row for row in rows if row["seq"] > gate["seq"]]
    assert after, "the gate opened again"
    assert min(row["at"] for row in after) >= gate["at"] + 2.0
    soon = [row for row in after if row["at"] < gate["at"] + 2.5 and row["method"] != "DELETE"]
    assert len(soon) <= 3, "a slow return, not a stampede (de-risking goes first, off the ramp)"


@pytest.mark.serial
def test_without_time_to_wait_a_gate_refuses_at_once(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """A deadline before the instant is told immediately when to come back."""
    with client_for(own_agent) as client:
        sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=3)
        ask_time(client)
        began = time.monotonic()
        with pytest.raises(Refused) as caught:
            ask_time(client, 0.5)
        assert time.monotonic() - began < 0.3
        assert caught.value.reason == "gated"
        assert caught.value.retry_after_s == pytest.approx(3, abs=1)


def test_a_spent_order_count_lets_cancels_pass(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """429 with the order-count code: places wait, the cancel goes through meanwhile (DESIGN §3 rule 4)."""
    answer = {"status": 429, "body": '{"code":-1015,"msg":"Too many new orders."}', "headers": [["Retry-After", "2"]]}
    answer["headers"] += [["Content-Type", "application/json"]]  # type: ignore[operator]
    with client_for(own_agent) as client:
        place(client, sandbox, "open")
        sandbox.admin.fault("answer", route="POST /api/v3/order", count=1, **answer)
        assert place(client, sandbox, "counted").status == 429
        waited: list[float] = []

        def later() -> None:
            place(client, sandbox, "later", deadline_s=6)
            waited.append(time.monotonic())

        thread = threading.Thread(target=later)
        began = time.monotonic()
        thread.start()
        assert cancel(client, "open").status == 200
        assert time.monotonic() - began < 1.0, "the cancel did not wait"
        assert ask_time(client).status == 200
        thread.join(10)
        assert waited[0] - began >= 1.8, "the place waited for the venue's instant"


def test_a_ban_is_a_hard_stop(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """418: nothing is sent until its end, and the refusal says so."""
    banned = {"status": 418, "body": '{"code":-1003,"msg":"banned"}', "headers": [["Retry-After", "120"]]}
    with client_for(own_agent) as client:
        sandbox.admin.fault("answer", route="GET /api/v3/time", count=1, **banned)
        assert ask_time(client).status == 418
        seen = len(sandbox.admin.ledger())
        for _ in range(20):
            with pytest.raises(Refused):
                ask_time(client, 0.2)
        with pytest.raises(Refused) as caught:
            cancel(client, "any", 0.2)
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 60
    assert len(sandbox.admin.ledger()) == seen


def test_weight_headers_correct_the_local_count(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """The venue counts another program's requests too: its header is believed."""
    used = {"status": 200, "body": '{"serverTime":1}', "headers": [["X-MBX-USED-WEIGHT-1M", "5990"]]}
    used["headers"] += [["Content-Type", "application/json"]]  # type: ignore[operator]
    with client_for(own_agent) as client:
        sandbox.admin.fault("answer", route="GET /api/v3/time", count=1, **used)
        assert ask_time(client).status == 200
        with pytest.raises(Refused) as caught:
            ask_time(client, 0.2)
        assert caught.value.reason == "rate_limited"
        place_key = own_agent.status()["upstreams"][HOST]["limits"]["budgets"]
        assert any(budget["budget"] == "weight_1m" and budget["used"] >= 5990 for budget in place_key)
        assert cancel(client, "none").status == 400, "the reserved share carries de-risking"


def test_a_thousand_business_rejects_open_no_breaker(sandbox: SandboxProcess) -> None:
    """ "Insufficient balance" for 1,000 different orders: each reaches the venue; the eleventh equal one does not."""
    off = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
    with AgentProcess(routed(sandbox.url, off)) as agent, client_for(agent) as client:
        for number in range(1000):
            answer = order(client, quantity=f"{5 + number * 0.001:.5f}", price="49000.00")
            assert answer.status == 400
            assert answer.verdict.outcome is Outcome.REJECTED
        assert agent.status()["upstreams"][HOST]["breaker"]["state"] == "closed"
        before = len(sandbox.admin.ledger(method="POST"))
        for _ in range(10):
            assert order(client, quantity="20", price="49000.00").status == 400
        for _ in range(40):
            with pytest.raises(Refused) as stopped:
                order(client, quantity="20", price="49000.00")
            assert stopped.value.reason == "loop_stopped"
        assert len(sandbox.admin.ledger(method="POST")) - before == 10
        assert order(client, quantity="21", price="49000.00").status == 400, "a changed field is another order"
        assert order(client, quantity="0.001", price="20000.00").status == 200
        assert order(client, quantity="20", price="49000.00").status == 400, "a success lifts the stop"


def test_503s_open_the_breaker_and_cancels_still_pass(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """Five failures in a row: orders and questions are refused at once, de-risking is not; a probe closes it again."""
    page = {"status": 503, "body": "<html>no</html>", "headers": [["Content-Type", "text/html"]]}
    with client_for(own_agent) as client:
        place(client, sandbox, "open")
        sandbox.admin.fault("answer", route="POST /api/v3/order", count=5, **page)
        for number in range(5):
            assert place(client, sandbox, f"bad-{number}").status == 503
            release(own_agent)  # it is unknown, and the next one would wait for it
        with pytest.raises(Refused) as caught:
            place(client, sandbox, "refused")
        assert caught.value.reason == "breaker_open"
        assert caught.value.retry_after_s is not None
        assert cancel(client, "open").status == 200
        time.sleep(max(0.0, caught.value.retry_after_s) + 0.05)  # the breaker's own instant
        assert place(client, sandbox, "probe").status == 200
        assert ask_time(client).status == 200
        assert own_agent.status()["upstreams"][HOST]["breaker"]["state"] == "closed"
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST")}
    assert "refused" not in sent


def test_questions_are_asked_again_and_orders_never(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """A 502 on a question is retried inside the deadline; on an order it is the bot's to decide."""
    page = {"status": 502, "body": "bad gateway", "headers": []}
    with client_for(own_agent) as client:
        sandbox.admin.fault("answer", route="GET /api/v3/time", count=1, **page)
        answer = ask_time(client)
        assert answer.status == 200
        assert answer.verdict.attempts == 2
        sandbox.admin.fault("answer", route="POST /api/v3/order", count=1, **page)
        failed = place(client, sandbox, "once")
        assert failed.status == 502
        assert failed.verdict.outcome is Outcome.UNKNOWN
    assert len(sandbox.admin.ledger(client_order_id="once")) == 1


def test_an_operator_resets_gates_and_breakers(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """`reset` on control.sock opens what is shut, says what it did, and is logged."""
    from jackstay_agent.control import ask

    with client_for(own_agent) as client:
        sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=60)
        ask_time(client)
        with pytest.raises(Refused):
            ask_time(client, 0.2)
        done = ask(own_agent.runtime_dir / own_agent.name / "control.sock", "reset")
        assert done["api.binance.com"]["gates_opened"] == ["ip ip"]
        assert ask_time(client).status == 200
    assert own_agent.events("operator.reset")


def test_the_cause_of_a_reported_error_crosses_the_wire(own_agent: AgentProcess) -> None:
    """What an error was raised from is told with it, nearest first."""

    def fail() -> None:
        try:
            try:
                raise KeyError("row")
            except KeyError as error:
                raise ConnectionError("database gone") from error
        except ConnectionError as error:
            raise RuntimeError("no position") from error

    with client_for(own_agent) as client:
        try:
            fail()
        except RuntimeError as error:
            client.report_error(error, component="strategy", operation="rebalance")
    (told,) = own_agent.events("bot.error")
    assert told["error_type"] == "RuntimeError"
    assert told["causes"] == ["ConnectionError: database gone", "KeyError: 'row'"]


def test_secrets_in_a_reported_error_are_not_logged(own_agent: AgentProcess) -> None:
    """Neither the message nor a cause: a library's exception may hold the signed URL."""
    try:
        try:
            raise ConnectionError("GET https://x.test/?timestamp=1&signature=0123456789abcdef")
        except ConnectionError as error:
            raise RuntimeError("login with password=hunter2hunter2 failed") from error
    except RuntimeError as error:
        with client_for(own_agent) as client:
            client.report_error(error, component="data", operation="read")
    assert own_agent.events("bot.error")
    assert "hunter2hunter2" not in own_agent.log()
    assert "0123456789abcdef" not in own_agent.log()


def test_an_order_whose_caller_left_while_it_waited_is_not_sent(
    sandbox: SandboxProcess, own_agent: AgentProcess
) -> None:
    """It stood behind an unknown order of its side; when that one is settled, nobody wants it any more."""
    sandbox.admin.fault("drop_reply", route="POST /api/v3/order", count=1)

    def body(client_id: str, **changes: Any) -> bytes:
        return signed(order_params(client_id) | changes).encode()

    async def leave() -> None:
        url = f"{HOST}/api/v3/order"
        async with jackstay.AsyncClient(own_agent.name, runtime_dir=own_agent.runtime_dir, bot_id="leaver") as client:
            with pytest.raises(jackstay.DeadlineExceeded):
                await client.request("POST", url, headers=HEADERS, body=body("first"), deadline_s=0.5)
            left = client.request("POST", url, headers=HEADERS, body=body("left", quantity="0.02"), deadline_s=30)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(left, 0.3)
            waits = asyncio.create_task(
                client.request("POST", url, headers=HEADERS, body=body("stays", quantity="0.03"), deadline_s=30)
            )
            query = signed({"symbol": "BTCUSDT", "origClientOrderId": "first"})
            while not waits.done():  # the bot's own question settles the first one, once its delay is over
                await client.request("GET", f"{url}?{query}", headers=HEADERS)
                await asyncio.wait({waits}, timeout=0.1)
            assert (await waits).status == 200

    asyncio.run(leave())
    placed = [row["client_order_id"] for row in sandbox.admin.ledger(method="POST") if row["client_order_id"]]
    assert placed == ["first", "stays"]


def test_calls_nobody_waits_for_trip_no_breaker(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """Cancellation is neither success nor failure: ten abandoned questions in a row change nothing."""
    sandbox.admin.fault("stall", route="GET /api/v3/time")

    async def leave() -> None:
        async with jackstay.AsyncClient(own_agent.name, runtime_dir=own_agent.runtime_dir, bot_id="leaver") as client:
            for _ in range(10):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.request("GET", f"{HOST}/api/v3/time", deadline_s=30), 0.1)

    asyncio.run(leave())
    limit_at = time.monotonic() + 5
    while own_agent.status()["in_flight"]:
        assert time.monotonic() < limit_at
    breaker = own_agent.status()["upstreams"][HOST]["breaker"]
    assert (breaker["state"], breaker["failed"]) == ("closed", 0)
    assert breaker["ignored"] == 10
