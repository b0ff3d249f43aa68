"""jackstay_agent.feeds: FeedManager over real sockets against a scripted exchange."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from jackstay_agent import feed_socket
from jackstay_agent.feed_batches import TURN_MESSAGES_MAX
from jackstay_agent.feeds import BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, FeedManager, FeedSettings
from jackstay_agent.trading_hours import HoursSettings, TradingHours
from jackstay_agent.transport.websocket import WsClosed, ws_connect
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Refused, ValidationError
from scripted_exchange import BinanceLike, Peer, ScriptedExchange, frame, silent, trade

FAST: dict[str, Any] = {
    "dialect": "binance",
    "subscribes_per_s": 0,
    "linger_s": 0.02,
    "silence_s": 0,
    "first_message_s": 0,
    "backoff_min_s": 0.01,
    "backoff_max_s": 0.05,
    "healthy_s": 0.0,
    "dials_max": 0,
}


class Readers:
    """Everything published, and every event."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.events: list[tuple[str, dict[str, Any], float]] = []
        self._news = asyncio.Event()

    def publish(self, batches: list[Batch]) -> None:
        self.batches += batches
        self._news.set()

    def event(self, name: str, fields: dict[str, Any]) -> None:
        self.events.append((name, fields, boot_s()))
        self._news.set()

    def of(self, topic: str) -> list[tuple[int, bytes]]:
        """(sequence number, payload) of a topic, in the order of arrival."""
        return [(first + i, p) for name, first, batch in self.batches if name == topic for i, p in enumerate(batch)]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for each, fields, _at in self.events if each == name]

    async def until(self, condition: Callable[[], bool], limit_s: float = 10.0) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def feeding(
    script: Callable[[Peer], Any], *, hours: TradingHours | None = None, **settings: Any
) -> AsyncIterator[tuple[FeedManager, Readers, ScriptedExchange]]:
    readers = Readers()
    async with ScriptedExchange(script) as exchange:
        config = FeedSettings(url=exchange.url, **{**FAST, **settings})
        manager = FeedManager(
            {"sim": config},
            loop=asyncio.get_running_loop(),
            clock=boot_s,
            random=random.random,
            ws_dial=ws_connect,
            publish=readers.publish,
            on_event=readers.event,
            hours=hours,
        )
        try:
            yield manager, readers, exchange
        finally:
            await manager.stop()


def assert_gapless(items: list[tuple[int, bytes]]) -> None:
    numbers = [seq for seq, _payload in items]
    assert numbers == list(range(1, len(numbers) + 1))


# ---------------------------------------------------------------- demand


@pytest.mark.asyncio
async def test_demand_subscribes_and_the_last_reader_leaves() -> None:
    """The first reader subscribes upstream, a second changes nothing, the last one unsubscribes after the linger."""
    venue = BinanceLike()
    async with feeding(venue) as (manager, readers, exchange):
        assert manager.demand("sim", ["btcusdt@trade", "ethusdt@trade"]) == ["sim/btcusdt@trade", "sim/ethusdt@trade"]
        manager.demand("sim", ["btcusdt@trade"])
        peer = await exchange.peer()
        await readers.until(lambda: len(readers.of("sim/btcusdt@trade")) > 3)
        assert [ask["params"] for ask in peer.asks] == [["btcusdt@trade", "ethusdt@trade"]]
        manager.release("sim", ["btcusdt@trade", "ethusdt@trade"])
        async with asyncio.timeout(5):
            while len(peer.asks) < 2:
                await asyncio.sleep(0.005)
        assert peer.asks[1]["method"] == "UNSUBSCRIBE"
        assert peer.asks[1]["params"] == ["ethusdt@trade"]
        assert peer.topics == {"btcusdt@trade"}
        for topic in ("sim/btcusdt@trade", "sim/ethusdt@trade"):
            assert_gapless(readers.of(topic))


@pytest.mark.asyncio
async def test_a_reader_that_returns_within_the_linger_changes_nothing_upstream() -> None:
    """Leaving and coming back at once sends nothing to the venue."""
    venue = BinanceLike()
    async with feeding(venue, linger_s=5.0) as (manager, readers, exchange):
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: bool(readers.batches))
        manager.release("sim", ["btcusdt@trade"])
        manager.demand("sim", ["btcusdt@trade"])
        seen = len(readers.batches)
        await readers.until(lambda: len(readers.batches) > seen + 2)
        assert len((await exchange.peer()).asks) == 1


@pytest.mark.asyncio
async def test_without_topics_there_is_no_socket() -> None:
    """Nothing is dialled before demand; when the last topic goes, so does the socket; numbers go on afterwards."""
    venue = BinanceLike()
    async with feeding(venue) as (manager, readers, exchange):
        await asyncio.sleep(0.02)
        assert exchange.peers == []
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: len(readers.batches) > 2)
        manager.release("sim", ["btcusdt@trade"])
        async with asyncio.timeout(5):
            while manager.status()["sim"]["sockets"][0]["state"] != "idle":
                await asyncio.sleep(0.005)
        before = len(readers.batches)
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: len(readers.batches) > before)
        assert_gapless(readers.of("sim/btcusdt@trade"))
        assert readers.named("feed.lost") == []


class Line:
    """A dialled socket that exists in the test alone."""

    latency_s = None
    is_open = True

    def __init__(self) -> None:
        self.heard_at = boot_s()
        self.sent: list[bytes | str] = []
        self.on_messages: Callable[[list[bytes]], None] = lambda payloads: None
        self.ended: asyncio.Future[WsClosed] = asyncio.get_running_loop().create_future()

    def send(self, payload: bytes | str, kind: int = 1) -> bool:
        self.sent.append(payload)
        return True

    def close(self, code: int = 1000, detail: str = "", *, reason: str = "") -> None:
        self.abort()

    def abort(self, detail: str = "", *, reason: str = "") -> None:
        if not self.ended.done():
            self.ended.set_result(WsClosed("us", 1000, "", ""))

    async def wait_closed(self) -> WsClosed:
        return await asyncio.shield(self.ended)


@pytest.mark.asyncio
async def test_a_topic_that_leaves_in_the_middle_of_a_turn_keeps_its_numbers() -> None:
    """Messages collected but not handed out when the last reader leaves are numbered before the topic is put away."""
    loop, readers = asyncio.get_running_loop(), Readers()
    lines: list[Line] = []

    async def dial(_url: str, *, on_messages: Callable[[list[bytes]], None], **_options: Any) -> Line:
        lines.append(Line())
        lines[-1].on_messages = on_messages
        return lines[-1]

    manager = FeedManager(
        {"sim": FeedSettings(url="wss://venue.test/stream", **{**FAST, "linger_s": 0.0})},
        loop=loop,
        clock=boot_s,
        random=random.random,
        ws_dial=dial,
        publish=readers.publish,
        on_event=readers.event,
    )
    manager.demand("sim", ["a@trade"])
    async with asyncio.timeout(5):
        while not (lines and lines[0].sent):
            await asyncio.sleep(0.001)
    lines[0].on_messages([trade("a@trade", 1)])
    await readers.until(lambda: bool(readers.batches))
    manager.release("sim", ["a@trade"])
    time.sleep(0.002)  # the linger is over when the loop next looks, in the turn that reads the message
    loop.call_soon(lines[0].on_messages, [trade("a@trade", 2)])
    await asyncio.sleep(0.01)
    manager.demand("sim", ["a@trade"])
    async with asyncio.timeout(5):
        while not (len(lines) == 2 and lines[1].sent):
            await asyncio.sleep(0.001)
    lines[1].on_messages([trade("a@trade", 3)])
    await readers.until(lambda: len(readers.of("sim/a@trade")) == 3)
    assert_gapless(readers.of("sim/a@trade"))
    await manager.stop()


@pytest.mark.asyncio
async def test_bad_demands_are_refused() -> None:
    """Unknown feeds, bad topics and too many topics are refused with the way out, and nothing changes."""
    async with feeding(silent, streams_max=2, sockets_max=1) as (manager, _readers, _exchange):
        with pytest.raises(ValidationError, match="known: sim"):
            manager.demand("other", ["x"])
        with pytest.raises(ValidationError, match="printable"):
            manager.demand("sim", ['x"]}'])
        with pytest.raises(ValidationError, match="at least one"):
            manager.demand("sim", [])
        with pytest.raises(Refused, match="at most 2"):
            manager.demand("sim", ["a", "b", "c"])
        assert manager.status()["sim"]["topics"] == {}


@pytest.mark.asyncio
async def test_a_full_socket_opens_the_next() -> None:
    """Topics beyond the venue's limit per socket go to a further socket."""
    async with feeding(BinanceLike(), streams_max=2) as (manager, readers, exchange):
        topics = [f"s{i}@trade" for i in range(5)]
        manager.demand("sim", topics)
        await readers.until(lambda: all(readers.of(f"sim/{topic}") for topic in topics))
        assert sorted(len(peer.topics) for peer in exchange.peers) == [1, 2, 2]


@pytest.mark.asyncio
async def test_subscriptions_are_paced() -> None:
    """No more subscribe messages a second than configured; all arrive in the end."""
    venue = BinanceLike()
    async with feeding(venue, subscribes_per_s=50, topics_per_message=1) as (manager, readers, exchange):
        topics = [f"s{i}@trade" for i in range(6)]
        started = boot_s()
        manager.demand("sim", topics)
        await readers.until(lambda: all(readers.of(f"sim/{topic}") for topic in topics))
        assert boot_s() - started >= 5 / 50
        assert len(exchange.peers[0].asks) == 6


@pytest.mark.asyncio
async def test_a_refused_subscription_is_told() -> None:
    """The venue's no becomes an event that names the topics and the answer; others are untouched."""
    venue = BinanceLike()
    venue.refused = {"bad@trade"}
    async with feeding(venue, topics_per_message=1) as (manager, readers, _exchange):
        manager.demand("sim", ["bad@trade", "good@trade"])
        await readers.until(lambda: bool(readers.named("feed.subscribe_failed") and readers.of("sim/good@trade")))
        (told,) = readers.named("feed.subscribe_failed")
        assert told["topics"] == ["bad@trade"]
        assert "bad stream" in told["answer"]


# ---------------------------------------------------------------- batching and numbers


@pytest.mark.asyncio
async def test_one_turns_messages_travel_together_in_order() -> None:
    """A burst arrives as few batches, capped in frames and bytes, gapless, in order, unwrapped."""

    async def burst(peer: Peer) -> None:
        await peer.read_frame()
        frames = [frame(1, trade(f"s{i % 3}@trade", i)) for i in range(6000)]
        big = b'{"stream":"big@depth","data":{"x":"' + b"y" * 20_000 + b'"}}'
        await peer.send(*frames, *[frame(1, big)] * 5)
        await silent(peer)

    async with feeding(burst) as (manager, readers, _exchange):
        manager.demand("sim", ["s0@trade", "s1@trade", "s2@trade", "big@depth"])
        await readers.until(lambda: sum(len(batch) for _t, _s, batch in readers.batches) == 6005)
        for i in range(3):
            items = readers.of(f"sim/s{i}@trade")
            assert_gapless(items)
            expected = [trade(f"s{i}@trade", n).split(b'"data":', 1)[1][:-1] for n in range(i, 6000, 3)]
            assert [payload for _seq, payload in items] == expected
        assert len(readers.batches) < 600
        for _topic, _seq, batch in readers.batches:
            assert len(batch) <= BATCH_MESSAGES_MAX
            assert sum(map(len, batch[:-1])) < BATCH_BYTES_MAX


@pytest.mark.asyncio
async def test_a_dialect_without_a_wrapper_delivers_whole_messages_in_any_order_of_fields() -> None:
    """Usual and unusual openings of one topic come whole and in order; acknowledgements and strangers come nowhere."""
    usual = [b'{"topic":"publicTrade.BTCUSDT","ts":%d}' % number for number in range(3)]
    unusual = b'{"ts":3,"topic":"publicTrade.BTCUSDT"}'
    strange = [b'{"topic":"publicTrade.BTCUSDTX","ts":4}', b'{"topic":"publicTrade', b'{"topic":', b""]

    async def bybit(peer: Peer) -> None:
        ask = json.loads((await peer.read_frame())[1])
        ack = json.dumps({"success": True, "op": "subscribe", "req_id": ask["req_id"]}, separators=(",", ":"))
        sent = [usual[0], ack.encode(), usual[1], *strange, unusual, usual[2]]
        await peer.send(*[frame(1, payload) for payload in sent])
        await silent(peer)

    async with feeding(bybit, dialect="bybit") as (manager, readers, _exchange):
        manager.demand("sim", ["publicTrade.BTCUSDT"])
        await readers.until(lambda: len(readers.of("sim/publicTrade.BTCUSDT")) == 4)
        items = readers.of("sim/publicTrade.BTCUSDT")
        assert_gapless(items)
        assert [payload for _seq, payload in items] == [usual[0], usual[1], unusual, usual[2]]
        assert manager.status()["sim"]["unrouted"] == len(strange)


@pytest.mark.asyncio
async def test_a_flood_is_handed_on_before_its_turn_ends() -> None:
    """One read of more than a turn takes is published in portions, each at its cap, and nothing of it is lost."""
    loop, readers, lines = asyncio.get_running_loop(), Readers(), [Line()]
    turns: list[int] = []

    async def dial(_url: str, *, on_messages: Callable[[list[bytes]], None], **_options: Any) -> Line:
        lines[0].on_messages = on_messages
        return lines[0]

    def publish(batches: list[Batch]) -> None:
        turns.append(sum(len(payloads) for _topic, _seq, payloads in batches))
        readers.publish(batches)

    manager = FeedManager(
        {"sim": FeedSettings(url="wss://venue.test/stream", **FAST)},
        loop=loop,
        clock=boot_s,
        random=random.random,
        ws_dial=dial,
        publish=publish,
        on_event=readers.event,
    )
    manager.demand("sim", ["a@trade"])
    await readers.until(lambda: bool(readers.named("feed.connected")))
    read = 256
    for start in range(0, 2 * TURN_MESSAGES_MAX, read):
        lines[0].on_messages([trade("a@trade", number) for number in range(start, start + read)])
    assert turns == [TURN_MESSAGES_MAX, TURN_MESSAGES_MAX]  # before the loop had its turn
    assert_gapless(readers.of("sim/a@trade"))
    await manager.stop()


@pytest.mark.asyncio
async def test_the_wrapper_is_taken_off_only_where_it_is_whole() -> None:
    """The object behind "data" comes out byte for byte; with fields in another order the whole message does, and what
    is cut off or goes on behind the wrapper does too."""
    inner = b'{"e":"trade","p":"1.10"}'
    wrapped = b'{"stream":"a@b","data":' + inner + b"}"
    other = b'{"data":' + inner + b',"stream":"a@b"}'
    cut = b'{"stream":"a@b","data":'
    longer = wrapped + b"\n"
    quoted = b'{"stream":"a@b","data":{"s":"x","data":1}}'

    async def script(peer: Peer) -> None:
        await peer.read_frame()
        known = [frame(1, each) for each in (wrapped, other, cut, longer, quoted)]
        await peer.send(*known, frame(1, b'{"stream":"c@d","data":{}}'), frame(1, b""))
        await silent(peer)

    async with feeding(script) as (manager, readers, _exchange):
        manager.demand("sim", ["a@b"])
        await readers.until(lambda: len(readers.of("sim/a@b")) == 5)
        expected = [inner, other, cut, longer, b'{"s":"x","data":1}']
        assert [payload for _seq, payload in readers.of("sim/a@b")] == expected
        async with asyncio.timeout(5):
            while manager.status()["sim"]["unrouted"] < 2:
                await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_a_raw_feed_is_one_topic_verbatim() -> None:
    """With the raw dialect every message, binary too, comes out as it is under the feed's own name."""

    async def script(peer: Peer) -> None:
        await peer.send(frame(1, b"one"), frame(2, b"\x00\x01"))
        await silent(peer)

    async with feeding(script, dialect="raw") as (manager, readers, _exchange):
        assert manager.demand("sim", []) == ["sim"]
        await readers.until(lambda: len(readers.of("sim")) == 2)
        assert readers.of("sim") == [(1, b"one"), (2, b"\x00\x01")]


@pytest.mark.asyncio
async def test_other_venues_topics_are_found() -> None:
    """Bybit's and OKX's shapes are asked for and routed; acknowledgements are no data."""

    async def okx(peer: Peer) -> None:
        _opcode, ask = await peer.read_frame()
        assert ask == b'{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}'
        arg = b'"arg":{"channel":"trades","instId":"BTC-USDT"}'
        await peer.send(frame(1, b'{"event":"subscribe",' + arg + b"}"), frame(1, b"{" + arg + b',"data":[1]}'))
        await silent(peer)

    async with feeding(okx, dialect="okx") as (manager, readers, _exchange):
        manager.demand("sim", ["trades:BTC-USDT"])
        await readers.until(lambda: bool(readers.batches))
        assert readers.of("sim/trades:BTC-USDT") == [
            (1, b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[1]}')
        ]


@pytest.mark.asyncio
async def test_a_gap_in_the_venues_numbers_is_told_and_a_snapshot_asked_for() -> None:
    """The event names the topic, the agent's number and the venue's; a venue that begins a subscription with a
    snapshot is subscribed anew."""
    asks: list[dict[str, Any]] = []

    def book(update: int, kind: str = "delta") -> bytes:
        return frame(1, b'{"topic":"orderbook.50.X","type":"%s","data":{"u":%d}}' % (kind.encode(), update))

    async def bybit(peer: Peer) -> None:
        while True:
            opcode, data = await peer.read_frame()
            if opcode != 1:
                continue
            asks.append(json.loads(data))
            if asks[-1]["op"] == "subscribe":
                await peer.send(book(100 * len(asks), "snapshot"), book(100 * len(asks) + 1))
            if len(asks) == 1:
                await peer.send(book(105))

    async with feeding(bybit, dialect="bybit") as (manager, readers, _exchange):
        manager.demand("sim", ["orderbook.50.X"])
        await readers.until(lambda: len(readers.of("sim/orderbook.50.X")) == 5)
        (gap,) = readers.named("feed.gap")
        numbers = {"seq": 3, "expected": 102, "found": 105}
        assert gap == {"feed": "sim", "topic": "sim/orderbook.50.X", **numbers, "renewed": True, "fetched": False}
        assert [ask["op"] for ask in asks] == ["subscribe", "unsubscribe", "subscribe"]


# ---------------------------------------------------------------- silent death and return


@pytest.mark.asyncio
async def test_a_gap_brings_the_venues_snapshot_where_it_is_to_be_fetched() -> None:
    """Binance sends no snapshot: it is fetched once per gap and is the topic's next message; a failure is told."""
    readers, asked = Readers(), []
    release = asyncio.Event()

    async def fetch(url: str) -> bytes | None:
        asked.append(url)
        readers.event("asked", {})
        await release.wait()
        return b'{"lastUpdateId":9}' if len(asked) == 1 else None

    async def jumping(peer: Peer) -> None:
        _opcode, _ask = await peer.read_frame()
        for first, last in ((1, 2), (3, 4), (8, 9), (15, 16)):
            data = b'{"e":"depthUpdate","U":%d,"u":%d,"b":[],"a":[]}' % (first, last)
            await peer.send(frame(1, b'{"stream":"btcusdt@depth","data":' + data + b"}"))
        await readers.until(lambda: bool(readers.named("feed.snapshot")))
        data = b'{"e":"depthUpdate","U":90,"u":91,"b":[],"a":[]}'
        await peer.send(frame(1, b'{"stream":"btcusdt@depth","data":' + data + b"}"))
        await silent(peer)

    async with ScriptedExchange(jumping) as exchange:
        manager = FeedManager(
            {"sim": FeedSettings(url=exchange.url, snapshot="https://v.test/depth?symbol=$SYMBOL", **FAST)},
            loop=asyncio.get_running_loop(),
            clock=boot_s,
            random=random.random,
            ws_dial=ws_connect,
            publish=readers.publish,
            on_event=readers.event,
            fetch=fetch,
        )
        manager.demand("sim", ["btcusdt@depth"])
        await readers.until(lambda: len(readers.named("feed.gap")) == 2 and bool(asked))
        assert asked == ["https://v.test/depth?symbol=BTCUSDT"]  # two gaps, one question under way
        release.set()
        await readers.until(lambda: bool(readers.named("feed.snapshot_failed")))
        assert b'{"lastUpdateId":9}' in [payload for _seq, payload in readers.of("sim/btcusdt@depth")]
        assert_gapless(readers.of("sim/btcusdt@depth"))
        await manager.stop()


@pytest.mark.asyncio
async def test_a_reset_line_is_redialled_and_resubscribed_at_once() -> None:
    """After resets everything is subscribed again; the time from reset to first message is told and short."""
    venue = BinanceLike(period_s=0.001)
    topics = [f"s{i}@trade" for i in range(20)]
    spent: list[float] = []
    async with feeding(venue) as (manager, readers, exchange):
        manager.demand("sim", topics)
        for round_ in range(15):
            peer = await exchange.peer(round_)
            seen = {t: len(readers.of(f"sim/{t}")) for t in topics}
            await readers.until(lambda seen=seen: all(len(readers.of(f"sim/{t}")) > seen[t] for t in topics))
            batches = len(readers.batches)
            started = boot_s()
            peer.reset()
            await readers.until(lambda n=round_: len(readers.named("feed.resumed")) == n + 1)
            await readers.until(lambda n=batches: len(readers.batches) > n)
            spent.append(boot_s() - started)
        assert [len(peer.topics) for peer in exchange.peers] == [20] * 16
        for topic in topics:
            assert_gapless(readers.of(f"sim/{topic}"))
    p50 = statistics.median(spent)
    print(f"\nreset to first message: p50 {p50 * 1e3:.1f} ms, max {max(spent) * 1e3:.1f} ms over {len(spent)} resets")
    assert p50 <= 0.05


@pytest.mark.asyncio
async def test_a_silent_socket_with_pongs_is_replaced_within_its_deadline() -> None:
    """Pongs do not feed the data clock: silence is found within the deadline and 10 %, told, and data resumes."""
    venue = BinanceLike()
    deadline_s = 0.5
    settings = {"silence_s": deadline_s, "ping_interval_s": 0.02}
    async with feeding(venue, **settings) as (manager, readers, exchange):
        manager.demand("sim", ["btcusdt@trade"])
        peer = await exchange.peer()
        await readers.until(lambda: len(readers.batches) > 3)
        venue.paused = True
        await readers.until(lambda: bool(readers.named("feed.stale")))
        found = readers.named("feed.stale")[0]
        assert found["what"] == "socket"
        assert deadline_s <= found["silent_s"] <= deadline_s * 1.1
        assert sum(1 for opcode, _data in peer.received if opcode == 9) > 5
        venue.paused = False
        await readers.until(lambda: bool(readers.named("feed.resumed")))
        assert (await exchange.peer(1)).topics == {"btcusdt@trade"}
        assert_gapless(readers.of("sim/btcusdt@trade"))


@pytest.mark.asyncio
async def test_a_subscription_that_never_delivers_moves_to_a_fresh_socket() -> None:
    """Acknowledged and mute while others deliver: it moves, the others' socket stays."""
    venue = BinanceLike(quiet={"mute@trade"})
    async with feeding(venue, first_message_s=0.2) as (manager, readers, exchange):
        manager.demand("sim", ["mute@trade", "good@trade"])
        await readers.until(lambda: bool(readers.named("feed.stale")))
        assert readers.named("feed.stale")[0] == {
            "feed": "sim",
            "socket": "sim#1",
            "what": "subscription",
            "topics": ["mute@trade"],
            "count": 1,
        }
        venue.quiet.clear()
        await readers.until(lambda: bool(readers.of("sim/mute@trade")))
        assert len(exchange.peers) == 2
        assert exchange.peers[0].topics == {"good@trade"}
        assert exchange.peers[1].topics == {"mute@trade"}
        assert readers.named("feed.lost") == []


@pytest.mark.asyncio
async def test_an_exchange_that_is_down_is_redialled_with_growing_waits_until_it_is_back() -> None:
    """While down each failed dial is told with its reason; after the return data resumes by itself."""
    venue = BinanceLike()
    async with feeding(venue) as (manager, readers, exchange):
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: len(readers.batches) > 3)
        await exchange.stop()
        await readers.until(lambda: len(readers.named("feed.dial_failed")) >= 5)
        assert {fields["reason"] for fields in readers.named("feed.dial_failed")} <= {"refused", "reset"}
        assert all(fields["retry_in_s"] <= 0.05 for fields in readers.named("feed.dial_failed"))
        await exchange.start()
        await readers.until(lambda: bool(readers.named("feed.resumed")))
        resumed = readers.named("feed.resumed")[-1]
        assert resumed["down_s"] > 0
        assert 0 <= resumed["first_message_s"] < 1
        assert_gapless(readers.of("sim/btcusdt@trade"))


@pytest.mark.asyncio
async def test_a_venue_that_accepts_and_drops_is_not_hammered() -> None:
    """A connection that never stayed up does not reset the backoff, and the dial budget bounds the rest."""

    async def drops(peer: Peer) -> None:
        peer.reset()

    settings = {"healthy_s": 10.0, "backoff_min_s": 0.01, "backoff_max_s": 0.02, "dials_max": 10, "dial_window_s": 60}
    async with feeding(drops, **settings) as (manager, readers, exchange):
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: len(readers.named("feed.lost")) + len(readers.named("feed.dial_failed")) >= 10)
        await asyncio.sleep(0.1)
        assert len(exchange.peers) == 10


@pytest.mark.asyncio
async def test_many_sockets_that_lose_the_venue_together_knock_as_one() -> None:
    """While the venue is down one of fifty sockets knocks for all; after its return all come back at once, spread."""
    settings = {"streams_max": 1, "sockets_max": 50, "backoff_min_s": 0.05, "backoff_max_s": 0.2}
    async with feeding(BinanceLike(period_s=0.05), **settings) as (manager, readers, exchange):
        manager.demand("sim", [f"s{i}@trade" for i in range(50)])
        await readers.until(lambda: len(readers.named("feed.connected")) == 50)
        await exchange.stop()
        await asyncio.sleep(1.5)
        attempts = len(readers.named("feed.dial_failed"))
        assert 4 <= attempts <= 50 + 1.5 / 0.05  # those that were dialling at the same moment, then one
        await exchange.start()
        await readers.until(lambda: len(readers.named("feed.connected")) == 100)
        await readers.until(lambda: len(readers.named("feed.resumed")) == 50)


@pytest.mark.asyncio
async def test_a_feed_whose_path_is_refused_does_not_hold_up_another_of_the_same_host() -> None:
    """A 404 is one feed's own trouble: the other feed of that host is dialled as ever."""
    no = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    readers = Readers()
    async with ScriptedExchange(BinanceLike()) as exchange, ScriptedExchange(silent, answer=no) as wrong:
        manager = FeedManager(
            {
                "bad": FeedSettings(url=wrong.url, **FAST),
                "good": FeedSettings(url=exchange.url, **FAST),
            },
            loop=asyncio.get_running_loop(),
            clock=boot_s,
            random=random.random,
            ws_dial=ws_connect,
            publish=readers.publish,
            on_event=readers.event,
        )
        shared = manager.reach_of(FeedSettings(url=exchange.url))
        manager._feeds["bad"]._reach = shared  # as if both were paths of one host
        manager.demand("bad", ["a@trade"])
        await readers.until(lambda: len(readers.named("feed.dial_failed")) >= 3)
        manager.demand("good", ["b@trade"])
        await readers.until(lambda: bool(readers.of("good/b@trade")), 2.0)
        assert not shared.away
        await manager.stop()


@pytest.mark.asyncio
async def test_application_heartbeats_are_sent_and_their_answers_are_no_data() -> None:
    """The venue's own heartbeat goes out in its rhythm; its answer does not keep a dead feed alive."""
    beats: list[bytes] = []

    async def bybit(peer: Peer) -> None:
        while True:
            opcode, data = await peer.read_frame()
            if opcode == 1 and b"ping" in data:
                beats.append(data)
                await peer.send(frame(1, b'{"success":true,"ret_msg":"pong","op":"ping"}'))

    settings = {"dialect": "bybit", "heartbeat_interval_s": 0.03, "silence_s": 0.3}
    async with feeding(bybit, **settings) as (manager, readers, _exchange):
        manager.demand("sim", ["publicTrade.BTCUSDT"])
        await readers.until(lambda: bool(readers.named("feed.stale")))
        assert len(beats) >= 5
        assert set(beats) == {b'{"op":"ping"}'}
        assert readers.batches == []


@pytest.mark.asyncio
async def test_close_ends_everything_in_bounded_time() -> None:
    """Closing while connected, dialling or waiting leaves no socket and no task."""
    venue = BinanceLike()
    async with feeding(venue) as (manager, readers, _exchange):
        manager.demand("sim", ["btcusdt@trade"])
        await readers.until(lambda: bool(readers.batches))
        started = boot_s()
        await manager.stop()
        assert boot_s() - started < 2
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("feed ")] == []
        assert manager.status()["sim"]["sockets"][0]["state"] == "closed"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "ftp://x"}, "scheme"),
        ({"url": "http://x", "dialect": "binance"}, r"\$topics"),
        ({"url": "wss://x/$topics"}, r"\$topics is for http"),
        ({"dialect": "bnance"}, "binance"),
        ({"dialect": "template"}, "topic_fields"),
        ({"silence_s": -1}, "silence_s"),
        ({"silence_s": float("nan")}, "silence_s"),
        ({"streams_max": 0}, "streams_max"),
        ({"backoff_max_s": 0.01}, "backoff_max_s"),
        ({"headers": {"a b": "c"}}, "header name"),
    ],
)
def test_wrong_settings_name_the_key(wrong: dict[str, Any], words: str) -> None:
    """A feed that cannot work is refused at start, naming what is wrong."""
    with pytest.raises(ValidationError, match=words):
        FeedSettings(**{"url": "wss://venue.test/ws", **wrong}).check("sim")


# ---------------------------------------------------------------- rotation and redundant pairs


class Venue:
    """A venue with one clock: every connection subscribed to a stream gets the same numbered messages, each connection
    with its own delay in messages."""

    def __init__(self, *, lags: list[int] | None = None, period_s: float = 0.001) -> None:
        self.lags = lags or []
        self.period_s = period_s
        self.numbers: dict[str, int] = {}
        self.lines: list[tuple[Peer, list[tuple[str, int]], int]] = []
        self.muted: set[int] = set()

    async def __call__(self, peer: Peer) -> None:
        number = len(self.lines)
        lag = self.lags[number % len(self.lags)] if self.lags else 0
        self.lines.append((peer, [], lag))
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == 9:
                await peer.send(frame(10, payload))
            elif opcode == 8:
                await peer.send(frame(8, payload))
                return
            elif opcode == 1:
                ask = json.loads(payload)
                change = peer.topics.update if ask["method"] == "SUBSCRIBE" else peer.topics.difference_update
                change(ask["params"])
                await peer.text({"result": None, "id": ask["id"]})

    async def run(self, streams: list[str], count: int) -> None:
        """Publish ``count`` rounds of one message per stream to whoever is subscribed."""
        for _ in range(count):
            for stream in streams:
                number = self.numbers[stream] = self.numbers.get(stream, 0) + 1
                for line, (peer, waiting, lag) in enumerate(self.lines):
                    if stream in peer.topics and line not in self.muted and not peer.writer.is_closing():
                        waiting.append((stream, number))
                        while len(waiting) > lag:
                            peer.writer.write(frame(1, trade(*waiting.pop(0))))
            await asyncio.sleep(self.period_s)

    def flush(self) -> None:
        for peer, waiting, _lag in self.lines:
            while waiting:
                peer.writer.write(frame(1, trade(*waiting.pop(0))))

    def told(self, readers: Readers, stream: str) -> bool:
        """Has the reader the last message of this stream?"""
        items = readers.of(f"sim/{stream}")
        return bool(items) and json.loads(items[-1][1])["t"] == self.numbers[stream]

    def assert_whole(self, readers: Readers, streams: list[str]) -> None:
        """Every reader has every message from its first one on, once, in order."""
        for stream in streams:
            items = readers.of(f"sim/{stream}")
            assert_gapless(items)
            got = [json.loads(payload)["t"] for _seq, payload in items]
            assert got == list(range(got[0], got[0] + len(got)))
            assert got[-1] == self.numbers[stream]


@pytest.mark.asyncio
@pytest.mark.parametrize("lags", [[0], [0, 7], [7, 0]], ids=["even", "successor behind", "successor ahead"])
async def test_rotation_loses_and_doubles_nothing(lags: list[int]) -> None:
    """Sockets that reach their lifetime under load are replaced before they break: every message once, in order."""
    venue = Venue(lags=lags)
    streams = [f"s{i}@trade" for i in range(5)]
    async with feeding(venue, lifetime_s=0.2, settle_s=0.5) as (manager, readers, _exchange):
        manager.demand("sim", streams)
        await readers.until(lambda: bool(readers.named("feed.connected")))
        await asyncio.sleep(0.02)
        await venue.run(streams, 700)
        venue.flush()
        await readers.until(lambda: all(venue.told(readers, s) for s in streams))
        venue.assert_whole(readers, streams)
        assert manager.status()["sim"]["rotated"] >= 3
        assert len(readers.named("feed.rotated")) >= 3
        assert readers.named("feed.lost") == []
        assert len([peer for peer, _w, _l in venue.lines if not peer.writer.is_closing()]) <= 2


@pytest.mark.asyncio
async def test_an_announced_end_starts_a_rotation() -> None:
    """The venue's notice is told and the socket replaced ahead; quiet topics move too."""
    venue = Venue()
    async with feeding(venue, settle_s=0.1) as (manager, readers, _exchange):
        manager.demand("sim", ["a@trade", "quiet@trade"])
        await readers.until(lambda: bool(readers.named("feed.connected")))
        await asyncio.sleep(0.02)
        await venue.run(["a@trade"], 20)
        await venue.lines[0][0].text(b'{"e":"serverShutdown","E":1770123456789}')
        await readers.until(lambda: bool(readers.named("feed.rotating")))
        await venue.run(["a@trade"], 150)
        await readers.until(lambda: bool(readers.named("feed.rotated")))
        await venue.run(["a@trade", "quiet@trade"], 10)
        await readers.until(lambda: len(readers.of("sim/a@trade")) == 180)
        venue.assert_whole(readers, ["a@trade", "quiet@trade"])
        assert readers.named("feed.notice") == [{"feed": "sim", "socket": "sim#1"}]
        assert venue.lines[1][0].topics == {"a@trade", "quiet@trade"}


@pytest.mark.asyncio
async def test_a_rotation_survives_the_death_of_either_socket() -> None:
    """Whichever socket dies in the middle, the other carries on; a new reader's topic goes to the new one."""
    for dying in (0, 1):
        venue = Venue(lags=[0, 1000])  # the successor stays silent, so the rotation waits
        async with feeding(venue, settle_s=30.0) as (manager, readers, _exchange):
            manager.demand("sim", ["a@trade"])
            await readers.until(lambda r=readers: bool(r.named("feed.connected")))
            await asyncio.sleep(0.02)
            await venue.run(["a@trade"], 5)
            await venue.lines[0][0].text(b'{"e":"serverShutdown","E":1}')
            await readers.until(lambda r=readers: len(r.named("feed.connected")) == 2)
            manager.demand("sim", ["b@trade"])
            await asyncio.sleep(0.05)
            await venue.run(["a@trade"], 5)
            assert venue.lines[1][0].topics == {"a@trade", "b@trade"}
            venue.lags = [0]
            venue.lines[1] = (venue.lines[1][0], [], 0)
            venue.lines[dying][0].reset()
            if dying == 0:
                await readers.until(lambda r=readers: bool(r.named("feed.rotated")))
            else:
                await readers.until(lambda r=readers: len(r.named("feed.connected")) == 3)
                await asyncio.sleep(0.05)
            await venue.run(["a@trade"], 20)
            await readers.until(lambda r=readers: len(r.of("sim/a@trade")) >= 25)
            await readers.until(lambda r=readers: bool(r.named("feed.rotated")))
            await venue.run(["a@trade"], 5)
            await asyncio.sleep(0.05)
            assert json.loads(readers.of("sim/a@trade")[-1][1])["t"] == venue.numbers["a@trade"]
            assert_gapless(readers.of("sim/a@trade"))


@pytest.mark.asyncio
async def test_a_redundant_pair_loses_nothing_to_the_death_of_one_socket() -> None:
    """Under random resets of one socket at a time every message comes once, in order."""
    venue = Venue(lags=[0, 3, 1])
    streams = ["a@trade", "b@trade"]
    async with feeding(venue, redundant=True) as (manager, readers, exchange):
        manager.demand("sim", streams)
        await readers.until(lambda: len(readers.named("feed.connected")) == 2)
        await asyncio.sleep(0.03)
        chance = random.Random(7)
        for round_ in range(12):
            await venue.run(streams, 30)
            alive = [peer for peer, _w, _l in venue.lines if not peer.writer.is_closing() and peer.topics]
            assert len(alive) == 2
            chance.choice(alive).reset()
            connected = 3 + round_
            task = asyncio.create_task(venue.run(streams, 40))
            await readers.until(lambda n=connected: len(readers.named("feed.connected")) == n)
            await task
            await asyncio.sleep(0.03)
        await venue.run(streams, 30)
        venue.flush()
        await asyncio.sleep(0.05)
        venue.assert_whole(readers, streams)
        assert len(exchange.peers) == 14


@pytest.mark.asyncio
async def test_a_learned_cadence_finds_silence() -> None:
    """A busy socket that falls silent is replaced after a multiple of the longest gap it was heard to have."""
    venue = BinanceLike(period_s=0.005)
    settings = {"cadence_factor": 5.0, "cadence_min_s": 0.6}
    async with feeding(venue, **settings) as (manager, readers, _exchange):
        manager.demand("sim", ["busy@trade"])
        await readers.until(lambda: len(readers.batches) > 30)
        assert readers.named("feed.stale") == []
        venue.paused = True
        await readers.until(lambda: bool(readers.named("feed.stale")))
        assert 0.6 <= readers.named("feed.stale")[0]["silent_s"] < 5.0
        venue.paused = False
        await readers.until(lambda: bool(readers.named("feed.resumed")))
        assert_gapless(readers.of("sim/busy@trade"))


# ---------------------------------------------------------------- trading hours


class Wall:
    """A wall clock a test may set; it runs with the real one."""

    def __init__(self, text: str) -> None:
        self.ahead_s = 0.0
        self.set(text)

    def set(self, text: str) -> None:
        self.ahead_s = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - boot_s()

    def __call__(self) -> float:
        return boot_s() + self.ahead_s


def nyse(wall: Wall, **fields: Any) -> TradingHours:
    table = {"sessions": ["mon-fri 14:30-21:00"], "venues": ["sim"], "symbols": ["stock*"], **fields}
    return TradingHours({"nyse": HoursSettings(**table)}, wall)


@pytest.mark.asyncio
async def test_outside_trading_hours_silence_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed market's socket is not found stale, neither as a whole nor by subscription; once it is open it is."""
    monkeypatch.setattr(feed_socket, "HOURS_LOOK_S", 0.02)
    wall = Wall("2026-11-25 22:00:00")
    settings = {"silence_s": 0.2, "first_message_s": 0.2, "closed_dial_s": 0.0}
    async with feeding(silent, hours=nyse(wall), **settings) as (manager, readers, exchange):
        manager.demand("sim", ["stock1@trade"])
        await exchange.peer()
        await asyncio.sleep(1.0)  # five times either deadline
        assert readers.named("feed.stale") == []
        wall.set("2026-11-26 14:29:59.9")
        await readers.until(lambda: bool(readers.named("feed.stale")), 3.0)
        assert [each["open"] for each in readers.named("feed.hours")] == [False, True]
        wall.set("2026-11-26 21:00:00")  # and closes again
        await readers.until(lambda: not readers.named("feed.hours")[-1]["open"], 3.0)
        await asyncio.sleep(0.1)
        readers.events.clear()
        await asyncio.sleep(0.6)
        assert readers.named("feed.stale") == []


@pytest.mark.asyncio
async def test_an_open_symbol_on_the_same_socket_is_still_watched() -> None:
    """Hours are per topic: a closed stock does not excuse a coin that trades day and night."""
    wall = Wall("2026-11-28 12:00:00")
    async with feeding(silent, hours=nyse(wall), silence_s=0.2) as (manager, readers, _exchange):
        manager.demand("sim", ["stock1@trade", "btcusdt@trade"])
        await readers.until(lambda: bool(readers.named("feed.stale")), 3.0)


@pytest.mark.asyncio
async def test_outside_trading_hours_dialling_is_slow_and_in_time_for_the_opening() -> None:
    """A closed market that cannot be reached is dialled about once per closed_dial_s, and at once for an open topic."""
    wall = Wall("2026-11-28 12:00:00")
    async with feeding(silent, hours=nyse(wall), closed_dial_s=30.0) as (manager, readers, exchange):
        manager.demand("sim", ["stock1@trade"])
        await exchange.peer()
        await exchange.stop()
        await readers.until(lambda: bool(readers.named("feed.lost")))
        told = readers.named("feed.lost")[0]
        assert 15.0 <= told["retry_in_s"] <= 45.0
        await exchange.start()
        manager.demand("sim", ["btcusdt@trade"])  # open: nobody waits for the slow rhythm
        await readers.until(lambda: len(readers.named("feed.connected")) == 2, 2.0)
    wall.set("2026-11-26 14:29:58")
    async with feeding(silent, hours=nyse(wall), closed_dial_s=30.0) as (manager, readers, exchange):
        manager.demand("sim", ["stock1@trade"])
        await exchange.peer()
        await exchange.stop()
        await readers.until(lambda: bool(readers.named("feed.lost")))
        assert readers.named("feed.lost")[0]["retry_in_s"] <= 2.1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sessions": ["mon-fri 9-5"], "venues": ["x"]}, "hours.nyse: session"),
        ({"sessions": ["24/7"]}, "fits nothing"),
        ({"sessions": ["24/7"], "venues": ["x"], "timezone": "Mars/Base"}, "IANA"),
    ],
)
def test_wrong_hours_name_their_table(fields: dict[str, Any], words: str) -> None:
    """A table that cannot be used says which and why, before anything is dialled."""
    with pytest.raises(ValidationError, match=words):
        TradingHours({"nyse": HoursSettings(**fields)}, Wall("2026-11-28 12:00:00"))


def test_the_first_table_that_fits_counts() -> None:
    """Venue and symbol patterns select a calendar, in the order of the file; the rest is always open."""
    wall = Wall("2026-11-28 12:00:00")  # a Saturday
    hours = TradingHours(
        {
            "special": HoursSettings(sessions=["24/7"], venues=["broker"], symbols=["BTC*"]),
            "week": HoursSettings(sessions=["mon-fri 00:00-24:00"], venues=["broker", "*.broker.com"]),
        },
        wall,
    )
    assert hours.open({"broker"}, "BTCUSD")
    assert not hours.open({"broker"}, "EURUSD")
    assert not hours.open({"stream.broker.com"})
    assert hours.open({"binance"}, "EURUSD")
    assert hours.market({"binance"}) is None
