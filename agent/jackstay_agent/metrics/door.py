"""The agent's pages for machines: /metrics, /ready and /live, on a loopback address or a unix socket.

Read only, without a password, so nothing secret and nothing of a request is on them. A browser that was led here by a
foreign page (DNS rebinding) names a foreign host and gets nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..core.event_sink import EventSink
from ..gateway.http_peer import HttpPeer, HttpRequest

PEERS_MAX = 16  # a Prometheus, its twin, a probe or two, and somebody with curl
IDLE_S = 120.0  # longer than common scrape intervals, so that a scraper keeps its connection
TEXT = "text/plain; charset=utf-8"
WORDS = {200: "OK", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}
WORDS[503] = "Service Unavailable"


class MetricsDoor:
    """``scrape(accept)`` makes (content type, the page in slices, one a turn of the loop); ``reasons()`` is why the
    agent is not ready.
    """

    def __init__(
        self,
        *,
        scrape: Callable[[str], tuple[str, Iterator[bytes]]],
        reasons: Callable[[], list[str]],
        call_soon: Callable[..., Any],
        call_later: Callable[..., Any],
        on_event: EventSink,
    ) -> None:
        self._scrape = scrape
        self._reasons = reasons
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_event = on_event
        self._server: Any = None
        self._path: Path | None = None
        self._peers: dict[HttpPeer, Any] = {}  # and the timer that ends it

    async def open(
        self,
        listen: Callable[..., Awaitable[Any]],
        *,
        path: Path | None = None,
        mode: int = 0o600,
        address: tuple[str, int] | None = None,
    ) -> None:
        """Bind. Raises OSError."""
        if path is None:
            self._server = await listen(lambda: HttpPeer(self, tcp=True), address=address)
            return
        _clear(path)
        self._server = await listen(lambda: HttpPeer(self, tcp=False), path=path, mode=mode)
        self._path = path

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    # ------------------------------------------------------------ a connection's handler (gateway/http_peer.py)

    def opened(self, peer: HttpPeer) -> bool:
        if len(self._peers) >= PEERS_MAX:
            return False
        self._peers[peer] = self._call_later(IDLE_S, peer.close)
        return True

    def left(self, peer: HttpPeer) -> None:
        timer = self._peers.pop(peer, None)
        if timer is not None:
            timer.cancel()

    def refused(self, _peer: HttpPeer, _what: str) -> None:
        """No HTTP; it was told so."""

    def take(self, peer: HttpPeer, request: HttpRequest) -> None:
        timer = self._peers.get(peer)
        if timer is not None:
            timer.cancel()
            self._peers[peer] = self._call_later(IDLE_S, peer.close)
        try:
            if request.target.partition("?")[0] == "/metrics" and not _refused(peer, request):
                content_type, slices = self._scrape(request.get(b"accept").decode("latin-1"))
                self._render(peer, request, content_type, slices, [])
            else:
                self._answer(peer, request, *self._page(peer, request))
        except Exception as error:
            self._broken(peer, request, error)

    def _render(
        self, peer: HttpPeer, request: HttpRequest, content_type: str, slices: Iterator[bytes], made: list[bytes]
    ) -> None:
        """The next slice, and the rest after everybody else had a turn."""
        try:
            made.append(next(slices))
        except StopIteration:
            self._answer(peer, request, 200, content_type, b"".join(made))
        except Exception as error:
            self._broken(peer, request, error)
        else:
            if not peer.closed:
                self._call_soon(self._render, peer, request, content_type, slices, made)

    def _broken(self, peer: HttpPeer, request: HttpRequest, error: Exception) -> None:
        """A fault of ours must not look like a dead agent."""
        self._on_event("metrics.broken", {"error": f"{type(error).__name__}: {error}"[:200]})
        words = f"a fault of the agent: {type(error).__name__}; its log has the details\n"
        self._answer(peer, request, 500, TEXT, words.encode())

    def _answer(self, peer: HttpPeer, request: HttpRequest, status: int, content_type: str, body: bytes) -> None:
        keep_alive = request.keep_alive and not request.upgrade
        head = (
            f"HTTP/1.1 {status} {WORDS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\nConnection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        ).encode("latin-1")
        peer.answered(head if request.method == "HEAD" else head + body, keep_alive)

    def _page(self, peer: HttpPeer, request: HttpRequest) -> tuple[int, str, bytes]:
        if refusal := _refused(peer, request):
            return refusal
        path = request.target.partition("?")[0]
        if path == "/ready":
            why = self._reasons()
            return (503 if why else 200), TEXT, ("\n".join(why or ["ready"]) + "\n").encode()
        if path == "/live":
            return 200, TEXT, b"alive\n"
        return 404, TEXT, b"pages: /metrics /ready /live\n"


def _refused(peer: HttpPeer, request: HttpRequest) -> tuple[int, str, bytes] | None:
    if peer.tcp and not _is_local(request.get(b"host").decode("latin-1")):
        return 403, TEXT, b"this page is for this machine: ask for it as localhost or 127.0.0.1\n"
    if request.method not in ("GET", "HEAD"):
        return 405, TEXT, b"GET is expected\n"
    return None


def _clear(path: Path) -> None:
    """Remove what a crash left. A path of the operator's may be another agent's as well, and asyncio would take it from
    who listens there: raises OSError.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # somebody listens, and is busy
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine; none is what HTTP/1.0 sends."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    if name.lower() in ("", "localhost"):
        return True
    try:
        return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
