"""Step 3 and step 12 of a request's journey: frames in, validated calls out; answers and late news back.

It knows sessions, leases and frames. It does not know venues: a `Call` goes to the pipeline, which answers through
``call.reply``. Whatever a peer sends, it gets a typed refusal (where the transport lets one arrive) and nobody else
notices. Bounds: peers, requests in flight per peer, bytes waiting for a slow peer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jackstay_protocols import session as liveness
from jackstay_protocols.codec import Header, decode, encode
from jackstay_protocols.errors import Outcome, ProtocolError, Reason, ValidationError
from jackstay_protocols.limits import (
    BEAT_WITHIN_S_MAX,
    DEADLINE_S_DEFAULT,
    DEADLINE_S_MAX,
    PEERS_MAX,
    REQUESTS_IN_FLIGHT_PER_PEER_MAX,
    TO_AGENT_FRAME_BYTES_MAX,
    WIRE_VERSION,
    WIRE_VERSION_MIN,
)
from jackstay_protocols.messages import (
    TO_AGENT,
    Abandon,
    Ack,
    Beat,
    Done,
    Goodbye,
    Hello,
    Message,
    Post,
    Refusal,
    ReportError,
    ReportState,
    Request,
    StatusQuery,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from jackstay_protocols.session import BotSession, HelloVerdict, SilenceLease

from ..core.event_sink import EventSink
from ..redact import redact, redact_text
from ..telling import Telling
from .call import Call as Call
from .call import Peer as Peer
from .door import DoorLike, PeerCredentials, Sent
from .in_flight import InFlight
from .leaving import Leaving

WAITING_BYTES_PER_PEER_MAX = 8 * 1024 * 1024  # replies kept for a peer that does not read
DERISK_RESERVE_PER_PEER = 1024  # cancels in flight beyond the bound: a bot's own flood must not lock them out
RETRY_SLOW_S = 0.005
FORGET_BOT_S = 3600.0  # a bot that left is shown this long
FORGET_DEAD_S = 24 * 3600.0  # one that died without a goodbye


@dataclass(frozen=True, slots=True)
class BotDoorSettings:
    """Who may speak and what they are told in WELCOME."""

    agent: str
    agent_version: str
    pid: int
    boot_id: str
    beat_within_s: float
    allow_uids: frozenset[int]  # besides our own uid and root
    own_uid: int
    grade: Callable[[], str] = lambda: "carry"
    preset: Callable[[], str] = lambda: "observe"


class BotDoor(InFlight):
    """bot.sock: sessions and calls."""

    def __init__(
        self,
        settings: BotDoorSettings,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
        process_gone: Callable[[int], bool],
        make_token: Callable[[], str] = lambda: secrets.token_hex(16),
        take: Callable[[Call], None],
        status: Callable[[], dict[str, Any]],
        on_event: EventSink,
        urgent: Callable[[Request | Post], bool] = lambda _request: False,
        replay: Callable[[str], int] = lambda _bot_id: 0,
        ack: Callable[[str, list[str]], int] = lambda _bot_id, _names: 0,
        unheard: Callable[[str, str], None] = lambda _bot_id, _name: None,
        report_error: Callable[[str, ReportError], dict[str, Any]] = lambda _bot_id, _report: {},
        report_state: Callable[[str, str, dict[str, Any]], dict[str, Any]] | None = None,
        telling: Telling | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._call_later = call_later
        self._process_gone = process_gone
        self._make_token = make_token
        self._take = take
        self._status = status
        self._on_event = on_event
        self._urgent = urgent
        self._replay = replay
        self._ack = ack
        self._unheard = unheard
        self._report_error = report_error
        self._report_state = report_state
        self.telling = telling or Telling()
        self._door: DoorLike | None = None
        self._peers: dict[bytes, Peer] = {}
        self._primaries: dict[str, BotSession] = {}
        self._slow: dict[bytes, Peer] = {}
        self._slow_timer = False
        super().__init__()
        self._leaving = Leaving(self.send)
        self.draining = False
        self.counters = dict.fromkeys(
            ("refused_frames", "refused_expired", "replies_undeliverable", "replies_dropped_slow", "takeovers"), 0
        )
        self._handlers: dict[type[Message], Callable[[Peer, Header, Any], None]] = {
            Request: self._on_request,
            Post: self._on_request,
            Abandon: self._on_abandon,
            Beat: self._on_beat,
            Goodbye: self._on_goodbye,
            StatusQuery: self._on_status,
            Ack: self._on_ack,
            ReportError: self._on_report_error,
            ReportState: self._on_report_state,
            Subscribe: self._on_wrong_door,
            Unsubscribe: self._on_wrong_door,
        }

    # ------------------------------------------------------------ in

    def attach(self, door: DoorLike) -> None:
        self._door = door

    def adopt_settings(self, *, allow_uids: frozenset[int], beat_within_s: float) -> None:
        self._settings = replace(self._settings, allow_uids=allow_uids, beat_within_s=beat_within_s)

    def on_frame(self, identity: bytes, frame: bytes) -> None:
        try:
            header, message = decode(frame, TO_AGENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)
        except ProtocolError as error:
            self._refuse_frame(identity, error)
            return
        if isinstance(message, Hello):
            self._on_hello(identity, header, message)
            return
        peer = self._peers.get(identity)
        if peer is None:
            self._send_raw(
                identity,
                header.id,
                Refusal(Reason.UNKNOWN_PEER, "no hello on this socket since the agent started: say hello, then again"),
            )
            return
        peer.session.lease.heard(self._clock(), header.beat_ds / 10)
        handler = self._handlers.get(type(message))
        if handler is None:
            self._refuse(peer, header, Reason.UNKNOWN_KIND, f"{type(message).__name__} has no place on bot.sock")
            return
        handler(peer, header, message)

    def _refuse_frame(self, identity: bytes, error: ProtocolError) -> None:
        self.counters["refused_frames"] += 1
        self._on_event("frame.refused", {"reason": str(error.reason), "what": str(error)})
        refusal = Refusal(str(error.reason), str(error), None, Outcome.FAILED, error.details)
        self._send_raw(identity, int(error.details.get("id", 0)), refusal)

    def _on_hello(self, identity: bytes, header: Header, hello: Hello) -> None:
        credentials = self._door.credentials(identity) if self._door else None
        refusal = self._check_hello(hello, credentials)
        if refusal is not None:
            self._send_raw(identity, header.id, refusal)
            return
        now = self._clock()
        current = self._primaries.get(hello.bot_id) if hello.kind == "primary" else None
        gone = current is not None and self._process_gone(current.pid)
        decision = liveness.decide_hello(hello, current, now, current_process_gone=gone)
        if decision.verdict is HelloVerdict.REFUSE:
            self._send_raw(
                identity,
                header.id,
                Refusal(str(decision.reason), decision.message, decision.retry_after_s),
            )
            return
        if decision.verdict is HelloVerdict.JOIN and current is not None:
            session = current
            session.lease.heard(now, hello.beat_within_s)
            session.client_version = hello.client_version
        else:
            session = self._open_session(hello, now, current)
        session.seen_pid = -1 if credentials is None else credentials.pid
        self._peers[identity] = Peer(identity, session, credentials)
        session.peers.add(identity)
        self._send_raw(identity, header.id, self._welcome(session))
        if hello.direct:
            self._on_event("bot.went_direct", {"bot": hello.bot_id, "pid": hello.pid, "calls": hello.direct})
        if session.kind == "primary" and len(session.peers) == 1:
            self._replay(session.bot_id)  # what it has not acknowledged, also of an earlier life

    def _check_hello(self, hello: Hello, credentials: PeerCredentials | None) -> Refusal | None:
        settings = self._settings
        wrong = liveness.check_hello(hello)
        if wrong:
            return Refusal(Reason.BAD_REQUEST, f"hello refused: {wrong}")
        if not (hello.wire_min <= WIRE_VERSION and hello.wire_max >= WIRE_VERSION_MIN):
            return Refusal(
                Reason.VERSION,
                f"the client speaks wire versions {hello.wire_min} to {hello.wire_max}, this agent {WIRE_VERSION_MIN}"
                f" to {WIRE_VERSION}: install the same jackstay release on both sides",
            )
        if hello.boot_id and settings.boot_id and hello.boot_id != settings.boot_id:
            return Refusal(
                Reason.BAD_REQUEST,
                "the client runs under another kernel boot than the agent: deadlines cannot be compared;"
                " bot and agent have to share one host",
            )
        if (
            credentials is not None
            and credentials.uid not in (settings.own_uid, 0)
            and credentials.uid not in settings.allow_uids
        ):
            return Refusal(
                Reason.NOT_PERMITTED,
                f"uid {credentials.uid} may not use this agent: add it to [agent] allow_uids or run as the agent's uid",
            )
        if len(self._peers) >= PEERS_MAX:
            self._forget_gone_peers()
        if len(self._peers) >= PEERS_MAX:
            return Refusal(Reason.QUEUE_FULL, f"{PEERS_MAX} sockets are connected, that is the bound", 5.0)
        if self.draining:
            return Refusal(Reason.DRAINING, "the agent is stopping: connect again when it is back", 2.0)
        return None

    def _open_session(self, hello: Hello, now: float, replaced: BotSession | None) -> BotSession:
        lease = SilenceLease(liveness.clamp_beat_s(hello.beat_within_s, self._settings.beat_within_s), now)
        session = BotSession(
            bot_id=hello.bot_id,
            pid=hello.pid,
            kind=hello.kind,
            token=self._make_token(),
            lease=lease,
            client_version=hello.client_version,
            since=now,
        )
        if hello.kind == "primary":
            self._primaries[hello.bot_id] = session
        if replaced is not None:
            self.counters["takeovers"] += 1
            self._on_event("bot.takeover", {"bot": hello.bot_id, "old_pid": replaced.pid, "pid": hello.pid})
            for identity in list(replaced.peers):
                self._drop_peer(identity)
        else:
            self._on_event("bot.hello", {"bot": hello.bot_id, "kind": hello.kind, "pid": hello.pid})
        return session

    def _welcome(self, session: BotSession) -> Welcome:
        settings = self._settings
        return Welcome(
            agent=settings.agent,
            agent_version=settings.agent_version,
            session=session.token[:8],
            wire_version=WIRE_VERSION,
            resume=session.token,
            beat_within_s=session.lease.within_s,
            beat_within_s_max=BEAT_WITHIN_S_MAX,
            frame_bytes_max=TO_AGENT_FRAME_BYTES_MAX,
            grade=settings.grade(),
            preset=settings.preset(),
            agent_pid=settings.pid,
        )

    # ------------------------------------------------------------ handlers

    def _on_request(self, peer: Peer, header: Header, message: Request | Post) -> None:
        now = self._clock()
        now_us = int(now * 1e6)
        if header.when and header.when <= now_us:
            # DESIGN §3 rule 3: refused before the journal, whatever it is. A stopped agent wakes up to a pile of these.
            self.counters["refused_expired"] += 1
            late_s = (now_us - header.when) / 1e6
            self._turn_away(
                peer, header, message, Reason.EXPIRED, f"the deadline was over {late_s:.3f} s before the agent read it"
            )
            return
        if self.draining:
            self._turn_away(peer, header, message, Reason.DRAINING, "the agent is stopping", 2.0)
            return
        if peer.session.kind != "primary":
            self._turn_away(
                peer, header, message, Reason.NOT_PERMITTED, f"a {peer.session.kind} session sends no venue requests"
            )
            return
        if header.id == 0 or header.id in peer.in_flight:
            self._turn_away(
                peer, header, message, Reason.BAD_REQUEST, "request id 0 or already in flight; a fresh id is expected"
            )
            return
        over = len(peer.in_flight) - REQUESTS_IN_FLIGHT_PER_PEER_MAX
        if over >= 0 and (over >= DERISK_RESERVE_PER_PEER or not self._urgent(message)):
            self._turn_away(
                peer,
                header,
                message,
                Reason.QUEUE_FULL,
                f"{REQUESTS_IN_FLIGHT_PER_PEER_MAX} requests of this socket are in flight, that is the bound",
                0.1,
            )
            return
        left_s = (header.when - now_us) / 1e6 if header.when else DEADLINE_S_DEFAULT
        call = Call(self, peer, header.id, message, now, now + min(left_s, DEADLINE_S_MAX))
        peer.in_flight[header.id] = call
        self.took_off()
        self._take(call)

    def _turn_away(
        self,
        peer: Peer,
        header: Header,
        message: Request | Post,
        reason: Reason,
        why: str,
        retry_after_s: float | None = None,
    ) -> None:
        """A request that does not become a call."""
        self._refuse(peer, header, reason, why, retry_after_s)
        asked = self.telling.asked(message, None, peer.session.bot_id, header.id, self._clock())
        self.telling.refused(asked, Refusal(reason, why, retry_after_s))

    def _on_abandon(self, peer: Peer, header: Header, _message: Abandon) -> None:
        call = peer.in_flight.get(header.id)
        if call is not None:
            self._abandon(call)
        elif (name := peer.answered.pop(header.id, None)) is not None:
            self._unheard(peer.session.bot_id, name)  # the answer crossed the caller's leaving: it is late news

    def _abandon(self, call: Call) -> None:
        call.abandoned = True
        if call.cancel is not None:
            call.cancel()

    def _on_beat(self, peer: Peer, header: Header, beat: Beat) -> None:
        if beat.progress >= 0:
            peer.session.progress = beat.progress
            peer.session.progress_at = self._clock()
        if header.id:
            self.send(peer, encode(Done(), id=header.id))

    def _on_ack(self, peer: Peer, header: Header, ack: Ack) -> None:
        if self._leaving.confirmed(peer.identity, ack.ids):
            return
        taken = self._ack(peer.session.bot_id, ack.ids)
        if header.id:
            self.send(peer, encode(Done({"acknowledged": taken}), id=header.id))

    def _on_goodbye(self, peer: Peer, header: Header, goodbye: Goodbye) -> None:
        try:
            liveness.check_goodbye(goodbye)
        except ValidationError as error:
            self._refuse(peer, header, Reason.BAD_REQUEST, str(error))
            return
        session = peer.session
        if session.kind == "primary":
            session.goodbye = goodbye
            session.said_goodbye_at = self._clock()
            self._on_event(
                "bot.goodbye",
                {
                    "bot": session.bot_id,
                    "pid": session.pid,
                    "reason": goodbye.reason,
                    "orders": goodbye.orders,
                    "back_within_s": goodbye.back_within_s,
                },
            )
        if header.id:
            self.send(peer, encode(Done(), id=header.id))
        for identity in list(session.peers) if session.kind == "primary" else [peer.identity]:
            self._drop_peer(identity)

    def _on_status(self, peer: Peer, header: Header, _message: StatusQuery) -> None:
        self.send(peer, encode(Done(self._status()), id=header.id))

    def _on_report_error(self, peer: Peer, header: Header, report: ReportError) -> None:
        heard = self._report_error(peer.session.bot_id, report)
        self._on_event(
            "bot.error",
            {
                "bot": peer.session.bot_id,
                "component": report.component,
                "operation": report.operation,
                "error_type": report.error_type,
                # The bot's words: ccxt, for one, puts signed URLs into its messages.
                "message": redact_text(report.message, 500),
                "severity": heard.get("severity", report.severity),
                "causes": redact(report.details.get("causes", [])),
            },
        )
        if header.id:
            self.send(peer, encode(Done(heard), id=header.id))

    def _on_report_state(self, peer: Peer, header: Header, report: ReportState) -> None:
        if self._report_state is None or peer.session.kind != "primary":
            self._refuse(peer, header, Reason.NOT_PERMITTED, f"a {peer.session.kind} session reports no state here")
            return
        try:
            taken = self._report_state(peer.session.bot_id, report.component, report.state)
        except ValidationError as error:
            self._refuse(peer, header, Reason.BAD_REQUEST, str(error))
            return
        if header.id:
            self.send(peer, encode(Done(taken), id=header.id))

    def _on_wrong_door(self, peer: Peer, header: Header, message: Message) -> None:
        self._refuse(peer, header, Reason.UNKNOWN_KIND, f"{type(message).__name__} belongs on feed.sock")

    # ------------------------------------------------------------ out

    def send(self, peer: Peer, frame: bytes) -> None:
        """To a peer, in order. A peer that does not read gets a bounded backlog, then loses (counted)."""
        if peer.waiting:
            self._keep(peer, frame)
            return
        if self._door is None:
            return
        sent = self._door.send(peer.identity, frame)
        if sent is Sent.SLOW:
            self._keep(peer, frame)
        elif sent is Sent.GONE:
            self._peer_vanished(peer)

    def _keep(self, peer: Peer, frame: bytes) -> None:
        if peer.waiting_bytes + len(frame) > WAITING_BYTES_PER_PEER_MAX:
            self.counters["replies_dropped_slow"] += 1
            if self.counters["replies_dropped_slow"] % 1000 == 1:
                self._on_event("reply.dropped", {"bot": peer.session.bot_id, "pid": peer.session.pid})
            return
        peer.waiting.append(frame)
        peer.waiting_bytes += len(frame)
        self._slow[peer.identity] = peer
        if not self._slow_timer:
            self._slow_timer = True
            self._call_later(RETRY_SLOW_S, self._retry_slow)

    def _retry_slow(self) -> None:
        self._slow_timer = False
        for identity, peer in list(self._slow.items()):
            self._send_waiting(peer)
            if not peer.waiting:
                self._slow.pop(identity, None)
        if self._slow and not self._slow_timer:
            self._slow_timer = True
            self._call_later(RETRY_SLOW_S, self._retry_slow)

    def _send_waiting(self, peer: Peer) -> None:
        while peer.waiting and self._door is not None:
            sent = self._door.send(peer.identity, peer.waiting[0])
            if sent is Sent.SLOW:
                return
            if sent is Sent.GONE:
                self._peer_vanished(peer)
                return
            peer.waiting_bytes -= len(peer.waiting.popleft())

    def _send_raw(self, identity: bytes, request_id: int, message: Message) -> None:
        if self._door is not None:
            self._door.send(identity, encode(message, id=request_id))

    def _refuse(
        self, peer: Peer, header: Header, reason: Reason, message: str, retry_after_s: float | None = None
    ) -> None:
        if header.id:
            self.send(peer, encode(Refusal(reason, message, retry_after_s), id=header.id))

    # ------------------------------------------------------------ peers

    def _peer_vanished(self, peer: Peer) -> None:
        self.counters["replies_undeliverable"] += 1
        self._drop_peer(peer.identity)

    def _drop_peer(self, identity: bytes) -> None:
        peer = self._peers.pop(identity, None)
        if peer is None:
            return
        self._slow.pop(identity, None)
        self._leaving.gone(identity)
        peer.session.peers.discard(identity)
        peer.waiting.clear()
        peer.waiting_bytes = 0
        for call in list(peer.in_flight.values()):
            self._abandon(call)

    def _forget_gone_peers(self) -> None:
        for peer in list(self._peers.values()):
            if self._process_gone(peer.session.pid):
                self._drop_peer(peer.identity)

    def sweep(self) -> None:
        """Now and then: forget the sockets of processes that are gone, so that memory follows the living, and the names
        of bots that left long ago. One that died is remembered longer: its orders may still have to be cancelled.
        """
        self._forget_gone_peers()
        now = self._clock()
        for session in list(self._primaries.values()):
            left_at = session.said_goodbye_at if session.goodbye is not None else session.lease.heard_at
            keep_s = FORGET_BOT_S if session.goodbye is not None else FORGET_DEAD_S
            if now - left_at > keep_s and (session.goodbye is not None or self._process_gone(session.pid)):
                del self._primaries[session.bot_id]

    def primaries(self) -> list[BotSession]:
        """The session that speaks for each bot id."""
        return list(self._primaries.values())

    def adopt(self, sessions: list[BotSession]) -> None:
        """Bots that an earlier agent knew: they are expected to say hello again."""
        for session in sessions:
            session.token = secrets.token_hex(16)
            self._primaries.setdefault(session.bot_id, session)

    def tell(self, bot_id: str, message: Message) -> bool:
        """News for one bot, on any socket of its session; False while it has none."""
        session = self._primaries.get(bot_id)
        if session is None:
            return False
        frame = encode(message)
        for identity in list(session.peers):
            peer = self._peers.get(identity)
            if peer is not None:
                self.send(peer, frame)
                return identity in self._peers
        return False

    def excuse(self, seconds: float) -> None:
        """Time in which the agent itself did not run is never held against a bot (DESIGN §3 rule 13)."""
        now = self._clock()
        for session in self._primaries.values():
            liveness.excuse(session, seconds, now)

    def bots(self) -> list[dict[str, Any]]:
        """Primary sessions for status: id, pid, liveness, silence, lease, goodbye, requests in flight."""
        now = self._clock()
        return [
            {
                "bot": session.bot_id,
                "pid": session.pid,
                "state": str(session.liveness(now)),
                "silent_s": round(session.lease.silent_s(now), 3),
                "lease_s": session.lease.within_s,
                "sockets": len(session.peers),
                "in_flight": sum(
                    len(self._peers[identity].in_flight) for identity in session.peers if identity in self._peers
                ),
                "client_version": session.client_version,
                "goodbye": session.goodbye.reason if session.goodbye else None,
            }
            for session in self._primaries.values()
        ]

    def now(self) -> float:
        return self._clock()

    def leave(self) -> None:
        """Take nothing more, and say so (leaving.py)."""
        self.draining = True
        self._leaving.leave(list(self._peers.values()))

    def farewell(self, when_read: Callable[[], None]) -> None:
        self._leaving.farewell(list(self._peers.values()), when_read)
