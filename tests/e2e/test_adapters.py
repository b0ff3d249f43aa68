"""The same calls, directly and through the agent, for each library that has an adapter: identical results.

A row is a situation, a column a library; a cell is what the bot sees, status and body or the library's own exception.
The one intended difference is an order of which nobody knows: there the agent says so (time-out), whatever the library
says of a line that broke. Run with -s to see the matrix.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import requests

import jackstay
from e2e.http_clients import http_sock, routed_all
from e2e_bot import KEY, SECRET, order_params, release, signed
from harness import AgentProcess
from jackstay.adapters.aiohttp import connector
from jackstay.adapters.httpx import AgentTransport, AsyncAgentTransport
from jackstay.adapters.requests import AgentAdapter
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols import errors
from redirect import _Redirected

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it still imports websockets' old names
    from binance.async_client import AsyncClient as BinanceAsyncClient
    from binance.client import Client as BinanceClient
    from binance.exceptions import BinanceAPIException
    from binance.ws.streams import BinanceSocketManager

TRUE = "https://api.binance.com"
LIMIT_S = 0.7  # where no answer comes
PATIENT_S = 15.0  # where one does, however busy the machine is
HEADERS = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
ORDER = ("POST", "/api/v3/order")
Call = Callable[[str, str, str | None, float], Any]  # method, path, body, seconds

#: situation -> (call, fault at the sandbox or None)
SITUATIONS: dict[str, tuple[tuple[str, str], dict[str, Any] | None]] = {
    "a question": (("GET", "/api/v3/ticker/price?symbol=BTCUSDT"), None),
    "no such path": (("GET", "/api/v3/nothing"), None),
    "an order": (ORDER, None),
    "an order the venue rejects": (("POST", "/api/v3/order#funds"), None),
    "429 with Retry-After": (ORDER, {"kind": "answer", "status": 429, "body": '{"code":-1003,"msg":"x"}',
                                     "headers": [["Content-Type", "application/json"], ["Retry-After", "1"]]}),
    "503 in HTML": (("GET", "/api/v3/time"), {"kind": "answer", "status": 503, "body": "<html>busy</html>",
                                              "headers": [["Content-Type", "text/html"]]}),
    "two cookies": (("GET", "/api/v3/time"), {"kind": "answer", "status": 200, "body": "{}",
                                              "headers": [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]}),
    "a question without an answer": (("GET", "/api/v3/time"), {"kind": "stall"}),
    "an order without an answer": (ORDER, {"kind": "stall"}),
    "an order whose line breaks": (ORDER, {"kind": "reset_after"}),
}  # fmt: skip
UNKNOWN = {"an order whose line breaks"}


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed_all(sandbox.url)) as running:
        yield running


def request_of(call: tuple[str, str], n: int) -> tuple[str, str, str | None]:
    """Method, path with query, body."""
    method, path = call
    path, _, wish = path.partition("#")
    if method == "GET":
        return method, path, None
    params = order_params(f"m{n}", price=25000 + n)
    if wish == "funds":
        params |= {"quantity": "2000"}
    return method, path, signed(params)


def shape(status: int, headers: Any, text: str) -> tuple[Any, ...]:
    """What a bot reads of an answer: ids and times differ from call to call."""
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    if isinstance(document, dict):
        document = {key: type(value).__name__ if key != "code" else value for key, value in document.items()}
    return status, headers.get("content-type"), headers.get("retry-after"), headers.get("set-cookie"), document


# ---------------------------------------------------------------- the libraries


def by_requests(base: str | None, agent: AgentProcess) -> Call:
    session = requests.Session()
    session.trust_env = False
    if base is None:
        client = jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="requests")
        session.mount("https://", AgentAdapter(client))
    else:
        session.mount("https://", _Redirected(base))

    def call(method: str, path: str, body: str | None, limit_s: float) -> Any:
        answer = session.request(method, TRUE + path, data=body, headers=HEADERS, timeout=limit_s)
        told = {name.lower(): value for name, value in answer.headers.items()}
        return shape(answer.status_code, told, answer.text)

    return call


def by_httpx(base: str | None, agent: AgentProcess) -> Call:
    if base is None:
        client = jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="httpx")
        session = httpx.Client(transport=AgentTransport(client))
    else:
        session = httpx.Client(trust_env=False)

    def call(method: str, path: str, body: str | None, limit_s: float) -> Any:
        answer = session.request(method, (base or TRUE) + path, content=body, headers=HEADERS, timeout=limit_s)
        jar = sorted(session.cookies)
        session.cookies.clear()
        return (*shape(answer.status_code, answer.headers, answer.text), jar)

    return call


def by_httpx_async(base: str | None, agent: AgentProcess) -> Call:
    async def one(method: str, path: str, body: str | None, limit_s: float) -> Any:
        if base is None:
            client = jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="httpx-async")
            session = httpx.AsyncClient(transport=AsyncAgentTransport(client), timeout=limit_s)
        else:
            client, session = None, httpx.AsyncClient(timeout=limit_s, trust_env=False)
        try:
            answer = await session.request(method, (base or TRUE) + path, content=body, headers=HEADERS)
            return shape(answer.status_code, answer.headers, answer.text)
        finally:
            await session.aclose()
            if client is not None:
                await client.close()

    return lambda *call: asyncio.run(one(*call))


def by_aiohttp(base: str | None, agent: AgentProcess) -> Call:
    async def one(method: str, path: str, body: str | None, limit_s: float) -> Any:
        made = aiohttp.UnixConnector(path=str(http_sock(agent))) if base is None else None
        limit = aiohttp.ClientTimeout(total=limit_s)
        async with (
            aiohttp.ClientSession(connector=made, timeout=limit) as session,
            session.request(method, (base or TRUE) + path, data=body, headers=HEADERS) as answer,
        ):
            told = {name.lower(): value for name, value in answer.headers.items()}
            return shape(answer.status, told, await answer.text())

    return lambda *call: asyncio.run(one(*call))


LIBRARIES: dict[str, Callable[[str | None, AgentProcess], Call]] = {
    "requests": by_requests,
    "httpx": by_httpx,
    "httpx async": by_httpx_async,
    "aiohttp": by_aiohttp,
}
TIMEOUTS = (requests.Timeout, httpx.TimeoutException, TimeoutError)


def told(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except (requests.RequestException, httpx.HTTPError, aiohttp.ClientError, TimeoutError) as error:
        return type(error)


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_the_same_calls_give_the_same_results_directly_and_through_the_agent(
    sandbox: SandboxProcess, agent: AgentProcess, library: str
) -> None:
    """Statuses, bodies, headers and exceptions; an order nobody knows of is a time-out (over http.sock: a 504)."""
    made = LIBRARIES[library]
    rows = []
    for n, (name, (call, fault)) in enumerate(SITUATIONS.items()):
        cells = []
        for base in (sandbox.url, None):
            sandbox.admin.reset()
            release(agent)
            ask(agent.runtime_dir / agent.name / "control.sock", "reset")
            if fault is not None:
                sandbox.admin.fault(route=f"{call[0]} {call[1]}", **fault)
            limit_s = LIMIT_S if fault is not None and fault["kind"] == "stall" else PATIENT_S
            cells.append(told(made(base, agent), *request_of(call, n), limit_s))
        directly, through = cells
        same = directly == through
        rows.append((name, "same" if same else f"{directly} -> {through}"))
        if name in UNKNOWN:
            assert isinstance(directly, type), "directly the line just breaks"
            assert (isinstance(through, type) and issubclass(through, TIMEOUTS)) or through[0] == 504, name
        else:
            assert same, f"{library}, {name}: directly {directly}, through the agent {through}"
    print(f"\n{library}")
    for name, cell in rows:
        print(f"  {name:32} {cell}")


# ---------------------------------------------------------------- the refusal table


LATER = (requests.ConnectionError, httpx.ConnectError, aiohttp.ClientConnectionError)
NEVER = (requests.RequestException, httpx.LocalProtocolError, aiohttp.ClientError)
NOBODY_KNOWS = (requests.ReadTimeout, httpx.ReadTimeout, TimeoutError)
REFUSED = [
    ("breaker_open", "", LATER),
    ("rate_limited", "", LATER),
    ("mode", "", LATER),
    ("absent", "failed", LATER),
    ("equal_pending", "", NOBODY_KNOWS),
    ("duplicate", "", NEVER),
    ("upstream_not_allowed", "", NEVER),
    ("", "unknown", NOBODY_KNOWS),
]


@pytest.mark.parametrize(("reason", "outcome", "expected"), REFUSED)
def test_the_refusal_table_of_the_plain_http_libraries(
    reason: str, outcome: str, expected: tuple[type[Exception], ...]
) -> None:
    """What may work later, what never will, and what nobody knows: each library's own words, never mixed."""
    from jackstay.adapters import aiohttp as by_aio
    from jackstay.adapters import httpx as by_hx
    from jackstay.adapters import requests as by_req
    from jackstay.adapters.translation import kind_of

    error: errors.TradingBotError
    if outcome:
        error = errors.ExchangeError("x", reason=reason or None, outcome=errors.Outcome(outcome))
    else:
        error = errors.Refused("x", reason=reason, outcome=errors.Outcome.FAILED)
    kind = kind_of(error)
    assert (by_req._ERRORS[kind], by_hx._ERRORS[kind], type(by_aio._translated(error))) == expected


# ---------------------------------------------------------------- attach, and python-binance


def test_attach_knows_requests_and_httpx(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """One line, whatever was mounted; detach undoes it."""
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="attached") as client:
        session = requests.Session()
        before = set(session.__dict__)
        jackstay.attach(session, client)
        assert "serverTime" in session.get(f"{TRUE}/api/v3/time").json()
        jackstay.detach(session)
        assert set(session.__dict__) == before
        with httpx.Client() as plain:
            jackstay.attach(plain, client)
            assert "serverTime" in plain.get(f"{TRUE}/api/v3/time").json()
            jackstay.detach(plain)
            assert "_transport_for_url" not in plain.__dict__


def test_python_binance_trades(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """Unmodified: ping, an order, a question, a cancel, the library's own exception for the venue's no."""
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="python-binance") as client:
        binance = jackstay.attach(BinanceClient(KEY, SECRET, ping=False), client)
        assert binance.ping() == {}
        placed = binance.order_limit_buy(symbol="BTCUSDT", quantity="0.001", price="26000")
        assert binance.get_order(symbol="BTCUSDT", orderId=placed["orderId"])["status"] == "NEW"
        assert binance.cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])["status"] == "CANCELED"
        with pytest.raises(BinanceAPIException) as caught:
            binance.order_limit_buy(symbol="BTCUSDT", quantity="2000", price="26000")
        assert caught.value.code in (-2010, -1013)
        sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        with pytest.raises(requests.ReadTimeout):
            binance.order_limit_buy(symbol="BTCUSDT", quantity="0.001", price="26001")
        binance.close_connection()
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 3


def test_python_binance_async_trades_and_listens(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """AsyncClient for requests, BinanceSocketManager for streams, its reconnect after the venue drops the line."""

    async def run() -> tuple[str, str, list[str]]:
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="python-binance") as client:
            binance = jackstay.attach(BinanceAsyncClient(KEY, SECRET), client)
            placed = await binance.order_limit_buy(symbol="BTCUSDT", quantity="0.001", price="27000")
            gone = await binance.cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])
            sockets = jackstay.attach(BinanceSocketManager(binance), client)
            seen = []
            async with sockets.trade_socket("BTCUSDT") as stream:
                seen.append((await asyncio.wait_for(stream.recv(), 10))["e"])
            await binance.close_connection()
            return placed["status"], gone["status"], seen

    assert asyncio.run(run()) == ("NEW", "CANCELED", ["trade"])


def test_a_connector_by_agent_name(
    sandbox: SandboxProcess, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for an aiohttp bot: ClientSession(connector=connector())."""
    monkeypatch.setenv("JACKSTAY_RUNTIME_DIR", str(agent.runtime_dir))

    async def run() -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(connector=connector(agent=agent.name)) as session,
            session.get(f"{TRUE}/api/v3/time") as answer,
        ):
            told: dict[str, Any] = await answer.json()
            return told

    assert "serverTime" in asyncio.run(run())
