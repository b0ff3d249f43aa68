"""What an operator asks about and does to connections and feeds: `connections` and `feeds` on control.sock.

Three kinds of connections have one list: HTTP pools by their origin, feeds' sockets by their label, user streams by
their venue. Looking changes nothing. `rotate` replaces one make before break, so that nobody notices; `drain` lets a
pool finish what is under way and closes what it has. Both are events with the operator's uid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_protocols.errors import ValidationError

from .feeds import FeedManager
from .gateway.door import PeerCredentials
from .order_desk import Verb, name_of
from .upstreams import Upstreams
from .user_streams import UserStreams

USER = "user/"


class ConnectionDesk:
    """Verbs by name for the control door."""

    def __init__(
        self,
        upstreams: Upstreams,
        feeds: FeedManager,
        streams: UserStreams,
        *,
        readers: Callable[[], dict[str, Any]],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._upstreams = upstreams
        self._feeds = feeds
        self._streams = streams
        self._readers = readers
        self._on_event = on_event

    def verbs(self) -> dict[str, Verb]:
        return {
            "connections.list": self._list,
            "connections.show": self._show,
            "connections.rotate": self._rotate,
            "connections.drain": self._drain,
            "feeds.list": self._list_feeds,
            "feeds.show": self._show_feed,
        }

    # ---- looking

    def _list(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        rows = [_pool_row(origin, each["pool"]) for origin, each in self._upstreams.status().items()]
        for feed in self._feeds.status().values():
            rows += [_socket_row(each) for each in feed["sockets"]]
        rows += [_stream_row(venue, each) for venue, each in self._streams.status().items()]
        return {"connections": rows}

    def _show(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        name = _name(args, "id")
        for origin, each in self._upstreams.status().items():
            if origin == name:
                lines = [upstream.pool.care.lines() for upstream in self._upstreams if upstream.origin == name]
                return {"id": name, "kind": "http", **each["pool"], "connections": lines[0]}
        for feed in self._feeds.status().values():
            for socket in feed["sockets"]:
                if socket["socket"] == name:
                    return {"id": name, "kind": "feed", **socket}
        for venue, stream in self._streams.status().items():
            if USER + venue == name:
                return {"id": name, "kind": "user stream", **stream}
        raise self._unknown(name)

    def _list_feeds(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        rows = []
        for name, feed in self._feeds.status().items():
            states = [each["state"] for each in feed["sockets"]]
            rows.append(
                {
                    "feed": name,
                    "url": feed["url"],
                    "dialect": feed["dialect"],
                    "topics": len(feed["topics"]),
                    "readers": sum(each["readers"] for each in feed["topics"].values()),
                    "sockets": len(states),
                    "live": states.count("live"),
                    "messages": sum(each["seq"] for each in feed["topics"].values()),
                    "gaps": sum(each["gaps"] for each in feed["topics"].values()),
                    "rotated": feed["rotated"],
                    "last_error": next((each["last_error"] for each in feed["sockets"] if each["last_error"]), ""),
                }
            )
        return {"feeds": rows, **{key: self._readers()[key] for key in ("readers", "dropped")}}

    def _show_feed(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        name = _name(args, "feed")
        found = self._feeds.status().get(name)
        if found is None:
            known = ", ".join(self._feeds.names()) or "none"
            raise ValidationError(f"no feed {name[:80]!r}; known: {known}")
        return dict(found)

    # ---- doing

    def _rotate(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        name = _name(args, "id")
        count = self._rotated(name)
        self._on_event("operator.connection_rotated", {"connection": name, "count": count, "by": name_of(who)})
        return {"id": name, "count": count}

    def _rotated(self, name: str) -> int:
        for upstream in self._upstreams:
            if upstream.origin == name:
                return upstream.pool.care.drain()
        if name.startswith(USER):
            if self._streams.replace(name.removeprefix(USER), "an operator asked"):
                return 1
            raise self._unknown(name)
        if self._feeds.rotate(name):
            return 1
        raise self._unknown(name)

    def _drain(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        name = _name(args, "id")
        for upstream in self._upstreams:
            if upstream.origin == name:
                count = upstream.pool.drain()
                self._on_event("operator.connection_drained", {"connection": name, "count": count, "by": name_of(who)})
                return {"id": name, "count": count}
        self._show(args, who)  # an unknown name is told as such
        raise ValidationError(f"{name} carries what somebody listens to; rotate it, or let its readers leave")

    def _unknown(self, name: str) -> ValidationError:
        known = [each["id"] for each in self._list({}, None)["connections"]]
        return ValidationError(f"no connection {name[:80]!r}; known: {', '.join(known[:20]) or 'none yet'}")


def _pool_row(origin: str, pool: dict[str, Any]) -> dict[str, Any]:
    up = pool["live"] > 0
    return {
        "id": origin,
        "kind": "http",
        "state": "up" if up else "down" if pool["last_error"] else "idle",
        "detail": f"{pool['live']} open, {pool['busy']} busy, {pool['waiting']} waiting",
        "latency_ms": pool["latency_ewma_ms"],
        "loss": pool["loss"],
        "quality": pool["quality"],
        "reconnects": max(0, pool["dials"] - pool["dial_failures"] - 1),
        "last_error": pool["last_error"],
    }


def _socket_row(socket: dict[str, Any]) -> dict[str, Any]:
    age_s = socket["data_age_s"]
    return {
        "id": socket["socket"],
        "kind": "feed",
        "state": socket["state"],
        "detail": f"{socket['topics']} topics" + (f", data {age_s:.1f} s ago" if age_s is not None else ""),
        "latency_ms": socket["latency_ms"],
        "loss": socket["loss"],
        "quality": socket["quality"],
        "reconnects": max(0, socket["connects"] - 1),
        "last_error": socket["last_error"],
    }


def _stream_row(venue: str, stream: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": USER + venue,
        "kind": "user stream",
        "state": stream["state"],
        "detail": f"{stream['events']} events",
        "latency_ms": stream["latency_ms"],
        "loss": None,
        "quality": None,
        "reconnects": max(0, stream["connects"] - 1),
        "last_error": stream["last_error"],
    }


def _name(args: dict[str, Any], key: str) -> str:
    found = args.get(key)
    if not isinstance(found, str) or not found:
        raise ValidationError(f"{key} is missing; the listings show what there is")
    return found
