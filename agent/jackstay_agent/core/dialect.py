"""How a venue's market data socket is asked and how its messages name their topic.

A dialect is data: templates for asking, the fields that name a topic, and the openings of messages that are no market
data. Reading a topic is a scan of the first bytes, never a JSON parse: this is the hot path (DESIGN §2, at its end).
It refuses to know prices, books or sequence rules.

Topics are words of our own users: checked once (printable ASCII, no quotes or backslashes), so a template can never be
broken by one.

Sources, as stored in 2026 (exchanges.md 3.4): Binance spot web-socket-streams, Bybit v5 ws/connect, OKX v5 websocket,
Kraken v2 websocket. Facts about venues age; `template` lets an operator write his own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jackstay_protocols.errors import Reason, ValidationError
from jackstay_protocols.limits import TOPIC_BYTES_MAX

SCAN_BYTES_MAX = 512  # a topic stands at the start of a message; looking further costs and finds lies
_PART = re.compile(r"\$(\d|topic)")
_TOPIC = re.compile(r"[!#-\[\]-~]+\Z")  # printable ASCII without space, quote and backslash


@dataclass(frozen=True, slots=True)
class Dialect:
    """``item`` is one topic inside ``subscribe``'s $items: $topic the whole, $1, $2 its parts split at ':'.

    ``topic_fields``: values of these JSON keys, joined by ':', are the topic. ``unwrap``: deliver the object behind
    ``"data":`` instead of the wrapper. ``control``: openings of messages that are no market data (acknowledgements,
    heartbeats); they do not feed the data clock. ``errors``: words in a control message that mean "refused".
    """

    name: str
    subscribe: str = ""
    unsubscribe: str = ""
    item: str = '"$topic"'
    items_max: int = 100
    topic_fields: tuple[str, ...] = ()
    unwrap: bool = False
    control: tuple[str, ...] = ()
    errors: tuple[str, ...] = ('"error"',)
    heartbeat: str = ""
    notices: tuple[str, ...] = ()  # words that announce the socket's end
    snapshot_on_subscribe: bool = False  # a book's subscription begins with the whole book
    one_topic: bool = False  # the socket is one topic; nothing is asked
    _keys: tuple[bytes, ...] = field(init=False, default=())
    _control: tuple[bytes, ...] = field(init=False, default=())
    _errors: tuple[bytes, ...] = field(init=False, default=())
    _notices: tuple[bytes, ...] = field(init=False, default=())
    _head: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        keys = tuple(b'"%s":"' % name.encode() for name in self.topic_fields)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_control", tuple(text.encode() for text in self.control))
        object.__setattr__(self, "_errors", tuple(text.encode() for text in self.errors))
        object.__setattr__(self, "_notices", tuple(text.encode() for text in self.notices))
        object.__setattr__(self, "_head", b"{" + keys[0] if keys else b"")

    def topic_of(self, payload: bytes) -> bytes | None:
        """The topic a message belongs to, or None when it names none."""
        keys = self._keys
        if len(keys) == 1:
            head = self._head
            if payload.startswith(head):  # the usual case: the topic is the first field
                start = len(head)
            elif self.is_control(payload):
                return None
            else:
                start = payload.find(keys[0], 0, SCAN_BYTES_MAX)
                if start < 0:
                    return None
                start += len(keys[0])
            end = payload.find(b'"', start, start + TOPIC_BYTES_MAX)
            return payload[start:end] if end > 0 else None
        return self._joined(payload) if keys and not self.is_control(payload) else None

    def _joined(self, payload: bytes) -> bytes | None:
        parts = []
        for key in self._keys:
            start = payload.find(key, 0, SCAN_BYTES_MAX)
            if start < 0:
                return None
            start += len(key)
            end = payload.find(b'"', start, start + TOPIC_BYTES_MAX)
            if end < 0:
                return None
            parts.append(payload[start:end])
        return b":".join(parts)

    @property
    def head(self) -> bytes:
        """How a message of a single-field dialect usually opens, up to the topic; empty for others."""
        return self._head if len(self._keys) == 1 else b""

    def is_control(self, payload: bytes) -> bool:
        return payload.startswith(self._control) if self._control else False

    def is_error(self, payload: bytes) -> bool:
        """Does a control message say no?"""
        head = payload[:SCAN_BYTES_MAX]
        return any(word in head for word in self._errors)

    def is_notice(self, payload: bytes) -> bool:
        """Does the venue announce that it will end this socket?"""
        head = payload[:SCAN_BYTES_MAX]
        return any(word in head for word in self._notices)

    def asks(self, topics: Sequence[str], ids: Iterable[int], *, leave: bool = False) -> list[tuple[int, str]]:
        """(id, message) pairs that subscribe, or with ``leave`` unsubscribe, ``topics``; at most items_max each."""
        template = self.unsubscribe if leave else self.subscribe
        if not template:
            return []
        source = iter(ids)
        messages = []
        for start in range(0, len(topics), self.items_max):
            group = topics[start : start + self.items_max]
            number = next(source)
            items = ",".join(_fill(self.item, topic) for topic in group)
            text = _fill(template, group[0]) if self.items_max == 1 else template
            messages.append((number, text.replace("$items", items).replace("$id", str(number))))
        return messages


def _fill(template: str, topic: str) -> str:
    parts = topic.split(":")

    def value(match: re.Match[str]) -> str:
        which = match.group(1)
        if which == "topic":
            return topic
        at = int(which) - 1
        return parts[at] if 0 <= at < len(parts) else ""

    return _PART.sub(value, template)


def check_topic(topic: str) -> str:
    """The topic itself, or ValidationError saying what a topic looks like."""
    if not topic or len(topic) > TOPIC_BYTES_MAX or not _TOPIC.match(topic):
        raise ValidationError(
            f"topic {topic[:64]!r}; 1 to {TOPIC_BYTES_MAX} printable ASCII characters without space, quote or"
            " backslash are expected, e.g. 'btcusdt@trade'",
            reason=Reason.BAD_REQUEST,
        )
    return topic


DIALECTS: dict[str, Dialect] = {
    "raw": Dialect("raw", one_topic=True),
    "binance": Dialect(
        "binance",
        subscribe='{"method":"SUBSCRIBE","params":[$items],"id":$id}',
        unsubscribe='{"method":"UNSUBSCRIBE","params":[$items],"id":$id}',
        topic_fields=("stream",),
        unwrap=True,
        control=('{"result":', '{"error":', '{"id":', '{"code":'),
        errors=('"error"', '"code"'),
        notices=('"e":"serverShutdown"',),
    ),
    "bybit": Dialect(
        "bybit",
        subscribe='{"op":"subscribe","args":[$items],"req_id":"$id"}',
        unsubscribe='{"op":"unsubscribe","args":[$items],"req_id":"$id"}',
        items_max=10,  # spot takes ten topics in one message
        topic_fields=("topic",),
        control=('{"success":', '{"op":', '{"ret_msg":', '{"req_id":'),
        errors=('"success":false',),
        snapshot_on_subscribe=True,
        heartbeat='{"op":"ping"}',
    ),
    "okx": Dialect(
        "okx",
        subscribe='{"op":"subscribe","args":[$items]}',
        unsubscribe='{"op":"unsubscribe","args":[$items]}',
        item='{"channel":"$1","instId":"$2"}',
        topic_fields=("channel", "instId"),
        control=("pong", '{"event":'),
        errors=('"event":"error"',),
        snapshot_on_subscribe=True,
        notices=('"event":"notice"', '"code":"64008"'),
        heartbeat="ping",
    ),
    "kraken": Dialect(
        "kraken",
        subscribe='{"method":"subscribe","params":{"channel":"$1","symbol":["$2"]},"req_id":$id}',
        unsubscribe='{"method":"unsubscribe","params":{"channel":"$1","symbol":["$2"]},"req_id":$id}',
        items_max=1,
        topic_fields=("channel", "symbol"),
        control=('{"method":', '{"channel":"heartbeat"', '{"channel":"status"', '{"error":'),
        errors=('"success":false', '"error"'),
        snapshot_on_subscribe=True,
        heartbeat='{"method":"ping"}',
    ),
}
