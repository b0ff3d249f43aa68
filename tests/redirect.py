"""Leads an unmodified ccxt exchange object to another address below its HTTP layer: the true URL stays in ccxt's hands.

Only the host, the port and the scheme change on the way out; path, query, headers and body travel as ccxt made them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import aiohttp
import requests
import yarl
from requests.adapters import HTTPAdapter


class _Redirected(HTTPAdapter):
    """Sends every request to one origin; the response still names the URL that was asked for."""

    def __init__(self, origin: str) -> None:
        self._origin = urlsplit(origin)
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        asked = request.url or ""
        parts = urlsplit(asked)
        request.headers.setdefault("Host", parts.netloc)
        request.url = urlunsplit((self._origin.scheme, self._origin.netloc, parts.path, parts.query, ""))
        try:
            response = super().send(request, *args, **options)
        finally:
            request.url = asked
        response.url = asked
        return response


def redirect_sync(exchange: Any, url: str) -> Any:
    """Lead a synchronous ccxt exchange to `url`; returns it."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _Redirected(url))
    session.mount("http://", _Redirected(url))
    exchange.session = session
    return exchange


class _RedirectedSession(aiohttp.ClientSession):
    """An aiohttp session that dials one origin whatever it is asked for, WebSockets included."""

    origin_of: WeakKeyDictionary[aiohttp.ClientSession, yarl.URL] = WeakKeyDictionary()

    async def _request(self, method: str, str_or_url: Any, **options: Any) -> aiohttp.ClientResponse:
        asked, origin = yarl.URL(str_or_url, encoded=True), self.origin_of[self]
        led = yarl.URL.build(
            scheme=origin.scheme,
            host=origin.host or "",
            port=origin.port,
            path=asked.raw_path,
            query_string=asked.raw_query_string,
            encoded=True,
        )
        options["headers"] = {"Host": asked.host, **(options.get("headers") or {})}
        return await super()._request(method, led, **options)


def redirect_async(exchange: Any, url: str) -> Any:
    """Lead an asynchronous ccxt (or ccxt.pro) exchange to `url`; call inside a running loop, returns the exchange."""
    session = _RedirectedSession(trust_env=False)
    _RedirectedSession.origin_of[session] = yarl.URL(url)
    exchange.session = session
    exchange.open()
    return exchange
