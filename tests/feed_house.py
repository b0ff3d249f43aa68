"""A feed door with real ZeroMQ sockets, and readers of it in the same process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import zmq
import zmq.asyncio

from jackstay_agent.gateway.door import Door
from jackstay_agent.gateway.feed_door import FeedDoor, FeedDoorSettings
from jackstay_protocols.clock import boot_s
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.errors import Reason, ValidationError
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX, TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Hello, Message


class Feeds:
    """A feed manager that only counts demand."""

    def __init__(self) -> None:
        self.readers: dict[str, int] = {}

    def check(self, feed: str, streams: Iterable[str]) -> list[str]:
        if feed != "sim":
            raise ValidationError(f"feed {feed!r} is not configured", reason=Reason.UPSTREAM_NOT_ALLOWED)
        return list(dict.fromkeys(streams))

    def demand(self, feed: str, streams: Iterable[str]) -> list[str]:
        names = [f"{feed}/{stream}" for stream in self.check(feed, streams)]
        for name in names:
            self.readers[name] = self.readers.get(name, 0) + 1
        return names

    def release(self, feed: str, streams: Iterable[str]) -> None:
        for stream in streams:
            self.readers[f"{feed}/{stream}"] -= 1


class Tool:
    """A reader of feed.sock in this process."""

    def __init__(self, context: zmq.asyncio.Context, path: Path) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(ipc(path))
        self._ids = 0

    async def send(self, message: Message, *, when: int = 0) -> int:
        self._ids += 1
        await self.socket.send(encode(message, id=self._ids, when=when))
        return self._ids

    async def recv(self) -> tuple[int, int, Message]:
        """(request id, when, message) of the next frame."""
        frame = await asyncio.wait_for(self.socket.recv(), 10)
        header, message = decode(frame, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
        return header.id, header.when, message

    async def ask(self, message: Message) -> Message:
        number = await self.send(message)
        while True:
            answered, _when, answer = await self.recv()
            if answered == number:
                return answer

    async def hello(self, bot_id: str = "tool", **fields: Any) -> Message:
        values = {"kind": "reader", "pid": os.getpid(), "client_version": "t", "wire_min": 1, "wire_max": 1}
        return await self.ask(Hello(bot_id=bot_id, **{**values, **fields}))


class House:
    def __init__(self, door: FeedDoor, feeds: Feeds, path: Path, tool: Callable[[], Tool]) -> None:
        self.door = door
        self.feeds = feeds
        self.path = path
        self.tool = tool

    def readers(self) -> list[dict[str, Any]]:
        return list(self.door.snapshot()["readers"])


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def house(
    folder: Path, *, sndhwm: int = 128, clock: Callable[[], float] = boot_s, **settings: Any
) -> AsyncIterator[House]:
    loop = asyncio.get_running_loop()
    context: zmq.Context[Any] = zmq.Context()
    client_context = zmq.asyncio.Context()
    path = folder / "feed.sock"
    tools: list[Tool] = []
    feeds = Feeds()

    def tool() -> Tool:
        tools.append(Tool(client_context, path))
        return tools[-1]

    door = FeedDoor(
        FeedDoorSettings(agent="test", **settings),
        feeds=feeds,
        clock=clock,
        wall=lambda: 1e-6,
        call_later=loop.call_later,
        process_gone=lambda pid: not psutil.pid_exists(pid),
    )
    router = Door(
        context, path, loop=loop, on_frame=door.on_frame, recv_bytes_max=TO_AGENT_FRAME_BYTES_MAX, sndhwm=sndhwm
    )
    router.open()
    door.attach(router)
    try:
        yield House(door, feeds, path, tool)
    finally:
        for each in tools:
            each.socket.close(0)
        client_context.term()
        door.close()
        router.close()
        context.term()
