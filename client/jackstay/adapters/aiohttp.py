"""aiohttp: a stand-in for the parts of `aiohttp.ClientSession` that ccxt's async exchanges use.

It answers as aiohttp does — default headers, redirects, header dictionary, text decoding, exceptions — and nothing
more: no cookies, no streaming. The URL's text is passed on unchanged and bodies are never re-encoded, because
signatures cover both. WebSockets go through the agent's http.sock, as real connections of aiohttp's own.

A bot that uses aiohttp itself needs no stand-in: ``aiohttp.ClientSession(connector=connector())`` keeps everything the
library can do, cookies and streams included, and speaks HTTP to http.sock.
"""

from __future__ import annotations

import codecs
import json
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from jackstay.aio import AsyncClient
from jackstay.answer import Response
from jackstay_protocols.errors import TradingBotError

from .defaults import bot_name, http_socket
from .translation import Kind, deadline_s, decoded, end_to_end, kind_of, proves_nothing, unproven

REDIRECTS_MAX = 10  # aiohttp's own default
_REDIRECTS = (301, 302, 303, 307, 308)


class AgentResponse:
    """What callers read of an `aiohttp.ClientResponse`, with the body already here."""

    def __init__(self, method: str, url: URL, answer: Response, body: bytes) -> None:
        self.method = method
        self.url = self.real_url = url
        self.status = answer.status
        self.reason = answer.reason
        self.headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict(answer.headers))
        self.content = aiohttp.EMPTY_PAYLOAD  # a stream that was read to its end, as after `text()`
        self.cookies: dict[str, str] = {}
        self.history: tuple[Any, ...] = ()
        self._body = body

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip()

    @property
    def charset(self) -> str | None:
        for parameter in self.headers.get("Content-Type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("'\"")
        return None

    def get_encoding(self) -> str:
        """The body's charset by its Content-Type if Python knows it, else UTF-8."""
        try:
            return codecs.lookup(self.charset or "utf-8").name
        except LookupError:
            return "utf-8"

    async def read(self) -> bytes:
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        return self._body.decode(encoding or self.get_encoding(), errors)

    async def json(
        self, *, encoding: str | None = None, loads: Callable[[str], Any] = json.loads, content_type: Any = None
    ) -> Any:
        stripped = self._body.strip()
        return loads(stripped.decode(encoding or self.get_encoding())) if stripped else None

    def raise_for_status(self) -> None:
        if not self.ok:
            raise aiohttp.ClientResponseError(
                None,  # type: ignore[arg-type]
                (),
                status=self.status,
                message=self.reason,
                headers=self.headers,
            )

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def __aenter__(self) -> AgentResponse:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _Exchange:
    """``async with session.get(...)`` and ``await session.get(...)``, as aiohttp allows both."""

    __slots__ = ("_response",)

    def __init__(self, response: Awaitable[AgentResponse]) -> None:
        self._response = response

    def __await__(self) -> Generator[Any, None, AgentResponse]:
        return self._response.__await__()

    async def __aenter__(self) -> AgentResponse:
        return await self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class AgentSession:
    """The stand-in. ``client`` gives the `AsyncClient` of the running loop."""

    closed = False

    def __init__(
        self,
        client: Callable[[], AsyncClient],
        *,
        told: Callable[[Kind, TradingBotError], Exception | None] | None = None,
    ) -> None:
        self._client = client
        self._told = told or (lambda _kind, _error: None)
        self._sockets: WeakKeyDictionary[AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.cookie_jar = aiohttp.DummyCookieJar

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        data: Any = None,
        json: Any = None,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        allow_redirects: bool = True,
        max_redirects: int = REDIRECTS_MAX,
        **ignored: Any,
    ) -> _Exchange:
        """As `aiohttp.ClientSession.request`; ``proxy``, ``ssl`` and the like mean nothing: the agent dials."""
        target = url if isinstance(url, URL) else URL(url)
        if params:
            target = target.update_query(params)
        hops = max_redirects if allow_redirects else 0
        return _Exchange(
            self._go(method.upper(), target, data, json, {**self.headers, **(headers or {})}, timeout, hops)
        )

    def get(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("GET", url, **options)

    def post(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("POST", url, **options)

    def put(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("PUT", url, **options)

    def patch(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("PATCH", url, **options)

    def delete(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("DELETE", url, **options)

    def head(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def options(self, url: str | URL, **options: Any) -> _Exchange:
        return self.request("OPTIONS", url, **options)

    def ws_connect(self, url: str | URL, **options: Any) -> Any:
        """As `aiohttp.ClientSession.ws_connect`, over http.sock: its frames, pings and closes are the venue's."""
        client = self._client()
        headers = {**(options.pop("headers", None) or {}), "X-Jackstay-Bot": bot_name(client)}
        for meaningless in ("proxy", "proxy_auth", "ssl", "verify_ssl", "ssl_context"):
            options.pop(meaningless, None)
        return self._socket_session(client).ws_connect(url, headers=headers, **options)

    def _socket_session(self, client: AsyncClient) -> aiohttp.ClientSession:
        loop = get_running_loop()
        session = self._sockets.get(loop)
        if session is None or session.closed:
            session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(http_socket(client))))
            self._sockets[loop] = session
        return session

    async def close(self) -> None:
        """Its WebSockets end; otherwise the session is the agent's and stays usable."""
        session = self._sockets.pop(get_running_loop(), None)
        if session is not None:
            await session.close()

    async def __aenter__(self) -> AgentSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def _go(
        self,
        method: str,
        url: URL,
        data: Any,
        json_value: Any,
        headers: Mapping[str, str] | None,
        timeout: Any,
        hops: int,
    ) -> AgentResponse:
        body, content_type = await _payload(data, json_value)
        pairs = _with_defaults(headers, content_type if body else None)
        limit_s = deadline_s(getattr(timeout, "total", timeout))
        followed = 0
        while True:
            response = await self._hop(method, url, pairs, body, limit_s)
            location = response.headers.get("Location") or response.headers.get("URI")
            if not hops or response.status not in _REDIRECTS or location is None:
                return response
            followed += 1
            if followed >= hops:
                raise aiohttp.TooManyRedirects(None, (), message=f"{followed} redirects")  # type: ignore[arg-type]
            if (response.status == 303 and method != "HEAD") or (response.status in (301, 302) and method == "POST"):
                method, body = "GET", b""
            target = _redirected(url, location)
            if target.origin() != url.origin():
                pairs = [(name, value) for name, value in pairs if name.lower() != "authorization"]
            url = target

    async def _hop(
        self, method: str, url: URL, pairs: list[tuple[str, str]], body: bytes, limit_s: float
    ) -> AgentResponse:
        try:
            answer = await self._client().request(
                method, str(url), headers=pairs, body=body, deadline_s=limit_s, patient=True
            )
        except TradingBotError as error:
            raise self._told(kind_of(error), error) or _translated(error) from error
        if proves_nothing(answer):
            raise TimeoutError(unproven(answer))
        return AgentResponse(method, url, answer, decoded(answer))


def connector(client: AsyncClient | None = None, *, agent: str | None = None) -> aiohttp.UnixConnector:
    """A connector to http.sock for a stock `aiohttp.ClientSession`; call it inside the running loop.

    Of ``client``'s agent, or of ``agent``, or of the only one there is. Raises AgentGone when none can be found.
    What the agent refuses comes as a status code there (docs/CLIENT.md, http.sock).
    """
    return aiohttp.UnixConnector(path=str(http_socket(client, agent=agent)))


def _translated(error: TradingBotError) -> Exception:
    kind = kind_of(error)
    if kind is Kind.TIMEOUT:
        return TimeoutError(str(error))
    if kind in (Kind.FINAL, Kind.SAME):
        return aiohttp.ClientError(str(error))
    return aiohttp.ClientConnectionError(str(error))


def _redirected(url: URL, location: str) -> URL:
    try:
        target = URL(location)
        target = target if target.absolute else url.join(target)
        target.origin()
    except ValueError as error:
        raise aiohttp.InvalidURL(location, "the server redirects to something that is no URL") from error
    if target.scheme not in ("http", "https"):
        raise aiohttp.NonHttpUrlRedirectClientError(location)
    return target


def _with_defaults(headers: Mapping[str, str] | None, content_type: str | None) -> list[tuple[str, str]]:
    """The caller's pairs and what aiohttp adds where they are silent: a firewall should see no difference."""
    pairs = end_to_end((str(name), str(value)) for name, value in (headers or {}).items())
    named = {name.lower() for name, _ in pairs}
    defaults = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": SERVER_SOFTWARE}
    if content_type is not None:
        defaults["Content-Type"] = content_type
    pairs.extend((name, value) for name, value in defaults.items() if name.lower() not in named)
    return pairs


async def _payload(data: Any, json_value: Any) -> tuple[bytes, str]:
    """Bytes as they are, text as UTF-8; forms are written out by aiohttp's own code."""
    if json_value is not None:
        return json.dumps(json_value).encode(), "application/json"
    if data is None:
        return b"", "application/octet-stream"
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), "application/octet-stream"
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    form = data if isinstance(data, aiohttp.FormData) else aiohttp.FormData(data)
    payload = form()
    sink = _Sink()
    await payload.write(sink)  # type: ignore[arg-type]
    return bytes(sink.written), payload.headers.get("Content-Type", "application/octet-stream")


class _Sink:
    """Collects what a payload writes."""

    def __init__(self) -> None:
        self.written = bytearray()

    async def write(self, chunk: bytes) -> None:
        self.written += chunk
