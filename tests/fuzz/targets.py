"""What is fed with bytes nobody should send. Each target takes bytes and returns; whatever it lets escape is a finding.

Errors in our own words (`TradingBotError` and the like) are answers, not findings; so is any verdict that is not "ok"
for a body that is no answer. A run that takes a second is a finding too.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from jackstay_agent.config import Config
from jackstay_agent.core.classify import classify_answer
from jackstay_agent.core.outcome_tables import TABLES
from jackstay_agent.core.pool import ConnState, PoolSettings
from jackstay_agent.outbox import Outbox, OutboxTooNew
from jackstay_agent.outbox.records import Intent
from jackstay_agent.transport.http_connection import HttpConnection
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.errors import Lane, TradingBotError
from jackstay_protocols.messages import TO_AGENT, TO_CLIENT, Command, Hello, Request, Response
from simulation.run import Simulation

Target = Callable[[bytes], None]


def codec(data: bytes) -> None:
    """Frames of both directions decode or raise ProtocolError; what decodes encodes again."""
    for kinds in (TO_AGENT, TO_CLIENT):
        try:
            header, message = decode(data, kinds, bytes_max=1 << 20)
        except TradingBotError:
            continue
        encode(message, id=header.id, when=header.when, beat_ds=header.beat_ds)


class _Pool:
    """What an HTTP connection tells its pool."""

    def __init__(self) -> None:
        self.settings = PoolSettings()
        self.told = 0

    def clock(self) -> float:
        return 1.0

    def answered(self, *_args: Any, **_options: Any) -> None:
        self.told += 1

    failed = answered

    def connection_closed(self, connection: Any) -> None:
        """Nothing to do."""


class _Ticket:
    head = False
    decode = True
    data = b""
    written = False
    connection = None


class _Wire:
    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None:
        """Into the void."""

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_extra_info(self, _name: str) -> None:
        """It has no socket."""

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """As asked."""


def http_answer(data: bytes) -> None:
    """Whatever a server sends, in whatever pieces, the caller hears at most once, and exactly once when it hangs up."""
    pool = _Pool()
    connection = HttpConnection(pool, 1)  # type: ignore[arg-type]
    wire = _Wire()
    connection.connection_made(wire)
    connection.state = ConnState.READY
    connection.send(_Ticket())  # type: ignore[arg-type]
    cut = data[0] % (len(data) or 1) if data else 0
    for piece in (data[1:cut], data[max(cut, 1) :]):
        if piece and not wire.closed:
            connection.data_received(piece)
    connection.connection_lost(None)
    assert pool.told == 1, f"the caller was told {pool.told} times"


def venue_body(data: bytes) -> None:
    """Any body under any status is judged, by every table, and never as a placed order unless it is JSON."""
    status = (200, 200, 400, 429, 418, 500, 503)[data[0] % 7] if data else 200
    body = data[1:]
    for name in TABLES:
        verdict = classify_answer(status, [(b"content-type", b"application/json")], body, table=name, is_order=True)
        if str(verdict.outcome) == "ok":
            json.loads(body)


@cache
def _operations() -> list[tuple[Operations, str]]:
    found = []
    for profile in shipped_profiles().values():
        operations = Operations(profile, None, wall_ms=lambda: 1_800_000_000_000)
        found += [(operations, name) for name in profile.data.operations]
    return found


def venue_answer(data: bytes) -> None:
    """Any body of an operation's answer is read or refused in our own words."""
    operations = _operations()
    one, name = operations[(data[0] if data else 0) % len(operations)]
    try:
        one.read(name, 200, data[1:])
    except TradingBotError:
        pass


def config(data: bytes) -> None:
    """Any text is a configuration or a list of what is wrong with it."""
    try:
        Config.from_toml(data.decode("utf-8", "replace"))
    except TradingBotError:
        pass


LIFE = 20_000
_executions = count()


@lru_cache(maxsize=1)
def _agent(_life: int) -> Simulation:
    """A running agent in a quiet world; its doors are at hand. One for so many executions: the simulated network never
    forgets a connection, which after half a million is hundreds of megabytes, and seconds of the collector's work.
    """
    simulation = Simulation("fuzz", only=frozenset())
    simulation.host.start_agent()
    simulation.world.run(1.0)
    return simulation


def _door(name: str, data: bytes) -> None:
    simulation = _agent(next(_executions) // LIFE)
    world, door = simulation.world, simulation.host.switchboard.doors[name]
    host = simulation.host
    who = bytes([data[0] % 4]) if data else b"\0"
    world.at(door.process, world.now, door._on_frame, (b"\0fuzz" + who, data[1:]))
    world.run(world.now + 0.01)
    world.trace.clear()
    troubles = [*host.agent_process.trouble, *simulation.observer.violations] if host.agent_process else ["it died"]
    simulation.observer.violations.clear()
    if host.agent_process is None or host.agent_process.dead or troubles:
        _agent.cache_clear()
        # `stop` is a command like any other
        stopped = host.agent_process is None or host.agent_process.dead
        assert stopped, f"{name}: {troubles}"
        assert not troubles, f"{name}: {troubles}"


def bot_socket(data: bytes) -> None:
    """Whatever a bot sends, the agent lives and nothing in it breaks."""
    _door("bot.sock", data)


def control_socket(data: bytes) -> None:
    """Whatever an operator's tool sends, the agent lives and nothing in it breaks."""
    _door("control.sock", data)


def feed_socket(data: bytes) -> None:
    """Whatever a reader of feeds sends, the agent lives and nothing in it breaks."""
    _door("feed.sock", data)


@cache
def _outbox_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.sqlite"
        box = Outbox.open(path)
        for number in range(40):
            box.begin(Intent("bot", "venue", Lane.ORDER, "POST", "/order", b"x" * 50, client_order_id=f"c{number}"))
        box.close()
        return path.read_bytes()


def outbox_file(data: bytes) -> None:
    """A damaged file is read as far as it goes, or set aside: the agent starts."""
    there = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(dir=there))
    try:
        whole = bytearray(_outbox_bytes())
        chance = random.Random(data)
        for byte in data[:64]:
            whole[chance.randrange(len(whole))] = byte
        if data and data[0] > 250:
            del whole[chance.randrange(len(whole)) :]
        (folder / "outbox.sqlite").write_bytes(whole)
        box = Outbox.open(folder / "outbox.sqlite")
        box.export()
        box.unknowns()
        box.close()
    except OutboxTooNew:
        pass  # a bit of its version is another one: a person has to say which jackstay wrote it
    except sqlite3.Error as error:
        raise AssertionError(f"an SQLite error escaped: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _frame(message: Any, who: bytes = b"\1") -> bytes:
    return who + encode(message, id=7, when=0)


_HELLO = Hello("fuzz", "primary", 4242, "x", 1, 1)
_REQUEST = Request("GET", "http://sandbox.localhost:8787/api/v3/time")
_COMMANDS = [
    _frame(Command(verb)) for verb in ("status", "ping", "reset", "queue", "orders", "errors", "mode", "breakers")
]

#: target -> (the function, what to begin with)
TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "codec": (
        codec,
        [_frame(m)[1:] for m in (_HELLO, _REQUEST, Command("status", {"a": [1, {"b": b"c"}]}))]
        + [encode(Response(200, b"OK", [(b"a", b"b")], b"{}", "ok"), id=1)],
    ),  # type: ignore[arg-type]
    "http answer": (
        http_answer,
        [
            b"\x20HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"\x30HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"\x20HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"\x20HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00",
        ],
    ),
    "venue body": (
        venue_body,
        [
            b"\0{}",
            b'\2{"code":-2010,"msg":"Duplicate order sent."}',
            b'\0{"retCode":0,"result":{}}',
            b'\0{"error":["EOrder:Insufficient funds"]}',
            b'\0{"code":"0","data":[{"sCode":"51000"}]}',
        ],
    ),
    "venue answer": (
        venue_answer,
        [
            b"\0[]",
            b'\1{"serverTime":1}',
            b'\3[{"orderId":1,"price":"1","status":"NEW"}]',
            b'\4{"result":{"list":[{"orderId":"a"}]}}',
        ],
    ),
    "config": (
        config,
        [
            b"[agent]\nlog_level = 'info'\n",
            b"[queue]\ndurability = 'disk'\n",
            b"[venues.binance]\nlive=false\n",
            b"[upstreams]\n'api.binance.com' = 'http://localhost:1'\n",
            b"[feeds.a]\nurl='ws://a'\n",
        ],
    ),
    "bot socket": (bot_socket, [_frame(_HELLO), _frame(_REQUEST), b"\1" + b"\0" * 20]),
    "control socket": (control_socket, _COMMANDS),
    "feed socket": (feed_socket, [_frame(_HELLO), b"\1" + b"\1" * 24]),
    "outbox file": (outbox_file, [b"\0" * 8, b"\xff" * 8, b"\0" + b"\xff" * 8]),
}
