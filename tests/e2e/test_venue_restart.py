"""The exchange process is killed and comes back: calls wait inside their deadline, streams resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jackstay
from e2e_bot import HOST, client_for, place, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import DeadlineExceeded, ExchangeError, Outcome

FEED = '[feeds.binance]\nurl = "wss://stream.binance.com:9443/stream"\ndialect = "binance"\nbackoff_max_s = 1.0\n'


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=5, state=tmp_path / "exchange") as exchange:
        yield exchange


@pytest.fixture
def own_agent(own_sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    route = f'"stream.binance.com" = "{own_sandbox.url}"\n'
    with AgentProcess(routed(own_sandbox.url, route + FEED)) as running:
        yield running


def test_requests_wait_for_the_exchange_inside_their_deadline(
    own_sandbox: SandboxProcess, own_agent: AgentProcess
) -> None:
    """While the venue is down a question waits and is answered after its return; nothing fails early."""
    with client_for(own_agent) as client:
        assert client.request("GET", f"{HOST}/api/v3/time").status == 200
        own_sandbox.kill()
        back = threading.Timer(1.0, own_sandbox.start)
        back.start()
        began = time.monotonic()
        answer = client.request("GET", f"{HOST}/api/v3/time", deadline_s=15)
        took_s = time.monotonic() - began
        back.join()
        assert answer.status == 200
        assert took_s >= 0.9
        assert place(client, own_sandbox, "after", deadline_s=10).status == 200


def test_an_order_while_the_exchange_is_down_is_never_left_unclear(
    own_sandbox: SandboxProcess, own_agent: AgentProcess
) -> None:
    """It was provably not sent, so its failure says so; nothing of it arrives later."""
    with client_for(own_agent) as client:
        assert place(client, own_sandbox, "before").status == 200
        own_sandbox.kill()
        with pytest.raises((ExchangeError, DeadlineExceeded)) as caught:
            place(client, own_sandbox, "while-down", deadline_s=0.5)
        assert caught.value.outcome is Outcome.FAILED
        own_sandbox.start()
        assert place(client, own_sandbox, "after", deadline_s=10).status == 200
    sent = [row["client_order_id"] for row in own_sandbox.admin.ledger(method="POST", path="/api/v3/order")]
    assert sent == ["before", "after"]


def test_streams_resume_by_themselves(own_sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """After kill -9 and restart of the venue the bot's iterator goes on; the gap is printed."""
    arrived: list[float] = []
    stop = threading.Event()

    def listen() -> None:
        with client_for(own_agent, kind="reader", bot_id="watcher") as reader:
            for message in reader.subscribe("binance", ["btcusdt@bookTicker"]):
                if isinstance(message, jackstay.FeedMessage):
                    arrived.append(time.monotonic())
                if stop.is_set():
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    wait_until(lambda: len(arrived) > 3)
    own_sandbox.kill()
    own_sandbox.start()
    back_at = time.monotonic()
    wait_until(lambda: bool(arrived) and arrived[-1] > back_at)
    first_after = next(at for at in arrived if at > back_at)
    print(f"first stream message {1000 * (first_after - back_at):.0f} ms after the exchange was back")
    assert first_after - back_at < 5
    stop.set()
    thread.join(5)


def wait_until(holds: object, limit_s: float = 20.0) -> None:
    limit_at = time.monotonic() + limit_s
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < limit_at
        time.sleep(0.01)
