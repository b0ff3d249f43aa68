"""Profiles: what is refused and in which words, how one extends another, and what every shipped one keeps to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jackstay_agent.venues.operation_data import OPERATIONS
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.profile import (
    ASKING,
    Profile,
    ProfileError,
    load_profile,
    path_problems,
    shipped_profiles,
    user_profiles,
)
from jackstay_protocols.errors import Lane, ValidationError

SHIPPED = shipped_profiles()
TRADED = sorted(set(SHIPPED) - {"sandbox"})

READER = '[readers.order]\nfields = { venue_id = "id" }\n'
WRONG: list[tuple[str, str]] = [
    ("signinng = {}", "line 2, signinng: unknown key; did you mean 'signing'?"),
    ('[signing]\nscheme = "binance_hmca"', "line 3, signing.scheme: 'binance_hmca' .* did you mean 'binance_hmac'"),
    ('[signing]\nrecv_window_ms = "5"', "line 3, signing.recv_window_ms: Expected `int`, got `str`"),
    ("[signing]\nrecv_window_ms = 0", "line 3, signing.recv_window_ms: 0; 1 to 60000"),
    ('[operations.query_ordr]\nmethod = "GET"\npath = "/a"', "line 2, operations.query_ordr: .*'query_order'"),
    (READER + 'decimals = ["step_size"]', "readers.order.decimals: 'step_size' is no step of `fields`"),
    ('[routes]\n"POST /a" = { lane = "ordr" }', "line 3, routes.POST /a.lane: .*'ordr'; derisk, order, query, other"),
    ('[routes]\n"POST /a" = { lane = "order", kind = "plaice" }', "kind 'plaice'; did you mean 'place'"),
    ('[routes]\n"post a" = { lane = "order" }', "line 3, routes.post a: 'METHOD /path' is expected"),
    ('[routes]\n"POST /a" = { lane = "derisk", kind = "place" }', "line 3, routes.POST /a: .*de-risking lane"),
    ('table = "binanze"', "line 2, table: 'binanze'; did you mean 'binance'"),
    ('[budgets.a]\nlimit = 1\nper_s = 1\nscope = "all"', "line 2, budgets.a: scope 'all'"),
    ('[operations."probe.orders"]\nmethod = "GET"\npath = "/a"\nparms = {}', "line 5, .*parms: .*'params'"),
    ('[operations.cancel]\nmethod = "POST"\npath = "/o"', "operations.cancel: POST /o is a unlisted route"),
    (
        '[routes]\n"POST /o" = { lane = "order", kind = "place" }\n[operations.cancel]\nmethod = "POST"\npath = "/o"',
        "line 4, operations.cancel: POST /o is a place route: a profile holds no template that places an order",
    ),
    ('[operations.deadman]\nmethod = "get"\npath = "a"', "'get' 'a'; a method in capitals"),
    ('[operations.status]\nmethod = "GET"\npath = "/a"\nbody = "jsno"', "body: 'jsno'; did you mean 'json'"),
    ('[operations.open_orders]\nmethod = "GET"\npath = "/a"', "open_orders.reader: '' is no reader; known: none"),
    (f'{READER}[operations.open_orders]\nmethod = "GET"\npath = "/a"\nreader = "oder"', "did you mean 'order'"),
    (
        '[operations.deadman]\nmethod = "GET"\npath = "/a"\nparams = { a = "{symbool}" }',
        "unknown placeholder 'symbool'; did you mean 'symbol'",
    ),
    ('[operations.deadman]\nmethod = "GET"\npath = "/a"\none_of = ["client_id"]', "one_of: 'client_id' stands in no"),
    ('[operations.deadman]\nmethod = "GET"\npath = "/a"\nnext = "a"', "no optional placeholder {from_id"),
    ('[operations.cancel]\nmethod = "GET"\npath = "/a"\ninstead = { venue_id = "x" }', "'venue_id' leads to 'x'"),
    ('[readers.order]\nfields = { idd = "id" }', "unknown field 'idd'; did you mean 'side'|known"),
    ('[readers.order]\nfields = {}\nstatuses = { NEW = "opn" }', "'NEW' means 'opn'; did you mean 'open'"),
    ('[readers.order]\nfields = {}\nsides = { B = "bid" }', "'B' means 'bid'; buy or sell"),
    ('[readers.order]\nfields = {}\ntime_unit = "min"', "'min'; s, ms, us"),
    ('[families.plain]\nlookup = "by_id"', "lookup: 'by_id'; did you mean 'by_client_id'"),
    ('[families.plain]\nlookup = "by_client_id"', "nothing is asked.*no field client_id"),
    ('[families.plain]\nask = ["query_order"]', "has no operation 'query_order' for it"),
    ('[families.plain]\nask = ["balances"]', "has no operation 'balances' for it"),
    ('[families.plain]\nnot_founds = 0', "not_founds: 0; 1 or more"),
    ('[families.plain]\nspacing_s = -1', "spacing_s: -1"),
    ('[families.plain]\nttl_s = 0', "ttl_s: 0"),
    ('[families.plain]\nfields = { sied = "s" }', "unknown field 'sied'; did you mean 'side'"),
    ('[families.plain]\nplaces = { "GET /a" = "" }', "'GET /a' is no placing route"),
    ('[families.plain]\nclient_id = { max = 4 }', "client_id.max: 4"),
    ('[families.plain]\nclient_id = { max = 36, pattern = "(" }', "client_id.pattern: no regular expression"),
    ('[families.plain]\nclient_id = { max = 36, pattern = "[0-9]+" }', "client_id.prefix: 'js-' does not fit"),
    ('symbol_rewrites = [["(", ""]]', "symbol_rewrites: '\\('"),
    ('symbol_rewrites = [["a", "\\\\1"]]', "symbol_rewrites: 'a'"),
    ('[deadman]\nscope = "all"', "deadman.scope: 'all'.*no operation deadman"),
    (
        '[deadman]\ntrigger = "moon"\nkills_conditional = "perhaps"\nwindow_min_s = 9\nwindow_max_s = 3',
        "trigger.*kills_conditional.*window_min_s",
    ),
    ("[budgets.a]\nlimit = 1", "line 2, budgets.a: Object missing required field `per_s`"),
    ('extends = "binanse"', "extends 'binanse'; the name of another profile is expected: binance, "),
    ("limit =", "not TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_mistake_is_named_with_its_place(text: str, words: str) -> None:
    """What was found, what was expected, the nearest known name, and the line where one can be told."""
    with pytest.raises(ValidationError, match=f"^venue profile my.toml: .*{words}"):
        load_profile(f'name = "x"\n{text}\n', "my.toml")


def test_all_mistakes_are_named_at_once() -> None:
    """Nobody mends a file one error at a time."""
    text = 'name = "x"\n[signing]\nscheme = "a"\nrecv_window_ms = -1\n[readers.r]\nfields = {}\ntime_unit = "h"\n'
    with pytest.raises(ProfileError) as error:
        load_profile(text, "my.toml")
    assert [path for path, _what in error.value.problems] == [
        ("signing", "scheme"), ("signing", "recv_window_ms"), ("readers", "r", "time_unit"),
    ]  # fmt: skip


def test_a_profile_may_extend_another() -> None:
    """A test network is the venue at other hosts; tables are merged, lists and values replaced."""
    profile = load_profile(
        'name = "binance-testnet"\nextends = "binance"\nhosts = ["testnet.binance.vision"]\n'
        'base_url = "https://testnet.binance.vision"\n[budgets.weight_1m]\nlimit = 100\n'
        "[families.plain]\nnot_founds = 5\n",
        "my.toml",
    )
    assert profile.hosts == {"testnet.binance.vision"}
    assert {rule.name: rule.limit for rule in profile.budgets}["weight_1m"] == 100
    assert profile.route("DELETE", "/api/v3/order").lane is Lane.DERISK
    assert profile.data.families["plain"].not_founds == 5
    assert profile.data.families["plain"].ask == ["query_order"]


def test_profiles_that_extend_each_other_are_refused() -> None:
    """A circle has no bottom."""
    texts = {"a": 'extends = "b"', "b": 'extends = "a"'}
    with pytest.raises(ValidationError, match="extends 'b'"):
        load_profile('name = "x"\nextends = "b"\n', "my.toml", texts.get)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """A user's profile overrides the shipped one by name, may extend it, and its JMESPaths are checked at once."""
    (tmp_path / "binance.toml").write_text('name = "binance"\nextends = "binance"\nhosts = ["proxy.example"]\n')
    (tmp_path / "mine.toml").write_text('name = "mine"\nextends = "binance"\nhosts = ["mine.example"]\n')
    found = user_profiles(tmp_path)
    assert found["binance"].hosts == {"proxy.example"}
    assert found["binance"].route("POST", "/api/v3/order").kind == "place"
    (tmp_path / "bad.toml").write_text('name = "bad"\n[readers.r]\n[readers.r.fields]\nsymbol = "a[["\n')
    with pytest.raises(ProfileError, match="line 4, readers.r.fields.symbol: 'a\\[\\[' is no JMESPath"):
        user_profiles(tmp_path)
    (tmp_path / "bad.toml").write_text(
        'name = "bad"\n[user_stream]\nurl = "wss://a.example/$token"\n'
        '[user_stream.token]\nmethod = "POST"\npath = "/a"\nat = "a[["\n'
    )
    with pytest.raises(ProfileError, match="line 7, user_stream.token.at: 'a\\[\\[' is no JMESPath"):
        user_profiles(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ValidationError, match="cannot be read"):
        user_profiles(tmp_path)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_path_of_a_shipped_profile_is_jmespath(name: str) -> None:
    """Checked here, so that the agent need not at start."""
    assert path_problems(SHIPPED[name]) == []


def every_operation(profile: Profile) -> list[tuple[str, str, str]]:
    tables = [profile.data.operations, *(family.operations for family in profile.data.families.values())]
    return [(name, each.method, each.path) for table in tables for name, each in table.items()]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_operation_of_a_shipped_profile_has_its_route(name: str) -> None:
    """So its weight is counted, a cancel travels in the de-risking lane, and a question is one."""
    profile = SHIPPED[name]
    for operation, method, path in every_operation(profile):
        assert (method, path) in profile.listed(), f"{operation}: {method} {path}"
        route = profile.route(method, path)
        assert not route.is_order
        if operation in ("cancel", "cancel_all", "deadman"):
            assert route.lane is Lane.DERISK, operation
        else:
            assert not route.changes, operation


@pytest.mark.parametrize("name", TRADED)
def test_a_shipped_profile_can_do_what_the_agent_needs(name: str) -> None:
    """What the resolver, the watchdog and the breakers ask for is there, for every family."""
    profile = SHIPPED[name]
    operations = Operations(profile, None, wall_ms=lambda: 0)
    needed = {"open_orders", "cancel", "fills_since", "balances", "server_time"}
    assert needed | {"probe.orders", "probe.account", "probe.market_data"} <= set(operations.names())
    assert set(operations.names()) <= set(OPERATIONS)
    for family in operations.families:
        lookup = operations.lookup(family)
        assert lookup.how == "by_client_id"
        assert all(operations.has(each, family) for each in (*lookup.ask, *lookup.lists))
        assert operations.has("cancel", family)


@pytest.mark.parametrize("name", TRADED)
def test_every_placing_route_of_a_shipped_profile_belongs_to_a_family(name: str) -> None:
    """Or the resolver would not know what was sent; the exceptions are named."""
    profile = SHIPPED[name]
    known = {key for family in profile.data.families.values() for key in family.places}
    placing = {f"{m} {p}" for m, p in profile.listed() if profile.route(m, p).kind == "place"}
    assert placing - known <= {
        "POST /api/v3/orderList/oto", "POST /api/v3/orderList/otoco", "POST /api/v5/trade/close-position",
    }  # fmt: skip


def test_prefixes_fit_their_venues() -> None:
    """A minted id of the agent's usual length is one the venue takes."""
    for profile in SHIPPED.values():
        for family in profile.data.families.values():
            rule = family.client_id
            assert rule is not None
            assert re.fullmatch(rule.pattern, rule.prefix + "0000000000000")


def test_nothing_loads_jmespath_before_it_is_used() -> None:
    """Profiles are loaded, a request is built, signed, its answer read: names alone need no JMESPath."""
    code = (
        "import sys\n"
        "from jackstay_agent.venues.operations import Operations\n"
        "from jackstay_agent.venues.profile import shipped_profiles\n"
        "from jackstay_agent.venues.credentials import Credentials\n"
        "ours = Operations(shipped_profiles()['binance'], Credentials('k', 's'), wall_ms=lambda: 1)\n"
        "ours.request('query_order', symbol='A', client_id='b')\n"
        "ours.read('server_time', 200, b'{\"serverTime\":1}')\n"
        "assert 'jmespath' not in sys.modules\n"
        "from jackstay_agent.venues.answers import compiled\n"
        "assert compiled('a[0]').search({'a': [1]}) == 1\n"
        "assert 'jmespath' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_an_unlisted_get_is_a_question() -> None:
    """As before: a profile adds to the careful defaults."""
    assert SHIPPED["kraken"].route("GET", "/0/public/Anything") == ASKING
