"""Config: one TOML file, typed and validated, units in names (CONTRACT Configuration).

Every key is optional and an unknown one is an error that suggests the nearest known name. All mistakes of a file are
reported at once, each with its line. `Config()` is a complete configuration of defaults.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.limits import BEAT_WITHIN_S_DEFAULT

from .alert_settings import AlertSettings
from .analytics_settings import AnalyticsSettings
from .audit_settings import AuditSettings
from .budget_settings import BudgetSettings
from .config_layers import layers_of, merged, never_shared
from .connection_settings import ConnectionSettings
from .core.groups import Group
from .core.liveness import WatchSettings
from .core.order_class import ClassRules
from .core.overload import OverloadSettings
from .core.pool import PoolSettings
from .core.toml_text import toml_document
from .error_settings import ErrorSettings, over_shipped
from .feed_settings import FeedSettings
from .http_settings import HttpSettings
from .maintenance_settings import MaintenanceCalendar
from .metrics_settings import MetricsSettings
from .outbox.settings import OutboxSettings
from .recovery_settings import RecoverySettings
from .state_settings import AccountSettings, StateSettings, problems_of
from .toml_places import line_of, split_key, unknown_keys, without, wrong_values
from .trading_hours import HoursSettings
from .transport.endpoint import Endpoint
from .venues.credentials import KeySource
from .venues.profile import Profile, shipped_profiles, user_profiles


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: immutable, keyword-only, no unknown keys."""


class AgentSection(Section, frozen=True, kw_only=True):
    log_level: str = "info"  # debug | info | warning | error
    log_format: str = "auto"  # auto (console on a terminal) | console | json
    allow_uids: list[int] = []  # besides the agent's own uid and root
    socket_group: str = ""  # sockets and folder readable by this group
    allow_hosts: list[str] = msgspec.field(default_factory=lambda: ["*"])  # hosts a bot may reach, shell patterns
    profiles_dir: str = ""  # a folder of your own venue profiles; they override shipped ones by name
    upstreams_max: int = 64  # distinct origins; each has its own pool
    drain_timeout_s: float = 5.0  # how long a stop waits for requests in flight
    allow_reroute_with_live_credentials: bool = False


class BotSection(Section, frozen=True, kw_only=True):
    beat_within_s: float = BEAT_WITHIN_S_DEFAULT  # lease of a bot that announces none


class WatchSection(Section, frozen=True, kw_only=True):
    """How bots are watched. What is done about one is armed by an operator (`jackstay arm`), never configured."""

    restart_grace_s: float = 30.0  # from the end of a bot's process to "dead": a supervisor may bring it back
    barrier_s: float = 60.0  # how long entries of a bot that came back wait for its unknown orders before it is told
    progress_max_s: float = 0.0  # a bot that beats without progress for so long is stalled; 0: not enforced


class Reroute(Section, frozen=True, kw_only=True):
    """Where a host's traffic really goes."""

    to: str
    verify_as: str = ""  # certificate name to check instead of the dialled host
    ca_file: str = ""


class VenueSection(Section, frozen=True, kw_only=True):
    """What the operator adds to a shipped profile. Keys are named here, never written here."""

    profile: str = ""  # default: the section's own name
    keys: KeySource | None = None  # the agent's own key; without one the venue is carried only
    warm: bool = True  # connect when the agent starts, so that TLS is done before the first order
    user_stream: bool = True  # with a key: hear the account's own events, where the profile knows how
    live: bool = True  # the keys open a real account
    limits: dict[str, float] = {}  # the account's own allowances by budget name; 0 switches a budget off
    maintenance: MaintenanceCalendar = MaintenanceCalendar()  # known windows, and how often its status is asked
    classes: ClassRules = ClassRules()  # what its orders are for, where neither a tag nor the venue's fields say it


class ConfigError(ValidationError):
    """Everything that is wrong with a configuration, one line each in ``problems``."""

    def __init__(self, origin: str, problems: list[str]) -> None:
        self.origin = origin
        self.problems = problems
        super().__init__(f"{origin}: " + ("; ".join(problems)))


def _nearest(word: str, known: list[str]) -> str:
    import difflib  # only for an error

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.65)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


class Config(Section, frozen=True, kw_only=True):
    """The whole configuration; `Config()` is all defaults. Sections are immutable values."""

    agent: AgentSection = AgentSection()
    bot: BotSection = BotSection()
    watchdog: WatchSection = WatchSection()
    connections: PoolSettings = PoolSettings()
    http: HttpSettings = HttpSettings()
    errors: ErrorSettings = ErrorSettings()
    connection_manager: ConnectionSettings = ConnectionSettings()
    queue: OutboxSettings = OutboxSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()
    audit: AuditSettings = AuditSettings()
    alerts: AlertSettings = AlertSettings()
    account: AccountSettings = AccountSettings()
    recovery: RecoverySettings = RecoverySettings()
    state: StateSettings = StateSettings()
    budgets: BudgetSettings = BudgetSettings()
    metrics: MetricsSettings = MetricsSettings()
    overload: OverloadSettings = OverloadSettings()
    upstreams: dict[str, str | Reroute] = {}
    venues: dict[str, VenueSection] = {}
    feeds: dict[str, FeedSettings] = {}
    hours: dict[str, HoursSettings] = {}
    groups: dict[str, Group] = {}  # venues that a strategy needs together (core/groups)

    @classmethod
    def from_toml(cls, text: str, origin: str = "config") -> Config:
        """Raises ConfigError listing every problem with its line."""
        try:
            raw = toml_document(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(origin, [f"not TOML: {error}"]) from error
        return cls.from_dict(raw, origin, text)

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], origin: str = "config", text: str = "", texts: Sequence[tuple[str, str]] = ()
    ) -> Config:
        """``text`` is what ``raw`` was read from, or ``texts`` are, (how to call it, text), the weightiest first."""
        values, problems, wrong = cls._values(raw, text)
        config = cls(**values)
        problems.extend(_located(each, texts or [("", text)]) for each in config.check(wrong))
        if problems:
            raise ConfigError(origin, problems)
        return config

    @classmethod
    def _values(cls, raw: Mapping[str, Any], text: str) -> tuple[dict[str, Any], list[str], set[str]]:
        """Sections by name, as far as they can be read; what is wrong with single keys, each with its line in ``text``;
        the sections that have such a key.
        """
        problems: list[str] = []
        wrong: set[str] = set()

        def add(path: tuple[str, ...], what: str) -> None:
            line = next(filter(None, (line_of(text, path[:end]) for end in range(len(path), 0, -1))), None)
            problems.append(f"line {line}: {what}" if line else what)
            wrong.add(path[0])

        unknown = list(unknown_keys(cls, raw))
        for path, names in unknown:
            add(path, f"unknown key {'.'.join(path)!r}{_nearest(path[-1], names)}")
        known = {field.encode_name: field.type for field in msgspec.structs.fields(cls)}
        values: dict[str, Any] = {}
        for key, value in without(raw, [path for path, _ in unknown]).items():
            if key == "errors" and isinstance(value, Mapping):
                value = over_shipped(value)
            told = len(problems)
            try:
                found = list(wrong_values(known[key], value, (key,)))
                for path, what in found:
                    add(path, f"[{'.'.join(path[:-1] or path)}] {path[-1]}: {what}" if path[1:] else f"[{key}] {what}")
                sound = without({key: value}, [path for path, _ in found])
                if key in sound:
                    values[key] = msgspec.convert(sound[key], known[key], strict=True)
            except msgspec.ValidationError as error:
                if len(problems) == told:  # else it misses what was told and left out
                    add((key,), f"[{key}] {error}")
            except ValidationError as error:  # a settings value's own check
                add((key,), f"[{key}] {error}")
        return values, problems, wrong

    @classmethod
    def load(cls, path: Path) -> Config:
        """From a file, over the defaults.toml of its config folder (config_layers.py). Raises ConfigError, also when
        it cannot be read; what is wrong in the shared file is said to be there."""
        layers = layers_of(path, os.environ)
        problems: list[str] = []
        for each in layers:
            found = [each.wrong] if each.wrong else cls._values(each.raw, each.text)[1]
            for key, what in never_shared(each):
                found.append(f"line {line_of(each.text, key)}: {what}")
            problems += [f"{each.path.name}: {what}" if each.shared else what for what in found]
        values, _told, wrong = cls._values(merged(layers), "")
        config = cls(**values)
        texts = [(f"{each.path.name}: " if each.shared else "", each.text) for each in reversed(layers)]
        if not any(each.wrong for each in layers):
            problems.extend(_located(each, texts) for each in config.check(wrong))
        if problems:
            raise ConfigError(str(path), problems)
        return config

    def check(self, wrong: Collection[str] = ()) -> list[str]:
        """What is wrong across sections, in words; nothing that hangs on a section which is ``wrong`` in itself."""
        problems: list[str] = []
        if self.agent.log_level not in ("debug", "info", "warning", "error"):
            problems.append(f"[agent] log_level = {self.agent.log_level!r}; debug, info, warning or error is expected")
        if self.agent.log_format not in ("auto", "console", "json"):
            problems.append(f"[agent] log_format = {self.agent.log_format!r}; auto, console or json is expected")
        if not 0 <= self.agent.drain_timeout_s <= 300:
            problems.append(f"[agent] drain_timeout_s = {self.agent.drain_timeout_s}; 0 to 300 seconds are expected")
        if not 0 < self.bot.beat_within_s <= 3600:
            problems.append(f"[bot] beat_within_s = {self.bot.beat_within_s}; above 0 and up to 3600 is expected")
        for section, each in (("http", self.http.problem()), ("metrics", self.metrics.problem())):
            if each:
                problems.append(f"[{section}] {each}")
        try:
            self.watching()
        except ValidationError as error:
            problems.append(f"[watchdog] {error}")
        if self.connections.local_address:
            try:
                ipaddress.ip_address(self.connections.local_address)
            except ValueError as error:
                problems.append(f"[connections] local_address: {error}; an address of this machine is expected")
        for host, route in self.upstreams.items():
            try:
                self.endpoint_for(f"https://{host}")
            except ValidationError as error:
                problems.append(f"[upstreams] {host!r} = {_target(route)!r}: {error}")
        for name, feed in self.feeds.items():
            try:
                if name == "account":
                    raise ValidationError("this name is the account's own events; name the feed otherwise")
                feed.check(name)
            except ValidationError as error:
                problems.append(f"[feeds.{name}] {error}")
        for name, group in self.groups.items():
            try:
                group.check(name)
            except ValidationError as error:
                problems.append(f"[groups.{name}] {error}")
        for name, hours in self.hours.items():
            try:
                hours.made(name)
            except ValidationError as error:
                problems.append(f"[hours.{name}] {error}")
        for name, venue in self.venues.items():
            problem = venue.keys.problem() if venue.keys is not None else ""
            if problem:
                problems.append(f"[venues.{name}.keys] {problem}")
            try:
                venue.maintenance.made()
            except ValidationError as error:
                problems.append(f"[venues.{name}.maintenance] {error}")
        if not {"agent", "venues"}.intersection(wrong):
            try:
                profiles_of(self)
            except ValidationError as error:
                problems.append(str(error))
        if not {"account", "state"}.intersection(wrong):
            problems.extend(problems_of(self.account, self.state.policies))
        if not {"agent", "upstreams", "venues"}.intersection(wrong):
            problems.extend(self._credentials_on_rerouted_hosts())
        return problems

    def _credentials_on_rerouted_hosts(self) -> list[str]:
        """Live keys and a host that is sent elsewhere do not go together unless somebody said so."""
        if self.agent.allow_reroute_with_live_credentials or not self.upstreams:
            return []
        shipped = shipped_profiles()
        problems: list[str] = []
        for name, venue in self.venues.items():
            profile = shipped.get(venue.profile or name)
            if venue.keys is None or not venue.live or profile is None:
                continue
            problems.extend(
                f"[venues.{name}] has live credentials while [upstreams] sends {host} to"
                f" {_target(self.upstreams[host])}: set live = false for test keys,"
                " or [agent] allow_reroute_with_live_credentials = true"
                for host in sorted(profile.hosts & self.upstreams.keys())
            )
        return problems

    def watching(self) -> WatchSettings:
        return WatchSettings(None, self.watchdog.restart_grace_s, self.watchdog.progress_max_s)

    def endpoint_for(self, url: str) -> Endpoint:
        """The endpoint of a bot's URL, with ``[upstreams]`` applied. Raises ValidationError on a bad URL."""
        endpoint = Endpoint.parse(url)
        route = self.upstreams.get(f"{endpoint.host}:{endpoint.port}") or self.upstreams.get(endpoint.host)
        if route is None:
            return endpoint
        if isinstance(route, str):
            return endpoint.routed(route)
        return endpoint.routed(route.to, verify_as=route.verify_as, ca_file=route.ca_file)


def profiles_of(config: Config) -> dict[str, Profile]:
    """The shipped profiles under the operator's own limits. Raises ValidationError on an unknown venue or budget."""
    profiles = shipped_profiles()
    if config.agent.profiles_dir:
        folder = Path(config.agent.profiles_dir)
        if not folder.is_dir():
            raise ValidationError(f"[agent] profiles_dir = {str(folder)!r} is no folder")
        profiles |= user_profiles(folder)
    for name, venue in config.venues.items():
        profile = profiles.get(venue.profile or name)
        if profile is None:
            raise ValidationError(
                f"[venues.{name}]: no profile {venue.profile or name!r}; known: {', '.join(sorted(profiles))}"
            )
        if venue.limits:
            profiles[profile.name] = profile.with_limits(venue.limits)
    return profiles


def reachable_hosts(config: Config) -> frozenset[str]:
    """Hosts of venue profiles and of ``[upstreams]``: what http.sock reaches without another word."""
    hosts = {host for profile in profiles_of(config).values() for host in profile.hosts | profile.socket_hosts}
    return frozenset(hosts | {name.partition(":")[0] for name in config.upstreams})


def venue_of(config: Config, profiles: Mapping[str, Profile]) -> Callable[[dict[str, Any]], str]:
    """The venue (its profile's name) an event's fields are about, "" where they name none."""
    by_host = {host: profile.name for profile in profiles.values() for host in profile.hosts}
    streams = {host: profile.name for profile in profiles.values() for host in profile.socket_hosts}
    by_feed = {
        name: feed.venue or (streams | by_host).get(urlsplit(feed.url).hostname or "", "")
        for name, feed in config.feeds.items()
    }

    def venue(fields: dict[str, Any]) -> str:
        host, feed = str(fields.get("upstream", "")), str(fields.get("feed", ""))
        return str(fields.get("venue") or by_host.get(host) or by_feed.get(feed) or "")

    return venue


def class_rules_of(config: Config) -> Callable[[str], ClassRules]:
    """Venue (its profile's name) -> what the operator says of its orders."""
    rules = {section.profile or name: section.classes for name, section in config.venues.items()}
    default = ClassRules()
    return lambda venue: rules.get(venue, default)


def _located(problem: str, texts: Sequence[tuple[str, str]]) -> str:
    """The problem with its line: of its key, else of its table."""
    path = _place(problem)
    for wanted in (path, path[:-1]) if path else ():
        for name, text in texts:
            line = line_of(text, wanted) if text and wanted else None
            if line:
                return f"{name}line {line}: {problem}"
    return problem


def _place(problem: str) -> tuple[str, ...]:
    """Where a problem that begins with "[table] key" stands: the key where it names one, else the table."""
    table, closed, rest = problem.removeprefix("[").partition("]")
    if not closed or not problem.startswith("["):
        return ()
    key = re.match(r" (?:'([^']+)'|([a-z_]+))(?=[ :=]+)", rest)
    return split_key(table) + ((key[1] or key[2],) if key else ())


def _target(route: str | Reroute) -> str:
    return route if isinstance(route, str) else route.to
