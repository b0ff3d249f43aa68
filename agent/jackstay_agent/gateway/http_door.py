"""http.sock: plain HTTP/1.1 and WebSocket for clients that cannot speak ZeroMQ (DESIGN §4).

The Host header names the upstream and https is assumed; the request then takes the same journey as every other. It is
no open proxy: only hosts of venue profiles, of ``[upstreams]`` and of ``[http] allow_hosts`` are reached. On the unix
socket the kernel says who is there; the TCP port (only if configured) wants its token with every request.

A bot here has no lease: it is seen by its process, and named by its ``X-Jackstay-Bot`` header. Other headers of ours,
all optional and none of them forwarded: ``-Deadline`` (seconds), ``-Key`` (idempotency), ``-Sign: yes`` (the agent
signs), ``-Tag``, ``-Scheme: http``, ``-Token``. Where only URLs can be set, ``/fwd/https://HOST/PATH`` names the
upstream in the path (on TCP ``/fwd/TOKEN/https://…``).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from jackstay_protocols.errors import Outcome, Reason, ValidationError
from jackstay_protocols.limits import (
    BOT_ID_BYTES_MAX,
    DEADLINE_S_DEFAULT,
    DEADLINE_S_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
)
from jackstay_protocols.messages import Accepted, Goodbye, Refusal, Request, Response
from jackstay_protocols.session import BotSession, SilenceLease, check_goodbye, excuse

from ..core.event_sink import EventSink
from ..telling import Telling
from ..transport.endpoint import Endpoint
from .call import Call, Peer
from .http_answers import json_bytes, own_bytes, refusal_bytes, response_bytes
from .http_peer import HttpPeer, HttpRequest
from .http_relay import Guard, Relay
from .in_flight import InFlight

PEERS_MAX = 512
RELAYS_MAX = 256
BOTS_MAX = 256
IDLE_S_MAX = 120.0
FORGET_BOT_S = 3600.0
OWN_HOST = "jackstay"  # the agent's own pages
_PREFIX = b"x-jackstay-"

Listen = Callable[..., Awaitable[Any]]


class HttpCall(Call):
    """A request of http.sock, as the pipeline sees it: its answer is HTTP."""

    __slots__ = ("http", "http_door", "http_peer")

    def __init__(
        self,
        door: HttpDoor,
        peer: HttpPeer,
        http: HttpRequest,
        bot: BotSession,
        message: Request,
        arrived_at: float,
        deadline_at: float,
    ) -> None:
        super().__init__(door, Peer(b"", bot, peer.credentials), 0, message, arrived_at, deadline_at)
        self.http_door = door
        self.http_peer = peer
        self.http = http

    def deliver(self, answer: Response | Refusal | Accepted) -> None:
        if isinstance(answer, Response):
            self.http_door.told(self, answer)
        keep_alive, head = self.http.keep_alive and not self.http_door.draining, self.http.method == "HEAD"
        if isinstance(answer, Response):
            written = response_bytes(answer, keep_alive=keep_alive, head=head)
        elif isinstance(answer, Refusal):
            written = refusal_bytes(answer, keep_alive=keep_alive, head=head)
        else:
            raise TypeError(f"{type(answer).__name__} has no place on http.sock: requests here are never queued")
        self.http_peer.answered(written, keep_alive)


class HttpDoorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may speak, and what may be reached."""

    own_uid: int
    allow_uids: frozenset[int]
    hosts: frozenset[str]  # of profiles and [upstreams]
    allow_hosts: tuple[str, ...]  # patterns besides
    token: bytes = b""  # of the TCP port


class HttpDoor(InFlight):
    """http.sock, and the TCP port if there is one."""

    def __init__(
        self,
        settings: HttpDoorSettings,
        *,
        clock: Callable[[], float],
        process_gone: Callable[[int], bool],
        take: Callable[[Call], None],
        endpoint_for: Callable[[str], Endpoint],
        dial: Callable[[Endpoint, Callable[[], asyncio.Protocol]], Awaitable[Any]],
        guard_for: Callable[[HttpDoor, Relay, BotSession, str], Guard | None],
        telling: Telling,
        outcomes: Callable[[str], list[dict[str, Any]]],
        ack: Callable[[str, list[str]], int],
        on_event: EventSink,
    ) -> None:
        self.telling = telling
        self._settings = settings
        self._outcomes = outcomes
        self._ack = ack
        self._clock = clock
        self._process_gone = process_gone
        self._take = take
        self._endpoint_for = endpoint_for
        self._dial = dial
        self._guard_for = guard_for
        self._on_event = on_event
        self._servers: list[Any] = []
        self._path: Path | None = None
        self._peers: set[HttpPeer] = set()
        self._relays: set[Relay] = set()
        self._bots: dict[str, BotSession] = {}
        super().__init__()
        self.draining = False
        self.counters = dict.fromkeys(("requests", "refused", "upgrades", "broken", "relays_ended"), 0)

    # ------------------------------------------------------------ start and stop

    async def open(self, listen: Listen, path: Path, mode: int, address: tuple[str, int] | None) -> None:
        """Bind. Raises OSError."""
        self._servers.append(await listen(lambda: HttpPeer(self, tcp=False), path=path, mode=mode))
        self._path = path
        if address is not None:
            self._servers.append(await listen(lambda: HttpPeer(self, tcp=True), address=address))

    @staticmethod
    def clear(path: Path) -> None:
        """Before `open`: remove what a crash left; the lock says nobody owns it."""
        path.unlink(missing_ok=True)

    def permit(self, allow_uids: frozenset[int], allow_hosts: tuple[str, ...]) -> None:
        self._settings = msgspec.structs.replace(self._settings, allow_uids=allow_uids, allow_hosts=allow_hosts)

    def drain(self) -> None:
        """No new requests; WebSockets end now, those who use them dial again."""
        self.draining = True
        for relay in list(self._relays):
            relay.stop()

    def close(self) -> None:
        self.drain()
        for server in self._servers:
            server.close()
        for peer in list(self._peers):
            peer.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    # ------------------------------------------------------------ what connections tell

    def opened(self, peer: HttpPeer) -> bool:
        settings = self._settings
        if len(self._peers) >= PEERS_MAX:
            self.refused(peer, f"{PEERS_MAX} connections are open, that is the bound")
            return False
        who = peer.credentials
        if who is not None and who.uid not in (settings.own_uid, 0) and who.uid not in settings.allow_uids:
            self.refused(peer, f"uid {who.uid} may not use this agent")
            words = f"uid {who.uid} may not use this agent: add it to [agent] allow_uids or run as the agent's uid"
            peer.write(own_bytes(403, words, reason=str(Reason.NOT_PERMITTED), keep_alive=False))
            return False
        peer.heard_at = self._clock()
        self._peers.add(peer)
        return True

    def left(self, peer: HttpPeer) -> None:
        self._peers.discard(peer)
        call = peer.busy
        if isinstance(call, HttpCall) and not call.replied:
            call.abandoned = True
            if call.cancel is not None:
                call.cancel()

    def refused(self, peer: HttpPeer, what: str) -> None:
        self.counters["broken"] += 1
        self._on_event("http.refused", {"what": what, "pid": peer.credentials.pid if peer.credentials else 0})

    def take(self, peer: HttpPeer, request: HttpRequest) -> None:
        """One whole request: its upstream, then the journey."""
        now = self._clock()
        peer.heard_at = now
        self.counters["requests"] += 1
        try:
            given = _ours(request)
            url = self._url(peer, request, given)
            if url is None:
                self._own_page(peer, request, given)
                return
            bot = self._bot(peer, given, now)
            if self.draining:
                self._answer(peer, request, Refusal(Reason.DRAINING, "the agent is stopping", 2.0))
            elif request.upgrade:
                self._upgrade(peer, request, bot, url)
            else:
                self._request(peer, request, given, bot, url, now)
        except ValidationError as error:
            self._answer(peer, request, Refusal(str(error.reason or Reason.BAD_REQUEST), str(error), None))
        except Exception as error:  # a fault of ours must not look like a dead line
            self._on_event("request.broken", {"bot": "http", "error": f"{type(error).__name__}: {error}"})
            words = f"a fault of the agent: {type(error).__name__}; its log has the details"
            self._answer(peer, request, Refusal(Reason.INTERNAL, words))

    # ------------------------------------------------------------ requests

    def _request(
        self, peer: HttpPeer, request: HttpRequest, given: dict[str, str], bot: BotSession, url: str, now: float
    ) -> None:
        seconds = _seconds(given.get("deadline"))
        message = Request(
            request.method,
            url,
            [(name, value) for name, value in request.headers if not name.lower().startswith(_PREFIX)],
            request.body,
            idempotency_key=given.get("key", "")[:IDEMPOTENCY_KEY_BYTES_MAX],
            sign=given.get("sign", "").lower() in ("yes", "true", "1"),
            tag=given.get("tag", ""),
            patient=True,  # a library that knows no word of ours
        )
        call = HttpCall(self, peer, request, bot, message, now, now + seconds)
        peer.busy = call
        self.took_off()
        self._take(call)

    def now(self) -> float:
        return self._clock()

    def send(self, _peer: Peer, _frame: bytes) -> None:
        raise AssertionError("http.sock has no frames: its calls deliver their answers themselves")

    def told(self, call: Call, answer: Response) -> None:
        """A client here sends no ACK: an answer on its way over a live connection is one. An open outcome is kept."""
        if answer.intent and answer.outcome is not Outcome.UNKNOWN:
            self._ack(call.peer.session.bot_id, [answer.intent])

    def _answer(self, peer: HttpPeer, request: HttpRequest, refusal: Refusal) -> None:
        self.counters["refused"] += 1
        keep_alive = request.keep_alive and not request.upgrade and request.method != "CONNECT"
        peer.answered(refusal_bytes(refusal, keep_alive=keep_alive, head=request.method == "HEAD"), keep_alive)

    def _url(self, peer: HttpPeer, request: HttpRequest, given: dict[str, str]) -> str | None:
        """The upstream's URL; None for the agent's own pages. Raises ValidationError."""
        target = request.target
        token = given.get("token", "").encode()
        if request.method == "CONNECT":
            raise ValidationError(
                "CONNECT hides what is sent, so the agent could not protect it; send the plain request with the"
                " upstream's name in the Host header",
                reason=Reason.BAD_REQUEST,
            )
        if target.startswith("/fwd/"):
            target = target[5:]
            if peer.tcp and not token:
                shown, _, target = target.partition("/")
                token = shown.encode()
        if peer.tcp and not (self._settings.token and hmac.compare_digest(token, self._settings.token)):
            raise ValidationError(
                "this port wants the token of [http] token_file: X-Jackstay-Token, or /fwd/TOKEN/https://…",
                reason=Reason.NOT_PERMITTED,
            )
        if "://" not in target[:8]:
            host = request.get(b"host").decode("latin-1").strip()
            if not target.startswith("/") or not host:
                raise ValidationError(
                    "no upstream: a Host header that names it is expected, or /fwd/https://HOST/PATH",
                    reason=Reason.BAD_REQUEST,
                )
            if host.lower() == OWN_HOST:
                return None
            target = f"{'http' if given.get('scheme') == 'http' else 'https'}://{host}{target}"
        if request.upgrade:
            scheme, _, rest = target.partition("://")
            target = f"{ {'http': 'ws', 'https': 'wss'}.get(scheme, scheme) }://{rest}"
        self._check_host(self._endpoint_for(target).host)
        return target

    def _check_host(self, host: str) -> None:
        settings = self._settings
        if host in settings.hosts or any(fnmatchcase(host, pattern) for pattern in settings.allow_hosts):
            return
        self._on_event("http.host_refused", {"host": host[:200]})
        raise ValidationError(
            f"host {host} belongs to no venue profile and is not in [http] allow_hosts: this is no open proxy",
            reason=Reason.UPSTREAM_NOT_ALLOWED,
        )

    def _own_page(self, peer: HttpPeer, request: HttpRequest, given: dict[str, str]) -> None:
        """What the agent itself answers: a life sign, and the outcomes that no answer told."""
        page, _, query = request.target.partition("?")
        bot = self._bot(peer, given, self._clock())
        if (request.method, page) == ("POST", "/beat"):
            bot.lease.heard(self._clock(), _seconds(given.get("within"), 0.0))
            self._say(peer, request, {"bot": bot.bot_id, "lease_s": _finite(bot.lease.within_s)})
        elif (request.method, page) == ("POST", "/goodbye"):
            session_end = Goodbye("said over http.sock", dict(parse_qsl(query)).get("orders", "keep"))
            check_goodbye(session_end)
            bot.goodbye, bot.said_goodbye_at = session_end, self._clock()
            self._on_event("bot.goodbye", {"bot": bot.bot_id, "pid": bot.pid, "orders": session_end.orders})
            self._say(peer, request, {"bot": bot.bot_id, "orders": session_end.orders})
        elif (request.method, page) == ("GET", "/outcomes"):
            self._say(peer, request, {"bot": bot.bot_id, "outcomes": self._outcomes(bot.bot_id)})
        elif (request.method, page) == ("POST", "/ack"):
            ids = [each for _name, value in parse_qsl(query) for each in value.split(",")]
            self._say(peer, request, {"acknowledged": self._ack(bot.bot_id, ids)})
        else:
            known = "POST /beat, POST /goodbye, GET /outcomes, POST /ack?ids=…"
            words = f"no page {request.method} {page[:80]} here; known: {known}"
            told = own_bytes(404, words, reason=str(Reason.BAD_REQUEST), keep_alive=request.keep_alive)
            peer.answered(told, request.keep_alive)

    def _say(self, peer: HttpPeer, request: HttpRequest, document: dict[str, Any]) -> None:
        peer.answered(json_bytes(document, keep_alive=request.keep_alive), request.keep_alive)

    # ------------------------------------------------------------ websockets

    def _upgrade(self, peer: HttpPeer, request: HttpRequest, bot: BotSession, url: str) -> None:
        if len(self._relays) >= RELAYS_MAX:
            raise ValidationError(f"{RELAYS_MAX} WebSockets are open, that is the bound", reason=Reason.QUEUE_FULL)
        endpoint = self._endpoint_for(url)
        relay = Relay(peer, request, url, endpoint, on_end=self._relay_ended)
        guard = self._guard_for(self, relay, bot, url)
        if guard is not None:
            relay.watch(guard)
        self._relays.add(relay)
        self.counters["upgrades"] += 1
        self._on_event("http.upgrade", {"bot": bot.bot_id, "url": relay.place, "read": guard is not None})
        relay.start(lambda factory: self._dial(endpoint, factory))

    def _relay_ended(self, relay: Relay, why: str) -> None:
        self._relays.discard(relay)
        self.counters["relays_ended"] += 1
        self._on_event("http.websocket_ended", {"url": relay.place, "why": why})

    # ------------------------------------------------------------ bots

    def _bot(self, peer: HttpPeer, given: dict[str, str], now: float) -> BotSession:
        who = peer.credentials
        pid = who.pid if who else 0
        name = given.get("bot", "") or "http"
        if len(name.encode()) > BOT_ID_BYTES_MAX or not name.isprintable() or "/" in name:
            raise ValidationError("X-Jackstay-Bot: a short name without '/' is expected", reason=Reason.BAD_REQUEST)
        session = self._bots.get(name)
        if session is None or session.goodbye is not None:
            if len(self._bots) >= BOTS_MAX:
                raise ValidationError(f"{BOTS_MAX} bots use this door, that is the bound", reason=Reason.QUEUE_FULL)
            session = BotSession(name, pid, "http", "", SilenceLease(float("inf"), now), since=now)
            self._bots[name] = session
            self._on_event("bot.hello", {"bot": name, "kind": "http", "pid": pid})
        session.pid = pid or session.pid
        session.lease.heard_at = now
        return session

    def sweep(self) -> None:
        """Now and then: close what is idle, tell of bots whose process ended."""
        now = self._clock()
        for peer in list(self._peers):
            if peer.busy is None and peer.tunnel is None and now - peer.heard_at > IDLE_S_MAX:
                peer.close()
        for session in list(self._bots.values()):
            if session.goodbye is None and not _leased(session) and self._process_gone(session.pid):
                session.goodbye = Goodbye("its process ended")
                session.said_goodbye_at = now
                self._on_event("bot.gone", {"bot": session.bot_id, "pid": session.pid, "kind": "http"})
            elif session.goodbye is not None and now - session.said_goodbye_at > FORGET_BOT_S:
                del self._bots[session.bot_id]

    def beating(self) -> list[BotSession]:
        """Bots that gave themselves a lease: they are watched as those of bot.sock are."""
        return [session for session in self._bots.values() if _finite(session.lease.within_s) is not None]

    def excuse(self, seconds: float) -> None:
        """Time in which the agent itself did not run is never held against a bot (DESIGN §3 rule 13)."""
        now = self._clock()
        for session in self._bots.values():
            excuse(session, seconds, now)

    def status(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "connections": len(self._peers),
            "websockets": [
                {
                    "url": relay.place,
                    "read": relay.guard is not None,
                    "to_venue_bytes": relay.to_venue_bytes,
                    "to_client_bytes": relay.to_client_bytes,
                }
                for relay in self._relays
            ],
            "bots": [
                {
                    "bot": session.bot_id,
                    "pid": session.pid,
                    "state": str(session.liveness(now)) if _leased(session) else "watched by pid only",
                    "silent_s": round(session.lease.silent_s(now), 3),
                }
                for session in self._bots.values()
            ],
            "in_flight": self.in_flight(),
            **self.counters,
        }


def _ours(request: HttpRequest) -> dict[str, str]:
    """Headers that speak to the agent, by their short name."""
    return {
        name.lower()[len(_PREFIX) :].decode("ascii", "replace"): value.decode("latin-1").strip()
        for name, value in request.headers
        if name.lower().startswith(_PREFIX)
    }


def _leased(session: BotSession) -> bool:
    return session.goodbye is not None or _finite(session.lease.within_s) is not None


def _finite(seconds: float) -> float | None:
    return seconds if seconds != float("inf") else None


def _seconds(given: str | None, default: float = DEADLINE_S_DEFAULT) -> float:
    if given is None:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= DEADLINE_S_MAX:
        raise ValidationError(
            f"X-Jackstay-Deadline {given[:20]!r}; seconds above 0 and up to {DEADLINE_S_MAX:g} are expected",
            reason=Reason.BAD_REQUEST,
        )
    return seconds
