"""``[feeds.NAME]``: what an operator says about one market data feed, checked before anything is dialled.

Each default stands beside its reason. The words a venue speaks are in `core/dialect.py`; facts about venues age.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

from jackstay_protocols.errors import ValidationError

from .core.book import RULES, SequenceRule
from .core.dialect import DIALECTS, Dialect
from .core.feed_rules import SocketRules
from .core.heartbeat import HeartbeatRules
from .core.redial import RedialRules
from .transport.ws_url import check_headers, parse_stream_url

ROTATION_SPREAD = 0.1


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[feeds.NAME]`` table. Times in seconds; 0 turns a rule off."""

    url: str  # ws, wss; http, https: a long-lived answer, one message a line, $topics in it for what is wanted
    topics_join: str = ","  # between the topics in the URL
    dialect: str = "raw"  # binance | bybit | okx | kraken | raw | template
    headers: dict[str, str] = {}

    # dialect = "template": how to ask, and which fields name the topic (see core/dialect.py)
    subscribe: str = ""
    unsubscribe: str = ""
    item: str = '"$topic"'
    topics_per_message: int = 0  # 0: the dialect's own
    topic_fields: list[str] = []
    control: list[str] = []  # openings of messages that are no market data
    notices: list[str] = []  # words in a message that announce the socket's end: it is replaced ahead

    sequence: str = "auto"  # rule for order books' own numbers (core/book.py); auto: the dialect's; "": off

    venue: str = ""  # the venue it belongs to, for [hours], besides its own name and the URL's host

    # A book whose numbers jump is wrong until its reader has a snapshot. Venues that send one with a subscription are
    # asked by subscribing anew; for others it is fetched here and comes as the topic's next message, as it is.
    snapshot: str = ""  # https URL with $SYMBOL (or $symbol): the topic's part before '@' or ':'

    connect_timeout_s: float = 10.0
    ping_interval_s: float = 15.0  # below Binance's 20 s server rhythm, so a half-open line is found first
    pong_timeout_s: float = 10.0
    heartbeat: str = ""  # application heartbeat text; "": the dialect's own
    heartbeat_interval_s: float = 20.0  # Bybit asks for 20 s, OKX cuts after 30 s
    silence_s: float = 0.0  # no data on the whole socket for this long: it is replaced
    cadence_factor: float = 10.0  # the same, learned: this many times the longest gap lately seen
    cadence_min_s: float = 10.0  # and never sooner than this
    first_message_s: float = 30.0  # a subscription that delivers nothing moves; doubles for quiet symbols
    lifetime_s: float = 23 * 3600.0  # Binance ends a socket at 24 h; replaced before, spread over the last tenth
    settle_s: float = 2.0  # how long old and new socket overlap for a topic that is quiet meanwhile
    redundant: bool = False  # every topic on two sockets; one's death loses nothing, at twice the connections

    backoff_min_s: float = 0.25
    backoff_max_s: float = 30.0
    healthy_s: float = 10.0  # a connection up for this long is redialled at once, and resets the backoff
    closed_dial_s: float = 60.0  # about this long between dials outside trading hours
    dials_max: int = 60  # per dial_window_s, over all sockets of the feed; Binance allows 300 per 5 min and IP
    dial_window_s: float = 300.0

    subscribes_per_s: float = 4.0  # Binance spot cuts at 5 incoming messages a second, pongs included
    streams_max: int = 200  # topics on one socket; Binance allows 1024
    sockets_max: int = 16
    topics_max: int = 4096
    linger_s: float = 5.0  # how long a topic stays subscribed without a reader
    message_bytes_max: int = 8 * 1024 * 1024

    def check(self, name: str) -> None:
        """Raises ValidationError naming the key that is wrong."""
        for key, look in (
            ("url", lambda: parse_stream_url(self.url)),
            ("headers", lambda: check_headers(self.headers)),
        ):
            try:
                look()
            except ValidationError as error:
                raise ValidationError(f"feeds.{name}.{key}: {error}", reason=error.reason) from None
        if self.snapshot and not self.snapshot.startswith(("http://", "https://")):
            raise ValidationError(f"feeds.{name}.snapshot is {self.snapshot!r}; an http or https URL is expected")
        if self.dialect != "template" and self.dialect not in DIALECTS:
            known = ", ".join([*DIALECTS, "template"])
            raise ValidationError(f"feeds.{name}.dialect is {self.dialect!r}; one of {known} is expected")
        if self.dialect == "template" and not (self.topic_fields and (self.subscribe or self.topics_in_url)):
            raise ValidationError(f"feeds.{name}: dialect 'template' needs 'subscribe' and 'topic_fields'")
        if self.is_http and self.dialect != "raw" and not self.topics_in_url:
            raise ValidationError(
                f"feeds.{name}.url: an HTTP stream is not asked by messages; put $topics into it, or use dialect 'raw'"
            )
        if self.topics_in_url and not self.is_http:
            raise ValidationError(f"feeds.{name}.url: $topics is for http and https; a WebSocket is asked by messages")
        if self.sequence not in ("", "auto") and self.sequence not in RULES:
            raise ValidationError(
                f"feeds.{name}.sequence is {self.sequence!r}; one of auto, {', '.join(RULES)} or nothing is expected"
            )
        for key in ("streams_max", "sockets_max", "topics_max", "message_bytes_max"):
            if getattr(self, key) < 1:
                raise ValidationError(f"feeds.{name}.{key} is {getattr(self, key)}; 1 or more is expected")
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if isinstance(value, float | int) and (not math.isfinite(value) or value < 0):
                raise ValidationError(f"feeds.{name}.{key} is {value}; 0 or a finite number above it is expected")
        if self.connect_timeout_s == 0 or self.backoff_max_s < self.backoff_min_s:
            raise ValidationError(
                f"feeds.{name}: connect_timeout_s above 0 and backoff_max_s of at least backoff_min_s are expected"
            )

    @property
    def is_http(self) -> bool:
        """A long-lived HTTP answer instead of a WebSocket."""
        return self.url.startswith(("http://", "https://"))

    @property
    def topics_in_url(self) -> bool:
        return "$topics" in self.url

    def url_for(self, topics: Iterable[str]) -> str:
        """What is dialled to get these topics."""
        return (
            self.url.replace("$topics", quote(self.topics_join.join(topics), safe=""))
            if self.topics_in_url
            else self.url
        )

    def snapshot_for(self, stream: str) -> str:
        """Where a topic's snapshot is fetched."""
        symbol = re.split("[@:]", stream)[0]
        return self.snapshot.replace("$SYMBOL", quote(symbol.upper())).replace("$symbol", quote(symbol.lower()))

    def names(self) -> set[str]:
        """What ``[hours]`` may call this feed's venue."""
        return {name for name in (self.venue, parse_stream_url(self.url).host) if name}

    def made_dialect(self) -> Dialect:
        """The dialect with this table's own words in it."""
        if self.dialect == "template":
            return Dialect(
                "template",
                subscribe=self.subscribe,
                unsubscribe=self.unsubscribe,
                item=self.item,
                items_max=self.topics_per_message or 100,
                topic_fields=tuple(self.topic_fields),
                control=tuple(self.control),
                notices=tuple(self.notices),
            )
        base = DIALECTS[self.dialect]
        return Dialect(
            base.name,
            subscribe=base.subscribe,
            unsubscribe=base.unsubscribe,
            item=base.item,
            items_max=self.topics_per_message or base.items_max,
            topic_fields=base.topic_fields,
            unwrap=base.unwrap,
            control=base.control + tuple(self.control),
            errors=base.errors,
            heartbeat=self.heartbeat or base.heartbeat,
            one_topic=base.one_topic,
            notices=base.notices + tuple(self.notices),
            snapshot_on_subscribe=base.snapshot_on_subscribe,
        )

    def sequence_rule(self) -> SequenceRule | None:
        """The rule for order books' numbers, where there is one."""
        return RULES.get(self.dialect if self.sequence == "auto" else self.sequence)

    def rules(self, dialect: Dialect, chance: float) -> SocketRules:
        """One socket's rules; ``chance`` (0 to 1) spreads the ends of sockets that began together."""
        text = self.heartbeat or dialect.heartbeat
        beats = HeartbeatRules(
            silence_s=self.silence_s,
            heartbeat_interval_s=self.heartbeat_interval_s if text else 0.0,
            lifetime_s=self.lifetime_s * (1.0 - ROTATION_SPREAD * chance),
            cadence_factor=self.cadence_factor,
            cadence_min_s=self.cadence_min_s,
        )
        redial = RedialRules(min_s=self.backoff_min_s, max_s=self.backoff_max_s, healthy_s=self.healthy_s)
        return SocketRules(
            beats,
            redial,
            self.first_message_s,
            self.subscribes_per_s,
            text,
            closed_dial_s=self.closed_dial_s,
            ping_interval_s=self.ping_interval_s,
            topics_in_url=self.topics_in_url,
        )
