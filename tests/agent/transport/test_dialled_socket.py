"""A peer that resets a WebSocket while it is being opened leaves nothing behind in the loop, under uvloop as in use."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import uvloop

from jackstay_agent.transport import websocket
from jackstay_agent.transport.dial import DialError, dial
from jackstay_protocols.errors import ExchangeError, Reason


class Venue:
    """A port that takes connections and resets each when told to; one that greets; and one where nothing listens."""

    def __init__(self) -> None:
        self.reset_now = threading.Event()
        self._doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.resets, self.greets = (door.getsockname()[1] for door in self._doors)
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.dead = door.getsockname()[1]
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._reset, self._greet)]
        for each in self._threads:
            each.start()

    def _reset(self) -> None:
        while line := self._taken(self._doors[0]):
            self.reset_now.wait(10)
            self.reset_now.clear()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()

    def _greet(self) -> None:
        while line := self._taken(self._doors[1]):
            with line:
                line.sendall(b"hello")

    @staticmethod
    def _taken(door: socket.socket) -> socket.socket | None:
        try:
            return door.accept()[0]
        except OSError:
            return None  # closed: the test is over

    def close(self) -> None:
        for door in self._doors:
            door.shutdown(socket.SHUT_RDWR)
            door.close()
        for each in self._threads:
            each.join(10)


@pytest.fixture
def venue() -> Iterator[Venue]:
    made = Venue()
    yield made
    made.close()


class Greeted(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard.set_result(data)


async def refusal(port: int) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        await websocket.ws_connect(
            f"ws://127.0.0.1:{port}/ws", on_messages=lambda _: None, on_close=lambda _: None, timeout_s=10
        )
    return caught.value


async def greeting(port: int) -> bytes:
    made, greeted = await dial(
        Greeted, [(socket.AF_INET, "127.0.0.1", port)],
        ssl_context=None, server_hostname=None, local_address="", timeout_s=10,
    )  # fmt: skip
    try:
        return bytes(await asyncio.wait_for(greeted.heard, 10))
    finally:
        made.abort()


def test_a_reset_in_the_middle_of_an_upgrade_poisons_no_descriptor(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reset comes after the connection stands and before the upgrade is written. What gets the same number next is
    heard, and dials are refused in the venue's own way: none hangs, none finds a handle that is closed.
    """
    connect_any = websocket.connect_any

    def reset(sock: socket.socket) -> None:
        venue.reset_now.set()
        gone = select.poll()
        gone.register(sock.fileno(), select.POLLHUP)
        assert gone.poll(10_000)

    async def then_reset(addresses: list[tuple[int, str, int]], *more: object) -> socket.socket:
        sock = await connect_any(addresses, *more)  # type: ignore[arg-type]
        if addresses[0][2] == venue.resets:
            asyncio.get_running_loop().call_soon(reset, sock)  # one turn before the upgrade is written
        return sock

    monkeypatch.setattr(websocket, "connect_any", then_reset)

    async def play() -> None:
        for _ in range(4):  # the number has to be the lowest free one
            assert (await refusal(venue.resets)).reason == Reason.RESET
            assert await greeting(venue.greets) == b"hello"
            with pytest.raises(DialError, match="refused"):
                await greeting(venue.dead)
            assert (await refusal(venue.dead)).reason == Reason.REFUSED

    uvloop.run(play())
