"""Leads an unmodified ccxt exchange object to another address below its HTTP layer: the true URL stays in ccxt's hands.

Only the host, the port and the scheme change on the way out; path, query, headers and body travel as ccxt made them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

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


class _RedirectedSession:
    """Stands before an aiohttp session and dials one origin whatever it is asked for, WebSockets included."""

    def __init__(self, session: aiohttp.ClientSession, origin: yarl.URL) -> None:
        self._session, self._origin = session, origin

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._session, name)
        if name not in ("get", "post", "put", "delete", "patch", "head", "options", "ws_connect"):
            return attribute

        def led(url: Any, **options: Any) -> Any:
            asked = yarl.URL(url, encoded=True) if isinstance(url, str) else url
            options["headers"] = {"Host": asked.host, **(options.get("headers") or {})}
            return attribute(self._lead(asked, stream=name == "ws_connect"), **options)

        return led

    def _lead(self, asked: yarl.URL, *, stream: bool) -> yarl.URL:
        secure = self._origin.scheme == "https"
        return yarl.URL.build(
            scheme=("wss" if secure else "ws") if stream else self._origin.scheme,
            host=self._origin.host or "",
            port=self._origin.port,
            path=asked.raw_path,
            query_string=asked.raw_query_string,
            encoded=True,
        )


def redirect_async(exchange: Any, url: str) -> Any:
    """Lead an asynchronous ccxt (or ccxt.pro) exchange to `url`; call inside a running loop, returns the exchange."""
    exchange.session = _RedirectedSession(aiohttp.ClientSession(trust_env=False), yarl.URL(url))
    exchange.open()
    return exchange
