"""A call of an unmodified library for an order whose equal is unknown: it waits for that one's outcome and is given it.

Such a library knows no "an equal order is unknown": its bot would only ask again, or give up too early. The native
client is refused at once (test_bad_days.py), and neither is ever sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

import jackstay
from e2e_bot import HOST, KEY, client_for, order_params, place, routed, signed
from harness import AgentProcess
from jackstay.adapters.requests import AgentAdapter
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess

ORDER = "/api/v3/order"
HEADERS = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}


class World:
    """A bot whose order "first" is unknown, and who places an equal one, "second", through requests."""

    def __init__(self, sandbox: SandboxProcess, agent: AgentProcess, client: jackstay.Client) -> None:
        self.sandbox, self.agent, self.client = sandbox, agent, client
        self.session = requests.Session()
        self.session.mount("https://", AgentAdapter(client))

    def lose(self, kind: str) -> None:
        self.sandbox.admin.fault(kind, route=f"POST {ORDER}", count=1)
        with pytest.raises(jackstay.OutcomeUnknown):
            place(self.client, self.sandbox, "first")

    def again(self, timeout_s: float = 60.0, recv_window_ms: int = 60_000) -> requests.Response:
        params = order_params("first") | {"newClientOrderId": "second"}
        return self.session.post(
            f"{HOST}{ORDER}", data=signed(params, recv_window_ms), headers=HEADERS, timeout=timeout_s
        )

    def when_it_waits(self) -> None:
        until = time.monotonic() + 30
        while not self.agent.status()["requests"]["waited"]:
            assert time.monotonic() < until, "the equal order does not wait"
            time.sleep(0.02)

    def bot_asks(self) -> requests.Response:
        """The bot's own question about its order, from another thread: its answer is the venue's word."""
        query = signed({"symbol": "BTCUSDT", "origClientOrderId": "first"})
        return self.session.get(f"{HOST}{ORDER}?{query}", headers=HEADERS, timeout=10)

    def operator_says(self, finding: str) -> None:
        door = self.agent.runtime_dir / self.agent.name / "control.sock"
        (found,) = ask(door, "orders.unknown")["unknown"]
        ask(door, "orders.resolve", {"id": found["id"], "finding": finding, "why": "looked at the venue"})

    def placed(self) -> list[str]:
        return [each["clientOrderId"] for each in self.sandbox.admin.orders()]


@pytest.fixture
def world(sandbox: SandboxProcess) -> Iterator[World]:
    """An agent without a key of its own: what it does not hear, it does not know."""
    with AgentProcess(routed(sandbox.url)) as agent, client_for(agent) as client:
        yield World(sandbox, agent, client)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def waiting(world: World, aside: ThreadPoolExecutor, **options: Any) -> Future[requests.Response]:
    told = aside.submit(world.again, **options)
    world.when_it_waits()
    return told


def test_it_is_given_the_outcome_of_the_first_one(world: World, aside: ThreadPoolExecutor) -> None:
    """The first exists: its own answer is the answer, and the second is not sent."""
    world.lose("reset_after")
    told = waiting(world, aside)
    assert world.bot_asks().json()["clientOrderId"] == "first"
    answer = told.result(30)
    assert (answer.status_code, answer.json()["clientOrderId"]) == (200, "first")
    assert world.placed() == ["first"]


def test_it_is_placed_when_the_first_one_is_proved_absent(world: World, aside: ThreadPoolExecutor) -> None:
    """The venue never had the first: the wish is still one, and is fulfilled once."""
    world.lose("reset_before")
    told = waiting(world, aside)
    world.operator_says("absent")
    assert told.result(30).json()["clientOrderId"] == "second"
    assert world.placed() == ["second"]


def test_it_is_not_placed_with_a_signature_that_is_too_old(world: World, aside: ThreadPoolExecutor) -> None:
    """The wait outlasted its recvWindow: not sent, and a bot that tries again signs anew."""
    world.lose("reset_before")
    told = waiting(world, aside, recv_window_ms=1)
    world.operator_says("absent")
    with pytest.raises(requests.ConnectionError, match="older than its window"):
        told.result(30)
    assert world.placed() == []
    assert world.again().json()["clientOrderId"] == "second"


def test_it_ends_as_a_time_out_while_nobody_knows(world: World) -> None:
    """Not InvalidOrder: whether the order that is wanted exists is unknown."""
    world.lose("reset_after")
    with pytest.raises(requests.ReadTimeout) as caught:
        world.again(timeout_s=0.5)
    # on a busy machine the caller's own time may be over before it is told
    assert caught.value.__cause__.reason in ("equal_pending", "timeout")  # type: ignore[union-attr]
    assert world.agent.status()["requests"]["waited"] == 1
    assert world.placed() == ["first"]


def test_a_first_one_that_exists_by_a_persons_word_is_not_to_be_tried_again(
    world: World, aside: ThreadPoolExecutor
) -> None:
    """There is no answer of the venue to give: the refusal is a final one, or a bot that retries would make a twin."""
    world.lose("reset_after")
    told = waiting(world, aside)
    world.operator_says("done")
    with pytest.raises(requests.RequestException, match="was unknown and exists") as caught:
        told.result(30)
    assert not isinstance(caught.value, (requests.ConnectionError, requests.Timeout))
    assert caught.value.__cause__.reason == "duplicate"  # type: ignore[union-attr]
    assert world.placed() == ["first"]


def test_a_native_client_is_refused_at_once(world: World) -> None:
    """It can be told, and decide: `patient=True` asks for the wait."""
    world.lose("reset_after")
    params = order_params("first") | {"newClientOrderId": "second"}

    def again(**options: Any) -> jackstay.Response:
        return world.client.request(
            "POST", f"{HOST}{ORDER}", headers=list(HEADERS.items()), body=signed(params).encode(), **options
        )

    with pytest.raises(jackstay.Refused) as caught:
        again(deadline_s=600.0)
    assert caught.value.reason == "equal_pending"
    assert world.agent.status()["requests"]["waited"] == 0
    with pytest.raises((jackstay.Refused, jackstay.DeadlineExceeded)):
        again(deadline_s=0.3, patient=True)
    assert world.agent.status()["requests"]["waited"] == 1


def test_a_repeated_key_hears_that_the_first_one_is_absent(world: World) -> None:
    """In the words the first call would have heard it with: nothing happened, and why that is known."""
    body = signed(order_params("keyed")).encode()

    def placed() -> jackstay.Response:
        return world.client.request(
            "POST", f"{HOST}{ORDER}", headers=list(HEADERS.items()), body=body, idempotency_key="one", deadline_s=5
        )

    world.sandbox.admin.fault("reset_before", route=f"POST {ORDER}", count=1)
    with pytest.raises(jackstay.OutcomeUnknown):
        placed()
    world.operator_says("absent")
    with pytest.raises(jackstay.ExchangeError) as caught:
        placed()
    assert (caught.value.reason, caught.value.outcome) == ("absent", "failed")
    assert world.placed() == []
