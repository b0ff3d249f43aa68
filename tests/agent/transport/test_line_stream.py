"""Long-lived HTTP answers as feeds: lines are messages, silence is death, topics are in the URL."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest

from harness import AgentProcess
from jackstay import AsyncClient
from jackstay.answer import FeedMessage
from jackstay_agent.feeds import FeedManager, FeedSettings
from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.transport.line_stream import line_stream_connect
from jackstay_agent.transport.websocket import WsClosed, WsSettings
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ExchangeError, Reason

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def venue(talk: Talk) -> Any:
    """``talk`` gets each request's target; the port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer, head.split(b" ")[1].decode())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def opened(port: int, **settings: Any) -> tuple[Any, list[bytes], list[WsClosed]]:
    lines: list[bytes] = []
    ends: list[WsClosed] = []
    stream = await line_stream_connect(
        f"http://127.0.0.1:{port}/v3/prices?instruments=EUR_USD",
        on_messages=lines.extend,
        on_close=ends.append,
        headers={"Authorization": "Bearer x"},
        timeout_s=2.0,
        settings=WsSettings(**settings),
    )
    return stream, lines, ends


@pytest.mark.asyncio
async def test_lines_are_messages_wherever_the_network_cuts_them() -> None:
    """A line over several chunks is one message, several in one chunk are several, empty ones are none."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _target: str) -> None:
        wire = HEAD + chunk(b'{"a":1}\n{"b"') + chunk(b':2}\r\n\n{"c":3}\n') + b"0\r\n\r\n"
        for at in range(0, len(wire), 7):
            writer.write(wire[at : at + 7])
            await writer.drain()
            await asyncio.sleep(0)

    async with venue(talk) as port:
        stream, lines, ends = await opened(port)
        closed = await asyncio.wait_for(stream.wait_closed(), 2)
        assert lines == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
        assert closed.by == "peer"
        assert ends == [closed]
        assert not stream.is_open


@pytest.mark.asyncio
async def test_a_line_without_a_byte_is_dead() -> None:
    """No heartbeat for as long as a missing pong would be noticed ends it; heartbeats keep it."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _target: str) -> None:
        writer.write(HEAD)
        for _ in range(6):
            writer.write(chunk(b'{"type":"HEARTBEAT"}\n'))
            await asyncio.sleep(0.1)
        await asyncio.sleep(30)

    async with venue(talk) as port:
        stream, lines, _ends = await opened(port, ping_interval_s=0.2, pong_timeout_s=0.1)
        began = boot_s()
        closed = await asyncio.wait_for(stream.wait_closed(), 5)
        assert closed.reason == Reason.TIMEOUT
        assert len(lines) == 6
        assert 0.7 <= boot_s() - began <= 1.2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Reason.RATE_LIMITED),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", Reason.PROTOCOL),
        (b"SSH-2.0-OpenSSH\r\n", Reason.PROTOCOL),
        (b"", Reason.RESET),
    ],
)
async def test_another_answer_than_200_fails_the_dial(answer: bytes, reason: Reason) -> None:
    """What the venue said is told, a limit with its time; nothing stays open."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _target: str) -> None:
        writer.write(answer)
        await writer.drain()

    async with venue(talk) as port:
        with pytest.raises(ExchangeError) as failed:
            await opened(port)
        if answer.startswith(b"SSH"):
            assert failed.value.reason in (Reason.PROTOCOL, Reason.RESET)
        else:
            assert failed.value.reason == reason
        if reason is Reason.RATE_LIMITED:
            assert failed.value.retry_after_s == 7.0


@pytest.mark.asyncio
async def test_an_endless_line_is_bounded() -> None:
    """A line past the bound ends the stream; memory does not grow with it."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _target: str) -> None:
        writer.write(HEAD)
        while True:
            writer.write(chunk(b"x" * 1000))
            await writer.drain()

    async with venue(talk) as port:
        stream, lines, _ends = await opened(port, message_bytes_max=10_000)
        closed = await asyncio.wait_for(stream.wait_closed(), 5)
        assert closed.reason == Reason.RESPONSE_TOO_LARGE
        assert lines == []


class Broker:
    """Streams a price of each instrument that the URL names, in turn."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
        names = unquote(target.partition("instruments=")[2]).split(",")
        self.asked.append(names)
        writer.write(HEAD)
        while True:
            writer.write(chunk(b'{"type":"HEARTBEAT","time":"t"}\n'))
            for name in names:
                number = int(time.monotonic() * 200)
                writer.write(chunk(b'{"type":"PRICE","instrument":"%s","n":%d}\n' % (name.encode(), number)))
            await writer.drain()
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_topics_in_the_url_are_asked_for_with_a_successor() -> None:
    """A further topic opens a stream with all of them before the old one goes; the first one's readers lose nothing."""
    broker, heard, events = Broker(), [], []
    async with venue(broker) as port:
        settings = FeedSettings(
            url=f"http://127.0.0.1:{port}/v3/prices?instruments=$topics",
            dialect="template",
            topic_fields=["instrument"],
            control=['{"type":"HEARTBEAT"'],
            settle_s=0.2,
        )
        manager = FeedManager(
            {"fx": settings},
            loop=asyncio.get_running_loop(),
            clock=boot_s,
            random=random.random,
            ws_dial=line_stream_connect,
            publish=lambda batches: heard.extend(
                (topic, seq + at) for topic, seq, payloads in batches for at in range(len(payloads))
            ),
            on_event=lambda name, fields: events.append(name),
        )

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(5):
                while not condition():
                    await asyncio.sleep(0.005)

        manager.demand("fx", ["EUR_USD"])
        await until(lambda: len(heard) > 5)
        manager.demand("fx", ["USD_JPY", "GBP_USD"])
        await until(lambda: {topic for topic, _seq in heard} == {"fx/EUR_USD", "fx/USD_JPY", "fx/GBP_USD"})
        await until(lambda: "feed.rotated" in events)
        assert broker.asked == [["EUR_USD"], ["EUR_USD", "USD_JPY", "GBP_USD"]]
        numbers = [seq for topic, seq in heard if topic == "fx/EUR_USD"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert "feed.lost" not in events
        await manager.stop()


@pytest.mark.asyncio
async def test_the_sandboxs_line_stream_through_an_agent() -> None:
    """A declared HTTP stream is a feed like any other: a bot subscribes and gets its topics' messages."""
    with SandboxProcess(seed=1) as sandbox:
        config = f"""
            [feeds.lines]
            url = "{sandbox.url}/stream/lines?streams=$topics"
            topics_join = "/"
            dialect = "binance"
        """
        with AgentProcess(config) as agent:
            async with AsyncClient(agent.name, runtime_dir=agent.runtime_dir) as client:
                topics = ["btcusdt@bookTicker", "ethusdt@bookTicker"]
                seen: set[str] = set()
                async with asyncio.timeout(15):
                    async for item in client.subscribe("lines", topics):
                        if isinstance(item, FeedMessage):
                            seen.add(item.topic)
                        if len(seen) == 2:
                            break
    assert seen == {f"lines/{topic}" for topic in topics}
