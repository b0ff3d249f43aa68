"""jackstay_agent.user_streams: an account's own events, from every face of the sandbox, kept up through its faults."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from jackstay_agent import user_streams
from jackstay_agent.config import Config
from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.transport.http import HttpAnswer, HttpFailure
from jackstay_agent.transport.websocket import ws_connect
from jackstay_agent.user_streams import UserStreams
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.profile import ProfileError, load_profile, shipped_profiles
from jackstay_agent.venues.stream_login import LOGINS
from jackstay_agent.venues.user_stream_data import UserStreamData
from jackstay_protocols.clock import boot_s
from kraken_client import SECRET as KRAKEN_SECRET
from kraken_client import KrakenPlain
from operations_client import OperationsClient
from sandbox_client import Plain, limit_order
from scripted_exchange import CLOSE, TEXT, Peer, ScriptedExchange, frame
from v5_client import PASSPHRASE, BybitClient, OkxClient

VENUES = ("binance", "binance-usdm", "bybit", "okx", "kraken")


@pytest.fixture(scope="module")
def process() -> Iterator[SandboxProcess]:
    with SandboxProcess(quiet=True) as running:
        yield running


@pytest.fixture
def sandbox(process: SandboxProcess) -> SandboxProcess:
    process.admin.reset()
    return process


class Listener:
    """All that is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def stream_message(self, venue: str, payload: bytes) -> None:
        self._tell("message", payload)

    def stream_connected(self, venue: str, missed_s: float | None) -> None:
        self._tell("connected", missed_s)

    def stream_lost(self, venue: str, why: str) -> None:
        self._tell("lost", why)

    def event(self, name: str, fields: dict[str, Any]) -> None:
        self._tell(name, fields)

    def _tell(self, name: str, value: Any) -> None:
        self.told.append((name, value))
        self._news.set()

    def of(self, name: str) -> list[Any]:
        return [value for each, value in self.told if each == name]

    async def until(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


def operations_of(venue: str, secret: str = "") -> Operations:
    usual = KRAKEN_SECRET if venue == "kraken" else "sandbox-secret"
    return Operations(
        shipped_profiles()[venue],
        Credentials("sandbox-key", secret or usual, PASSPHRASE),
        wall_ms=lambda: int(time.time() * 1000),
        nonce=lambda _now_ms: time.time_ns(),
    )


@asynccontextmanager
async def listening(
    venue: str,
    url: str,
    *,
    secret: str = "",
    asked: Callable[[OutgoingRequest], Any] | None = None,
    **changed: Any,
) -> AsyncIterator[tuple[UserStreams, Listener]]:
    """The streams of one shipped profile (``changed``: fields of its [user_stream]), led to ``url``."""
    listener = Listener()
    data = shipped_profiles()[venue].data.user_stream
    assert data is not None
    token = changed.pop("keep_every_s", None)
    if token is not None:
        assert data.token is not None
        changed["token"] = msgspec.structs.replace(data.token, keep_every_s=token)
    data = msgspec.structs.replace(data, **changed)
    host = data.url.partition("://")[2].partition("/")[0].partition(":")[0]
    config = Config(upstreams={host: url})

    async def dial(url: str, **options: Any) -> Any:
        return await ws_connect(url, endpoint=config.endpoint_for(url), **options)

    async def ask(_origin: str, request: OutgoingRequest, _deadline: float) -> HttpAnswer | HttpFailure:
        if asked is not None:
            status, body = asked(request)
        else:
            port = type("Port", (), {"port": int(url.rpartition(":")[2])})
            client = OperationsClient.__new__(OperationsClient)
            client._port = port.port
            status, body = await asyncio.to_thread(client.send, request)
        return HttpAnswer(status, b"", [], body, 1, 0.0, 0.0)

    streams = UserStreams(
        {venue: data},
        operations=lambda name: operations_of(name, secret),
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.random,
        ws_dial=dial,
        ask=ask,
        on_event=listener.event,
    )
    streams.listen(listener)
    await streams.start()
    try:
        yield streams, listener
    finally:
        async with asyncio.timeout(10):
            await streams.stop()


def place(sandbox: SandboxProcess, venue: str, name: str) -> Any:
    if venue == "binance":
        return Plain(sandbox).place(name)
    if venue == "binance-usdm":
        return Plain(sandbox).call("POST", "/fapi/v1/order", limit_order(name, quantity="0.01", price="40000"))
    if venue == "bybit":
        return BybitClient(sandbox).place(name)
    if venue == "okx":
        return OkxClient(sandbox).place(name)
    return KrakenPlain(sandbox).place(name)


def naming(listener: Listener, name: str) -> int:
    return sum(name.encode() in payload for payload in listener.of("message"))


# ---------------------------------------------------------------- against the sandbox


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_an_accounts_own_events_are_heard(sandbox: SandboxProcess, venue: str) -> None:
    """With the shipped profile a stream is opened, and an order placed by other means is heard on it."""
    async with listening(venue, sandbox.url) as (streams, listener):
        await listener.until(lambda: listener.of("connected") == [None])
        assert streams.connected(venue)
        await asyncio.to_thread(place, sandbox, venue, "heard1")
        await listener.until(lambda: naming(listener, "heard1") > 0)
        assert streams.status()[venue]["state"] == "live"


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_a_replacement_loses_and_doubles_nothing(
    sandbox: SandboxProcess, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one connection takes over from another each order is heard once, and no loss is told."""
    monkeypatch.setattr(user_streams, "SETTLE_S", 0.3)
    async with listening(venue, sandbox.url) as (streams, listener):
        await listener.until(lambda: bool(listener.of("connected")))
        await asyncio.to_thread(place, sandbox, venue, "once0x")
        await listener.until(lambda: naming(listener, "once0x") > 0)
        alone = naming(listener, "once0x")
        assert streams.replace(venue, "because of the test")
        for number in range(1, 9):
            await asyncio.to_thread(place, sandbox, venue, f"once{number}x")
            await asyncio.sleep(0.05)
        await listener.until(lambda: bool(listener.of("user_stream.replaced")))
        await listener.until(lambda: naming(listener, "once8x") >= alone)
        snapshots = venue == "kraken"  # a new subscription begins with the open orders there
        for number in range(1, 9):
            heard = naming(listener, f"once{number}x")
            assert heard == alone or (snapshots and heard in (alone, alone + 1)), (number, heard, alone)
        assert listener.of("lost") == []
        assert len(listener.of("connected")) == 1


@pytest.mark.asyncio
async def test_a_wrong_key_is_told_in_the_venues_words_and_without_secrets(sandbox: SandboxProcess) -> None:
    """A refused login is an event with the venue's reason; no key, signature or passphrase is in it."""
    for venue in ("binance", "bybit", "okx"):
        async with listening(venue, sandbox.url, secret="wrong-secret") as (streams, listener):
            await listener.until(lambda: len(listener.of("user_stream.failed")) >= 1)  # noqa: B023 - awaited here
            told = json.dumps(listener.of("user_stream.failed")[0])
            assert "the login failed" in told
            assert not any(word in told for word in ("sandbox-key", "wrong-secret", PASSPHRASE))
            assert not streams.connected(venue)


@pytest.mark.asyncio
async def test_a_lost_stream_comes_back_and_says_how_long_it_was_away() -> None:
    """A killed venue is told as lost; after its return the stream is there again with the time that was missed."""
    with SandboxProcess(quiet=True) as exchange:
        async with listening("binance", exchange.url) as (streams, listener):
            await listener.until(lambda: bool(listener.of("connected")))
            exchange.kill()
            await listener.until(lambda: bool(listener.of("lost")))
            assert not streams.connected("binance")
            await asyncio.to_thread(exchange.start)
            await listener.until(lambda: len(listener.of("connected")) == 2, 20.0)
            missed_s = listener.of("connected")[1]
            assert missed_s is not None
            assert 0.0 < missed_s < 20.0
            await asyncio.to_thread(place, exchange, "binance", "after")
            await listener.until(lambda: naming(listener, "after") > 0)


@pytest.mark.asyncio
async def test_a_listen_key_is_kept_alive(sandbox: SandboxProcess) -> None:
    """The key is renewed in its rhythm; each renewal is a request the venue saw."""
    async with listening("binance-usdm", sandbox.url, keep_every_s=0.2) as (_streams, listener):
        await listener.until(lambda: bool(listener.of("connected")))

        def kept() -> int:
            rows = sandbox.admin.ledger()
            return sum((row["method"], row["path"]) == ("PUT", "/fapi/v1/listenKey") for row in rows)

        async with asyncio.timeout(10):
            while await asyncio.to_thread(kept) < 2:
                await asyncio.sleep(0.1)
        assert listener.of("user_stream.keep_failed") == []


# ---------------------------------------------------------------- against a script


BINANCE_YES = b'{"id":"jackstay","status":200,"result":{"subscriptionId":0}}'


def event(number: int) -> bytes:
    return b'{"subscriptionId":0,"event":{"e":"executionReport","c":"n%d"}}' % number


class WsApi:
    """Says yes to the login; ``after`` is what a connection is sent then, by its number."""

    def __init__(self, *after: list[bytes]) -> None:
        self.after = after
        self.count = 0

    async def __call__(self, peer: Peer) -> None:
        number, self.count = self.count, self.count + 1
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == CLOSE:
                await peer.send(frame(CLOSE, payload))
                return
            if opcode == TEXT:
                peer.asks.append(json.loads(payload))
                await peer.send(frame(TEXT, BINANCE_YES))
                for text in self.after[number] if number < len(self.after) else []:
                    await peer.send(frame(TEXT, text))


@pytest.mark.asyncio
async def test_an_ended_stream_is_told_as_lost_and_opened_again() -> None:
    """eventStreamTerminated: nothing more comes on that connection, so it is a loss and not a rotation."""
    ended = b'{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}'
    async with (
        ScriptedExchange(WsApi([event(1), ended], [event(2)])) as exchange,
        listening("binance", f"http://127.0.0.1:{exchange.port}") as (_streams, listener),
    ):
        await listener.until(lambda: listener.of("message") == [event(1), event(2)])
        assert [name for name, _value in listener.told if name in ("connected", "lost", "message")] == [
            *("connected", "message", "lost", "connected", "message")
        ]


@pytest.mark.asyncio
async def test_an_announced_end_is_a_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    """serverShutdown: the successor is there before the old connection goes, and listeners notice nothing."""
    monkeypatch.setattr(user_streams, "SETTLE_S", 0.05)
    notice = b'{"event":{"e":"serverShutdown","E":1}}'
    async with (
        ScriptedExchange(WsApi([event(1), notice], [event(2)])) as exchange,
        listening("binance", f"http://127.0.0.1:{exchange.port}") as (_streams, listener),
    ):
        await listener.until(lambda: bool(listener.of("user_stream.replaced")))
        await listener.until(lambda: len(listener.of("message")) == 2)
        assert listener.of("lost") == []


@pytest.mark.asyncio
async def test_a_lifetime_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is replaced ahead of the venue's lifetime, again and again."""
    monkeypatch.setattr(user_streams, "SETTLE_S", 0.02)
    monkeypatch.setattr(user_streams, "LOOK_S", 0.02)
    async with (
        ScriptedExchange(WsApi()) as exchange,
        listening("binance", f"http://127.0.0.1:{exchange.port}", lifetime_s=0.2) as (_streams, listener),
    ):
        await listener.until(lambda: len(listener.of("user_stream.replaced")) >= 3)
        assert len(listener.of("connected")) == 1
        assert listener.of("lost") == []


@pytest.mark.asyncio
async def test_a_stream_without_answers_to_its_heartbeat_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """When neither events nor answers to the venue's heartbeat come, the connection is replaced."""
    monkeypatch.setattr(user_streams, "LOOK_S", 0.02)

    async def deaf(peer: Peer) -> None:
        asked = 0
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == TEXT and b"op" in payload and b"ping" not in payload:
                asked += 1
                name = b"auth" if asked == 1 else b"subscribe"
                await peer.send(frame(TEXT, b'{"success":true,"ret_msg":"","op":"%s","conn_id":"x"}' % name))

    async with (
        ScriptedExchange(deaf) as exchange,
        listening("bybit", f"http://127.0.0.1:{exchange.port}", heartbeat_every_s=0.2) as (_streams, listener),
    ):
        began = boot_s()
        await listener.until(lambda: bool(listener.of("lost")))
        assert 0.4 <= boot_s() - began <= 1.5
        assert "no message for" in listener.of("lost")[0]
        await listener.until(lambda: len(listener.of("connected")) >= 2)


@pytest.mark.asyncio
async def test_a_refused_token_is_not_hammered() -> None:
    """A venue that gives no token is asked again with growing waits, and what it said is told."""
    asked: list[float] = []

    def no(_request: OutgoingRequest) -> tuple[int, bytes]:
        asked.append(boot_s())
        return 200, b'{"error":["EAPI:Invalid key"],"result":{}}'

    async with listening("kraken", "http://127.0.0.1:9", asked=no) as (_streams, listener):
        await listener.until(lambda: len(listener.of("user_stream.failed")) >= 4, 15.0)
        assert "no token" in listener.of("user_stream.failed")[0]["error"]
        assert len(asked) <= 8


# ---------------------------------------------------------------- data


def test_logins_are_the_venues_own_examples() -> None:
    """Each login message is what an independent computation of the venue's rule gives."""
    keys = Credentials("k", "s", "p")
    okx = json.loads(LOGINS["okx_v5"](keys, 1_700_000_000_123, 5000))["args"][0]
    digest = hmac.digest(b"s", b"1700000000GET/users/self/verify", "sha256")
    assert okx == {
        "apiKey": "k",
        "passphrase": "p",
        "timestamp": "1700000000",
        "sign": base64.b64encode(digest).decode(),
    }
    bybit = json.loads(LOGINS["bybit_v5"](keys, 1_700_000_000_000, 5000))
    expected = hmac.digest(b"s", b"GET/realtime1700000010000", "sha256").hex()
    assert bybit == {"op": "auth", "args": ["k", 1_700_000_010_000, expected]}
    params = json.loads(LOGINS["binance_ws_api"](keys, 1_700_000_000_000, 5000))["params"]
    signed = b"apiKey=k&recvWindow=5000&timestamp=1700000000000"
    assert params.pop("signature") == hmac.digest(b"s", signed, "sha256").hex()
    assert params == {"apiKey": "k", "recvWindow": 5000, "timestamp": 1_700_000_000_000}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('url = "http://x"', "scheme"),
        ('url = "wss://x"\nlogin = "smile"', "'smile'"),
        ('url = "wss://x"\nlogin = "okx_v5"', "login_ok: missing"),
        ('url = "wss://x"\nsubscribe = ["a"]', "subscribed: missing"),
        ('url = "wss://x/$token"', "token"),
        ('url = "wss://x"\n[user_stream.token]\nmethod = "GET"\npath = "/t"\nat = "t"', "token"),
        ('url = "wss://x"\nlifetime_s = 0', "above 0"),
    ],
)
def test_a_wrong_table_names_its_key(table: str, words: str) -> None:
    """A profile whose [user_stream] cannot work is refused with the key and what is expected."""
    with pytest.raises(ProfileError, match=words):
        load_profile(f'name = "mine"\n[user_stream]\n{table}\n', "mine.toml")


def test_every_shipped_stream_opens_with_a_yes() -> None:
    """Each shipped venue has a stream, and none is believed to be open without the venue's word."""
    for name in VENUES:
        data = shipped_profiles()[name].data.user_stream
        assert isinstance(data, UserStreamData)
        assert data.login_ok or data.subscribed or data.token is not None
