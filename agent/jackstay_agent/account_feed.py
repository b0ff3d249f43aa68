"""The account's own events for readers of feed.sock: the feed ``account``, a topic per venue (``account/binance``).

A bot reads its fills and order updates beside its prices, through the connection that the agent keeps up anyway
(`user_streams.py`), with no listen key and no login of its own. Each event goes on as the venue sent it, numbered; what
nobody heard while the stream was away is told as `Lagged` with -1 before the next one: the bot asks the venue then.

It is a copy for reading. What becomes of the bot's own orders is told on bot.sock, where nothing is dropped (DESIGN §3
rule 2); here a reader that is too slow loses the oldest and hears how many. There is no last value for a late joiner:
a fill of an hour ago is no present fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from jackstay_protocols.errors import Reason, ValidationError

from .feed_batches import Batch

ACCOUNT = "account"


class MarketFeeds(Protocol):
    """Every other feed (feeds.py)."""

    def check(self, feed: str, streams: Iterable[str]) -> list[str]: ...
    def demand(self, feed: str, streams: Iterable[str]) -> list[str]: ...
    def release(self, feed: str, streams: Iterable[str]) -> None: ...


class Readers(Protocol):
    """Those of feed.sock (gateway/feed_door.py)."""

    def publish(self, batches: list[Batch], *, keep_last: bool = True) -> None: ...
    def uncounted(self, topic: str) -> None: ...


class AccountFeed:
    """What feed.sock can be asked for: the market data feeds, and ``account``. Hears the user streams.

    ``venues()`` names those whose user stream is kept up; ``readers()`` is the door, built later.
    """

    def __init__(
        self, feeds: MarketFeeds, *, venues: Callable[[], Collection[str]], readers: Callable[[], Readers]
    ) -> None:
        self._feeds = feeds
        self._venues = venues
        self._readers = readers
        self._told: Counter[str] = Counter()  # topic -> events so far

    # ---- what the door asks

    def check(self, feed: str, streams: Iterable[str]) -> list[str]:
        """The streams a reader may ask for. Raises ValidationError, or what the market data feeds raise."""
        if feed != ACCOUNT:
            return self._feeds.check(feed, streams)
        wanted, venues = list(dict.fromkeys(streams)), self._venues()
        unknown = [venue for venue in wanted if venue not in venues]
        if unknown or not wanted:
            known = ", ".join(sorted(venues)) or "none"
            raise ValidationError(
                f"account events of {unknown or 'no venue'}: the topics are venues whose user stream this agent"
                f" keeps up (now: {known}); it needs the account's key in [venues.NAME.keys] and a profile that has"
                " [user_stream]",
                reason=Reason.UPSTREAM_NOT_ALLOWED,
            )
        return wanted

    def demand(self, feed: str, streams: Iterable[str]) -> list[str]:
        if feed != ACCOUNT:
            return self._feeds.demand(feed, streams)
        return [_topic(venue) for venue in self.check(feed, streams)]

    def release(self, feed: str, streams: Iterable[str]) -> None:
        """User streams are open whether somebody reads them or not: the agent itself does."""
        if feed != ACCOUNT:
            self._feeds.release(feed, streams)

    # ---- what the user streams tell (user_streams.StreamListener)

    def stream_message(self, venue: str, payload: bytes) -> None:
        topic = _topic(venue)
        self._told[topic] += 1
        self._readers().publish([(topic, self._told[topic], [payload])], keep_last=False)

    def stream_connected(self, venue: str, missed_s: float | None) -> None:
        if missed_s is not None:
            self._readers().uncounted(_topic(venue))

    def stream_lost(self, venue: str, why: str) -> None:
        """Readers of events hear ``user_stream.lost``; the gap itself is told when the stream is back."""


def _topic(venue: str) -> str:
    return f"{ACCOUNT}/{venue}"
