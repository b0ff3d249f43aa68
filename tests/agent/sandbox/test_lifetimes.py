"""How long connections live: server pings, the day's end, the announced shutdown, too many messages, listen keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from jackstay_agent.sandbox.lifetimes import Doorkeeper
from jackstay_agent.sandbox.streams import Listener
from raw_websocket import CLOSE, PING, PONG, RawWebSocket
from sandbox_client import Plain

RULES = {"ping_every_s": 20, "pong_within_s": 60, "lifetime_s": 86_400, "messages_per_s": 0}


@pytest.fixture
def lively(sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """A sandbox whose rules are put back afterwards."""
    yield sandbox
    sandbox.admin.sockets(**RULES)
    sandbox.admin.sockets("usdm", ping_every_s=180, pong_within_s=600)


@pytest.mark.parametrize("path", ["/ws/btcusdt@trade", "/stream?streams=btcusdt@trade", "/ws-api/v3", "/fstream/ws"])
def test_the_server_pings(lively: SandboxProcess, path: str) -> None:
    """A ping comes at its time; a pong with its payload keeps the connection, so the next one comes too."""
    lively.admin.sockets(ping_every_s=0.2, pong_within_s=0.5)
    with RawWebSocket(lively.port, path) as line:
        payloads = []
        for _ in range(4):
            payloads.append(line.next(PING))
            line.send(payloads[-1], PONG)
    assert len(set(payloads)) == 4


@pytest.mark.parametrize("pong", [None, b"unasked"])
def test_who_does_not_answer_is_cut_off(lively: SandboxProcess, pong: bytes | None) -> None:
    """Silence ends the connection, and so do pongs that carry something else than the ping."""
    lively.admin.sockets(ping_every_s=0.1, pong_within_s=0.4)
    with RawWebSocket(lively.port, "/ws/btcusdt@trade") as line:
        while True:
            kind, payload = line.frame()
            if kind == CLOSE:
                break
            if pong is not None:
                line.send(pong, PONG)
    assert int.from_bytes(payload[:2], "big") == 1008


def test_the_day_ends(lively: SandboxProcess) -> None:
    """At the end of its lifetime, a day at the venue, a connection is closed however lively it is."""
    lively.admin.sockets(lifetime_s=0.5)
    began = time.monotonic()
    with RawWebSocket(lively.port, "/ws/btcusdt@seq") as line:
        assert line.close_code() == 1001
    assert 0.4 < time.monotonic() - began < 4


def test_a_shutdown_is_announced(lively: SandboxProcess) -> None:
    """`serverShutdown` comes on streams and on the WebSocket API, then the end; the ledger has a row of it."""
    with RawWebSocket(lively.port, "/ws/btcusdt@trade") as stream, RawWebSocket(lively.port, "/ws-api/v3") as api:
        assert lively.admin.strike("server_shutdown", after_s=0.3) == 2
        assert stream.message()["e"] == "serverShutdown"
        assert api.message()["event"]["e"] == "serverShutdown"
        assert (stream.close_code(), api.close_code()) == (1001, 1001)
    assert [row["path"] for row in lively.admin.ledger(method="FAULT")] == ["server_shutdown"]


@pytest.mark.asyncio
async def test_okx_gives_notice(sandbox: SandboxProcess) -> None:
    """OKX says 64008 before it closes."""
    async with connect(f"ws://127.0.0.1:{sandbox.port}/ws/v5/public", proxy=None) as line:
        await asyncio.to_thread(sandbox.admin.strike, "server_shutdown", after_s=0.1)
        told = json.loads(await asyncio.wait_for(line.recv(), 5))
        assert (told["event"], told["code"]) == ("notice", "64008")
        await asyncio.wait_for(line.wait_closed(), 5)
        assert line.close_code == 1001


@pytest.mark.parametrize(
    ("path", "later_ms"), [("/ws/v5/public", 31_000), ("/v5/public/spot", 601_000), ("/ws/btcusdt@trade", 0)]
)
def test_a_half_open_connection_stands(lively: SandboxProcess, path: str, later_ms: int) -> None:
    """Idle time, an announced shutdown and pings without pongs end connections, but none that nothing passes any more:
    its client hears no close, only silence."""
    with RawWebSocket(lively.port, path) as line:
        assert lively.admin.strike("stream_half_open") == 1
        try:
            lively.admin.clock(later_ms)
            lively.admin.sockets(ping_every_s=0.1, pong_within_s=0.1)
            lively.admin.strike("server_shutdown", after_s=0.0)
            line.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                line.frame()
        finally:
            lively.admin.clock(0)
        lively.admin.reset()
        line.socket.settimeout(5)
        with pytest.raises(ConnectionError):
            line.frame()


def test_what_comes_after_the_end_is_not_heard() -> None:
    """Messages and pongs that were on their way when a connection was ended are no error of the server's."""

    class Line(asyncio.Transport):
        closed = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            pass

        def is_closing(self) -> bool:
            return self.closed

        def close(self) -> None:
            self.closed = True

        def get_write_buffer_size(self) -> int:
            return 0

    keeper, line = Doorkeeper(enforce_limits=True), Line()
    listener = Listener(line, 1, combined=False)
    keeper.join(listener, "spot", 0.0)
    assert [keeper.heard(listener, 0.5) for _ in range(5)] == [True] * 5
    assert (keeper.heard(listener, 0.5), line.closed) == (False, True)
    keeper.ponged(listener, b"")
    assert keeper.heard(listener, 0.6) is False


def test_too_many_messages(lively: SandboxProcess) -> None:
    """More messages a second than the venue allows, pings included, end the connection."""
    lively.admin.sockets("spot", messages_per_s=5)
    with RawWebSocket(lively.port, "/ws") as line:
        for number in range(3):
            line.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
            line.send(b"", PING)
        assert line.close_code() == 1008


def test_client_pings_are_answered(lively: SandboxProcess) -> None:
    """A client's own ping comes back with its payload."""
    with RawWebSocket(lively.port, "/ws/btcusdt@trade") as line:
        line.send(b"are you there?", PING)
        assert line.next(PONG) == b"are you there?"


def test_listen_keys_die(lively: SandboxProcess) -> None:
    """A listen key nobody keeps alive ends with an event on its stream, and is unknown afterwards."""
    plain = Plain(lively)
    lively.admin.sockets(listen_key_s=0.4)
    try:
        key = plain.send("POST", "/api/v3/userDataStream")[1]["listenKey"]
        with RawWebSocket(lively.port, f"/ws/{key}") as line:
            told = line.message()
        assert (told["e"], told["listenKey"]) == ("listenKeyExpired", key)
        assert plain.send("PUT", f"/api/v3/userDataStream?listenKey={key}")[1]["code"] == -1125
    finally:
        lively.admin.sockets(listen_key_s=3600)


@pytest.mark.parametrize("wrong", [{"ping_every_s": -1}, {"lifetime_s": "long"}, {"door": "cellar"}, {"pings": 3}])
def test_nonsense_is_refused(sandbox: SandboxProcess, wrong: dict[str, Any]) -> None:
    """Unknown rules, doors and negative times are refused with what was expected."""
    with pytest.raises(SandboxRefused, match="expected"):
        sandbox.admin.request("POST", "/admin/sockets", wrong)


def test_the_venues_own_rules_are_the_default() -> None:
    """Twenty seconds and a minute on spot, three minutes and ten on futures, a day for both; messages if enforced."""
    strict, lax = Doorkeeper(enforce_limits=True).rules, Doorkeeper(enforce_limits=False).rules
    assert [(r.ping_every_s, r.pong_within_s, r.lifetime_s, r.messages_per_s) for r in strict.values()] == [
        (20, 60, 86_400, 5), (20, 60, 86_400, 0), (180, 600, 86_400, 10)]  # fmt: skip
    assert {rules.messages_per_s for rules in lax.values()} == {0}
