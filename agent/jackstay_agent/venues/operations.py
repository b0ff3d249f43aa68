"""A venue's normalised order operations: build the question, read the answer. Who sends it is the caller's business.

`request` fills a profile's template and signs it; `read` makes normalised values of the answer's bytes; `read_place`
and `with_client_ids` understand the bot's own placing requests. Nothing here can place an order: no profile holds a
template for it, and the loader refuses one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from jackstay_protocols.errors import Reason, ValidationError

from ..core.answer_body import NOTHING, Told, told_by, told_by_items
from ..core.evidence import Patience
from ..core.outcome_tables import TABLES
from .answers import (
    ITEMS_MAX,
    Answer,
    Broken,
    Denied,
    Done,
    NotFound,
    NotOpen,
    OrderState,
    Reader,
    Unreadable,
    as_text,
    compiled,
    decode,
)
from .credentials import Credentials
from .operation_data import OPERATIONS, PLACEHOLDER, READS, FamilyData, OperationData, nearest
from .outgoing import FORM, JSON, OutgoingRequest, encoded, json_bytes, json_document
from .placing import PlacedOrder, PlacingRoute, given_by, refuse_signed
from .profile import Profile
from .signing import SIGNERS, Stamp
from .stream_login import LOGINS

MESSAGE_MAX = 200  # characters of a venue's words that are kept


@dataclass(frozen=True, slots=True)
class Lookup:
    """How an order of a family is found. ``ask``: operations in turn; only if all say so it is absent.

    ``lists``: where one without an id is looked for. ``late_s``: how long after signing the venue may still take it.
    """

    how: str
    ask: tuple[str, ...]
    lists: tuple[str, ...]
    patience: Patience
    late_s: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """A bot's own request, recognised as one of the profile's operations; ``asked`` are its placeholders' values."""

    name: str
    family: str
    asked: Mapping[str, str]


class Operations:
    """One venue's operations with one key. ``wall_ms``: the venue's time in Unix ms; ``nonce``: the next one for it.

    Raises ValidationError where the profile's JMESPaths are wrong, or the credentials do not suit the scheme.
    """

    def __init__(
        self,
        profile: Profile,
        credentials: Credentials | None,
        *,
        wall_ms: Callable[[], int],
        nonce: Callable[[int], int] | None = None,
    ) -> None:
        self.profile = profile
        self._keys = credentials
        self._wall_ms = wall_ms
        self._nonce = nonce
        self._signing = profile.data.signing
        self._signer = SIGNERS[self._signing.scheme]
        self._table = TABLES[profile.table]
        if credentials is not None and self._signer.needs_passphrase and not credentials.passphrase:
            raise ValidationError(f"credentials from {credentials.origin}: {profile.name} keys need a passphrase too")
        if credentials is not None and self._signer.needs_nonce and nonce is None:
            raise ValidationError(f"{profile.name} wants nonces; a source of increasing ones is expected")
        self._key_headers: list[tuple[bytes, bytes]] | None = None
        self._readers: dict[str, Reader] = {}
        self._at: dict[str, Any] = {}
        self._places: dict[tuple[str, str], PlacingRoute] = {}
        self._questions: dict[tuple[str, str], list[tuple[str, str, OperationData]]] = {}
        self._cancels: dict[tuple[str, str], list[tuple[str, str, OperationData]]] = {}
        for name, family in profile.data.families.items():
            for asks, operation in {**profile.data.operations, **family.operations}.items():
                kept = self._questions if OPERATIONS[asks] in ("order", "orders") else self._cancels
                if kept is self._questions or asks in ("cancel", "cancel_all"):
                    kept.setdefault((operation.method, operation.path), []).append((asks, name, operation))
            for route, path in family.places.items():
                method, _, route_path = route.partition(" ")
                self._places[method, route_path] = PlacingRoute(name, family, path, profile.symbol)

    # ---- what there is

    @property
    def families(self) -> Mapping[str, FamilyData]:
        return self.profile.data.families

    def names(self, family: str = "") -> list[str]:
        """The operations there are, for this family."""
        own = self.families[family].operations if family in self.families else {}
        return sorted({*self.profile.data.operations, *own})

    @property
    def sweeps(self) -> list[dict[str, str]]:
        """What has to be asked to see a whole account: `open_orders` and `positions` once with each of these."""
        return [dict(each) for each in self.profile.data.sweeps] or [{}]

    def sweeps_of(self, family: str, name: str = "open_orders") -> list[dict[str, str]]:
        """What has to be asked to see all that an operation lists (of a family)."""
        operation = self._find(name, family)
        own = operation.sweeps if operation is not None else []
        own = own or (self.families[family].sweeps if family in self.families else [])
        return [dict(each) for each in own] or self.sweeps

    def turns(self, name: str) -> list[dict[str, str]]:
        """What an operation has to be asked with in turn until one shows the thing: its own sweeps."""
        operation = self._find(name, "")
        return [dict(each) for each in operation.sweeps] if operation is not None and operation.sweeps else [{}]

    def has(self, name: str, family: str = "") -> bool:
        return self._find(name, family) is not None

    def is_open(self, name: str) -> bool:
        """There is such an operation and anybody may ask it, without a key."""
        found = self._find(name, "")
        return found is not None and not found.signed

    def lookup(self, family: str) -> Lookup:
        """How an order of this family is found, and when its absence is believed."""
        data = self.families.get(family)
        if data is None:
            return Lookup("none", (), (), Patience(), None)
        patience = Patience(
            visibility_delay_s=data.visibility_delay_s,
            not_found_needed=data.not_founds,
            spacing_s=data.spacing_s,
            lists_prove_absence=data.lists_prove_absence,
        )
        return Lookup(data.lookup, tuple(data.ask), tuple(data.lists), patience, data.ttl_s)

    @property
    def has_keys(self) -> bool:
        """It can sign, so it can ask."""
        return self._keys is not None

    @property
    def needs_nonce(self) -> bool:
        """The venue wants rising numbers per key: two programs with one key spoil each other's."""
        return self._signer.needs_nonce

    # ---- asking

    def request(self, name: str, *, family: str = "", **given: str | int) -> OutgoingRequest:
        """The request of an operation, signed if it has to be. Raises ValidationError saying what is missing."""
        operation = self._operation(name, family, given)
        values = self._values(name, operation, given)
        params = [
            (key, filled) for key, value in operation.params.items() if (filled := _fill(value, values)) is not None
        ]
        path = PLACEHOLDER.sub(lambda found: quote(str(values[found.group(1)]), safe=""), operation.path)
        where = operation.body or ("query" if operation.method in ("GET", "DELETE") else "form")
        headers = [(key.encode(), value.encode()) for key, value in self._signing.headers.items()]
        if where == "query" or not params:
            target = f"{path}?{encoded(_texts(params))}" if params else path
            built = OutgoingRequest(operation.method, target, headers)
        elif where == "form":
            form = encoded(_texts(params)).encode()
            built = OutgoingRequest(operation.method, path, [*headers, (b"Content-Type", FORM)], form)
        else:
            body = json_bytes([dict(params)] if where == "json_list" else dict(params))
            built = OutgoingRequest(operation.method, path, [*headers, (b"Content-Type", JSON)], body)
        return self.sign(built) if operation.signed else built

    def sign(self, request: OutgoingRequest) -> OutgoingRequest:
        """A request signed with the agent's key, also a bot's that sends unsigned ones. Raises ValidationError."""
        if self._keys is None:
            raise ValidationError(
                f"{self.profile.name}: no key is configured for this venue; give [venues.{self.profile.name}] one",
                reason=Reason.NO_SIGNER,
            )
        now_ms = self._wall_ms()
        nonce = self._nonce(now_ms) if self._nonce is not None and self._signer.needs_nonce else 0
        stamp = Stamp(now_ms, self._signing.recv_window_ms, nonce)
        return self._signer.sign(replace(request, signed=True), self._keys, stamp)

    def key_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that show whose key signs, as every signed request has them (for budgets by key)."""
        if self._key_headers is None:
            self._key_headers = self.sign(OutgoingRequest("GET", "/")).headers if self._keys is not None else []
        return self._key_headers

    def stream_login(self, how: str) -> str:
        """The signed message that opens a private stream; "" where none is said. Raises ValidationError."""
        if how == "none":
            return ""
        if self._keys is None:
            raise ValidationError(f"{self.profile.name}: no key to log in with", reason=Reason.NO_SIGNER)
        return LOGINS[how](self._keys, self._wall_ms(), self._signing.recv_window_ms)

    # ---- reading

    def read(
        self,
        name: str,
        status: int,
        body: bytes,
        *,
        family: str = "",
        asked: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Normalised values of an answer. ``asked``: what was asked for; an order with another id is Unreadable."""
        asked = asked or {}
        operation = self._operation(name, family, asked)
        try:
            document = decode(body)
        except Broken as error:
            # a status alone is an answer too, but never one that says "does not exist"
            return Unreadable(str(error)) if 200 <= status < 300 else Denied(status)
        if self._table.code_required and not (isinstance(document, dict) and self._table.code_key in document):
            return Unreadable(f"the answer has no {self._table.code_key!r}, which every answer of the venue has")
        told = self._told(document)
        if told.code or not 200 <= status < 300:
            return self._refusal(operation, family, status, told)
        try:
            return self._values_of(operation, name, family, document, asked)
        except Broken as error:
            return Unreadable(str(error))

    def as_placed(self, order: OrderState, *, streamed: bool = False) -> bytes:
        """An order that was found, in the words in which the venue answers a placing request (`placed_as`).

        ``streamed``: a stream's event showed it, whose own words are none a bot expects of an answer.
        """
        family = self.families.get(order.family)
        if family is not None and family.placed_as:
            return json_bytes(_placed_as(json_document(family.placed_as.encode()), order))
        return json_bytes(self._as_asked(order) if streamed else order.raw)

    def _as_asked(self, order: OrderState) -> dict[str, Any]:
        """The order as the venue tells of it when it is asked: its reader's fields, the other way round."""
        asked = next(iter(self.lookup(order.family).ask), "")
        found = self._find(asked, order.family)
        fields = self.profile.data.readers[found.reader].fields if found is not None and found.reader else {}
        values: dict[str, Any] = {
            "client_id": order.client_id,
            "venue_id": int(order.venue_id) if order.venue_id.isdecimal() else order.venue_id,
            "symbol": order.symbol, "side": order.side.upper(), "type": order.type.upper(), "price": order.price,
            "quantity": order.quantity, "filled": order.filled, "average_price": order.average_price,
            "stop_price": order.stop_price, "status": order.venue_status, "time_ms": order.time_ms,
            "reduce_only": order.reduce_only,
        }  # fmt: skip
        told: dict[str, Any] = {}
        for name, path in fields.items():
            value = values.get(name)
            for key in path.split("||") if value not in (None, "") else ():
                if key.strip().isidentifier():
                    told[key.strip()] = str(value) if isinstance(value, Decimal) else value
        return told

    def venue_id_keys(self, family: str) -> frozenset[str]:
        """Under which names the venue's own order ids stand, in lists and in answers to placing requests."""
        names = [*self.lookup(family).lists, *self.lookup(family).ask]
        readers = {found.reader for name in names if (found := self._find(name, family)) is not None}
        paths = [self.profile.data.readers[each].fields.get("venue_id", "") for each in readers if each]
        return frozenset(path.strip().rpartition(".")[2] for each in paths for path in each.split("||"))

    def next_page(
        self, name: str, body: bytes, *, family: str = "", given: Mapping[str, str | int]
    ) -> dict[str, str | int] | None:
        """What to give `request` for the next page of a list that was read; None: this was the last.

        Pages may overlap. Raises Broken if the answer is not a list of the venue's: read it first.
        """
        operation = self._operation(name, family, given)
        if not operation.next:
            return None
        start = as_text("the next page", self._path(operation.next).search(decode(body)))
        if not start or start == str(given.get("from_id", "")):
            return None
        kept = {key: value for key, value in given.items() if key not in operation.next_without}
        return {**kept, "from_id": start}

    def _told(self, document: Any) -> Told:
        told = told_by(document, self._table)
        if told.code and told.code in self._table.batch_codes:
            items = [each for each in told_by_items(document, self._table) if each.code not in ("", "0")]
            return items[0] if items else told
        return NOTHING if told.code in self._table.ok_codes else told

    def _refusal(self, operation: OperationData, family: str, status: int, told: Told) -> Answer:
        code, message = told.code, "".join(each for each in told.message[:MESSAGE_MAX] if each.isprintable())
        own = self.families.get(family)
        about_orders = own is not None and bool(operation.one_of)
        if status < 500 and status not in (401, 403, 418, 429):
            closed = [*operation.codes_closed, *(own.codes_closed if own is not None and about_orders else ())]
            if _means(told, closed):
                return NotOpen(code, message)
            absent = [*operation.codes_absent, *(own.codes_absent if own is not None and about_orders else ())]
            if _means(told, absent):
                return NotFound(code, message)
        return Denied(status, code, message, clock=_means(told, self._signing.clock_errors))

    def _values_of(
        self, operation: OperationData, name: str, family: str, document: Any, asked: Mapping[str, str | int]
    ) -> Answer:
        gives = OPERATIONS[name]
        found = self._path(operation.at).search(document)
        if operation.keyed:
            found = _listed(found, operation.keyed)
        if gives in ("done", "any"):
            return Done(found)
        reader = self._reader(operation.reader)
        kind = READS[gives]
        if gives == "order":
            return self._one_order(operation, reader, found, document, family, asked)
        if gives in ("time", "status"):
            return reader.time(found) if kind == "time" else reader.status(found)
        if not isinstance(found, list) or len(found) > ITEMS_MAX:
            raise Broken(f"a list of at most {ITEMS_MAX} items is expected at {operation.at!r}")
        if kind == "order":
            return [reader.order(each, document, family) for each in found]
        if kind == "fill":
            return [reader.fill(each) for each in found]
        if kind == "balance":
            return [reader.balance(each) for each in found]
        if kind == "rule":
            return [reader.rule(each) for each in found]
        return [reader.position(each) for each in found]

    def _one_order(
        self,
        operation: OperationData,
        reader: Reader,
        found: Any,
        document: Any,
        family: str,
        asked: Mapping[str, str | int],
    ) -> OrderState | NotFound:
        if isinstance(found, list):
            if not found and operation.empty_is_absent:
                return NotFound(message="the venue's list of orders with that id is empty")
            if len(found) != 1:
                raise Broken(f"{len(found)} orders where one is expected")
            found = found[0]
        order = reader.order(found, document, family)
        for key in ("client_id", "venue_id"):
            wanted = str(asked.get(key, ""))
            if wanted and getattr(order, key) != wanted:
                raise Broken(f"the venue answered with another order: its {key} is not the one asked for")
        return order

    # ---- the bot's own requests

    def read_place(self, request: OutgoingRequest) -> list[PlacedOrder] | Unreadable | None:
        """The orders of a bot's placing request; None: the profile knows no placing route of that method and path."""
        place = self._places.get((request.method, request.path))
        return None if place is None else place.read(request)

    def with_client_ids(self, request: OutgoingRequest, ids: Sequence[str]) -> OutgoingRequest:
        """The unsigned request with these client ids, one per order. Raises ValidationError."""
        refuse_signed(request)
        place = self._places.get((request.method, request.path))
        if place is None:
            raise ValidationError(f"{self.profile.name}: {request.method} {request.path} is no known placing request")
        return place.with_client_ids(request, ids)

    def questions(self, request: OutgoingRequest) -> list[Question]:
        """What a bot's own request asks about orders, once for each family it may be about; none for other requests."""
        return _matching(self._questions.get((request.method, request.path), ()), request)

    def cancels(self, request: OutgoingRequest) -> list[Question]:
        """What a bot's own request would cancel: the ids and symbols it names, once for each family it may be about."""
        return _matching(self._cancels.get((request.method, request.path), ()), request)

    def wants(self, name: str) -> frozenset[str]:
        """The placeholders that an operation cannot do without; empty where the profile has none of that name."""
        operation = self._find(name, "")
        return frozenset() if operation is None else operation.wanted()[0]

    def asks(self, request: OutgoingRequest, name: str) -> bool:
        """Whether a bot's own request is this operation of the profile."""
        operation = self.profile.data.operations.get(name)
        return operation is not None and (operation.method, operation.path) == (request.method, request.path)

    # ---- inside

    def _find(self, name: str, family: str) -> OperationData | None:
        own = self.families.get(family)
        if own is not None and name in own.operations:
            return own.operations[name]
        return self.profile.data.operations.get(name)

    def _operation(self, name: str, family: str, given: Mapping[str, object]) -> OperationData:
        if family and family not in self.families:
            raise ValidationError(f"{self.profile.name}: no order family {family!r}; {nearest(family, self.families)}")
        found = self._find(name, family)
        if found is None:
            raise ValidationError(f"{self.profile.name}: no operation {name!r}; {nearest(name, self.names(family))}")
        for placeholder, other in found.instead.items():
            if given.get(placeholder, "") != "":
                return self._operation(other, family, {})
        return found

    def _values(self, name: str, operation: OperationData, given: Mapping[str, str | int]) -> Mapping[str, str | int]:
        must, may = operation.wanted()
        given = _derived(given)
        missing = sorted(must - given.keys())
        if missing:
            raise ValidationError(f"{self.profile.name} {name}: {', '.join(missing)} is missing")
        chosen = [each for each in operation.one_of if given.get(each, "") != ""]
        if operation.one_of and len(chosen) != 1:
            raise ValidationError(
                f"{self.profile.name} {name}: exactly one of {', '.join(operation.one_of)} is expected,"
                f" found {', '.join(chosen) or 'none'}"
            )
        return {key: value for key, value in given.items() if key in must or key in may}

    def _path(self, expression: str) -> Any:
        if expression not in self._at:
            self._at[expression] = compiled(expression)
        return self._at[expression]

    def _reader(self, name: str) -> Reader:
        if name not in self._readers:
            self._readers[name] = Reader(self.profile.data.readers[name], self.profile.symbol)
        return self._readers[name]


def _placed_as(value: Any, order: OrderState) -> Any:
    if isinstance(value, dict):
        return {name: _placed_as(each, order) for name, each in value.items()}
    if isinstance(value, list):
        return [_placed_as(each, order) for each in value]
    words = {"{venue_id}": order.venue_id, "{client_id}": order.client_id, "{order}": order.raw}
    return words.get(value, value) if isinstance(value, str) else value


def _means(told: Told, codes: Sequence[str]) -> bool:
    """A code, or a code and a piece of the venue's words: '-2011 unknown order'."""
    words = told.message.lower()
    for each in codes:
        code, _, text = each.partition(" ")
        if each == told.code or (code == told.code and text and text.lower() in words):
            return True
    return False


def _derived(given: Mapping[str, str | int]) -> dict[str, str | int]:
    """Times in the other unit too: callers say milliseconds, venues want seconds or milliseconds."""
    values = dict(given)
    for name in ("since", "window"):
        ms = given.get(f"{name}_ms")
        if ms is not None and ms != "":
            values.setdefault(f"{name}_s", int(ms) // 1000)
    return values


def _listed(found: Any, name: str) -> list[Any]:
    """The items of an object, each with its key under ``name``. Raises Broken."""
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise Broken("an object of items is expected")
    return [{**each, name: key} for key, each in found.items()]


def _fill(value: str | int | bool, values: Mapping[str, str | int]) -> str | int | bool | None:
    """A parameter's value; None leaves it out."""
    if not isinstance(value, str):
        return value
    number = PLACEHOLDER.fullmatch(value)
    if number is not None and number.group(2) == ":int":
        return int(values[number.group(1)])
    left_out = False

    def put(found: re.Match[str]) -> str:
        nonlocal left_out
        given = values.get(found.group(1), "")
        left_out = left_out or given == ""
        return str(given)

    text = PLACEHOLDER.sub(put, value)
    return None if left_out else text


def _texts(params: Sequence[tuple[str, str | int | bool]]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in params]


def _text(value: str | int | bool) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _matching(operations: Iterable[tuple[str, str, OperationData]], request: OutgoingRequest) -> list[Question]:
    """Those of the operations that this request is, with what it gives for their placeholders."""
    found: list[Question] = []
    for name, family, operation in operations:
        given = given_by(request)
        fixed = {key: value for key, value in operation.params.items() if not PLACEHOLDER.search(str(value))}
        if given is None or any(key in given and given[key] != _text(value) for key, value in fixed.items()):
            continue
        asked = {
            at.group(1): given[key]
            for key, value in operation.params.items()
            if key in given and (at := PLACEHOLDER.fullmatch(str(value))) is not None
        }
        found.append(Question(name, family, asked))
    return found
