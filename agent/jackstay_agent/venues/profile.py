"""A venue as data: which hosts are its, what each method+path does, what its answers promise (DESIGN §6).

A profile is one TOML file. This file loads and validates it and answers one question on the hot path:
`Profile.route(method, path)` says which lane a request belongs to, whether it changes something at the venue, and what
it weighs. The lane is decided here and never by the caller (DESIGN §3 rule 4).

A route that a profile does not list is judged by its method: GET and HEAD ask, everything else may place an order.
That is the careful side: such a request is never resent, and a 2xx that is not the promised JSON leaves it unknown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from jackstay_protocols.errors import Lane, ValidationError

from ..core.outcome_tables import TABLES
from ..core.rate_headers import HeaderRule
from ..core.rate_rule import BudgetRule
from ..core.toml_text import toml_document
from ..toml_places import line_of, unknown_keys, wrong_values
from .answers import Broken, compiled
from .key_info import KeyInfoData
from .key_info import problems_of as key_info_problems
from .operation_data import (
    DeadmanData,
    FamilyData,
    OperationData,
    ReaderData,
    SigningData,
    UserEventData,
    check_deadman,
    check_family,
    check_operation,
    check_reader,
    check_signing,
    check_user_event,
    nearest,
)
from .sockets import SocketData, check_sockets, hosts_of, socket_at
from .user_stream_data import UserStreamData, check_user_stream

ASKING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one method+path is. ``kind``: place, amend, replace, cancel, cancel_all, query, order_query, other."""

    lane: Lane
    kind: str = "other"
    weight: int = 1
    orders: int = 0  # how many it counts against an order-count limit
    json: bool | None = None  # overrides the profile's promise

    @property
    def changes(self) -> bool:
        """It may have an effect at the venue, so it is never resent blind."""
        return self.kind not in ("query", "order_query")

    @property
    def is_order(self) -> bool:
        """It can open or enlarge risk."""
        return self.kind in ("place", "amend", "replace", "unlisted")


ASKING = Route(Lane.QUERY, "query")
UNLISTED = Route(Lane.ORDER, "unlisted")
KINDS = frozenset({"place", "amend", "replace", "cancel", "cancel_all", "query", "order_query", "other", "unlisted"})


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One allowance of the venue. ``scope``: ip or key; ``counts``: weight or orders; ``header`` corrects it."""

    limit: float
    per_s: float
    scope: str = "ip"
    counts: str = "weight"
    header: str = ""
    header_says: str = "used"
    reserved: float = 0.1  # share kept for the de-risking lane


class ProfileData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The TOML file's shape."""

    name: str
    hosts: list[str] = []
    base_url: str = ""
    probe: str = ""  # path of a harmless GET: proves connections that are kept open
    json: bool = False  # every 2xx answer is a JSON document
    table: str = "generic"  # name of the outcome table in core.classify
    key_header: str = ""  # which header carries the API key
    budgets: dict[str, Budget] = {}
    routes: dict[str, Route] = {}
    signing: SigningData = SigningData()
    readers: dict[str, ReaderData] = {}
    families: dict[str, FamilyData] = {}
    operations: dict[str, OperationData] = {}
    deadman: DeadmanData | None = None
    user_events: list[UserEventData] = []  # what the messages of its user stream tell
    user_stream: UserStreamData | None = None
    sweeps: list[dict[str, str]] = []  # placeholder sets that together show a whole account
    sockets: list[SocketData] = []
    key_info: KeyInfoData | None = None
    symbol_rewrites: list[tuple[str, str]] = []  # pattern, replacement: one name of several for the same market
    asset_names: dict[str, str] = {}  # other names of an asset -> the one that is used


Problem = tuple[tuple[str, ...], str]  # where in the file, and what is wrong there


class ProfileError(ValidationError):
    """Everything that is wrong with a profile: ``problems`` with their places, in words with their lines."""

    def __init__(self, origin: str, problems: list[Problem], text: str = "") -> None:
        self.problems = problems
        words = []
        for path, what in problems:
            line = line_of(text, path) if path else None
            words.append(f"{f'line {line}, ' if line else ''}{'.'.join(path) or 'the file'}: {what}")
        super().__init__(f"venue profile {origin}: " + "; ".join(words))


class Profile:
    """A validated profile, ready for look-ups."""

    def __init__(self, data: ProfileData) -> None:
        self.data = data
        self.name = data.name
        self.hosts = frozenset(data.hosts)
        self.base_url = data.base_url
        self.promises_json = data.json
        self.table = data.table
        if data.table not in TABLES:
            raise ProfileError(data.name, [(("table",), f"{data.table!r}; {nearest(data.table, TABLES)}")])
        self.key_header = data.key_header.lower().encode("ascii")
        self.budgets: list[BudgetRule] = []
        self.header_rules: list[HeaderRule] = []
        self.charged: list[tuple[str, bool, bool]] = []  # budget, per key?, counts orders?
        self._per_key: set[str] = set()
        for name, budget in data.budgets.items():
            self._add_budget(data.name, name, budget)
        self._routes: dict[tuple[str, str], Route] = {}
        for key, route in data.routes.items():
            method, _, path = key.partition(" ")
            wrong = self._route_problem(method, path, route)
            if wrong:
                raise ProfileError(data.name, [(("routes", key), wrong)])
            self._routes[method, path] = route
        problems = check_sockets(data.sockets, set(self._routes))
        if problems:
            raise ProfileError(data.name, problems)
        self.socket_hosts = frozenset(hosts_of(data.sockets))
        self._rewrites: list[tuple[re.Pattern[str], str]] = []
        self._check_operations()

    @staticmethod
    def _route_problem(method: str, path: str, route: Route) -> str:
        if not path.startswith("/") or not method.isupper():
            return "'METHOD /path' is expected, as in 'POST /api/v3/order'"
        if route.kind not in KINDS:
            return f"kind {route.kind!r}; {nearest(route.kind, KINDS)}"
        if route.lane is Lane.DERISK and route.is_order:
            return (
                "this would carry a placing request in the de-risking lane;"
                " only cancels and reduce-only requests may travel there"
            )
        return ""

    def _check_operations(self) -> None:
        """All mistakes in the tables about operations at once. JMESPaths are checked where they are first used."""
        problems: list[Problem] = []

        def complain(where: tuple[str, ...], what: str) -> None:
            problems.append((where, what))

        data = self.data
        for pattern, replacement in data.symbol_rewrites:
            try:
                self._rewrites.append((re.compile(pattern), replacement))
                re.sub(pattern, replacement, "")
            except (re.error, IndexError) as error:
                complain(("symbol_rewrites",), f"{pattern!r} -> {replacement!r}: {error}")
        check_signing(data.signing, complain)
        if data.deadman is not None:
            check_deadman(data.deadman, "deadman" in data.operations, complain)
        if data.user_stream is not None:
            check_user_stream(data.user_stream, complain)
        for name, reader in data.readers.items():
            check_reader(("readers", name), reader, complain)
        contexts = [family.context for family in data.families.values()]
        contexts += [reader.context for reader in data.readers.values()]
        family_sweeps = [each for family in data.families.values() for each in family.sweeps]
        family_sweeps += [each for operation in data.operations.values() for each in operation.sweeps]
        extra = frozenset(name for each in (*contexts, *data.sweeps, *family_sweeps) for name in each)
        tables: list[tuple[tuple[str, ...], dict[str, OperationData]]] = [(("operations",), data.operations)]
        for name, family in data.families.items():
            family_at = ("families", name)
            check_family(family_at, family, {*data.operations, *family.operations}, complain)
            tables.append(((*family_at, "operations"), family.operations))
            for key in family.places:
                method, _, path = key.partition(" ")
                if not self.route(method, path).is_order:
                    complain(
                        (*family_at, "places"), f"{key!r} is no placing route; list it in [routes] with kind place"
                    )
        for number, event in enumerate(data.user_events):
            check_user_event(("user_events", str(number)), event, data.readers, data.families, complain)
        for where, operations in tables:
            for name, operation in operations.items():
                here = (*where, name)
                check_operation(here, name, operation, {*data.operations, *operations}, data.readers, extra, complain)
                route = self.route(operation.method, operation.path)
                if route.is_order:
                    complain(
                        here,
                        f"{operation.method} {operation.path} is a {route.kind} route: a profile holds no template that"
                        " places an order; if it places none, list it in [routes] with what it does",
                    )
        if problems:
            raise ProfileError(data.name, problems)

    def with_limits(self, limits: dict[str, float]) -> Profile:
        """The same profile with the account's own allowances; 0 switches a budget off. Raises ValidationError."""
        unknown = sorted(set(limits) - set(self.data.budgets))
        if unknown:
            raise ValidationError(
                f"limits of venue {self.name}: unknown budget {', '.join(unknown)};"
                f" known: {', '.join(sorted(self.data.budgets)) or 'none'}"
            )
        budgets = {
            name: msgspec.structs.replace(budget, limit=limits.get(name, budget.limit))
            for name, budget in self.data.budgets.items()
            if limits.get(name, budget.limit) > 0
        }
        return Profile(msgspec.structs.replace(self.data, budgets=budgets))

    def _add_budget(self, profile: str, name: str, budget: Budget) -> None:
        if budget.scope not in ("ip", "key") or budget.counts not in ("weight", "orders"):
            words = (
                f"scope {budget.scope!r} and counts {budget.counts!r};"
                " scope ip or key and counts weight or orders are expected"
            )
            raise ProfileError(profile, [(("budgets", name), words)])
        self.budgets.append(BudgetRule(name, budget.limit, budget.per_s, "window", budget.reserved))
        self.charged.append((name, budget.scope == "key", budget.counts == "orders"))
        if budget.scope == "key":
            self._per_key.add(name)
        if budget.header:
            header = budget.header.lower().encode("ascii")
            self.header_rules.append(HeaderRule(header, name, budget.header_says))

    def whose(self, budget: str, key: str) -> str:
        """Whose count of a budget: the key's alias, or the address's."""
        return key if budget in self._per_key else "ip"

    def route(self, method: str, path: str) -> Route:
        """``path`` without its query."""
        found = self._routes.get((method, path))
        if found is not None:
            return found
        return ASKING if method in ASKING_METHODS else UNLISTED

    def socket(self, host: str, path: str) -> SocketData | None:
        """What the WebSocket at this place carries; None where nothing is said."""
        return socket_at(self.data.sockets, host, path)

    def symbol(self, name: str) -> str:
        """One name for a market that the venue calls by several."""
        for pattern, replacement in self._rewrites:
            name = pattern.sub(replacement, name)
        return name

    def asset(self, name: str) -> str:
        """One name for an asset that the venue calls by several."""
        return self.data.asset_names.get(name, name)

    def listed(self) -> list[tuple[str, str]]:
        """(method, path) of every route the profile names."""
        return list(self._routes)

    def expects_json(self, route: Route) -> bool:
        return self.promises_json if route.json is None else route.json


GENERIC = Profile(ProfileData(name="generic"))


def load_profile(text: str, origin: str, bases: Callable[[str], str | None] | None = None) -> Profile:
    """From TOML. Raises ValidationError naming ``origin``, the line or key in it and what was expected.

    ``bases`` gives the text of the profile named by ``extends`` (default: those that are shipped).
    """
    raw = _extended(_parsed(text, origin), origin, bases or _shipped_text, ())
    problems = [(path, f"unknown key; {nearest(path[-1], known)}") for path, known in unknown_keys(ProfileData, raw)]
    if problems:
        raise ProfileError(origin, problems, text)
    try:
        return Profile(msgspec.convert(raw, ProfileData, strict=True))
    except msgspec.ValidationError:
        raise ProfileError(origin, list(wrong_values(ProfileData, raw)), text) from None
    except ProfileError as error:
        raise ProfileError(origin, error.problems, text) from None


def _parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        return toml_document(text)
    except tomllib.TOMLDecodeError as error:
        raise ValidationError(f"venue profile {origin}: not TOML: {error}") from error


def _extended(
    raw: dict[str, Any], origin: str, bases: Callable[[str], str | None], through: tuple[str, ...]
) -> dict[str, Any]:
    """``raw`` over the profile it extends: tables are merged, everything else replaces what was there."""
    base = raw.pop("extends", None)
    if base is None:
        return raw
    found = None
    if isinstance(base, str):
        # a user's profile that extends the shipped one of its own name overrides it
        found = bases(base) if base not in through else _shipped_text(base) if through.count(base) == 1 else None
    if found is None:
        raise ValidationError(
            f"venue profile {origin}: extends {base!r}; the name of another profile is expected:"
            f" {', '.join(sorted(_shipped_texts()))}"
        )
    below = _extended(_parsed(found, str(base)), str(base), bases, (*through, str(base)))
    moved = raw.pop("sockets_moved", {})
    if not isinstance(moved, dict) or not all(isinstance(each, str) for each in moved.values()):
        raise ValidationError(f"venue profile {origin}: sockets_moved is a table of one host to another")
    if "hosts" in raw:
        below["sockets"] = _sockets_at(below.get("sockets", []), moved)
    return _merged(below, raw)


def _sockets_at(sockets: list[dict[str, Any]], moved: dict[str, str]) -> list[dict[str, Any]]:
    """Sockets of another profile at this one's hosts: places that are not moved there are somebody else's."""
    found = []
    for each in sockets:
        places = [place.partition("/") for place in each["at"]]
        at = [f"{moved[host]}/{path}" for host, _, path in places if host in moved]
        if at:
            found.append(each | {"at": at})
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        there = merged.get(key)
        merged[key] = _merged(there, value) if isinstance(value, dict) and isinstance(there, dict) else value
    return merged


def shipped_profiles() -> dict[str, Profile]:
    """The profiles that come with the agent, by name."""
    return dict(_shipped())


def _shipped_text(name: str) -> str | None:
    return _shipped_texts().get(name)


@cache
def _shipped_texts() -> dict[str, str]:
    """By name, which is the file's with dashes."""
    # beside this file: importlib.resources would load tempfile, shutil and two compressors
    files = Path(__file__).parent.glob("*.toml")
    return {each.stem.replace("_", "-"): each.read_text(encoding="utf-8") for each in files}


@cache
def _shipped() -> dict[str, Profile]:
    # read once: they do not change while the agent runs, and TOML takes milliseconds each
    return {name: load_profile(text, f"{name}.toml") for name, text in _shipped_texts().items()}


def user_profiles(folder: Path) -> dict[str, Profile]:
    """Profiles of a folder of the user's; they override shipped ones by name. Raises ValidationError.

    One may extend a shipped profile or another of the folder (by its file's name). Their JMESPaths are checked at once;
    the shipped ones' are by the tests, so that an agent that never asks a venue does not load JMESPath.
    """
    try:
        texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError(f"venue profiles in {folder} cannot be read: {error}") from None
    by_name = {path.stem: text for path, text in texts.items()}
    found = {}
    for path, text in texts.items():
        # a file that extends the shipped profile of its own name overrides it
        others = {name: each for name, each in by_name.items() if name != path.stem}
        profile = load_profile(text, str(path), lambda name, others=others: others.get(name) or _shipped_text(name))  # type: ignore[misc]
        problems = path_problems(profile)
        if problems:
            raise ProfileError(str(path), problems, text)
        found[profile.name] = profile
    return found


def path_problems(profile: Profile) -> list[Problem]:
    """The JMESPaths of a profile that are none."""
    data, paths = profile.data, list[Problem]()
    for name, reader in data.readers.items():
        paths += [(("readers", name, "fields", key), path) for key, path in reader.fields.items()]
        paths += [(("readers", name, "context", key), path) for key, path in reader.context.items()]
    for number, event in enumerate(data.user_events):
        at = ("user_events", str(number))
        paths += [((*at, "when"), path) for path in event.when]
        paths.append(((*at, "items"), event.items))
    if data.user_stream is not None and data.user_stream.token is not None:
        paths.append((("user_stream", "token", "at"), data.user_stream.token.at))
    tables: list[tuple[tuple[str, ...], dict[str, OperationData]]] = [(("operations",), data.operations)]
    tables += [(("families", name, "operations"), each.operations) for name, each in data.families.items()]
    for where, operations in tables:
        for name, operation in operations.items():
            paths.append(((*where, name, "at"), operation.at))
            paths.append(((*where, name, "next"), operation.next or "@"))
    problems = []
    for place, path in paths:
        try:
            compiled(path)
        except Broken as error:
            problems.append((place, str(error)))
    return problems + (key_info_problems(data.key_info) if data.key_info is not None else [])
