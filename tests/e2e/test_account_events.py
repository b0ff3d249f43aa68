"""A bot reads its account's own events through its agent, beside its prices, with no login of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from e2e_bot import HOST, RESOLVING, routed
from harness import AgentProcess, cli
from intended import FORM, ORDER, order_of
from jackstay import FeedMessage, Lagged
from jackstay_agent.sandbox import SandboxProcess

STREAM_HOSTS = '"ws-api.binance.com:443" = "{url}"\n"ws-api.binance.com" = "{url}"\n'
TOPIC = "account/binance"


@pytest.fixture(scope="module")
def venue() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=6, quiet=True) as running:
        yield running


@pytest.fixture(scope="module")
def agent(venue: SandboxProcess) -> Iterator[AgentProcess]:
    """An agent with the account's key, its user stream live."""
    with AgentProcess(routed(venue.url, STREAM_HOSTS.format(url=venue.url) + RESOLVING)) as running:
        until = time.monotonic() + 10
        while running.status()["user_streams"].get("binance", {}).get("state") != "live":
            assert time.monotonic() < until, running.status()["user_streams"]
        yield running


def place(client: jackstay.Client, name: str, number: int) -> None:
    """An order that the agent signs; it ends at once, unfilled."""
    body = urlencode(order_of(name, number)).encode()
    assert client.request("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, deadline_s=5).status == 200


def until(reader: Iterator[Any], there: Callable[[Any], bool]) -> list[Any]:
    """What comes, up to the first item that is meant."""
    came: list[Any] = []
    for item in reader:
        came.append(item)
        if there(item):
            return came
    raise AssertionError(f"it did not come; there came {came}")


def told_of(name: str) -> Callable[[Any], bool]:
    return lambda item: isinstance(item, FeedMessage) and name in item.payload.decode()


def test_a_bot_reads_its_accounts_events_and_hears_of_a_gap(venue: SandboxProcess, agent: AgentProcess) -> None:
    """As the venue sent them, numbered; a killed socket is told as uncounted, and the events go on by themselves."""
    with (
        jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot") as client,
        jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="tool", kind="reader") as tool,
    ):
        reader = client.subscribe("account", ["binance"], timeout_s=15)
        place(client, "first", 0)
        before = until(reader, told_of("first"))
        venue.admin.fault("stream_reset")
        *rest, lost = until(reader, lambda item: isinstance(item, Lagged))
        second = tool.subscribe("account", ["binance"], timeout_s=15)
        place(client, "second", 1)
        after = until(reader, told_of("second"))
        joined = until(second, told_of("second"))

    assert {item.topic for item in before} == {TOPIC}
    event = json.loads(before[-1].payload)
    assert event.get("event", event)["e"] == "executionReport"
    assert (lost.topic, lost.missed) == (TOPIC, -1)
    numbers = [item.sequence for item in (*before, *rest, *after)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "first" not in str(joined)  # a late joiner is told nothing old


def test_events_of_a_venue_without_a_stream_are_refused_with_what_to_do(agent: AgentProcess) -> None:
    """The refusal names what there is, in the client and on the command line."""
    with (
        jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot", kind="reader") as client,
        pytest.raises(jackstay.Refused, match=r"kraken.*now: binance.*venues\.NAME\.keys"),
    ):
        client.subscribe("account", ["kraken"])
    told = cli("feeds", "tail", "account", "kraken", "--agent", agent.name, runtime_dir=agent.runtime_dir)
    assert told.returncode == 1
    assert "now: binance" in told.stderr
