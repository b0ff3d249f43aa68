"""Binance's user data stream: what happened to an account's orders and balances, told to whoever subscribed.

Two ways in, as on the venue: a listen key (a stream name of 60 characters, valid for an hour unless kept alive) and
`userDataStream.subscribe.signature` on the WebSocket API, whose events come wrapped with a subscription id.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import orjson

from ..answers import Call
from ..engine.model import ZERO, Order, OrderChange
from ..streams import Listener, StreamHub
from ..venue import Venue
from . import binance_views as views
from .binance_errors import Refusal, mandatory

LISTEN_KEY_LENGTH = 60
LISTEN_KEY_TTL_MS = 3_600_000
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class UserStreams:
    """Listen keys and subscriptions of every account."""

    def __init__(self, venue: Venue, hub: StreamHub) -> None:
        self._venue = venue
        self._hub = hub
        self._chance = Random(f"listen-keys-{venue.seed}")
        self._keys: dict[str, tuple[str, int]] = {}
        self.listen_key_ttl_ms = LISTEN_KEY_TTL_MS
        self.sent = 0

    # listen keys -------------------------------------------------------------------------------------------------

    def start(self, account: str) -> str:
        """The account's listen key: a fresh one, or the valid one it has, renewed."""
        now = self._venue.clock()
        for key, (owner, until) in self._keys.items():
            if owner == account and until > now:
                self._keys[key] = (account, now + self.listen_key_ttl_ms)
                return key
        key = "".join(self._chance.choice(_LETTERS) for _ in range(LISTEN_KEY_LENGTH))
        self._keys[key] = (account, now + self.listen_key_ttl_ms)
        return key

    def keep(self, account: str, key: str) -> None:
        self._require(account, key)
        self._keys[key] = (account, self._venue.clock() + self.listen_key_ttl_ms)

    def close(self, account: str, key: str) -> None:
        self._require(account, key)
        del self._keys[key]

    def _require(self, account: str, key: str) -> None:
        owner, until = self._keys.get(key, ("", 0))
        if owner != account or until <= self._venue.clock():
            raise Refusal(-1125, "This listenKey does not exist.")

    def expire(self) -> None:
        """Called about once a second: tell listeners of dead keys that they are dead."""
        now = self._venue.clock()
        for key, (_, until) in list(self._keys.items()):
            if until <= now:
                self._hub.publish(key, {"e": "listenKeyExpired", "E": now, "listenKey": key})
                del self._keys[key]

    # subscriptions -----------------------------------------------------------------------------------------------

    def subscribe(self, account: str, listener: Listener) -> int:
        """Subscribe a WebSocket API connection; subscribing twice is one subscription."""
        stream = _private(account)
        if stream not in listener.subscriptions:
            listener.subscriptions[stream] = listener.next_subscription
            listener.next_subscription += 1
            self._hub.subscribe(listener, stream)
        return listener.subscriptions[stream]

    def unsubscribe(self, listener: Listener, number: int | None = None) -> None:
        """End one subscription of this connection, or all of them; each says so with its last event."""
        ended = {"e": "eventStreamTerminated", "E": self._venue.clock()}
        for stream, each in list(listener.subscriptions.items()):
            if number in (None, each):
                listener.send(listener.frame(stream, orjson.dumps(ended)))
                del listener.subscriptions[stream]
                self._hub.unsubscribe(listener, stream)

    # events ------------------------------------------------------------------------------------------------------

    def order_changed(self, change: OrderChange) -> None:
        if self._heard(change.order.account):
            self._tell(change.order.account, execution_report(change))

    def balances_changed(self, touched: set[tuple[str, str]]) -> None:
        """One account position per account, naming every asset that changed."""
        accounts: dict[str, list[str]] = defaultdict(list)
        for account, asset in sorted(touched):
            if not account.startswith("@") and self._heard(account):
                accounts[account].append(asset)
        now = self._venue.clock()
        for account, assets in accounts.items():
            balances = self._venue.exchange.wallets.assets(account)
            rows = [
                {"a": asset, "f": views.amount(balances[asset].free), "l": views.amount(balances[asset].locked)}
                for asset in assets
            ]
            self._tell(account, {"e": "outboundAccountPosition", "E": now, "u": now, "B": rows})

    def _heard(self, account: str) -> bool:
        return self._hub.wanted(_private(account)) or any(
            owner == account and self._hub.wanted(key) for key, (owner, _) in self._keys.items()
        )

    def _tell(self, account: str, message: dict[str, Any]) -> None:
        now = self._venue.clock()
        for key, (owner, until) in self._keys.items():
            if owner == account and until > now:
                self._hub.publish(key, message)
        self._hub.publish(_private(account), message)


def _private(account: str) -> str:
    """The stream name of an account's signature subscriptions; no client can ask for it by name (it has no `@`)."""
    return f"account:{account}"


def execution_report(change: OrderChange) -> dict[str, Any]:
    """Binance's executionReport (user-data-stream.md)."""
    order, fill = change.order, change.fill
    last, price = (fill.quantity, fill.price) if fill else (ZERO, ZERO)
    return {
        "e": "executionReport", "E": change.at, "s": order.symbol, "c": _shown_id(change), "S": order.side,
        "o": order.type, "f": order.tif, "q": views.amount(order.quantity), "p": views.amount(order.price),
        "P": views.amount(order.stop_price), "F": views.amount(ZERO), "g": order.list_id,
        "C": order.client_id if change.kind == "CANCELED" else "", "x": change.kind, "X": change.status, "r": "NONE",
        "i": order.id, "l": views.amount(last), "z": views.amount(change.filled), "L": views.amount(price),
        "n": views.amount(fill.fee) if fill else "0", "N": fill.fee_asset if fill else None, "T": change.at,
        "t": fill.trade_id if fill else -1, "I": order.id * 2, "w": _on_book(order, change.status),
        "m": bool(fill and fill.is_maker), "M": False, "O": order.created_at, "Z": views.amount(change.cost),
        "Y": views.amount(last * price), "Q": views.amount(order.quote_quantity), "W": order.working_at,
        "V": order.stp,
    }  # fmt: skip


def _shown_id(change: OrderChange) -> str:
    """A cancel has a client id of its own; the order's moves to `C`."""
    return f"cancel{change.order.id:016d}" if change.kind == "CANCELED" else change.order.client_id


def _on_book(order: Order, status: str) -> bool:
    return order.working and status in ("NEW", "PARTIALLY_FILLED")


def start(users: UserStreams, call: Call) -> dict[str, Any]:
    return {"listenKey": users.start(call.account)}


def keep(users: UserStreams, call: Call) -> dict[str, Any]:
    users.keep(call.account, _key_of(users, call))
    return {}


def keep_or_renew(users: UserStreams, call: Call) -> dict[str, Any]:
    """USDⓈ-M keeps the account's one key alive without being told which."""
    return {"listenKey": users.start(call.account)}


def close(users: UserStreams, call: Call) -> dict[str, Any]:
    users.close(call.account, _key_of(users, call))
    return {}


def _key_of(users: UserStreams, call: Call) -> str:
    key = call.params.get("listenKey", "")
    if not key and call.path == "/fapi/v1/listenKey":
        return users.start(call.account)
    if not key:
        raise mandatory("listenKey")
    return key
