"""jackstay.adapters.ccxt: unmodified exchange objects, sync and async, through the agent."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import ccxt.async_support
import httpx
import pytest
import requests

import jackstay
from client.fake_agent import FakeAgent, Heard, ok
from jackstay import adapters
from jackstay.adapters import translation
from jackstay_protocols import messages as m
from jackstay_protocols.errors import DeadlineExceeded, Outcome, Reason, Refused, ValidationError

Connect = Callable[..., jackstay.Client]
ORDER = {"symbol": "BTC/USDT", "type": "limit", "side": "buy", "amount": 1, "price": 100}
MARKET = {
    "symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING", "baseAssetPrecision": 8,
    "quotePrecision": 8, "filters": [], "orderTypes": ["LIMIT", "MARKET"],
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "apiKey": "k",
    "secret": "s",
    "timeout": 2000,
    "enableRateLimit": False,
    "options": {
        "fetchMarkets": ["spot"] if ccxt.__version__.startswith("4.4.") else {"types": ["spot"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    },
}


def venue(answer: m.Message | Callable[[Heard], m.Message | None]) -> Callable[[FakeAgent, Heard], Any]:
    """Markets and time as usual; ``answer`` to everything else."""
    import json

    def script(_agent: FakeAgent, heard: Heard) -> Any:
        target = heard.message.target  # type: ignore[attr-defined]
        if "/exchangeInfo" in target:
            return ok(json.dumps({"symbols": [MARKET]}).encode())
        if "/time" in target:
            return ok(b'{"serverTime": 123}')
        return answer(heard) if callable(answer) else answer

    return script


class Sync:
    """Runs verbs of a sync exchange."""

    name = "sync"

    def __init__(self, runtime: Path) -> None:
        self.client = jackstay.Client("fake", runtime_dir=runtime, bot_id="bot", connect_timeout_s=1.0)
        self.exchange = jackstay.attach(ccxt.binance(SETTINGS), self.client)

    def run(self, verb: str, *args: Any, **options: Any) -> Any:
        return getattr(self.exchange, verb)(*args, **options)

    def close(self) -> None:
        self.client.close()


class Async:
    """Runs verbs of an async exchange on a loop of its own."""

    name = "async"

    def __init__(self, runtime: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot", connect_timeout_s=1.0)
        self.exchange = self.loop.run_until_complete(self._make())

    async def _make(self) -> Any:
        return jackstay.attach(ccxt.async_support.binance(SETTINGS), self.client)

    def run(self, verb: str, *args: Any, **options: Any) -> Any:
        return self.loop.run_until_complete(getattr(self.exchange, verb)(*args, **options))

    def close(self) -> None:
        self.exchange.timeout_on_exit = 0
        self.loop.run_until_complete(self.exchange.close())
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def flavour(request: pytest.FixtureRequest, runtime: Path) -> Iterator[Any]:
    made = request.param(runtime)
    yield made
    made.close()


def test_an_order_travels_with_ccxts_own_url_headers_and_bytes(agent: FakeAgent, flavour: Any) -> None:
    """The true exchange URL, pairs in ccxt's capitals, the signed body untouched, ccxt's time-out as the deadline."""
    agent.script = venue(ok(b'{"orderId": 7, "status": "NEW", "symbol": "BTCUSDT"}'))
    order = flavour.run("create_order", *ORDER.values())
    assert order["id"] == "7"
    heard = agent.of(m.Request)[-1]
    request = heard.message
    assert isinstance(request, m.Request)
    assert (request.method, request.target) == ("POST", "https://api.binance.com/api/v3/order")
    assert request.body.startswith(b"timestamp=") or b"symbol=BTCUSDT" in request.body
    assert b"&signature=" in request.body
    headers = dict(request.headers)
    assert headers[b"X-MBX-APIKEY"] == b"k"
    assert headers[b"Content-Type"] == b"application/x-www-form-urlencoded"
    assert headers[b"Accept-Encoding"] == b"gzip, deflate"
    assert {b"Accept", b"User-Agent"} <= set(headers)
    assert not {name.lower() for name in headers} & {b"host", b"content-length", b"connection"}
    from jackstay_protocols.clock import boot_us

    assert heard.header.when - boot_us() < 2_000_000


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"code":-2010,"msg":"Account has insufficient balance for requested action."}', ccxt.InsufficientFunds),
        (429, b'{"code":-1003,"msg":"Too many requests"}', ccxt.DDoSProtection),
        (503, b"<html>maintenance</html>", ccxt.ExchangeNotAvailable),
        (504, b"<html>", ccxt.RequestTimeout),
    ],
)
def test_ccxts_own_error_mapping_stays_in_force(
    agent: FakeAgent, flavour: Any, status: int, body: bytes, kind: type[Exception]
) -> None:
    """The seam is below it."""
    agent.script = venue(m.Response(status, b"", [(b"Content-Type", b"text/html")], body, Outcome.UNKNOWN))
    with pytest.raises(ccxt.BaseError) as caught:
        flavour.run("create_order", *ORDER.values())
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", [200, 201, 302])
def test_an_order_whose_answer_proves_nothing_is_a_timeout(agent: FakeAgent, flavour: Any, status: int) -> None:
    """The one intended difference: plain ccxt returns an order whose id is None."""
    agent.script = venue(
        m.Response(
            status, b"OK", [(b"Location", b"https://elsewhere.com/")], b"<html>", Outcome.UNKNOWN, cause="not_json"
        )
    )
    with pytest.raises(ccxt.RequestTimeout):
        flavour.run("create_order", *ORDER.values())


def test_no_answer_in_time_is_a_timeout(agent: FakeAgent, flavour: Any) -> None:
    """By the agent's word or by the clock."""
    agent.script = venue(m.Response(0, b"", [], b"", Outcome.UNKNOWN, cause="timeout"))
    with pytest.raises(ccxt.RequestTimeout):
        flavour.run("create_order", *ORDER.values())
    agent.script = venue(lambda _h: None)
    flavour.exchange.timeout = 200
    with pytest.raises(ccxt.RequestTimeout) as caught:
        flavour.run("create_order", *ORDER.values())
    causes = []
    error: BaseException | None = caught.value
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert DeadlineExceeded in causes


UNREACHABLE = {"sync": ccxt.NetworkError, "async": ccxt.ExchangeNotAvailable}


@pytest.mark.parametrize("cause", ["refused", "dns"])
def test_a_way_to_the_venue_that_breaks_is_told_as_directly(agent: FakeAgent, flavour: Any, cause: str) -> None:
    """Exactly what each flavour of ccxt makes of a broken connection; bots retry on it."""
    agent.script = venue(m.Response(0, b"", [], b"", Outcome.FAILED, cause=cause))
    with pytest.raises(ccxt.NetworkError) as caught:
        flavour.run("create_order", *ORDER.values())
    assert type(caught.value) is UNREACHABLE[flavour.name]


REFUSALS: list[tuple[m.Message, type[Exception]]] = [
    (m.Refusal(Reason.BREAKER_OPEN, "words", 1.0), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.HALF_OPEN_FULL, "words", 1.0), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.QUEUE_FULL, "words"), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.DISK, "words"), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.EXPIRED, "words"), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.INTERNAL, "words"), ccxt.ExchangeNotAvailable),
    (m.Refusal("a reason of a newer agent", "words"), ccxt.ExchangeNotAvailable),
    (m.Response(0, b"", [], b"", Outcome.FAILED, cause="absent", detail="words"), ccxt.ExchangeNotAvailable),
    (m.Refusal(Reason.RATE_LIMITED, "words", 1.0), ccxt.RateLimitExceeded),
    (m.Refusal(Reason.GATED, "words", 1.0), ccxt.RateLimitExceeded),
    (m.Refusal(Reason.MODE, "words"), ccxt.OnMaintenance),
    # its equal is unknown, so is it: to ask again is right, and the agent sends nothing before the truth is known
    (m.Refusal(Reason.EQUAL_PENDING, "words"), ccxt.RequestTimeout),
    (m.Refusal(Reason.DUPLICATE, "words"), ccxt.InvalidOrder),
    (m.Refusal(Reason.LOOP_STOPPED, "words"), ccxt.InvalidOrder),
    (m.Response(0, b"", [], b"", Outcome.UNKNOWN, cause="reset", detail="words"), ccxt.RequestTimeout),
    (m.Refusal(Reason.UPSTREAM_NOT_ALLOWED, "words"), ccxt.ExchangeError),
    (m.Refusal(Reason.SESSION_TAKEN, "words"), ccxt.ExchangeError),
    (m.Refusal(Reason.NO_SIGNER, "words"), ccxt.ExchangeError),
    (m.Refusal(Reason.BAD_REQUEST, "words"), ccxt.ExchangeError),
]


@pytest.mark.parametrize(("answer", "told"), REFUSALS, ids=lambda value: getattr(value, "reason", "") or str(value))
def test_the_refusal_table(agent: FakeAgent, flavour: Any, answer: m.Message, told: type[Exception]) -> None:
    """The same in both flavours: not now, wait, maintenance, never the same again, nobody knows, fix it."""
    agent.script = venue(answer)
    with pytest.raises(ccxt.BaseError) as caught:
        flavour.run("create_order", *ORDER.values())
    assert type(caught.value) is told
    assert "words" in str(caught.value)
    assert isinstance(caught.value.__cause__, jackstay.TradingBotError)


def test_without_an_agent_it_is_not_available_and_never_a_direct_call(flavour: Any) -> None:
    """Nothing falls back to the exchange."""
    with pytest.raises(ccxt.ExchangeNotAvailable):
        flavour.run("fetch_time")


def test_a_bad_certificate_maps_as_with_each_library(agent: FakeAgent, flavour: Any) -> None:
    """A lost connection, as directly: ccxt knows ssl's own error, not the one that requests makes of it."""
    agent.script = venue(m.Response(0, b"", [], b"", Outcome.FAILED, cause="tls"))
    with pytest.raises(ccxt.BaseError) as caught:
        flavour.run("create_order", *ORDER.values())
    assert type(caught.value) is UNREACHABLE[flavour.name]


def test_the_seam_survives_close_and_reopen(agent: FakeAgent, flavour: Any) -> None:
    """Never a direct session afterwards, even if the bot puts one there."""
    agent.script = venue(ok(b"{}"))
    assert flavour.run("fetch_time") == 123
    if flavour.name == "sync":
        flavour.exchange.session.close()
        flavour.exchange.session = requests.Session()
        assert flavour.run("fetch_time") == 123
    else:
        flavour.exchange.timeout_on_exit = 0
        flavour.run("close")

        async def reopen() -> Any:
            flavour.exchange.open()
            return await flavour.exchange.fetch_time()

        assert flavour.loop.run_until_complete(reopen()) == 123
    assert len(agent.of(m.Request)) == 2


def test_detaching_gives_the_object_back_as_it_was(runtime: Path) -> None:
    """No trace in its dictionary."""
    client = jackstay.Client("fake", runtime_dir=runtime)
    exchange = ccxt.binance(SETTINGS)
    before = (exchange.session, exchange.fetch, set(exchange.__dict__))
    jackstay.attach(exchange, client)
    jackstay.attach(exchange, client)
    assert exchange.fetch != before[1]
    jackstay.detach(exchange)
    jackstay.detach(exchange)
    assert (exchange.session, exchange.fetch, set(exchange.__dict__)) == before
    assert "get_adapter" not in exchange.session.__dict__
    client.close()


def test_detaching_an_async_object_gives_it_back_as_it_was(runtime: Path) -> None:
    """Its own lazy session again."""

    async def run() -> None:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime) as client:
            exchange = ccxt.async_support.binance(SETTINGS)
            before = (exchange.session, exchange.own_session, exchange.ssl_context)
            jackstay.attach(exchange, client)
            assert exchange.own_session is False
            jackstay.detach(exchange)
            assert (exchange.session, exchange.own_session, exchange.ssl_context) == before
            assert not {"open", "get_socks_proxy_session"} & set(exchange.__dict__)

    asyncio.run(run())


def test_a_client_of_the_wrong_flavour_is_refused(runtime: Path) -> None:
    """A blocking client would stall the loop, an async one cannot wait."""
    with jackstay.Client("fake", runtime_dir=runtime) as client, pytest.raises(ValidationError, match="AsyncClient"):
        jackstay.attach(ccxt.async_support.binance(), client)
    with pytest.raises(ValidationError, match="jackstay.Client"):
        jackstay.attach(ccxt.binance(), jackstay.AsyncClient("fake", runtime_dir=runtime))


@pytest.mark.parametrize("setting", ["httpProxy", "httpsProxy", "socksProxy", "proxies", "aiohttp_proxy"])
def test_a_proxy_of_the_bots_is_refused(runtime: Path, setting: str) -> None:
    """The agent dials; ignoring the proxy in silence would be worse."""
    exchange = ccxt.binance()
    setattr(exchange, setting, {"https": "x"} if setting == "proxies" else "http://p")
    with pytest.raises(ValidationError, match=setting):
        jackstay.attach(exchange, None)


def test_other_objects_have_no_adapter() -> None:
    """The error names what is expected."""
    with pytest.raises(ValidationError, match="ccxt, requests, httpx or python-binance is expected"):
        jackstay.attach(object())


def test_off_changes_nothing_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """JACKSTAY=off: one line on stderr, for backtests and CI."""
    monkeypatch.setenv("JACKSTAY", "off")
    monkeypatch.setattr(adapters, "_told_off", False)
    exchange = ccxt.binance()
    before = set(exchange.__dict__)
    assert jackstay.attach(exchange) is exchange
    jackstay.attach(exchange)
    assert set(exchange.__dict__) == before
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_client_one_per_process_is_made(
    agent: FakeAgent, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one line a bot needs: jackstay.attach(exchange)."""
    from jackstay.adapters import defaults

    monkeypatch.setattr(defaults, "_sync", None)
    monkeypatch.setenv("JACKSTAY_RUNTIME_DIR", str(runtime))
    agent.script = venue(ok(b"{}"))
    one, two = jackstay.attach(ccxt.binance(SETTINGS)), jackstay.attach(ccxt.kraken())
    assert one.fetch_time() == 123
    assert len(agent.of(m.Hello)) == 1
    assert two is not None

    async def run() -> int:
        exchange = jackstay.attach(ccxt.async_support.binance(SETTINGS))
        exchange.timeout_on_exit = 0
        try:
            return await exchange.fetch_time()
        finally:
            await exchange.close()

    assert asyncio.run(run()) == asyncio.run(run()) == 123
    assert defaults._sync is not None
    defaults._sync[1].close()


@pytest.mark.parametrize("way", ["transport", "attach"])
def test_an_httpx_client_closes_the_default_client_with_itself(
    agent: FakeAgent, runtime: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The last one of a loop says goodbye; an httpx client whose transport was given a client leaves it open."""
    from jackstay.adapters import defaults
    from jackstay.adapters.httpx import AsyncAgentTransport

    monkeypatch.setenv("JACKSTAY_RUNTIME_DIR", str(runtime))
    agent.script = venue(ok(b"{}"))

    def made() -> httpx.AsyncClient:
        if way == "attach":
            return jackstay.attach(httpx.AsyncClient())
        return httpx.AsyncClient(transport=AsyncAgentTransport())

    async def run() -> None:
        async with made() as one, made() as two:
            for each in (one, two):
                await each.get("https://api.binance.com/api/v3/time")
            client = defaults.default_async_client()
            await one.aclose()
            assert not client.closed
        assert client.closed
        mine = jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="mine")
        async with httpx.AsyncClient(transport=AsyncAgentTransport(mine)) as third:
            await third.get("https://api.binance.com/api/v3/time")
        assert not mine.closed
        await mine.close()

    asyncio.run(run())


def test_detaching_gives_httpx_its_own_transport_back() -> None:
    """Sync and async alike."""
    for target in (httpx.Client(), httpx.AsyncClient()):
        before = target._transport
        jackstay.attach(target)
        jackstay.attach(target)
        jackstay.detach(target)
        assert target._transport is before
        assert "_transport_for_url" not in target.__dict__


def test_websockets_are_not_dialled_behind_the_agents_back(runtime: Path) -> None:
    """They go to http.sock, and where there is none the library says that nothing is there."""
    import ccxt.pro

    async def run() -> None:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime) as client:
            exchange = jackstay.attach(ccxt.pro.binance(SETTINGS), client)
            with pytest.raises(aiohttp.ClientConnectionError, match=r"http\.sock"):
                await exchange.session.ws_connect("wss://stream.binance.com:9443/ws")
            exchange.timeout_on_exit = 0
            await exchange.close()

    asyncio.run(run())


# ---------------------------------------------------------------- below requests


def session_of(client: jackstay.Client) -> requests.Session:
    from jackstay.adapters.requests import AgentAdapter

    session = requests.Session()
    session.mount("https://", AgentAdapter(client))
    return session


def test_requests_follows_redirects_itself_each_hop_through_the_agent(agent: FakeAgent, connect: Connect) -> None:
    """A read that is redirected ends where it would end directly."""
    agent.script = lambda _a, h: (
        ok(b"there")
        if h.message.target.endswith("/b")
        else m.Response(302, b"Found", [(b"Location", b"/b")], b"", Outcome.FAILED)
    )  # type: ignore[attr-defined]
    response = session_of(connect()).get("https://x.com/a")
    assert (response.text, response.url, len(response.history)) == ("there", "https://x.com/b", 1)


def test_requests_sees_the_answer_as_it_came(agent: FakeAgent, connect: Connect) -> None:
    """Status text, joined repeated headers, encoding, packed bodies unpacked."""
    import gzip

    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Content-Encoding", b"gzip"),
    ]
    agent.script = lambda _a, _h: m.Response(
        418, b"I'm a teapot", headers, gzip.compress('{"a": "é"}'.encode()), Outcome.REJECTED
    )
    response = session_of(connect()).post("https://x.com/a", data={"a": 1})
    assert (response.status_code, response.reason, response.json()) == (418, "I'm a teapot", {"a": "é"})
    assert response.headers["x-a"] == "1, 2"
    assert agent.of(m.Request)[0].message.body == b"a=1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [io.BytesIO(b"abc"), io.StringIO("abc"), iter([b"a", b"bc"]), "abc", b"abc"])
def test_requests_bodies_of_all_sorts_are_read_out(agent: FakeAgent, connect: Connect, body: Any) -> None:
    """Files and generators are buffered."""
    session_of(connect()).post("https://x.com/a", data=body)
    assert agent.of(m.Request)[0].message.body == b"abc"  # type: ignore[attr-defined]


# ---------------------------------------------------------------- instead of aiohttp


def with_session(runtime: Path, use: Callable[[Any], Any]) -> Any:
    from jackstay.adapters.aiohttp import AgentSession

    async def run() -> Any:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime) as client:
            return await use(AgentSession(lambda: client))

    return asyncio.run(run())


def test_aiohttp_redirects_are_followed_as_aiohttp_does(agent: FakeAgent, runtime: Path) -> None:
    """303 and 302 of a POST become GET without a body; another origin gets no Authorization."""

    def script(_agent: FakeAgent, heard: Heard) -> m.Message:
        hops = {"/a": b"/b", "/b": b"https://y.com/c"}
        path = "/" + heard.message.target.rsplit("/", 1)[1]  # type: ignore[attr-defined]
        return m.Response(302, b"", [(b"Location", hops[path])], b"", Outcome.FAILED) if path in hops else ok(b"end")

    agent.script = script

    async def use(session: Any) -> str:
        async with session.post("https://x.com/a", data=b"body", headers={"Authorization": "t"}) as response:
            return await response.text()

    assert with_session(runtime, use) == "end"
    seen = [
        (each.message.method, each.message.target, each.message.body, b"Authorization" in dict(each.message.headers))
        for each in agent.of(m.Request)
    ]  # type: ignore[attr-defined]
    assert seen == [
        ("POST", "https://x.com/a", b"body", True),
        ("GET", "https://x.com/b", b"", True),
        ("GET", "https://y.com/c", b"", False),
    ]


@pytest.mark.parametrize(
    ("location", "kind"),
    [(b"/a", aiohttp.TooManyRedirects), (b"ftp://x/y", aiohttp.ClientError), (b"http://", aiohttp.ClientError)],
)
def test_aiohttp_redirects_that_lead_nowhere(
    agent: FakeAgent, runtime: Path, location: bytes, kind: type[Exception]
) -> None:
    """aiohttp's own errors, a circle included."""
    agent.script = lambda _a, _h: m.Response(302, b"", [(b"Location", location)], b"", Outcome.FAILED)

    async def use(session: Any) -> None:
        await session.get("https://x.com/a")

    with pytest.raises(kind):
        with_session(runtime, use)


def test_aiohttp_bodies_and_default_headers(agent: FakeAgent, runtime: Path) -> None:
    """As aiohttp would write them."""
    agent.script = lambda _a, _h: ok(b"{}")

    async def use(session: Any) -> None:
        form = aiohttp.FormData()
        form.add_field("a", "1", content_type="text/plain")
        await session.post("https://x.com/", json={"a": 1})
        await session.post("https://x.com/", data="té")
        await session.post("https://x.com/", data={"a": "b c"})
        await session.post("https://x.com/", data=form)
        await session.get("https://x.com/?a=b", params={"c": "d"})

    with_session(runtime, use)
    sent = [(each.message.body, dict(each.message.headers).get(b"Content-Type", b"")) for each in agent.of(m.Request)]  # type: ignore[attr-defined]
    assert sent[:3] == [
        (b'{"a": 1}', b"application/json"),
        ("té".encode(), b"text/plain; charset=utf-8"),
        (b"a=b+c", b"application/x-www-form-urlencoded"),
    ]
    assert sent[3][1].startswith(b"multipart/form-data; boundary=")
    assert b'name="a"' in sent[3][0]
    assert sent[4] == (b"", b"")
    assert agent.of(m.Request)[4].message.target == "https://x.com/?a=b&c=d"  # type: ignore[attr-defined]


def test_aiohttp_text_follows_the_charset(agent: FakeAgent, runtime: Path) -> None:
    """Of the header if Python knows it, else UTF-8."""
    charsets = [b"latin-1", b"nonsense", None]

    def script(_agent: FakeAgent, _heard: Heard) -> m.Message:
        charset = charsets.pop(0)
        value = b"text/plain" + (b"; charset=" + charset if charset else b"")
        return ok("é".encode("latin-1" if charset == b"latin-1" else "utf-8"), headers=[(b"content-type", value)])

    agent.script = script

    async def use(session: Any) -> list[str]:
        return [await (await session.get("https://x.com/")).text() for _ in range(3)]

    assert with_session(runtime, use) == ["é"] * 3


# ---------------------------------------------------------------- the table of kinds


def test_time_outs_of_every_shape_become_deadlines() -> None:
    """Pairs, nothing, nonsense, and no more than ten minutes."""
    assert [translation.deadline_s(each) for each in (5, 0.5, (3, 7), (None, None), None, 0, -1, 10_000)] == [
        5,
        0.5,
        7,
        10,
        10,
        10,
        10,
        600,
    ]


def test_an_expired_call_was_not_sent_and_is_no_timeout() -> None:
    """Not now is not nobody knows; with an unknown outcome it is."""
    assert (
        translation.kind_of(DeadlineExceeded("", reason=Reason.EXPIRED, outcome=Outcome.FAILED))
        is translation.Kind.NOT_NOW
    )
    assert (
        translation.kind_of(DeadlineExceeded("", reason=Reason.TIMEOUT, outcome=Outcome.FAILED))
        is translation.Kind.TIMEOUT
    )
    assert translation.kind_of(Refused("", reason="a reason of a newer agent")) is translation.Kind.NOT_NOW
