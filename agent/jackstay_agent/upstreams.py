"""Where a request goes: URL or venue+path -> origin, its profile, its pool (DESIGN §3 rule 11: a bulkhead each).

An origin (scheme, host, port) is met once, then found by one dictionary look-up. ``[upstreams]`` may route a host
elsewhere: the bot's URLs, the Host header and everything keyed by host stay true, only the dialled address differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from jackstay_protocols.errors import Lane, Reason, ValidationError
from jackstay_protocols.limits import URL_BYTES_MAX
from jackstay_protocols.messages import Post, Request

from .judgement import Judgement
from .transport.endpoint import Endpoint
from .transport.http import HttpPool
from .venues.profile import GENERIC, Profile, Route


class Upstream:
    """One origin with everything that belongs to it alone."""

    __slots__ = ("endpoint", "host", "judgement", "origin", "pool", "profile")

    def __init__(self, origin: str, endpoint: Endpoint, profile: Profile, pool: HttpPool, judgement: Judgement) -> None:
        self.origin = origin
        self.host = endpoint.host
        self.endpoint = endpoint
        self.profile = profile
        self.pool = pool
        self.judgement = judgement


class Way(NamedTuple):
    """One request's way: its upstream, the target as it goes on the request line, what the profile says of it."""

    upstream: Upstream
    target: bytes
    path: str
    route: Route


class Upstreams:
    """All origins met so far."""

    def __init__(
        self,
        *,
        profiles: Mapping[str, Profile],
        allow_hosts: list[str],
        upstreams_max: int,
        make_endpoint: Callable[[str], Endpoint],
        make_pool: Callable[[Endpoint, Profile], HttpPool],
        make_judgement: Callable[[str, str, Profile], Judgement],
    ) -> None:
        self._profiles = profiles
        self._by_host = {host: profile for profile in profiles.values() for host in profile.hosts}
        self._allow_hosts = allow_hosts
        self._upstreams_max = upstreams_max
        self._make_endpoint = make_endpoint
        self._make_pool = make_pool
        self._make_judgement = make_judgement
        self._met: dict[str, Upstream] = {}

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._met.values())

    def met(self, origin: str) -> Upstream | None:
        """An origin that was used before."""
        return self._met.get(origin)

    def way(self, method: str, target: str, venue: str) -> Way:
        """Raises ValidationError (BAD_REQUEST, UPSTREAM_NOT_ALLOWED) before anything is dialled."""
        if len(target) > URL_BYTES_MAX:
            raise ValidationError(
                f"a url of {len(target)} characters; {URL_BYTES_MAX} at most are taken", reason=Reason.TOO_LARGE
            )
        if venue:
            target = self._venue_base(venue, target) + target
        scheme_end = target.find("://")
        if scheme_end < 0:
            raise ValidationError(
                f"url {_shown(target)} has no scheme; https://host/path, or venue= with path=, is expected",
                reason=Reason.BAD_REQUEST,
            )
        slash = target.find("/", scheme_end + 3)
        origin, rest = (target, "/") if slash < 0 else (target[:slash], target[slash:])
        if slash < 0 and "?" in origin:
            origin, _, query = origin.partition("?")
            rest = "/?" + query
        upstream = self._met.get(origin)
        if upstream is None:
            upstream = self._meet(origin)
        hash_at = rest.find("#")
        if hash_at >= 0:
            rest = rest[:hash_at]
        try:
            line = rest.encode("ascii")
        except UnicodeEncodeError as error:
            raise ValidationError(
                f"url path {_shown(rest)} is not plain ASCII; a percent-encoded url is expected (it is never re-encoded"
                " here, signatures cover its bytes)",
                reason=Reason.BAD_REQUEST,
            ) from error
        question = rest.find("?")
        path = rest if question < 0 else rest[:question]
        return Way(upstream, line, path, upstream.profile.route(method, path))

    def is_derisk(self, request: Request | Post) -> bool:
        """Whether the profile puts it into the de-risking lane."""
        try:
            return self.way(request.method, request.target, request.venue).route.lane is Lane.DERISK
        except ValidationError:
            return False

    def meet(self, origin: str) -> Upstream:
        """The upstream of an origin, before anything is asked of it. Raises ValidationError."""
        return self._met.get(origin) or self._meet(origin)

    def _venue_base(self, venue: str, path: str) -> str:
        profile = self._profiles.get(venue)
        if profile is None or not profile.base_url:
            known = ", ".join(sorted(name for name, each in self._profiles.items() if each.base_url))
            raise ValidationError(f"unknown venue {venue!r}; known: {known}", reason=Reason.BAD_REQUEST)
        if not path.startswith("/"):
            raise ValidationError(
                f"path {_shown(path)} of venue {venue} does not start with '/'",
                reason=Reason.BAD_REQUEST,
            )
        return profile.base_url

    def _meet(self, origin: str) -> Upstream:
        endpoint = self._make_endpoint(origin)  # ValidationError on a bad url
        if not any(fnmatchcase(endpoint.host, pattern) for pattern in self._allow_hosts):
            raise ValidationError(
                f"host {endpoint.host} is not among [agent] allow_hosts ({', '.join(self._allow_hosts)})",
                reason=Reason.UPSTREAM_NOT_ALLOWED,
            )
        if len(self._met) >= self._upstreams_max:
            raise ValidationError(
                f"{self._upstreams_max} different upstreams are in use, that is [agent] upstreams_max",
                reason=Reason.QUEUE_FULL,
            )
        profile = self._by_host.get(endpoint.host, GENERIC)
        upstream = Upstream(
            origin,
            endpoint,
            profile,
            self._make_pool(endpoint, profile),
            self._make_judgement(origin, endpoint.host, profile),
        )
        self._met[origin] = upstream
        return upstream

    def venue_of(self, host: str) -> str:
        """The name of a host's profile, or the host."""
        profile = self._by_host.get(host)
        return host if profile is None else profile.name

    def allow(self, hosts: list[str]) -> None:
        """Where new requests may go from now on."""
        self._allow_hosts = hosts

    def status(self) -> dict[str, Any]:
        return {
            origin: {
                "profile": upstream.profile.name,
                "pool": upstream.pool.status(),
                **upstream.judgement.status(),
            }
            for origin, upstream in self._met.items()
        }


def _shown(url: str) -> str:
    """What may be said of it: queries hold secrets."""
    return repr(url.partition("?")[0][:80])
