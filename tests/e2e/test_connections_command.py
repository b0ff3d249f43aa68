"""`jackstay connections` and `jackstay feeds`: what an operator sees and does, against real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import AgentProcess, cli
from jackstay import Client
from jackstay_agent.sandbox import SandboxProcess

ORIGIN = "https://api.binance.com"


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    with SandboxProcess(seed=1) as sandbox:
        config = f"""
            [upstreams]
            "api.binance.com" = "{sandbox.url}"
            [venues.binance]
            maintenance = {{ watch_s = 0 }}
            [feeds.spot]
            url = "{sandbox.ws_url.removesuffix("/ws")}/stream"
            dialect = "binance"
        """
        with AgentProcess(config) as running:
            yield running


def said(agent: AgentProcess, *args: str) -> Any:
    done = cli(*args, "--json", "-a", agent.name, runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_configured_venue_is_warm_before_the_first_request(agent: AgentProcess) -> None:
    """The pool of a [venues] table has its connection when the agent has started; the first order dials nothing."""
    shown = said(agent, "connections", "show", ORIGIN)
    assert (shown["live"], shown["requests"]) == (1, 0)
    with Client(agent.name, runtime_dir=agent.runtime_dir) as client:
        assert client.request("GET", f"{ORIGIN}/api/v3/time").status == 200
    assert said(agent, "connections", "show", ORIGIN)["dials"] == 1


def test_connections_are_listed_rotated_and_drained(agent: AgentProcess) -> None:
    """Rotating replaces, draining closes, both are told with who asked; a wrong id is refused with the right ones."""
    lines = [
        json.loads(line)
        for line in cli(
            *("feeds", "tail", "spot", "btcusdt@bookTicker", "-n", "3", "--json", "-a", agent.name),
            runtime_dir=agent.runtime_dir,
        ).stdout.splitlines()
    ]
    assert [line["topic"] for line in lines] == ["spot/btcusdt@bookTicker"] * 3
    assert [line["sequence"] - lines[0]["sequence"] for line in lines] == [0, 1, 2]
    listed = {row["id"]: row for row in said(agent, "connections", "list")["connections"]}
    assert listed[ORIGIN]["state"] == "up"
    assert 0.0 <= listed[ORIGIN]["quality"] <= 1.0
    socket = next(name for name in listed if name.startswith("spot#"))
    number = said(agent, "connections", "show", ORIGIN)["connections"][0]["number"]
    assert said(agent, "connections", "rotate", ORIGIN) == {"id": ORIGIN, "count": 1}
    assert said(agent, "connections", "drain", ORIGIN)["count"] >= 1
    with Client(agent.name, runtime_dir=agent.runtime_dir) as client:
        assert client.request("GET", f"{ORIGIN}/api/v3/time").status == 200
    assert all(each["number"] != number for each in said(agent, "connections", "show", ORIGIN)["connections"])
    refused = cli("connections", "drain", socket, "-a", agent.name, runtime_dir=agent.runtime_dir)
    assert refused.returncode == 1
    assert "rotate it" in refused.stderr
    assert said(agent, "connections", "rotate", socket)["count"] == 1
    unknown = cli("connections", "rotate", "nowhere", "-a", agent.name, runtime_dir=agent.runtime_dir)
    assert unknown.returncode == 1
    assert ORIGIN in unknown.stderr
    assert [each["connection"] for each in agent.events("operator.connection_rotated")] == [ORIGIN, socket]


def test_feeds_are_listed_and_shown(agent: AgentProcess) -> None:
    """A feed's topics, readers and messages; people get a table; an unknown feed is refused with those there are."""
    with Client(agent.name, runtime_dir=agent.runtime_dir) as client:
        stream = client.subscribe("spot", ["btcusdt@bookTicker", "ethusdt@bookTicker"], timeout_s=10)
        next(stream)
        (row,) = said(agent, "feeds", "list")["feeds"]
        assert (row["feed"], row["dialect"], row["live"]) == ("spot", "binance", 1)
        assert row["messages"] >= 1
        assert row["readers"] >= 2
        shown = said(agent, "feeds", "show", "spot")
        assert shown["topics"]["spot/ethusdt@bookTicker"]["readers"] == 1
    for command in (("feeds", "list"), ("feeds", "show", "spot"), ("connections", "list")):
        done = cli(*command, "-a", agent.name, runtime_dir=agent.runtime_dir)
        assert done.returncode == 0, done.stderr
        assert "spot" in done.stdout
    refused = cli("feeds", "show", "nope", "-a", agent.name, runtime_dir=agent.runtime_dir)
    assert (refused.returncode, "known: spot" in refused.stderr) == (1, True)
