"""A two-legged bot: while one venue is silent nothing is entered at the other, and what closes still passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import jackstay
from e2e_bot import HOST, KEY, client_for, signed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused

CONFIG = """
[upstreams]
"api.binance.com" = "{spot}"
"fapi.binance.com" = "{usdm}"
"ws-api.binance.com" = "{spot}"
"stream.binance.com" = "{spot}"
"fstream.binance.com" = "{usdm}"
[venues.binance]
live = false
[venues.binance.keys]
env = "SANDBOX"
[venues.binance-usdm]
live = false
[venues.binance-usdm.keys]
env = "SANDBOX"
[feeds.spot]
url = "wss://stream.binance.com:9443/stream"
dialect = "binance"
silence_s = 1.0
[groups.basis]
venues = ["binance", "binance-usdm"]
"""


@pytest.fixture
def venues() -> Iterator[tuple[SandboxProcess, SandboxProcess]]:
    with SandboxProcess(seed=1, quiet=True) as spot, SandboxProcess(seed=2, quiet=True) as usdm:
        yield spot, usdm


def place(client: jackstay.Client, name: str, tag: str, path: str = HOST + "/api/v3/order") -> jackstay.Response:
    params = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.001",
        "price": "40000.00",
        "newClientOrderId": name,
    }
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    return client.request("POST", path, headers=headers, body=signed(params).encode(), deadline_s=5, tag=tag)


def wait_for(agent: AgentProcess, name: str, count: int = 1, **fields: str) -> None:
    until = time.monotonic() + 15.0
    while time.monotonic() < until:
        found = [each for each in agent.events(name) if fields.items() <= each.items()]
        if len(found) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {name} {fields}:\n{agent.log()[-4000:]}")


def test_while_one_leg_is_silent_only_what_closes_passes_at_the_other(
    venues: tuple[SandboxProcess, SandboxProcess],
) -> None:
    """The futures venue dies: no entry on spot, a hedge passes; it is back: entries pass again."""
    spot, usdm = venues
    with AgentProcess(CONFIG.format(spot=spot.url, usdm=usdm.url)) as agent, client_for(agent) as client:
        wait_for(agent, "user_stream.connected", venue="binance-usdm")
        assert place(client, "before", "entry").status == 200
        usdm.kill()
        wait_for(agent, "mode.held", by="group basis", venue="binance")
        with pytest.raises(Refused, match="group basis") as refused:
            place(client, "leg", "entry")
        assert refused.value.reason == "mode"
        assert place(client, "hedge", "hedge").status == 200
        assert "group basis" in cli("mode", runtime_dir=agent.runtime_dir).stdout
        usdm.start()
        wait_for(agent, "mode.released", by="group basis", venue="binance")
        assert place(client, "after", "entry").status == 200


@contextmanager
def listening(agent: AgentProcess, heard: list[object]) -> Iterator[None]:
    """A reader of the spot venue's prices."""
    over = threading.Event()

    def read() -> None:
        with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="eyes", kind="reader") as client:
            while not over.is_set():
                for each in client.subscribe("spot", ["btcusdt@seq"], timeout_s=20.0):
                    heard.append(each)
                    if over.is_set():
                        break

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join(30)


def test_a_venue_that_is_there_and_says_nothing_is_as_bad_as_one_that_is_gone(
    venues: tuple[SandboxProcess, SandboxProcess],
) -> None:
    """Its connections stand and it answers pings, but its prices stop: no entry at the other leg until they flow."""
    spot, usdm = venues
    spot.admin.seq_rate(50)
    heard: list[object] = []
    with (
        AgentProcess(CONFIG.format(spot=spot.url, usdm=usdm.url)) as agent,
        client_for(agent) as client,
        listening(agent, heard),
    ):
        other = "https://fapi.binance.com/fapi/v1/order"
        until = time.monotonic() + 30.0
        while len(heard) < 20:
            assert time.monotonic() < until, agent.log()[-4000:]
            time.sleep(0.02)
        assert place(client, "before", "entry", other).status == 200
        silence = spot.admin.fault("stream_silence")
        wait_for(agent, "mode.held", by="group basis", venue="binance-usdm")
        with pytest.raises(Refused, match="group basis"):
            place(client, "leg", "entry", other)
        assert place(client, "hedge", "hedge", other).status == 200
        spot.admin.clear(silence)
        wait_for(agent, "mode.released", by="group basis", venue="binance-usdm")
        assert place(client, "after", "entry", other).status == 200
