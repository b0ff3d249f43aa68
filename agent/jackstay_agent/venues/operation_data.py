"""What a profile says about asking and steering a venue: the tables of its TOML file, and which of them make sense.

`[signing]` names the scheme; `[families.NAME]` says how orders of a kind are written, found and declared absent;
`[operations.NAME]` (and `[families.NAME.operations.NAME]`) are request templates; `[readers.NAME]` say where the values
of an answer stand, in JMESPath. There is no operation that places an order, and a template on a placing route is
refused. Knows no request and no answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ..core.order_class import MARKS
from .outgoing import json_document
from .signing import SIGNERS

#: Operation names and what their answers are. `probe.*` are harmless reads, one per breaker class.
OPERATIONS: Final = {
    "query_order": "order",
    "query_closed_order": "order",
    "query_order_by_venue_id": "order",
    "open_orders": "orders",
    "order_history": "orders",
    "cancel": "done",
    "cancel_all": "done",
    "fills_since": "fills",
    "balances": "balances",
    "positions": "positions",
    "server_time": "time",
    "status": "status",
    "symbol_rules": "rules",
    "deadman": "done",
    "probe.orders": "any",
    "probe.account": "any",
    "probe.market_data": "any",
}
#: What a placeholder may be called; profiles share these words, so that callers need to know no venue.
PLACEHOLDERS: Final = frozenset(
    {
        *("symbol", "client_id", "venue_id", "since_ms", "since_s", "until_ms", "from_id", "limit"),
        *("window_ms", "window_s"),
    }
)
FIELDS: Final = {
    "order": frozenset(
        {
            *("client_id", "venue_id", "symbol", "side", "type", "price", "quantity", "filled", "average_price"),
            *("quote_filled", "status", "time_ms", "reduce_only", "stop_price"),
        }
    ),
    "fill": frozenset(
        {
            *("trade_id", "venue_id", "client_id", "symbol", "side", "price", "quantity", "fee", "fee_asset"),
            *("time_ms", "maker"),
        }
    ),
    "balance": frozenset({"asset", "free", "locked", "total"}),
    "position": frozenset(
        {"symbol", "side", "quantity", "entry_price", "mark_price", "unrealised", "liquidation_price", "time_ms"}
    ),
    "time": frozenset({"time_ms"}),
    "status": frozenset({"status"}),
    "rule": frozenset({"symbol", "tick_size", "step_size", "quantity_min", "quantity_max", "notional_min"}),
    "place": frozenset(
        {
            *(
                "client_id",
                "symbol",
                "side",
                "type",
                "price",
                "quantity",
                "quote_quantity",
                "stop_price",
                "reduce_only",
            ),
            "time_in_force",
        }
    ),
}
STEPS: Final = frozenset({"tick_size", "step_size"})
ORDER_STATUSES: Final = ("open", "filled", "cancelled", "rejected", "expired")
VENUE_STATUSES: Final = ("online", "maintenance", "cancel_only", "post_only", "limit_only")
LOOKUPS: Final = ("by_client_id", "by_list_match", "none")
#: What a reader reads, by what the operation gives.
READS: Final = {
    "order": "order", "orders": "order", "fills": "fill", "balances": "balance", "positions": "position",
    "time": "time", "status": "status", "rules": "rule",
}  # fmt: skip
BODIES: Final = ("query", "form", "json", "json_list")
USER_EVENTS: Final = ("order", "fill", "balance", "position")
TIME_UNITS: Final = {"s": 1000, "ms": 1, "us": 0}
#: ``{name}``, ``{name?}`` (left out if not given), ``{name:int}`` (a number in a JSON body)
PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)(\?|:int|)\}")


class SigningData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``clock_errors``: codes that mean our clock is off, so that the offset is measured anew.

    ``headers`` go along with every request the agent makes on its own (OKX's demo trading wants one).
    """

    scheme: str = "none"
    recv_window_ms: int = 5000
    clock_errors: list[str] = []
    headers: dict[str, str] = {}


class OperationData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request template and how its answer is read.

    ``params``: values with ``{placeholder}``, or ``{placeholder?}`` for those that are left out when not given.
    ``one_of``: exactly one of these has to be given. ``instead``: another operation when this placeholder is given.
    ``body``: query, form, json or json_list (default: query for GET and DELETE, form else).
    ``at``: JMESPath from the document to the value or the list. ``keyed``: what stands there is an object of items;
    each gets its key under this name. ``next``: JMESPath to what ``from_id`` has to be for the next page, nothing on
    the last; ``next_without``: what is not to be given with it. ``sweeps``: placeholder sets that together show a whole
    account, where they are not the profile's. ``codes_absent``: codes that mean "there is no such
    order"; ``codes_closed``: "nothing is open under that id", which says nothing about its end.
    """

    method: str
    path: str
    params: dict[str, str | int | bool] = {}
    one_of: list[str] = []
    instead: dict[str, str] = {}
    body: str = ""
    signed: bool = True
    at: str = "@"
    keyed: str = ""
    next: str = ""
    next_without: list[str] = []
    reader: str = ""
    empty_is_absent: bool = False
    sweeps: list[dict[str, str]] = []
    codes_absent: list[str] = []
    codes_closed: list[str] = []

    def wanted(self) -> tuple[frozenset[str], frozenset[str]]:
        """The placeholders that must be given and those that may."""
        must: set[str] = set()
        may: set[str] = set()
        for text in (self.path, *(value for value in self.params.values() if isinstance(value, str))):
            for name, form in PLACEHOLDER.findall(text):
                (may if form == "?" else must).add(name)
        return frozenset(must), frozenset(may)


class ReaderData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the values of one item stand (JMESPath each) and what the venue's words mean.

    ``context``: values that later questions about the same order need (a category, an instrument type).
    ``fee_is_negative``: a fee that was charged stands below zero (ours is what was paid).
    ``decimals``: steps that stand as a number of decimals (8 is 0.00000001).
    """

    fields: dict[str, str]
    statuses: dict[str, str] = {}
    sides: dict[str, str] = {}
    context: dict[str, str] = {}
    time_unit: str = "ms"
    fee_is_negative: bool = False
    decimals: list[str] = []


class ClientIdData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a client order id may look, and the prefix of those the agent mints.

    ``unless``: an order with one of these fields takes none (Kraken: an order has a cl_ord_id or a userref).
    ``echoed``: every answer to an accepted order names its id, so one that does not belongs to another request.
    """

    max: int
    pattern: str = "[A-Za-z0-9_-]+"
    prefix: str = "js-"
    unless: list[str] = []
    echoed: bool = False


class DeadmanData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The venue's dead-man switch (operation ``deadman``; a window of 0 switches it off).

    ``scope``: account, or symbol where it is armed per symbol. ``trigger``: timer, or connection where it fires when
    the private streams are gone. ``kills_conditional``: whether stops die with it; unverified counts as yes.
    """

    scope: str = "account"
    trigger: str = "timer"
    kills_conditional: str = "unverified"
    window_min_s: float = 1.0
    window_max_s: float = 86_400.0


class FamilyData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of orders: how they are written in a placing request, found, and declared absent.

    ``places``: routes that place them -> dotted path to the orders in the request ("" for the request itself).
    ``fields``: normalised name -> the venue's name in a placing request. ``ask``: operations that are asked in turn;
    only if all say so an order is absent; ``lists``: those in which an order without an id is looked for.
    ``ttl_s``: how long after signing the venue may still take a request (recvWindow); none: nothing bounds it.
    ``ttl_ms_at``: the parameter, or "header: NAME", in which a request gives that itself, in milliseconds.
    ``placed_as``: how the venue answers a placing request, as JSON with "{venue_id}", "{client_id}" and "{order}" (the
    order as it was listed): what a caller gets whose answer was lost. Empty: the order as it was listed.
    ``sweeps``: placeholder sets that together show all open orders of the family (default: the profile's).
    ``marks``: what a placing request shows of an order (core/order_class.MARKS) -> parameter -> its values; "*" is any
    that says something, a mark without parameters holds for all. ``post_only = { timeInForce = ["GTX"] }``.
    """

    places: dict[str, str] = {}
    fields: dict[str, str] = {}
    context: dict[str, str] = {}
    marks: dict[str, dict[str, list[str]]] = {}
    client_id: ClientIdData | None = None
    lookup: str = "none"
    ask: list[str] = []
    lists: list[str] = []
    visibility_delay_s: float = 20.0
    not_founds: int = 3
    spacing_s: float = 2.0
    lists_prove_absence: bool = False
    codes_absent: list[str] = []
    codes_closed: list[str] = []
    ttl_s: float | None = None
    ttl_ms_at: str = ""
    placed_as: str = ""
    sweeps: list[dict[str, str]] = []
    operations: dict[str, OperationData] = {}


class UserEventData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages of a user stream tell of what.

    ``when``: JMESPath -> the text that stands there (``*`` at the end: begins so). ``items``: JMESPath to an item or a
    list. ``gives``: order, fill, balance or position. ``family``: of orders. ``whole``: it names all there is.
    ``at``: JMESPath to the number by which the venue orders these messages (a time, a sequence): an amount in one that
    was overtaken is not the latest.
    """

    when: dict[str, str]
    gives: str
    reader: str
    items: str = "@"
    family: str = ""
    whole: bool = False
    at: str = ""


Complain = Callable[[tuple[str, ...], str], None]  # where in the file, and what is wrong there


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error: a likely meant name, or all there are."""
    import difflib  # only for an error

    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


def check_signing(signing: SigningData, complain: Complain) -> None:
    if signing.scheme not in SIGNERS:
        complain(("signing", "scheme"), f"{signing.scheme!r} is no signing scheme; {nearest(signing.scheme, SIGNERS)}")
    if not 0 < signing.recv_window_ms <= 60_000:
        complain(("signing", "recv_window_ms"), f"{signing.recv_window_ms}; 1 to 60000 milliseconds are expected")


def check_deadman(deadman: DeadmanData, has_operation: bool, complain: Complain) -> None:
    if deadman.scope not in ("account", "symbol"):
        complain(("deadman", "scope"), f"{deadman.scope!r}; account or symbol is expected")
    if deadman.trigger not in ("timer", "connection"):
        complain(("deadman", "trigger"), f"{deadman.trigger!r}; timer or connection is expected")
    if deadman.kills_conditional not in ("yes", "no", "unverified"):
        complain(("deadman", "kills_conditional"), f"{deadman.kills_conditional!r}; yes, no or unverified is expected")
    if not 0 < deadman.window_min_s <= deadman.window_max_s:
        complain(
            ("deadman", "window_min_s"),
            f"{deadman.window_min_s}; above 0 and not above window_max_s, {deadman.window_max_s}, is expected",
        )
    if not has_operation:
        complain(("deadman",), "the profile has no operation deadman")


def check_operation(
    where: tuple[str, ...],
    name: str,
    operation: OperationData,
    names: Iterable[str],
    readers: dict[str, ReaderData],
    extra: frozenset[str],
    complain: Complain,
) -> None:
    """``names``: the profile's operations; ``extra``: placeholders its own contexts add."""
    if name not in OPERATIONS:
        complain(where, f"no operation is called {name!r}; {nearest(name, OPERATIONS)}")
        return
    if not operation.path.startswith("/") or operation.method not in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        complain(where, f"{operation.method!r} {operation.path!r}; a method in capitals and a path from '/' expected")
    if operation.body not in ("", *BODIES):
        complain((*where, "body"), f"{operation.body!r}; {nearest(operation.body, BODIES)}")
    for placeholder, other in operation.instead.items():
        if other not in names or placeholder not in PLACEHOLDERS:
            complain((*where, "instead"), f"{placeholder!r} leads to {other!r}; {nearest(other, names)}")
    must, may = operation.wanted()
    for placeholder in sorted((must | may | set(operation.one_of)) - PLACEHOLDERS - extra):
        complain(
            (*where, "params"), f"unknown placeholder {placeholder!r}; {nearest(placeholder, PLACEHOLDERS | extra)}"
        )
    for each in operation.one_of:
        if each not in may and each not in must:
            complain((*where, "one_of"), f"{each!r} stands in no placeholder of params")
    if operation.next and "from_id" not in may:
        complain((*where, "next"), "there is a next page and no optional placeholder {from_id?} to ask for it")
    kind = READS.get(OPERATIONS[name])
    if kind is not None and operation.reader not in readers:
        complain((*where, "reader"), f"{operation.reader!r} is no reader; {nearest(operation.reader, readers)}")


def check_reader(where: tuple[str, ...], reader: ReaderData, complain: Complain) -> None:
    known = frozenset().union(*FIELDS.values())
    for name in sorted(set(reader.fields) - known):
        complain((*where, "fields"), f"unknown field {name!r}; {nearest(name, known)}")
    allowed = {*ORDER_STATUSES, *VENUE_STATUSES}
    for word, meaning in reader.statuses.items():
        if meaning not in allowed:
            complain((*where, "statuses"), f"{word!r} means {meaning!r}; {nearest(meaning, allowed)}")
    for word, side in reader.sides.items():
        if side not in ("buy", "sell"):
            complain((*where, "sides"), f"{word!r} means {side!r}; buy or sell is expected")
    for name in sorted(set(reader.decimals) - (set(reader.fields) & STEPS)):
        complain((*where, "decimals"), f"{name!r} is no step of `fields`; {', '.join(sorted(STEPS))} are expected")
    if reader.time_unit not in TIME_UNITS:
        complain((*where, "time_unit"), f"{reader.time_unit!r}; {', '.join(TIME_UNITS)} are expected")


def check_family(where: tuple[str, ...], family: FamilyData, operations: Iterable[str], complain: Complain) -> None:
    """``operations``: names that can be asked of this family."""
    for name in sorted(set(family.fields) - FIELDS["place"]):
        complain((*where, "fields"), f"unknown field {name!r}; {nearest(name, FIELDS['place'])}")
    for name in sorted(set(family.marks) - MARKS):
        complain((*where, "marks"), f"unknown mark {name!r}; {nearest(name, MARKS)}")
    if family.lookup not in LOOKUPS:
        complain((*where, "lookup"), f"{family.lookup!r}; {nearest(family.lookup, LOOKUPS)}")
    known = set(operations)
    for name in (*family.ask, *family.lists):
        if OPERATIONS.get(name) not in ("order", "orders") or name not in known:
            complain((*where, "ask"), f"the profile has no operation {name!r} for it; {nearest(name, known)}")
    if family.lookup != "none" and not family.ask:
        complain((*where, "ask"), f"lookup is {family.lookup!r} and nothing is asked; name at least one operation")
    if family.lookup == "by_client_id" and "client_id" not in family.fields:
        complain((*where, "fields"), "lookup is by_client_id and no field client_id says where the id stands")
    if family.not_founds < 1:
        complain((*where, "not_founds"), f"{family.not_founds}; 1 or more is expected: silence is no answer")
    for name in ("visibility_delay_s", "spacing_s"):
        if not 0 <= getattr(family, name) < 86_400:
            complain((*where, name), f"{getattr(family, name)}; seconds from 0 to a day are expected")
    if family.ttl_s is not None and not 0 < family.ttl_s < 86_400:
        complain((*where, "ttl_s"), f"{family.ttl_s}; seconds above 0 up to a day are expected")
    try:
        json_document((family.placed_as or "null").encode())
    except ValueError:
        complain((*where, "placed_as"), "no JSON document; the venue's answer to a placing request is expected")
    if family.client_id is not None:
        _check_client_id((*where, "client_id"), family.client_id, complain)


def _check_client_id(where: tuple[str, ...], rule: ClientIdData, complain: Complain) -> None:
    if not 8 <= rule.max <= 255:
        complain((*where, "max"), f"{rule.max}; 8 to 255 characters are expected")
    try:
        fits = re.fullmatch(rule.pattern, rule.prefix + "0")
    except re.error as error:
        complain((*where, "pattern"), f"no regular expression: {error}")
        return
    if not fits:
        complain((*where, "prefix"), f"{rule.prefix!r} does not fit the venue's own pattern {rule.pattern!r}")


def check_user_event(
    where: tuple[str, ...],
    event: UserEventData,
    readers: dict[str, ReaderData],
    families: Iterable[str],
    complain: Complain,
) -> None:
    if event.gives not in USER_EVENTS:
        complain((*where, "gives"), f"{event.gives!r}; {nearest(event.gives, USER_EVENTS)}")
    if event.reader not in readers:
        complain((*where, "reader"), f"{event.reader!r} is no reader; {nearest(event.reader, readers)}")
    if event.family and event.family not in families:
        complain((*where, "family"), f"no order family {event.family!r}; {nearest(event.family, families)}")
    if not event.when:
        complain((*where, "when"), "nothing says which messages these are; a path and its text are expected")
