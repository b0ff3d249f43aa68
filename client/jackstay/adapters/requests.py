"""requests: a transport adapter below `requests.Session`, so that everything above it stays the library's own.

Lost on the way, and said so: cookies of responses are not stored, bodies are buffered in both directions, and the
session's proxies, verify and cert mean nothing, because the agent dials. Redirects are followed by requests itself,
each hop through the agent.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from jackstay.answer import Response
from jackstay.client import Client
from jackstay_protocols.errors import TradingBotError

from .defaults import default_client
from .translation import Kind, deadline_s, decoded, end_to_end, kind_of, proves_nothing, unproven

_ERRORS: dict[Kind, type[requests.RequestException]] = {
    Kind.TIMEOUT: requests.ReadTimeout,
    Kind.CONNECTION: requests.ConnectionError,
    Kind.NOT_NOW: requests.ConnectionError,
    Kind.RATE: requests.ConnectionError,
    Kind.MAINTENANCE: requests.ConnectionError,
    Kind.SAME: requests.RequestException,
    Kind.TLS: requests.exceptions.SSLError,
    Kind.FINAL: requests.RequestException,
}


class AgentAdapter(BaseAdapter):
    """Carries prepared requests through the agent: ``session.mount("https://", AgentAdapter())``.

    ``client`` defaults to one `Client` per process. ``told`` may give an exception of the caller's own for a kind.
    """

    def __init__(
        self, client: Client | None = None, *, told: Callable[[Kind, TradingBotError], Exception | None] | None = None
    ) -> None:
        super().__init__()
        self._client = client
        self._told = told or (lambda _kind, _error: None)

    @property
    def client(self) -> Client:
        return self._client or default_client()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """One hop. Raises requests' own errors, with jackstay's as their cause."""
        try:
            answer = self.client.request(
                request.method or "GET",
                request.url,
                headers=end_to_end(_pairs(request.headers)),
                body=_body(request.body),
                deadline_s=deadline_s(timeout),
                patient=True,
            )
        except TradingBotError as error:
            kind = kind_of(error)
            raise self._told(kind, error) or _ERRORS[kind](error, request=request) from error
        if proves_nothing(answer):
            raise requests.ReadTimeout(
                unproven(answer),
                request=request,
            )
        return self._response(request, answer)

    def close(self) -> None:
        """A closed session can be used again, and so can this; the client is its owner's to close."""

    def _response(self, request: requests.PreparedRequest, answer: Response) -> requests.Response:
        response = requests.Response()
        response.status_code = answer.status
        response.reason = answer.reason
        response.url = request.url or ""
        response.request = request
        response.headers = CaseInsensitiveDict()
        for name, value in answer.headers:
            # several headers of one name become one, as urllib3 shows them
            known = response.headers.get(name)
            response.headers[name] = value if known is None else f"{known}, {value}"
        response.encoding = get_encoding_from_headers(response.headers)
        body = decoded(answer)
        response.raw = io.BytesIO(body)
        response.__dict__.update(_content=body, _content_consumed=True)  # all of it is here already
        response.connection = self  # type: ignore[assignment]
        return response


def attach(session: requests.Session, client: Client | None = None) -> None:
    """Route a session through the agent, whatever is mounted on it."""
    detach(session)
    adapter = AgentAdapter(client)
    session.__dict__["get_adapter"] = lambda url=None: adapter


def detach(session: requests.Session) -> None:
    session.__dict__.pop("get_adapter", None)


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in headers.items()]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _body(body: Any) -> bytes:
    if not body:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if hasattr(body, "read"):
        content = body.read()
        return content.encode() if isinstance(content, str) else bytes(content)
    return b"".join(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in body)
