"""Streams as a plain WebSocket client sees them: subscriptions, continuity, silence and resets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain


@pytest.fixture(scope="module")
def moving() -> Any:
    """A sandbox whose background market moves."""
    with SandboxProcess() as running:
        yield running


async def messages(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    while True:
        yield json.loads(await asyncio.wait_for(socket.recv(), 10))


async def first(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    found = []
    async for message in messages(socket):
        found.append(message)
        if len(found) == count:
            return found
    raise AssertionError("unreachable")


async def last_before_silence(socket: ClientConnection, last: int) -> int:
    """Read what is still under way until nothing has come for a while; the last number."""
    while True:
        try:
            last = json.loads(await asyncio.wait_for(socket.recv(), 0.2))["n"]
        except TimeoutError:
            return last


def origin(sandbox: SandboxProcess) -> str:
    return sandbox.ws_url.removesuffix("/ws")


@pytest.mark.asyncio
async def test_subscribe_commands(moving: SandboxProcess) -> None:
    """SUBSCRIBE, LIST_SUBSCRIPTIONS and UNSUBSCRIBE are answered by id; nonsense gets an error."""
    async with connect(moving.ws_url) as socket:
        replies = []
        for command in (
            {"method": "SUBSCRIBE", "params": ["btcusdt@none", "ethusdt@none"], "id": 1},
            {"method": "LIST_SUBSCRIPTIONS", "id": 2},
            {"method": "UNSUBSCRIBE", "params": ["btcusdt@none"], "id": 3},
            {"method": "LIST_SUBSCRIPTIONS", "id": 4},
            {"method": "DANCE", "id": 5},
        ):
            await socket.send(json.dumps(command))
            replies += await first(socket, 1)
        await socket.send("{")
        replies += await first(socket, 1)
    assert [reply.get("result") for reply in replies[:4]] == [
        None,
        ["btcusdt@none", "ethusdt@none"],
        None,
        ["ethusdt@none"],
    ]
    assert [reply["error"]["code"] for reply in replies[4:]] == [2, 3]


@pytest.mark.asyncio
async def test_market_streams_move(moving: SandboxProcess) -> None:
    """Trades, best prices and depth arrive, and the depth's update ids have no gap."""
    async with connect(
        f"{origin(moving)}/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
    ) as socket:
        seen: dict[str, list[dict[str, Any]]] = {}
        async for message in messages(socket):
            seen.setdefault(message["stream"].partition("@")[2], []).append(message["data"])
            if len(seen) == 3 and len(seen["depth@100ms"]) >= 4:
                break
    updates = seen["depth@100ms"]
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in zip(updates, updates[1:], strict=False))
    assert {"e", "E", "s", "t", "p", "q", "T", "m"} <= set(seen["trade"][0])
    assert float(seen["bookTicker"][0]["b"]) < float(seen["bookTicker"][0]["a"])


@pytest.mark.asyncio
async def test_a_local_book_can_be_kept(moving: SandboxProcess) -> None:
    """Snapshot plus diffs, applied as the documentation says, equals a later snapshot."""
    plain = Plain(moving)
    book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    async with connect(f"{moving.ws_url}/btcusdt@depth@100ms") as socket:
        waiting = await first(socket, 1)
        snapshot = await asyncio.to_thread(plain.public, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
        while waiting[-1]["u"] < snapshot["lastUpdateId"]:
            waiting += await first(socket, 1)
        book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        later = await asyncio.to_thread(plain.public, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
        while waiting[-1]["u"] < later["lastUpdateId"]:
            waiting += await first(socket, 1)
    for update in waiting:
        if update["u"] > snapshot["lastUpdateId"]:
            for side in ("b", "a"):
                book[side].update(dict(update[side]))
    final = await asyncio.to_thread(plain.public, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
    assert final["lastUpdateId"] >= waiting[-1]["u"]
    kept = {price for price, quantity in book["b"].items() if float(quantity)}
    assert len(kept) == len(final["bids"])


@pytest.mark.asyncio
async def test_the_counting_stream_counts(moving: SandboxProcess) -> None:
    """`@seq` counts without a gap at the rate it was told."""
    moving.admin.seq_rate(2000)
    async with connect(f"{moving.ws_url}/btcusdt@seq", max_queue=None) as socket:
        numbers = [message["n"] for message in await first(socket, 1000)]
    assert numbers == list(range(numbers[0], numbers[0] + 1000))


@pytest.mark.asyncio
async def test_silence_answers_pings(moving: SandboxProcess) -> None:
    """Under stream silence nothing is sent, pings are answered, and afterwards the stream goes on."""
    moving.admin.seq_rate(100)
    async with connect(f"{moving.ws_url}/btcusdt@seq") as socket:
        before = (await first(socket, 1))[0]["n"]
        moving.admin.fault("stream_silence")
        try:
            await asyncio.wait_for(await socket.ping(), 5)
            before = await last_before_silence(socket, before)
            await asyncio.wait_for(await socket.ping(), 5)
        finally:
            moving.admin.clear()
        assert (await first(socket, 1))[0]["n"] > before + 10


@pytest.mark.asyncio
async def test_stream_reset(moving: SandboxProcess) -> None:
    """A stream reset ends every stream connection without a closing handshake."""
    async with connect(moving.ws_url) as socket:
        moving.admin.fault("stream_reset")
        with pytest.raises(websockets.ConnectionClosedError):
            await asyncio.wait_for(socket.recv(), 5)


@pytest.mark.asyncio
async def test_upgrades_can_be_refused(moving: SandboxProcess) -> None:
    """Faults strike the upgrade of a stream like any request, and the ledger has it as WS."""
    moving.admin.fault("answer", route="WS /ws", count=1, status=503)
    with pytest.raises(websockets.InvalidStatus):
        await connect(moving.ws_url)
    assert [(row["path"], row["status"]) for row in moving.admin.ledger(method="WS")][-1] == ("/ws", 503)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("stream_drop", [-1, 0, 2]),
        ("stream_duplicate", [-1, 0, 1, 1, 2]),
        ("stream_reorder", [-1, 0, 2, 1, 3]),
        ("stream_delay", [-1, 0, 2, 3]),
    ],
)
async def test_stream_troubles(moving: SandboxProcess, kind: str, expected: list[int]) -> None:
    """One message is dropped, doubled, swapped with the next, or late."""
    moving.admin.clear()
    moving.admin.seq_rate(100)
    async with connect(f"{moving.ws_url}/btcusdt@seq") as socket:
        target = (await first(socket, 1))[0]["n"] + 20
        moving.admin.fault(kind, stream="btcusdt@seq", match={"n": target}, count=1)
        numbers: list[int] = []
        while not numbers or numbers[-1] < target + 5:
            numbers += [message["n"] for message in await first(socket, 1)]
    start = numbers.index(target - 2)
    assert [number - target + 1 for number in numbers[start : start + len(expected)]] == expected
